"""How two ends meet: one dials, one listens for a single peer or for each that comes. What they say is not known here."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.stapled import MultiListener

from nautilus_core import RESPONDER, Profile

from ..connect import connect, handshake
from ..listen import accept_all
from ..stream import SecureStream
from .options import answering
from .recording import recording_from
from .serving import Place, quieten_log


async def dial(options: argparse.Namespace, profile: Profile) -> SecureStream:
    """Connect to the address in `options`; raises what `connect` does."""
    host, port = options.address
    recorded = recording_from(options)
    return await connect(host, port, profile, timeout=options.timeout, answer=answering(), **recorded)


async def first_peer(options: argparse.Namespace, profile: Profile) -> SecureStream:
    """Listen at the address in `options` until a handshake completes; those that fail are reported."""
    found: list[SecureStream] = []

    async def take(stream: SecureStream) -> None:
        if found:
            await stream.aclose()
            return
        found.append(stream)
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        await each_peer(options, profile, take)
    return found[0]


async def each_peer(
    options: argparse.Namespace, profile: Profile, handler: Callable[[SecureStream], Awaitable[None]]
) -> None:
    """Listen for ever, and call `handler` with each peer whose handshake completes."""
    answer = answering()
    recorded = recording_from(options, each=True)
    quieten_log()

    async def attempt(raw: ByteStream) -> None:
        try:
            stream = await handshake(raw, RESPONDER, profile, timeout=options.timeout, answer=answer, **recorded)
        except Exception as error:  # whatever it is, it is this connection's alone: the listener and the others go on
            options.output.note(str(error), kind=type(error).__name__)
            return
        await handler(stream)

    host, port = options.address
    async with MultiListener(await Place(host, port).listen()) as listener:
        port = listener.extra(SocketAttribute.local_port)
        options.output.note(f"listening on {host} port {port}", host=host, port=port)
        async with anyio.create_task_group() as tasks:
            await accept_all(listener, attempt, tasks)
