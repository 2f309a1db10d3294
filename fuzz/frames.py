"""The parsers of frames: handshake messages with and without keys, length prefixes, alerts, channel records.

The first byte of an input selects the parser, the second how the rest is cut into pieces.
"""

from __future__ import annotations

from nautilus_core import HandshakeError, LengthPrefixedStream, Limits, NautilusStream, SecureChannel, Signal, alerts
from nautilus_core.crypto.traffic_key import TrafficKey
from nautilus_core.events import DataReceived, PeerClosed
from nautilus_core.frames import ALERT, CONTROL, DATA, HANDSHAKE, SEALED_ALERT, header
from nautilus_core.role import INITIATOR, RESPONDER, Role
from nautilus_core.step import HandshakeStep
from nautilus_core.steps.hello import HelloExchange, NodeHello
from nautilus_core.stream import HandshakeStream

from .insecure import NULL_SUITE

LIMITS = Limits(message=4096, handshake=16_384, record=4096)


def _key() -> TrafficKey:
    return TrafficKey(NULL_SUITE, bytes(32))


def _pieces(data: bytes, cut: int) -> list[bytes]:
    size = cut or max(1, len(data))
    return [data[place : place + size] for place in range(0, len(data), size)]


def _stream(stream: HandshakeStream, pieces: list[bytes]) -> None:
    step: HandshakeStep[object] = NodeHello(HelloExchange((), {}))  # type: ignore[assignment]
    for piece in pieces:
        stream.feed(piece)
        while stream.read(step) is not None:
            pass


def _channel(role: Role, pieces: list[bytes]) -> None:
    rejection = _key() if role is INITIATOR else None
    channel = SecureChannel(role, writing=_key(), reading=_key(), rejection=rejection, limits=LIMITS)
    for piece in [*pieces, b""]:
        channel.receive_data(piece)
        while not isinstance(event := channel.next_event(), Signal | PeerClosed):
            if isinstance(event, DataReceived) and not all(event.records):
                raise AssertionError("an empty record was delivered")
        channel.data_to_send()
        if isinstance(event, PeerClosed):
            return


def one_input(data: bytes) -> None:
    """Parse one input; only a `HandshakeError` may come out, which is swallowed."""
    if len(data) < 2:
        return
    kind, pieces = data[0] % 6, _pieces(data[2:], data[1])
    try:
        if kind in (0, 1):
            stream = NautilusStream(LIMITS)
            if kind == 1:
                stream.protect(_key(), _key())
            _stream(stream, pieces)
        elif kind == 2:
            _stream(LengthPrefixedStream(LIMITS), pieces)
        elif kind == 3:
            raise alerts.decode(data[2:], authenticated=bool(data[1] & 1))
        else:
            _channel(INITIATOR if kind == 4 else RESPONDER, pieces)
    except HandshakeError:
        pass


def seeds() -> list[bytes]:
    """Inputs that reach each parser's good path, made by our own code."""
    hello = (
        b"\x96\xa5hello\x91\x01\x90\xc4\x20"
        + bytes(32)
        + b"\x91\x94\xa1x\xa9initiator\xc0\xc3\x91\x92\xa6target\xc4\x01a"
    )
    sealed = hello + bytes(16)
    accept, update, close = b"\x91\xa6accept", b"\x92\xaakey-update\xc3", b"\x91\xa5close"

    def record(kind: int, body: bytes) -> bytes:
        return header(kind, len(body) + 16) + body + bytes(16)

    alert = b"\x92\x28\xc0"
    channel = record(DATA, b"data") + record(CONTROL, update) + record(DATA, b"more") + record(CONTROL, close)
    return [
        b"\x00\x00" + header(HANDSHAKE, len(hello)) + hello,
        b"\x00\x01" + header(ALERT, len(alert)) + alert,
        b"\x01\x05" + header(HANDSHAKE, len(sealed)) + sealed,
        b"\x01\x00" + record(SEALED_ALERT, alert),
        b"\x02\x00" + b"\x00\x03abc\x00\x00",
        b"\x03\x01" + b"\x92\xcc\xe5\x1e",
        b"\x04\x00" + record(CONTROL, accept) + channel,
        b"\x04\x07" + record(SEALED_ALERT, alert),
        b"\x05\x03" + channel,
        b"\x00\x00GET / HTTP/1.1\r\n\r\n",
    ]
