"""`python -m tests.transcripts [--force] [NAME ...]`: record the handshakes of the table, or those named.

They pin what version 1 says on the wire. So what is there stays as it is: it is written again with `--force` alone.
"""

from __future__ import annotations

import argparse
import sys

from nautilus_core import Role

from .case import FOLDER, path_of
from .cases import CASES


def main() -> int:
    """Record them; returns 1 when there was something to refuse."""
    parser = argparse.ArgumentParser(prog="python -m tests.transcripts", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of the table; all by default")
    parser.add_argument("--force", action="store_true", help="write over what is there")
    parser.add_argument("--list", action="store_true", help="say what there is, and record nothing")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(CASES))
    if unknown:
        parser.error(f"no such transcript: {', '.join(unknown)}")
    chosen = {name: CASES[name] for name in options.names or CASES}
    if options.list:
        for name, case in chosen.items():
            print(f"{name:40} {case.what}")
        return 0
    FOLDER.mkdir(exist_ok=True)
    kept = 0
    for name, case in chosen.items():
        paths = {role: path_of(name, role) for role in Role}
        if not options.force and any(path.exists() for path in paths.values()):
            kept += 1
            continue
        for role, data in case.record().items():
            paths[role].write_bytes(data)
        print(f"recorded {name}: {case.what}")
    if kept:
        print(
            f"{kept} are there already, and pin the wire format: left as they are (--force writes over)",
            file=sys.stderr,
        )
    return 1 if kept else 0


if __name__ == "__main__":
    raise SystemExit(main())
