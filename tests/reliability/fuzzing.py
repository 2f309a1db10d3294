"""All fuzz harnesses for an hour of processor time, as a section of the reliability report. The harnesses are in `fuzz/`.

python -m tests.reliability.fuzzing --seconds 3600 --jobs 2
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from fuzz.run import HARNESSES, Result, report
from fuzz.run import run as run_harnesses

from .section import Section, some

HEADING: Final = "## Fuzzing"


def run(seconds: float = 3600, *, jobs: int = 2, corpus: Path | None = None) -> Section:
    """The section of the report, once all harnesses have run.

    Args:
        seconds: of processor time, for all harnesses together.
        jobs: how many run at a time.
        corpus: a folder with what earlier runs found to be interesting, to begin with and to add to.
    """
    guided = importlib.util.find_spec("atheris") is not None
    results = run_harnesses(list(HARNESSES), seconds, jobs, corpus, guided=guided)
    found = sum(result.findings for result in results)
    return Section(section(results, seconds, jobs, guided=guided), some(found, "open findings"))


def section(results: Sequence[Result], seconds: float, jobs: int, *, guided: bool) -> str:
    """What `run` makes of its results."""
    found = sum(result.findings for result in results)
    how = f"coverage-guided by atheris {version('atheris')}" if guided else "by mutation of the seeds, without coverage"
    command = f"`python -m tests.reliability.fuzzing --seconds {seconds:.0f} --jobs {jobs}`"
    where = f"CPython {platform.python_version()}, {jobs} at a time"
    return f"{HEADING}\n\n{command}, {how}, {where}. Open findings: {found or 'none'}.\n\n{report(results)}"


def main() -> int:
    """Run it and print the section; exit code 1 where something is open."""
    parser = argparse.ArgumentParser(description="All fuzz harnesses; prints a section in Markdown.")
    parser.add_argument("--seconds", type=float, default=3600, help="of processor time (default: 3600)")
    parser.add_argument("--jobs", type=int, default=2, help="how many harnesses run at a time (default: 2)")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="begin with what is there, and add to it")
    options = parser.parse_args()
    made = run(options.seconds, jobs=options.jobs, corpus=options.corpus)
    print(made.text)
    return made.exit_code


if __name__ == "__main__":
    sys.exit(main())
