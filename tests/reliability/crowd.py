"""Measure 1: a crowd of connections at once to one listener, half of them silent or hostile.

    python -m tests.reliability.crowd [--connections N] [--backend asyncio|trio|both]

The listener is a process of its own on loopback, this one has all peers. First the hostile ones connect, then all honest
ones at once; each makes a handshake and waits until the last one has, then all exchange data, then all leave. Before, three
other listeners have N/2 idle sessions, N/2 handshakes in progress, and N/2 silent connections: what their resident memory
grew by, divided by N/2, is the memory for each.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from nautilus_anyio import SecureStream, connect
from nautilus_core import HandshakeError, Identity, Profile, profiles, trust

from .bars import bar
from .listener import HOST, Running, raise_file_limit, start
from .peers import HOSTILE, dial, first_flight, send
from .section import Section, some

CONNECTIONS: Final = 10_000
BACKENDS: Final = ("asyncio", "trio")
_AT_ONCE: Final = 500
"""How many honest peers dial at the same moment; more only wait in the queues of the system, whose limit differs."""

_TIMEOUT: Final = 120.0
_HOSTILE_SOURCE: Final = "127.0.0.2"


@dataclass
class Crowd:
    """What one run of the measure found; times in seconds, memory in bytes."""

    backend: str
    honest: int = 0
    hostile: int = 0
    completed: int = 0
    exchanged: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    peak_files: int = 0
    seconds: float = 0.0
    memory: dict[str, float] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    closed: dict[str, Any] = field(default_factory=dict)
    exit_code: int = -1

    @property
    def left_behind(self) -> tuple[int, int]:
        """Tasks and files that the listener has more, after all peers have gone, than before they came."""
        return self.after["tasks"] - self.before["tasks"], self.after["files"] - self.before["files"]

    @property
    def problems(self) -> tuple[str, ...]:
        """What should not be."""
        return tuple(
            f"{self.backend}: {problem}"
            for problem in (
                *some(self.honest - self.completed, "honest peers did not complete"),
                *some(self.completed - self.exchanged, "honest peers got no data back"),
                *some(max(0, self.left_behind[0]), "tasks left behind"),
                *some(max(0, self.left_behind[1]), "files left behind"),
                *(() if self.exit_code == 0 else (f"the listener ended with {self.exit_code}",)),
            )
        )


def anybody() -> Profile:
    """An honest peer that nobody knows, and that takes whoever answers."""
    return profiles.nautilus(identity=Identity.generate(), trust=trust.anyone())


# -------------------------------------------------------------------------------- memory


@contextmanager
def _closing(sockets: list[socket.socket]) -> Iterator[None]:
    try:
        yield
    finally:
        for peer in sockets:
            peer.close()


def _memory_of_sockets(backend: str, count: int, flight: bytes, state: str) -> float:
    """Bytes for each of `count` connections that send `flight` and wait; `state` is what counts them."""
    with start(backend, handshakes=count + 1, half_open=count + 1, hello_timeout=_TIMEOUT) as listener:
        warm_up(listener)
        before = listener.how()["rss"]
        peers: list[socket.socket] = []
        with _closing(peers):
            for _ in range(count):
                peer = dial(listener.port, _HOSTILE_SOURCE)
                peer.setblocking(True)
                if flight:
                    peer.sendall(flight)
                peers.append(peer)
            after = _until(listener, lambda how: how["counters"][state] == count)
        return float((after["rss"] - before) / count)


async def _memory_of_sessions(backend: str, count: int) -> float:
    with start(backend, handshakes=count + 1, half_open=count + 1) as listener:
        await anyio.to_thread.run_sync(warm_up, listener)
        before = listener.how()["rss"]
        async with anyio.create_task_group() as tasks:
            run = _Honest(listener.port, count, lambda: None)
            tasks.start_soon(run.all)
            await run.all_are_there.wait()
            after = listener.how()["rss"]
            run.go_on.set()
        return float((after - before) / count)


def warm_up(listener: Running) -> None:
    """Have all code run once, so that it is not counted with the connections."""

    async def one() -> None:
        for _ in range(50):
            async with await connect(HOST, listener.port, anybody()) as stream:
                await stream.send(b"warm")
                await stream.receive()

    anyio.run(one)


def _until(listener: Running, done: Callable[[dict[str, Any]], bool], seconds: float = _TIMEOUT) -> dict[str, Any]:
    """Ask until `done`; the last state where that takes too long."""
    end = time.monotonic() + seconds
    while not done(how := listener.how()) and time.monotonic() < end:
        time.sleep(0.1)
    return how


# --------------------------------------------------------------------------- the peers


class _Honest:
    """All honest peers: they meet when each has made its handshake."""

    def __init__(self, port: int, count: int, step: Callable[[], None]) -> None:
        self._port = port
        self._count = count
        self._step = step
        self._dialing = anyio.Semaphore(_AT_ONCE)
        self._here = 0
        self.completed = 0
        self.exchanged = 0
        self.errors: dict[str, int] = {}
        self.all_are_there = anyio.Event()
        self.go_on = anyio.Event()

    async def all(self) -> None:
        """Until each has done its part."""
        profile = anybody()
        async with anyio.create_task_group() as tasks:
            for number in range(self._count):
                tasks.start_soon(self._one, profile, number.to_bytes(4, "big") * 64)

    async def _one(self, profile: Profile, words: bytes) -> None:
        try:
            async with self._dialing:
                stream = await connect(HOST, self._port, profile, timeout=_TIMEOUT)
            self.completed += 1
        except HandshakeError as error:
            name = type(error).__name__
            self.errors[name] = self.errors.get(name, 0) + 1
            return
        finally:
            self._here += 1
            self._step()
            if self._here == self._count:
                self.all_are_there.set()
        await self.go_on.wait()
        await self._talk(stream, words)

    async def _talk(self, stream: SecureStream, words: bytes) -> None:
        async with stream:
            await stream.send(words)
            heard = b""
            while len(heard) < len(words):
                heard += await stream.receive()
            self.exchanged += heard == words
        self._step()


class _Hostile:
    """All hostile peers, of each kind alike many."""

    def __init__(self, port: int, count: int) -> None:
        self._flight = first_flight()
        kinds = list(HOSTILE)
        self.peers = [(kinds[number % len(kinds)], dial(port, _HOSTILE_SOURCE)) for number in range(count)]
        self._sent = 1

    def begin(self) -> None:
        """Each sends what it sends; who goes in mid-hello goes."""
        for kind, peer in self.peers:
            data = HOSTILE[kind](self._flight)
            if data:
                send(peer, data)
            if kind == "gone in mid-hello":
                peer.close()

    async def drip(self) -> None:
        """Who goes byte by byte goes on, until cancelled."""
        while self._sent < len(self._flight):
            await anyio.sleep(0.5)
            for kind, peer in self.peers:
                if kind == "byte by byte":
                    send(peer, self._flight[self._sent : self._sent + 1])
            self._sent += 1

    def close(self) -> None:
        """All that are still there go."""
        for _, peer in self.peers:
            peer.close()


# --------------------------------------------------------------------------- the measure


async def crowd(backend: str, connections: int, step: Callable[[], None] = lambda: None) -> Crowd:
    """One crowd; `step` is called twice for each honest peer."""
    found = Crowd(backend, honest=connections - connections // 2, hostile=connections // 2)
    room = connections + 1
    with start(backend, handshakes=room, half_open=room, hello_timeout=_TIMEOUT, timeout=_TIMEOUT) as listener:
        await anyio.to_thread.run_sync(warm_up, listener)
        found.before = await anyio.to_thread.run_sync(listener.how)
        begun = time.monotonic()
        hostile = _Hostile(listener.port, found.hostile)
        try:
            honest = _Honest(listener.port, found.honest, step)
            await anyio.sleep(0.2)
            hostile.begin()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hostile.drip)
                async with anyio.create_task_group() as peers:
                    peers.start_soon(honest.all)
                    await honest.all_are_there.wait()
                    found.seconds = time.monotonic() - begun
                    found.peak_files = (await anyio.to_thread.run_sync(listener.how))["files"]
                    honest.go_on.set()
                tasks.cancel_scope.cancel()
        finally:
            hostile.close()
        found.completed, found.exchanged, found.errors = honest.completed, honest.exchanged, honest.errors
        found.after = await anyio.to_thread.run_sync(_until_gone, listener, found.before)
        found.closed, found.exit_code = await anyio.to_thread.run_sync(listener.close)
    return found


def _until_gone(listener: Running, before: dict[str, Any]) -> dict[str, Any]:
    return _until(listener, lambda how: how["files"] <= before["files"] and how["tasks"] <= before["tasks"], 10)


def measure(backend: str, connections: int, step: Callable[[], None] = lambda: None) -> Crowd:
    """The crowd, and the memory of each kind of connection."""
    half = connections // 2
    memory = {
        "idle session": anyio.run(_memory_of_sessions, backend, half),
        "handshake in progress": _memory_of_sockets(backend, half, first_flight(), "in_progress"),
        "silent connection": _memory_of_sockets(backend, half, b"", "half_open"),
    }
    found = anyio.run(crowd, backend, connections, step)
    found.memory = memory
    return found


def run(connections: int = CONNECTIONS, backends: Sequence[str] = BACKENDS) -> Section:
    """The section of the report."""
    raise_file_limit(2 * connections)
    found: list[Crowd] = []
    for backend in backends:
        with bar(f"a crowd, {backend}", connections) as step:
            found.append(measure(backend, connections, step))
    return Section(section(found), tuple(problem for one in found for problem in one.problems))


def section(found: Sequence[Crowd]) -> str:
    """It in Markdown."""
    rows: list[tuple[str, Callable[[Crowd], str]]] = [
        ("honest peers", lambda one: f"{one.honest:,}"),
        ("hostile peers", lambda one: f"{one.hostile:,}"),
        (
            "open in the listener when the last honest peer is in",
            lambda one: f"{one.peak_files - one.before['files']:,}",
        ),
        ("honest peers that completed", lambda one: f"{one.completed:,}"),
        ("honest peers whose data came back", lambda one: f"{one.exchanged:,}"),
        ("errors of honest peers", lambda one: ", ".join(f"{n} {e}" for e, n in one.errors.items()) or "none"),
        ("seconds until the last honest peer was in", lambda one: f"{one.seconds:.1f}"),
        ("memory for each idle session (KiB)", lambda one: f"{one.memory['idle session'] / 1024:.1f}"),
        ("for each handshake in progress (KiB)", lambda one: f"{one.memory['handshake in progress'] / 1024:.1f}"),
        ("for each silent connection (KiB)", lambda one: f"{one.memory['silent connection'] / 1024:.1f}"),
        ("tasks and files left behind", lambda one: "{} and {}".format(*one.left_behind)),
        ("exit code, warnings being errors", lambda one: str(one.exit_code)),
    ]
    lines = [
        "## A crowd, half of it hostile",
        "",
        "All come at once, to one listener process on loopback; the peers are another process. Hostile peers, in equal shares:",
        f"{', '.join(HOSTILE)}.",
        "Those that talk nonsense or go are no longer open when the last honest peer is in; the others stay to the end. Honest",
        "ones make the default handshake, wait until the last one is in, and have 256 bytes sent back. The limits are those for",
        "so many. Memory is the growth of the listener's resident set, divided by their number, for connections of",
        "one kind alone; what the system's kernel takes is not in it.",
        "",
        "| | " + " | ".join(one.backend for one in found) + " |",
        "| --- |" + " ---: |" * len(found),
        *(f"| {name} | " + " | ".join(value(one) for one in found) + " |" for name, value in rows),
    ]
    return "\n".join(lines)


def main() -> int:
    """As a command; exit code 1 where something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.crowd", description=__doc__)
    parser.add_argument("--connections", type=int, default=CONNECTIONS, metavar="N")
    parser.add_argument("--backend", choices=[*BACKENDS, "both"], default="both")
    options = parser.parse_args()
    made = run(options.connections, BACKENDS if options.backend == "both" else (options.backend,))
    print(made.text)
    return made.exit_code


if __name__ == "__main__":
    sys.exit(main())
