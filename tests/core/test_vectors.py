"""The vectors: the engine says every byte again, and a second, straight-line computation finds every value again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nautilus_core import (
    ALERTS,
    DEFAULT_SUITES,
    INITIATOR,
    RESPONDER,
    SUITES,
    Accepted,
    AlertCode,
    AuthenticationFailed,
    Channel,
    DataReceived,
    Handshake,
    HandshakeCompleted,
    HandshakeError,
    InvalidMessage,
    KeyUpdated,
    PeerAborted,
    PeerClosed,
    Role,
    Session,
    SessionKeyDerivationFailed,
    StepCompleted,
)
from nautilus_core.crypto.groups import GROUPS
from nautilus_core.crypto.signatures import SCHEMES
from nautilus_core.events import Event, Question, Signal
from nautilus_core.testing import byte_by_byte, whole
from tests.core import straight_line
from tests.vectors import generate, model
from tests.vectors.model import Frame, Record, Vector

ROLES = (INITIATOR, RESPONDER)
NAMES = model.names()

every_vector = pytest.mark.parametrize("name", NAMES)
both_roles = pytest.mark.parametrize("role", ROLES, ids=["initiator", "responder"])
pieces = pytest.mark.parametrize("split", [whole, byte_by_byte])


class OneEnd:
    """One end of a vector, driven by what the vector says that the other end sent."""

    def __init__(self, vector: Vector, role: Role, split: Any) -> None:
        self.vector = vector
        self.role = role
        self.split = split
        self.handshake = model.handshake_of(vector, role)
        self.events: list[Event] = []
        self.error: HandshakeError | None = None

    def run(self) -> None:
        """Send and receive all flights; what is sent must be what stands in the vector, to the byte."""
        for sender, data in flights_of(self.vector):
            self._flight(sender, data)

    def run_to_its_error(self) -> HandshakeError:
        """The same until the engine fails on something received; returns with what."""
        for sender, data in flights_of(self.vector):
            self._flight(sender, data)
            if self.error is not None:
                return self.error
        pytest.fail("nothing failed")

    def _flight(self, sender: str, data: bytes) -> None:
        if sender == model.side_of(self.role):
            self._drain()
            assert self.handshake.data_to_send() == data
            return
        for piece in self.split(data):
            if self.error is None:
                self.handshake.receive_data(piece)
                self._drain()

    def _drain(self) -> None:
        """Hear all that the engine has to say now; what comes after its session is for the channel."""
        while self.error is None and not any(isinstance(event, HandshakeCompleted) for event in self.events[-1:]):
            try:
                event = self.handshake.next_event()
            except HandshakeError as error:
                self.error = error
                return
            if isinstance(event, Signal):
                return
            self.events.append(event)
            abort = self.vector.abort
            if isinstance(event, Question) and abort is not None:
                self.handshake.abort("the vector says so", code=abort.code, retry_after=abort.retry_after)

    @property
    def session(self) -> Session:
        """Its session."""
        if self.handshake.session is None:
            raise self.error or RuntimeError("no session")
        return self.handshake.session


def flights_of(vector: Vector) -> list[tuple[str, bytes]]:
    """The sender and the bytes of every flight, from its frames."""
    frames = iter(vector.frames)
    flights: list[tuple[str, bytes]] = []
    for flight in vector.flights:
        data = b""
        for what in flight.sends:
            if what == "accept":
                data += bytes.fromhex(vector.records[0].wire)
            elif what == "alert":
                alert = vector.alert
                data += b"" if alert is None else bytes.fromhex(alert.wire)
            else:
                frame = next(frames)
                assert (frame.step, frame.sender) == (what, flight.sender)
                data += bytes.fromhex(frame.wire)
        flights.append((flight.sender, data))
    assert next(frames, None) is None
    return flights


# ------------------------------------------------------------------------------------------------ the real engine


@every_vector
@both_roles
@pieces
def test_the_engine_replays_each_end_to_the_byte(name: str, role: Role, split: Any) -> None:
    vector = model.load(name)
    end = OneEnd(vector, role, split)
    end.run()
    alert = vector.alert
    ended_here = alert is not None and end.handshake.session is None
    assert ended_here == isinstance(end.error, HandshakeError)
    if alert is not None and alert.sender != model.side_of(role) and end.handshake.session is None:
        assert isinstance(end.error, PeerAborted)
        assert (end.error.code, end.error.retry_after) == (alert.code, alert.retry_after)
        assert end.error.authenticated == (alert.secret is not None)
    elif alert is not None and end.error is not None:
        assert end.error.alert == alert.code


@every_vector
@both_roles
def test_the_engine_says_which_message_of_which_length_it_sent_and_received(name: str, role: Role) -> None:
    vector = model.load(name)
    end = OneEnd(vector, role, whole)
    end.run()
    said = [
        (event.step, model.side_of(event.sender), event.size, event.sealed)
        for event in end.events
        if isinstance(event, StepCompleted)
    ]
    stored = [(frame.step, frame.sender, len(frame.wire) // 2, frame.sealed) for frame in vector.frames]
    if vector.alert is None:
        assert said == stored
    else:
        assert said == stored[: len(said)]
        assert said


@every_vector
@both_roles
def test_the_session_is_the_one_in_the_vector(name: str, role: Role) -> None:
    vector = model.load(name)
    end = OneEnd(vector, role, whole)
    end.run()
    stored = vector.session
    if stored is None or end.handshake.session is None:
        assert vector.alert is not None
        return
    session = end.session
    assert session.suite == vector.suite
    assert session.protocol == stored.protocol
    assert session.steps == stored.steps
    assert session.channel_binding.hex() == stored.channel_binding
    for item in stored.exports:
        assert session.export(item.label, bytes.fromhex(item.context), item.length).hex() == item.output
    seen = stored.initiator_sees if role is INITIATOR else stored.responder_sees
    assert {extension: value.hex() for extension, value in session.extensions.items()} == seen
    identity = vector.end(role.peer).identity
    assert session.peer is not None
    assert session.peer.peer_id == ("anonymous" if identity is None else identity.peer_id)


def opened(events: list[Event]) -> bytes:
    """The application data among `events`."""
    return b"".join(event.data for event in events if isinstance(event, DataReceived))


def speak(channel: Channel, group: list[Record]) -> None:
    """Make the call that `group` comes from, if the application made any, and compare the records, to the byte."""
    call = group[0].call
    if call is not None:
        model.perform(channel, call)
    assert bytes(channel.data_to_send()) == b"".join(bytes.fromhex(record.wire) for record in group)


def listen(channel: Channel, record: Record) -> None:
    """Give the record to the channel; it must find in it what the vector says."""
    channel.receive_data(bytes.fromhex(record.wire))
    if record.type == "sealed alert":
        with pytest.raises(PeerAborted) as caught:
            model.events_of(channel)
        assert record.call is not None
        assert (caught.value.code, caught.value.retry_after) == (record.call.code, record.call.retry_after)
        assert caught.value.authenticated
        return
    events = model.events_of(channel)
    if record.type == "data":
        assert opened(events) == bytes.fromhex(record.plaintext)
    else:
        kinds = {b"accept": Accepted, b"key-update": KeyUpdated, b"close": PeerClosed}
        kind = next(kinds[name] for name in kinds if name in bytes.fromhex(record.plaintext))
        assert isinstance(events[0], kind)


@every_vector
@both_roles
def test_the_channel_replays_each_end_to_the_byte(name: str, role: Role) -> None:
    vector = model.load(name)
    end = OneEnd(vector, role, whole)
    end.run()
    if end.handshake.session is None:
        assert vector.alert is not None
        return
    channel = end.session.channel()
    confirmed = vector.alert is None
    for record in vector.records:
        mine = record.sender == model.side_of(role)
        if record.call is None and record.generation == record.sequence == 0:
            if not mine:  # the engine sent and received it: the channel has it already
                assert model.events_of(channel) == [Accepted()]
        elif mine:
            speak(channel, [record])
        else:
            listen(channel, record)
    if not confirmed and role is INITIATOR:
        assert vector.alert is not None
        assert not channel.confirmed
        with pytest.raises(PeerAborted, match="busy") as caught:
            channel.next_event()
        assert (caught.value.code, caught.value.retry_after) == (vector.alert.code, vector.alert.retry_after)
        assert caught.value.authenticated
    else:
        assert channel.confirmed


@every_vector
def test_generating_again_from_the_stored_draws_changes_nothing(name: str) -> None:
    stored = model.load(name)
    case = next(case for case in generate.cases() if case.name == name)
    assert model.dump(generate.make(case, stored)) == model.path_of(name).read_bytes()


def test_a_replay_says_nothing_else_than_what_was_recorded() -> None:
    vector = model.load("x25519-ed25519")
    vector.initiator.draws[0].bytes = "00" * len(bytes.fromhex(vector.initiator.draws[0].bytes or ""))
    handshake: Handshake = model.handshake_of(vector, INITIATOR)
    handshake.next_event()
    assert handshake.data_to_send() != flights_of(vector)[0][1]


PROOFS = ("responder-authentication", "initiator-authentication")
UNDER_THE_SEAL: list[tuple[str, str, type[HandshakeError], AlertCode]] = [
    *[(step, "signature", AuthenticationFailed, AlertCode.DECRYPT_ERROR) for step in PROOFS],
    *[(step, "credential", AuthenticationFailed, AlertCode.DECRYPT_ERROR) for step in PROOFS],
    *[(step, "scheme", InvalidMessage, AlertCode.ILLEGAL_PARAMETER) for step in PROOFS],
    *[(step, "type", InvalidMessage, AlertCode.ILLEGAL_PARAMETER) for step in PROOFS],
    ("responder-finished", "mac", SessionKeyDerivationFailed, AlertCode.BAD_FINISHED),
    ("initiator-finished", "mac", SessionKeyDerivationFailed, AlertCode.BAD_FINISHED),
]


@pytest.mark.parametrize(("step", "field", "error", "code"), UNDER_THE_SEAL)
def test_what_is_altered_under_the_seal_fails_with_an_error_of_its_own(
    step: str, field: str, error: type[HandshakeError], code: AlertCode
) -> None:
    """A proof or a MAC that is wrong, sent by somebody who has the keys (the vector's)."""
    vector = model.load("x25519-ed25519")
    frame = next(frame for frame in vector.frames if frame.step == step)
    body = bytearray(bytes.fromhex(frame.plaintext)[4:])
    fields = {"type": 1, "credential": 2, "scheme": 3, "signature": 4, "mac": 1}
    value = straight_line.decode(bytes(body))[fields[field]]
    body[body.index(value if isinstance(value, bytes) else value.encode())] ^= 1
    frame.wire = sealed_again(vector, frame, bytes(body)).hex()
    end = OneEnd(vector, RESPONDER if frame.sender == "initiator" else INITIATOR, whole)
    failed = end.run_to_its_error()
    assert isinstance(failed, error)
    assert failed.alert == code
    assert failed.step == step
    assert end.handshake.session is None
    alert = end.handshake.data_to_send()
    assert alert[0] == straight_line.SEALED_ALERT


def test_an_early_message_that_was_altered_is_answered_in_plaintext() -> None:
    """The keys differ then: the end that notices has neither sent nor opened anything sealed."""
    vector = model.load("x25519-ed25519")
    frame = next(frame for frame in vector.frames if frame.step == "hello-response")
    wire = bytearray.fromhex(frame.wire)
    wire[wire.index(bytes.fromhex(vector.responder.draws[0].bytes or ""))] ^= 1
    frame.wire = wire.hex()
    initiator = OneEnd(vector, INITIATOR, whole)
    assert initiator.run_to_its_error().alert == AlertCode.BAD_RECORD_MAC
    alert = initiator.handshake.data_to_send()
    assert alert[0] == straight_line.ALERT
    assert straight_line.decode(alert[4:]) == [AlertCode.BAD_RECORD_MAC, None]
    responder = model.handshake_of(model.load("x25519-ed25519"), RESPONDER)
    responder.receive_data(flights_of(vector)[0][1])
    while not isinstance(responder.next_event(), Signal):
        pass
    responder.receive_data(alert)
    with pytest.raises(PeerAborted) as caught:
        responder.next_event()
    assert caught.value.code == AlertCode.BAD_RECORD_MAC
    assert not caught.value.authenticated


def sealed_again(vector: Vector, frame: Frame, body: bytes) -> bytes:
    """The frame with another body, under the vector's key and the frame's own sequence number."""
    name = f"{frame.sender[0]}_hs"
    new, _ = straight_line.AEADS[str(vector.suite).split("_")[1]]
    before = [other for other in vector.frames if other.sealed and other.sender == frame.sender]
    number = bytes(4) + before.index(frame).to_bytes(8, "big")
    nonce = bytes(a ^ b for a, b in zip(bytes.fromhex(vector.secrets[f"{name}_iv"]), number, strict=True))
    head = b"\xe1" + (len(body) + 16).to_bytes(3, "big")
    return head + new(bytes.fromhex(vector.secrets[f"{name}_key"])).encrypt(nonce, body, head)


@pytest.mark.parametrize("name", ["p256-ecdsa", "x25519-ed25519"])
def test_sealing_a_frame_again_with_the_same_body_changes_nothing(name: str) -> None:
    vector = model.load(name)
    for frame in vector.frames:
        if frame.sealed:
            assert sealed_again(vector, frame, bytes.fromhex(frame.plaintext)[4:]).hex() == frame.wire


# ------------------------------------------------------------------------------------------------ the second computation


@every_vector
def test_every_value_is_found_again_in_a_straight_line(name: str) -> None:
    stored = json.loads(model.path_of(name).read_bytes())
    computed = straight_line.compute(stored)
    for field, value in computed.items():
        assert value == stored[field], field
    given = {"description", "protocol", "initiator", "responder", "custom_steps", "abort", "flights"}
    assert set(stored) == set(computed) | given


@every_vector
def test_names_of_peers_are_made_from_their_keys(name: str) -> None:
    stored = json.loads(model.path_of(name).read_bytes())
    for side in ("initiator", "responder"):
        identity = stored[side]["identity"]
        if identity is not None:
            fingerprint = straight_line.fingerprint(identity["scheme"], bytes.fromhex(identity["public_key"]))
            assert identity["peer_id"] == straight_line.peer_id(fingerprint)
            assert len(identity["words"].split()) == 16


@every_vector
@pytest.mark.parametrize("side", ["initiator", "responder"])
def test_what_was_drawn_at_random_stands_in_the_hellos(name: str, side: str) -> None:
    stored = json.loads(model.path_of(name).read_bytes())
    hello = {"initiator": "hello", "responder": "hello-response"}[side]
    drawn = [draw["bytes"] for draw in stored[side]["draws"] if draw["kind"] == "random"]
    frame = next(frame for frame in stored["frames"] if frame["step"] == hello)
    nonce = straight_line.decode(bytes.fromhex(frame["plaintext"])[4:])[3]
    assert nonce.hex() == drawn[0][:64]


def test_the_straight_line_refuses_what_does_not_fit() -> None:
    text = model.path_of("x25519-ed25519").read_text()
    finished = json.loads(text)
    finished["initiator"]["draws"], finished["responder"]["draws"] = (
        finished["responder"]["draws"],
        finished["initiator"]["draws"],
    )
    with pytest.raises(straight_line.Mismatch):
        straight_line.compute(finished)
    cut = json.loads(text)
    del cut["frames"][2]
    with pytest.raises(KeyError):
        straight_line.compute(cut)


# ------------------------------------------------------------------------------------------------ what is covered


def test_the_vectors_are_all_there_and_small() -> None:
    assert sorted(case.name for case in generate.cases()) == NAMES
    assert sum(model.path_of(name).stat().st_size for name in NAMES) < 400 * 1024


def test_every_group_aead_and_signature_scheme_has_a_vector() -> None:
    vectors = [model.load(name) for name in NAMES]
    suites = [SUITES[vector.suite] for vector in vectors if vector.suite is not None]
    identities = [vector.end(role).identity for vector in vectors for role in ROLES]
    assert {suite.group for suite in suites} == set(GROUPS)
    assert {suite.aead.name for suite in suites} == {suite.aead.name for suite in SUITES.values()}
    assert {suite.hash.name for suite in suites} == {suite.hash.name for suite in SUITES.values()}
    assert {identity.scheme for identity in identities if identity is not None} == set(SCHEMES)


def test_every_kind_of_case_has_a_vector() -> None:
    vectors = [model.load(name) for name in NAMES]
    sent = {what for vector in vectors for flight in vector.flights for what in flight.sends}
    assert {"accept", "alert", "initiator-key-share-retry", "fleet-challenge"} <= sent
    assert any(vector.initiator.identity is None for vector in vectors)
    assert {vector.alert.secret for vector in vectors if vector.alert is not None} == {None, "i_hs", "r_hs"}
    records = [record for vector in vectors for record in vector.records]
    assert {record.type for record in records} == {"data", "control", "sealed alert"}
    assert {(record.sender, record.generation) for record in records} >= {
        ("initiator", 0),
        ("initiator", 1),
        ("responder", 0),
        ("responder", 1),
        ("responder", 2),
    }


def test_the_document_has_the_worked_example_of_the_vector() -> None:
    document = generate.DOCUMENT.read_text(encoding="utf-8")
    vector = model.load(generate.WORKED_EXAMPLE)
    assert generate.with_worked_example(document, vector) == document


def rows_of(document: str) -> list[list[str]]:
    """The cells of every row of every table."""
    return [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in document.splitlines() if line[:1] == "|"]


def test_the_document_has_every_alert_code_with_its_error() -> None:
    rows = rows_of(generate.DOCUMENT.read_text(encoding="utf-8"))
    written = {(row[0], row[1], row[2]) for row in rows if row[0].isdigit() and len(row) == 4}
    codes = {
        (str(int(code)), code.name.lower().replace("_", " "), error.__name__)
        for error, codes in ALERTS.items()
        for code in codes
    }
    assert written == codes
    assert len(codes) == len(AlertCode)


def test_the_document_has_every_group_suite_scheme_and_vector() -> None:
    document = generate.DOCUMENT.read_text(encoding="utf-8")
    rows = {row[0]: row for row in rows_of(document)}
    for name, scheme in SCHEMES.items():
        assert str(scheme.public_length) in rows[name][1].replace(",", "").split()
    for name, group in GROUPS.items():
        assert sum(int(word) for word in rows[name][1].replace(",", "").split() if word.isdigit()) == group.share_length
        assert sum(int(word) for word in rows[name][2].replace(",", "").split() if word.isdigit()) == (
            group.response_length
        )
    for suite in SUITES.values():
        assert f"_{suite.aead.name}_{suite.hash.name}`" in document
    places = [document.index(f"`{name}`") for name in DEFAULT_SUITES]
    assert places == sorted(places)
    assert {f"{name}.json" for name in NAMES} <= set(rows)
