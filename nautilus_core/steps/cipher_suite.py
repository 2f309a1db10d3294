"""`suites` and `suite`: cipher suites, and what each side can verify of the other. No key is made here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..crypto.suites import SUITES, CipherSuite
from ..errors import AlertCode, InvalidMessage, NegotiationFailed
from ..identity.credentials import ANONYMOUS_TYPE
from ..identity.identities import ANONYMOUS, Anonymous, Identity
from ..identity.policy import TrustPolicy
from ..identity.targets import AnyIdentity, Identities
from ..role import INITIATOR, RESPONDER, Role, Stage
from ..step import Message, MessageStep
from .fields import GREASE_BYTES, Offer, Offers, check_lengths, grease, listed
from .hello import TARGET
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


@dataclass(frozen=True, slots=True)
class SuiteOptions:
    """What a side can use, how it proves who it is, and whom it wants: the same in all handshakes of a profile.

    Attributes:
        identity: how this side proves who it is; several where the initiator's target decides.
        trust: whom it wants to see; says which schemes and credential types can satisfy it.
        usable: for each role the names of the suites that it can use and that can meet `trust`, in order of preference.
        suites: every suite by name.
        noise: those of them that are Noise protocols.
    """

    identity: AnyIdentity
    trust: TrustPolicy
    usable: Mapping[Role, tuple[str, ...]]
    suites: Mapping[str, CipherSuite]
    noise: Mapping[str, NoiseSuite]

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        identity: AnyIdentity,
        trust: TrustPolicy,
        noise: Mapping[str, NoiseSuite],
        hashes: Sequence[str] | None = None,
    ) -> SuiteOptions:
        """The options of a side that wants the suites `names`, of which those in `noise` are Noise protocols.

        It offers those alone that have one of `hashes`, where that is not None.
        """
        unread = [kind for kind in trust.credential_types if kind != ANONYMOUS_TYPE and kind not in trust.kinds]
        if unread:
            raise ValueError(
                f"the trust policy takes credentials of the type {unread[0]!r}, which none of its kinds reads"
            )
        signed = bool(trust.schemes) or trust.anonymous
        usable = {
            role: tuple([name for name in names if (noise[name].usable(role) if name in noise else signed)])
            for role in Role
        }
        suites = {name: noise[name].suite if name in noise else SUITES[name] for name in names}
        if hashes is not None:
            usable[INITIATOR] = tuple([name for name in usable[INITIATOR] if suites[name].hash.name in hashes])
        return cls(identity, trust, usable, suites, noise)

    def check_role(self, role: Role) -> None:
        """Raise `ValueError` where `role` could offer, or select, no suite at all, or could not judge its peer."""
        self.trust.check_role(role)
        if not self.usable[role]:
            why = "; ".join(suite.problems[role] for suite in self.noise.values())
            raise ValueError(
                f"none of the suites can be used as {role.value}: {why or 'the trust policy trusts no signatures'}"
            )
        if role is INITIATOR and isinstance(self.identity, Identities) and self.identity.default is None:
            raise ValueError("as initiator this side needs an identity: these have no default")


class SuiteNegotiation:
    """What the steps of one handshake share: the options, the initiator's offer, the choice.

    Attributes:
        identity: of this side in this handshake.
        hash: the only hash whose suites the responder may select, as a pre-shared key says; None for any.
    """

    __slots__ = ("hash", "identity", "offered", "options", "selected", "trust")

    def __init__(self, options: SuiteOptions) -> None:
        self.options = options
        identity = options.identity
        self.identity = (identity.default or ANONYMOUS) if isinstance(identity, Identities) else identity
        self.trust = options.trust
        self.offered: SuiteOffer | None = None
        self.selected: CipherSuite | None = None
        self.hash: str | None = None

    def choose_identity(self, context: Context) -> None:
        """On the responder: who it is for this initiator; `NegotiationFailed` where nobody is."""
        if isinstance(self.options.identity, Identities):
            self.identity = self.options.identity.named(context.extensions.get(TARGET))

    def common(self) -> Iterator[str]:
        """On the responder: the suites that both ends can use, in its own order."""
        offered, suites = self.offered, self.options.suites
        if offered is None:
            raise InvalidMessage("no suites to select from", alert=AlertCode.UNEXPECTED_MESSAGE)
        for name in self.options.usable[RESPONDER]:
            if name in offered.suites and (self.hash is None or suites[name].hash.name == self.hash):
                yield name

    def select(self, name: str, schemes: Sequence[str], credential_types: Sequence[str]) -> None:
        """Fix the suite; `NegotiationFailed` unless the peer can verify this side's identity, by what it says it can.

        A Noise protocol proves a static key, and not the identity.
        """
        options = self.options
        if name not in options.noise:
            identity = self.identity
            if identity.credential_type not in credential_types:
                raise NegotiationFailed(
                    "the peer does not accept this side's type of credential",
                    expected=listed(credential_types),
                    received=repr(identity.credential_type),
                    hint="it wants to know who we are: use an identity"
                    if isinstance(identity, Anonymous)
                    else "use an identity of a type that it accepts, or let its trust policy take this type",
                )
            if isinstance(identity, Identity) and identity.scheme not in schemes:
                raise NegotiationFailed(
                    "the peer cannot verify this side's signatures, or trusts no key of that kind",
                    expected=listed(schemes),
                    received=repr(identity.scheme),
                    hint="use a key of a scheme that it accepts, or let it trust this one",
                )
        self.selected = options.suites[name]

    def fits(self, schemes: Sequence[str], credential_types: Sequence[str]) -> bool:
        """Whether the peer can verify this side's identity."""
        identity = self.identity
        scheme_fits = isinstance(identity, Anonymous) or identity.scheme in schemes
        return scheme_fits and identity.credential_type in credential_types


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
            (*negotiation.options.usable[INITIATOR], unknown),
            (*trust.schemes, unknown),
            (*trust.credential_types, unknown),
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
        self.inserts = (KeyShareRetry.name, *NOISE_MESSAGES) if negotiation.options.noise else (KeyShareRetry.name,)

    def write(self, context: Context) -> SuiteSelection:
        """Select, unless there is nothing in common or the initiator could not verify us."""
        negotiation = self._negotiation
        offered = negotiation.offered
        if offered is None:
            raise InvalidMessage("no suites to select from", alert=AlertCode.UNEXPECTED_MESSAGE)
        negotiation.choose_identity(context)
        selected = self._choose(negotiation, offered)
        negotiation.select(selected, offered.schemes, offered.credential_types)
        unknown = grease(context.entropy.random_bytes(GREASE_BYTES))
        trust = negotiation.trust
        return SuiteSelection(selected, (*trust.schemes, unknown), (*trust.credential_types, unknown))

    def _choose(self, negotiation: SuiteNegotiation, offered: SuiteOffer) -> str:
        """The first of our suites in common; where our identity does not do, the first that is a Noise protocol."""
        noise, selected = negotiation.options.noise, next(negotiation.common(), None)
        if selected is None:
            raise NegotiationFailed(
                "no cipher suite in common",
                expected=f"one of {listed(negotiation.options.usable[RESPONDER])}",
                received=listed(offered.suites),
            )
        if not noise or negotiation.fits(offered.schemes, offered.credential_types):
            return selected
        return next((name for name in negotiation.common() if name in noise), selected)

    def read(self, context: Context, message: SuiteSelection) -> None:
        """Check that the suite was offered, and that the responder can verify us."""
        negotiation = self._negotiation
        offered = negotiation.options.usable[INITIATOR]
        if message.suite not in offered:
            raise InvalidMessage(
                "the responder selected a suite that was not offered",
                expected=listed(offered),
                received=repr(message.suite),
                alert=AlertCode.ILLEGAL_PARAMETER,
            )
        check_lengths(message.schemes + message.credential_types)
        negotiation.select(message.suite, message.schemes, message.credential_types)

    def commit(self, context: Context) -> None:
        """Fix the hash; ask for another share where the guess was wrong, right before `responder-key-share`.

        A Noise protocol puts its messages in the place of key shares and authentications; its prologue is the transcript.
        """
        suite = self._negotiation.selected
        if suite is None:
            raise InvalidMessage("no suite was selected", alert=AlertCode.UNEXPECTED_MESSAGE)
        context.suite = suite
        noise = self._negotiation.options.noise.get(suite.name)
        prologue = b"" if noise is None else context.transcript_content()
        context.select_hash(suite.hash.name)
        if noise is not None:
            self._agreement.forget()
            context.steps.replace_block(REPLACED, noise.make_steps(context.role, prologue))
        elif self._agreement.select(suite.group):
            context.steps.insert_before(ResponderKeyShare.name, KeyShareRetry(self._agreement))
