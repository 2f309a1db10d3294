"""What the tests of TLS as a step share: authorities and certificates, contexts of pyOpenSSL, profiles of both ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from nautilus_core import INITIATOR, RESPONDER, Handshake, Profile, StepCompleted, profiles, trust
from nautilus_core.testing import End, Pair

from .certificates import Made

NOW: Final = datetime.now(UTC)
NAME: Final = "server.example"

AUTHORITY: Final = trustme.CA()
STRANGER: Final = trustme.CA()
"""An authority that nobody trusts."""
ROOTS: Final = (x509.load_pem_x509_certificate(AUTHORITY.cert_pem.bytes()),)
SERVER: Final = AUTHORITY.issue_cert(NAME)
CLIENT: Final = AUTHORITY.issue_cert("client@example.org")

ALL_SUITES: Final = ("TLS13_AES256GCM_SHA384", "TLS13_CHACHA20POLY1305_SHA256", "TLS13_AES128GCM_SHA256")

Leaf = trustme.LeafCert | Made | None


def tls_context(
    leaf: Leaf = None,
    *,
    verifies: trustme.CA | None = None,
    ciphers: bytes = b"",
    curve: ec.EllipticCurve | None = None,
    newest: int | None = None,
    weak: bool = False,
) -> SSL.Context:
    """A context of one end.

    Args:
        leaf: who it is; None for a client without a certificate.
        verifies: the authority by which OpenSSL itself verifies the peer; None for none.
        ciphers: suites of TLS 1.3, in order; OpenSSL's own for none.
        curve: the only group; OpenSSL's own for None.
        newest: version of TLS.
        weak: whether short keys will do for OpenSSL.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if weak:
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    if isinstance(leaf, Made):
        context.use_certificate(leaf.certificate)
        context.use_privatekey(leaf.key)
    elif leaf is not None:
        leaf.configure_cert(context)
    if verifies is not None:
        verifies.configure_trust(context)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    if ciphers:
        context.set_tls13_ciphersuites(ciphers)
    if curve is not None:
        context.set_tmp_ecdh(curve)
    if newest is not None:
        context.set_max_proto_version(newest)
    return context


def small(leaf: Leaf = None, **options: Any) -> SSL.Context:
    """The same with one small group, for what runs thousands of times."""
    return tls_context(leaf, **{"curve": ec.SECP256R1(), **options})


def client(context: SSL.Context | None = None, **options: Any) -> Profile:
    """A client with its certificate, which wants the server by its name."""
    defaults: dict[str, Any] = {"trust": trust.authorities(ROOTS, name=NAME)}
    return profiles.tls(context or tls_context(CLIENT), **defaults | options)


def server(context: SSL.Context | None = None, **options: Any) -> Profile:
    """A server that wants clients with a certificate."""
    defaults: dict[str, Any] = {"trust": trust.authorities(ROOTS)}
    return profiles.tls(context or tls_context(SERVER), **defaults | options)


def run(
    initiator: Profile, responder: Profile, *, entropies: Sequence[Any] = (), now: datetime = NOW, **options: Any
) -> Pair:
    """Drive both ends until nothing moves."""
    ends = []
    for place, (role, profile) in enumerate(((INITIATOR, initiator), (RESPONDER, responder))):
        given = {"entropy": entropies[place]} if entropies else {}
        ends.append(Handshake(role, profile, wall_time=now, **given))
    return Pair(*ends, **{"close": False, **options}).run()


def completed(end: End) -> list[str]:
    """The names of the messages that an end has accepted or sent, in order."""
    return [event.step for event in end.events if isinstance(event, StepCompleted)]
