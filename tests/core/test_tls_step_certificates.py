"""Certificates in TLS as a step that will not do: each is refused in words, at the end that looks at it, and the other is told.

Two judges are tested: a trust policy, by `wall_time`, and OpenSSL, where the context verifies by its own clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from nautilus_core import (
    AlertCode,
    AuthenticationFailed,
    HandshakeError,
    InMemoryKnownPeers,
    PeerAborted,
    TrustPolicy,
    VerifiedPeer,
    trust,
)
from nautilus_core.identity.x509 import key_of
from nautilus_core.testing import Pair

from . import certificates
from .certificates import CLIENT as FOR_CLIENTS
from .certificates import SERVER as FOR_SERVERS
from .helpers import succeed
from .tls_ends import (
    AUTHORITY,
    CLIENT,
    NAME,
    NOW,
    ROOTS,
    SERVER,
    STRANGER,
    Leaf,
    client,
    completed,
    run,
    server,
    tls_context,
)

X509 = ["x509"]
OLD: dict[str, Any] = {"not_before": datetime(2020, 1, 1, tzinfo=UTC), "not_after": datetime(2021, 1, 1, tzinfo=UTC)}


def check(pair: Pair, *, server_is_refused: bool, error: str, code: int | None = None) -> HandshakeError:
    """The refusal, at the right end; the other end is told, and has no session that anybody confirms."""
    judge, other = (pair.initiator, pair.responder) if server_is_refused else (pair.responder, pair.initiator)
    assert isinstance(judge.error, AuthenticationFailed), judge.error
    assert judge.error.step == "tls"
    assert error in str(judge.error)
    assert isinstance(other.error, PeerAborted), other.error
    assert other.error.code == judge.error.alert
    assert code is None or judge.error.alert == code
    assert not judge.completed
    assert not other.completed
    if server_is_refused:  # before this side has shown its certificate
        assert completed(pair.responder).count("tls") == 2
    return judge.error


@pytest.mark.parametrize("server_is_refused", [True, False])
@pytest.mark.parametrize(
    ("leaf", "error"),
    [
        (lambda names: AUTHORITY.issue_cert(*names, **OLD), "has expired"),
        (lambda names: STRANGER.issue_cert(*names), "unknown authority"),
    ],
    ids=["expired", "untrusted"],
)
def test_by_a_policy(leaf: Any, error: str, server_is_refused: bool) -> None:
    certified = leaf([NAME] if server_is_refused else ["client@example.org"])
    ours = tls_context(certified)
    pair = run(client(), server(ours)) if server_is_refused else run(client(ours), server())
    refusal = check(pair, server_is_refused=server_is_refused, error=error, code=AlertCode.ACCESS_DENIED)
    (certificate,) = x509.load_pem_x509_certificates(certified.cert_chain_pems[0].bytes())
    assert refusal.peer_id == key_of(certificate).peer_id


def test_the_callers_time_counts_and_no_clock() -> None:
    pair = run(client(), server(), now=NOW.replace(year=3100))
    check(pair, server_is_refused=True, error="has expired")
    pair = run(client(), server(), now=NOW.replace(year=1990))
    check(pair, server_is_refused=True, error="not yet valid")


def test_another_name() -> None:
    pair = run(client(trust=trust.authorities(ROOTS, name="other.example")), server())
    error = check(pair, server_is_refused=True, error="for another name")
    assert error.expected == "other.example"
    assert error.received == NAME
    pair = run(client(), server(trust=trust.authorities(ROOTS, name="gate.example")))
    check(pair, server_is_refused=False, error="for another name")


def private(*purposes: x509.ObjectIdentifier, **wishes: Any) -> tuple[Leaf, tuple[x509.Certificate, ...]]:
    """A certificate for some purposes, and its authority."""
    root = certificates.authority()
    return root.issue(names=[NAME], purposes=purposes, **wishes), (root.certificate,)


@pytest.mark.parametrize("server_is_refused", [True, False])
def test_another_purpose(server_is_refused: bool) -> None:
    right, wrong = (FOR_SERVERS, FOR_CLIENTS) if server_is_refused else (FOR_CLIENTS, FOR_SERVERS)
    for purpose, refused in ((right, False), (wrong, True)):
        leaf, roots = private(purpose)
        if server_is_refused:
            policy = trust.authorities(roots, name=NAME)
            pair = run(
                client(trust=policy), server(tls_context(leaf), trust=trust.anyone(kinds=X509)), now=certificates.NOW
            )
        else:
            known = trust.anyone(kinds=X509)
            pair = run(
                client(tls_context(leaf), trust=known), server(trust=trust.authorities(roots)), now=certificates.NOW
            )
        if refused:
            check(pair, server_is_refused=server_is_refused, error="for another purpose")
        else:
            succeed(pair)


def revoked(serials: Iterable[int], policy: TrustPolicy) -> TrustPolicy:
    """The policy, without those whose certificates have one of these serial numbers."""
    numbers = frozenset(serials)

    def decide(peer: Any, context: Any) -> None:
        if peer.evidence[0].serial_number in numbers:
            raise AuthenticationFailed("the peer's certificate was revoked", alert=AlertCode.CERTIFICATE_REVOKED)

    return trust.decided_by(decide, policy)


def serial(leaf: Any) -> int:
    return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).serial_number


def test_revoked_by_policy() -> None:
    policy = revoked([serial(CLIENT)], trust.authorities(ROOTS))
    pair = run(client(), server(trust=policy))
    check(pair, server_is_refused=False, error="was revoked", code=AlertCode.CERTIFICATE_REVOKED)
    assert "the certificate was revoked" in str(pair.initiator.error)
    succeed(run(client(tls_context(AUTHORITY.issue_cert("client@example.org"))), server(trust=policy)))
    pair = run(client(trust=revoked([serial(SERVER)], trust.authorities(ROOTS, name=NAME))), server())
    check(pair, server_is_refused=True, error="was revoked", code=AlertCode.CERTIFICATE_REVOKED)


def test_no_certificate_of_the_client() -> None:
    pair = run(client(tls_context()), server())
    check(pair, server_is_refused=False, error="showed no certificate", code=AlertCode.CERTIFICATE_REQUIRED)
    assert "certificate_required (116)" in str(pair.responder.error)
    assert "we showed none" in str(pair.initiator.error)


@pytest.mark.parametrize(
    ("leaf", "error", "code"),
    [
        (AUTHORITY.issue_cert(NAME, **OLD), "has expired", AlertCode.CERTIFICATE_EXPIRED),
        (STRANGER.issue_cert(NAME), "unknown authority", AlertCode.UNKNOWN_CA),
        (private(FOR_SERVERS)[0], "unknown authority", AlertCode.UNKNOWN_CA),
    ],
    ids=["expired", "untrusted", "private"],
)
@pytest.mark.parametrize("server_is_refused", [True, False])
def test_by_the_context(leaf: Leaf, error: str, code: AlertCode, server_is_refused: bool) -> None:
    """OpenSSL refuses; its alert goes out in a frame of the step where the peer waits for one, and ours says the same."""
    verifying, anybody = tls_context(CLIENT, verifies=AUTHORITY), trust.anyone(kinds=X509)
    if server_is_refused:
        pair = run(client(verifying, trust=anybody), server(tls_context(leaf), trust=anybody))
        assert code.name.lower() in str(pair.responder.error)  # by TLS's alert
    else:
        judging = server(tls_context(SERVER, verifies=AUTHORITY), trust=anybody)
        pair = run(client(tls_context(leaf), trust=anybody), judging)
        assert isinstance(pair.initiator.error, PeerAborted)
        assert pair.initiator.error.step == "responder-finished"  # it had nothing more to wait for in TLS
    refusal = check(pair, server_is_refused=server_is_refused, error=error, code=code)
    assert "TLS alert" in str(refusal)


def test_the_context_and_the_policy_must_both_agree() -> None:
    strict = tls_context(CLIENT, verifies=STRANGER)
    check(run(client(strict), server()), server_is_refused=True, error="unknown authority", code=AlertCode.UNKNOWN_CA)
    elsewhere = trust.authorities([x509.load_pem_x509_certificate(STRANGER.cert_pem.bytes())], name=NAME)
    pair = run(client(tls_context(CLIENT, verifies=AUTHORITY), trust=elsewhere), server())
    check(pair, server_is_refused=True, error="unknown authority", code=AlertCode.ACCESS_DENIED)


def test_a_verify_callback_of_the_users_own_stays() -> None:
    asked: list[int] = []
    context = tls_context(SERVER)

    def refuse(connection: Any, certificate: Any, error: int, depth: int, ok: int) -> bool:
        asked.append(depth)
        return False

    context.set_verify(SSL.VERIFY_PEER, refuse)
    pair = run(client(), server(context))
    assert asked
    assert isinstance(pair.responder.error, AuthenticationFailed)


@pytest.mark.parametrize("curve", [ec.SECP521R1(), None], ids=["P-521", "RSA-1024"])
def test_a_key_that_is_not_taken(curve: ec.EllipticCurve | None) -> None:
    key = ec.generate_private_key(curve) if curve else rsa.generate_private_key(65537, 1024)
    leaf = certificates.authority().issue(key, names=[NAME])
    pair = run(
        client(tls_context(weak=True), trust=trust.anyone(kinds=X509)),
        server(tls_context(leaf, weak=True), trust=trust.anyone(kinds=X509, anonymous=True)),
        now=certificates.NOW,
    )
    check(pair, server_is_refused=True, error="not usable", code=AlertCode.BAD_CERTIFICATE)


def test_a_scheme_that_the_policy_does_not_take() -> None:
    key = x509.load_pem_x509_certificate(SERVER.cert_chain_pems[0].bytes())
    other = certificates.authority().issue(certificates.KEYS["ed25519"], names=[NAME])
    policy = trust.pinned(key_of(key), kinds=X509)
    assert policy.schemes == ("ecdsa-p256-sha256",)
    pair = run(client(trust=policy), server(tls_context(other), trust=trust.anyone(kinds=X509)), now=certificates.NOW)
    check(pair, server_is_refused=True, error="a key for ed25519", code=AlertCode.BAD_CERTIFICATE)


@pytest.mark.parametrize("scheme", [name for name in certificates.KEYS if name != "ml-dsa-65"])  # not in pyOpenSSL
def test_keys_of_every_scheme(scheme: str) -> None:
    leaf = certificates.authority().issue(certificates.KEYS[scheme], names=[NAME])
    pair = run(
        client(trust=trust.anyone(kinds=X509)),
        server(tls_context(leaf), trust=trust.anyone(kinds=X509)),
        now=certificates.NOW,
    )
    peer = succeed(pair).initiator.session.peer
    assert isinstance(peer, VerifiedPeer)
    assert peer.public_key.scheme == scheme


def _plain(subject: str, by: ec.EllipticCurvePrivateKey, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A certificate of the issuer `Root` that does not say by which key."""
    name, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (subject, "Root"))
    begin, end = NOW - timedelta(days=1), NOW + timedelta(days=1)
    builder = x509.CertificateBuilder(issuer, name, key.public_key(), 1, begin, end)
    builder = builder.add_extension(x509.BasicConstraints(subject == "Root", None), critical=True)
    return builder.sign(by, hashes.SHA256())


def test_a_chain_that_openssl_doubts_leaves_nothing_for_other_connections() -> None:
    """OpenSSL's errors of a signature that it was told to pass on wait for whoever asks next in the thread."""
    real, false, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    judge, impostor = tls_context(SERVER), tls_context()
    store = judge.get_cert_store()
    assert store is not None
    store.add_cert(crypto.X509.from_cryptography(_plain("Root", real, real)))
    impostor.use_certificate(_plain("Leaf", false, own))
    impostor.use_privatekey(own)
    anybody = trust.anyone(kinds=X509)
    succeed(run(client(impostor, trust=anybody), server(judge, trust=anybody)))
    assert SSL._lib.ERR_peek_error() == 0  # type: ignore[attr-defined]


def test_a_remembered_peer() -> None:
    store = InMemoryKnownPeers()
    policy = trust.known_peers(store, name=NAME, accept_new=True, kinds=X509)
    succeed(run(client(trust=policy), server()))
    pair = run(client(trust=policy), server(tls_context(AUTHORITY.issue_cert(NAME))))
    check(pair, server_is_refused=True, error="another key than before")
