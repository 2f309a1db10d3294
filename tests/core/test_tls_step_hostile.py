"""What a peer, or somebody in between, can do to TLS as a step: nothing but a typed error at both ends."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Entropy,
    Handshake,
    HandshakeError,
    InvalidMessage,
    Limits,
    NegotiationFailed,
    PeerAborted,
    Profile,
    Role,
    State,
    TlsSettings,
    TlsStep,
    trust,
)
from nautilus_core.crypto.hashing import SHA384
from nautilus_core.identity.credentials import Presented
from nautilus_core.identity.keys import PublicKey
from nautilus_core.identity.x509 import X509Chains
from nautilus_core.testing import Pair, RecordingEntropy, ReplayingEntropy, Split, Tamper
from nautilus_core.tls import connection
from nautilus_core.tls.connection import LABEL, MAX_RECEIVED, resumes
from nautilus_core.tls.flight import TlsFlight, TlsResult
from nautilus_core.tls.problems import error_for, problem_of

from .helpers import altered, drain, frame, frames, packed, put, succeed
from .tls_ends import AUTHORITY, CLIENT, NAME, NOW, SERVER, client, completed, run, server, small, tls_context

X509 = ["x509"]
STRANGERS_KEY = (
    ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
)


@pytest.fixture(scope="module")
def profiles() -> tuple[Profile, Profile]:
    """Both ends with one small group, made once."""
    anybody = trust.anyone(kinds=X509)
    return client(small(CLIENT), trust=anybody), server(small(SERVER), trust=anybody)


@pytest.fixture(scope="module")
def recorded(profiles: tuple[Profile, Profile]) -> tuple[Pair, list[Any], list[Any]]:
    """A handshake with what both ends drew."""
    entropies = RecordingEntropy(), RecordingEntropy()
    pair = succeed(run(*profiles, entropies=entropies))
    return pair, entropies[0].tape, entropies[1].tape


def tls_places(pair: Pair) -> Iterator[tuple[Role, int, int, int]]:
    """Where the frames of the step are: sender, number of the flight, first byte, end."""
    for end in (pair.initiator, pair.responder):
        for number, flight in enumerate(end.flights):
            place = 0
            for one in frames(flight):
                if one[0] == 0xE1 and one[5:9] == b"\xa3tls":
                    yield end.handshake.role, number, place, place + len(one)
                place += len(one)


def test_every_byte_of_every_flight_altered(profiles: tuple[Profile, Profile], recorded: Any) -> None:
    places = list(tls_places(recorded[0]))
    assert len(places) == 3
    for sender, number, begin, end in places:
        for place in range(begin, end):
            pair = Pair(*_handshakes(profiles), tamper=_flip(sender, number, place)).run()
            where = f"byte {place} of flight {number} of the {sender.value}"
            assert not pair.initiator.completed or not pair.responder.completed, where
            for one in (pair.initiator, pair.responder):
                assert isinstance(one.error, HandshakeError), f"{where}: {one.error!r}"
                assert one.handshake.state is State.FAILED, where


def _handshakes(profiles: tuple[Profile, Profile]) -> tuple[Handshake, Handshake]:
    return Handshake(INITIATOR, profiles[0], wall_time=NOW), Handshake(RESPONDER, profiles[1], wall_time=NOW)


def _flip(sender: Role, number: int, place: int) -> Tamper:
    def tamper(role: Role, count: int, data: bytes) -> bytes:
        if (role, count) != (sender, number):
            return data
        at = min(place, len(data) - 1)  # signatures are not always of one length
        return data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]

    return tamper


def _again(profiles: tuple[Profile, Profile], recorded: Any) -> tuple[Handshake, Handshake]:
    _, one, other = recorded
    return (
        Handshake(INITIATOR, profiles[0], wall_time=NOW, entropy=ReplayingEntropy(one)),
        Handshake(RESPONDER, profiles[1], wall_time=NOW, entropy=ReplayingEntropy(other)),
    )


def cut_at(place: int) -> Split:
    return lambda data: [data[:place], data[place:]]


def test_frames_split_at_every_byte(profiles: tuple[Profile, Profile], recorded: Any) -> None:
    longest = max(len(flight) for end in (recorded[0].initiator, recorded[0].responder) for flight in end.flights)
    for place in range(1, longest):
        pair = Pair(*_again(profiles, recorded), split=cut_at(place)).run()
        assert pair.initiator.flights == recorded[0].initiator.flights
        assert pair.responder.flights == recorded[0].responder.flights


@pytest.mark.parametrize("victim", Role)
def test_the_end_of_the_stream_at_every_byte(profiles: tuple[Profile, Profile], recorded: Any, victim: Role) -> None:
    sender = recorded[0].responder if victim is INITIATOR else recorded[0].initiator
    flights = sender.flights[:-1] if victim is INITIATOR else sender.flights
    for offset in range(sum(map(len, flights))):
        handshake = _again(profiles, recorded)[0 if victim is INITIATOR else 1]
        drain(handshake)
        left = offset
        for flight in flights:
            handshake.receive_data(flight[:left]) if left else None
            left = max(left - len(flight), 0)
            drain(handshake)
        handshake.receive_data(b"")
        with pytest.raises(PeerAborted, match="ended in the middle"):
            drain(handshake)
        assert handshake.state is State.FAILED


def test_garbage_is_no_tls(profiles: tuple[Profile, Profile]) -> None:
    for garbage in (
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(100),
        b"\x16\x03\x01\x00\x05hello",
        b"\xff" * 300,
        b"\x17\x03\x03\x00\x01x",
    ):
        pair = run(*profiles, tamper=altered("tls", put(2, garbage), INITIATOR))
        assert isinstance(pair.responder.error, InvalidMessage), garbage
        assert isinstance(pair.initiator.error, PeerAborted)
        pair = run(*profiles, tamper=altered("tls", put(2, garbage), RESPONDER))
        assert isinstance(pair.initiator.error, InvalidMessage), garbage
        assert pair.responder.error is not None


@pytest.mark.parametrize("sender", Role)
def test_empty_flights_lead_nowhere(profiles: tuple[Profile, Profile], sender: Role) -> None:
    pair = run(*profiles, tamper=altered("tls", put(2, b""), sender))
    victim = pair.responder if sender is INITIATOR else pair.initiator
    assert isinstance(victim.error, InvalidMessage)
    assert "an empty flight" in str(victim.error)


def test_nothing_may_come_while_the_last_flight_goes_out_in_pieces() -> None:
    """Its sender has its result, and takes no more of TLS: only that the peer has heard."""
    big = AUTHORITY.issue_cert(*[f"name-{number}.{'x' * 50}.example" for number in range(100)])
    pieces = client(small(big), limits=Limits(message=4096)), server(small(SERVER))
    assert completed(succeed(run(*pieces)).initiator).count("tls") == 5
    for more in (b"\x17\x03\x03\x00\x15" + bytes(21), b"\x15\x03\x03\x00\x02\x02\x30", b"x"):

        def answer(fields: list[Any], more: bytes = more) -> None:
            fields[2] = fields[2] or more

        pair = run(*pieces, tamper=altered("tls", answer, RESPONDER))
        error = pair.initiator.error
        assert isinstance(error, InvalidMessage)
        assert error.step == "tls"
        assert error.message == "more of TLS than a handshake"
        assert error.received == f"{len(more)} bytes"
        assert error.alert == AlertCode.UNEXPECTED_MESSAGE
        assert isinstance(pair.responder.error, PeerAborted)


class Babbling(Entropy):
    """Lets TLS say more than it has to."""

    __slots__ = ("more", "times")

    def __init__(self, more: bytes, times: int = 1) -> None:
        self.more = more
        self.times = times

    def tls(self, end: Any, received: bytes) -> TlsFlight:
        flight = end.advance(received)
        more = self.more * self.times
        return TlsFlight(flight.data + more, flight.result, flight.problem) if flight.result else flight


@pytest.mark.parametrize(
    "more", [b"\x17\x03\x03\x00\x15" + bytes(21), b"\x16\x03\x03\x00\x05hello", b"\x17\x03\x03\x00", b"x"]
)
def test_nothing_may_follow_finished(profiles: tuple[Profile, Profile], more: bytes) -> None:
    pair = run(*profiles, entropies=(Babbling(more), Entropy()))
    assert isinstance(pair.responder.error, InvalidMessage)
    assert pair.responder.error.step == "tls"
    assert pair.responder.error.received == f"{len(more)} bytes"


def test_without_a_look_into_pyopenssl_whole_records_after_finished_are_told(
    profiles: tuple[Profile, Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it keeps for itself may be called something else one day."""
    monkeypatch.setattr(connection, "_START", None)
    for more in (b"\x17\x03\x03\x00\x15" + bytes(21), b"\x16\x03\x03\x00\x05hello"):
        pair = run(*profiles, entropies=(Babbling(more), Entropy()))
        assert isinstance(pair.responder.error, InvalidMessage)
        assert "more than a TLS handshake" in str(pair.responder.error)


