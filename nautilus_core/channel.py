"""The secure channel: records over a session's keys, sans-IO, in the shape of the engine. No handshake logic lives here.

The call contract: `send_data`, `update_keys`, `close` and `abort` only queue; `receive_data` only buffers; `next_event`
opens what is buffered, one event at a time, an error last, until it says `NEED_DATA`; `data_to_send` seals and takes the
queue, and is called after each of the others, also after a `next_event` that raised.
"""

from __future__ import annotations

from typing import Final

from . import alerts, records
from .crypto.suites import TAG_LENGTH
from .crypto.traffic_key import RECORDS_PER_KEY, TrafficKey
from .errors import AlertCode, HandshakeError, InvalidMessage, LocalProtocolError, PeerAborted
from .events import NEED_DATA, Accepted, DataReceived, Event, KeyUpdated, PeerClosed, Signal
from .frames import CONTROL, DATA, HEADER_LENGTH
from .limits import DEFAULT_LIMITS, Limits
from .record_writer import MAX_UPDATES_WITHOUT_DATA, RecordWriter
from .role import INITIATOR, Role
from .transport import Buffer, ChannelEnd

BYTES_PER_KEY: Final = 2**37
"""No key seals more bytes of data than this."""

STEP: Final = "channel"
"""What the errors of a channel have as their `step`."""

_COPIED: Final = 4096
"""Up to this many bytes a copy costs less than a `memoryview`."""

_HEADER_BEFORE: Final = (DATA << 24) - HEADER_LENGTH
_EMPTY_SIZE: Final = HEADER_LENGTH + TAG_LENGTH


