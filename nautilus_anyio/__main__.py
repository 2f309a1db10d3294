"""`python -m nautilus_anyio` is the command `nautilus`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper


def main() -> int:
    """Run the command, or say how to install what it needs."""
    try:
        from .cli import main as command  # noqa: PLC0415  # the command's dependencies are an extra

        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a terminal that knows no arrow gets its number, not a traceback
                stream.reconfigure(errors="backslashreplace")
        code = command()
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "shtab"):
            raise
        print("nautilus: the command needs more packages: pip install 'nautilus-handshake[cli]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the command could begin, or after it had ended
        code = 130
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as where it was closed before we started
            with suppress(OSError):
                stream.flush()
    os._exit(code)  # a thread that still waits for standard input or the terminal must not keep the process


if __name__ == "__main__":
    raise SystemExit(main())
