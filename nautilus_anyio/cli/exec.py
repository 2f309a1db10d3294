"""`nautilus listen --exec`: a process of its own for each peer, as inetd does. Bytes are carried by `piping`."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
from collections.abc import Sequence
from subprocess import PIPE
from typing import Final

import anyio
from anyio import CancelScope, Event
from anyio.abc import ByteReceiveStream, ByteSendStream, Process, SocketAttribute

from nautilus_core import Profile

from ..stream import SecureStream
from .gate import serve_peers
from .options import profile_from
from .output import Output
from .piping import BROKEN, CHUNK, LINGER, SinkFailed, carry, copy, discard, first_of, why
from .serving import Place, run_until_signal

_EXIT_SOON: Final = 0.5
_TERMINATE_GRACE: Final = 2.0
_SILENCE: Final = 0.25
_POLL: Final = 0.05


class ProcessFailed(Exception):
    """The process was ended by a signal: what it has said may not be all."""


def serve_processes(options: argparse.Namespace) -> int:
    """`nautilus listen ADDRESS --exec COMMAND`."""
    words = words_of(options.exec)
    return run_until_signal(_serve, options, profile_from(options), words, backend=options.backend)


def words_of(command: str) -> list[str]:
    """The words of a command line, quoted as for a shell that knows no more than that; the first names a program."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"--exec {command!r}: {error}") from error
    if not words:
        raise ValueError("--exec needs a command, as in --exec 'tee log'")
    if shutil.which(words[0]) is None:
        raise ValueError(f"--exec: no program {words[0]!r}; for a shell's own words say --exec \"sh -c '...'\"")
    return words


async def _serve(options: argparse.Namespace, profile: Profile, words: list[str]) -> int:
    output: Output = options.output

    async def handle(secure: SecureStream) -> None:
        peer = secure.session.peer.peer_id
        try:
            await _Conversation(secure, words, output).run()
        except (ProcessFailed, *BROKEN) as error:
            raise ConnectionError(f"{peer}: {why(error, words[0])}") from error

    await serve_peers(options, profile, handle, f"for {words[0]}")
    return 0


class _Peer:
    """What a peer says, as a source that knows when it last said something."""

    def __init__(self, secure: SecureStream) -> None:
        self._secure = secure
        self.heard_at = anyio.current_time()

    async def receive(self, max_bytes: int = CHUNK) -> bytes:
        data = await self._secure.receive(max_bytes)
        self.heard_at = anyio.current_time()
        return data


class _Input:
    """The standard input of a process, as a sink."""

    def __init__(self, stream: ByteSendStream) -> None:
        self._stream = stream

    async def send(self, item: bytes, /) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.aclose()


class _Conversation:
    """One peer and its process."""

    def __init__(self, secure: SecureStream, words: Sequence[str], output: Output) -> None:
        self._secure = secure
        self._words = words
        self._output = output
        self._peer = _Peer(secure)
        self._peer_is_done = Event()
        self._finished = False

    async def run(self) -> None:
        """From the start of the process to its end, which comes here at the latest."""
        process = await anyio.open_process(
            self._words,
            stdin=PIPE,
            stdout=PIPE,
            stderr=None,
            env=environment(self._secure),
            start_new_session=True,  # what the process starts itself is reached through its group
        )
        try:
            await self._talk(process)
        except ExceptionGroup as group:
            raise first_of(group) from None
        finally:
            with CancelScope(shield=True):
                if not self._finished:
                    await _end(process)
                await _let_go(process)
            self._note(process)

    async def _talk(self, process: Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ProcessFailed("it has no pipes")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._carry_input, _Input(process.stdin), tasks.cancel_scope)
            await self._carry_output(process, process.stdout)
            await process.wait()
            self._finished = True
            with anyio.move_on_after(LINGER):
                await self._peer_falls_silent()
            tasks.cancel_scope.cancel()

    async def _peer_falls_silent(self) -> None:
        """A socket that is closed while data comes in loses what it still sends."""
        while anyio.current_time() - self._peer.heard_at < _SILENCE:
            with anyio.move_on_after(_SILENCE):
                await self._peer_is_done.wait()
                return

    async def _carry_input(self, standard_input: _Input, conversation: CancelScope) -> None:
        """What the peer says; a peer that breaks off ends the conversation at once, one that has closed a while later."""
        try:
            await carry(self._peer, standard_input)
        except SinkFailed:  # a process need not read all of its input
            await discard(self._peer)
        self._peer_is_done.set()
        await self._secure.wait_closed()
        await anyio.sleep(LINGER)
        conversation.cancel()

    async def _carry_output(self, process: Process, standard_output: ByteReceiveStream) -> None:
        """What the process says; its end is told to the peer once it is clear that no signal cut it short."""
        try:
            await copy(standard_output, self._secure)
            with anyio.move_on_after(_EXIT_SOON):
                await process.wait()
            if process.returncode is not None and process.returncode < 0:
                raise ProcessFailed(f"{self._words[0]} {ending(process.returncode)}")
            await self._secure.send_eof()
        except SinkFailed:  # nobody hears it: it may finish what it does with its input
            await discard(standard_output)

    def _note(self, process: Process) -> None:
        peer = self._secure.session.peer.peer_id
        status = process.returncode
        how = "cannot be ended, and is left to itself," if status is None else ending(status)
        self._output.note(f"{self._words[0]} {how}, for {peer}", peer=peer, command=self._words[0], status=status)


def environment(secure: SecureStream) -> dict[str, str]:
    """Our environment, and who the peer is: `NAUTILUS_PEER`, `NAUTILUS_PROTOCOL`, `NAUTILUS_SUITE`, `NAUTILUS_ADDRESS`."""
    session = secure.session
    address = secure.extra(SocketAttribute.remote_address)
    variables = {
        "NAUTILUS_PEER": session.peer.peer_id,
        "NAUTILUS_PROTOCOL": session.protocol or "",
        "NAUTILUS_SUITE": session.suite,
        "NAUTILUS_ADDRESS": address if isinstance(address, str) else str(Place(*address)),
    }
    return {**os.environ, **variables}


def ending(status: int) -> str:
    """How a process ended, in words; the status is negative for a signal."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


async def _end(process: Process) -> None:
    """See to it that a process and those of its group are gone: ask, then insist.

    One that has become another user's, as a set-uid program does, cannot be signalled: it is not waited for without end.
    """
    if _signal_group(process, signal.SIGTERM):
        with anyio.move_on_after(_TERMINATE_GRACE):
            await process.wait()
            while _signal_group(process, 0):
                await anyio.sleep(_POLL)
        _signal_group(process, signal.SIGKILL)
    with anyio.move_on_after(_TERMINATE_GRACE):
        await process.wait()


async def _let_go(process: Process) -> None:
    """Close the pipes to a process, which may still run: `Process.aclose` would wait for it."""
    if process.returncode is not None:
        await process.aclose()
        return
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            await pipe.aclose()


def _signal_group(process: Process, number: int) -> bool:
    """Signal all processes of the group; whether there are any."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
