"""All measures, or some, into one report. A part is a module here with `run(...) -> Section`, its section in Markdown.

    python -m tests.reliability [NAME ...] [--write docs/reliability.md]

Each part is run at its full length, which takes minutes, and fuzzing an hour; `python -m tests.reliability.NAME --help` shows
shorter ones. Without a file the sections go to standard output. In a file each part has its own place between two markers; only
the parts that were run are replaced, and a part that is new there comes before those that follow it in the order of the report.
Where a part found that something does not hold, standard error says so in the end, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from .section import Section

PARTS: Final = ("crowd", "faults", "fuzzing", "flood", "kills")
"""The names of the modules, in the order of the report."""

_PACKAGES: Final = ("cryptography", "anyio", "trio")
_HEAD: Final = """\
# Reliability

What holds when things go wrong, measured. Each section is written by the command that it names, which anyone can run again;
`tests/reliability` has the code, and the suite has a short form of each.
"""


def _made(name: str, section: str) -> str:
    """A section between its markers, with how it was made."""
    packages = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    how = (
        f"Made by `python -m tests.reliability {name} --write docs/reliability.md`: {platform.python_implementation()} "
        f"{platform.python_version()}, {packages}, {platform.system()}."
    )
    return f"{_begin(name)}\n{section.strip()}\n\n{how}\n{_end(name)}\n"


def _begin(name: str) -> str:
    return f"<!-- {name}: begin -->"


def _end(name: str) -> str:
    return f"<!-- {name}: end -->"


def put(report: str, name: str, section: str) -> str:
    """The report with the section of the part `name` in its place."""
    made = _made(name, section)
    before, begin, rest = report.partition(_begin(name))
    if not begin:
        return _put_in_order(report, name, made)
    _, end, after = rest.partition(_end(name) + "\n")
    if not end:
        raise ValueError(f"the report has no {_end(name)}")
    return before + made + after


def _put_in_order(report: str, name: str, made: str) -> str:
    """A report that has this part for the first time: before the first of those that follow it, or as the last."""
    for later in PARTS[PARTS.index(name) + 1 :]:
        before, begin, rest = report.partition(_begin(later))
        if begin:
            return f"{before}{made}\n{begin}{rest}"
    return f"{report.rstrip()}\n\n{made}"


def main(arguments: Sequence[str] | None = None) -> int:
    """As a command; exit code 1 where a part found a problem, and 2 for what means nothing."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the sections into this report")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    problems: list[str] = []
    for name in options.names or PARTS:
        section: Section = importlib.import_module(f".{name}", __package__).run()
        problems += [f"{name}: {problem}" for problem in section.problems]
        if options.write is None:
            print(section.text, end="\n\n")
            continue
        report = options.write.read_text("utf-8") if options.write.exists() else _HEAD
        options.write.write_text(put(report, name, section.text), "utf-8")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
