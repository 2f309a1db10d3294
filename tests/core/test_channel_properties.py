"""What holds for the channel whatever is sent, however it is cut, in whatever order: by hypothesis."""

from __future__ import annotations

import time
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    Accepted,
    DataReceived,
    Event,
    HandshakeError,
    KeyUpdated,
    Limits,
    LocalProtocolError,
    PeerAborted,
    PeerClosed,
    Role,
    SecureChannel,
    Signal,
)
from nautilus_core.buffer import ReceiveBuffer

from .channels import end, ends, events, received

payloads = st.one_of(st.binary(max_size=100), st.integers(0, 5000).map(bytes))
cuts = st.lists(st.integers(0, 2**16), max_size=12)
options = st.fixed_dictionaries(
    {},
    optional={
        "records_per_key": st.integers(2, 8),
        "bytes_per_key": st.integers(1, 3000),
        "limits": st.integers(64, 2000).map(lambda record: Limits(record=record)),
    },
)


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    """`data`, cut at these places."""
    borders = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:stop] for start, stop in zip(borders, borders[1:], strict=False)]


@given(st.lists(payloads, max_size=12), options, cuts, st.booleans())
def test_any_cut_gives_the_same_data(
    sent: list[bytes], settled: dict[str, object], places: list[int], look: bool
) -> None:
    initiator, responder = ends(**settled)
    for payload in sent:
        initiator.send_data(payload)
    initiator.close()
    found: list[Event] = []
    for piece in pieces(bytes(initiator.data_to_send()), places):
        responder.receive_data(piece)
        if look:
            found += events(responder)
    responder.receive_data(b"")
    if PeerClosed() not in found:
        found += events(responder)
    assert received(found) == b"".join(sent)
    assert found[-1] == PeerClosed()


@given(st.lists(payloads, max_size=6), cuts)
def test_records_keep_their_borders(sent: list[bytes], places: list[int]) -> None:
    initiator, responder = ends()
    for payload in sent:
        initiator.send_data(payload)
    records: list[bytes] = []
    for piece in pieces(bytes(initiator.data_to_send()), places):
        responder.receive_data(piece)
        for event in events(responder):
            assert isinstance(event, DataReceived)
            records += event.records
    assert records == [payload for payload in sent if payload]


ops = st.one_of(
    payloads,
    st.sampled_from(["update", "ask", "deliver", "deliver byte by byte", "deliver half"]),
)


class Traffic:
    """What travels in one direction, and what came of it."""

    def __init__(self, sender: SecureChannel, receiver: SecureChannel) -> None:
        self.sender, self.receiver = sender, receiver
        self.line = b""
        self.sent = b""
        self.found: list[Event] = []

    def act(self, op: bytes | str) -> None:
        """One thing that happens in this direction."""
        if isinstance(op, bytes):
            self.sender.send_data(op)
            self.sent += op
        elif op in ("update", "ask"):
            with suppress(LocalProtocolError):  # the 17th without data
                self.sender.update_keys(ask_peer=op == "ask")
        else:
            self.line += self.sender.data_to_send()
            count = len(self.line) // 2 if op == "deliver half" else len(self.line)
            self.deliver(count, 1 if op == "deliver byte by byte" else max(count, 1))

    def deliver(self, count: int, step: int) -> None:
        """The next `count` bytes, in pieces of `step`."""
        now, self.line = self.line[:count], self.line[count:]
        for start in range(0, len(now), step):
            self.receiver.receive_data(now[start : start + step])
            if start % 3 == 0:
                self.found += events(self.receiver)
        self.found += events(self.receiver)


@given(st.lists(st.tuples(st.booleans(), ops), max_size=40), options)
@settings(max_examples=60)
def test_both_directions_at_once_in_any_order(
    steps: list[tuple[bool, bytes | str]], settled: dict[str, object]
) -> None:
    initiator, responder = end(INITIATOR, **settled), end(RESPONDER, **settled)
    responder.accept()
    there, back = Traffic(initiator, responder), Traffic(responder, initiator)
    for forward, op in steps:
        (there if forward else back).act(op)
    for _ in range(3):
        for traffic in (there, back):
            traffic.act("deliver")
    for channel in (initiator, responder):
        channel.close()
    for traffic in (there, back):
        traffic.act("deliver")
        assert received(traffic.found) == traffic.sent
        assert traffic.found[-1] == PeerClosed()
    assert back.found[0] == Accepted()


