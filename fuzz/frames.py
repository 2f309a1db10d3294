"""Fuzzes what parses frames: the handshake streams, the channel's records, alerts.

The first byte chooses what is fed; the second how it is cut into pieces, and after which of them somebody looks (0 for all
at once); the rest are the bytes from the peer. However they are cut, the outcome must be the same, and an error must be a
`HandshakeError`.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from fuzz.checks import Finding
from fuzz.insecure import insecure_provider
from fuzz.people import IDENTITIES
from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    SUITES,
    CustomProtocolStep,
    DatagramChannel,
    DataReceived,
    HandshakeError,
    HandshakeStream,
    LengthPrefixedStream,
    Limits,
    MultiMessageStep,
    NautilusStream,
    PeerClosed,
    Role,
    SecureChannel,
    alerts,
    profiles,
    records,
    trust,
)
from nautilus_core.crypto.traffic_key import TrafficKey

SMALL: Final = Limits(message=4096, handshake=8192, record=300)
SUITE: Final = SUITES["X25519_AES128GCM_SHA256"]

Outcome: TypeAlias = tuple[list[Any], str]
Reads: TypeAlias = list[list[bytes]]
"""The pieces that come before each look."""


class _Talk(MultiMessageStep):
    name = "talk"
    sender = INITIATOR

    def write(self, context: Any) -> bytes:
        return b""

    def read(self, context: Any, message: bytes) -> None:
        pass


def _key(number: int) -> TrafficKey:
    return TrafficKey(SUITE, bytes([number]) * 32)


def _steps() -> list[Any]:
    identity = IDENTITIES[INITIATOR]
    profile = profiles.nautilus(identity=identity, trust=trust.anyone())
    raw: CustomProtocolStep[bytes] = CustomProtocolStep(
        "raw", INITIATOR, write=lambda _: b"", read=lambda _, message: None
    )
    return [*profile.make_steps(), raw, _Talk()]


STEPS: Final = _steps()


def _read_all(stream: HandshakeStream, reads: Reads) -> Outcome:
    """Read the messages of all steps in turn, as far as they come."""
    found: list[Any] = []
    step = 0
    try:
        for pieces in reads:
            for piece in pieces:
                stream.feed(piece)
            while (incoming := stream.read(STEPS[step % len(STEPS)])) is not None:
                found.append(incoming[1:])
                step += 1
    except HandshakeError as error:
        return found, f"{type(error).__name__} {error.alert} {error.message}"
    return found, ""


def _stream(data: Reads) -> Outcome:
    return _read_all(NautilusStream(SMALL), data)


def _sealed_stream(data: Reads) -> Outcome:
    stream = NautilusStream(SMALL)
    stream.protect(_key(1), _key(2))
    return _read_all(stream, data)


def _length_prefixed(data: Reads) -> Outcome:
    stream = LengthPrefixedStream(SMALL)
    found: list[Any] = []
    try:
        for pieces in data:
            for piece in pieces:
                stream.feed(piece)
            while (incoming := stream.read(STEPS[-2])) is not None:
                found.append(incoming)
    except HandshakeError as error:
        return found, f"{type(error).__name__} {error.alert} {error.message}"
    return found, ""


def drain(channel: SecureChannel) -> Outcome:
    """All events of a channel with neighbouring data joined, and its error in words that do not count bytes."""
    found: list[Any] = []
    try:
        while (event := channel.next_event()) is not NEED_DATA:
            if isinstance(event, DataReceived):
                found.extend(event.records)
                continue
            found.append(event)
            if isinstance(event, PeerClosed):
                break
    except HandshakeError as error:
        return found, f"{type(error).__name__} {error.alert} {error.message}"
    return found, ""


def _channel(role: Role, *, confirmed: bool) -> Callable[[Reads], Outcome]:
    def run(data: Reads) -> Outcome:
        channel = SecureChannel(
            role, writing=_key(1), reading=_key(2), rejection=None if confirmed else _key(3), limits=SMALL
        )
        found: list[Any] = []
        error = ""
        for pieces in [*data, [b""]]:
            for piece in pieces:
                channel.receive_data(piece)
            more, error = drain(channel)
            found += more
            if not error and found and isinstance(found[-1], PeerClosed):
                found.pop()  # told again at each call
            channel.data_to_send()
            if error:
                break
            channel.send_data(b"and our own")
        return found, error

    return run


def _datagrams(data: Reads) -> Outcome:
    """Datagrams, each behind a byte with its length; one that opens must have a new number."""
    channel = DatagramChannel(writing=None, reading=_key(4), window=8)
    left, opened = _joined(data), set()
    while left:
        datagram, left = left[1 : 1 + left[0]], left[1 + left[0] :]
        with contextlib.suppress(HandshakeError):
            channel.open(datagram)
            if datagram[:8] in opened:
                raise Finding("a datagram opened twice")
            opened.add(datagram[:8])
    return sorted(opened), ""


def _alert(data: Reads) -> Outcome:
    return [], _decoded(lambda: alerts.decode(_joined(data), authenticated=len(data) > 1))


def _control(data: Reads) -> Outcome:
    return [], _decoded(lambda: records.decode_control(_joined(data)))


def _joined(data: Reads) -> bytes:
    return b"".join(piece for pieces in data for piece in pieces)


def _decoded(decode: Callable[[], Any]) -> str:
    try:
        decode()
    except HandshakeError:
        return "an error"
    return "a message"


def _step_messages(data: Reads) -> Outcome:
    """One body, given to the codec of every step."""
    body = _joined(data)
    found: list[Any] = []
    for step in STEPS:
        try:
            message = step.decode(body)
            found.append(msgspec.msgpack.encode(message) if isinstance(message, msgspec.Struct) else message)
        except HandshakeError as error:
            found.append(error.message)
    return found, ""


TARGETS: Final[list[Callable[[Reads], Outcome]]] = [
    _stream,
    _sealed_stream,
    _length_prefixed,
    _channel(RESPONDER, confirmed=True),
    _channel(INITIATOR, confirmed=False),
    _alert,
    _control,
    _step_messages,
    _datagrams,
]


def one_input(data: bytes) -> None:
    """One input; raises whatever is not a `HandshakeError`."""
    if len(data) < 2:
        return
    target, rest = TARGETS[data[0] % len(TARGETS)], data[2:]
    if not rest:
        return
    with insecure_provider():
        whole = target([[rest]])
        if data[1]:
            reads = cut_up(rest, random.Random(data[1]))
            cut = target(reads)
            if whole != cut:
                raise Finding(f"whole: {whole}; cut as {reads}: {cut}")


def cut_up(data: bytes, choose: random.Random) -> Reads:
    """Pieces of a few bytes, of many, and such that end at or right after the border of a frame."""
    reads: Reads = [[]]
    place = 0
    while place < len(data):
        frame = 4 + int.from_bytes(data[place + 1 : place + 4], "big")
        size = choose.choice((1, 2, 3, 20, 200, frame, frame, frame + 1, frame + 2))
        reads[-1].append(data[place : place + size])
        place += size
        if choose.random() < 0.5:
            reads.append([])
    return [pieces for pieces in reads if pieces]


def seeds() -> dict[str, bytes]:
    """Inputs that get somewhere, by name."""
    from fuzz.victim import recorded  # noqa: PLC0415  # it makes handshakes, which this harness does without

    made: dict[str, bytes] = {}
    with insecure_provider():
        for name, role in (("initiator", INITIATOR), ("responder", RESPONDER)):
            frames = recorded(role, "plain", secure=False)
            made[f"stream-{name}"] = bytes((0, 0)) + b"".join(frames[:6])
            made[f"sealed-{name}"] = bytes((1, 3)) + b"".join(frames[3:])
            made[f"stream-{name}-some-pieces-at-once"] = bytes((0, 100)) + b"".join(frames[:6])
            for number, frame in enumerate(frames):
                if frame[0] == 0xE1:
                    made[f"step-{name}-{number}"] = bytes((7, 0)) + frame[4:]
        sender = SecureChannel(RESPONDER, writing=_key(2), reading=_key(1), limits=SMALL)
        sender.accept()
        accept = bytes(sender.data_to_send())
        sender.send_data(b"one")
        sender.send_data(b"two")
        sender.update_keys(ask_peer=True)
        sender.send_data(bytes(400))
        sender.close()
        rest = bytes(sender.data_to_send())
        datagrams = DatagramChannel(writing=_key(4), reading=None)
        sent = [datagrams.seal(b"%d" % number) for number in range(12)]
    alert = bytes.fromhex("922a19")
    made["channel"] = bytes((3, 7)) + rest
    made["channel-some-pieces-at-once"] = bytes((3, 200)) + rest
    made["channel-initiator"] = bytes((4, 1)) + accept + rest
    made["channel-refused"] = bytes((4, 0)) + b"\xe5\x00\x00\x13" + alert + bytes(16)
    order = (0, 3, 1, 2, 2, 11, 4, 10, 3)
    made["datagrams"] = bytes((8, 0)) + b"".join(bytes((len(sent[number]),)) + sent[number] for number in order)
    made["alert"] = bytes((5, 0)) + alert
    made["alert-plaintext"] = bytes((0, 0)) + b"\xe2\x00\x00\x03" + alert
    made["control"] = bytes((6, 0)) + b"\x92\xaakey-update\xc3"
    made["length-prefixed"] = bytes((2, 1)) + b"\x00\x03abc\x00\x00\x00\x01d"
    made["http"] = bytes((0, 0)) + b"GET / HTTP/1.1\r\n\r\n"
    made["tls"] = bytes((3, 0)) + bytes.fromhex("1603010200010001fc0303")
    return made
