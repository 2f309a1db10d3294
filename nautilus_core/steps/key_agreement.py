"""The steps with ephemeral shares: the initiator's guess, the retry when it was wrong, the responder's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ..crypto.groups import GROUPS, Group
from ..errors import AlertCode, InvalidMessage, KeyAgreementFailed
from ..role import INITIATOR, RESPONDER, Stage
from ..step import Message, MessageStep
from .fields import KeyShare, Offer

if TYPE_CHECKING:
    from ..context import Context


class InitiatorShare(Message, frozen=True, tag="initiator-key-share"):
    """The guess: a share in the group of the first suite; nil and empty for none."""

    group: Offer | None
    public: KeyShare


class RetriedShare(Message, frozen=True, tag="initiator-key-share-retry"):
    """A share in the group of the selected suite."""

    group: Offer
    public: KeyShare


class ResponderShare(Message, frozen=True, tag="responder-key-share"):
    """The responder's share, or its ciphertext."""

    group: Offer
    public: KeyShare


class KeyAgreement:
    """What the steps share: the group, the initiator's key and share, the secret until it is handed over.

    Args:
        guess: the group of the initiator's first suite, whose share leaves before the responder has selected; None to wait.
    """

    __slots__ = ("_private_key", "_secret", "_share", "group", "guess")

    def __init__(self, guess: str | None) -> None:
        self.guess = guess
        self.group: Group[object] | None = None
        self._private_key: object = None
        self._share = b""
        self._secret: bytes | None = None

    def offer(self, context: Context, name: str) -> bytes:
        """On the initiator: a fresh share in the group `name`."""
        self._private_key, self._share = GROUPS[name].generate(context.entropy)
        return self._share

    def receive(self, name: str | None, share: bytes) -> None:
        """On the responder: the initiator's share. A share in an unknown group is left to the retry."""
        self.guess = name
        if name is None and share:
            raise InvalidMessage("a key share of no group", expected="an empty one", alert=AlertCode.ILLEGAL_PARAMETER)
        if name is not None and name in GROUPS:
            GROUPS[name].check_share(share)
        self._share = share

    def select(self, name: str) -> bool:
        """The suite's group is fixed; returns whether the guess was wrong. Its secret, if any, is dropped."""
        self.group = GROUPS[name]
        if name == self.guess:
            return False
        self._private_key = None
        self._share = b""
        return True

    def forget(self) -> None:
        """Drop the secrets."""
        self._private_key = self._secret = None

    def selected_group(self) -> Group[object]:
        """The selected suite's group."""
        if self.group is None:
            raise InvalidMessage("a key share before a suite was selected", alert=AlertCode.UNEXPECTED_MESSAGE)
        return self.group

    def check_group(self, name: str) -> Group[object]:
        """The selected group, when the peer's share is one of it."""
        group = self.selected_group()
        if name != group.name:
            raise InvalidMessage(
                "a key share in another group than the selected one",
                expected=repr(group.name),
                received=repr(name),
                alert=AlertCode.ILLEGAL_PARAMETER,
            )
        return group

    def encapsulate(self, context: Context) -> ResponderShare:
        """On the responder: its share; the secret is kept for `take_secret`."""
        group = self.selected_group()
        self._secret, response = group.encapsulate(context.entropy, self._share)
        return ResponderShare(group.name, response)

    def decapsulate(self, name: str, response: bytes) -> None:
        """On the initiator: the secret from the responder's share, kept for `take_secret`."""
        group = self.check_group(name)
        if response == self._share:
            raise KeyAgreementFailed("our own key share came back", hint="this side's messages are reflected to it")
        self._secret = group.decapsulate(self._private_key, response)
        self._private_key = None

    def take_secret(self) -> bytes:
        """The shared secret, once."""
        secret, self._secret = self._secret, None
        if secret is None:
            _no_secret()
        return secret


def _no_secret() -> NoReturn:
    raise InvalidMessage("no shared secret was agreed on", alert=AlertCode.UNEXPECTED_MESSAGE)


class InitiatorKeyShare(MessageStep[InitiatorShare]):
    """The initiator guesses that the responder takes its first suite."""

    name, sender, message = "initiator-key-share", INITIATOR, InitiatorShare
    needs, built_in = Stage.NOTHING, True

    __slots__ = ("_agreement",)

    def __init__(self, agreement: KeyAgreement) -> None:
        self._agreement = agreement

    def write(self, context: Context) -> InitiatorShare:
        """A fresh share for the guess."""
        guess = self._agreement.guess
        return InitiatorShare(guess, b"" if guess is None else self._agreement.offer(context, guess))

    def read(self, context: Context, message: InitiatorShare) -> None:
        """Keep the share."""
        self._agreement.receive(message.group, message.public)


class KeyShareRetry(MessageStep[RetriedShare]):
    """The initiator's share in the group of the selected suite, when it guessed another."""

    name, sender, message = "initiator-key-share-retry", INITIATOR, RetriedShare
    needs, built_in = Stage.NOTHING, True

    __slots__ = ("_agreement",)

    def __init__(self, agreement: KeyAgreement) -> None:
        self._agreement = agreement

    def write(self, context: Context) -> RetriedShare:
        """A fresh share in the selected group."""
        name = self._agreement.selected_group().name
        return RetriedShare(name, self._agreement.offer(context, name))

    def read(self, context: Context, message: RetriedShare) -> None:
        """Keep the share, which must now be in the selected group."""
        self._agreement.check_group(message.group)
        self._agreement.receive(message.group, message.public)


class ResponderKeyShare(MessageStep[ResponderShare]):
    """The responder's share; everything after it is sealed."""

    name, sender, message = "responder-key-share", RESPONDER, ResponderShare
    needs, provides, built_in = Stage.NOTHING, Stage.KEYS, True

    __slots__ = ("_agreement",)

    def __init__(self, agreement: KeyAgreement) -> None:
        self._agreement = agreement

    def write(self, context: Context) -> ResponderShare:
        """Encapsulate to the initiator's share."""
        return self._agreement.encapsulate(context)

    def read(self, context: Context, message: ResponderShare) -> None:
        """Decapsulate."""
        self._agreement.decapsulate(message.group, message.public)

    def commit(self, context: Context) -> None:
        """Hand the secret over."""
        context.establish(self._agreement.take_secret())

    def forget(self) -> None:
        """Drop the secrets of all the steps that share them."""
        self._agreement.forget()
