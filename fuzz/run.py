"""Runs the fuzz harnesses: `python fuzz/run.py [--seconds N] [--jobs N] [--report] [HARNESS ...]`.

The seconds are of processor time, for all harnesses together. With atheris each runs under coverage-guided libFuzzer in a
process of its own. Where atheris cannot be imported (it has no wheels for every Python) the seeds are mutated instead,
without coverage, by the same pseudo-random choices in every run. An input that is a finding is kept in fuzz/findings, and
the exit code is 1.

    python fuzz/run.py --replay FILE HARNESS        runs one input
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

HARNESSES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "engine": 4,
        "messages": 2,
        "frames": 1,
        "noise": 2,
        "credentials": 2,
        "documents": 1,
        "transcripts": 3,
        "files": 1,
        "names": 1,
        "tls": 1,
    }
)
"""Each harness, with its share of the time; the module of that name has `one_input`, `seeds`, and perhaps `mutate`."""
SEEDS: Final = ROOT / "fuzz" / "seeds"
FINDINGS: Final = ROOT / "fuzz" / "findings"
MAX_LENGTH: Final = 8192
_INSTRUMENTED: Final = ["nautilus_core", "nautilus_anyio"]
_SHORTEST: Final = 3.0
"""Seconds of a run that are worth its start."""


@dataclass(slots=True)
class Result:
    """What came of one harness; `coverage` and `features` are libFuzzer's, and 0 without it."""

    harness: str
    executions: int = 0
    seconds: float = 0.0
    coverage: int = 0
    features: int = 0
    corpus: int = 0
    findings: int = 0
    output: str = ""


def load(harness: str) -> ModuleType:
    """The module of a harness."""
    return importlib.import_module(f"fuzz.{harness}")


def load_input(harness: str) -> Callable[[bytes], None]:
    """The function of a harness that takes one input, for which a slow one is a finding."""
    checks: Any = importlib.import_module("fuzz.checks")
    timed: Callable[[bytes], None] = checks.timed(load(harness).one_input)
    return timed


def load_seeds(harness: str) -> list[bytes]:
    """The seeds of a harness, in order of their names."""
    return [path.read_bytes() for path in sorted((SEEDS / harness).iterdir())]


# ------------------------------------------------------------------------------------------------ in a child


def libfuzzer(harness: str, arguments: list[str]) -> None:
    """Become libFuzzer. Does not return."""
    import atheris  # noqa: PLC0415

    with atheris.instrument_imports(include=_INSTRUMENTED):
        one_input = load_input(harness)
    change = getattr(load(harness), "mutate", None)

    def mutator(data: bytes, most: int, seed: int) -> bytes:
        choose = random.Random(seed)
        changed = change(data, choose) if change is not None and choose.random() < 0.4 else None
        return bytes(atheris.Mutate(data, most) if changed is None else changed[:most])

    atheris.Setup([sys.argv[0], *arguments], one_input, **({} if change is None else {"custom_mutator": mutator}))
    atheris.Fuzz()


def mutate(choose: random.Random, seeds: list[bytes], change: Any = None) -> bytes:
    """A seed with a few changes; `change` is the harness's own, where it has one."""
    data = bytearray(choose.choice(seeds))
    if change is not None and choose.random() < 0.5:
        return bytes(change(bytes(data), choose) or data)[:MAX_LENGTH]
    for _ in range(choose.choice((1, 1, 2, 3, 8))):
        place = choose.randrange(len(data) + 1)
        match choose.randrange(7):
            case 0 if data:
                data[place % len(data)] ^= 1 << choose.randrange(8)
            case 1 if data:
                data[place % len(data)] = choose.choice((0, 1, 16, 17, 127, 128, 255, choose.randrange(256)))
            case 2:
                data[place:place] = choose.randbytes(choose.choice((1, 2, 4, 30)))
            case 3:
                del data[place : place + choose.choice((1, 2, 4, 30))]
            case 4:
                data[place:place] = data[place : place + choose.randrange(1, 200)]
            case 5:
                other = choose.choice(seeds)
                start = choose.randrange(len(other) + 1)
                data[place:] = other[start:]
            case _:
                if len(data) > 1:
                    data[1] = choose.randrange(256)
    return bytes(data[:MAX_LENGTH])


def unguided(harness: str, seconds: float) -> int:
    """Mutate the seeds for `seconds`; the exit code."""
    change = getattr(load(harness), "mutate", None)
    return hunt(harness, load_input(harness), load_seeds(harness), change, seconds, FINDINGS)


def hunt(
    name: str, one_input: Callable[[bytes], None], seeds: list[bytes], change: Any, seconds: float, findings: Path
) -> int:
    """Feed seeds, then mutants of them, for `seconds` or until one fails, which is kept; the exit code."""
    choose = random.Random(name)
    executions, failed = 0, False
    end = time.process_time() + seconds
    while not failed and (executions < len(seeds) or time.process_time() < end):
        data = seeds[executions] if executions < len(seeds) else mutate(choose, seeds, change)
        executions += 1
        try:
            one_input(data)
        except Exception:
            findings.mkdir(exist_ok=True)
            path = findings / f"{name}-{executions}"
            path.write_bytes(data)
            traceback.print_exc(file=sys.stdout)
            print(f"the input is {path}")
            failed = True
    print(f"stat::number_of_executed_units: {executions}")
    return int(failed)


