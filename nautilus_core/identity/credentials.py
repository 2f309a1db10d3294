"""Identities, public keys, and the proof that a peer owns one. Whether to trust the owner is decided in `trust`.

Credential types beside raw public keys (X.509 chains, DIDs) belong here. `verify_possession` (by a signature) and
`verify_key_agreement` (by a Diffie-Hellman) alone make a `VerifiedPeer`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from ..crypto.signatures import PrivateKey, scheme_named, scheme_of
from ..errors import AlertCode, AuthenticationFailed, LocalProtocolError
from .words import words

RAW_PUBLIC_KEY: Final = "raw-public-key"
ANONYMOUS_TYPE: Final = "anonymous"
NOISE_STATIC_TYPES: Final[Mapping[str, int]] = MappingProxyType({"noise-static-25519": 32, "noise-static-448": 56})
"""Credential types, and schemes, of Noise static keys, with their lengths in bytes: they agree on keys and sign nothing."""

_PEER_ID_PREFIX: Final = "key:"
_FINGERPRINT_CONTEXT: Final = b"nautilus public key\0"
_WORDS_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A raw public key: of a signature scheme, or a Noise static key.

    Args:
        scheme: one of `SCHEMES`, or `noise-static-25519` or `noise-static-448`.
        data: the raw key, of the scheme's exact length in bytes.

    Raises:
        ValueError: for an unknown scheme, or a key that is not usable in it (wrong length, no point, small order).
    """

    scheme: str
    data: bytes
    _verify: Callable[[bytes, bytes], bool] = field(init=False, repr=False, compare=False)
    _peer_id: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        length = NOISE_STATIC_TYPES.get(self.scheme)
        if length is None:
            verify = scheme_named(self.scheme).verifier(self.data)
        elif len(self.data) == length:
            verify = _signs_nothing
        else:
            raise ValueError(f"a {self.scheme} key has {length} bytes, not {len(self.data)}")
        object.__setattr__(self, "_verify", verify)

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is one of this key over `message`; never so for a key that agrees on keys."""
        return self._verify(signature, message)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 (32 bytes) over a fixed context, the scheme and the key."""
        return hashlib.sha256(_FINGERPRINT_CONTEXT + self.scheme.encode() + b"\0" + self.data).digest()

    @property
    def peer_id(self) -> str:
        """The whole fingerprint as one word that can be pasted: `key:` and 52 letters and digits."""
        if not self._peer_id:  # in every log line of a connection
            peer_id = _PEER_ID_PREFIX + base64.b32encode(self.fingerprint).decode().rstrip("=").lower()
            object.__setattr__(self, "_peer_id", peer_id)
        return self._peer_id

    @property
    def words(self) -> str:
        """The first 16 bytes of the fingerprint as 16 words, for two people to compare."""
        return words(self.fingerprint[:_WORDS_BYTES])

    def __repr__(self) -> str:
        return f"PublicKey({self.scheme}, {self.peer_id})"


def _signs_nothing(signature: bytes, message: bytes) -> bool:
    return False


def check_peer_id(peer_id: str) -> str:
    """Return `peer_id` when it has the form of one, else raise `ValueError`."""
    body = peer_id.removeprefix(_PEER_ID_PREFIX)
    if body != peer_id and len(body) == 52 and set(body) <= set("abcdefghijklmnopqrstuvwxyz234567"):
        return peer_id
    raise ValueError(f"{peer_id!r} is no peer id: expected {_PEER_ID_PREFIX!r} and 52 letters a-z and digits 2-7")


_NO_PRIVATE_KEY: Final = "this identity has no private key: it was made by Identity.public_only"


def _cannot_sign(message: bytes) -> bytes:
    raise LocalProtocolError(_NO_PRIVATE_KEY)


