"""SIGKILL of either process at random moments: `python -m tests.reliability.kills --times N`. What they do is `killed`'s.

After each kill the other process must say within seconds, by a typed error, that its connection is over; and the file of known
peers must be whole, with every peer in it that either process has remembered.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from nautilus_anyio import KnownPeersFile, StoreError

from . import killed
from .section import Section, some

MOMENTS: Final = ("handshake", "writing", "transfer", "idle", "close", "any")
"""In which phase of the victim the kill falls; `any` is at any moment of the first connections."""

PATIENCE: Final = 15.0
"""Seconds until a survivor that says nothing hangs."""

AFTER: Final = {"handshake": 0.01, "writing": 0.003, "transfer": 0.02, "idle": 0.02, "close": 0.004, "any": 0.2}
"""How many seconds after the phase has begun the kill comes at the latest."""

TYPED: Final = {
    "TransportFailed",
    "PeerAborted",
    "ChannelFailed: TransportFailed",
    "ChannelFailed: PeerAborted",
    "no error",
}
"""What a survivor may say; `no error` where the connection had been closed in order before the kill."""

SETTLED: Final = 0.03
"""Seconds in which a connection that waits to be accepted is."""

ROUNDS: Final = 10
"""After as many kills of its clients a listener is replaced, and its file is, too: it is read whole at each connection."""


@dataclass
class Kills:
    """What came of it.

    Attributes:
        kills: how many, by victim and moment.
        outcomes: what the survivors said, by survivor and error.
        seconds: from each kill to the survivor's last word on it.
        known: how many peers were remembered, and were still there after every later kill.
        left: how often a kill came between the making of a new file and its taking the place of the old one.
        problems: what must not be.
    """

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    known: int = 0
    left: int = 0
    problems: list[str] = field(default_factory=list)


class _Child:
    """One of the two processes, and what it has told."""

    def __init__(self, context: Any, function: Any, *arguments: Any) -> None:
        backend, *rest = arguments
        self.told, tell = context.Pipe(duplex=False)
        self.process = context.Process(target=function, args=(backend, tell, *rest))
        self.process.start()
        tell.close()
        self.phases: list[str] = []
        self.known: set[tuple[str, str]] = set()
        self.outcomes: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self.port = 0
        self.begun = 0
        self.ended = 0
        self.last_heard = 0.0
        self.over = False

    def hear(self, seconds: float) -> bool:
        """Take in one message; whether there was one in time."""
        told: Connection = self.told
        if self.over or not told.poll(seconds):
            return False
        try:
            match told.recv():
                case ("phase", phase):
                    self.phases.append(phase)
                case ("known", name, peer_id):
                    self.known.add((name, peer_id))
                case ("outcome", phase, error):
                    self.outcomes.append((phase, error))
                case ("begun",):
                    self.begun += 1
                case ("ended",):
                    self.ended += 1
                case ("port", port):
                    self.port = port
                case ("wrong", error):
                    self.wrong.append(error)
        except EOFError:
            self.over = True
            return False
        self.last_heard = time.monotonic()
        return True

    def hear_until(self, what: Any, seconds: float = PATIENCE) -> bool:
        """Take in messages until `what()` holds; whether it did in time."""
        end = time.monotonic() + seconds
        while not what() and not self.over and (left := end - time.monotonic()) > 0:
            self.hear(left)
        return bool(what())

    def hear_all(self) -> None:
        """Take in what is there; of a process that is dead, all that it has said."""
        while self.hear(0):
            pass

    def kill(self) -> None:
        """SIGKILL, and wait for the process to be gone."""
        self.process.kill()
        self.process.join()

    def close(self) -> None:
        """End it, if it has not, and let go of what belongs to it."""
        self.kill()
        self.hear_all()
        self.told.close()
        self.process.close()


class Killing:
    """Kills one process after the other.

    Args:
        folder: where the files of known peers are, one for each listener.
        seed: of the moments; what happens in them the machine decides.
    """

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.result = Kills()
        self._folder = folder
        self._random = random.Random(seed)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["__main__", killed.__name__])
        self._listener: _Child | None = None
        self._rounds = 0
        self._number = 0
        self._backend = ""
        self._path = folder
        self._known: set[tuple[str, str]] = set()
        self._unfinished: set[str] = set()

    def run(self, times: int, backends: tuple[str, ...] = ("asyncio", "trio")) -> Iterator[int]:
        """Kill so many times, the two loops in turn; gives how many kills there were, after each."""
        try:
            for self._number in range(times):
                self._round(backends[self._number // ROUNDS % len(backends)])
                yield self._number + 1
        finally:
            self._replace_listener()

    def _round(self, backend: str) -> None:
        listener = self._serving(backend)
        first = listener.begun
        client = _Child(self._context, killed.dial, backend, self._path, listener.port, self._number)
        moment = MOMENTS[self._number % len(MOMENTS)]
        # the listener tells of no phase but `writing`; the client's are its own as well
        victim, name = self._random.choice([(client, "client"), (listener, "listener")])
        telling = victim if moment == "writing" else client
        wanted = "handshake" if moment == "any" else moment
        already = len(telling.phases) + self._random.randrange(3) * (5 if telling is client else 1)
        if not telling.hear_until(lambda: wanted in telling.phases[already:]):
            self._problem(f"the {name} never came to {wanted}: {telling.phases} {telling.wrong}")
        time.sleep(self._random.uniform(0, AFTER[moment]))
        listener.hear_all()
        before = len(listener.outcomes)
        struck = time.monotonic()
        victim.kill()
        self.result.kills[name, moment] += 1
        victim.hear_all()
        if victim is client:
            self._listener_survives(listener, first + client.phases.count("handshake"), before)
        else:
            self._client_survives(client)
        survivor = listener if victim is client else client
        if survivor.last_heard > struck:  # the client may not have got as far as the listener
            self.result.seconds.append(survivor.last_heard - struck)
        for child in (client, listener):
            self._known |= child.known
            for error in child.wrong:
                self._problem(error)
            child.wrong.clear()
        client.close()
        if victim is listener:
            self._replace_listener()
        self._check_known()

    def _listener_survives(self, listener: _Child, dialed: int, before: int) -> None:
        """All connections of the dead client must be over; the last of them may not have got as far as the listener."""
        if not listener.hear_until(lambda: listener.begun >= dialed - 1 and listener.begun == listener.ended):
            self._problem(
                f"the listener still serves a client that is dead: {listener.begun} {listener.ended} {dialed}"
            )
        while listener.hear(SETTLED) or listener.begun != listener.ended:
            if time.monotonic() - listener.last_heard > PATIENCE:
                self._problem("the listener still serves a client that is dead")
                break
        for _, error in listener.outcomes[before:]:
            self._outcome("listener", error)

    def _client_survives(self, client: _Child) -> None:
        if not client.hear_until(lambda: client.outcomes):
            self._problem(f"the client has not noticed that its listener is dead: {client.phases[-3:]}")
        client.hear_until(lambda: False, 1.0)  # until it has ended
        for _, error in client.outcomes:
            self._outcome("client", error)

    def _outcome(self, survivor: str, error: str) -> None:
        self.result.outcomes[survivor, error] += 1
        if error not in TYPED:
            self._problem(f"the {survivor} got {error}")

    def _problem(self, text: str) -> None:
        self.result.problems.append(f"kill {self._number}, {self._backend}: {text}")

    def _serving(self, backend: str) -> _Child:
        self._rounds += 1
        if self._listener is not None and (self._backend != backend or self._rounds > ROUNDS):
            self._replace_listener()
        if self._listener is None:
            self._backend, self._rounds, self._known = backend, 1, set()
            self._path = self._folder / f"{self._number}" / "known_peers"
            self._listener = _Child(self._context, killed.listen, backend, self._path)
            if not self._listener.hear_until(lambda: self._listener and self._listener.port):
                raise RuntimeError(f"no listener: {self._listener.wrong}")
        return self._listener

    def _replace_listener(self) -> None:
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.close()
            self._known |= listener.known
            self._check_known()
            self.result.known += len(self._known)
            self._known = set()

    def _check_known(self) -> None:
        try:
            entries = set(KnownPeersFile(self._path).entries())
        except StoreError as error:
            self._problem(f"the file of known peers is damaged: {error}")
            return
        unfinished = {path.name for path in self._path.parent.glob(".*.new")}
        self.result.left += len(unfinished - self._unfinished)
        self._unfinished |= unfinished
        if missing := self._known - entries:
            self._problem(f"{len(missing)} peers that were remembered are gone")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def run(times: int = 500, *, seed: int = 1) -> Section:
    """The section of the report: so many kills."""
    started = time.perf_counter()
    with _folder() as folder:
        killing = Killing(folder, seed)
        for done in killing.run(times):
            if sys.stderr.isatty():
                print(f"\r{done} of {times} kills", end="" if done < times else "\n", file=sys.stderr, flush=True)
    text = _section(killing.result, times, time.perf_counter() - started)
    return Section(text, some(len(killing.result.problems), "problems after a kill"))


MEANING: Final = """\
A listener and a client, each a process, make one connection after the other: handshake with a first contact on both sides,
data, a pause, a close. One of them gets SIGKILL somewhere in there, mostly in a chosen phase; `writing` is while it adds the
other to the known peers. The other one must be told by a typed error, within seconds, and the file must stay whole."""


def _section(result: Kills, times: int, seconds: float) -> str:
    waits = sorted(result.seconds)
    return "\n".join(
        [
            "## Kills",
            "",
            MEANING,
            "",
            f"`python -m tests.reliability.kills --times {times}`",
            "",
            f"{times} times SIGKILL in {seconds:,.0f} s, over both event loops in turn. Problems: {len(result.problems)}.",
            "",
            f"| killed in | {' | '.join(MOMENTS)} |",
            "| --- " * (1 + len(MOMENTS)) + "|",
            *(
                f"| {victim} | {' | '.join(str(result.kills[victim, moment]) for moment in MOMENTS)} |"
                for victim in ("client", "listener")
            ),
            "",
            "| the other one | what it said | times |",
            "| --- | --- | --- |",
            *(f"| {survivor} | {error} | {count} |" for (survivor, error), count in sorted(result.outcomes.items())),
            "",
            "There is no error to tell where the connection had been closed in order before the kill.",
            f"It said so after {waits[len(waits) // 2] * 1000:.0f} ms in the middle and {waits[-1] * 1000:.0f} ms at the most.",
            "",
            f"{result.known:,} peers were remembered meanwhile by either process, in files that both share. After each kill the",
            f"file was whole and had them all; {result.left} times the kill came before a new file had taken its place.",
            "",
            *(f"- {problem}" for problem in result.problems),
        ]
    )


def main() -> int:
    """The long run; exit code 1 where there was a problem."""
    parser = argparse.ArgumentParser(
        description="Kill one of two processes, again and again; prints a section in Markdown."
    )
    parser.add_argument("--times", type=int, default=500, help="how many times (default: 500)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: 1)")
    options = parser.parse_args()
    section = run(options.times, seed=options.seed)
    print(section.text)
    return section.exit_code


if __name__ == "__main__":
    sys.exit(main())
