"""`nautilus listen` and `nautilus connect`: standard input and output over a secure stream, as netcat does in the clear.

Their options for many connections lead to `tunnel` and `exec`.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from typing import Any, Final

import anyio
from anyio import EndOfStream, Event, aclose_forcefully

from nautilus_core import Profile

from ..errors import ChannelFailed, TransportFailed
from ..sockets import notice_dead_peers, reset_at_close
from ..stream import SecureStream
from . import exec as exec_
from . import tunnel
from .gate import first_peer
from .limits import add_limits
from .meeting import dial
from .options import add_backend, add_command, add_profile, address, peer_address, profile_from, somebody_types
from .output import Output
from .piping import CHUNK, SinkFailed, carry, first_of
from .recording import add_recording
from .retrying import add_retry, check_retry
from .serving import add_bound, place, run_until_signal, service
from .tls import add_tls

_LISTEN: Final = (
    "wait for a peer; standard input and output over a secure stream, or a process or a service for many peers"
)
_LISTEN_EXAMPLES: Final = """\
  nautilus listen 7000                                        ask at the first contact, talk
  nautilus listen 0.0.0.0:7000 --identity gateway.pem --trust pinned:key:... > received
  nautilus listen 7000 --trust anyone < file                  hand a file to whoever comes
  nautilus listen 0.0.0.0:7000 --exec 'tee -a log'            a process for each peer; NAUTILUS_PEER says who it is
  nautilus listen 0.0.0.0:7000 --exec "sh -c 'date; uptime'"  with a shell, where one is needed
  nautilus listen 0.0.0.0:7000 --forward 5432                 a secure tunnel to the service on port 5432 here,
  nautilus listen 0.0.0.0:7000 --forward unix:/run/my.sock    or on a Unix socket
  nautilus listen 7000 --record transcripts                   a transcript of each handshake, also of those that fail
  nautilus listen 0.0.0.0:7000 --tls --tls-cert server.pem    the same inside TLS, bound to its connection

The other end of a tunnel is: nautilus connect HOST:7000 --listen 5432
A process of --exec has NAUTILUS_PEER, NAUTILUS_PROTOCOL, NAUTILUS_SUITE and NAUTILUS_ADDRESS in its environment. It gets
SIGTERM, and SIGKILL 2 seconds later, when its peer breaks off, and 5 seconds after its peer has closed both directions.
"""

_CONNECT: Final = "connect to a peer that listens, likewise, or be the entrance of a tunnel to it"
_CONNECT_EXAMPLES: Final = """\
  nautilus connect host:7000                                  ask at the first contact, talk; Ctrl-D ends what we say
  nautilus connect host:7000 --identity node.pem --trust pinned:key:... < file
  tar c folder | nautilus connect host:7000 --trust known-peers:peers
  nautilus connect host:7000 --listen 5432                    clients connect to port 5432 here: a secure tunnel
  nautilus connect host:7000 --listen unix:/tmp/my.sock       or to a Unix socket
  nautilus connect host:7000 --record failed.jsonl            a transcript of the handshake
  nautilus connect host:7000 --retry 5                        again while nobody is there, or the peer is busy
  nautilus connect host:7000 --tls --tls-ca ca.pem            inside TLS