class SecureChannel(ChannelEnd):
    """One end of a channel of sealed records. `session.channel()` makes it.

    A direction ends with its sender's `close`, which is its last record: not even an alert follows. The other direction
    goes on until its own. An end of the stream without `close` is a truncation, and an error.

    Args:
        role: which end this is.
        writing: the first session key of this end.
        reading: the first session key of the peer.
        rejection: on the initiator, the responder's handshake key, under which it refuses us; None on the responder.
        limits: the record length, for both directions.
        records_per_key: after how many records this end updates its key by itself; 2 to 2^22.
        bytes_per_key: likewise after how many bytes of data; 1 to 2^37. A key always seals one data record at least.

    Buffers: `bytes` that are given to `send_data` and `receive_data` are referred to until `data_to_send` and `next_event`
    have sealed and opened them; any other kind is copied at once, and can be changed. What `data_to_send` returns belongs to
    the caller; the payloads of `DataReceived` are `bytes` of their own.

    Raises:
        ValueError: for a number out of range.
    """

    __slots__ = (
        "_accepted",
        "_confirmed",
        "_longest_frame",
        "_max_record",
        "_peer_closed",
        "_reading",
        "_rejection",
        "_role",
        "_updates_read",
        "_writer",
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
        super().__init__()
        self._role = role
        self._reading = reading
        self._rejection = rejection
        self._confirmed = role is not INITIATOR
        self._max_record = limits.record
        self.max_payload: Final = limits.record - TAG_LENGTH
        """The longest payload of one record, in bytes."""
        self._longest_frame = HEADER_LENGTH + limits.record if self._confirmed else 0
        self._writer = RecordWriter(writing, self.max_payload, records_per_key, bytes_per_key)
        self._peer_closed = False
        self._accepted = False
        self._updates_read = 0

    def __repr__(self) -> str:
        return f"SecureChannel({self._role!r}, confirmed={self._confirmed})"

    @property
    def confirmed(self) -> bool:
        """On the initiator, whether the responder has accepted us: `Accepted` was an event. On the responder, true."""
        return self._confirmed

    @property
    def closes_with_stream(self) -> bool:
        """False: `close` is a record, and authentic."""
        return False

    # ------------------------------------------------------------------ sending

    def send_data(self, data: Buffer) -> None:
        """Queue application data, which leaves in records of at most `max_payload` bytes. Empty data is nothing.

        Args:
            data: of any length; of any kind of buffer, whose bytes are taken in order.

        Raises:
            LocalProtocolError: after `close`.
            HandshakeError: again, after the channel has failed.
            TypeError: for what is no buffer.
        """
        if not self._open:
            self._refuse()
        self._writer.waiting.append(data if type(data) is bytes else memoryview(data).tobytes())

    def update_keys(self, *, ask_peer: bool = False) -> None:
        """Change to the next key of this direction now (RFC 8446 section 4.6.3); with `ask_peer`, the peer does too.

        The peer answers at its next `data_to_send`; one answer serves any number of requests that it has read by then. A
        peer that sends no data answers 16 times: its key has sealed nothing then that a change could protect.

        Raises:
            LocalProtocolError: after `close`, or after 16 updates without data in between, which the peer would refuse.
            HandshakeError: again, after the channel has failed.
        """
        if not self._open:
            self._refuse()
        self._writer.seal_waiting()
        if self._writer.updates >= MAX_UPDATES_WITHOUT_DATA:
            raise LocalProtocolError(
                f"{MAX_UPDATES_WITHOUT_DATA} key updates without data: this key has sealed nothing"
            )
        self._writer.update(records.UPDATE_AND_REPLY if ask_peer else records.UPDATE)

    def accept(self) -> None:
        """The engine's: the responder's first record, by which the initiator is welcome."""
        if self._role is INITIATOR or self._accepted:
            raise LocalProtocolError("the responder's engine accepts, with the first record")
        self._accepted = True
        self._writer.control(records.ACCEPT)

    def close(self) -> None:
        """Say, authentically, that this end sends no more. Receiving goes on. A second call does nothing.

        Raises:
            HandshakeError: again, after the channel has failed.
        """
        if self._error is not None:
            self._refuse()
        if self._open:
            self._writer.control(records.CLOSE)
            self._writer.reply_due = self._open = False

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
            self._refuse()
        alerts.check_retry_after(retry_after)
        self._fail(HandshakeError(f"aborted by the application: {reason}", alert=code, step=STEP), retry_after)

    def data_to_send(self) -> bytes | bytearray:
        """Take all bytes that wait to be sent; `b""` when there are none. After a failure they end with the alert."""
        return self._writer.take()

    # ---------------------------------------------------------------- receiving

    def next_event(self) -> Event | Signal:
        """What happened next, or `NEED_DATA`.

        Returns:
            `Accepted`; `DataReceived`, with all data that is there up to the next other record; `KeyUpdated`;
            `PeerClosed`, and again at each call after it: there is nothing more to wait for.

        Raises:
            HandshakeError: a record that is not what it should be, an alert of the peer (`PeerAborted`), or an end of the
                stream that was not announced (likewise). The channel has failed then, for good: `data_to_send` has the
                alert for the peer, and every later call raises the same error.
        """
        if self._error is not None:
            self._refuse()
        payloads: list[bytes] = []
        try:
            if self._peer_closed:
                return self._after_close()
            other = self._open_data(payloads)
            if not payloads:
                return self._open_other() if other else self._wait()
        except HandshakeError as error:
            error.step = STEP
            self._fail(error)
            if not payloads:
                raise
        self._updates_read = 0
        return DataReceived(tuple(payloads))

    def _open_data(self, payloads: list[bytes]) -> bool:
        """Open the data records that are there whole into `payloads`; whether they are followed by something else."""
        received, longest = self._received, self._longest_frame
        data, start = received.data, received.position
        sealed: list[bytes | memoryview] = []
        heads: list[bytes] = []
        other = False
        while len(data) - start >= HEADER_LENGTH or not received.lacks(HEADER_LENGTH):
            data, start = received.data, received.position
            head = data[start : start + HEADER_LENGTH]
            size = int.from_bytes(head, "big") - _HEADER_BEFORE
            if not _EMPTY_SIZE < size <= longest:
                other = True
                break
            if len(data) - start < size:
                if received.lacks(size):
                    break
                data, start = received.data, received.position
            source = data if size <= _COPIED else memoryview(data)
            already, end = len(sealed), start + size
            while end <= len(data) and data.startswith(head, start):  # records of one length often follow each other
                sealed.append(source[start + HEADER_LENGTH : end])
                start, end = end, end + size
            heads += [head] * (len(sealed) - already)
            received.position = start
        if len(sealed) == 1:
            payloads.append(self._reading.open(sealed[0], heads[0]))
        elif sealed:
            self._reading.open_all(sealed, heads, payloads)
        return other

    def _open_other(self) -> Event | Signal:
        """Open the next frame, which is no data record, or none that is legal now."""
        received = self._received
        head = received.data[received.position : received.position + HEADER_LENGTH]
        kind, length = records.check_header(head, confirmed=self._confirmed, max_record=self._max_record)
        if received.lacks(HEADER_LENGTH + length):
            return self._wait()
        start = received.position + HEADER_LENGTH
        received.position = start + length
        sealed = received.data[start : start + length]
        if kind == CONTROL:
            return self._control(records.decode_control(self._reading.open(sealed, head)))
        key = self._rejection or self._reading
        raise alerts.decode(key.open(sealed, head), authenticated=True)

    def _after_close(self) -> PeerClosed:
        left = len(self._received)
        if left:
            raise InvalidMessage(
                "something after the close", received=f"{left} bytes", alert=AlertCode.UNEXPECTED_MESSAGE
            )
        return PeerClosed()

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

    def _control(self, message: records.Control) -> Event:
        """Do what a control record says."""
        if isinstance(message, records.Accept) is self._confirmed:
            raise InvalidMessage(
                "a second accept" if self._confirmed else "a control record before acceptance",
                expected="data, key-update or close" if self._confirmed else "accept, or a sealed alert",
                alert=AlertCode.UNEXPECTED_MESSAGE,
            )
        if isinstance(message, records.KeyUpdate):
            return self._peer_updated(message.reply)
        if isinstance(message, records.Close):
            self._peer_closed = True
            return PeerClosed()
        self._confirmed = True
        self._rejection = None
        self._longest_frame = HEADER_LENGTH + self._max_record
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
        if reply and self._open:
            self._writer.reply_due = True
        return KeyUpdated(self._role.peer)

    def _fail(self, error: HandshakeError, retry_after: int | None = None) -> None:
        """Poison everything: data that is not sealed is dropped, and so are the keys, once the alert is sealed."""
        writer = self._writer
        if isinstance(error, PeerAborted) and error.code is not None:
            writer.drop()
        elif self._open:
            writer.alert(error.alert, retry_after)
        writer.end()
        self._poison(error)
        self._rejection = None
        del self._reading
