"""Measure 4: a flood of half-open handshakes, and whether honest clients complete meanwhile; what refusing one costs.

    python -m tests.reliability.flood [--rate N] [--seconds S] [--backend asyncio|trio|both]

Three processes on loopback: the listener, with the limits that it has by default; the flood; and this one, whose honest
clients come one after the other at a steady pace, whether or not those before them are done. A client that is told to come
again does so when it was told to, and its time goes on.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from nautilus_anyio import connect
from nautilus_core import HandshakeError, PeerAborted, Profile

from .bars import bar
from .crowd import BACKENDS, anybody, warm_up
from .listener import HOST, Running, start
from .peers import first_flight
from .section import Section, some

RATE: Final = 2000.0
SECONDS: Final = 20.0
PACE: Final = 10.0
"""Honest clients a second."""

IN_TIME: Final = 2.0
_PATIENCE: Final = 15.0
_AGAIN: Final = 0.2
_COSTS: Final = 1000
"""How many connections of each kind the costs are taken from."""

SOURCES: Final[dict[str, tuple[str, ...]]] = {
    "another address": ("127.0.0.2",),
    "250 other addresses": tuple(f"127.0.1.{number}" for number in range(1, 251)),
    "the clients' own address": (HOST,),
}
_INDISTINGUISHABLE: Final = ("a hello", "the clients' own address")
VARIANTS: Final[tuple[tuple[str, str], ...]] = (
    ("nothing", "another address"),
    ("nothing", "the clients' own address"),
    ("a hello", "another address"),
    ("a hello", "250 other addresses"),
    _INDISTINGUISHABLE,
)
"""What the flood sends, and where from."""


@dataclass
class Flood:
    """What one flood did to honest clients; times in seconds."""

    backend: str
    sends: str
    source: str
    rate: float = 0.0
    times: list[float] = field(default_factory=list)
    refusals: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    counters: dict[str, Any] = field(default_factory=dict)
    busy: float = 0.0
    """The share of a core that the listener took."""

    @property
    def clients(self) -> int:
        """All of them."""
        return len(self.times) + sum(self.errors.values())

    @property
    def in_time(self) -> int:
        """Those that completed within two seconds."""
        return sum(seconds <= IN_TIME for seconds in self.times)

    @property
    def problems(self) -> tuple[str, ...]:
        """What should not be; of clients that nothing tells from the flood, nothing is promised."""
        if (self.sends, self.source) == _INDISTINGUISHABLE:
            return ()
        late = some(self.clients - self.in_time, f"honest clients not within {IN_TIME:g} s")
        return tuple(f"{self.backend}, {self.sends} from {self.source}: {problem}" for problem in late)


async def flood(
    backend: str,
    sends: str,
    source: str,
    *,
    rate: float = RATE,
    seconds: float = SECONDS,
    pace: float = PACE,
    step: Callable[[], None] = lambda: None,
    **limits: Any,
) -> Flood:
    """One flood; `step` is called for each honest client."""
    found = Flood(backend, sends, source)
    words = first_flight() if sends == "a hello" else b""
    command = [sys.executable, "-m", "tests.reliability.attack"]
    profile = anybody()
    with start(backend, **limits) as listener:
        await anyio.to_thread.run_sync(warm_up, listener)
        before, begun = listener.how(), time.monotonic()
        arguments = [str(listener.port), str(rate), str(seconds), words.hex(), *SOURCES[source]]
        with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as attack:
            await anyio.to_thread.run_sync(attack.stdout.readline if attack.stdout else str)  # it begins
            await anyio.sleep(0.1 * seconds)
            first = anyio.current_time()
            async with anyio.create_task_group() as clients:
                for number in range(int(seconds * 0.85 * pace)):
                    await anyio.sleep_until(first + number / pace)
                    clients.start_soon(_client, listener.port, profile, found, step)
            after, ended = await anyio.to_thread.run_sync(listener.how), time.monotonic()
            said, _ = await anyio.to_thread.run_sync(attack.communicate)
        done = json.loads(said)
        found.rate = done["made"] / done["seconds"]
        found.counters = after["counters"]
        found.busy = (after["cpu"] - before["cpu"]) / (ended - begun)
    return found


async def _client(port: int, profile: Profile, found: Flood, step: Callable[[], None]) -> None:
    """One honest client, from the wish to connect until something has come back."""
    begun = anyio.current_time()
    try:
        with anyio.fail_after(_PATIENCE):
            while not await _attempt(port, profile, found):
                pass
        found.times.append(anyio.current_time() - begun)
    except (HandshakeError, TimeoutError, anyio.BrokenResourceError) as error:
        name = type(error).__name__
        found.errors[name] = found.errors.get(name, 0) + 1
    step()


async def _attempt(port: int, profile: Profile, found: Flood) -> bool:
    """Whether it was let in."""
    try:
        async with await connect(HOST, port, profile, timeout=_PATIENCE) as stream:
            await stream.send(b"here")
            return await stream.receive() == b"here"
    except HandshakeError as error:
        if not error.retryable:
            raise
        found.refusals += 1
        told = error.retry_after if isinstance(error, PeerAborted) else None
    await anyio.sleep(_AGAIN if told is None else told)
    return False


# --------------------------------------------------------------------------------- costs


def costs(backend: str, count: int = _COSTS) -> tuple[float, float]:
    """Processor time of the listener, in seconds: for one connection that is refused, for one whole handshake."""
    flight = first_flight()
    with start(backend, handshakes=1, patience=60) as listener:
        warm_up(listener)
        with socket.create_connection((HOST, listener.port)) as first:
            first.sendall(flight)
            first.recv(65_536)  # it has the only place
            refused = _processor_time(listener, count, lambda: _refused(listener.port, flight))
    with start(backend) as listener:
        warm_up(listener)
        before = listener.how()["cpu"]
        anyio.run(_handshakes, listener.port, count)
        complete = (listener.how()["cpu"] - before) / count
    return refused, complete


def _processor_time(listener: Running, count: int, one: Callable[[], None]) -> float:
    before = listener.how()["cpu"]
    for _ in range(count):
        one()
    return float((listener.how()["cpu"] - before) / count)


def _refused(port: int, flight: bytes) -> None:
    with socket.create_connection((HOST, port)) as peer:
        peer.sendall(flight)
        if not peer.recv(65_536).startswith(b"\xe2"):
            raise RuntimeError("not refused")


async def _handshakes(port: int, count: int) -> None:
    profile = anybody()
    for _ in range(count):
        async with await connect(HOST, port, profile):
            pass


# ------------------------------------------------------------------------------ the report


def run(rate: float = RATE, seconds: float = SECONDS, backends: Sequence[str] = BACKENDS) -> Section:
    """The section of the report."""
    found: list[Flood] = []
    prices: dict[str, tuple[float, float]] = {}
    for backend in backends:
        for sends, source in VARIANTS:
            what = f"a flood of {sends}, {backend}"
            with bar(what, int(seconds * 0.85 * PACE)) as step:

                async def one(sends: str = sends, source: str = source, step: Callable[[], None] = step) -> Flood:
                    return await flood(backend, sends, source, rate=rate, seconds=seconds, step=step)  # noqa: B023

                found.append(anyio.run(one))
        prices[backend] = costs(backend)
    return Section(section(found, prices), tuple(problem for one in found for problem in one.problems))


_COLUMNS: Final = (
    "it sends",
    "it comes from",
    "connections a second",
    "clients",
    "within 2 s",
    "median (s)",
    "99 % (s)",
    "longest (s)",
    "refused meanwhile",
    "errors",
    "of a core, by the listener",
)


def section(found: Sequence[Flood], prices: dict[str, tuple[float, float]]) -> str:
    """It in Markdown."""
    lines = [
        "## A flood of half-open handshakes",
        "",
        "Connections that send nothing, or the whole of a first flight, and then only wait, to one listener process with the",
        "limits that it has by default. Honest clients come at a steady pace from 127.0.0.1; a client's time is from its wish to",
        "connect until data has come back, all refusals and waits in between included.",
        "",
        f"| | {' | '.join(_COLUMNS)} |",
        "| --- | --- | --- |" + " ---: |" * (len(_COLUMNS) - 2),
        *map(_row, found),
        "",
        "Nothing tells honest clients from a flood that comes from their own address and goes as far as they do.",
        "",
        "What one connection costs the listener, in processor time:",
        "",
        "| | refused (µs) | a whole handshake (µs) | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for backend, (refused, complete) in prices.items():
        lines.append(f"| {backend} | {refused * 1e6:.0f} | {complete * 1e6:.0f} | {refused / complete:.2f} |")
    return "\n".join(lines)


def _row(one: Flood) -> str:
    times = sorted(one.times) or [float("nan")]
    cells = [
        one.backend,
        one.sends,
        one.source,
        f"{one.rate:,.0f}",
        str(one.clients),
        str(one.in_time),
        f"{statistics.median(times):.3f}",
        f"{times[min(len(times) - 1, int(len(times) * 0.99))]:.3f}",
        f"{times[-1]:.3f}",
        str(one.refusals),
        ", ".join(f"{number} {name}" for name, number in one.errors.items()) or "none",
        f"{one.busy:.0%}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """As a command; exit code 1 where something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.flood", description=__doc__)
    parser.add_argument("--rate", type=float, default=RATE, metavar="N")
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S")
    parser.add_argument("--backend", choices=[*BACKENDS, "both"], default="both")
    options = parser.parse_args()
    made = run(options.rate, options.seconds, BACKENDS if options.backend == "both" else (options.backend,))
    print(made.text)
    return made.exit_code


if __name__ == "__main__":
    sys.exit(main())
