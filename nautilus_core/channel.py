"""The secure channel: records over a session's keys, sans-IO, in the shape of the engine. No handshake logic lives here.

The call contract: `receive_data` only buffers; `next_event` opens all whole records that are buffered and hands out what
they were, an error last; `send_data`, `update_keys`, `close` and `abort` queue frames; `data_to_send` takes the queue and
is called after each of the others.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from . import alerts
from .crypto.suites import TAG_LENGTH
from .crypto.traffic_key import RECORDS_PER_KEY, TrafficKey
from .errors import AlertCode, HandshakeError, InvalidMessage, LocalProtocolError, PeerAborted
from .events import NEED_DATA, Accepted, DataReceived, Event, KeyUpdated, PeerClosed, Signal
from .frames import (
    ALERT,
    CONTROL,
    DATA,
    FRAME_NAMES,
    HANDSHAKE,
    HEADER_LENGTH,
    SEALED_ALERT,
    foreign_protocol,
    header,
)
from .limits import DEFAULT_LIMITS, Limits
from .role import INITIATOR, Role

BYTES_PER_KEY: Final = 2**37
MAX_UPDATES_WITHOUT_DATA: Final = 16
_MAX_CONTROL: Final = 1024
_SMALL: Final = 4096
"""Below this many bytes a record is cheaper to build by concatenation than in a buffer of its own."""

STEP: Final = "channel"


class _Accept(msgspec.Struct, frozen=True, array_like=True, tag="accept"):
    pass


class _KeyUpdate(msgspec.Struct, frozen=True, array_like=True, tag="key-update"):
    reply: bool


class _Close(msgspec.Struct, frozen=True, array_like=True, tag="close"):
    pass


_decode_control: Final = msgspec.msgpack.Decoder(_Accept | _KeyUpdate | _Close).decode
_ACCEPT: Final = msgspec.msgpack.encode(_Accept())
_CLOSE: Final = msgspec.msgpack.encode(_Close())
_UPDATE: Final = msgspec.msgpack.encode(_KeyUpdate(False))
_UPDATE_AND_REPLY: Final = msgspec.msgpack.encode(_KeyUpdate(True))

Buffer = bytes | bytearray | memoryview


class SecureChannel:
    """One end of a channel of sealed records.

    Args:
        role: which end this is.
        writing: the first session key of this end.
        reading: the first session key of the peer.
        rejection: on the initiator, the responder's handshake key, under which it refuses us; None on the responder.
        limits: the record length; the peer's records may have it too.
        records_per_key: after how many records this end updates its key by itself; at most 2^22.
        bytes_per_key: likewise after how many bytes; at most 2^37.

    Buffers: `send_data` reads its argument before it returns and keeps no reference. What `data_to_send` returns belongs
    to the caller. `receive_data` may keep a reference to a `bytes` argument until `next_event` has opened it, and copies
    any other kind. The payloads of `DataReceived` are `bytes` of their own.
    """

    __slots__ = (
        "_bytes_per_key",
        "_bytes_written",
        "_confirmed",
        "_ended",
        "_error",
        "_events",
        "_max_record",
        "_peer_closed",
        "_reading",
        "_received",
        "_records_per_key",
        "_rejection",
        "_reply_due",
        "_role",
        "_sent_close",
        "_to_send",
        "_updates_without_data",
        "_writing",
    )

    def __init__(
        self,
        role: Role,
        *,
        writing: TrafficKey,
        reading: TrafficKey,
        rejection: TrafficKey | None = None,
        limits: Limits = DEFAULT_LIMITS,
        records_per_key: int = RECORDS_PER_KEY,
        bytes_per_key: int = BYTES_PER_KEY,
    ) -> None:
        if not 2 <= records_per_key <= RECORDS_PER_KEY or not 1 <= bytes_per_key <= BYTES_PER_KEY:
            raise ValueError("a key seals 2 to 2**22 records and at most 2**37 bytes")
        self._role = role
        self._writing = writing
        self._reading = reading
        self._rejection = rejection
        self._confirmed = role is not INITIATOR
        self._max_record = limits.record
        self._records_per_key = records_per_key
        self._bytes_per_key = bytes_per_key
        self._bytes_written = 0
        self._received: bytes | bytearray = b""
        self._to_send: list[bytes | bytearray] = []
        self._events: deque[Event] = deque()
        self._error: Exception | None = None
        self._ended = False
        self._sent_close = False
        self._peer_closed = False
        self._reply_due = False
        self._updates_without_data = 0

    def __repr__(self) -> str:
        return f"SecureChannel({self._role!r}, confirmed={self.confirmed})"

    @property
    def confirmed(self) -> bool:
        """On the initiator, whether the responder has accepted us; on the responder, always true."""
        return self._confirmed

    @property
    def max_payload(self) -> int:
        """The longest payload of one record, in bytes."""
        return self._max_record - TAG_LENGTH

    # ------------------------------------------------------------------ sending

    def send_data(self, data: Buffer) -> None:
        """Queue application data, cut into records. Empty data is nothing.

        Raises:
            LocalProtocolError: after `close`, or after the channel has failed.
        """
        self._check_sending()
        length = len(data) if not isinstance(data, memoryview) else data.nbytes
        if length <= _SMALL:
            if length:
                self._seal_small(DATA, data if isinstance(data, bytes) else bytes(data))
            return
        view = memoryview(data).cast("B")
        step = self.max_payload
        for start in range(0, length, step):
            payload = view[start : start + step]
            self._make_room(len(payload))
            sealed = len(payload) + TAG_LENGTH
            frame = bytearray(HEADER_LENGTH + sealed)
            head = frame[:HEADER_LENGTH] = header(DATA, sealed)
            self._writing.seal_into(payload, head, memoryview(frame)[HEADER_LENGTH:])
            self._to_send.append(frame)

    def _seal_small(self, kind: int, payload: bytes) -> None:
        if len(payload) > self.max_payload:
            for start in range(0, len(payload), self.max_payload):
                self._seal_small(kind, payload[start : start + self.max_payload])
            return
        self._make_room(len(payload))
        self._seal(kind, payload)

    def _seal(self, kind: int, payload: bytes) -> None:
        head = header(kind, len(payload) + TAG_LENGTH)
        self._to_send.append(head + self._writing.seal(payload, head))

    def _make_room(self, length: int) -> None:
        """Update the key while there is still one record left under it to say so."""
        if self._reply_due:
            self._send_update(_UPDATE)
        self._bytes_written += length
        if self._writing.sequence + 1 >= self._records_per_key or self._bytes_written > self._bytes_per_key:
            self._send_update(_UPDATE)
            self._bytes_written = length

    def update_keys(self, *, ask_peer: bool = False) -> None:
        """Change to the next key of this direction now (RFC 8446 section 4.6.3); with `ask_peer`, the peer does too.

        Raises:
            LocalProtocolError: after `close`, or after the channel has failed.
        """
        self._check_sending()
        self._send_update(_UPDATE_AND_REPLY if ask_peer else _UPDATE)

    def _send_update(self, message: bytes) -> None:
        self._seal(CONTROL, message)
        self._writing = self._writing.updated()
        self._bytes_written = 0
        self._reply_due = False

    def accept(self) -> None:
        """The responder's first record, which the engine sends: the initiator is welcome."""
        self._seal(CONTROL, _ACCEPT)

    def close(self) -> None:
        """Say, authentically, that this end sends no more. Receiving goes on. A second call does nothing."""
        self._check_failed()
        if not self._sent_close:
            self._seal(CONTROL, _CLOSE)
            self._sent_close = True

    def abort(self, reason: str, *, code: int = AlertCode.USER_CANCELED, retry_after: int | None = None) -> None:
        """End the channel at once, telling the peer `code` (an `AlertCode` or 256 to 65535); `reason` stays here."""
        self._check_failed()
        alerts.check_retry_after(retry_after)
        self._fail(HandshakeError(f"aborted by the application: {reason}", alert=code, step=STEP), retry_after)

    def data_to_send(self) -> bytes | bytearray:
        """Take all bytes that wait to be sent; `b""` when there are none."""
        if self._reply_due and not self._sent_close and self._error is None:
            self._send_update(_UPDATE)
        frames = self._to_send
        if not frames:
            return b""
        self._to_send = []
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _check_sending(self) -> None:
        self._check_failed()
        if self._sent_close:
            raise LocalProtocolError("this end of the channel is closed")

    def _check_failed(self) -> None:
        if self._error is not None:
            raise self._error

    # ---------------------------------------------------------------- receiving

    def receive_data(self, data: Buffer) -> None:
        """Buffer bytes from the peer; `b""` is the end of its stream.

        Raises:
            LocalProtocolError: for data after the end of the stream.
        """
        self._check_failed()
        if self._ended:
            raise LocalProtocolError("data after the end of the stream")
        if not data:
            self._ended = True
        elif not self._received:
            self._received = data if isinstance(data, bytes) else bytes(data)
        else:
            if isinstance(self._received, bytes):
                self._received = bytearray(self._received)
            self._received += data

    def next_event(self) -> Event | Signal:
        """What happened next, or `NEED_DATA`.

        After `PeerClosed` has been handed out it is returned again at each call.

        Raises:
            HandshakeError: a record that is not what it should be, an alert of the peer, or an end of the stream that was
                not announced (`PeerAborted`). The channel is then at an end; the alert for the peer is in `data_to_send`.
        """
        if not self._events and self._error is None:
            try:
                self._open_records()
            except HandshakeError as error:
                error.step = STEP
                self._fail(error)
        if self._events:
            return self._events.popleft()
        self._check_failed()
        return PeerClosed() if self._peer_closed else NEED_DATA

    def _open_records(self) -> None:
        received = self._received
        length = len(received)
        view = memoryview(received)
        payloads: list[bytes] = []
        position = 0
        try:
            while length - position >= HEADER_LENGTH:
                head = bytes(view[position : position + HEADER_LENGTH])
                kind = head[0]
                start = position + HEADER_LENGTH
                end = start + int.from_bytes(head[1:], "big")
                if kind != DATA or not self._confirmed or self._peer_closed or end - start > self._max_record:
                    self._check_header(kind, head, end - start)
                if end > length:
                    break
                body = view[start:end]
                position = end
                if kind == DATA:
                    payload = self._reading.open(body, head)
                    if not payload:
                        raise InvalidMessage("an empty data record", alert=AlertCode.ILLEGAL_PARAMETER)
                    payloads.append(payload)
                    continue
                if payloads:
                    self._deliver(payloads)
                    payloads = []
                if kind == CONTROL:
                    self._control(self._reading.open(body, head))
                else:
                    raise self._alert(bytes(body), head)
        finally:
            if payloads:
                self._deliver(payloads)
            if position:
                self._received = bytearray(view[position:]) if position < length else b""
        if self._ended and self._received and self._peer_closed:
            raise InvalidMessage("bytes after the close", received=f"{len(self._received)} bytes")
        if self._ended and not self._peer_closed:
            raise PeerAborted(
                "the stream ended without a close: data may be missing",
                expected="a close record",
                received=f"{len(self._received)} bytes of an unfinished record"
                if self._received
                else "the end of the stream",
            )

    def _deliver(self, payloads: list[bytes]) -> None:
        self._updates_without_data = 0
        self._events.append(DataReceived(tuple(payloads)))

    def _check_header(self, kind: int, head: bytes, length: int) -> None:
        if kind not in FRAME_NAMES:
            raise foreign_protocol(head)
        if self._peer_closed:
            raise InvalidMessage(
                "a record after the close", received=FRAME_NAMES[kind], alert=AlertCode.UNEXPECTED_MESSAGE
            )
        if kind in (HANDSHAKE, ALERT):
            raise InvalidMessage(
                "not a record of the channel",
                expected="data, control or a sealed alert",
                received=FRAME_NAMES[kind],
                alert=AlertCode.UNEXPECTED_MESSAGE,
            )
        if kind == DATA and not self._confirmed:
            raise InvalidMessage(
                "data before acceptance",
                expected="accept, or a sealed alert",
                received="a data record",
                alert=AlertCode.UNEXPECTED_MESSAGE,
            )
        limit = {DATA: self._max_record, CONTROL: _MAX_CONTROL, SEALED_ALERT: alerts.MAX_LENGTH}[kind]
        if length > limit:
            raise InvalidMessage(
                "a record over the limit",
                expected=f"at most {limit} bytes",
                received=f"a header that announces {length}",
                alert=AlertCode.RECORD_OVERFLOW,
            )

    def _control(self, body: bytes) -> None:
        try:
            message = _decode_control(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise InvalidMessage("malformed control record") from error
        if not self._confirmed:
            if not isinstance(message, _Accept):
                raise InvalidMessage(
                    "a control record before acceptance",
                    expected="accept",
                    alert=AlertCode.UNEXPECTED_MESSAGE,
                )
            self._confirmed = True
            self._rejection = None
            self._events.append(Accepted())
        elif isinstance(message, _KeyUpdate):
            self._peer_updated(message.reply)
        elif isinstance(message, _Close):
            self._peer_closed = True
            self._events.append(PeerClosed())
        else:
            raise InvalidMessage("a second accept", alert=AlertCode.UNEXPECTED_MESSAGE)

    def _peer_updated(self, reply: bool) -> None:
        self._updates_without_data += 1
        if self._updates_without_data > MAX_UPDATES_WITHOUT_DATA:
            raise InvalidMessage(
                "too many key updates without data",
                expected=f"at most {MAX_UPDATES_WITHOUT_DATA}",
                alert=AlertCode.UNEXPECTED_MESSAGE,
            )
        self._reading = self._reading.updated()
        self._reply_due = self._reply_due or reply
        self._events.append(KeyUpdated(self._role.peer))

    def _alert(self, body: bytes, head: bytes) -> PeerAborted:
        key = self._reading if self._rejection is None else self._rejection
        return alerts.decode(key.open(body, head), authenticated=True)

    def _fail(self, error: HandshakeError, retry_after: int | None = None) -> None:
        told = isinstance(error, PeerAborted) and error.code is not None
        if not told and not self._sent_close:
            self._to_send.append(alerts.frame(error.alert, retry_after, self._writing))
        self._error = error
        self._received = b""
