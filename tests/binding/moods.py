"""A listener on loopback that treats each connection in turn as it is told: busy, silent, closing, or serving it well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeAlias

import anyio
from anyio.abc import ByteStream, SocketAttribute

from nautilus_anyio import handshake
from nautilus_anyio.farewell import last_words
from nautilus_core import RESPONDER, AlertCode, Handshake, Profile

from .helpers import echo, responder

Mood: TypeAlias = Callable[[ByteStream], Awaitable[None]]


def refusing(code: int = AlertCode.BUSY, retry_after: int | None = None) -> Mood:
    """Sends an alert before anything is read, which nobody can authenticate."""

    async def treat(stream: ByteStream) -> None:
        engine = Handshake(RESPONDER, responder())
        engine.abort("not now", code=code, retry_after=retry_after)
        await last_words(stream, engine.data_to_send())

    return treat


async def closing(stream: ByteStream) -> None:
    """Closes without a word, once it has heard something."""
    await stream.receive()
    await stream.aclose()


async def silent(stream: ByteStream) -> None:
    """Reads, and says nothing, until the other end closes."""
    async with stream:
        async for _ in stream:
            pass


def serving(profile: Profile) -> Mood:
    """Echoes."""

    async def treat(stream: ByteStream) -> None:
        async with await handshake(stream, RESPONDER, profile) as secure:
            await echo(secure)

    return treat


well: Final[Mood] = serving(responder())


class Listener:
    """Attributes:
    port: where it is.
    connections: how many have come.
    """

    def __init__(self, moods: tuple[Mood, ...]) -> None:
        self._moods = moods
        self.port = 0
        self.connections = 0

    async def treat(self, stream: ByteStream) -> None:
        """The last mood is for all that come later."""
        mood = self._moods[min(self.connections, len(self._moods) - 1)]
        self.connections += 1
        try:
            await mood(stream)
        except Exception:  # what comes of it is for the other end to say
            await anyio.aclose_forcefully(stream)


@asynccontextmanager
async def listening_in(*moods: Mood, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Listener]:
    """The listener, until the end of the block."""
    listener = Listener(moods)
    below = await anyio.create_tcp_listener(local_host=host, local_port=port)
    listener.port = below.extra(SocketAttribute.local_port)
    async with below, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(below.serve, listener.treat))
        yield listener
        tasks.cancel_scope.cancel()
