"""Run the fuzz harnesses: `python fuzz/run.py --seconds N [HARNESS ...]`.

With atheris installed they are guided by coverage; without it (there are no builds for every Python) the seeds are mutated at
random, from a fixed start, which finds less. Any exception but the documented ones is a finding: the input is written to
`fuzz/findings/` and the exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HARNESSES = ("frames", "engine")
FINDINGS = ROOT / "fuzz" / "findings"
LONGEST = 8192


def with_atheris(name: str, seconds: int) -> None:
    """Run one harness under atheris; does not return."""
    import atheris  # noqa: PLC0415  # an extra, and only in this process

    with atheris.instrument_imports(include=["nautilus_core"]):
        harness = importlib.import_module(f"fuzz.{name}")
    corpus = Path(tempfile.mkdtemp(prefix=f"nautilus-fuzz-{name}-"))
    for seed in harness.seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    FINDINGS.mkdir(exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={FINDINGS}/{name}-",
        f"-max_len={LONGEST}",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], str(corpus), *options], harness.one_input)
    atheris.Fuzz()


def mutate(source: random.Random, seeds: list[bytes]) -> bytes:
    """A seed with a few bytes changed, taken out or put in, or joined to another."""
    data = bytearray(source.choice(seeds))
    for _ in range(source.randint(1, 6)):
        place = source.randrange(len(data) + 1)
        kind = source.randrange(5)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << source.randrange(8)
        elif kind == 1 and place < len(data):
            data[place] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
        elif kind == 2:
            del data[place : place + source.randint(1, 16)]
        elif kind == 3:
            data[place:place] = source.randbytes(source.randint(1, 16))
        else:
            other = source.choice(seeds)
            data[place:] = other[source.randrange(len(other)) :]
    return bytes(data[:LONGEST])


def without_atheris(name: str, seconds: int) -> None:
    """Mutate the seeds of one harness at random."""
    harness = importlib.import_module(f"fuzz.{name}")
    one_input: Callable[[bytes], None] = harness.one_input
    seeds: list[bytes] = harness.seeds()
    source = random.Random(name)
    end = time.monotonic() + seconds
    executions = 0
    for seed in seeds:
        one_input(seed)
    while time.monotonic() < end:
        data = mutate(source, seeds)
        try:
            one_input(data)
        except Exception:
            FINDINGS.mkdir(exist_ok=True)
            finding = FINDINGS / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}"
            finding.write_bytes(data)
            print(f"finding: {finding}", file=sys.stderr)
            raise
        executions += 1
    print(f"{name}: {executions} executions without coverage (atheris is not installed), no finding")


def run_one(name: str, seconds: int) -> None:
    """One harness, in this process."""
    sys.path.insert(0, str(ROOT))
    if importlib.util.find_spec("atheris") is None:
        without_atheris(name, seconds)
    else:
        with_atheris(name, seconds)


def main() -> int:
    """Run the harnesses, each in a process of its own; the exit code says whether there was a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each harness (default: 60)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "harness", nargs="*", choices=[*HARNESSES, []], help=f"which (default: all of {', '.join(HARNESSES)})"
    )
    options = parser.parse_args()
    names = options.harness or list(HARNESSES)
    if options.here:
        run_one(names[0], options.seconds)
        return 0
    failed = []
    for name in names:
        print(f"== {name}, {options.seconds} seconds", flush=True)
        command = [sys.executable, __file__, "--here", "--seconds", str(options.seconds), name]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        shown = [line for line in done.stderr.splitlines() if line.startswith(("stat::", "finding", "Done"))]
        print("\n".join(shown if done.returncode == 0 else done.stderr.splitlines()[-60:]), flush=True)
        if done.returncode:
            failed.append(name)
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
