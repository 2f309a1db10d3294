"""What the commands for many connections share: places to listen at and to dial, a bound, the signals that end them.

What the connections carry is not here.
"""

from __future__ import annotations

import argparse
import errno
import logging
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final

import anyio
from anyio import BrokenResourceError, aclose_forcefully
from anyio.abc import Listener, SocketAttribute, SocketListener, SocketStream, TaskGroup

from ..errors import in_words
from ..sockets import OUT_OF_FILES, notice_dead_peers, passing_errno
from .asking import end_line
from .options import address
from .output import Output
from .piping import why

_MOST_CONNECTIONS: Final = 1000
_FILES_EACH: Final = 4
_OTHER_FILES: Final = 64
_ACCEPT_PAUSE: Final = 0.1
_CLOSE_PAUSE: Final = 0.01
_TELL_EACH: Final = 10.0
"""Seconds between two notes that a connection could not be accepted: it is tried many times a second."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something listens on this side: a host and a TCP port, or the path of a Unix socket."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def dial(self, timeout: float) -> SocketStream:
        """Connect to what listens there, within `timeout` seconds; `ConnectionError` when that fails."""
        try:
            with anyio.fail_after(timeout):
                if self.path:
                    return await anyio.connect_unix(self.path)
                return await anyio.connect_tcp(self.host, self.port)
        except TimeoutError:
            raise ConnectionError(f"no connection to the service at {self} in {round(timeout, 2):g} seconds") from None
        except (OSError, BrokenResourceError) as error:
            raise ConnectionError(f"no connection to {why(error, f'the service at {self}')}") from None

    async def listen(self) -> list[SocketListener]:
        """Listen there: the sockets, one for each address of the host. `OSError` says what is in the way."""
        try:
            if not self.path:
                listener = await anyio.create_tcp_listener(local_host=self.host, local_port=self.port)
                return [one for one in listener.listeners if isinstance(one, SocketListener)]
            with suppress(OSError):
                await aclose_forcefully(await anyio.connect_unix(self.path))
                raise ValueError(f"somebody listens at {self} already")
            return [await anyio.create_unix_listener(self.path, mode=0o600)]
        except OSError as error:
            hint = "; choose another port, or end what listens there" if error.errno == errno.EADDRINUSE else ""
            raise OSError(error.errno, f"cannot listen there: {in_words(error)}{hint}", str(self)) from error


def place(text: str) -> Place:
    """`[HOST:]PORT` or `unix:PATH`."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
            raise argparse.ArgumentTypeError("unix: needs a path, as in unix:/run/service.sock")
        return Place("", 0, path)
    return Place(*address(text))


def service(text: str) -> Place:
    """The same, where something else listens: its port is known."""
    where = place(text)
    if not where.path and not where.port:
        raise argparse.ArgumentTypeError("no service listens on port 0: expected its port, 1 to 65535")
    return where


def add_bound(parser: argparse.ArgumentParser) -> None:
    """`--max-connections`."""
    what = f"how many at once (default: {_MOST_CONNECTIONS}); the next ones wait"
    parser.add_argument("--max-connections", type=int, metavar="N", help=what)


