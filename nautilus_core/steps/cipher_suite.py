"""`suites` and `suite`: cipher suites, and what each side can verify of the other. No key is made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..crypto.suites import SUITES, CipherSuite
from ..errors import AlertCode, InvalidMessage, NegotiationFailed
from ..identity.credentials import Anonymous, Identity
from ..identity.trust import TrustPolicy
from ..role import INITIATOR, RESPONDER, Role, Stage
from ..step import Message, MessageStep
from .fields import GREASE_BYTES, Offer, Offers, check_lengths, grease, listed
from .key_agreement import KeyAgreement, KeyShareRetry, ResponderKeyShare
from .noise_suite import NOISE_MESSAGES, REPLACED, NoiseSuite

if TYPE_CHECKING:
    from ..context import Context


class SuiteOffer(Message, frozen=True, tag="suites"):
    """The initiator's suites, in order of preference, and what it can verify."""

    suites: Offers
    schemes: Offers
    credential_types: Offers


class SuiteSelection(Message, frozen=True, tag="suite"):
    """The responder's choice, and what it can verify."""

    suite: Offer
    schemes: Offers
    credential_types: Offers


@dataclass(slots=True)
class SuiteNegotiation:
    """What the two steps share: this side's wishes, the peer's offers, the choice.

    Args:
        suites: names of cipher suites, in order of preference.
        identity: how this side proves who it is.
        trust: whom it wants to see; says which schemes and credential types can satisfy it.
        noise: the suites among them that are Noise protocols.
    """

    suites: tuple[str, ...]
    identity: Identity | Anonymous
    trust: TrustPolicy
    noise: Mapping[str, NoiseSuite] = field(default_factory=dict)
    offered: SuiteOffer | None = None
    selected: CipherSuite | None = None

    def usable(self, role: Role) -> tuple[str, ...]:
        """The suites that this side can use as `role`, and that can meet its trust policy."""
        if not self.noise:
            return self.suites
        signed = bool(self.trust.schemes) or self.trust.anonymous
        return tuple(
            [name for name in self.suites if (self.noise[name].usable(role) if name in self.noise else signed)]
        )

    def select(self, name: str) -> None:
        """Fix the suite."""
        self.selected = self.noise[name].suite if name in self.noise else SUITES[name]

    def fits(self, schemes: Sequence[str], credential_types: Sequence[str]) -> bool:
        """Whether the peer can verify this side's identity."""
        identity = self.identity
        scheme_fits = isinstance(identity, Anonymous) or identity.scheme in schemes
        return scheme_fits and identity.credential_type in credential_types

    def check_suite(self, name: str, schemes: Sequence[str], credential_types: Sequence[str]) -> None:
        """`check_identity`, unless the suite is a Noise protocol: that proves a static key, and not the identity."""
        if name not in self.noise:
            self.check_identity(schemes, credential_types)

    def check_identity(self, schemes: Sequence[str], credential_types: Sequence[str]) -> None:
        """`NegotiationFailed` unless the peer, by what it says it can verify, can verify this side's identity."""
        identity = self.identity
        if identity.credential_type not in credential_types:
            raise NegotiationFailed(
                "the peer does not accept this side's type of credential",
                expected=listed(credential_types),
                received=repr(identity.credential_type),
                hint="it wants to know who we are: use an identity" if isinstance(identity, Anonymous) else None,
            )
        if isinstance(identity, Identity) and identity.scheme not in schemes:
            raise NegotiationFailed(
                "the peer cannot verify this side's signatures, or trusts no key of that kind",
                expected=listed(schemes),
                received=repr(identity.scheme),
            )


