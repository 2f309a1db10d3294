"""Authorities, certificates and contexts of both TLS libraries, for tests of Nautilus inside TLS."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from tempfile import NamedTemporaryFile
from typing import Any, Final, Literal

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto

from nautilus_anyio import Tls

Library = Literal["ssl", "openssl"]
LIBRARIES: Final[tuple[Library, ...]] = ("ssl", "openssl")
HOST: Final = "127.0.0.1"

CA: Final = trustme.CA(key_type=trustme.KeyType.ECDSA)
"""Whom the client trusts."""
STRANGER: Final = trustme.CA(key_type=trustme.KeyType.ECDSA)
"""Whom nobody trusts."""
CERTIFICATE: Final = CA.issue_cert(HOST, "gateway.example", key_type=trustme.KeyType.ECDSA)
"""The server's."""
CLIENT_CERTIFICATE: Final = CA.issue_cert("client.example", key_type=trustme.KeyType.ECDSA)
OTHER: Final = CA.issue_cert(HOST, "gateway.example", key_type=trustme.KeyType.ECDSA)
"""Of a man in the middle whom the client trusts."""


def pem_of(certificate: trustme.LeafCert) -> bytes:
    """The leaf alone."""
    return certificate.cert_chain_pems[0].bytes()


def server_context(library: Library, certificate: trustme.LeafCert = CERTIFICATE, *, client: bool = False) -> Any:
    """A server's context; with `client`, it wants a certificate of its peer, too."""
    if library == "ssl":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED if client else ssl.CERT_NONE
        certificate.configure_cert(context)
        CA.configure_trust(context)
        return context
    other = SSL.Context(SSL.TLS_SERVER_METHOD)
    certificate.configure_cert(other)
    CA.configure_trust(other)
    if client:
        other.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return other


def client_context(library: Library, authority: trustme.CA = CA, certificate: trustme.LeafCert | None = None) -> Any:
    """A client's context, which verifies the server."""
    if library == "ssl":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(context)
        if certificate is not None:
            certificate.configure_cert(context)
        return context
    other = SSL.Context(SSL.TLS_CLIENT_METHOD)
    other.set_verify(SSL.VERIFY_PEER)
    authority.configure_trust(other)
    if certificate is not None:
        certificate.configure_cert(other)
    return other


def server(library: Library, certificate: trustme.LeafCert = CERTIFICATE, **arguments: Any) -> Tls:
    """The server's `Tls`; with `ssl`, it is told its own certificate."""
    own = pem_of(certificate) if library == "ssl" else None
    return Tls(server_context(library, certificate), certificate=own, **arguments)


def client(library: Library, **arguments: Any) -> Tls:
    """The client's."""
    return Tls(client_context(library), **arguments)


def use_tls_1_2(context: Any) -> Any:
    """The same context, for nothing newer."""
    if isinstance(context, ssl.SSLContext):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    return context


class Leaf:
    """A server's certificate of a time, a purpose and an issuer's kind of key of one's own, which trustme does not make."""

    def __init__(
        self, *, days: int = 30, purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH, by: str = "ecdsa"
    ) -> None:
        pattern = x509.load_pem_x509_certificate(pem_of(CERTIFICATE))
        issuer = x509.load_pem_x509_certificate(CA.cert_pem.bytes())
        self._signing: Any = load_pem_private_key(CA.private_key_pem.bytes(), None)
        digest: Any = hashes.SHA256()
        name = issuer.subject
        if by == "ed25519":
            self._signing, digest, name = ed25519.Ed25519PrivateKey.generate(), None, pattern.subject
        now = datetime.now(UTC)
        alternative = pattern.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = load_pem_private_key(CERTIFICATE.private_key_pem.bytes(), None)
        self._key: Any = key if digest is not None else self._signing
        public: Any = self._key.public_key()
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(pattern.subject)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=90))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(alternative, critical=False)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._signing.public_key()), critical=False
            )
            .sign(self._signing, digest)
        )

    def context(self) -> SSL.Context:
        """A server's, by pyOpenSSL, which takes objects."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(self.certificate)
        context.use_privatekey(self._key)
        return context

    def trusted_by(self, context: SSL.Context) -> None:
        """Have a client trust this certificate itself."""
        context.set_verify(SSL.VERIFY_PEER)
        store: Any = context.get_cert_store()
        store.add_cert(crypto.X509.from_cryptography(self.certificate))
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)

    def revoke_in(self, context: Any) -> None:
        """Have the authority revoke it, and a client look that up."""
        issuer = x509.load_pem_x509_certificate(CA.cert_pem.bytes())
        now = datetime.now(UTC)
        revoked = (
            x509.RevokedCertificateBuilder().serial_number(self.certificate.serial_number).revocation_date(now).build()
        )
        listed = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(now - timedelta(days=1))
            .next_update(now + timedelta(days=1))
            .add_revoked_certificate(revoked)
            .sign(self._signing, hashes.SHA256())
        )
        if isinstance(context, ssl.SSLContext):
            with NamedTemporaryFile() as file:
                file.write(listed.public_bytes(Encoding.PEM))
                file.flush()
                context.load_verify_locations(file.name)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        else:
            store = context.get_cert_store()
            store.add_crl(listed)
            store.set_flags(crypto.X509StoreFlags.CRL_CHECK)
