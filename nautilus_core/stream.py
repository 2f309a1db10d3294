"""The sans-IO stream that steps travel on: buffers, framing, sealing, limits. It knows a step only by its codec.

`NautilusStream` frames as `nautilus/1` does; `LengthPrefixedStream` as Noise applications do. What comes after the
handshake is the channel's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from . import alerts
from .buffer import ReceiveBuffer
from .crypto.suites import TAG_LENGTH
from .crypto.traffic_key import TrafficKey
from .errors import AlertCode, InvalidMessage, LocalProtocolError, PeerAborted
from .frames import (
    ALERT,
    CONTROL,
    DATA,
    FRAME_NAMES,
    HANDSHAKE,
    HEADER_LENGTH,
    SEALED_ALERT,
    foreign_protocol,
)
from .limits import Limits
from .role import RESPONDER

if TYPE_CHECKING:
    from .session import Session
    from .step import HandshakeStep


_HANDSHAKE_HEADER: Final = HANDSHAKE << 24
_HEADER_BEFORE: Final = _HANDSHAKE_HEADER - HEADER_LENGTH
_SEALED_OVERHEAD: Final = HEADER_LENGTH + TAG_LENGTH
_HEADER: Final = Struct(">I")
_pack_header: Final = _HEADER.pack
_unpack_header: Final = _HEADER.unpack_from

_PREFIX: Final = 2
_LONGEST: Final = 65_535
"""Of `LengthPrefixedStream`: the length of its prefix, and what that can announce."""

Incoming: TypeAlias = tuple[Any, bytes, int]
"""A message that came in: as its step decodes it, as it enters the transcript, and its frame's size in bytes."""

Outgoing: TypeAlias = tuple[bytes, int]
"""A message that goes out: as it enters the transcript, and its frame's size in bytes."""


class HandshakeStream(ABC):
    """Buffers in both directions and the limits; a subclass gives the framing.

    What is received is only buffered, until `read` takes whole frames out of it.

    Attributes:
        ended: whether the peer's stream has ended.
        sealed: whether messages are sealed from here on; where steps do that themselves, whether the last message was.
    """

    __slots__ = ("_bytes_left", "_longest", "_received", "_to_send", "ended", "limits", "sealed")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.ended = False
        self.sealed = False
        self._received = ReceiveBuffer()
        self._to_send: list[bytes] = []
        self._longest = limits.message + HEADER_LENGTH
        self._bytes_left = limits.handshake

    def feed(self, data: bytes) -> None:
        """Buffer bytes from the peer; `b""` is the end of its stream."""
        if self.ended:
            raise LocalProtocolError("data after the end of the stream")
        if data:
            self._received.feed(data)
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
    def unsent(self) -> bool:
        """Whether bytes wait to be sent."""
        return bool(self._to_send)

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

    def has_message(self, first: bytes | bytearray) -> bool:
        """Whether a handshake can begin with what a peer has sent `first`: a frame is there whole, or can never be.

        It looks at lengths alone, so that a listener can hold what is not there yet without an engine.
        """
        return bool(first)

    def peek(self) -> bytes:
        """The received bytes that wait to be read."""
        received = self._received
        received.lacks(len(received))
        return received.data[received.position :]

    def release(self) -> bytes:
        """The handshake has failed, or its channel goes on: drop the keys; returns what was received and not read."""
        return self._received.take_all()

    def _over_limits(self) -> InvalidMessage:
        return InvalidMessage(
            "the handshake is longer than its limit",
            expected=f"at most {self.limits.handshake} bytes",
            received=f"{self.limits.handshake - self._bytes_left}",
            alert=AlertCode.RECORD_OVERFLOW,
        )


def _too_long(step: HandshakeStep[Any], length: int, limit: int) -> LocalProtocolError:
    return LocalProtocolError(f"step {step.name!r} wrote a frame of {length} bytes, over the limit of {limit}")


