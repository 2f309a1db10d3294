"""How this side proves who it is: an `Identity` signs, `ANONYMOUS` does not. Judging a peer is done elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509 import Certificate

from ..crypto.signatures import SCHEMES, PrivateKey, scheme_named, scheme_of
from ..errors import LocalProtocolError
from .credentials import ANONYMOUS_TYPE, MAX_CREDENTIAL, MAX_CREDENTIAL_TYPE, RAW_PUBLIC_KEY
from .did import DID, did_key, stands_under
from .keys import PublicKey
from .x509 import X509, Chain, certificates_in, encode_chain, key_of

_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_CERTIFICATES: Final = re.compile(_CERTIFICATE + rb".*?-----END CERTIFICATE-----", re.DOTALL)
_DID_LINE: Final = b"DID: %s\n"
_DID_LINES: Final = re.compile(rb"\s*DID: ([^\s]{1,8192})\s*\n")
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
        certificates: its X.509 chain, the leaf first; empty where it has none.
        did: the DID that it presents, perhaps with a fragment; None where it presents none.
        credential: what it presents to a peer: the raw public key, the chain, or the DID.
        credential_type: which of them.
        signs_elsewhere: whether its signatures come from the application, which is asked for each (`SignatureNeeded`).

    Raises:
        ValueError: for a key of another kind.
    """

    __slots__ = (
        "_private_key",
        "_sign",
        "certificates",
        "credential",
        "credential_type",
        "did",
        "public",
        "scheme",
        "signs_elsewhere",
    )

    def __init__(self, private_key: PrivateKey) -> None:
        self._own(private_key, ())

    @classmethod
    def with_certificates(cls, private_key: PrivateKey, certificates: Iterable[Certificate]) -> Identity:
        """The identity that a chain of X.509 certificates is about.

        Args:
            private_key: also RSA, of 2048 to 8192 bits.
            certificates: the leaf first, each issued by the next; the root may be left out.

        Raises:
            ValueError: none at all, another order, a leaf for another key, a key that is not usable, or too many bytes.
        """
        chain = tuple(certificates)
        if not chain:
            raise ValueError("with_certificates() wants at least the certificate of the private key")
        identity = cls.__new__(cls)
        identity._own(private_key, chain)
        return identity

    def _own(self, private_key: PrivateKey, certificates: Chain) -> None:
        scheme = scheme_of(private_key)
        public = PublicKey(scheme.name, scheme.public_bytes(private_key))
        self._set(public, private_key, scheme.signer(private_key), certificates)

    def _set(
        self,
        public: PublicKey,
        private_key: PrivateKey | None,
        sign: Callable[[bytes], bytes],
        certificates: Chain = (),
        did: str | None = None,
    ) -> None:
        self._private_key = private_key
        self._sign = sign
        self.public = public
        self.scheme = public.scheme
        self.certificates = certificates
        self.did = did
        self.credential_type, self.credential = _credential(public, certificates, did)
        self.signs_elsewhere = False

    @classmethod
    def generate(cls, scheme: str = "ed25519") -> Identity:
        """A new identity; `ValueError` for an unknown scheme."""
        return cls(scheme_named(scheme).generate())

    @classmethod
    def public_only(cls, public: PublicKey, certificates: Iterable[Certificate] = ()) -> Identity:
        """The identity without its private key: enough to replay a recorded handshake, whose signatures are on the tape.

        `sign` and `to_pem` raise `LocalProtocolError`.

        Raises:
            ValueError: for a Noise static key, which signs nothing, and for `certificates` as `with_certificates`.
        """
        scheme_named(public.scheme)
        identity = cls.__new__(cls)
        identity._set(public, None, _cannot_sign, tuple(certificates))
        return identity

    @classmethod
    def delegated(cls, public: PublicKey, certificates: Iterable[Certificate] = ()) -> Identity:
        """The identity whose private key lives elsewhere: in an agent, an HSM, a key management service.

        Each handshake asks the application for its signature: a `SignatureNeeded`. `sign` and `to_pem` raise
        `LocalProtocolError`.

        Args:
            public: the key; of RSA with certificates only.
            certificates: its chain, as in `with_certificates`, where it presents one.

        Raises:
            ValueError: for a Noise static key, which signs nothing, and for `certificates` as `with_certificates`.
        """
        identity = cls.public_only(public, certificates)
        identity.signs_elsewhere = True
        return identity

    def presenting(self, credential_type: str, credential: bytes) -> Identity:
        """The same key, presented by a credential of a kind of your own: see `CredentialKind`.

        Args:
            credential_type: the kind's name; 1 to 64 bytes.
            credential: as the kind reads it; at most `MAX_CREDENTIAL` bytes.

        Raises:
            ValueError: one of them is too long, or the name is empty.
        """
        if not 1 <= len(credential_type.encode()) <= MAX_CREDENTIAL_TYPE or len(credential) > MAX_CREDENTIAL:
            raise ValueError(
                f"a credential has a type of 1 to {MAX_CREDENTIAL_TYPE} bytes, and at most {MAX_CREDENTIAL} bytes itself"
            )
        identity = type(self).__new__(type(self))
        identity._set(self.public, self._private_key, self._sign)
        identity.credential_type, identity.credential = credential_type, credential
        identity.signs_elsewhere = self.signs_elsewhere
        return identity

    def with_did(self, did: str | None = None) -> Identity:
        """The same key, presented by a DID instead.

        Args:
            did: under whose `authentication` the key stands, perhaps with the fragment of its verification method; by default
                the `did:key` of the key.

        Raises:
            ValueError: no DID, or one that holds its own document, where the key does not stand under `authentication`.
        """
        identity = type(self).__new__(type(self))
        own = did_key(self.public) if did is None else did
        identity._set(self.public, self._private_key, self._sign, did=own)
        identity.signs_elsewhere = self.signs_elsewhere
        return identity

    @property
    def peer_id(self) -> str:
        """What peers know it by."""
        return self.public.peer_id

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`. Never pass it bytes that a peer chose without a fixed context before them."""
        return self._sign(message)

    def to_pem(self, passphrase: bytes | None = None) -> bytes:
        """The private key as PKCS#8 in PEM (RFC 5958, RFC 7468), encrypted when there is a passphrase.

        A DID stands on a line before it, certificates after it.
        """
        if self._private_key is None:
            raise LocalProtocolError(_NO_PRIVATE_KEY)
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            encryption = BestAvailableEncryption(passphrase)
        key = self._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        did = b"" if self.did is None else _DID_LINE % self.did.encode()
        return did + key + b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.certificates)

    @classmethod
    def from_pem(cls, data: bytes, passphrase: bytes | None = None, *, certificates: bytes = b"") -> Identity:
        """Load a private key from PKCS#8 in PEM or DER.

        Args:
            data: the key; in PEM, its certificates may stand in the same data, the leaf first, or its DID on a line before.
            passphrase: of an encrypted key.
            certificates: in PEM, where they stand elsewhere.

        Raises:
            ValueError: not a key, a key of a foreign kind, a wrong passphrase, or one missing or too many; certificates of
                another key, or out of order; a DID as for `with_did`.
            TypeError: `data` is not bytes.
        """
        if not isinstance(data, bytes):
            raise TypeError(
                f"from_pem() takes the bytes of a key, not {type(data).__name__}; load_identity() takes a path"
            )
        said = _DID_LINES.match(data)
        private_key = _private_key_in(data if said is None else data[said.end() :], passphrase)
        if said is not None and not certificates:
            try:
                return cls(private_key).with_did(said[1].decode("ascii", "replace"))
            except ValueError:  # which quotes the line: where the file is damaged, a part of the key may stand in it
                raise ValueError("the line before the private key has no DID, or one of another key") from None
        pem = certificates or (data if _CERTIFICATE in data else b"")
        return cls.with_certificates(private_key, certificates_in(pem)) if pem else cls(private_key)

    def __repr__(self) -> str:
        return f"Identity({self.scheme}, {self.peer_id})"


def _private_key_in(data: bytes, passphrase: bytes | None) -> PrivateKey:
    if data.lstrip().startswith(b"-----BEGIN") or _CERTIFICATE in data:
        data, load = _CERTIFICATES.sub(b"", data), load_pem_private_key
    else:
        load = load_der_private_key
    try:
        private_key = load(data, passphrase)
    except TypeError as error:
        wanted = (
            "is encrypted: a passphrase is needed"
            if passphrase is None
            else "is not encrypted: no passphrase is needed"
        )
        raise ValueError(f"the private key {wanted}") from error
    except (ValueError, UnsupportedAlgorithm, InternalError):
        cause = (
            "the passphrase is wrong, or this is no PKCS#8 private key"
            if passphrase
            else "this is no PKCS#8 private key"
        )
        raise ValueError(cause) from None  # the library's error may quote what stands in the file
    scheme_of(private_key)
    return private_key  # type: ignore[return-value]  # scheme_of has just narrowed it


def _credential(public: PublicKey, certificates: Chain, did: str | None) -> tuple[str, bytes]:
    """The type of credential of this key, and the credential; `ValueError` where the two do not fit."""
    if did is not None:
        if certificates:
            raise ValueError("an identity presents a DID or certificates, not both")
        return DID, stands_under(did, public)
    if not certificates:
        if public.scheme not in SCHEMES:
            raise ValueError(f"a {public.scheme} key needs a certificate: use Identity.with_certificates")
        return RAW_PUBLIC_KEY, public.data
    credential = encode_chain(certificates)
    if key_of(certificates[0]) != public:
        raise ValueError("the first certificate is for another key than the private key; a chain begins with one's own")
    return X509, credential


class Anonymous:
    """Nobody in particular: given as an identity, a side that does not say who it is; as a peer, one that did not."""

    __slots__ = ()

    credential_type: Final = ANONYMOUS_TYPE
    scheme: Final = ""
    peer_id: Final = "anonymous"

    def __repr__(self) -> str:
        return "ANONYMOUS"


ANONYMOUS: Final = Anonymous()
