"""Peers: verified, claimed, anonymous. `verify_possession`, `verify_key_agreement` and `verify_tls` alone make a `VerifiedPeer`.

Whether to trust one is decided by a `TrustPolicy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from ..errors import AlertCode, AuthenticationFailed
from .credentials import Presented
from .identities import Anonymous
from .keys import PublicKey

_ONLY_VERIFICATION: Final = object()
_NOTHING_MORE: Final = Presented(())


class VerifiedPeer:
    """A peer that has proved possession of its key in this handshake. Only verifying functions can make one.

    Attributes:
        public_key: the key whose possession was proved.
        credential_type: how it was presented.
        identifier: what the credential names beside the key, where that was verified (a DID); None elsewhere.
        names: those that an authority certifies, where a trust policy has verified that; empty elsewhere.
        evidence: what the peer presented, for trust policies; it says no more than `identifier` and `names` do.
        valid_until: after which all this does not count any more; None where it does not say.
    """

    __slots__ = ("credential_type", "evidence", "identifier", "names", "public_key", "valid_until")

    public_key: PublicKey
    credential_type: str
    identifier: str | None
    names: tuple[str, ...]
    evidence: object
    valid_until: datetime | None

    def __init__(
        self,
        proof: object,
        credential_type: str,
        public_key: PublicKey,
        presented: Presented | None = None,
        names: tuple[str, ...] = (),
        valid_until: datetime | None = None,
    ) -> None:
        if proof is not _ONLY_VERIFICATION:
            raise TypeError("only the verification of a proof makes a VerifiedPeer")
        put = object.__setattr__
        put(self, "credential_type", credential_type)
        put(self, "public_key", public_key)
        put(self, "names", names)
        if presented is None:
            presented = _NOTHING_MORE
        put(self, "identifier", presented.identifier)
        put(self, "evidence", presented.evidence)
        until = presented.valid_until
        if valid_until is not None and (until is None or valid_until < until):
            until = valid_until
        put(self, "valid_until", until)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a VerifiedPeer does not change")

    @property
    def peer_id(self) -> str:
        """What the peer is known by: derived from the verified key alone."""
        return self.public_key.peer_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifiedPeer) and other.public_key == self.public_key

    def __hash__(self) -> int:
        return hash(self.public_key)

    def __repr__(self) -> str:
        return f"VerifiedPeer({self.public_key.scheme}, {self.peer_id})"


Peer: TypeAlias = VerifiedPeer | Anonymous
"""Who is at the other end, once that is proved."""


@dataclass(frozen=True, slots=True)
class ClaimedPeer:
    """Whom a Noise static key belongs to, before it has proved anything.

    The session's keys will be bound to it: nobody else can read what is sent, or have sent what comes. So a trust policy can
    refuse it; but only what it sends proves that it is there.
    """

    credential_type: str
    public_key: PublicKey

    @property
    def peer_id(self) -> str:
        """What it would be known by."""
        return self.public_key.peer_id


def certify(peer: VerifiedPeer, names: tuple[str, ...], valid_until: datetime | None) -> VerifiedPeer:
    """The peer, once a trust policy has verified what an authority says of it.

    Args:
        peer: who has proved possession of the key that is certified.
        names: that the authority certifies.
        valid_until: until when, with a time zone; None where it does not say. It counts no longer than the credential does.
    """
    presented = Presented((peer.public_key,), peer.identifier, peer.evidence, peer.valid_until)
    return VerifiedPeer(_ONLY_VERIFICATION, peer.credential_type, peer.public_key, presented, names, valid_until)


def verify_key_agreement(credential_type: str, public_key: PublicKey, source: int) -> VerifiedPeer:
    """The peer, once a message of it has opened under keys made by a Diffie-Hellman with its static key.

    Args:
        credential_type: how the key was presented.
        public_key: the static key.
        source: the source property of that message (Noise section 7.7): 1 by `ss`, 2 by `es` or `se`.

    Raises:
        AuthenticationFailed: for 0: the message could be anybody's.
    """
    if source < 1:
        raise AuthenticationFailed(
            "the peer did not prove that it owns its static key",
            expected="a message under a key that is made with it",
            received="a message that anybody could have sent",
            hint="choose a Noise pattern in which this side's peer proves its static key",
        )
    return VerifiedPeer(_ONLY_VERIFICATION, credential_type, public_key)


def verify_tls(credential_type: str, presented: Presented, proved: PublicKey, version: str) -> VerifiedPeer:
    """The peer, once a whole TLS handshake with the certificate that it has presented is complete.

    Its CertificateVerify and its Finished have verified then (RFC 8446 sections 4.4.3 and 4.4.4): it owns the certificate's key.

    Args:
        credential_type: how the key was presented.
        presented: what the peer has shown in this handshake, as a policy reads it.
        proved: the key of its certificate, which must be the only one in `presented`.
        version: of TLS.

    Raises:
        AuthenticationFailed: for another version, in which a client's certificate proves something else, or other keys.
    """
    if version != "TLSv1.3" or len(presented.keys) != 1:
        raise AuthenticationFailed(
            "the peer did not prove that it owns its certificate's key",
            expected="one key, in a handshake of TLS 1.3",
            received=f"{len(presented.keys)} keys, in one of {version}",
        )
    shown = presented.keys[0]
    if shown is not proved and shown != proved:
        raise AuthenticationFailed(
            "the peer did not prove that it owns its key",
            expected=f"the certificate's key, {proved.peer_id}",
            received=f"another key, {shown.peer_id}",
            hint="this side's kind of credential reads the certificates in a way of its own",
        )
    return VerifiedPeer(_ONLY_VERIFICATION, credential_type, proved, presented)


def verify_possession(credential_type: str, presented: Presented, signature: bytes, signed: bytes) -> VerifiedPeer:
    """The peer, whose signature over `signed` verifies under one of the keys of what it has presented.

    Raises:
        AuthenticationFailed: it does not.
    """
    for place, key in enumerate(presented.keys):
        if key.verify(signature, signed):
            end = presented.ends[place] if presented.ends else None
            return VerifiedPeer(_ONLY_VERIFICATION, credential_type, key, presented, (), end)
    known = " or ".join(key.peer_id for key in presented.keys) or "a key that it has"
    scheme = presented.keys[0].scheme if presented.keys else "good"
    raise AuthenticationFailed(
        "the peer did not prove that it owns its key",
        expected=f"a {scheme} signature over this handshake by {known}",
        received="a signature that does not verify",
        hint="it was made for another handshake or the other role, or by somebody who has not this key: do not trust it",
        alert=AlertCode.DECRYPT_ERROR,
    )


def check_counts(peer: VerifiedPeer, now: datetime | None) -> None:
    """Whether what the peer presented still counts, where it ends some time.

    Raises:
        AuthenticationFailed: not any more; or nobody can say, for there is no time, or one without its time zone.
    """
    until = peer.valid_until
    if until is None:
        return
    if now is None or now.tzinfo is None or until.tzinfo is None:
        raise AuthenticationFailed(
            "the peer's credential ends some time, and nobody can say whether it has",
            expected="a time with its time zone: Handshake(..., wall_time=)",
            received=f"{now}, for one until {until.isoformat()}",
            hint="this side gave its handshake no such time, or its kind of credential reads none",
            alert=AlertCode.BAD_CERTIFICATE,
        )
    if now > until:
        raise AuthenticationFailed(
            "the peer's credential has expired",
            expected=f"one that is valid at {now.isoformat()}",
            received=f"one that was until {until.isoformat()}",
            hint="the peer has to sign with a newer key, or to present a newer credential",
            alert=AlertCode.BAD_CERTIFICATE,
        )
