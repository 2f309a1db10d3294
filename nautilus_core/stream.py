"""The sans-IO stream that steps travel on: buffers, framing, sealing, limits. It knows a step only by its codec.

`NautilusStream` frames as `nautilus/1` does; `LengthPrefixedStream` as Noise applications do. What comes after the
handshake is the channel's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from . import alerts
from .crypto.suites import TAG_LENGTH
from .crypto.traffic_key import TrafficKey
from .errors import AlertCode, InvalidMessage, LocalProtocolError, PeerAborted
from .frames import ALERT, CONTROL, DATA, FRAME_NAMES, HANDSHAKE, HEADER_LENGTH, SEALED_ALERT, foreign_protocol, header
from .limits import Limits

if TYPE_CHECKING:
    from .session import Session
    from .step import HandshakeStep


Incoming: TypeAlias = tuple[Any, bytes, int]
"""A message that came in: as its step decodes it, as it enters the transcript, and its frame's size in bytes."""

Outgoing: TypeAlias = tuple[bytes, int]
"""A message that goes out: as it enters the transcript, and its frame's size in bytes."""


class HandshakeStream(ABC):
    """Buffers in both directions and the limits; a subclass gives the framing.

    What is received is only buffered, until `read` takes whole frames out of it.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.ended = False
        self._received = bytearray()
        self._to_send: list[bytes] = []
        self._messages = 0
        self._bytes = 0

    def feed(self, data: bytes) -> None:
        """Buffer bytes from the peer; `b""` is the end of its stream."""
        if self.ended:
            raise LocalProtocolError("data after the end of the stream")
        if data:
            self._received += data
        else:
            self.ended = True

    def data_to_send(self) -> bytes:
        """Take all bytes that wait to be sent."""
        if not self._to_send:
            return b""
        data = b"".join(self._to_send)
        self._to_send.clear()
        return data

    @property
    def buffered(self) -> int:
        """How many received bytes wait to be read."""
        return len(self._received)

    @property
    def sealed(self) -> bool:
        """Whether messages are sealed from here on."""
        return False

    @abstractmethod
    def write(self, step: HandshakeStep[Any], message: Any) -> Outgoing:
        """Frame a message of `step` and queue it."""

    @abstractmethod
    def read(self, step: HandshakeStep[Any]) -> Incoming | None:
        """The next message, decoded by `step`; None until it is there whole. Alerts are raised as `PeerAborted`."""

    def write_alert(self, code: int, retry_after: int | None) -> None:  # noqa: B027  # some framings have no alerts
        """Queue an alert, where the framing has such a thing."""

    def protect(self, writing: TrafficKey, reading: TrafficKey) -> None:
        """Seal what follows. `LocalProtocolError` where the steps do that themselves."""
        raise LocalProtocolError(f"{type(self).__name__} does not seal: its steps do")

    def hand_over(self, session: Session, first_records: bytes) -> None:
        """The handshake is over: queue `first_records`, and let the session's channel go on with what is buffered."""
        if first_records:
            self._to_send.append(first_records)
        session.continue_from(self)

    def peek(self) -> bytes:
        """The received bytes that wait to be read."""
        return bytes(self._received)

    def take_trailing(self) -> bytes:
        """Take the received bytes that follow the handshake."""
        data = self.peek()
        self._received.clear()
        return data

    def forget(self) -> None:
        """The handshake has failed: drop what was received, and the keys."""
        self._received.clear()

    def _count(self, size: int) -> None:
        self._messages += 1
        self._bytes += size
        limits = self.limits
        if self._messages > limits.messages or self._bytes > limits.handshake:
            raise InvalidMessage(
                "the handshake is longer than its limits",
                expected=f"at most {limits.messages} messages and {limits.handshake} bytes",
                received=f"message number {self._messages}, {self._bytes} bytes",
                alert=AlertCode.RECORD_OVERFLOW,
            )

    def _check_outgoing(self, step: HandshakeStep[Any], size: int, limit: int) -> None:
        if size > limit:
            raise LocalProtocolError(f"step {step.name!r} wrote {size} bytes, more than the {limit} of a message")


