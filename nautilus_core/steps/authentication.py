"""`responder-authentication` and `initiator-authentication`: a credential and the proof of possession, over the transcript.

The construction is CertificateVerify's (RFC 8446 section 4.4.3): a fixed context with the protocol and the role stands
first, then the transcript hash, then a hash over the credential itself.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta

from ..crypto.hashing import HashFunction
from ..errors import AlertCode, AuthenticationFailed, InvalidMessage, LocalProtocolError
from ..events import Question, SignatureNeeded
from ..identity.credentials import ANONYMOUS_TYPE, RAW_PUBLIC_KEY, Presented, Resolving
from ..identity.identities import ANONYMOUS, Identity
from ..identity.peers import Peer, VerifiedPeer, check_counts, verify_possession
from ..identity.policy import TrustPolicy, settle
from ..role import INITIATOR, Role, Stage
from ..step import Message, MessageStep, Reading, Writing
from .cipher_suite import SuiteNegotiation
from .fields import Credential, Offer, Signature

if TYPE_CHECKING:
    from ..context import Context

_CONTEXT: Final = {role: b" " * 64 + f"nautilus/1 {role.value} authentication".encode() + b"\0" for role in Role}

_NOTHING: Final = Stage.NOTHING
_PEER: Final = Stage.PEER

_MaybeScheme = Annotated[str, Meta(max_length=64)]


class ResponderProof(Message, frozen=True, tag="responder-authentication"):
    """The responder's credential and its signature."""

    credential_type: Offer
    credential: Credential
    scheme: _MaybeScheme
    signature: Signature


class InitiatorProof(Message, frozen=True, tag="initiator-authentication"):
    """The initiator's credential and its signature; all empty but the type when it is anonymous."""

    credential_type: Offer
    credential: Credential
    scheme: _MaybeScheme
    signature: Signature


Proof = ResponderProof | InitiatorProof


def signed_content(
    sender: Role,
    transcript_hash: bytes,
    function: HashFunction,
    credential_type: str,
    scheme: str,
    credential: bytes,
) -> bytes:
    """What `sender` signs: the context of its role, the transcript before, and the hash of what it presents."""
    return _CONTEXT[sender] + transcript_hash + _presented_hash(function, credential_type, scheme, credential)


@lru_cache(maxsize=64)
def _presented_hash(function: HashFunction, credential_type: str, scheme: str, credential: bytes) -> bytes:
    """Of what a side presents: the same in all its handshakes, so the last 64 (at most 32 KiB each) are remembered."""
    kind, name = credential_type.encode(), scheme.encode()
    head = bytes((len(kind),)) + kind + bytes((len(name),)) + name + len(credential).to_bytes(3, "big")
    return function.digest(head + credential)


