"""Makes the seeds with our own code: `python fuzz/make_seeds.py`. Keys are fresh, so their bytes differ each time."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from fuzz import engine, frames, noise, tls  # noqa: E402


def main() -> None:
    """Write every seed anew."""
    for harness, made in (
        ("frames", frames.seeds()),
        ("engine", engine.seeds()),
        ("noise", noise.seeds()),
        ("tls", tls.seeds()),
    ):
        directory = ROOT / "fuzz" / "seeds" / harness
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for name, data in made.items():
            (directory / name).write_bytes(data)
        print(f"{harness}: {len(made)} seeds, {sum(map(len, made.values()))} bytes")


if __name__ == "__main__":
    main()
