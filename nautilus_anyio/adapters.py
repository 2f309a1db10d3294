"""Streams of other kinds as byte streams, so that a handshake can travel on them. No protocol lives here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyio import ResourceGuard
from anyio.abc import ByteStream, ObjectStream


class ObjectByteStream(ByteStream):
    """An object stream of `bytes` as a byte stream: memory object streams, WebSocket messages, whatever keeps their order.

    What `send` is given travels as one object, and never an empty one; boundaries mean nothing to who receives.

    Args:
        stream: carries `bytes`, in order and without loss; a pair of AnyIO's memory object streams is one as
            `StapledObjectStream(send_stream, receive_stream)`.
        most: of bytes in one object; longer data is cut. None for no limit.
    """

    def __init__(self, stream: ObjectStream[bytes], *, most: int | None = None) -> None:
        if most is not None and most < 1:
            raise ValueError("most is at least 1 byte")
        self._stream = stream
        self._most = most
        self._rest = memoryview(b"")
        self._receiving = ResourceGuard("receiving from")

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the stream below."""
        return self._stream.extra_attributes

    async def send(self, item: bytes) -> None:
        """Send all of `item`."""
        data = bytes(item)
        most = self._most or len(data)
        for start in range(0, len(data), most or 1):
            await self._stream.send(data[start : start + most])

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """The next bytes, at least one and at most `max_bytes`; `EndOfStream` at the end."""
        with self._receiving:
            while not self._rest:
                self._rest = memoryview(await self._stream.receive())
            data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
            return bytes(data)

    async def send_eof(self) -> None:
        """End this direction, where the stream below can."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._stream.aclose()