# ------------------------------------------------------------------------------------------------ a state machine


class TwoChannels(RuleBasedStateMachine):
    """Two ends and the line between them. The model: what was sent, and how each end stands."""

    def __init__(self) -> None:
        super().__init__()
        self.channels: dict[Role, SecureChannel] = {}
        self.line = {INITIATOR: b"", RESPONDER: b""}
        self.queued = {INITIATOR: b"", RESPONDER: b""}
        self.sent = {INITIATOR: b"", RESPONDER: b""}
        self.read = {INITIATOR: b"", RESPONDER: b""}
        self.closed = {INITIATOR: False, RESPONDER: False}
        self.seen_close = {INITIATOR: False, RESPONDER: False}
        self.failed = {INITIATOR: False, RESPONDER: False}
        self.aborted = {INITIATOR: 0, RESPONDER: 0}

    roles = st.sampled_from([INITIATOR, RESPONDER])

    @initialize(settled=options)
    def begin(self, settled: dict[str, object]) -> None:
        """Two fresh ends; the acceptance waits at the responder."""
        self.channels = {role: end(role, **settled) for role in (INITIATOR, RESPONDER)}
        self.channels[RESPONDER].accept()

    @rule(role=roles, data=payloads)
    def send(self, role: Role, data: bytes) -> None:
        """Data is queued, unless this end has closed or failed."""
        try:
            self.channels[role].send_data(data)
        except LocalProtocolError:
            assert self.closed[role]
            assert not self.failed[role]
        except HandshakeError:
            assert self.failed[role]
        else:
            assert not self.closed[role]
            self.queued[role] += data

    @rule(role=roles, ask=st.booleans())
    def update(self, role: Role, ask: bool) -> None:
        """A key update; it seals what is queued."""
        refusal = ""
        try:
            self.channels[role].update_keys(ask_peer=ask)
        except LocalProtocolError as error:
            refusal = str(error)
        except HandshakeError:
            assert self.failed[role]
        assert ("is closed" in refusal) == (self.closed[role] and not self.failed[role])
        if not self.failed[role]:
            self._sealed(role)

    def _sealed(self, role: Role) -> None:
        self.sent[role] += self.queued[role]
        self.queued[role] = b""

    @rule(role=roles)
    def close(self, role: Role) -> None:
        """A close; it seals what is queued."""
        try:
            self.channels[role].close()
        except HandshakeError:
            assert self.failed[role]
        else:
            self._sealed(role)
            self.closed[role] = True

    @rule(role=roles)
    def take(self, role: Role) -> None:
        """Bytes go onto the line."""
        self.line[role] += self.channels[role].data_to_send()
        if not self.failed[role]:
            self._sealed(role)

    @rule(role=roles, places=cuts, part=st.integers(1, 4))
    def deliver(self, role: Role, places: list[int], part: int) -> None:
        """Some of what is on the line reaches the peer, in pieces."""
        count = len(self.line[role]) * part // 4
        now, self.line[role] = self.line[role][:count], self.line[role][count:]
        for piece in pieces(now, places):
            if not self.failed[role.peer]:
                self.channels[role.peer].receive_data(piece)
                self._drain(role.peer)

    def _drain(self, role: Role) -> None:
        channel, alert = self.channels[role], None
        try:
            while not isinstance(event := channel.next_event(), Signal):
                if isinstance(event, DataReceived):
                    assert not self.seen_close[role]
                    self.read[role] += event.data
                elif isinstance(event, KeyUpdated):
                    assert event.sender is role.peer
                elif event == PeerClosed():
                    self.seen_close[role] = True
                    return
            assert event is NEED_DATA
        except PeerAborted as error:
            alert = error.code
        if alert is not None:  # nothing but an abort of the application ends these channels
            assert alert == self.aborted[role.peer] != 0
            self._fail(role)

    def _fail(self, role: Role) -> None:
        self.failed[role] = True
        self.queued[role] = b""

    @precondition(lambda self: not any(self.failed.values()))
    @rule(role=roles, code=st.integers(256, 65_535))
    def abort(self, role: Role, code: int) -> None:
        """One end gives up."""
        self.channels[role].abort("enough", code=code)
        self.aborted[role] = code
        self._fail(role)

    @invariant()
    def data_arrives_in_order(self) -> None:
        """What was read is the beginning of what was sealed; confirmed means accepted; a failed end stays failed."""
        for role, channel in self.channels.items():
            assert self.sent[role].startswith(self.read[role.peer])
            assert channel.confirmed or role is INITIATOR
            if self.seen_close[role.peer]:
                assert self.closed[role]
                assert self.read[role.peer] == self.sent[role]

    def teardown(self) -> None:
        """Everything that is still on its way arrives."""
        if self.channels and not any(self.failed.values()):
            for _ in range(3):
                for role in (INITIATOR, RESPONDER):
                    self.take(role)
                    self.deliver(role, [], 4)
            for role in (INITIATOR, RESPONDER):
                assert self.read[role.peer] == self.sent[role]
                assert self.seen_close[role.peer] == self.closed[role]