def failure(handshake: Handshake) -> HandshakeError | None:
    """What ends a handshake now, if anything does."""
    try:
        drain(handshake)
    except HandshakeError as error:
        return error
    return None


def test_flights_are_bounded(profiles: tuple[Profile, Profile]) -> None:
    """A peer that never comes to the end of its first message: neither TLS nor the engine listens for ever."""
    endless = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + bytes(16_379)
    for limits in (Limits(), Limits(handshake=1_000_000, messages=10_000)):
        responder = Handshake(RESPONDER, server(small(SERVER), limits=limits))
        initiator = Handshake(INITIATOR, profiles[0])
        drain(initiator)
        responder.receive_data(initiator.data_to_send())
        drain(responder)
        for _ in range(100):
            responder.receive_data(packed(["tls", False, endless]))
            if (error := failure(responder)) is not None:
                assert error.step == "tls"
                break
        else:
            raise AssertionError("it listens for ever")


def test_an_endless_number_of_pieces_is_bounded() -> None:
    """Of one byte each, which are never too long together."""
    responder = Handshake(RESPONDER, server(small(SERVER)))
    initiator = Handshake(INITIATOR, client(small(CLIENT)))
    drain(initiator)
    responder.receive_data(initiator.data_to_send())
    drain(responder)
    hello = b"\x16\x03\x01\x20\x00\x01\x00\x1f\xfc\x03\x03" + bytes(8000)
    for count, place in enumerate(range(len(hello))):
        responder.receive_data(packed(["tls", False, hello[place : place + 1]]))
        if (error := failure(responder)) is not None:
            assert error.alert == AlertCode.RECORD_OVERFLOW
            assert count < Limits().messages
            return
    raise AssertionError("it listens for ever")


