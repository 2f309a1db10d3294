"""`psk-offer` and `psk-binders` end the first flight, `psk` follows the suite: which pre-shared key goes into the session.

What a psk is and how it is imported stands in `identity.psks`. Nothing here signs, and no key is made but the early secret.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from msgspec import Meta

from ..crypto.hashing import HASHES, HashFunction
from ..crypto.key_schedule import binder
from ..errors import AlertCode, AuthenticationFailed, InvalidMessage, LocalProtocolError
from ..identity.psks import MAX_PSK_IDENTITY, PSK_HASHES, PreSharedKey
from ..role import INITIATOR, RESPONDER, Role, Stage
from ..step import Message, MessageStep
from .cipher_suite import SuiteNegotiation
from .fields import GREASE_BYTES, Mac, Offer, check_lengths, grease, listed

if TYPE_CHECKING:
    from ..context import Context

MAX_PSKS: Final = 32
_UNKNOWN_BINDER: Final = 32  # bytes, as of SHA-256

OfferedPsk: TypeAlias = tuple[Annotated[str, Meta(min_length=1, max_length=MAX_PSK_IDENTITY)], Offer]
"""The identity and the hash."""


class PskOffer(Message, frozen=True, tag="psk-offer"):
    """The psks that the initiator has for this responder, in order of preference."""

    psks: Annotated[tuple[OfferedPsk, ...], Meta(min_length=1, max_length=MAX_PSKS)]


class PskBinders(Message, frozen=True, tag="psk-binders"):
    """For each of them, in the same order, a MAC under it over everything before."""

    binders: Annotated[tuple[Mac, ...], Meta(min_length=1, max_length=MAX_PSKS)]


class PskSelection(Message, frozen=True, tag="psk"):
    """Which of them goes into the session, by its place in the offer, from 0."""

    index: Annotated[int, Meta(ge=0, lt=MAX_PSKS)]


@dataclass(frozen=True, slots=True)
class PskOptions:
    """The psks of a side: the same in all handshakes of a profile.

    Attributes:
        name: of this side.
        offered: those with which it initiates, in order of preference.
        accepted: those with which it responds, by identity and hash.
    """

    name: str
    offered: tuple[PreSharedKey, ...]
    accepted: Mapping[tuple[str, str], PreSharedKey]

    @classmethod
    def of(cls, psks: Sequence[PreSharedKey], name: str | None, hashes: Sequence[str]) -> PskOptions:
        """The options of the side that is called `name`, whose suites have these `hashes`.

        Raises:
            ValueError: no name; a psk that is for two other nodes, or for a hash that no suite has; two of one identity, role and
                hash; too many.
        """
        if name is None or not psks:
            raise ValueError("psks= goes with psk_name=, which of the names in them is this side's")
        for psk in psks:
            if name not in (psk.initiator, psk.responder):
                raise ValueError(
                    f"the pre-shared key {psk.identity!r} is for {psk.initiator!r} and {psk.responder!r}, and not for "
                    f"psk_name={name!r}"
                )
            if psk.hash not in hashes:
                raise ValueError(f"no suite has the hash {psk.hash} of the pre-shared key {psk.identity!r}")
        offered = tuple([psk for psk in psks if psk.initiator == name])
        accepted = [psk for psk in psks if psk.responder == name]
        for group in (offered, accepted):
            if len({(psk.identity, psk.hash) for psk in group}) != len(group):
                raise ValueError("two pre-shared keys of one identity and hash for the same role")
        if len(offered) > MAX_PSKS:
            raise ValueError(f"at most {MAX_PSKS} pre-shared keys fit an offer: give those that the peer has")
        return cls(name, offered, MappingProxyType({(psk.identity, psk.hash): psk for psk in accepted}))

    def check_role(self, role: Role) -> None:
        """Raise `ValueError` where this side has no psk for `role`."""
        if not (self.offered if role is INITIATOR else self.accepted):
            raise ValueError(f"none of the pre-shared keys has {self.name!r} as {role.value}")


class PskAgreement:
    """What the steps of one handshake share: the options, the offer, and early secrets until one goes into the keys."""

    __slots__ = ("early_secrets", "negotiation", "offered", "options", "selected")

    def __init__(self, options: PskOptions, negotiation: SuiteNegotiation) -> None:
        self.options = options
        self.negotiation = negotiation
        self.offered: tuple[OfferedPsk, ...] = ()
        self.early_secrets: dict[int, bytes] = {}
        self.selected: int | None = None

    def extract(self, context: Context, function: HashFunction, imported: bytes) -> bytes:
        """The early secret of a psk (RFC 8446 section 7.1)."""
        size = function.digest_size
        early = context.entropy.extract(function, bytes(size), imported)
        if len(early) != size:  # an empty one stands for no psk at all: whoever has none would do
            raise LocalProtocolError(f"an Entropy's extract() gives {size} bytes of {function}, not {len(early)}")
        return early

    def choose(self, suites: Sequence[str]) -> int | None:
        """On the responder: the place of the psk that goes with the best of `suites`; None where none is known."""
        known = self.options.accepted
        for suite in suites:
            function = self.negotiation.options.suites[suite].hash.name
            for index, offer in enumerate(self.offered):
                if offer[1] == function and offer in known:
                    return index
        return None

    def forget(self) -> None:
        """Drop the secrets."""
        self.early_secrets.clear()


class OfferPsks(MessageStep[PskOffer]):
    """The initiator names its psks."""

    name, sender, message = "psk-offer", INITIATOR, PskOffer
    needs, built_in = Stage.NOTHING, True

    __slots__ = ("_agreement",)

    def __init__(self, agreement: PskAgreement) -> None:
        self._agreement = agreement

    def write(self, context: Context) -> PskOffer:
        """All that this side initiates with, and one that nobody knows where there is room."""
        agreement = self._agreement
        offered = tuple([(psk.identity, psk.hash) for psk in agreement.options.offered])
        if len(offered) < MAX_PSKS:
            unknown = grease(context.entropy.random_bytes(GREASE_BYTES))
            offered = (*offered, (unknown, unknown))
        agreement.offered = offered
        return PskOffer(offered)

    def read(self, context: Context, message: PskOffer) -> None:
        """Keep the offer until its binders are there."""
        if len(set(message.psks)) != len(message.psks):
            raise InvalidMessage("a pre-shared key that is offered twice", alert=AlertCode.ILLEGAL_PARAMETER)
        if any(len(identity.encode()) > MAX_PSK_IDENTITY for identity, _ in message.psks):
            raise InvalidMessage(f"a psk identity over {MAX_PSK_IDENTITY} bytes", alert=AlertCode.ILLEGAL_PARAMETER)
        check_lengths([function for _, function in message.psks])
        self._agreement.offered = message.psks


class BindPsks(MessageStep[PskBinders]):
    """The initiator proves, for this handshake, that it has the psks that it has named."""

    name, sender, message = "psk-binders", INITIATOR, PskBinders
    needs, built_in = Stage.NOTHING, True

    __slots__ = ("_agreement",)

    def __init__(self, agreement: PskAgreement) -> None:
        self._agreement = agreement

    def write(self, context: Context) -> PskBinders:
        """A binder for each; to one that nobody knows belong random bytes."""
        agreement, content = self._agreement, context.transcript_content()
        binders = []
        for index, psk in enumerate(agreement.options.offered):
            function = HASHES[psk.hash]
            early = agreement.early_secrets[index] = agreement.extract(context, function, psk.imported)
            binders.append(binder(function, early, function.digest(content)))
        if len(binders) < len(agreement.offered):
            binders.append(context.entropy.random_bytes(_UNKNOWN_BINDER))
        return PskBinders(tuple(binders))

    def read(self, context: Context, message: PskBinders) -> None:
        """Choose a psk, and verify its binder. Without one the same is done with zeros: neither alert nor time tells which."""
        agreement = self._agreement
        if len(message.binders) != len(agreement.offered):
            raise InvalidMessage(
                "another number of binders than of pre-shared keys",
                expected=str(len(agreement.offered)),
                received=str(len(message.binders)),
                alert=AlertCode.ILLEGAL_PARAMETER,
            )
        common = tuple(agreement.negotiation.common())
        if not common:
            return  # `suite` refuses that, whichever psks there are
        index = agreement.choose(common)
        identity, name = agreement.offered[index or 0]
        psk = None if index is None else agreement.options.accepted[identity, name]
        function = HASHES[name if name in PSK_HASHES else "SHA384"]
        imported = bytes(function.digest_size) if psk is None else psk.imported
        early = agreement.extract(context, function, imported)
        expected = binder(function, early, function.digest(context.transcript_content()))
        verifies = hmac.compare_digest(expected, message.binders[index or 0])
        if psk is None or index is None:
            raise self._unknown()
        if not verifies:
            raise _wrong(psk)
        agreement.early_secrets[index] = early
        agreement.selected = index
        agreement.negotiation.hash = psk.hash

    def _unknown(self) -> AuthenticationFailed:
        known = self._agreement.options.accepted
        offers = self._agreement.offered
        other = {identity for identity, _ in known} & {identity for identity, _ in offers}
        return AuthenticationFailed(
            "no pre-shared key in common",
            expected=listed([f"{identity} for {function}" for identity, function in known]),
            received=listed([f"{identity} for {function}" for identity, function in offers]),
            hint="that identity is known, but for other suites: the hash differs"
            if other
            else "give both ends the same pre-shared key, for this direction; or you were reached by mistake",
            alert=AlertCode.DECRYPT_ERROR,
        )

    def forget(self) -> None:
        """Drop the secrets of all the steps that share them."""
        self._agreement.forget()


def _wrong(psk: PreSharedKey) -> AuthenticationFailed:
    return AuthenticationFailed(
        "the peer did not prove that it has the pre-shared key",
        expected=f"a binder of {psk.identity!r}, from {psk.initiator!r} to {psk.responder!r}, over this handshake",
        received="a binder that does not verify",
        hint="the key or one of the two names differs at the other end, or the message belongs to another handshake",
        alert=AlertCode.DECRYPT_ERROR,
    )


class SelectPsk(MessageStep[PskSelection]):
    """The responder says which psk it has chosen; its early secret goes into the keys."""

    name, sender, message = "psk", RESPONDER, PskSelection
    needs, built_in = Stage.NOTHING, True

    __slots__ = ("_agreement",)

    def __init__(self, agreement: PskAgreement) -> None:
        self._agreement = agreement

    def write(self, context: Context) -> PskSelection:
        """The place in the offer."""
        if self._agreement.selected is None:
            raise InvalidMessage("no pre-shared key to select", alert=AlertCode.UNEXPECTED_MESSAGE)
        return PskSelection(self._agreement.selected)

    def read(self, context: Context, message: PskSelection) -> None:
        """Check that it was offered, for a suite as selected."""
        offered = self._agreement.offered
        if message.index >= len(offered):
            raise InvalidMessage(
                "the responder selected a pre-shared key that was not offered",
                expected=f"a place below {len(offered)}",
                received=str(message.index),
                alert=AlertCode.ILLEGAL_PARAMETER,
            )
        identity, function = offered[message.index]
        if context.suite is None or context.suite.hash.name != function:
            raise InvalidMessage(
                f"the responder selected the pre-shared key {identity!r} with a suite of another hash",
                expected=function,
                received=str(context.suite),
                alert=AlertCode.ILLEGAL_PARAMETER,
            )
        self._agreement.selected = message.index

    def commit(self, context: Context) -> None:
        """It is the session's; what was extracted from the others is dropped."""
        agreement = self._agreement
        if agreement.selected is None:
            raise InvalidMessage("no pre-shared key was selected", alert=AlertCode.UNEXPECTED_MESSAGE)
        identity, _ = agreement.offered[agreement.selected]
        context.use_psk(identity, agreement.early_secrets[agreement.selected])
        agreement.forget()
