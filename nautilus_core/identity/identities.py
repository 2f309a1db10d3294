"""How this side proves who it is: an `Identity` signs, `ANONYMOUS` does not. Judging a peer is done elsewhere."""

from __future__ import annotations

from collections.abc import Callable
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
from ..errors import LocalProtocolError
from .credentials import ANONYMOUS_TYPE, RAW_PUBLIC_KEY
from .keys import PublicKey

_NO_PRIVATE_KEY: Final = "this identity has no private key: it was made by Identity.public_only or Identity.delegated"


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
        signs_elsewhere: whether its signatures come from the application, which is asked for each (`SignatureNeeded`).

    Raises:
        ValueError: for a key of another kind.
    """

    __slots__ = ("_private_key", "_sign", "credential", "public", "scheme", "signs_elsewhere")

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
        self.signs_elsewhere = False

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

    @classmethod
    def delegated(cls, public: PublicKey) -> Identity:
        """The identity whose private key lives elsewhere: in an agent, an HSM, a key management service.

        Each handshake asks the application for its signature: a `SignatureNeeded`. `sign` and `to_pem` raise
        `LocalProtocolError`.

        Raises:
            ValueError: for a Noise static key, which signs nothing.
        """
        identity = cls.public_only(public)
        identity.signs_elsewhere = True
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