class Authentication(MessageStep[Proof]):
    """One side proves who it is; the other verifies, and its trust policy decides, which may ask the application."""

    built_in = True
    needs = Stage.KEYS

    __slots__ = ("_negotiation", "_peer", "message", "name", "provides", "sender")

    def __init__(self, sender: Role, negotiation: SuiteNegotiation) -> None:
        self.sender = sender
        if sender is INITIATOR:
            self.name, self.message, self.provides = "initiator-authentication", InitiatorProof, _PEER
        else:
            self.name, self.message, self.provides = "responder-authentication", ResponderProof, _NOTHING
        self._negotiation = negotiation
        self._peer: Peer | None = None

    def write(self, context: Context) -> Writing[Proof]:
        """Sign with this side's identity, or say that it is anonymous; ask where the key lives elsewhere."""
        identity = self._negotiation.identity
        if not isinstance(identity, Identity):
            return self.message(ANONYMOUS_TYPE, b"", "", b"")
        kind, scheme, credential = identity.credential_type, identity.scheme, identity.credential
        content = signed_content(self.sender, context.transcript_hash(), _hash(context), kind, scheme, credential)
        if identity.signs_elsewhere:
            return self._write_later(context, identity, content)
        return self.message(kind, credential, scheme, context.entropy.sign(identity, content))

    def _write_later(
        self, context: Context, identity: Identity, content: bytes
    ) -> Generator[Question[Any], Any, Proof]:
        """The same with the application's signature. A wrong one stays here: the peer would take this side for an impostor."""
        public, scheme = identity.public, identity.scheme
        signature = yield from context.ask(SignatureNeeded(public_key=public, scheme=scheme, content=content))
        if not isinstance(signature, bytes) or not public.verify(signature, content):
            got = f"{len(signature)} bytes" if isinstance(signature, bytes) else type(signature).__name__
            raise LocalProtocolError(
                f"{self.name}: the signer's answer is no signature of this handshake; expected a signature by {scheme} with "
                f"{public.peer_id}; got {got} (hint: the signer has another key, hashes the content itself, or encodes otherwise)"
            )
        return self.message(identity.credential_type, identity.credential, scheme, signature)

    def read(self, context: Context, message: Proof) -> Reading:
        """Verify the proof, then let the trust policy decide."""
        trust = self._negotiation.trust
        if message.credential_type not in trust.credential_types:
            raise self._not_accepted(message, trust)
        if message.credential_type == ANONYMOUS_TYPE:
            if message.credential or message.scheme or message.signature:
                raise InvalidMessage("an anonymous peer that presents something", alert=AlertCode.ILLEGAL_PARAMETER)
            self._peer = ANONYMOUS
            return settle(trust.authorize(ANONYMOUS, context), ANONYMOUS, self._admit)
        known = trust.known_key(message.scheme, message.credential)
        if known is not None and message.credential_type == RAW_PUBLIC_KEY:
            return self._verify(context, message, Presented((known,)))
        presented = self._read_credential(message, trust)
        if isinstance(presented, Presented):
            return self._verify(context, message, presented)
        return self._resolve(context, message, presented)

    def _read_credential(self, message: Proof, trust: TrustPolicy) -> Presented | Resolving:
        """What the credential stands for."""
        kind = trust.kinds[message.credential_type]
        schemes = [scheme for scheme in trust.schemes if scheme in kind.schemes]
        if message.scheme not in schemes:
            raise InvalidMessage(
                "a signature scheme that was not offered",
                expected=", ".join(schemes),
                received=repr(message.scheme),
                alert=AlertCode.ILLEGAL_PARAMETER,
            )
        size = len(message.credential)
        if size > kind.max_length:
            raise _not_usable(f"{size} bytes; at most {kind.max_length} are accepted of a {kind.name}")
        try:
            read = kind.read(message.credential, message.scheme)
            return _of_scheme(read, message.scheme) if isinstance(read, Presented) else read
        except ValueError as error:
            raise _not_usable(str(error)) from error

    def _resolve(self, context: Context, message: Proof, resolving: Resolving) -> Generator[Question[Any], Any, None]:
        """The same, of a credential that the application looks up first."""
        try:
            presented = _of_scheme((yield from resolving), message.scheme)
        except ValueError as error:
            raise _not_usable(str(error)) from error
        deciding = self._verify(context, message, presented)
        if deciding is not None:
            yield from deciding

    def _verify(self, context: Context, message: Proof, presented: Presented) -> Reading:
        """Whether the peer owns what it presents, and is welcome."""
        kind, scheme, credential = message.credential_type, message.scheme, message.credential
        content = signed_content(self.sender, context.transcript_hash(), _hash(context), kind, scheme, credential)
        self._peer = peer = verify_possession(kind, presented, message.signature, content)
        if peer.valid_until is not None:
            check_counts(peer, context.wall_time)
        context.judged = peer
        decision = self._negotiation.trust.authorize(peer, context)
        return None if decision is None else settle(decision, peer, self._admit)

    def _admit(self, peer: VerifiedPeer) -> None:
        self._peer = peer

    def commit(self, context: Context) -> None:
        """The peer is known now."""
        if context.role is not self.sender:
            if self._peer is None:
                raise LocalProtocolError("a peer that was not verified")
            context.peer = self._peer
            context.when_complete(partial(self._negotiation.trust.remember, self._peer, context))

    def _not_accepted(self, message: Proof, trust: TrustPolicy) -> Exception:
        accepted = ", ".join(trust.credential_types)
        if message.credential_type == ANONYMOUS_TYPE:
            return AuthenticationFailed(
                "the peer did not say who it is",
                expected=accepted,
                received="anonymous",
                hint="it was told that it has to: its software is at fault",
            )
        return InvalidMessage(
            "a credential type that was not offered",
            expected=accepted,
            received=repr(message.credential_type),
            alert=AlertCode.ILLEGAL_PARAMETER,
        )


def _hash(context: Context) -> HashFunction:
    if context.suite is None:
        raise LocalProtocolError("authentication before a cipher suite is selected")
    return context.suite.hash


def _of_scheme(presented: Presented, scheme: str) -> Presented:
    """What was read, whose keys are of the scheme that was negotiated: a kind of the application's may give others."""
    for key in presented.keys:
        if key.scheme != scheme:
            raise AuthenticationFailed(
                "the peer signed with another scheme than the key of its credential has",
                expected=key.scheme,
                received=scheme,
                hint="the peer's software is at fault, or somebody tries another scheme on its key",
                alert=AlertCode.BAD_CERTIFICATE,
            )
    return presented


def _not_usable(why: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        "the credential is not usable",
        received=why,
        hint="the peer's identity is made or configured wrong: it proves nothing",
        alert=AlertCode.BAD_CERTIFICATE,
    )