# ------------------------------------------------------------------------------------------------ the parent


def child(harness: str, seconds: float, corpus: Path | None) -> list[str]:
    """The command of a child: libFuzzer on `corpus`, or without one the mutation of seeds."""
    command = [sys.executable, str(Path(__file__))]
    if corpus is None:
        return [*command, "--unguided", harness, str(seconds)]
    return [
        *command,
        "--libfuzzer",
        harness,
        f"-max_total_time={max(1, round(seconds))}",
        f"-max_len={MAX_LENGTH}",
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        "-verbosity=1",
        f"-artifact_prefix={FINDINGS}/{harness}-",
        str(corpus),
        str(SEEDS / harness),
    ]


def fuzz(harness: str, seconds: float, corpus: Path | None) -> Result:
    """Run one harness until it has used its seconds of processor time, or something was found."""
    result = Result(harness)
    FINDINGS.mkdir(exist_ok=True)
    if corpus is not None:
        corpus.mkdir(parents=True, exist_ok=True)
    while not result.findings and (not result.executions or seconds - result.seconds > _SHORTEST):
        run_child(result, child(harness, seconds - result.seconds, corpus))
        if corpus is None:
            break
    result.corpus = len(load_seeds(harness)) if corpus is None else len(list(corpus.iterdir()))
    return result


_APART: Final = ("sh", "-c", '"$@"; exit $?', "sh")
"""A small process in between: the peak of memory that libFuzzer limits begins, in a new process, at that of its parent."""


def run_child(result: Result, command: list[str]) -> None:
    """Run a child, and add what it says to the result."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([*_APART, *command], stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    executions = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
    coverage = re.findall(r"cov: (\d+) ft: (\d+)", text)
    result.executions += int(executions[1]) if executions else 0
    result.seconds += usage.ru_utime + usage.ru_stime
    if coverage:
        result.coverage, result.features = map(int, coverage[-1])
    if process.returncode != 0 or executions is None:
        result.findings += 1
        result.output = text[-8000:]


def report(results: Sequence[Result]) -> str:
    """What was run, as a table in Markdown."""
    rows = [
        "| harness | executions | each second | edges | features | corpus | findings |",
        "| --- " + "| ---: " * 6 + "|",
    ]
    total = Result("all")
    for name in ("executions", "seconds", "corpus", "findings"):  # edges overlap
        setattr(total, name, sum(getattr(one, name) for one in results))
    for one in [*results, total]:
        speed = one.executions / max(one.seconds, 0.001)
        reached = f"{one.coverage:,} | {one.features:,}" if one.coverage else " | "
        rows.append(
            f"| {one.harness} | {one.executions:,} | {speed:,.0f} | {reached} | {one.corpus:,} | {one.findings} |"
        )
    rows += ["", f"{total.seconds / 60:.0f} minutes of processor time."]
    return "\n".join(rows)


def run(harnesses: list[str], seconds: float, jobs: int, corpus: Path | None, *, guided: bool) -> list[Result]:
    """Run harnesses, `jobs` at a time, which share the seconds of processor time; says how each went."""
    whole = sum(HARNESSES[harness] for harness in harnesses)
    with ExitStack() as stack:
        base = corpus or Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def one(harness: str) -> Result:
            result = fuzz(harness, seconds * HARNESSES[harness] / whole, base / harness if guided else None)
            print(f"{harness}: {result.executions} executions, coverage {result.coverage or 'unknown'}", flush=True)
            if result.findings:
                print(f"{result.output}\n{harness}: A FINDING, or the fuzzer broke; see {FINDINGS}", flush=True)
            return result

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, harnesses))


def main() -> int:
    """Run what the command line says; 1 when something was found."""
    if sys.argv[1:2] == ["--libfuzzer"]:
        libfuzzer(sys.argv[2], sys.argv[3:])
    if sys.argv[1:2] == ["--unguided"]:
        return unguided(sys.argv[2], float(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", nargs="*", choices=[[], *HARNESSES], help="which; all of them by default")
    parser.add_argument("--seconds", type=float, default=180, help="of processor time, for all together (default: 180)")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at a time (default: 1)")
    parser.add_argument(
        "--corpus", type=Path, metavar="DIR", help="keep what was found to be interesting, and go on from it"
    )
    parser.add_argument("--report", action="store_true", help="print a table in Markdown at the end")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run this input only")
    parser.add_argument("--without-atheris", action="store_true", help="mutate the seeds even where atheris is there")
    options = parser.parse_args()
    harnesses = options.harness or list(HARNESSES)
    if options.replay is not None:
        for harness in harnesses:
            load_input(harness)(options.replay.read_bytes())
            print(f"{harness}: {options.replay} does nothing wrong")
        return 0
    guided = not options.without_atheris and importlib.util.find_spec("atheris") is not None
    if not guided:
        print("atheris is not used: the seeds are mutated without coverage, which finds less")
    results = run(harnesses, options.seconds, options.jobs, options.corpus, guided=guided)
    if options.report:
        print(report(results))
    return 1 if any(result.findings for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
