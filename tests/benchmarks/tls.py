"""TLS 1.3 through pyOpenSSL's memory BIOs, as a comparison: mutual authentication with pinned Ed25519 certificates."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey


def self_signed(key: Ed25519PrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(30))
    return builder.sign(key, None)


def _context(key: Ed25519PrivateKey, own: x509.Certificate, peer: x509.Certificate) -> SSL.Context:
    def pinned(_: SSL.Connection, shown: X509, *__: int) -> bool:
        return shown.to_cryptography() == peer

    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    context.use_certificate(own)
    context.use_privatekey(PKey.from_cryptography_key(key))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, pinned)
    return context


def make_tls(client_key: Ed25519PrivateKey, server_key: Ed25519PrivateKey) -> tuple[Callable[[], None], str]:
    """A function that makes one handshake, and the name of the group that it uses."""
    client_certificate, server_certificate = self_signed(client_key), self_signed(server_key)
    client_context = _context(client_key, client_certificate, server_certificate)
    server_context = _context(server_key, server_certificate, client_certificate)

    def handshake() -> SSL.Connection:
        client, server = SSL.Connection(client_context), SSL.Connection(server_context)
        client.set_connect_state()
        server.set_accept_state()
        pending = [client, server]
        while pending:
            for end in list(pending):
                try:
                    end.do_handshake()
                    pending.remove(end)
                except SSL.WantReadError:
                    pass
                other = server if end is client else client
                try:
                    other.bio_write(end.bio_read(65_536))
                except SSL.WantReadError:
                    pass
        return client

    group = handshake().get_group_name() or "unknown"

    def run() -> None:
        handshake()

    return run, group
