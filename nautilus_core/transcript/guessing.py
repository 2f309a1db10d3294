"""A profile that replays a transcript whole, made from what stands in it, where the real one is not at hand.

For `nautilus/1` alone. What the wire shows is taken from there; what cannot show (the trust policy) is guessed from how the
handshake ended, and whoever uses a guess replays it first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from ..crypto.signatures import SCHEMES
from ..crypto.suites import DEFAULT_SUITES
from ..crypto.traffic_key import TrafficKey
from ..errors import HandshakeError, InvalidMessage, LocalProtocolError
from ..frames import HEADER_LENGTH
from ..identity import trust
from ..identity.credentials import ANONYMOUS_TYPE, RAW_PUBLIC_KEY
from ..identity.did import DID
from ..identity.identities import ANONYMOUS, Anonymous, Identity
from ..identity.keys import PublicKey
from ..identity.policy import TrustPolicy
from ..identity.psks import PreSharedKey
from ..identity.trust import InMemoryKnownPeers
from ..identity.x509 import X509, Chain, certificates_in, decode_chain, key_of
from ..limits import Limits
from ..profiles import Profile, nautilus
from ..role import INITIATOR, RESPONDER, Role
from ..step import Message
from ..steps.authentication import InitiatorProof, ResponderProof
from ..steps.cipher_suite import SuiteOffer, SuiteSelection
from ..steps.hello import TARGET, Hello, HelloSelection
from ..steps.psk import OfferPsks, PskOffer, PskSelection
from .lines import Asked, Completed, Failed, TranscriptError
from .pieces import MESSAGES, pieces_of
from .reader import Transcript
from .replay import replay
from .report import ReplayDiverged
from .unsealing import handshake_keys

_PEER_ID: Final = re.compile(r"key:[a-z2-7]{52}")
_ANOTHER_KEY: Final = " has another key than before"


@dataclass(frozen=True, slots=True)
class Guess:
    """The arguments of `profiles.nautilus` that make a profile which replays.

    Attributes:
        protocols: application protocol ids.
        suites: names of cipher suites.
        target: whom the initiator wanted.
        extensions: what this side said, by name.
        identity: its public key; None for anonymous; a scheme where it showed nothing, so that any key of it will do, or where
            its `did` says nothing of its key.
        policy: `anyone`, `ask`, `pinned`, `known_peers`, `dids` or `authorities`.
        names: of the policy: the pinned peer ids; the name and what was known under it; the DID; the authority in PEM, and the
            name that was dialled, which is empty for a responder.
        anonymous: whether an anonymous peer was welcome.
        schemes: what the policy offered to verify.
        limits: as recorded.
        did: that this side presented; None for none.
        certificates: likewise its chain, in PEM; empty for none.
        psks: the pre-shared keys of this side, by identity and hash.
        role: which end recorded.
    """

    protocols: tuple[str, ...]
    suites: tuple[str, ...]
    target: str | None
    extensions: tuple[tuple[str, bytes], ...]
    identity: PublicKey | str | None
    policy: str
    names: tuple[str, ...]
    anonymous: bool
    schemes: tuple[str, ...]
    limits: Limits
    did: str | None = None
    certificates: str = ""
    psks: tuple[tuple[str, str], ...] = ()
    role: Role = INITIATOR

    def make(self) -> Profile:
        """The profile; `ValueError` where there is none of such arguments."""
        return nautilus(
            identity=self._identity(),
            trust=self._trust(),
            protocols=self.protocols,
            suites=self.suites,
            target=self.target,
            extensions=dict(self.extensions),
            psks=[psk_named(*psk) for psk in self.psks],
            psk_name=self.role.value if self.psks else None,
            limits=self.limits,
        )

    def _identity(self) -> Identity | Anonymous:
        if self.identity is None:
            return ANONYMOUS
        if isinstance(self.identity, str):
            made = Identity.generate(self.identity)
            return made if self.did is None else made.presenting(DID, self.did.encode())
        return Identity.public_only(
            self.identity, certificates_in(self.certificates.encode()) if self.certificates else ()
        )

    def _trust(self) -> TrustPolicy:
        match self.policy:
            case "pinned":
                policy = trust.pinned(*self.names)
            case "known_peers":
                name, *known = self.names
                policy = trust.known_peers(known_before(name, *known), name=name)
            case "dids":
                return trust.dids(*self.names)
            case "authorities":
                authority, name = self.names
                return trust.authorities(authority.encode(), name=name or None)
            case "ask":
                policy = trust.ask(anonymous=self.anonymous)
            case _:
                policy = trust.anyone(anonymous=self.anonymous)
        policy.schemes = self.schemes
        return policy


def psk_named(identity: str, function: str) -> PreSharedKey:
    """A pre-shared key that is called so, for suites with this hash. What came of the real one is on the tape."""
    return PreSharedKey.public_only(identity, initiator=INITIATOR.value, responder=RESPONDER.value, hash=function)


def known_before(name: str, *peer_ids: str) -> InMemoryKnownPeers:
    """A store that knows these peers under `name`."""
    store = InMemoryKnownPeers()
    for peer_id in peer_ids:
        store.remember(name, peer_id)
    return store


def guess(transcript: Transcript) -> Guess | None:
    """What fits a transcript with secrets: the first guess that replays it whole; None where none does."""
    if transcript.header.framing != "nautilus/1" or not transcript.header.secrets:
        return None
    for one in _possible(transcript):
        try:
            if replay(transcript, one.make()).full:
                return one
        except (ReplayDiverged, TranscriptError, ValueError, HandshakeError, LocalProtocolError):
            continue
    return None


def _possible(transcript: Transcript) -> list[Guess]:
    """All guesses; none where a credential cannot be read, which a stranger may have written."""
    try:
        return list(_guesses(transcript))
    except ValueError:
        return []


def _guesses(transcript: Transcript) -> Iterator[Guess]:
    role = transcript.header.role
    messages = list(_messages(transcript))
    own = [message for sender, message in messages if sender is role]
    base = _from_the_wire(role, own, transcript.header.limits)
    if base is None:
        return
    theirs = [message for sender, message in messages if sender is not role]
    offered = next((one.schemes for one in theirs if isinstance(one, (SuiteOffer, SuiteSelection))), ())
    policy, names = _policy(transcript, own, theirs)
    base = replace(base, policy=policy, names=names, psks=_psks(transcript, own, theirs), role=role)
    proof = _proof(own)
    if proof is not None and proof.credential_type == DID:
        yield replace(base, identity=proof.scheme, did=proof.credential.decode("ascii", "replace"))
    elif proof is not None and proof.credential_type == X509:
        chain = decode_chain(proof.credential)
        yield replace(base, identity=key_of(chain[0]), certificates=_pem(chain))
    else:
        for identity in _identities(own, offered):
            yield replace(base, identity=identity)


def _messages(transcript: Transcript) -> Iterator[tuple[Role, Message]]:
    """The messages of `nautilus/1` that were accepted, those that were sealed opened with the recorded secrets."""
    plain: list[tuple[bytes, Message | None]] = []
    keys: dict[Role, TrafficKey] | None = None
    for piece in pieces_of(transcript):
        if piece.kind != "message" or piece.step is None:
            continue
        head, body = piece.data[:HEADER_LENGTH], piece.data[HEADER_LENGTH:]
        if piece.sealed:
            keys = handshake_keys(transcript, plain) if keys is None else keys
            try:
                body = keys[piece.sender].open(body, head)
            except (KeyError, InvalidMessage):
                return
        message = _decoded(piece.step, body)
        if not piece.sealed:
            plain.append((piece.data, message))
        if message is not None:
            yield piece.sender, message


def _decoded(step: str, body: bytes) -> Message | None:
    try:
        message: Message | None = msgspec.msgpack.decode(body, type=MESSAGES[step]) if step in MESSAGES else None
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return None
    return message


def _from_the_wire(role: Role, own: list[Message], limits: Limits) -> Guess | None:
    hello = next((one for one in own if isinstance(one, (Hello, HelloSelection))), None)
    suite = next((one for one in own if isinstance(one, (SuiteOffer, SuiteSelection))), None)
    if hello is None and suite is None and role is RESPONDER:  # it has said nothing: what it had to say does not matter
        return Guess((), DEFAULT_SUITES, None, (), None, "anyone", (), False, tuple(SCHEMES), limits)
    if hello is None or suite is None:
        return None
    offered = hello.protocols if isinstance(hello, Hello) else (hello.protocol,)
    extensions = {name: value for name, value in hello.extensions if not name.startswith("grease-")}
    target = extensions.pop(TARGET, None)
    return Guess(
        protocols=_known(tuple(one for one in offered if one is not None)),
        suites=_known(suite.suites) if isinstance(suite, SuiteOffer) else (suite.suite,),
        target=None if target is None or role is not INITIATOR else target.decode("utf-8", "replace"),
        extensions=tuple(extensions.items()),
        identity=None,
        policy="anyone",
        names=(),
        anonymous=ANONYMOUS_TYPE in suite.credential_types,
        schemes=_known(suite.schemes),
        limits=limits,
    )


def _known(offers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(offer for offer in offers if not offer.startswith("grease-"))


def _identities(own: list[Message], offered: tuple[str, ...]) -> Iterator[PublicKey | str | None]:
    """This side's, where it has shown it; else whatever the peer could have verified."""
    proof = _proof(own)
    if proof is not None:
        if proof.credential_type == RAW_PUBLIC_KEY:
            yield PublicKey(proof.scheme, proof.credential)
        else:
            yield None
        return
    yield from (scheme for scheme in _known(offered) if scheme in SCHEMES)
    yield None
    yield from (scheme for scheme in SCHEMES if scheme not in offered)


