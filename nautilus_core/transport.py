"""What every channel over a byte stream can do, whichever protocol made its keys. The channels themselves are elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn, Protocol, TypeAlias

from .buffer import ReceiveBuffer
from .errors import HandshakeError, LocalProtocolError, release_frames
from .events import Event, Signal

Buffer: TypeAlias = bytes | bytearray | memoryview


class Channel(Protocol):
    """One end of a channel: `SecureChannel` has records of `nautilus/1`, `NoiseChannel` Noise transport messages.

    `send_data`, `update_keys`, `close` and `abort` only queue; `receive_data` only buffers; `next_event` opens what is
    buffered; `data_to_send` seals and takes the queue.
    """

    @property
    def max_payload(self) -> int:
        """The longest payload of one record, in bytes."""

    @property
    def confirmed(self) -> bool:
        """Whether this end need not wait for the peer's acceptance any more."""

    @property
    def closes_with_stream(self) -> bool:
        """Whether `close` sends nothing, so that the end of the stream below must say it."""

    def send_data(self, data: Buffer) -> None:
        """Queue application data."""

    def update_keys(self, *, ask_peer: bool = False) -> None:
        """Change to the next key of this direction; `LocalProtocolError` where the protocol cannot say so."""

    def close(self) -> None:
        """This end sends no more."""

    def abort(self, reason: str, *, code: int = ..., retry_after: int | None = None) -> None:
        """End both directions at once."""

    def data_to_send(self) -> bytes | bytearray:
        """Take all bytes that wait to be sent."""

    def receive_data(self, data: Buffer) -> None:
        """Buffer bytes from the peer; `b""` is the end of its stream."""

    def next_event(self) -> Event | Signal:
        """What happened next, or `NEED_DATA`."""


class ChannelEnd:
    """What the channels do alike: they buffer what comes in, and fail once and for all."""

    __slots__ = ("_ended", "_error", "_open", "_received", "_traceback")

    def __init__(self) -> None:
        self._received = ReceiveBuffer()
        self._ended = False
        self._open = True
        self._error: HandshakeError | None = None
        self._traceback: TracebackType | None = None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a channel is not copied: the two would seal and open the same records")

    def receive_data(self, data: Buffer) -> None:
        """Buffer bytes from the peer; `b""` is the end of its stream.

        Raises:
            LocalProtocolError: for data after the end of the stream.
            HandshakeError: again, after the channel has failed.
            TypeError: for what is no buffer.
        """
        if self._error is not None:
            self._refuse()
        if self._ended:
            raise LocalProtocolError("data after the end of the stream")
        if type(data) is not bytes:
            data = memoryview(data).tobytes()
        if data:
            self._received.feed(data)
        else:
            self._ended = True

    def _refuse(self) -> NoReturn:
        """Raise why this end can do nothing more."""
        if self._error is not None:
            raise self._error.with_traceback(self._traceback)
        raise LocalProtocolError("this end of the channel is closed")

    def _poison(self, error: HandshakeError) -> None:
        """From now on every call raises `error`; what was received is dropped."""
        release_frames(error)
        self._error = error
        self._traceback = error.__traceback__
        self._open = False
        self._received.clear()
