"""X.509 chains as a kind of credential: how one is encoded, read, and bounded. Whom it convinces, `authorities` decides.

A chain is a MessagePack array of DER certificates (RFC 5280), the leaf first, each the issuer of the one before it. The root
may be left out. Nothing is believed here but the leaf's key, whose possession the peer still has to prove.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Final, TypeAlias

import msgspec
from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding

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
    TypeError,  # of an attribute in a subject that is of a wrong type
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
            chain = decode_chain(credential)
        except ValueError as error:
            raise AuthenticationFailed(
                "the peer's certificates are not usable",
                expected="a chain of certificates in order, the peer's own first",
                received=str(error),
                hint="the peer's chain is made or configured wrong",
                alert=AlertCode.BAD_CERTIFICATE,
            ) from error
        key = key_of(chain[0])
        if key.scheme != scheme:
            raise AuthenticationFailed(
                "the peer signed with another scheme than its certificate's key has",
                expected=key.scheme,
                received=scheme,
                alert=AlertCode.BAD_CERTIFICATE,
            )
        return Presented((key,), evidence=chain)


def encode_chain(chain: Sequence[x509.Certificate]) -> bytes:
    """A chain as a credential; `ValueError`, which says why, for one that no peer would read."""
    credential = _encoder.encode([certificate.public_bytes(Encoding.DER) for certificate in chain])
    if len(credential) > MAX_CREDENTIAL:
        raise ValueError(f"the certificates have {len(credential)} bytes; at most {MAX_CREDENTIAL} are accepted")
    decode_chain(credential)
    return credential


def decode_chain(credential: bytes) -> Chain:
    """The chain in a credential; `ValueError`, which says why, unless it is well-formed, in order, and of usable keys."""
    try:
        encoded: tuple[bytes, ...] = _decoder.decode(credential)
    except msgspec.DecodeError as error:
        raise ValueError(
            f"no list of 1 to {MAX_CERTIFICATES} certificates, each of at most {MAX_CERTIFICATE} bytes: {error}"
        ) from error
    if _encoder.encode(encoded) != credential:
        raise ValueError("the list of certificates is not encoded in the shortest form")
    try:
        chain = tuple([x509.load_der_x509_certificate(certificate) for certificate in encoded])
        _check_order(chain)
        _check_keys(chain)
    except MALFORMED as error:
        raise ValueError(str(error) or type(error).__name__) from error
    return chain


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
    if len({certificate.subject for certificate in chain}) != len(chain):  # or there would be many paths to try
        raise ValueError("the chain has two certificates of one subject")


def _check_keys(chain: Chain) -> None:
    key_of(chain[0])
    for certificate in chain:
        key = certificate.public_key()
        if isinstance(key, RSAPublicKey) and key.key_size not in RSA_BITS:
            raise ValueError(
                f"a weak key, or one too long: RSA with {key.key_size} bits, of {shown(certificate.subject)}; "
                f"{RSA_BITS[0]} to {RSA_BITS[-1]} are accepted"
            )


def key_of(certificate: x509.Certificate) -> PublicKey:
    """The key of a certificate; one of the `MALFORMED` errors where it is not usable here."""
    key = certificate.public_key()
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
        raise ValueError(f"the names in a certificate cannot be read: {error}") from error
    names = [name for name in found.get_values_for_type(x509.DNSName) if is_dns_name(name)]
    names += [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    names += [uri for uri in found.get_values_for_type(x509.UniformResourceIdentifier) if "://" in uri]
    names += [mail for mail in found.get_values_for_type(x509.RFC822Name) if "@" in mail and "/" not in mail]
    return tuple(names)


def shown(name: x509.Name, most: int = 100) -> str:
    """A subject or an issuer, for an error's text."""
    text = one_line(name.rfc4514_string()) or "an empty name"
    return text if len(text) <= most else f"{text[:most]}..."