class NautilusStream(HandshakeStream):
    """The frames of `nautilus/1`: a type, a 3-byte length, a body; sealed with the header as associated data."""

    __slots__ = ("_writing", "reading")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._writing: TrafficKey | None = None
        self.reading: TrafficKey | None = None

    def hand_over(self, session: Session, first_records: bytes) -> None:
        """The same; of the handshake's keys, only the one under which a responder can still refuse us is kept."""
        super().hand_over(session, first_records)
        self._writing = None
        if session.role is RESPONDER:
            self.reading = None

    def has_message(self, first: bytes | bytearray) -> bool:
        """The same, by the header; what has none of a handshake message, or one over the limit, never becomes one."""
        if len(first) < HEADER_LENGTH:
            return bool(first) and first[0] != HANDSHAKE
        size = _unpack_header(first)[0] - _HEADER_BEFORE
        return not HEADER_LENGTH <= size <= self._longest or len(first) >= size

    def release(self) -> bytes:
        """Drop the keys; returns what was received and not read. From now on nothing can be written, least of all unsealed."""
        self._writing = self.reading = None
        self._longest = 0
        return self._received.take_all()

    def protect(self, writing: TrafficKey, reading: TrafficKey) -> None:
        """Seal what follows under these keys."""
        self._writing = writing
        self.reading = reading
        self.sealed = True

    def write(self, step: HandshakeStep[Any], message: Any) -> Outgoing:
        """Encode, frame, seal where keys are established, and queue."""
        body = step.encode(message)
        size = len(body) + (HEADER_LENGTH if self._writing is None else _SEALED_OVERHEAD)
        if size > self._longest:
            raise _too_long(step, size, self._longest)
        frame = plain = _pack_header(_HANDSHAKE_HEADER + len(body)) + body
        if self._writing is not None:  # in no variable: the frames of an error that a step raises outlive the keys
            head = _pack_header(_HEADER_BEFORE + size)
            frame = head + self._writing.seal(body, head)
        self._to_send.append(frame)
        return plain, size

    def read(self, step: HandshakeStep[Any]) -> Incoming | None:
        """Take the next frame: a message for `step`, or an alert, which is raised."""
        received = self._received
        data, start = received.data, received.position
        end = start + HEADER_LENGTH
        if end > len(data):
            if received.lacks(HEADER_LENGTH):
                return None
            data, start, end = received.data, 0, HEADER_LENGTH
        (word,) = _unpack_header(data, start)
        size = word - _HEADER_BEFORE
        if not HEADER_LENGTH <= size <= self._longest:
            self._take_alert(data[start:end])
            return None
        body_start, end = end, start + size
        if end > len(data):
            if received.lacks(size):
                return None
            data, start, body_start, end = received.data, 0, HEADER_LENGTH, size
        received.position = end
        left = self._bytes_left = self._bytes_left - size
        if left < 0:
            raise self._over_limits()
        if self.reading is None:
            return step.decode(data[body_start:end]), data[start:end], size
        body = self.reading.open(data[body_start:end], data[start:body_start])
        return step.decode(body), _pack_header(word - TAG_LENGTH) + body, size

    def _take_alert(self, head: bytes) -> None:
        """The next frame is no handshake message of a legal length: raise what it is, once it is there whole."""
        kind, length = head[0], int.from_bytes(head[1:], "big")
        if kind == HANDSHAKE:
            raise InvalidMessage(
                "a message over the limit",
                expected=f"at most {self.limits.message} bytes",
                received=f"a header that announces {length}",
                alert=AlertCode.RECORD_OVERFLOW,
            )
        self._check_alert(head, kind, length)
        received = self._received
        if not received.lacks(HEADER_LENGTH + length):
            start = received.position + HEADER_LENGTH
            received.position = start + length
            raise self._alert(kind, head, received.data[start : start + length])

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

    __slots__ = ()

    def has_message(self, first: bytes | bytearray) -> bool:
        """The same, by the prefix."""
        if len(first) < _PREFIX:
            return False
        length = first[0] << 8 | first[1]
        return length > self.limits.message or len(first) >= _PREFIX + length

    def write(self, step: HandshakeStep[Any], message: Any) -> Outgoing:
        """Prefix the length and queue."""
        if not isinstance(message, bytes):
            raise LocalProtocolError(f"step {step.name!r} must write bytes, not {type(message).__name__}")
        length = len(message)
        longest = min(self.limits.message, _LONGEST)
        if length > longest:
            raise _too_long(step, length, longest)
        self._to_send.append(length.to_bytes(_PREFIX, "big") + message)
        self.sealed = step.seals
        return message, _PREFIX + length

    def read(self, step: HandshakeStep[Any]) -> Incoming | None:
        """Take the next message."""
        received = self._received
        data, start = received.data, received.position
        if start + _PREFIX > len(data):
            if received.lacks(_PREFIX):
                return None
            data, start = received.data, received.position
        length = data[start] << 8 | data[start + 1]
        if length > self.limits.message:
            raise InvalidMessage(
                "a message over the limit",
                expected=f"at most {self.limits.message} bytes",
                received=f"a prefix that announces {length}",
                alert=AlertCode.RECORD_OVERFLOW,
            )
        size = _PREFIX + length
        end = start + size
        if end > len(data):
            if received.lacks(size):
                return None
            data, start = received.data, received.position
            end = start + size
        received.position = end
        left = self._bytes_left = self._bytes_left - size
        if left < 0:
            raise self._over_limits()
        message = data[start + _PREFIX : end]
        self.sealed = step.seals
        return message, message, size