TestTwoChannels = TwoChannels.TestCase
TestTwoChannels.settings = settings(max_examples=60, stateful_step_count=30)


# ------------------------------------------------------------------------------------------------ one byte at a time


def cost_of_bytes(length: int) -> float:
    """Seconds to receive a record of `length` bytes byte by byte, looked at after each; the best of three."""
    best = float("inf")
    for _ in range(3):
        initiator, responder = ends()
        initiator.send_data(bytes(length))
        wire = bytes(initiator.data_to_send())
        start = time.process_time()
        for place in range(len(wire)):
            responder.receive_data(wire[place : place + 1])
            event = responder.next_event()
        best = min(best, time.process_time() - start)
        assert event == DataReceived((bytes(length),))
    return best


def test_one_byte_at_a_time_costs_linear_time() -> None:
    """Sixteen times the bytes cost about sixteen times the time; a quadratic buffer would need 256 times."""
    assert cost_of_bytes(64_000) < 60 * cost_of_bytes(4000)


def test_unopened_data_is_bounded_by_a_record() -> None:
    """Whole records are opened and forgotten: only a piece of one stays in the buffer."""
    initiator, responder = ends()
    for _ in range(20):
        initiator.send_data(bytes(1000))
        wire = bytes(initiator.data_to_send())
        responder.receive_data(wire[:-1])
        assert responder.next_event() is NEED_DATA
        assert len(responder._received) == len(wire) - 1
        responder.receive_data(wire[-1:])
        assert len(events(responder)) == 1
        assert not responder._received.data


# ------------------------------------------------------------------------------------------------ the buffer below


class BufferAgainstBytes(RuleBasedStateMachine):
    """`ReceiveBuffer` against a plain `bytes` with everything that waits."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = ReceiveBuffer()
        self.model = b""
        self.count = 0

    @rule(size=st.integers(1, 9))
    def feed(self, size: int) -> None:
        """Bytes that are told apart."""
        piece = bytes((self.count + number) % 251 for number in range(size))
        self.count += size
        self.buffer.feed(piece)
        self.model += piece

    @rule(size=st.integers(0, 12))
    def take(self, size: int) -> None:
        """Read a frame of `size` bytes, if it is there."""
        assert self.buffer.lacks(size) == (len(self.model) < size)
        if len(self.model) >= size:
            start = self.buffer.position
            assert self.buffer.data[start : start + size] == self.model[:size]
            self.buffer.position += size
            self.model = self.model[size:]

    @rule(size=st.integers(0, 12))
    def take_from_the_front(self, size: int) -> None:
        """Read what stands in `data` already, as who reads many frames in a row does."""
        start = self.buffer.position
        size = min(size, len(self.buffer.data) - start)
        assert self.buffer.data[start : start + size] == self.model[:size]
        self.buffer.position += size
        self.model = self.model[size:]

    @rule()
    def take_all(self) -> None:
        """Everything, as the channel does after the handshake."""
        assert self.buffer.take_all() == self.model
        self.model = b""

    @invariant()
    def lengths_agree(self) -> None:
        """The buffer knows how much waits."""
        assert len(self.buffer) == len(self.model)


TestBuffer = BufferAgainstBytes.TestCase
TestBuffer.settings = settings(max_examples=100, stateful_step_count=20)
