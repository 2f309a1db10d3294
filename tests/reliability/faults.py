"""Seeded fault schedules over both ends of a handshake and its channel: `python -m tests.reliability.faults --schedules N`.

Each schedule is drawn from its number, which decides the scenario as well. What must hold is `nautilus_core.testing`'s to say.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from nautilus_core import Role, State, StepCompleted
from nautilus_core.testing import KINDS, FaultyEnd, FaultyLink, FaultyPair, Kind, PromiseBroken

from .scenarios import SCENARIOS, Scenario
from .section import Section, some

HARMLESS: Final[tuple[Kind, ...]] = ("split", "merge", "delay")
"""Every fifth schedule has these alone: then both ends must complete, and all must arrive."""

TOGETHER: Final = 500
KEPT: Final = 10
"""How many failures are told in full."""


_DRAWN: Final = tuple(scenario for scenario in SCENARIOS for _ in range(scenario.weight))


@dataclass
class Tally:
    """What came of some schedules.

    Attributes:
        ends: for each scenario, how many handshakes ended in which of `OUTCOMES`.
        errors: what ended the ends that did not close, by `handshake: ERROR` and `channel: ERROR`.
        happened: how many faults of each kind came about.
        closed: how many pairs closed both directions at both ends.
        steps: of the end that made the most calls.
        failures: the seeds of broken promises, and the whole story of each.
    """

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    closed: int = 0
    steps: int = 0
    failures: dict[int, str] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Put another tally's numbers to these."""
        self.ends += other.ends
        self.errors += other.errors
        self.happened += other.happened
        self.closed += other.closed
        self.steps = max(self.steps, other.steps)
        self.failures |= other.failures


OUTCOMES: Final = ("both complete", "the initiator alone", "the responder alone", "neither")


@cache
def reference(scenario: Scenario) -> tuple[FaultyPair, tuple[tuple[int, list[int]], tuple[int, list[int]]]]:
    """The scenario over links without faults, and for each direction how much travels and where its messages begin."""
    pair = scenario.pair().run().verify()
    one, other = pair.links
    return pair, ((one.sent, _marks(pair.initiator)), (other.sent, _marks(pair.responder)))


def _marks(sender: FaultyEnd) -> list[int]:
    """Where each handshake message of an end begins, and where its channel does; framed as its sender counts them."""
    marks = [0]
    for _, _, event in sender.story:
        if isinstance(event, StepCompleted) and event.sender is sender.role:
            marks.append(marks[-1] + event.size)
    return marks


def links_of(seed: int, scenario: Scenario) -> tuple[FaultyLink, FaultyLink]:
    """The links that a seed stands for."""
    directions = reference(scenario)[1]
    kinds = HARMLESS if seed % 5 == 0 else KINDS
    return tuple(  # type: ignore[return-value]
        FaultyLink.seeded(f"{seed} {role.value}", max(length, 1), kinds=kinds, marks=marks)
        for role, (length, marks) in zip(Role, directions, strict=True)
    )


def scenario_of(seed: int) -> Scenario:
    """The scenario that a seed stands for."""
    return _DRAWN[seed % len(_DRAWN)]


def run_one(seed: int) -> FaultyPair:
    """The pair that a seed stands for, run and verified; raises `PromiseBroken`."""
    scenario = scenario_of(seed)
    return scenario.pair(links_of(seed, scenario)).run().verify(reference(scenario)[0])


def run_some(seeds: Iterable[int]) -> Tally:
    """All of these seeds."""
    tally = Tally()
    for seed in seeds:
        scenario = scenario_of(seed)
        try:
            pair = run_one(seed)
        except PromiseBroken as broken:
            tally.failures[seed] = f"{scenario.name}: {broken}"
            continue
        one, other = (end.handshake.state is State.COMPLETED for end in pair.ends)
        tally.ends[scenario.name, OUTCOMES[2 * (not one) + (not other)]] += 1
        tally.errors.update(end.outcome for end in pair.ends if end.error is not None)
        tally.happened.update(fault.kind for link in pair.links for fault in link.happened)
        tally.closed += all(end.outcome == "closed" for end in pair.ends)
        tally.steps = max(tally.steps, pair.steps)
    return tally


