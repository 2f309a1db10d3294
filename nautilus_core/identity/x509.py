"""X.509 chains as a kind of credential: how one is encoded, read, and bounded. Whom it convinces, `authorities` decides.

A chain is a MessagePack array of DER certificates (RFC 5280), the leaf first, each the issuer of the one before it. The root
may be left out. Nothing is believed here but the leaf's key, whose possession the peer still has to prove.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from typing import Annotated, Any, Final, TypeAlias, cast

import msgspec
from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import PublicKeyAlgorithmOID

from ..crypto.signatures import CERTIFIED_SCHEMES, RSA_BITS, scheme_of_public
from ..errors import AlertCode, AuthenticationFailed, one_line
from .credentials import MAX_CREDENTIAL, CredentialKind, Presented
from .keys import PublicKey

X509: Final = "x509"

MAX_CERTIFICATES: Final = 8
MAX_CERTIFICATE: Final = 16_384
"""Bytes of one certificate."""

Chain: TypeAlias = tuple[x509.Certificate, ...]
"""The leaf first."""

_RSA: Final = PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5
"""`rsaEncryption`: a key for any parameters."""

_DNS_NAME: Final = re.compile(r"(\*\.)?([a-z0-9_-]+\.)*(?![0-9]+\Z)[a-z0-9-]+", re.ASCII | re.IGNORECASE)
_LONGEST_DNS_NAME: Final = 253

_Encoded: TypeAlias = Annotated[
    tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_CERTIFICATE)], ...],
    msgspec.Meta(min_length=1, max_length=MAX_CERTIFICATES),
]
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Encoded)

MALFORMED: Final = (
    ValueError,
    TypeError,  # a name as a BIT STRING
    KeyError,  # a TLS feature that has no name
    UnsupportedAlgorithm,
    InternalError,  # of OpenSSL, for a key that it cannot set up
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    UserWarning,  # of outdated encodings, where the application made errors of warnings
)
"""What `cryptography` raises for a certificate that it cannot read."""


class X509Chains(CredentialKind):
    """A chain of certificates; a signature is by the leaf's key."""

    name = X509
    max_length = MAX_CREDENTIAL
    schemes = tuple(CERTIFIED_SCHEMES)

    def read(self, credential: bytes, scheme: str) -> Presented:
        """The leaf's key; the evidence is the `Chain`. No date and no name in it counts before an authority was found."""
        try:
            presented = load_chain(_decoded(credential))
        except ValueError as error:
            raise AuthenticationFailed(
                "the peer's certificates are not usable",
                expected="a chain of certificates in order, the peer's own first",
                received=str(error),
                hint="the peer's chain is made or configured wrong",
                alert=AlertCode.BAD_CERTIFICATE,
            ) from error
        key = presented.keys[0]
        if key.scheme != scheme:
            raise AuthenticationFailed(
                "the peer signed with another scheme than its certificate's key has",
                expected=key.scheme,
                received=scheme,
                hint="the peer's software is at fault, or somebody tries another scheme on its key",
                alert=AlertCode.BAD_CERTIFICATE,
            )
        return presented


def encode_chain(chain: Sequence[x509.Certificate]) -> bytes:
    """A chain as a credential; `ValueError`, which says why, for one that no peer would read."""
    credential = encode_certificates([certificate.public_bytes(Encoding.DER) for certificate in chain])
    if len(credential) > MAX_CREDENTIAL:
        raise ValueError(f"the certificates have {len(credential)} bytes; at most {MAX_CREDENTIAL} are accepted")
    load_chain(_decoded(credential))
    return credential


def encode_certificates(encoded: Sequence[bytes]) -> bytes:
    """Certificates in DER as a credential, unread."""
    return _encoder.encode(encoded)


def _decoded(credential: bytes) -> tuple[bytes, ...]:
    """The certificates in a credential, in DER."""
    try:
        encoded: tuple[bytes, ...] = _decoder.decode(credential)
    except msgspec.DecodeError as error:
        raise ValueError(
            f"no list of 1 to {MAX_CERTIFICATES} certificates, each of at most {MAX_CERTIFICATE} bytes: {error}"
        ) from error
    if _encoder.encode(encoded) != credential:
        raise ValueError("the list of certificates is not encoded in the shortest form")
    return encoded


def decode_chain(credential: bytes) -> Chain:
    """The chain in a credential; `ValueError`, which says why, unless it is well-formed, in order, and of usable keys."""
    return cast("Chain", load_chain(_decoded(credential)).evidence)


