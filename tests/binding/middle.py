"""What can stand between two ends of TLS: a man in the middle who terminates it, and streams that cut and end early."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

from .certified import CA, HOST, OTHER


class Middle:
    """A man in the middle: for the client he is the server, with a certificate that it trusts; he passes on what he reads.

    Attributes:
        read: what went through his hands.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.read = bytearray()
        self._near = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        OTHER.configure_cert(self._near)
        self._far = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        CA.configure_trust(self._far)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Gives his port."""
        listener = await anyio.create_tcp_listener(local_host=HOST)
        async with TLSListener(listener, self._near, False) as terminating, anyio.create_task_group() as tasks:
            tasks.start_soon(terminating.serve, self._pass_on)
            yield listener.extra(SocketAttribute.local_port)
            tasks.cancel_scope.cancel()

    async def _pass_on(self, near: ByteStream) -> None:
        far = await anyio.connect_tcp(HOST, self._port, ssl_context=self._far, tls_standard_compatible=False)
        async with near, far, anyio.create_task_group() as tasks:

            async def one_way(source: ByteStream, sink: ByteStream) -> None:
                with suppress(EndOfStream, BrokenResourceError, ClosedResourceError):
                    while True:
                        data = await source.receive()
                        self.read += data
                        await sink.send(data)
                tasks.cancel_scope.cancel()

            tasks.start_soon(one_way, far, near)
            await one_way(near, far)


class Changed(ByteStream):
    """A byte stream of which only what is received is changed.

    Args:
        stream: the real one.
        most: of bytes that are received at once.
        end: after so many it ends.
        flip: the number of the byte whose lowest bit is flipped.
    """

    def __init__(
        self, stream: ByteStream, *, most: int = 65_536, end: int | None = None, flip: int | None = None
    ) -> None:
        self._stream = stream
        self._most = most
        self._left = end
        self._flip = flip
        self.received = 0

    def cut(self) -> None:
        """It ends now."""
        self._left = 0

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        most = min(max_bytes, self._most)
        if self._left is not None:
            most = min(most, self._left)
            if not most:
                raise EndOfStream
        data = await self._stream.receive(most)
        if self._flip is not None and 0 <= self._flip - self.received < len(data):
            place = self._flip - self.received
            data = data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
        self.received += len(data)
        if self._left is not None:
            self._left -= len(data)
        return data

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()