class Identity:
    """A private signing key and what belongs to it. It signs; it never shows its private part but in `to_pem`.

    Args:
        private_key: a `cryptography` private key: Ed25519, ECDSA on P-256 or P-384, or ML-DSA-65.

    Attributes:
        public: its public key.
        scheme: the name of its signature scheme.
        credential: what it presents to a peer: the raw public key.

    Raises:
        ValueError: for a key of another kind.
    """

    __slots__ = ("_private_key", "_sign", "credential", "public", "scheme")

    credential_type: Final = RAW_PUBLIC_KEY

    def __init__(self, private_key: PrivateKey) -> None:
        scheme = scheme_of(private_key)
        public = PublicKey(scheme.name, scheme.public_bytes(private_key))
        self._set(public, private_key, scheme.signer(private_key))

    def _set(self, public: PublicKey, private_key: PrivateKey | None, sign: Callable[[bytes], bytes]) -> None:
        self._private_key = private_key
        self._sign = sign
        self.public = public
        self.scheme = public.scheme
        self.credential = public.data

    @classmethod
    def generate(cls, scheme: str = "ed25519") -> Identity:
        """A new identity; `ValueError` for an unknown scheme."""
        return cls(scheme_named(scheme).generate())

    @classmethod
    def public_only(cls, public: PublicKey) -> Identity:
        """The identity without its private key: enough to replay a recorded handshake, whose signatures are on the tape.

        `sign` and `to_pem` raise `LocalProtocolError`.

        Raises:
            ValueError: for a Noise static key, which signs nothing.
        """
        scheme_named(public.scheme)
        identity = cls.__new__(cls)
        identity._set(public, None, _cannot_sign)
        return identity

    @property
    def peer_id(self) -> str:
        """What peers know it by."""
        return self.public.peer_id

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`. Never pass it bytes that a peer chose without a fixed context before them."""
        return self._sign(message)

    def to_pem(self, passphrase: bytes | None = None) -> bytes:
        """The private key as PKCS#8 in PEM (RFC 5958, RFC 7468), encrypted when there is a passphrase."""
        if self._private_key is None:
            raise LocalProtocolError(_NO_PRIVATE_KEY)
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            encryption = BestAvailableEncryption(passphrase)
        return self._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    @classmethod
    def from_pem(cls, data: bytes, passphrase: bytes | None = None) -> Identity:
        """Load a private key from PKCS#8 in PEM or DER.

        Raises:
            ValueError: not a key, a key of a foreign kind, a wrong passphrase, or one missing or too many.
        """
        load = load_pem_private_key if data.lstrip().startswith(b"-----BEGIN") else load_der_private_key
        try:
            private_key = load(data, passphrase)
        except TypeError as error:
            wanted = (
                "is encrypted: a passphrase is needed"
                if passphrase is None
                else "is not encrypted: no passphrase is needed"
            )
            raise ValueError(f"the private key {wanted}") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            cause = (
                "the passphrase is wrong, or this is no PKCS#8 private key"
                if passphrase
                else "this is no PKCS#8 private key"
            )
            raise ValueError(cause) from error
        scheme_of(private_key)
        return cls(private_key)  # type: ignore[arg-type]  # scheme_of has just narrowed it

    def __repr__(self) -> str:
        return f"Identity({self.scheme}, {self.peer_id})"


class Anonymous:
    """Nobody in particular: given as an identity, a side that does not say who it is; as a peer, one that did not."""

    __slots__ = ()

    credential_type: Final = ANONYMOUS_TYPE
    scheme: Final = ""
    peer_id: Final = "anonymous"

    def __repr__(self) -> str:
        return "ANONYMOUS"


ANONYMOUS: Final = Anonymous()

_ONLY_VERIFICATION: Final = object()


class VerifiedPeer:
    """A peer that has proved possession of its key in this handshake. Only the two verifying functions can make one.

    Attributes:
        public_key: the key whose possession was proved.
        credential_type: how it was presented.
    """

    __slots__ = ("credential_type", "public_key")

    public_key: PublicKey
    credential_type: str

    def __init__(self, proof: object, credential_type: str, public_key: PublicKey) -> None:
        if proof is not _ONLY_VERIFICATION:
            raise TypeError("only the verification of a proof makes a VerifiedPeer")
        object.__setattr__(self, "credential_type", credential_type)
        object.__setattr__(self, "public_key", public_key)

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


Peer = VerifiedPeer | Anonymous


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
        )
    return VerifiedPeer(_ONLY_VERIFICATION, credential_type, public_key)


def verify_possession(
    credential_type: str,
    credential: bytes,
    scheme: str,
    signature: bytes,
    signed: bytes,
    known: PublicKey | None = None,
) -> VerifiedPeer:
    """Verify that whoever signed `signed` owns the key in `credential`; `known` is that key, where it is parsed already.

    Raises:
        AuthenticationFailed: the credential is not usable, or the signature does not verify.
    """
    if credential_type != RAW_PUBLIC_KEY:
        raise AuthenticationFailed(
            "no way to verify this type of credential",
            expected=RAW_PUBLIC_KEY,
            received=repr(credential_type),
            alert=AlertCode.BAD_CERTIFICATE,
        )
    try:
        if known is not None and known.data == credential and known.scheme == scheme:
            public_key = known
        else:
            public_key = PublicKey(scheme, credential)
    except ValueError as error:
        raise AuthenticationFailed(
            "the credential is not usable", received=str(error), alert=AlertCode.BAD_CERTIFICATE
        ) from error
    if not public_key.verify(signature, signed):
        raise AuthenticationFailed(
            "the peer did not prove that it owns its key",
            expected=f"a {scheme} signature over this handshake by {public_key.peer_id}",
            received="a signature that does not verify",
            alert=AlertCode.DECRYPT_ERROR,
        )
    return VerifiedPeer(_ONLY_VERIFICATION, credential_type, public_key)
