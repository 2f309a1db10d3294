"""TLS 1.3 as a step: both ends, with and without a client's certificate, its groups, suites and flights, and what comes of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    DataReceived,
    Handshake,
    HandshakeError,
    Limits,
    LocalProtocolError,
    NegotiationFailed,
    PeerAborted,
    Profile,
    PublicKey,
    Role,
    Stage,
    StepCompleted,
    TlsDetails,
    TlsSettings,
    TlsStep,
    VerifiedPeer,
    profiles,
    trust,
)
from nautilus_core.identity.x509 import key_of
from nautilus_core.testing import Pair, byte_by_byte

from .helpers import Talk, asking, note, succeed
from .tls_ends import (
    ALL_SUITES,
    AUTHORITY,
    CLIENT,
    NAME,
    NOW,
    ROOTS,
    SERVER,
    client,
    completed,
    run,
    server,
    small,
    tls_context,
)

STEPS = ("hello", "suites", "hello-response", "suite", "tls", "responder-finished", "initiator-finished")
X509 = ["x509"]


def key(leaf: Any) -> PublicKey:
    return key_of(x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()))


def details(pair: Pair) -> TlsDetails:
    first, second = pair.initiator.session.results["tls"], pair.responder.session.results["tls"]
    assert isinstance(first, TlsDetails)
    assert (first.cipher, first.group, first.alpn) == (second.cipher, second.group, second.alpn)
    return first


def test_both_ends_prove_who_they_are() -> None:
    pair = succeed(run(client(), server()))
    one, other = pair.initiator.session, pair.responder.session
    assert one.steps == STEPS
    assert isinstance(one.peer, VerifiedPeer)
    assert isinstance(other.peer, VerifiedPeer)
    assert one.peer.public_key == key(SERVER)
    assert other.peer.public_key == key(CLIENT)
    assert one.peer.names == (NAME,)
    assert other.peer.names == ("client@example.org",)
    assert one.peer.credential_type == "x509"
    assert one.valid_until is not None
    assert one.valid_until > NOW
    assert one.suite == "TLS13_AES256GCM_SHA384"
    assert one.export("of the test", b"context", 40) == other.export("of the test", b"context", 40)
    assert details(pair).cipher == "TLS_AES_256_GCM_SHA384"
    ours, theirs = one.channel(), other.channel()
    ours.send_data(b"through")
    theirs.receive_data(ours.data_to_send())
    received = theirs.next_event()
    assert isinstance(received, DataReceived)
    assert b"".join(received.records) == b"through"


def test_what_is_sealed_and_who_sends() -> None:
    pair = succeed(run(client(), server()))
    messages = [event for event in pair.initiator.events if isinstance(event, StepCompleted)]
    assert [(one.sender, one.sealed) for one in messages if one.step == "tls"] == [
        (INITIATOR, False),
        (RESPONDER, False),
        (INITIATOR, False),
    ]
    assert [one.step for one in messages if one.sealed] == ["responder-finished", "initiator-finished"]


def test_a_client_without_a_certificate_is_anonymous() -> None:
    pair = succeed(run(client(tls_context()), server(trust=trust.anyone(anonymous=True, kinds=X509))))
    assert pair.responder.session.peer is ANONYMOUS
    assert isinstance(pair.initiator.session.peer, VerifiedPeer)


def test_a_server_that_wants_nobody_asks_for_no_certificate() -> None:
    only = trust.any_of(trust.anyone(anonymous=True))
    assert only.credential_types == ("raw-public-key", "anonymous")
    pair = succeed(run(client(), server(trust=only)))
    assert pair.responder.session.peer is ANONYMOUS
    assert pair.responder.session.results["tls"].certificates == 0


def test_a_policy_may_take_both() -> None:
    takes_both = trust.any_of(trust.authorities(ROOTS), trust.anyone(anonymous=True, kinds=["raw-public-key"]))
    for context, expected in ((tls_context(CLIENT), VerifiedPeer), (tls_context(), type(ANONYMOUS))):
        assert isinstance(succeed(run(client(context), server(trust=takes_both))).responder.session.peer, expected)


def test_pinned_keys_and_questions() -> None:
    asked: list[Any] = []

    def accept(question: Any) -> None:
        asked.append(question.peer.public_key)
        question.accept()

    pair = run(client(trust=trust.pinned(key(SERVER), kinds=X509)), server(trust=trust.ask(kinds=X509)), answer=accept)
    succeed(pair)
    assert asked == [key(CLIENT)]
    pair = run(client(trust=trust.pinned(key(CLIENT), kinds=X509)), server())
    assert isinstance(pair.initiator.error, AuthenticationFailed)


def test_a_question_is_answered_before_the_client_shows_its_certificate() -> None:
    waiting = run(client(trust=trust.ask(kinds=X509)), server())
    assert completed(waiting.initiator)[-2:] == ["suite", "tls"]
    assert len(waiting.initiator.flights) == 2  # hello, and the ClientHello

    def reject(question: Any) -> None:
        question.reject("somebody else")

    pair = run(client(trust=trust.ask(kinds=X509)), server(), answer=reject)
    assert isinstance(pair.initiator.error, AuthenticationFailed)
    assert pair.initiator.error.step == "tls"
    assert isinstance(pair.responder.error, PeerAborted)
    assert completed(pair.responder).count("tls") == 2


@pytest.mark.parametrize("suite", ALL_SUITES)
def test_every_suite(suite: str) -> None:
    name = {"AES256GCM": "AES_256_GCM", "AES128GCM": "AES_128_GCM"}
    _, aead, digest = suite.split("_", 2)
    cipher = f"TLS_{name.get(aead, 'CHACHA20_POLY1305')}_{digest.rsplit('_')[-1]}"
    for pair in (
        run(client(), server(tls_context(SERVER, ciphers=cipher.encode()))),
        run(client(tls_context(CLIENT, ciphers=cipher.encode())), server()),
    ):
        assert succeed(pair).initiator.session.suite == suite
        assert details(pair).cipher == cipher


def test_the_servers_preference_decides_in_tls_as_it_does_outside() -> None:
    order = b"TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"
    backwards = b":".join(reversed(order.split(b":")))
    for ours, theirs, first in ((order, backwards, "AES256GCM_SHA384"), (backwards, order, "AES128GCM_SHA256")):
        pair = run(client(tls_context(CLIENT, ciphers=ours)), server(tls_context(SERVER, ciphers=theirs)))
        assert succeed(pair).initiator.session.suite == f"TLS13_{first}"


def test_no_suite_in_common() -> None:
    one, other = b"TLS_AES_128_GCM_SHA256", b"TLS_AES_256_GCM_SHA384"
    pair = run(client(tls_context(CLIENT, ciphers=one)), server(tls_context(SERVER, ciphers=other)))
    assert isinstance(pair.responder.error, NegotiationFailed)
    assert pair.responder.error.step == "suite"
    assert "TLS13_AES128GCM_SHA256" in str(pair.responder.error)


def test_a_hello_retry_request() -> None:
    pair = succeed(run(client(), server(tls_context(SERVER, curve=ec.SECP384R1()))))
    senders = [
        event.sender for event in pair.initiator.events if isinstance(event, StepCompleted) and event.step == "tls"
    ]
    assert senders == [INITIATOR, RESPONDER, INITIATOR, RESPONDER, INITIATOR]
    assert details(pair).group == "secp384r1"


def test_a_hybrid_group() -> None:
    pair = succeed(run(client(), server()))
    if details(pair).group != "X25519MLKEM768":
        pytest.skip(f"this OpenSSL has no X25519MLKEM768: {SSL.SSLeay_version(SSL.SSLEAY_VERSION)!r}")
    assert completed(pair.initiator).count("tls") == 3
    first = next(event for event in pair.initiator.events if getattr(event, "step", "") == "tls")
    assert isinstance(first, StepCompleted)
    assert first.size > 1184  # the encapsulation key is in it


@pytest.mark.parametrize("curves", [(ec.SECP256R1(), ec.SECP384R1())])
def test_no_group_in_common(curves: tuple[ec.EllipticCurve, ec.EllipticCurve]) -> None:
    pair = run(client(tls_context(CLIENT, curve=curves[0])), server(tls_context(SERVER, curve=curves[1])))
    assert isinstance(pair.responder.error, NegotiationFailed)
    assert "handshake_failure (40)" in str(pair.responder.error)
    assert isinstance(pair.initiator.error, PeerAborted)
    assert (
        "handshake_failure (40)" in pair.initiator.error.message
    )  # TLS's own alert, which came in a frame before ours
    assert pair.initiator.error.code == AlertCode.HANDSHAKE_FAILURE


def test_alpn() -> None:
    pair = run(client(alpn=("acme/2", "acme/1")), server(alpn=("acme/1", "acme/3")))
    assert details(succeed(pair)).alpn == "acme/1"


@pytest.mark.parametrize("offered", [("acme/9",), ()])
def test_no_application_protocol_in_common(offered: tuple[str, ...]) -> None:
    pair = run(client(alpn=offered), server(alpn=("acme/1",)))
    error = pair.responder.error if not offered else pair.initiator.error
    assert isinstance(error, NegotiationFailed)
    assert error.alert == AlertCode.NO_APPLICATION_PROTOCOL
    other = pair.initiator if not offered else pair.responder
    assert isinstance(other.error, PeerAborted)
    assert other.error.code == AlertCode.NO_APPLICATION_PROTOCOL


def test_alpn_of_the_contexts_own() -> None:
    ours, theirs = tls_context(CLIENT), tls_context(SERVER)
    ours.set_alpn_protos([b"h2", b"x"])
    theirs.set_alpn_select_callback(lambda _, offered: offered[-1])
    assert details(succeed(run(client(ours), server(theirs)))).alpn == "x"


def test_the_server_is_told_its_name() -> None:
    told: list[bytes | None] = []
    context = tls_context(SERVER)
    context.set_tlsext_servername_callback(lambda connection: told.append(connection.get_servername()))
    succeed(run(client(server_name="gate.example"), server(context)))
    succeed(run(client(), server(context)))
    assert told == [b"gate.example", None]


def test_protocols_extensions_and_target() -> None:
    options: dict[str, Any] = {"protocols": ("acme/1",), "extensions": {"colour": b"red"}}
    pair = succeed(run(client(target="gate", **options), server(**options)))
    assert pair.responder.session.protocol == "acme/1"
    assert pair.responder.session.extensions == {"colour": b"red", "target": b"gate"}


def test_custom_steps_before_and_after() -> None:
    def edit(profile: Profile) -> Profile:
        return (
            profile.insert_before("tls", note("early", needs=Stage.NOTHING))
            .insert_after("tls", note("late", RESPONDER))
            .insert_before("initiator-finished", lambda: Talk(length=4))
            .insert_before("initiator-finished", asking("question"))
        )

    pair = run(edit(client()), edit(server()), answer=lambda question: question.pending.give(7))
    succeed(pair)
    assert pair.initiator.session.steps[4:8] == ("early", "tls", "late", "responder-finished")
    sealed = {event.step: event.sealed for event in pair.initiator.events if isinstance(event, StepCompleted)}
    assert (sealed["early"], sealed["late"], sealed["talk"]) == (False, True, True)
    with pytest.raises(LocalProtocolError, match="both identities"):
        client().insert_before("tls", note("too-early"))


def test_the_step_belongs_to_the_profile() -> None:
    with pytest.raises(LocalProtocolError, match="cannot be removed"):
        client().remove("tls")
    settings = TlsSettings(tls_context(CLIENT), trust.authorities(ROOTS, name=NAME))
    assert client().replace("tls", lambda: TlsStep(settings)).outline.names == STEPS


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 8, 37, 301])
def test_flights_in_pieces(piece: int) -> None:
    """With pieces of one byte, every record of TLS is split at every byte."""
    both = []
    for profile, context, policy in (
        (client(small(CLIENT)), small(CLIENT), trust.authorities(ROOTS, name=NAME)),
        (server(small(SERVER)), small(SERVER), trust.authorities(ROOTS)),
    ):
        limits = Limits(messages=6000)
        settings = TlsSettings(context, policy, message=128 + piece)
        many = Profile(profile.name, _with_step(profile, settings), profile.stream, limits, (), profile.check)
        both.append(many)
    pair = succeed(run(both[0], both[1]))
    assert completed(pair.initiator).count("tls") > 2000 // piece
    assert completed(pair.initiator) == completed(pair.responder)


def _with_step(profile: Profile, settings: TlsSettings) -> Callable[[], list[Any]]:
    return lambda: [TlsStep(settings) if step.name == "tls" else step for step in profile.make_steps()]


def test_pieces_where_messages_are_short() -> None:
    big = AUTHORITY.issue_cert(*[f"name-{number}.{'x' * 50}.example" for number in range(200)], NAME)
    limits = Limits(message=4096)
    pair = run(client(limits=limits), server(tls_context(big), limits=limits))
    succeed(pair)
    assert completed(pair.initiator).count("tls") > 6
    assert len(completed(run(client(), server(tls_context(big))).initiator)) == 9  # in one piece where there is room


def test_byte_by_byte() -> None:
    succeed(run(client(), server(), split=byte_by_byte))


def test_a_context_that_verifies_by_itself() -> None:
    anybody = trust.anyone(kinds=X509)
    pair = run(
        client(tls_context(CLIENT, verifies=AUTHORITY), trust=anybody),
        server(tls_context(SERVER, verifies=AUTHORITY), trust=anybody),
    )
    assert isinstance(succeed(pair).responder.session.peer, VerifiedPeer)


def test_a_context_with_a_session_cache() -> None:
    context = tls_context(SERVER)
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    succeed(run(client(), server(context)))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: profiles.tls(object(), trust=trust.anyone(kinds=X509)), "OpenSSL.SSL.Context"),  # type: ignore[arg-type]
        (lambda: client(tls_context(CLIENT, newest=SSL.TLS1_2_VERSION)), "TLS 1.3"),
        (lambda: client(SSL.Context(SSL.DTLS_METHOD)), "TLS 1.3"),
        (lambda: client(tls_context(CLIENT, ciphers=b"TLS_AES_128_CCM_SHA256")), "TLS_AES_128_CCM_SHA256"),
        (lambda: client(server_name="*.example"), "DNS name"),
        (lambda: TlsSettings(None, trust.anyone(kinds=X509), message=128), "message"),
        (lambda: client(server_name="10.0.0.1"), "DNS name"),
        (lambda: client(alpn=("",)), "ALPN"),
        (lambda: client(alpn=("a", "a")), "ALPN"),
        (lambda: client(protocols=("",)), "protocol"),
        (lambda: Handshake(RESPONDER, server(tls_context())), "the context has none"),
        (lambda: Handshake(INITIATOR, client(trust=trust.authorities(ROOTS))), "name="),
        (lambda: Handshake(INITIATOR, client(trust=trust.anyone())), "x509"),
        (lambda: Handshake(RESPONDER, server(trust=trust.anyone())), "certificate or nothing"),
    ],
)
def test_misuse_is_refused_at_once(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises((ValueError, TypeError), match=problem):
        make()


def test_a_profile_without_a_context_cannot_run() -> None:
    pair = run(client().replace("tls", lambda: TlsStep(_without_context())), server())
    assert isinstance(pair.initiator.error, LocalProtocolError)
    assert not isinstance(pair.initiator.error, HandshakeError)


def _without_context() -> TlsSettings:
    return TlsSettings(None, trust.anyone(kinds=X509))


def test_only_the_step_imports_pyopenssl() -> None:
    code = (
        "import sys, nautilus_core as n; n.profiles.tls(None, trust=n.trust.anyone(kinds=['x509'])); "
        "assert 'OpenSSL' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_pyopenssl_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    monkeypatch.delitem(sys.modules, "nautilus_core.tls.connection", raising=False)
    with pytest.raises(LocalProtocolError, match=r"nautilus-handshake\[tls\]"):
        profiles.tls(object(), trust=trust.anyone(kinds=X509))  # type: ignore[arg-type]


def test_both_roles_of_one_profile() -> None:
    both = trust.any_of(trust.authorities(ROOTS, name=NAME), trust.anyone(kinds=X509))
    one = profiles.tls(tls_context(SERVER), trust=both)
    for role in Role:
        Handshake(role, one)
    succeed(run(one, one))