@lru_cache(maxsize=64)
def load_chain(encoded: tuple[bytes, ...]) -> Presented:
    """The leaf's key of these certificates in DER; the evidence is the `Chain`. The last 64 that were good are remembered.

    Raises:
        ValueError: which says why, unless they are not too many, in order, and of usable keys.
    """
    size = sum(map(len, encoded))
    if not 1 <= len(encoded) <= MAX_CERTIFICATES or size > MAX_CREDENTIAL or max(map(len, encoded)) > MAX_CERTIFICATE:
        raise ValueError(
            f"{len(encoded)} certificates with {size} bytes together; 1 to {MAX_CERTIFICATES} are accepted, each of at most "
            f"{MAX_CERTIFICATE} bytes, with {MAX_CREDENTIAL} together"
        )
    try:
        chain = tuple([x509.load_der_x509_certificate(certificate) for certificate in encoded])
        _check_order(chain)
        return Presented((_check_keys(chain),), evidence=chain)
    except MALFORMED as error:
        raise ValueError(str(error) or type(error).__name__) from error


def certificates_in(pem: bytes) -> Chain:
    """The certificates in PEM, in their order; other blocks are passed over. `ValueError` where there is none, or a bad one."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except MALFORMED:
        if b"-----BEGIN CERTIFICATE-----" in pem:
            raise ValueError("no certificates in PEM: one is damaged, or of a kind that cannot be read") from None
        raise ValueError("no certificates in PEM: there is none") from None


def _check_order(chain: Chain) -> None:
    for place, (certificate, issuer) in enumerate(pairwise(chain), 1):
        if certificate.issuer != issuer.subject:
            raise ValueError(
                f"the chain is out of order: certificate {place} is issued by {shown(certificate.issuer)}, "
                f"and the next is of {shown(issuer.subject)}"
            )
    subjects = [certificate.subject for certificate in chain]  # also of one alone: what cannot be read is refused here
    if len(chain) > 1 and len(set(subjects)) != len(chain):  # or there would be many paths to try
        raise ValueError("the chain has two certificates of one subject")


def _check_keys(chain: Chain) -> PublicKey:
    """The leaf's key, where all keys will do."""
    keys = [certificate.public_key() for certificate in chain]
    leaf = _public(chain[0], keys[0])
    for key, certificate in zip(keys, chain, strict=True):
        if isinstance(key, RSAPublicKey) and key.key_size not in RSA_BITS:
            raise ValueError(
                f"a weak key, or one too long: RSA with {key.key_size} bits, of {shown(certificate.subject)}; "
                f"{RSA_BITS[0]} to {RSA_BITS[-1]} are accepted"
            )
    return leaf


def key_of(certificate: x509.Certificate) -> PublicKey:
    """The key of a certificate; one of the `MALFORMED` errors where it is not usable here."""
    return _public(certificate, certificate.public_key())


def _public(certificate: x509.Certificate, key: Any) -> PublicKey:
    if isinstance(key, RSAPublicKey) and certificate.public_key_algorithm_oid != _RSA:
        raise ValueError("an RSA key of the type RSASSA-PSS, for parameters of its own; expected rsaEncryption")
    scheme = scheme_of_public(key)
    return PublicKey(scheme.name, scheme.encode(key))


def is_dns_name(name: str) -> bool:
    """Whether `name` is one, perhaps with a wildcard; none could be an address in another notation."""
    return len(name) <= _LONGEST_DNS_NAME and _DNS_NAME.fullmatch(name) is not None


def names_in(leaf: x509.Certificate) -> tuple[str, ...]:
    """What it says whom it is for: DNS names, addresses, URIs, mail addresses, none of which can be taken for another sort.

    Nothing says that this is true. `ValueError` where it cannot be read.
    """
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except MALFORMED as error:
        raise ValueError(f"an extension that cannot be read: {error}") from error
    names = [name for name in found.get_values_for_type(x509.DNSName) if is_dns_name(name)]
    addresses = found.get_values_for_type(x509.IPAddress)
    names += [
        str(address) for address in addresses if isinstance(address, IPv4Address | IPv6Address)
    ]  # and no networks
    names += [uri for uri in found.get_values_for_type(x509.UniformResourceIdentifier) if "://" in uri]
    names += [mail for mail in found.get_values_for_type(x509.RFC822Name) if "@" in mail and "/" not in mail]
    return tuple([name for name in names if name.isprintable()])


def shown(name: x509.Name, most: int = 100) -> str:
    """A subject or an issuer, for an error's text."""
    text = one_line(name.rfc4514_string()) or "an empty name"
    return text if len(text) <= most else f"{text[:most]}..."
