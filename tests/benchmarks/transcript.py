"""What recording costs: the default handshake with a recorder at both ends, against the same without.

    python -m tests.benchmarks.transcript [--json] [--rounds N]

Measured as the handshake is: one process, interleaved call by call, the median over the rounds of (recorded / not recorded
in the same round). Lines go to a list, or to two open files; what making and removing two files costs stands by itself. A
clock is read for every line.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nautilus_core import INITIATOR, RESPONDER, Handshake, Profile
from nautilus_core.transcript import Recorder, replay

from .handshake import drive, handshake, interleaved, make_profiles, ratio

LIMIT = 1.10


def recorded(profiles: tuple[Profile, Profile], *, secrets: bool) -> tuple[list[bytes], list[bytes]]:
    """One handshake, both ends recorded into lists."""
    files: tuple[list[bytes], list[bytes]] = ([], [])
    with (
        Recorder(files[0].append, clock=time.perf_counter, dangerously_record_secrets=secrets) as first,
        Recorder(files[1].append, clock=time.perf_counter, dangerously_record_secrets=secrets) as second,
    ):
        drive(
            Handshake(INITIATOR, profiles[0], recorder=first),
            Handshake(RESPONDER, profiles[1], recorder=second),
        )
    return files


def recorded_to_files(profiles: tuple[Profile, Profile], descriptors: tuple[int, int]) -> None:
    """The same into two files, with one write for each piece."""
    first, second = descriptors
    with (
        Recorder(lambda data: os.write(first, data), clock=time.perf_counter) as one,
        Recorder(lambda data: os.write(second, data), clock=time.perf_counter) as other,
    ):
        drive(
            Handshake(INITIATOR, profiles[0], recorder=one),
            Handshake(RESPONDER, profiles[1], recorder=other),
        )


def make_files(folder: Path) -> None:
    """What the files themselves cost: two of them made, written once, closed and removed."""
    for name in ("initiator.jsonl", "responder.jsonl"):
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, b"x")
        os.close(descriptor)
        (folder / name).unlink()


def measure(rounds: int, folder: Path) -> dict[str, Any]:
    """All figures."""
    keys = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    sides = make_profiles(keys)
    for file, profile in zip(recorded(sides, secrets=True), sides, strict=True):
        if not replay(file, profile).full:
            raise RuntimeError("what was recorded does not replay")
    cases: dict[str, Callable[[], Any]] = {
        "not recorded": lambda: handshake(*sides),
        "recorded": lambda: recorded(sides, secrets=False),
        "with secrets": lambda: recorded(sides, secrets=True),
        "to files": lambda: recorded_to_files(sides, descriptors),
        "making files": lambda: make_files(folder),
    }
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    descriptors = os.open(folder / "one", flags, 0o600), os.open(folder / "other", flags, 0o600)
    try:
        results = interleaved(cases, rounds)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    found = {name: ratio(results, name, "not recorded") for name in cases}
    size = sum(len(line) for line in recorded(sides, secrets=False)[0])
    return {"ratio_to_not_recorded": found["recorded"], "ratios": found, "limit": LIMIT, "bytes_of_one": size}


def main() -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description="what recording a handshake costs")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--rounds", type=int, default=1000, help="how often each case runs (default: 1000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.rounds, Path(folder))
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found["ratios"].items():
        print(f"{name:14} {value:6.3f}")
    print(f"one transcript has {found['bytes_of_one']:,} bytes; recording may cost at most {LIMIT}")


if __name__ == "__main__":
    main()
