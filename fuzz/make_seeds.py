"""Makes the seeds with our own code: `python fuzz/make_seeds.py`. They are the same each time: all keys are fixed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from fuzz.run import HARNESSES, SEEDS, load  # noqa: E402


def main() -> None:
    """Write every seed anew."""
    for harness in HARNESSES:
        made: dict[str, bytes] = load(harness).seeds()
        directory = SEEDS / harness
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for name, data in made.items():
            (directory / name).write_bytes(data)
        print(f"{harness}: {len(made)} seeds, {sum(map(len, made.values()))} bytes")


if __name__ == "__main__":
    main()
