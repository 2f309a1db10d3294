"""Certificates for tests: authorities and what they issue, right and wrong in any respect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nautilus_core import Identity

NOW: Final = datetime(2030, 6, 1, 12, tzinfo=UTC)
SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
KEYS: Final[dict[str, Any]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ecdsa-p256-sha256": ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384-sha384": ec.generate_private_key(ec.SECP384R1()),
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate(),
    "rsa-pss-sha256": rsa.generate_private_key(65537, 2048),
}
"""A key of each scheme."""


@dataclass
class Made:
    """A certificate and its key."""

    key: Any
    certificate: x509.Certificate

    def issue(self, key: Any = None, **wishes: Any) -> Made:
        """A certificate by this one."""
        return issue(key or ec.generate_private_key(ec.SECP256R1()), by=self, **wishes)


def issue(
    key: Any,
    *,
    by: Made | None = None,
    subject: str = "leaf",
    names: Sequence[str] = ("gateway.example",),
    uris: Sequence[str] = (),
    ca: bool = False,
    purposes: Sequence[x509.ObjectIdentifier] = (SERVER, CLIENT),
    may_sign: bool | None = None,
    begins: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=30),
    digest: Any = None,
) -> Made:
    """A certificate of `key`; without `by`, self-signed."""
    issuer_key, issuer_name = (key, _name(subject)) if by is None else (by.key, by.certificate.subject)
    if digest is None and isinstance(issuer_key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        digest = hashes.SHA256()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begins)
        .not_valid_after(NOW + ends)
        .add_extension(x509.BasicConstraints(ca, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
    )
    if ca or may_sign is not None:
        usage = x509.KeyUsage(bool(may_sign), False, False, False, True, ca, ca, False, False)
        builder = builder.add_extension(usage, True)
    if purposes and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
    if not ca and (names or uris):
        alternatives = [_general(name) for name in names] + [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
    return Made(key, builder.sign(issuer_key, digest))


def authority(scheme: str = "ecdsa-p256-sha256", subject: str = "Root", **wishes: Any) -> Made:
    """A root, with a key of its own."""
    key = ec.generate_private_key(ec.SECP256R1()) if scheme == "ecdsa-p256-sha256" else KEYS[scheme]
    return issue(key, subject=subject, ca=True, **wishes)


def identity(*chain: Made) -> Identity:
    """Who presents this chain."""
    return Identity.with_certificates(chain[0].key, [made.certificate for made in chain])


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