def _proof(messages: list[Message]) -> InitiatorProof | ResponderProof | None:
    return next((one for one in messages if isinstance(one, (InitiatorProof, ResponderProof))), None)


def _pem(chain: Chain) -> str:
    return "".join([certificate.public_bytes(Encoding.PEM).decode() for certificate in chain])


def _psks(transcript: Transcript, own: list[Message], theirs: list[Message]) -> tuple[tuple[str, str], ...]:
    """Those that this side has offered, or the one that it has selected; where it has neither, some that nobody has."""
    if all(step.name != OfferPsks.name for step in transcript.header.steps):
        return ()
    offer = next((one for one in (*own, *theirs) if isinstance(one, PskOffer)), None)
    if offer is not None and offer in own:
        return tuple([psk for psk in offer.psks if not psk[0].startswith("grease-")])
    selection = next((one for one in own if isinstance(one, PskSelection)), None)
    if offer is None or selection is None or selection.index >= len(offer.psks):
        return (("unknown", "SHA256"),)
    return (offer.psks[selection.index],)


def _by_credential(
    transcript: Transcript, own: list[Message], theirs: list[Message]
) -> tuple[str, tuple[str, ...]] | None:
    """The policy of who accepts one kind of credential, and has seen one."""
    suite = next((one for one in own if isinstance(one, (SuiteOffer, SuiteSelection))), None)
    proof = _proof(theirs)
    kinds = () if suite is None or proof is None else _known(suite.credential_types)
    if proof is None or kinds not in ((DID,), (X509,)):
        return None
    if kinds == (DID,):
        return "dids", (proof.credential.decode("ascii", "replace").partition("#")[0],)
    names = next((line.names for line in transcript.lines if isinstance(line, Completed)), ())
    dialled = names[0] if names and transcript.header.role is INITIATOR else ""
    return "authorities", (_pem(decode_chain(proof.credential)[-1:]), dialled)


def _policy(transcript: Transcript, own: list[Message], theirs: list[Message]) -> tuple[str, tuple[str, ...]]:
    found = _by_credential(transcript, own, theirs)
    if found is not None:
        return found
    for line in transcript.lines:
        if isinstance(line, Asked) and line.question == "PeerIdentified":
            name = line.values.get("name")
            return ("ask", ()) if name is None else ("known_peers", (str(name),))
        if isinstance(line, Failed) and line.message is not None and line.expected is not None:
            peers = tuple(_PEER_ID.findall(line.expected))
            if line.message.endswith(_ANOTHER_KEY):
                return "known_peers", (line.message.removesuffix(_ANOTHER_KEY), *peers)
            if line.message == "the peer's key is not a pinned one" and peers:
                return "pinned", peers
    return "anyone", ()
