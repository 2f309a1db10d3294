"""The certificates of the recorded handshakes: made of fixed keys, with fixed dates, the same whenever they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .people import private_key

GATEWAY: Final = "gateway.example"
SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
BEGINS: Final = datetime(2026, 1, 1, tzinfo=UTC)
ENDS: Final = datetime(2027, 1, 1, tzinfo=UTC)
NOW_OVER: Final = datetime(2026, 7, 1, tzinfo=UTC)
NOW_TOO_SOON: Final = datetime(2026, 9, 1, tzinfo=UTC)
"""Before and after the time of all recorded handshakes."""


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Authority:
    """Who issues certificates: its certificate, and its key, which is an ECDSA key so that RFC 6979 makes the signatures."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey


def issue(
    public_key: Any,
    subject: str,
    *,
    by: Authority | None = None,
    signs: EllipticCurvePrivateKey | None = None,
    names: Sequence[str] = (GATEWAY,),
    purposes: Sequence[x509.ObjectIdentifier] = (SERVER, CLIENT),
    begins: datetime = BEGINS,
    ends: datetime = ENDS,
    ca: bool = False,
) -> x509.Certificate:
    """A certificate of `public_key`; `signs` makes the signature where that is not who is named as the issuer."""
    issuer, key = (_name(subject), signs) if by is None else (by.certificate.subject, signs or by.key)
    if key is None:
        raise TypeError("somebody has to sign")
    above = key.public_key() if by is None else by.key.public_key()
    serial = sha256(f"{subject} {names} {purposes} {begins} {ends}".encode()).digest()[:15]
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(int.from_bytes(serial, "big") | 1)
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), False)
    )
    if ca:
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, True)
    else:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    return builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True)


def authority(name: str, subject: str, *, by: Authority | None = None) -> Authority:
    """An authority of this subject, with the key of `name`."""
    key = private_key(name, "ecdsa-p256-sha256")
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError(key)
    return Authority(issue(key.public_key(), subject, by=by, signs=key if by is None else None, ca=True), key)


ROOT: Final = authority("authority", "Example Root")
BETWEEN: Final = authority("authority in between", "Example Gateways", by=ROOT)
NAMESAKE: Final = authority("another authority", "Example Root")
STRANGER: Final = authority("another authority", "Another Root")


@cache
def leaf(who: str, scheme: str = "ed25519", *, by: Authority = BETWEEN, **wishes: Any) -> x509.Certificate:
    """The certificate of a person's key."""
    return issue(private_key(who, scheme).public_key(), f"{who} {scheme}", by=by, **wishes)


def weak_leaf() -> x509.Certificate:
    """A certificate of an RSA key of 1024 bits, whose private key nobody has."""
    modulus = int.from_bytes(b"\xc1" + bytes(range(126)) + b"\x01", "big")
    return issue(RSAPublicNumbers(65537, modulus).public_key(), "weak", by=BETWEEN)
