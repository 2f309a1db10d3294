"""A TCP proxy with faults: the links of `nautilus_core.testing` between real sockets, and resets as well."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import SocketAttribute, SocketStream

from nautilus_core.testing import FaultyLink

SPEED: Final = 400
"""How much faster than the schedule's the clock here runs: a delay of 40 seconds takes 0.1."""

_GONE: Final = (BrokenResourceError, ClosedResourceError, OSError)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to one connection.

    Attributes:
        links: the faults on what the client sends, and on what it gets.
        reset_at: once this many bytes have been sent in both directions together both ends get a reset; None for never.
    """

    links: tuple[FaultyLink, FaultyLink]
    reset_at: int | None = None


class _Reset(Exception):
    """It is time for a reset."""


class _Connection:
    """The bytes of one connection, in both directions."""

    def __init__(self, client: SocketStream, server: SocketStream, trouble: Trouble) -> None:
        self._ends = client, server
        self._trouble = trouble
        self._started = anyio.current_time()

    async def run(self) -> None:
        client, server = self._ends
        there, back = self._trouble.links
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._direction, client, server, there)
                tasks.start_soon(self._direction, server, client, back)
        except* _Reset:
            for end in self._ends:
                raw = end.extra(SocketAttribute.raw_socket)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except* _GONE:
            pass  # one end has closed altogether: so does the other

    async def _direction(self, source: SocketStream, sink: SocketStream, link: FaultyLink) -> None:
        """Read and write at once, so that what is late holds up nobody who sends."""
        sent = anyio.Event()
        ended = False

        async def deliver() -> None:
            nonlocal sent
            while True:
                for piece in link.receive(self._now()):
                    if not piece:
                        await sink.send_eof()
                        return
                    await sink.send(piece)
                due = link.next_arrival
                if due is None and ended:
                    return
                with anyio.move_on_after(None if due is None else max(0.0, due - self._now()) / SPEED):
                    await sent.wait()
                sent = anyio.Event()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(deliver)
            try:
                while True:
                    link.send(await source.receive(), self._now())
                    self._check_reset()
                    sent.set()
            except EndOfStream:
                ended = True
                link.end(self._now())
                sent.set()

    def _check_reset(self) -> None:
        reset_at = self._trouble.reset_at
        if reset_at is not None and sum(link.sent for link in self._trouble.links) >= reset_at:
            raise _Reset

    def _now(self) -> float:
        return (anyio.current_time() - self._started) * SPEED


@asynccontextmanager
async def faulty_proxy(port: int, next_trouble: Callable[[], Trouble]) -> AsyncIterator[int]:
    """A proxy for what listens on `port`, whose connections have the troubles that `next_trouble` gives; gives its own port."""

    async def relay(client: SocketStream) -> None:
        async with client, await anyio.connect_tcp("127.0.0.1", port) as server:
            await _Connection(client, server, next_trouble()).run()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, relay)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()
