"""Two nodes that trust each other, and a listener on loopback that serves one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, SocketAttribute

from nautilus_anyio import SecureStream, handshake, serve
from nautilus_core import INITIATOR, RESPONDER, Identity, Profile, profiles, trust

ALICE: Final = Identity.generate()
BOB: Final = Identity.generate()
MALLORY: Final = Identity.generate()


def initiator(**arguments: Any) -> Profile:
    """Alice, who wants Bob."""
    defaults: dict[str, Any] = {"identity": ALICE, "trust": trust.pinned(BOB.public)}
    return profiles.nautilus(**defaults | arguments)


def responder(**arguments: Any) -> Profile:
    """Bob, who wants Alice."""
    defaults: dict[str, Any] = {"identity": BOB, "trust": trust.pinned(ALICE.public)}
    return profiles.nautilus(**defaults | arguments)


async def echo(stream: SecureStream) -> None:
    """Send back all that comes, then close."""
    async for data in stream:
        await stream.send(data)
    await stream.send_eof()


async def raw_pair() -> tuple[ByteStream, ByteStream]:
    """Two connected TCP streams."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    accepted: list[ByteStream] = []
    ready = anyio.Event()

    async def accept(stream: ByteStream) -> None:
        accepted.append(stream)
        ready.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, accept)
        outgoing = await anyio.connect_tcp("127.0.0.1", listener.extra(SocketAttribute.local_port))
        await ready.wait()
        tasks.cancel_scope.cancel()
    await listener.aclose()
    return outgoing, accepted[0]


async def secure_pair() -> tuple[SecureStream, SecureStream, ByteStream, ByteStream]:
    """Two ends after their handshake, and the streams below them."""
    here, there = await raw_pair()
    made: dict[str, SecureStream] = {}

    async def respond() -> None:
        made["responder"] = await handshake(there, RESPONDER, responder())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(respond)
        made["initiator"] = await handshake(here, INITIATOR, initiator())
    return made["initiator"], made["responder"], here, there


@asynccontextmanager
async def listening(
    profile: Profile, handler: Callable[[SecureStream], Awaitable[Any]] = echo, **arguments: Any
) -> AsyncIterator[int]:
    """A listener that serves `profile`; gives its port."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: serve(listener, handler, profile, **arguments))
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()