class CipherSuiteExchange(MessageStep[SuiteOffer]):
    """The initiator offers suites."""

    name, sender, message = "suites", INITIATOR, SuiteOffer
    needs, built_in = Stage.NOTHING, True

    __slots__ = ("_negotiation",)

    def __init__(self, negotiation: SuiteNegotiation) -> None:
        self._negotiation = negotiation

    def write(self, context: Context) -> SuiteOffer:
        """Offer all suites, and what can meet the trust policy; one name in each list is unknown to everybody."""
        negotiation = self._negotiation
        unknown = grease(context.entropy.random_bytes(GREASE_BYTES))
        trust = negotiation.trust
        negotiation.offered = SuiteOffer(
            (*negotiation.usable(INITIATOR), unknown), (*trust.schemes, unknown), (*trust.credential_types, unknown)
        )
        return negotiation.offered

    def read(self, context: Context, message: SuiteOffer) -> None:
        """Keep the offer for `suite`."""
        check_lengths(message.suites + message.schemes + message.credential_types)
        self._negotiation.offered = message


class CipherSuiteAck(MessageStep[SuiteSelection]):
    """The responder selects a suite by its own preference; a wrong guess of the group adds a retry to the list."""

    name, sender, message = "suite", RESPONDER, SuiteSelection
    needs, built_in = Stage.NOTHING, True

    __slots__ = ("_agreement", "_negotiation", "inserts")

    def __init__(self, negotiation: SuiteNegotiation, agreement: KeyAgreement) -> None:
        self._negotiation = negotiation
        self._agreement = agreement
        self.inserts = (KeyShareRetry.name, *NOISE_MESSAGES) if negotiation.noise else (KeyShareRetry.name,)

    def write(self, context: Context) -> SuiteSelection:
        """Select, unless there is nothing in common or the initiator could not verify us."""
        negotiation = self._negotiation
        offered = negotiation.offered
        if offered is None:
            raise InvalidMessage("no suites to select from", alert=AlertCode.UNEXPECTED_MESSAGE)
        selected = self._choose(negotiation, offered)
        negotiation.check_suite(selected, offered.schemes, offered.credential_types)
        negotiation.select(selected)
        unknown = grease(context.entropy.random_bytes(GREASE_BYTES))
        trust = negotiation.trust
        return SuiteSelection(selected, (*trust.schemes, unknown), (*trust.credential_types, unknown))

    def _choose(self, negotiation: SuiteNegotiation, offered: SuiteOffer) -> str:
        """The first of our suites in common; where our identity does not do, the first that is a Noise protocol."""
        usable, offers = negotiation.usable(RESPONDER), offered.suites
        for selected in usable:
            if selected in offers:
                break
        else:
            raise NegotiationFailed(
                "no cipher suite in common",
                expected=f"one of {listed(usable)}",
                received=listed(offers),
            )
        if not negotiation.noise or negotiation.fits(offered.schemes, offered.credential_types):
            return selected
        return next((name for name in usable if name in offers and name in negotiation.noise), selected)

    def read(self, context: Context, message: SuiteSelection) -> None:
        """Check that the suite was offered, and that the responder can verify us."""
        negotiation = self._negotiation
        if message.suite not in negotiation.usable(INITIATOR):
            raise InvalidMessage(
                "the responder selected a suite that was not offered",
                expected=listed(negotiation.usable(INITIATOR)),
                received=repr(message.suite),
                alert=AlertCode.ILLEGAL_PARAMETER,
            )
        check_lengths(message.schemes + message.credential_types)
        negotiation.check_suite(message.suite, message.schemes, message.credential_types)
        negotiation.select(message.suite)

    def commit(self, context: Context) -> None:
        """Fix the hash; ask for another share where the guess was wrong, right before `responder-key-share`.

        A Noise protocol puts its messages in the place of key shares and authentications; its prologue is the transcript.
        """
        suite = self._negotiation.selected
        if suite is None:
            raise InvalidMessage("no suite was selected", alert=AlertCode.UNEXPECTED_MESSAGE)
        context.suite = suite
        noise = self._negotiation.noise.get(suite.name)
        prologue = b"" if noise is None else context.transcript_content()
        context.select_hash(suite.hash.name)
        if noise is not None:
            self._agreement.forget()
            context.steps.replace_block(REPLACED, noise.make_steps(context.role, prologue))
        elif self._agreement.select(suite.group):
            context.steps.insert_before(ResponderKeyShare.name, KeyShareRetry(self._agreement))
