"""The secure channel: records over a session's keys, sans-IO, in the shape of the engine. No handshake logic lives here.

The call contract: `receive_data` only buffers; `next_event` opens what is buffered, one event at a time, an error last,
until it says `NEED_DATA`; `send_data`, `update_keys`, `close` and `abort` queue records; `data_to_send` takes the queue
and is called after each of the others, also after a `next_event` that raised.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NoReturn

import msgspec

from . import alerts
from .buffer import ReceiveBuffer
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
"""No key seals more bytes than this by itself (the bound for AES-GCM of RFC 8446 section 5.5, in bytes)."""

MAX_UPDATES_WITHOUT_DATA: Final = 16

STEP: Final = "channel"
"""What the errors of a channel have as their `step`."""

_MAX_CONTROL: Final = 1024
_COPIED: Final = 4096
"""Up to this many bytes a copy costs less than a `memoryview`."""

_DATA_HEADER: Final = DATA << 24
_HEADER_BEFORE: Final = _DATA_HEADER - HEADER_LENGTH
_EMPTY: Final = HEADER_LENGTH + TAG_LENGTH
_unpack_header: Final = Struct(">I").unpack_from


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
    """One end of a channel of sealed records. `session.channel()` makes it.

    A direction ends with the sender's `close`, which is its last record: not even an alert follows. The other direction
    goes on until its own `close`. End of stream without one is truncation, and an error.

    Args:
        role: which end this is.
        writing: the first session key of this end.
        reading: the first session key of the peer.
        rejection: on the initiator, the responder's handshake key, under which it refuses us; None on the responder.
        limits: the record length; the peer's records may have it too.
        records_per_key: after how many records this end updates its key by itself; 2 to 2^22.
        bytes_per_key: likewise after how many bytes of data, 1 to 2^37; a key always seals at least one data record.

    Buffers: `send_data` reads its argument before it returns and keeps no reference. `receive_data` keeps a reference to a
    `bytes` argument until its records are opened, and copies any other kind. What `data_to_send` returns, and the payloads
    of `DataReceived`, are `bytes` of their own.

    Raises:
        ValueError: for a number out of range.
    """

    __slots__ = (
        "_bytes_left",
        "_bytes_per_key",
        "_confirmed",
        "_ended",
        "_error",
        "_longest_data",
        "_max_record",
        "_peer_closed",
        "_reading",
        "_received",
        "_rejection",
        "_reply_due",
        "_role",
        "_sent_close",
        "_to_send",
        "_update_at",
        "_updates_read",
        "_updates_sent",
        "_writing",
        "max_payload",
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
            raise ValueError("a key seals 2 to 2**22 records and 1 to 2**37 bytes")
        self._role = role
        self._writing = writing
        self._reading = reading
        self._rejection = rejection
        self._confirmed = role is not INITIATOR
        self._max_record = limits.record
        self.max_payload: Final = limits.record - TAG_LENGTH
        """The longest payload of one record, in bytes."""
        self._longest_data = HEADER_LENGTH + limits.record if self._confirmed else 0
        self._update_at = records_per_key - 1
        self._bytes_left = self._bytes_per_key = bytes_per_key
        self._received = ReceiveBuffer()
        self._to_send: list[bytes] = []
        self._error: HandshakeError | None = None
        self._ended = False
        self._sent_close = False
        self._peer_closed = False
        self._reply_due = False
        self._updates_sent = 0
        self._updates_read = 0

    def __repr__(self) -> str:
        return f"SecureChannel({self._role!r}, confirmed={self._confirmed})"

    @property
    def confirmed(self) -> bool:
        """On the initiator, whether the responder has accepted us: `Accepted` was an event. On the responder, true."""
        return self._confirmed

    # ------------------------------------------------------------------ sending

    def send_data(self, data: Buffer) -> None:
        """Queue application data, cut into records of at most `max_payload` bytes. Empty data is nothing.

        Args:
            data: of any length; any object with a buffer will do, its bytes are taken in order.

        Raises:
            LocalProtocolError: after `close`.
            HandshakeError: again, after the channel has failed.
            TypeError: for an object without a buffer.
        """
        if self._error is not None or self._sent_close:
            self._refuse()
        if type(data) is not bytes:
            data = _flat(data)
        length, longest = len(data), self.max_payload
        if length > longest:
            view = memoryview(data)
            for start in range(0, length, longest):
                payload = view[start : start + longest]
                self._send_record(payload, len(payload))
        elif length:
            self._send_record(data, length)

    def _send_record(self, payload: Buffer, length: int) -> None:
        if self._reply_due or length > self._bytes_left or self._writing.sequence >= self._update_at:
            self._make_room(length)
        self._bytes_left -= length
        self._updates_sent = 0
        head = (_DATA_HEADER + TAG_LENGTH + length).to_bytes(4, "big")
        self._to_send += (head, self._writing.seal(payload, head))

    def _make_room(self, length: int) -> None:
        """Update the key where one is due, while there is a record left under it to say so (RFC 8446 section 5.5)."""
        used_up = self._writing.sequence >= self._update_at
        full = length > self._bytes_left < self._bytes_per_key
        if used_up or full or self._replies():
            self._send_update(_UPDATE)

    def _send_control(self, message: bytes) -> None:
        head = header(CONTROL, len(message) + TAG_LENGTH)
        self._to_send += (head, self._writing.seal(message, head))

    def update_keys(self, *, ask_peer: bool = False) -> None:
        """Change to the next key of this direction now (RFC 8446 section 4.6.3); with `ask_peer`, the peer does too.

        The peer answers as soon as it can, at the latest before its next data; any number of requests get one answer.

        Raises:
            LocalProtocolError: after `close`, or after 16 updates without data between them, which the peer would refuse.
            HandshakeError: again, after the channel has failed.
        """
        if self._error is not None or self._sent_close:
            self._refuse()
        if self._updates_sent >= MAX_UPDATES_WITHOUT_DATA:
            raise LocalProtocolError(
                f"{MAX_UPDATES_WITHOUT_DATA} key updates without data: this key has sealed nothing"
            )
        self._send_update(_UPDATE_AND_REPLY if ask_peer else _UPDATE)

    def _send_update(self, message: bytes) -> None:
        self._send_control(message)
        self._writing = self._writing.updated()
        self._bytes_left = self._bytes_per_key
        self._reply_due = False
        self._updates_sent += 1

    def _replies(self) -> bool:
        """Whether the peer's request is answered now. Where that would be one update too many it waits for data."""
        return self._reply_due and self._updates_sent < MAX_UPDATES_WITHOUT_DATA

    def accept(self) -> None:
        """The engine's: the responder's first record, by which the initiator is welcome."""
        if self._role is INITIATOR or self._writing.sequence:
            raise LocalProtocolError("the responder's engine accepts, with the first record")
        self._send_control(_ACCEPT)

    def close(self) -> None:
        """Say, authentically, that this end sends no more. Receiving goes on. A second call does nothing.

        Raises:
            HandshakeError: again, after the channel has failed.
        """
        if self._error is not None:
            raise self._error
        if not self._sent_close:
            self._send_control(_CLOSE)
            self._sent_close = True
            self._reply_due = False

    def abort(self, reason: str, *, code: int = AlertCode.USER_CANCELED, retry_after: int | None = None) -> None:
        """End both directions at once. The peer is told `code`, unless this end has closed: `close` is its last record.

        Args:
            reason: for this side's error, which every later call raises.
            code: `USER_CANCELED`, `BUSY`, `INTERNAL_ERROR`, or an application's own, 256 to 65535.
            retry_after: seconds after which the peer may try again; at most a day.

        Raises:
            HandshakeError: again, after the channel has failed.
            ValueError: for another code, or a `retry_after` out of range.
        """
        if self._error is not None:
            raise self._error
        alerts.check_retry_after(retry_after)
        self._fail(HandshakeError(f"aborted by the application: {reason}", alert=code, step=STEP), retry_after)

    def data_to_send(self) -> bytes:
        """Take all bytes that wait to be sent; `b""` when there are none. After a failure that is the alert."""
        if self._reply_due and self._replies():
            self._send_update(_UPDATE)
        data = b"".join(self._to_send)
        self._to_send.clear()
        return data

    def _refuse(self) -> NoReturn:
        raise self._error or LocalProtocolError("this end of the channel is closed")

    # ---------------------------------------------------------------- receiving

    def receive_data(self, data: Buffer) -> None:
        """Buffer bytes from the peer; `b""` is the end of its stream.

        Raises:
            LocalProtocolError: for data after the end of the stream.
            HandshakeError: again, after the channel has failed.
            TypeError: for an object without a buffer.
        """
        if self._error is not None:
            raise self._error
        if self._ended:
            raise LocalProtocolError("data after the end of the stream")
        if type(data) is not bytes:
            data = memoryview(data).tobytes()
        if data:
            self._received.feed(data)
        else:
            self._ended = True

    def next_event(self) -> Event | Signal:
        """What happened next, or `NEED_DATA`: `Accepted`, `DataReceived` with all data up to the next control record,
        `KeyUpdated`, `PeerClosed`. After `PeerClosed` it is returned again at each call: there is no more to wait for.

        Raises:
            HandshakeError: a record that is not what it should be, an alert of the peer (`PeerAborted`), or an end of the
                stream that was not announced (likewise). The channel has failed then, for good: the alert for the peer
                is in `data_to_send`, and every later call raises the same error.
        """
        if self._error is not None:
            raise self._error
        payloads: list[bytes] = []
        try:
            self._open_data(payloads)
            if not payloads:
                return self._open_other()
        except HandshakeError as error:
            error.step = STEP
            self._fail(error)
            if not payloads:
                raise
        self._updates_read = 0
        return DataReceived(tuple(payloads))

    def _open_data(self, payloads: list[bytes]) -> None:
        """Open the data records that are there whole, up to the first frame of another kind, into `payloads`."""
        received, longest, open_record = self._received, self._longest_data, self._reading.open
        data, start = received.data, received.position
        while True:
            body = start + HEADER_LENGTH
            if body > len(data):
                if received.lacks(HEADER_LENGTH):
                    break
                data, start, body = received.data, 0, HEADER_LENGTH
            (word,) = _unpack_header(data, start)
            size = word - _HEADER_BEFORE
            if not _EMPTY < size <= longest:
                break
            end = start + size
            if end > len(data):
                if received.lacks(size):
                    break
                data, start, body, end = received.data, 0, HEADER_LENGTH, size
            sealed = data[body:end] if size <= _COPIED else memoryview(data)[body:end]
            payloads.append(open_record(sealed, data[start:body]))
            received.position = start = end

    def _open_other(self) -> Event | Signal:
        """Open the next frame, which is not a data record, or not yet whole, or not legal now."""
        received = self._received
        if self._peer_closed:
            if received:
                raise InvalidMessage(
                    "a record after the close", received=f"{len(received)} bytes", alert=AlertCode.UNEXPECTED_MESSAGE
                )
            return PeerClosed()
        if received.lacks(HEADER_LENGTH):
            return self._wait()
        start = received.position
        body = start + HEADER_LENGTH
        head = received.data[start:body]
        kind, length = head[0], int.from_bytes(head[1:], "big")
        self._check_header(kind, head, length)
        if received.lacks(HEADER_LENGTH + length):
            return self._wait()
        start = received.position + HEADER_LENGTH
        received.position = start + length
        sealed = received.data[start : start + length]
        if kind == CONTROL:
            return self._control(self._reading.open(sealed, head))
        key = self._rejection or self._reading
        raise alerts.decode(key.open(sealed, head), authenticated=True)

    def _wait(self) -> Signal:
        """There is no whole frame: there must be more to come."""
        if not self._ended:
            return NEED_DATA
        left = len(self._received)
        raise PeerAborted(
            "the stream ended without a close: data may be missing",
            expected="a close record" if self._confirmed else "accept, or a sealed alert",
            received=f"{left} bytes of an unfinished record" if left else "the end of the stream",
        )

    def _check_header(self, kind: int, head: bytes, length: int) -> None:
        """Refuse what is not legal now, before any of it is buffered."""
        if kind not in FRAME_NAMES:
            raise foreign_protocol(head)
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
                received=FRAME_NAMES[kind],
                alert=AlertCode.UNEXPECTED_MESSAGE,
            )
        if kind == DATA and length <= TAG_LENGTH:
            raise InvalidMessage("an empty data record", alert=AlertCode.ILLEGAL_PARAMETER)
        limit = {DATA: self._max_record, CONTROL: _MAX_CONTROL, SEALED_ALERT: alerts.MAX_LENGTH}[kind]
        if length > limit:
            raise InvalidMessage(
                "a record over the limit",
                expected=f"at most {limit} bytes",
                received=f"a header that announces {length}",
                alert=AlertCode.RECORD_OVERFLOW,
            )

    def _control(self, body: bytes) -> Event:
        """Do what the plaintext `body` of a control record says."""
        try:
            message = _decode_control(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise InvalidMessage("malformed control record") from error
        if isinstance(message, _Accept) is self._confirmed:
            raise InvalidMessage(
                "a second accept" if self._confirmed else "a control record before acceptance",
                expected="any other control record" if self._confirmed else "accept",
                alert=AlertCode.UNEXPECTED_MESSAGE,
            )
        if isinstance(message, _KeyUpdate):
            return self._peer_updated(message.reply)
        if isinstance(message, _Close):
            self._peer_closed = True
            self._longest_data = 0
            return PeerClosed()
        self._confirmed = True
        self._rejection = None
        self._longest_data = HEADER_LENGTH + self._max_record
        return Accepted()

    def _peer_updated(self, reply: bool) -> KeyUpdated:
        self._updates_read += 1
        if self._updates_read > MAX_UPDATES_WITHOUT_DATA:
            raise InvalidMessage(
                "too many key updates without data",
                expected=f"at most {MAX_UPDATES_WITHOUT_DATA}",
                alert=AlertCode.UNEXPECTED_MESSAGE,
            )
        self._reading = self._reading.updated()
        if reply and not self._sent_close:
            self._reply_due = True
        return KeyUpdated(self._role.peer)

    def _fail(self, error: HandshakeError, retry_after: int | None = None) -> None:
        """Poison everything; queue the alert, behind what was sealed before it. The keys are dropped."""
        if isinstance(error, PeerAborted) and error.code is not None:
            self._to_send.clear()  # the peer has given up: it reads nothing more
        elif not self._sent_close:
            self._to_send.append(alerts.frame(error.alert, retry_after, self._writing))
        self._error = error
        self._reply_due = False
        self._received.clear()
        self._rejection = None
        del self._writing, self._reading


def _flat(data: Buffer) -> bytes | memoryview:
    """The bytes of any object with a buffer, in order: without a copy where they are many and lie side by side."""
    view = memoryview(data)
    return view.cast("B") if view.nbytes > _COPIED and view.c_contiguous else view.tobytes()
