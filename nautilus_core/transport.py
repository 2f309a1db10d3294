"""What every channel over a byte stream can do, whichever protocol made its keys. The channels themselves are elsewhere."""

from __future__ import annotations

from typing import Protocol, TypeAlias

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