def test_more_than_the_limit_of_tls_itself() -> None:
    """By the connection's own count, whatever the limits of the profile."""
    settings = TlsSettings(small(SERVER), trust.anyone(kinds=X509), message=1_000_000)
    end = settings.end(RESPONDER, next(iter(settings.suites.values())), bytes(48))
    flight = end.advance(bytes(MAX_RECEIVED + 1))
    assert flight.problem is not None
    assert flight.problem.alert == AlertCode.RECORD_OVERFLOW


def test_a_frame_over_the_limit() -> None:
    responder = Handshake(RESPONDER, server(limits=Limits(message=4096)))
    responder.receive_data(b"\xe1\x00\x20\x00")
    with pytest.raises(InvalidMessage, match="over the limit"):
        drain(responder)


def test_the_two_ends_must_end_at_one_message(profiles: tuple[Profile, Profile]) -> None:
    for sender, last in ((INITIATOR, True), (RESPONDER, True)):
        pair = run(*profiles, tamper=altered("tls", put(1, last), sender))
        victim = pair.responder if sender is INITIATOR else pair.initiator
        assert isinstance(victim.error, InvalidMessage)
        assert "disagree on where the step ends" in str(victim.error)


class StdlibTls:
    """A TLS connection of the standard library over memory BIOs; its key log gives the secret of the exporter."""

    def __init__(self, role: Role, folder: Path, *, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        protocol = ssl.PROTOCOL_TLS_CLIENT if role is INITIATOR else ssl.PROTOCOL_TLS_SERVER
        context = ssl.SSLContext(protocol)
        AUTHORITY.configure_trust(context)
        (CLIENT if role is INITIATOR else SERVER).configure_cert(context)
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = newest
        self.log = folder / f"keys-{role.value}"
        context.keylog_filename = str(self.log)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = NAME if role is INITIATOR else None
        self.connection = context.wrap_bio(
            self.incoming, self.outgoing, server_side=role is RESPONDER, server_hostname=name
        )
        self.transcript_hash = b""

    def advance(self, received: bytes) -> TlsFlight:
        self.incoming.write(received)
        try:
            self.connection.do_handshake()
        except ssl.SSLWantReadError:
            return TlsFlight(self.outgoing.read())
        except ssl.SSLError as error:
            data = self.outgoing.read()
            return TlsFlight(data, None, problem_of(str(error.reason).lower().replace("_", " "), data, 0))
        certificate = self.connection.getpeercert(binary_form=True)
        assert certificate is not None
        cipher = self.connection.cipher()
        assert cipher is not None
        result = TlsResult(cipher[0], "", b"", (certificate,), self.export())
        return TlsFlight(self.outgoing.read() if self.connection.server_side is False else b"", result)

    def export(self) -> bytes:
        """RFC 8446 section 7.5, straight from the text."""
        lines = [line.split() for line in self.log.read_text("ascii").splitlines()]
        secret = next(bytes.fromhex(line[2]) for line in lines if line[0] == "EXPORTER_SECRET")

        def expand(secret: bytes, label: bytes, context: bytes) -> bytes:
            name = b"tls13 " + label
            info = (48).to_bytes(2, "big") + bytes((len(name),)) + name + bytes((len(context),)) + context
            return HKDFExpand(hashes.SHA384(), 48, info).derive(secret)

        derived = expand(secret, LABEL, SHA384.digest(b""))
        return expand(derived, b"exporter", SHA384.digest(self.transcript_hash))


class Foreign(Entropy):
    """Has the standard library's TLS in the place of pyOpenSSL's."""

    __slots__ = ("stdlib",)

    def __init__(self, stdlib: StdlibTls) -> None:
        self.stdlib = stdlib

    def tls(self, end: Any, received: bytes) -> TlsFlight:
        self.stdlib.transcript_hash = end._transcript_hash
        return self.stdlib.advance(received)


@pytest.mark.parametrize("role", Role)
def test_against_the_tls_of_the_standard_library(role: Role, tmp_path: Path) -> None:
    """Another OpenSSL, and the exporter from its key log by the formula: a whole handshake, with equal keys."""
    foreign = Foreign(StdlibTls(role, tmp_path))
    entropies = (foreign, Entropy()) if role is INITIATOR else (Entropy(), foreign)
    pair = succeed(run(client(), server(), entropies=entropies))
    assert pair.initiator.session.suite == "TLS13_AES256GCM_SHA384"


@pytest.mark.parametrize("role", Role)
def test_older_versions_are_refused(role: Role, tmp_path: Path) -> None:
    old = Foreign(StdlibTls(role, tmp_path, newest=ssl.TLSVersion.TLSv1_2))
    entropies = (old, Entropy()) if role is INITIATOR else (Entropy(), old)
    permissive = tls_context(CLIENT), tls_context(SERVER)
    for context in permissive:
        context.set_min_proto_version(SSL.TLS1_VERSION)
    pair = run(client(permissive[0]), server(permissive[1]), entropies=entropies)
    judge = pair.responder if role is INITIATOR else pair.initiator
    other = pair.initiator if role is INITIATOR else pair.responder
    if role is INITIATOR:  # our server has refused, and its alert has told the other end
        assert isinstance(judge.error, NegotiationFailed)
        assert "only TLS 1.3" in str(judge.error)
        assert judge.error.alert == AlertCode.PROTOCOL_VERSION
        assert isinstance(other.error, PeerAborted)
    else:  # the other server has seen that our client offers nothing older
        assert isinstance(judge.error, PeerAborted)
        assert isinstance(other.error, NegotiationFailed)
    for end in (judge, other):
        assert "protocol_version (70)" in str(end.error)
    assert not judge.completed
    assert not other.completed


class Resuming(Entropy):
    """A client that resumes a session of TLS that the server's context has served elsewhere."""

    __slots__ = ("session",)

    def __init__(self, session: SSL.Session) -> None:
        self.session = session

    def tls(self, end: Any, received: bytes) -> TlsFlight:
        if end._connection is None:
            end._connection = end._begin()
            end._connection.set_session(self.session)
        flight: TlsFlight = end.advance(received)
        return flight


def _session(ours: SSL.Context, theirs: SSL.Context) -> SSL.Session:
    """The session of a plain TLS connection, with its ticket."""
    one, other = SSL.Connection(ours, None), SSL.Connection(theirs, None)
    one.set_connect_state()
    other.set_accept_state()
    for sender, receiver in ((one, other), (other, one), (one, other), (other, one)):
        try:
            sender.do_handshake()
        except SSL.WantReadError:
            pass
        receiver.bio_write(sender.bio_read(16_384))
    with pytest.raises(SSL.WantReadError):
        one.recv(1)  # takes the tickets
    session = one.get_session()
    assert session is not None
    one.shutdown()
    return session


def test_a_resumed_session_proves_no_key() -> None:
    ours, theirs = tls_context(CLIENT), tls_context(SERVER, verifies=AUTHORITY)
    theirs.set_session_id(b"the test")
    theirs.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    first, second = client(ours), server(theirs)
    succeed(run(first, second))
    pair = run(first, second, entropies=(Resuming(_session(ours, theirs)), Entropy()))
    assert isinstance(pair.responder.error, InvalidMessage)
    assert "resumed" in str(pair.responder.error)


def test_only_a_server_hello_resumes() -> None:
    plain = b"\x16\x03\x03\x00\x5a\x02\x00\x00\x56\x03\x03" + bytes(32) + b"\x20" + bytes(32) + b"\x13\x02\x00"
    assert not resumes(plain + b"\x00\x06\x00\x2b\x00\x02\x03\x04")
    assert resumes(plain + b"\x00\x0c\x00\x2b\x00\x02\x03\x04\x00\x29\x00\x02\x00\x00")
    assert not resumes(b"")
    assert not resumes(plain)
    assert not resumes(b"\x15\x03\x03\x00\x02\x02\x28")


def test_a_server_hello_in_short_records_hides_no_resumption() -> None:
    """A client can ask for short records (RFC 6066 section 4): a hybrid key share then lies across several of them."""
    extensions = b"\x00\x33\x04\x64\x11\xec\x04\x60" + bytes(1120) + b"\x00\x29\x00\x02\x00\x00"
    body = b"\x03\x03" + bytes(32) + b"\x20" + bytes(32) + b"\x13\x02\x00"
    body += len(extensions).to_bytes(2, "big") + extensions
    hello = b"\x02" + len(body).to_bytes(3, "big") + body
    for size in (1, 44, 512, 16_384):
        pieces = [hello[place : place + size] for place in range(0, len(hello), size)]
        flight = b"".join([b"\x16\x03\x03" + len(piece).to_bytes(2, "big") + piece for piece in pieces])
        assert resumes(flight + b"\x14\x03\x03\x00\x01\x01"), size


def relay(alice: Handshake, bob: Handshake) -> tuple[Any, Any]:
    """What is sent by either goes to the other, from now on; returns what ended each."""
    ends: list[Any] = [None, None]
    for _ in range(12):
        for place, (end, peer) in enumerate(((alice, bob), (bob, alice))):
            if ends[place] is None:
                try:
                    drain(end)
                except HandshakeError as error:
                    ends[place] = error
            data = end.data_to_send()
            if data and peer.state is State.RUNNING:
                peer.receive_data(data)
    return ends[0], ends[1]


def test_tls_cannot_be_transplanted_into_another_handshake(profiles: tuple[Profile, Profile]) -> None:
    """Mallory shakes hands with both, and has Alice's TLS go to Bob: both certificates verify, and the keys differ."""
    alice, bob = _handshakes(profiles)
    for_alice, for_bob = Handshake(RESPONDER, profiles[1]), Handshake(INITIATOR, profiles[0])
    drain(alice)
    for_alice.receive_data(alice.data_to_send())
    drain(for_alice)
    drain(for_bob)
    bob.receive_data(for_bob.data_to_send())
    drain(bob)
    for_bob.receive_data(bob.data_to_send())
    drain(for_bob)
    for_bob.data_to_send()  # its own ClientHello is dropped
    alice.receive_data(for_alice.data_to_send())
    one, other = relay(alice, bob)
    assert isinstance(one, HandshakeError)
    assert isinstance(other, HandshakeError)
    assert one.step == "responder-finished"  # after both have accepted the other's certificate in TLS
    assert "sealed" in str(one) or "authentic" in str(one) or isinstance(one, InvalidMessage)


def test_what_stands_before_tls_is_bound_too(profiles: tuple[Profile, Profile]) -> None:
    for change in (put(3, bytes(32)), put(5, [])):
        pair = run(*profiles, tamper=altered("hello", change))
        assert completed(pair.initiator).count("tls") == 3
        assert isinstance(pair.initiator.error, HandshakeError)
        assert pair.initiator.error.step == "responder-finished"
        assert not pair.responder.completed


def test_another_peer_cannot_answer_for_the_suite(profiles: tuple[Profile, Profile]) -> None:
    pair = run(*profiles, tamper=altered("suite", put(1, "X25519_AES128GCM_SHA256")))
    assert isinstance(pair.initiator.error, InvalidMessage)
    pair = run(*profiles, tamper=altered("suites", put(1, ["TLS13_AES128GCM_SHA256"])))  # a downgrade
    assert isinstance(pair.responder.error, HandshakeError)
    assert isinstance(pair.initiator.error, HandshakeError)


def test_a_plain_alert_of_tls_ends_the_handshake_and_changes_nothing(profiles: tuple[Profile, Profile]) -> None:
    pair = run(*profiles, tamper=altered("tls", put(2, b"\x15\x03\x03\x00\x02\x02\x30"), RESPONDER))
    error = pair.initiator.error
    assert isinstance(error, PeerAborted)
    assert error.code == AlertCode.UNKNOWN_CA
    assert not error.authenticated
    assert "unknown_ca (48)" in str(error)
    assert not any(one[0] == 0xE2 for flight in pair.initiator.flights for one in frames(flight))  # no alert in answer
    pair = run(*profiles, tamper=altered("tls", put(2, b"\x15\x03\x03\x00\x02\x02\x30"), INITIATOR))
    assert isinstance(pair.responder.error, HandshakeError)


def test_frames_of_another_form(profiles: tuple[Profile, Profile]) -> None:
    for message in (["tls"], ["tls", False], ["tls", 1, b"x"], ["tls", False, "text"], ["other", False, b"x"], "tls"):
        responder = Handshake(RESPONDER, profiles[1])
        initiator = Handshake(INITIATOR, profiles[0])
        drain(initiator)
        responder.receive_data(initiator.data_to_send())
        drain(responder)
        responder.receive_data(packed(message))
        with pytest.raises(InvalidMessage):
            drain(responder)
    responder = Handshake(RESPONDER, profiles[1])
    responder.receive_data(frame(b"\xc1"))
    with pytest.raises(InvalidMessage):
        drain(responder)


def test_every_reason_has_an_error() -> None:
    """Whatever OpenSSL says, and whichever alert it sends of it."""
    for number in range(256):
        alert = b"\x15\x03\x03\x00\x02\x02" + bytes((number,))
        error = error_for(problem_of("some reason", alert, 0))
        assert isinstance(error, HandshakeError)
        assert "some reason" in str(error)
        assert f"({number})" in str(error)
    for reason in ("", "certificate verify failed", "bad signature", "no such reason", "tls alert nothing known"):
        for verified in (0, 10, 20, 23, 26, 9999):
            assert isinstance(error_for(problem_of(reason, b"", verified)), HandshakeError)
    assert isinstance(error_for(problem_of("bad signature", b"", 0)), AuthenticationFailed)
    assert error_for(problem_of("certificate verify failed", b"", 23)).alert == AlertCode.CERTIFICATE_REVOKED


def test_secrets_are_in_no_repr(profiles: tuple[Profile, Profile]) -> None:
    result = TlsResult("TLS_AES_128_GCM_SHA256", "x25519", b"", (b"certificate",), b"the secret")
    assert "secret" not in repr(TlsFlight(b"", result))
    step = TlsStep(TlsSettings(None, trust.anyone(kinds=X509)))
    step._result = result
    assert "secret" not in repr(step)
    step.forget()
    assert step._result is None


class AnotherKey(X509Chains):
    """A kind of credential that finds another key in the certificates than the one that TLS has proved."""

    def read(self, credential: bytes, scheme: str) -> Presented:
        """The key of somebody else."""
        return Presented((PublicKey(scheme, STRANGERS_KEY),), evidence=super().read(credential, scheme).evidence)


def test_a_key_that_tls_did_not_prove_is_nobodys() -> None:
    stranger = PublicKey("ecdsa-p256-sha256", STRANGERS_KEY)
    wanted = trust.pinned(stranger, kinds=[AnotherKey()])
    pair = run(client(small(CLIENT), trust=wanted), server(small(SERVER)))
    assert isinstance(pair.initiator.error, AuthenticationFailed)
    assert "did not prove that it owns its key" in str(pair.initiator.error)
    assert not pair.responder.completed


def test_a_server_without_a_certificate_is_nobody() -> None:
    """A context's own pre-shared key could do that; a client's policy that takes the anonymous means clients."""
    policy = trust.any_of(trust.anyone(kinds=X509), trust.anyone(anonymous=True))
    settings = client(small(CLIENT), trust=policy), server(small(SERVER))
    pair = run(*settings, entropies=(NoCertificate(), Entropy()))
    assert isinstance(pair.initiator.error, AuthenticationFailed)
    assert "no certificate" in str(pair.initiator.error)
    assert not pair.responder.completed


class NoCertificate(Entropy):
    """A TLS in which the peer has shown none."""

    def tls(self, end: Any, received: bytes) -> TlsFlight:
        """The same without certificates."""
        flight: TlsFlight = end.advance(received)
        result = flight.result
        if result is None:
            return flight
        return TlsFlight(flight.data, TlsResult(result.cipher, result.group, result.alpn, (), result.secret))


def test_the_exporters_label_is_the_steps_own() -> None:
    """It is on no wire, and yet both ends must have it, and no other use of the exporter may."""
    assert LABEL == b"EXPORTER-Nautilus-TLS-Step"


def test_a_cipher_suite_that_was_not_agreed_on_is_refused() -> None:
    one, other = (
        TlsSettings(small(CLIENT), trust.anyone(kinds=X509)),
        TlsSettings(small(SERVER), trust.anyone(kinds=X509)),
    )
    first, *_, last = one.suites.values()
    near, far = one.end(INITIATOR, last, bytes(32)), other.end(RESPONDER, first, bytes(48))
    flight = near.advance(far.advance(near.advance(b"").data).data)
    assert flight.result is None
    assert flight.problem is not None
    assert "another cipher suite" in flight.problem.message