def bound_from(options: argparse.Namespace) -> int:
    """How many connections at once; makes sure that the process may open as many files as they take."""
    wanted: int | None = getattr(options, "max_connections", None)
    if wanted is not None and wanted < 1:
        raise ValueError("--max-connections is at least 1")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_CONNECTIONS if wanted is None else wanted
    if hard != resource.RLIM_INFINITY and most * _FILES_EACH + _OTHER_FILES > hard:
        if wanted is not None:
            files = most * _FILES_EACH + _OTHER_FILES
            raise ValueError(f"--max-connections {most} takes {files} open files, the limit is {hard}: see ulimit -n")
        most = max(1, (hard - _OTHER_FILES) // _FILES_EACH)
    files = most * _FILES_EACH + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return most


class BoundedListener(Listener[SocketStream]):
    """A listener that hands out so many connections at once; who comes then waits, in the system's queue.

    Args:
        listeners: the sockets; they are closed with this.
        most: how many connections at once, from accepting to the end of their handlers.
        output: where it says that the bound is reached.
        make_room: called when there are no files left; gives some connections up, and says whether it could.
    """

    def __init__(
        self, listeners: list[SocketListener], most: int, output: Output, make_room: Callable[[], bool] = lambda: False
    ) -> None:
        self._listeners = listeners
        self._most = most
        self._output = output
        self._make_room = make_room
        self._free = anyio.Semaphore(most)
        self._told = False
        self._told_failure = -inf

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the first socket."""
        return self._listeners[0].extra_attributes

    async def serve(self, handler: Callable[[SocketStream], Any], task_group: TaskGroup | None = None) -> None:
        """Accept for ever; see `anyio.abc.Listener`."""
        async with anyio.create_task_group() as tasks:
            for listener in self._listeners:
                tasks.start_soon(self._accept, listener, handler, task_group or tasks)

    async def _accept(self, listener: SocketListener, handler: Callable[[SocketStream], Any], tasks: TaskGroup) -> None:
        while True:
            try:
                stream = await listener.accept()
            except (OSError, BrokenResourceError) as error:  # it is gone already, or there is no file left for it
                self._tell(error)
                made_room = passing_errno(error) in OUT_OF_FILES and self._make_room()
                await anyio.sleep(_CLOSE_PAUSE if made_room else _ACCEPT_PAUSE)  # until connections have ended
                continue
            try:
                await self._take_place(stream)
            except BaseException:
                await aclose_forcefully(stream)
                raise
            tasks.start_soon(self._handle, handler, stream)

    def _tell(self, error: Exception) -> None:
        now = anyio.current_time()
        if now - self._told_failure >= _TELL_EACH:
            self._told_failure = now
            self._output.note(f"a connection could not be accepted: {why(error, 'accepting')}")

    async def _take_place(self, stream: SocketStream) -> None:
        notice_dead_peers(stream)
        if not self._free.value and not self._told:
            self._told = True
            self._output.note(f"{self._most} connections at once: the next ones wait (see --max-connections)")
        await self._free.acquire()

    async def _handle(self, handler: Callable[[SocketStream], Any], stream: SocketStream) -> None:
        try:
            await handler(stream)
        finally:
            self._free.release()

    async def aclose(self) -> None:
        """Stop listening."""
        for listener in self._listeners:
            await listener.aclose()


@asynccontextmanager
async def listening(
    where: Place, most: int, output: Output, make_room: Callable[[], bool] = lambda: False
) -> AsyncIterator[tuple[BoundedListener, Place]]:
    """Listen at `where`, for `most` connections at once; the others are those of `BoundedListener`.

    Yields:
        The listener, and `where` with the port that was found, should it have asked for any.
    """
    sockets = await where.listen()
    listener = BoundedListener(sockets, most, output, make_room)
    if not where.path:
        where = Place(where.host, sockets[0].extra(SocketAttribute.local_port))
    try:
        async with listener:
            yield listener, where
    finally:
        if where.path:
            Path(where.path).unlink(missing_ok=True)


def quieten_log() -> None:
    """The command notes each failure itself: the log records about it are for programs that ask for them."""
    logging.getLogger("nautilus_anyio").addHandler(logging.NullHandler())


def run_until_signal(function: Callable[..., Awaitable[int]], *arguments: object, backend: str) -> int:
    """Run `function` in an event loop; returns its exit code.

    Args:
        function: the command; cancelled at SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal is gone; not under `nohup`), so
            that it can end what it has started.
        arguments: for `function`.
        backend: "asyncio" or "trio".

    Raises:
        KeyboardInterrupt: a signal ended it.
    """
    code = anyio.run(_until_signal, function, arguments, backend=backend)
    if code is None:
        raise KeyboardInterrupt
    return code


_ending: Final[ContextVar[list[Callable[[], Awaitable[None]]]]] = ContextVar("ending")
"""How the command that runs would like to end."""


@contextmanager
def at_signal(end: Callable[[], Awaitable[None]] | None) -> Iterator[None]:
    """Within the block, the first signal calls `end`; the command is cancelled when that returns, or at the next signal."""
    if end is None:
        yield
        return
    _ending.get().append(end)
    try:
        yield
    finally:
        _ending.get().remove(end)


async def _until_signal(function: Callable[..., Awaitable[int]], arguments: tuple[object, ...]) -> int | None:
    code: int | None = None
    signalled = False
    ways: list[Callable[[], Awaitable[None]]] = []
    _ending.set(ways)
    ending = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ending.append(signal.SIGHUP)
    with anyio.open_signal_receiver(*ending) as signals:
        async with anyio.create_task_group() as tasks:

            async def end() -> None:
                for way in ways.copy():
                    await way()
                tasks.cancel_scope.cancel()

            async def watch() -> None:
                nonlocal signalled
                async for number in signals:
                    if number == signal.SIGINT:
                        end_line()
                    if signalled or not ways:
                        tasks.cancel_scope.cancel()
                    else:
                        tasks.start_soon(end)
                    signalled = True

            tasks.start_soon(watch)
            code = await function(*arguments)
            tasks.cancel_scope.cancel()
    return None if signalled else code
