"""`python -m nautilus_anyio` is the command `nautilus`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command, or say how to install what it needs."""
    try:
        from .cli import main as command  # noqa: PLC0415  # the command's dependencies are an extra
    except ModuleNotFoundError as error:
        if error.name != "rich":
            raise
        print("nautilus: the command needs more packages: pip install 'nautilus-handshake[cli]'", file=sys.stderr)
        return 1
    return command()


if __name__ == "__main__":
    raise SystemExit(main())
