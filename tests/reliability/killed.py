"""The two processes that get killed: a listener and a client, over the binding. Who kills them, and what is checked, is `kills`'.

Both tell what they do over a pipe, one small message at a time: each is written whole or not at all. Both keep whom they meet
in one file, and every connection is a first contact: the client gives each a name of its own, and has a new key.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import Listener, SocketAttribute, SocketStream, TaskGroup

from nautilus_anyio import ChannelFailed, ConnectionFailure, KnownPeersFile, SecureStream, connect, serve
from nautilus_core import HandshakeError, Identity, Profile, profiles, trust

SUITES: Final = ("X25519_AES128GCM_SHA256",)
BLOCK: Final = bytes(range(256)) * 128
BLOCKS: Final = 6
IDLE: Final = 0.02
PATIENCE: Final = 20.0
"""Seconds: far more than anything here takes, and less than who kills waits for."""


class Telling(KnownPeersFile):
    """The file, which says when it is written to, and when it has been."""

    def __init__(self, path: Path, tell: Connection) -> None:
        super().__init__(path)
        self._tell = tell

    def remember(self, name: str, peer_id: str) -> None:
        """Add a peer; whoever hears `known` may rely on it."""
        self._tell.send(("phase", "writing"))
        super().remember(name, peer_id)
        self._tell.send(("known", name, peer_id))


class Watched(Listener[SocketStream]):
    """A listener that says when a connection begins, and when it is over."""

    def __init__(self, listener: Listener[SocketStream], tell: Connection) -> None:
        self._listener = listener
        self._tell = tell

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the listener below."""
        return self._listener.extra_attributes

    async def serve(
        self, handler: Callable[[SocketStream], Awaitable[Any]], task_group: TaskGroup | None = None
    ) -> None:
        """As the listener below."""

        async def one(stream: SocketStream) -> None:
            self._tell.send(("begun",))
            try:
                await handler(stream)
            finally:
                self._tell.send(("ended",))

        await self._listener.serve(one, task_group)

    async def aclose(self) -> None:
        """As the listener below."""
        await self._listener.aclose()


def _profile(store: KnownPeersFile, name: str | None) -> Profile:
    policy = trust.known_peers(store, name=name, accept_new=True)
    return profiles.nautilus(identity=Identity.generate(), trust=policy, suites=SUITES)


def listen(backend: str, tell: Connection, path: Path) -> None:
    """Serve for ever."""
    _until_killed(_listen, backend, tell, path)


def dial(backend: str, tell: Connection, path: Path, port: int, number: int) -> None:
    """Make one connection after the other, until something ends it; say what."""
    _until_killed(_dial, backend, tell, path, port, number)


def _until_killed(function: Callable[..., Awaitable[None]], backend: str, tell: Connection, *arguments: Any) -> None:
    logging.getLogger("nautilus_anyio").addHandler(logging.NullHandler())  # what fails is told over the pipe
    try:
        anyio.run(function, tell, *arguments, backend=backend)
    except BaseException as error:  # it is for the other process to say what is wrong with it
        tell.send(("wrong", repr(error)))


async def _listen(tell: Connection, path: Path) -> None:
    async def echo(stream: SecureStream) -> None:
        async for data in stream:
            await stream.send(data)
        await stream.send_eof()
        tell.send(("outcome", "closed", "no error"))

    def failed(failure: ConnectionFailure) -> None:
        tell.send(("outcome", failure.phase, _name(failure.error)))

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener:
        tell.send(("port", listener.extra(SocketAttribute.local_port)))
        await serve(
            Watched(listener, tell), echo, _profile(Telling(path, tell), None), timeout=PATIENCE, on_error=failed
        )


async def _dial(tell: Connection, path: Path, port: int, number: int) -> None:
    phase = ""

    def say(now: str) -> None:
        nonlocal phase
        phase = now
        tell.send(("phase", now))

    with anyio.fail_after(PATIENCE):
        for turn in count():
            say("handshake")
            profile = _profile(Telling(path, tell), f"gateway-{number}-{turn}")
            try:
                async with await connect("127.0.0.1", port, profile, timeout=PATIENCE) as stream:
                    await _talk(stream, say)
            except (HandshakeError, ChannelFailed) as error:
                tell.send(("outcome", phase, _name(error)))
                return


async def _talk(stream: SecureStream, say: Callable[[str], None]) -> None:
    """Have some data echoed, wait a moment, and close."""
    say("transfer")
    for _ in range(BLOCKS):
        await stream.send(BLOCK)
        back = b""
        while len(back) < len(BLOCK):
            back += await stream.receive()
        if back != BLOCK:
            raise RuntimeError("what came back is not what was sent")
    say("idle")
    with anyio.move_on_after(IDLE):
        raise RuntimeError(f"nobody sent anything, but there is {await stream.receive()!r}")
    say("close")
    await stream.send_eof()
    async for data in stream:
        raise RuntimeError(f"nobody sent anything, but there is {data!r}")


def _name(error: Exception) -> str:
    """An error's class; of a channel that failed, what it failed with as well."""
    return f"ChannelFailed: {type(error.error).__name__}" if isinstance(error, ChannelFailed) else type(error).__name__
