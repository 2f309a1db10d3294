"""`nautilus listen` and `nautilus connect`: standard input and output over a secure stream, as netcat does in the clear."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, SocketAttribute

from nautilus_core import RESPONDER, HandshakeError, Profile
from nautilus_core.identity.credentials import Anonymous

from ..connect import connect, handshake
from ..stream import SecureStream
from .options import add_backend, add_profile, address, ask_on_terminal, profile_from

_CHUNK: Final = 262_144


def add_commands(commands: Any) -> None:
    """Register both commands."""
    for name, what, run in (
        ("listen", "wait for one peer", _listen),
        ("connect", "connect to a peer that listens", _connect),
    ):
        parser = commands.add_parser(
            name,
            help=f"{what}; standard input and output over a secure stream",
            description=f"{what.capitalize()}, then send standard input to it and write what it sends to standard output.",
        )
        parser.add_argument("address", type=address, metavar="[HOST:]PORT")
        add_profile(parser)
        add_backend(parser)
        parser.set_defaults(run=partial(_run, run))


def _run(command: Callable[..., Any], options: argparse.Namespace) -> int:
    profile = profile_from(options)
    anyio.run(command, options, profile, backend=options.backend)
    return 0


def _say(text: str) -> None:
    print(f"nautilus: {text}", file=sys.stderr, flush=True)


async def _connect(options: argparse.Namespace, profile: Profile) -> None:
    host, port = options.address
    stream = await connect(host, port, profile, timeout=options.timeout, answer=_answering())
    await _talk(stream)


async def _listen(options: argparse.Namespace, profile: Profile) -> None:
    host, port = options.address
    listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    _say(f"listening on {host} port {listener.extra(SocketAttribute.local_port)}")
    async with listener:
        stream = await _first_peer(listener, profile, options.timeout)
    await _talk(stream)


async def _first_peer(listener: Any, profile: Profile, timeout: float) -> SecureStream:
    """The first connection whose handshake completes; the others are reported, and closed."""
    found: list[SecureStream] = []
    answer = _answering()

    async def attempt(raw: ByteStream) -> None:
        try:
            stream = await handshake(raw, RESPONDER, profile, timeout=timeout, answer=answer)
        except HandshakeError as error:
            _say(str(error))
            return
        if found:
            await stream.aclose()
            return
        found.append(stream)
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        await listener.serve(attempt, tasks)
    return found[0]


def _answering() -> Callable[[Any], Any]:
    """Asks on the terminal, one question at a time: a "yes" is meant for the peer that is shown last."""
    asking = anyio.Lock()

    async def answer(question: Any) -> None:
        async with asking:
            await anyio.to_thread.run_sync(ask_on_terminal, question, abandon_on_cancel=True)

    return answer


async def _talk(stream: SecureStream) -> None:
    """Both directions until both are closed."""
    peer = stream.session.peer
    words = "" if isinstance(peer, Anonymous) else f" ({peer.public_key.words})"
    _say(f"connected to {peer.peer_id}{words}, {stream.session.suite}")
    async with stream, anyio.create_task_group() as tasks:
        tasks.start_soon(_send_standard_input, stream)
        await _write_standard_output(stream)


async def _send_standard_input(stream: SecureStream) -> None:
    descriptor = sys.stdin.fileno()
    while data := await anyio.to_thread.run_sync(os.read, descriptor, _CHUNK, abandon_on_cancel=True):
        await stream.send(data)
    await stream.send_eof()


async def _write_standard_output(stream: SecureStream) -> None:
    descriptor = sys.stdout.fileno()
    async for data in stream:
        await anyio.to_thread.run_sync(_write_all, descriptor, data, abandon_on_cancel=True)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