def run(schedules: int = 200_000, *, processes: int = 2, first: int = 0) -> Section:
    """The section of the report: that many schedules, from the seed `first` on."""
    started = time.perf_counter()
    tally = Tally()
    with _progress(schedules) as advance:
        for part, size in _parts(range(first, first + schedules), processes):
            tally.add(part)
            advance(size)
    text = _section(tally, schedules, first, time.perf_counter() - started, processes)
    return Section(text, some(len(tally.failures), "broken promises"))


def _parts(seeds: range, processes: int) -> Iterator[tuple[Tally, int]]:
    batches = [seeds[start : start + TOGETHER] for start in range(0, len(seeds), TOGETHER)]
    if processes == 1:
        yield from ((run_some(batch), len(batch)) for batch in batches)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for batch, tally in zip(batches, pool.map(run_some, batches), strict=True):
            yield tally, len(batch)


def _progress(total: int) -> Any:
    """A bar at a terminal; gives a function that takes how many more are done."""
    if not sys.stderr.isatty():
        return nullcontext(lambda more: None)
    from rich.console import Console  # noqa: PLC0415  only at a terminal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    class Bar(Progress):
        def __enter__(self) -> Any:
            super().__enter__()
            task = self.add_task("schedules", total=total)
            return lambda more: self.advance(task, more)

    return Bar(
        "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True)
    )


MEANING: Final = """\
Both ends of a handshake and then of its channel run in memory, over links that split, merge, delay, drop, duplicate, reorder,
corrupt, silence or close what travels, at any byte, as a seed says; time is simulated. Always:

- both ends end, closed or by a `HandshakeError`: by their deadline, or where a channel is silent by their application's;
- two sessions agree on everything, and on what the same two ends agree on without faults;
- whoever received the last message of the handshake has a peer with a session: its sender alone can be the only one with one;
- nobody hears what the peer did not say, and a close comes after all that it said;
- where nothing was damaged (every fifth schedule damages nothing) both complete, and all arrives.

A broken promise is printed with its seed, the faults and what both ends did. How profiles of one's own are tested like this:
[guide.md](guide.md#in-tests)."""


def _section(tally: Tally, schedules: int, first: int, seconds: float, processes: int) -> str:
    kinds = ", ".join(f"{kind} {tally.happened[kind]:,}" for kind in KINDS)
    totals = [sum(tally.ends[scenario.name, outcome] for scenario in SCENARIOS) for outcome in OUTCOMES]
    faults = sum(tally.happened.values())
    failed = sorted(tally.failures.items())
    return "\n".join(
        [
            "## Faults",
            "",
            MEANING,
            "",
            f"`python -m tests.reliability.faults --schedules {schedules} --first {first}`",
            "",
            f"{schedules:,} schedules in {seconds:,.0f} s on {processes} processes, with {faults:,} faults:",
            f"{kinds}.",
            "",
            f"| handshake | schedules | {' | '.join(OUTCOMES)} |",
            "| --- " * (2 + len(OUTCOMES)) + "|",
            *(
                _row(scenario.name, [tally.ends[scenario.name, outcome] for outcome in OUTCOMES])
                for scenario in SCENARIOS
            ),
            _row("all", totals),
            "",
            f"The {totals[0]:,} pairs that completed agreed on everything; {tally.closed:,} closed in order.",
            f"No end made more than {tally.steps} calls. Broken promises: {len(failed)}.",
            "",
            "| what ended an end that did not close | ends |",
            "| --- | --- |",
            *(f"| {error} | {count:,} |" for error, count in tally.errors.most_common()),
            "",
            *(f"Seed {seed}:\n\n```text\n{story}\n```\n" for seed, story in failed[:KEPT]),
        ]
    )


def _row(name: str, counts: list[int]) -> str:
    return f"| {name} | {sum(counts):,} | {' | '.join(f'{count:,}' for count in counts)} |"


def main() -> int:
    """The long run; exit code 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description="Handshakes over faulty links; prints a section in Markdown.")
    parser.add_argument("--schedules", type=int, default=200_000, help="how many (default: 200000)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed (default: 0)")
    parser.add_argument("--processes", type=int, default=2, help="default: 2")
    options = parser.parse_args()
    section = run(options.schedules, processes=options.processes, first=options.first)
    print(section.text)
    return section.exit_code


if __name__ == "__main__":
    sys.exit(main())
