"""Certificates that a key issues for itself: for peers that pin it, or that take the certificate itself as an authority."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..crypto.signatures import PrivateKey, scheme_of
from .keys import PublicKey
from .x509 import is_dns_name

_DIGESTS: Final[Mapping[str, hashes.SHA256 | hashes.SHA384]] = {
    "ecdsa-p256-sha256": hashes.SHA256(),
    "ecdsa-p384-sha384": hashes.SHA384(),
    "rsa-pss-sha256": hashes.SHA256(),
}
"""Other schemes have one of their own."""

_LONGEST_COMMON_NAME: Final = 64


def self_signed(
    private_key: PrivateKey, names: Sequence[str], *, now: datetime, lifetime: timedelta = timedelta(days=365)
) -> x509.Certificate:
    """A certificate of `private_key` by itself, for both roles.

    Args:
        private_key: of any scheme, RSA too.
        names: DNS names and IP addresses, under which it can be reached; with none it is good for pinning alone.
        now: from when on it is valid, with a time zone.
        lifetime: for how long.

    Raises:
        ValueError: a name that is no name, a time without its zone, a foreign key.
    """
    if now.tzinfo is None:
        raise ValueError("self_signed() wants a time with its time zone")
    scheme = scheme_of(private_key)
    public = private_key.public_key()
    called = names[0] if names else PublicKey(scheme.name, scheme.encode(public)).peer_id
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called[:_LONGEST_COMMON_NAME])])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
    return builder.sign(private_key, _DIGESTS.get(scheme.name))


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        if not is_dns_name(name):
            raise ValueError(f"{name!r} is no DNS name and no IP address: no peer would look for it") from None
        return x509.DNSName(name)