class NautilusStream(HandshakeStream):
    """The frames of `nautilus/1`: a type, a 3-byte length, a body; sealed with the header as associated data."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._writing: TrafficKey | None = None
        self.reading: TrafficKey | None = None

    @property
    def sealed(self) -> bool:
        """Whether messages are sealed from here on."""
        return self._writing is not None

    def forget(self) -> None:
        """Drop what was received, and the keys."""
        super().forget()
        self._writing = self.reading = None

    def protect(self, writing: TrafficKey, reading: TrafficKey) -> None:
        """Seal what follows under these keys."""
        self._writing = writing
        self.reading = reading

    def write(self, step: HandshakeStep[Any], message: Any) -> Outgoing:
        """Encode, frame, seal where keys are established, and queue."""
        body = step.encode(message)
        length = len(body)
        key = self._writing
        plain_frame = header(HANDSHAKE, length) + body
        if key is None:
            self._check_outgoing(step, length, self.limits.message)
            frame = plain_frame
        else:
            self._check_outgoing(step, length + TAG_LENGTH, self.limits.message)
            head = header(HANDSHAKE, length + TAG_LENGTH)
            frame = head + key.seal(body, head)
        size = len(frame)
        self._count(size)
        self._to_send.append(frame)
        return plain_frame, size

    def read(self, step: HandshakeStep[Any]) -> Incoming | None:
        """Take the next frame: a message for `step`, or an alert, which is raised."""
        received = self._received
        if len(received) < HEADER_LENGTH:
            return None
        head = bytes(received[:HEADER_LENGTH])
        kind = head[0]
        length = int.from_bytes(head[1:], "big")
        if kind != HANDSHAKE:
            self._check_alert(head, kind, length)
        elif length > self.limits.message:
            raise InvalidMessage(
                "a message over the limit",
                expected=f"at most {self.limits.message} bytes",
                received=f"a header that announces {length}",
                alert=AlertCode.RECORD_OVERFLOW,
            )
        size = HEADER_LENGTH + length
        if len(received) < size:
            return None
        body = bytes(received[HEADER_LENGTH:size])
        del received[:size]
        if kind != HANDSHAKE:
            raise self._alert(kind, head, body)
        self._count(size)
        key = self.reading
        if key is None:
            return step.decode(body), head + body, size
        body = key.open(body, head)
        return step.decode(body), header(HANDSHAKE, len(body)) + body, size

    def _check_alert(self, head: bytes, kind: int, length: int) -> None:
        if kind in (DATA, CONTROL):
            raise InvalidMessage(
                "a channel record in the middle of the handshake",
                expected="a handshake message",
                received=FRAME_NAMES[kind],
                alert=AlertCode.UNEXPECTED_MESSAGE,
            )
        if kind not in (ALERT, SEALED_ALERT):
            raise foreign_protocol(head)
        if length > alerts.MAX_LENGTH:
            raise InvalidMessage(
                "an alert over the limit",
                expected=f"at most {alerts.MAX_LENGTH} bytes",
                received=f"a header that announces {length}",
                alert=AlertCode.RECORD_OVERFLOW,
            )

    def _alert(self, kind: int, head: bytes, body: bytes) -> PeerAborted:
        key = self.reading
        if kind == SEALED_ALERT:
            if key is None:
                raise InvalidMessage("a sealed alert before there are keys", alert=AlertCode.UNEXPECTED_MESSAGE)
            return alerts.decode(key.open(body, head), authenticated=True)
        if key is not None and key.sequence:
            raise InvalidMessage(
                "a plaintext alert after sealed messages",
                hint="the peer would have sealed it; somebody else may have sent this one",
                alert=AlertCode.UNEXPECTED_MESSAGE,
            )
        return alerts.decode(body, authenticated=False)

    def write_alert(self, code: int, retry_after: int | None) -> None:
        """Queue an alert, sealed once a sealed message has been sent or opened.

        Before, we may have keys that the peer does not share (somebody altered an early message): it could not open a
        sealed alert, and accepts a plaintext one because it has opened nothing sealed of ours.
        """
        writing, reading = self._writing, self.reading
        sure = writing is not None and reading is not None and (writing.sequence or reading.sequence)
        self._to_send.append(alerts.frame(code, retry_after, writing if sure else None))


class LengthPrefixedStream(HandshakeStream):
    """Raw messages behind a 2-byte big-endian length: no names, no alerts; the steps seal for themselves (Noise)."""

    _PREFIX: Final = 2
    _LONGEST: Final = 65_535

    def write(self, step: HandshakeStep[Any], message: Any) -> Outgoing:
        """Prefix the length and queue."""
        if not isinstance(message, bytes):
            raise LocalProtocolError(f"step {step.name!r} must write bytes, not {type(message).__name__}")
        self._check_outgoing(step, len(message), min(self.limits.message, self._LONGEST))
        frame = len(message).to_bytes(self._PREFIX, "big") + message
        self._count(len(frame))
        self._to_send.append(frame)
        return message, len(frame)

    def read(self, step: HandshakeStep[Any]) -> Incoming | None:
        """Take the next message."""
        received = self._received
        if len(received) < self._PREFIX:
            return None
        size = self._PREFIX + int.from_bytes(received[: self._PREFIX], "big")
        if size - self._PREFIX > self.limits.message:
            raise InvalidMessage(
                "a message over the limit",
                expected=f"at most {self.limits.message} bytes",
                received=f"a prefix that announces {size - self._PREFIX}",
                alert=AlertCode.RECORD_OVERFLOW,
            )
        if len(received) < size:
            return None
        message = bytes(received[self._PREFIX : size])
        del received[:size]
        self._count(size)
        return message, message, size
