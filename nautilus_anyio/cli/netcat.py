"""`nautilus listen` and `nautilus connect`: standard input and output over a secure stream, as netcat does in the clear."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, SocketAttribute

from nautilus_core import RESPONDER, HandshakeError, Profile

from ..connect import connect, handshake
from ..stream import SecureStream
from .options import add_backend, add_command, add_profile, address, answering, profile_from
from .output import Output

_CHUNK: Final = 262_144

_LISTEN_EXAMPLES: Final = """\
  nautilus listen 7000                                        ask at the first contact, talk
  nautilus listen 0.0.0.0:7000 --identity gateway.pem --trust pinned:key:... > received
  nautilus listen 7000 --trust anyone < file                  hand a file to whoever comes"""

_CONNECT_EXAMPLES: Final = """\
  nautilus connect host:7000                                  ask at the first contact, talk
  nautilus connect host:7000 --identity node.pem --trust pinned:key:... < file
  tar c folder | nautilus connect host:7000 --trust known-peers:peers"""


def add_commands(commands: Any) -> None:
    """Register both commands."""
    for name, what, examples, run in (
        ("listen", "wait for one peer; standard input and output over a secure stream", _LISTEN_EXAMPLES, _listen),
        ("connect", "connect to a peer that listens, likewise", _CONNECT_EXAMPLES, _connect),
    ):
        parser = add_command(commands, name, what, examples, run)
        parser.add_argument("address", type=address, metavar="[HOST:]PORT")
        add_profile(parser)
        add_backend(parser)


def _connect(options: argparse.Namespace) -> int:
    host, port = options.address
    profile = profile_from(options, name=f"{host}:{port}")
    return anyio.run(_talk_as_initiator, options, profile, backend=options.backend)


def _listen(options: argparse.Namespace) -> int:
    return anyio.run(_talk_as_responder, options, profile_from(options), backend=options.backend)


async def _talk_as_initiator(options: argparse.Namespace, profile: Profile) -> int:
    host, port = options.address
    stream = await connect(host, port, profile, timeout=options.timeout, answer=answering())
    await _talk(stream, options.output)
    return 0


async def _talk_as_responder(options: argparse.Namespace, profile: Profile) -> int:
    host, port = options.address
    listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    port = listener.extra(SocketAttribute.local_port)
    options.output.note(f"listening on {host} port {port}", host=host, port=port)
    async with listener:
        stream = await _first_peer(listener, profile, options)
    await _talk(stream, options.output)
    return 0


async def _first_peer(listener: Any, profile: Profile, options: argparse.Namespace) -> SecureStream:
    """The first connection whose handshake completes; the others are reported, and closed."""
    found: list[SecureStream] = []
    answer = answering()

    async def attempt(raw: ByteStream) -> None:
        try:
            stream = await handshake(raw, RESPONDER, profile, timeout=options.timeout, answer=answer)
        except HandshakeError as error:
            options.output.note(str(error))
            return
        if found:
            await stream.aclose()
            return
        found.append(stream)
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        await listener.serve(attempt, tasks)
    return found[0]


async def _talk(stream: SecureStream, output: Output) -> None:
    """Both directions until both are closed."""
    output.connected(stream)
    async with stream, anyio.create_task_group() as tasks:
        tasks.start_soon(_send_standard_input, stream)
        await _write_standard_output(stream)


async def _send_standard_input(stream: SecureStream) -> None:
    descriptor = sys.stdin.fileno()
    while data := await anyio.to_thread.run_sync(os.read, descriptor, _CHUNK, abandon_on_cancel=True):
        await stream.send(data)
    await stream.send_eof()


async def _write_standard_output(stream: SecureStream) -> None:
    write = partial(_write_all, sys.stdout.fileno())
    async for data in stream:
        await anyio.to_thread.run_sync(write, data, abandon_on_cancel=True)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
