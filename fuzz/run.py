"""Runs the fuzz harnesses: `python fuzz/run.py [--seconds N] [HARNESS ...]`.

With atheris, each harness runs under coverage-guided libFuzzer in a process of its own. Where atheris cannot be imported
(it has no wheels for every Python) the seeds are mutated instead, without coverage, by the same pseudo-random choices in
every run. An input that is a finding is kept in fuzz/findings, and the exit code is 1.

    python fuzz/run.py --replay FILE HARNESS        runs one input
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

HARNESSES: Final = ("frames", "engine", "noise", "tls")
SEEDS: Final = ROOT / "fuzz" / "seeds"
FINDINGS: Final = ROOT / "fuzz" / "findings"
MAX_LENGTH: Final = 8192


def load(harness: str) -> Callable[[bytes], None]:
    """The function of a harness that takes one input."""
    one_input: Callable[[bytes], None] = importlib.import_module(f"fuzz.{harness}").one_input
    return one_input


def load_seeds(harness: str) -> list[bytes]:
    """The seeds of a harness, in order of their names."""
    return [path.read_bytes() for path in sorted((SEEDS / harness).iterdir())]


# ------------------------------------------------------------------------------------------------ with atheris


def guided(harness: str, seconds: int) -> bool:
    """Run under libFuzzer for `seconds`; whether nothing was found."""
    FINDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        command = [
            sys.executable,
            str(Path(__file__)),
            "--libfuzzer",
            harness,
            f"-max_total_time={seconds}",
            f"-max_len={MAX_LENGTH}",
            "-timeout=20",
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
            "-verbosity=1",
            f"-artifact_prefix={FINDINGS}/{harness}-",
            corpus,
            str(SEEDS / harness),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    output = done.stdout.decode(errors="replace")
    executions = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    coverage = re.findall(r"cov: (\d+)", output)
    print(
        f"{harness}: {executions.group(1) if executions else 'an unknown number of'} executions in {seconds} seconds,"
        f" coverage {coverage[-1] if coverage else 'unknown'}, with atheris",
        flush=True,
    )
    if done.returncode != 0 or executions is None:
        print(output[-8000:])
        print(f"{harness}: A FINDING, or the fuzzer broke (exit code {done.returncode}); see {FINDINGS}")
        return False
    return True


def libfuzzer(harness: str, arguments: list[str]) -> None:
    """Become libFuzzer. Does not return."""
    import atheris  # noqa: PLC0415

    with atheris.instrument_imports(include=["nautilus_core"]):
        one_input = load(harness)
    atheris.Setup([sys.argv[0], *arguments], one_input)
    atheris.Fuzz()


# ------------------------------------------------------------------------------------------------ without


def mutate(choose: random.Random, seeds: list[bytes]) -> bytes:
    """A seed with a few changes."""
    data = bytearray(choose.choice(seeds))
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


def unguided(harness: str, seconds: float) -> bool:
    """Mutate the seeds for `seconds`; whether nothing was found."""
    one_input, seeds = load(harness), load_seeds(harness)
    choose = random.Random(harness)
    executions = 0
    end = time.monotonic() + seconds
    while executions < len(seeds) or time.monotonic() < end:
        data = seeds[executions] if executions < len(seeds) else mutate(choose, seeds)
        executions += 1
        try:
            one_input(data)
        except Exception:
            FINDINGS.mkdir(exist_ok=True)
            path = FINDINGS / f"{harness}-{executions}"
            path.write_bytes(data)
            traceback.print_exc()
            print(f"{harness}: A FINDING after {executions} executions: {path}")
            return False
    print(
        f"{harness}: {executions} executions in {seconds} seconds, by mutation of {len(seeds)} seeds without coverage"
    )
    return True


def replay(path: Path, harnesses: list[str]) -> None:
    """Run one input; what it raises shows."""
    for harness in harnesses:
        load(harness)(path.read_bytes())
        print(f"{harness}: {path} does nothing wrong")


def main() -> int:
    """Run what the command line says; 1 when something was found."""
    if sys.argv[1:2] == ["--libfuzzer"]:
        libfuzzer(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", nargs="*", choices=[[], *HARNESSES], help="which; all of them by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each harness (default: 60)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run this input only")
    parser.add_argument("--without-atheris", action="store_true", help="mutate the seeds even where atheris is there")
    options = parser.parse_args()
    harnesses = options.harness or list(HARNESSES)
    if options.replay is not None:
        replay(options.replay, harnesses)
        return 0
    with_atheris = not options.without_atheris and importlib.util.find_spec("atheris") is not None
    if not with_atheris:
        print("atheris is not used: the seeds are mutated without coverage, which finds less")
    results = [(guided if with_atheris else unguided)(harness, options.seconds) for harness in harnesses]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