The other end of a tunnel is: nautilus listen HOST:7000 --forward 5432
"""


def add_commands(commands: Any) -> None:
    """Register both commands."""
    listen = add_command(commands, "listen", _LISTEN, _LISTEN_EXAMPLES, _listen)
    connect = add_command(commands, "connect", _CONNECT, _CONNECT_EXAMPLES, _connect)
    listen.add_argument("address", type=address, metavar="[HOST:]PORT")
    kinds = listen.add_mutually_exclusive_group()
    kinds.add_argument("--exec", metavar="COMMAND", help="run this for each peer, as inetd does; no shell reads it")
    kinds.add_argument("--forward", type=service, metavar="[HOST:]PORT", help="tunnel to this service; or unix:PATH")
    connect.add_argument("address", type=peer_address, metavar="[HOST:]PORT")
    connect.add_argument(
        "--listen", type=place, metavar="[HOST:]PORT", help="tunnel what connects here, each on its own; or unix:PATH"
    )
    add_retry(connect)
    add_limits(listen)
    for parser in (listen, connect):
        add_bound(parser)
        add_profile(parser)
        add_recording(parser)
        add_tls(parser, listens=parser is listen)
        add_backend(parser)


def _listen(options: argparse.Namespace) -> int:
    if options.exec is not None:
        return exec_.serve_processes(options)
    if options.forward is not None:
        return tunnel.forward(options)
    return run_until_signal(_talk_as_responder, options, profile_from(options), backend=options.backend)


def _connect(options: argparse.Namespace) -> int:
    check_retry(options)
    if options.listen is not None:
        return tunnel.enter(options)
    host, port = options.address
    profile = profile_from(options, name=f"{host}:{port}")
    return run_until_signal(_talk_as_initiator, options, profile, backend=options.backend)


async def _talk_as_initiator(options: argparse.Namespace, profile: Profile) -> int:
    await _talk(await dial(options, profile), options.output)
    return 0


async def _talk_as_responder(options: argparse.Namespace, profile: Profile) -> int:
    await _talk(await first_peer(options, profile), options.output)
    return 0


async def _talk(stream: SecureStream, output: Output) -> None:
    """Both directions until both are closed, and the peer has taken in what we have said."""
    output.connected(stream)
    notice_dead_peers(stream)
    terminal = _Terminal(stream, output)
    try:
        async with stream:
            try:
                await terminal.talk()
            except BaseException:
                if terminal.has_said_all:
                    reset_at_close(stream)  # no alert can follow our close, and the peer waits for our end
                    await aclose_forcefully(stream)
                raise
            if terminal.has_said_all:
                await _finish(stream)
    except ExceptionGroup as group:
        error = first_of(group)
        raise error.error if isinstance(error, SinkFailed) else error from None


async def _finish(stream: SecureStream) -> None:
    """Both have closed their direction. The peer closes altogether when it has written out what it got; or it breaks off."""
    try:
        await stream.finish()
    except ChannelFailed as failed:
        raise ChannelFailed(
            TransportFailed("the peer broke off at the end: it may not have written out all that it got")
        ) from failed


class _Terminal:
    """Whoever is at standard input and output: a person, a file, a pipe."""

    def __init__(self, stream: SecureStream, output: Output) -> None:
        self._stream = stream
        self._output = output
        self._said_all = Event()

    @property
    def has_said_all(self) -> bool:
        """Whether our direction is closed."""
        return self._said_all.is_set()

    async def talk(self) -> None:
        """Carry both directions."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._speak)
            await carry(self._stream, _StandardOutput())
            if not self._said_all.is_set():
                if somebody_types():
                    self._output.note("the peer has said all; Ctrl-D ends what we say, and the connection")
                await self._until_one_end_is_closed()
                tasks.cancel_scope.cancel()

    async def _speak(self) -> None:
        await carry(_StandardInput(), self._stream)
        self._said_all.set()

    async def _until_one_end_is_closed(self) -> None:
        """The peer may still listen to us; once it does not, whoever sits at a terminal has no more to say.

        Raises:
            ChannelFailed: the input is a file or a pipe, and not at its end: the peer has not heard all of it.
        """
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                await self._stream.wait_closed()
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            await self._said_all.wait()
            tasks.cancel_scope.cancel()
        if not self._said_all.is_set() and not somebody_types():
            raise ChannelFailed(TransportFailed("the peer has closed the connection before our input ended"))


class _StandardInput:
    """A source."""

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        if sys.stdin is None:  # it was closed before we started
            raise EndOfStream
        data = await anyio.to_thread.run_sync(os.read, sys.stdin.fileno(), max_bytes, abandon_on_cancel=True)
        if not data:
            raise EndOfStream
        return data


class _StandardOutput:
    """A sink. Its end is passed on to who reads a pipe, even where our own input goes on."""

    async def send(self, item: bytes, /) -> None:
        if sys.stdout is None:
            raise OSError("standard output is closed")
        await anyio.to_thread.run_sync(partial(_write_all, sys.stdout.fileno()), item, abandon_on_cancel=True)

    async def send_eof(self) -> None:
        if sys.stdout is not None and not sys.stdout.isatty():
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, sys.stdout.fileno())
            os.close(nothing)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
