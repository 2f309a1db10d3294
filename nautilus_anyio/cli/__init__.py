"""The command `nautilus`: which subcommands there are, and how errors and exit codes come out. Each has a module."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from nautilus_core import HandshakeError, LocalProtocolError

from ..errors import ChannelFailed, TransportFailed
from . import demo, keygen, netcat

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
EXIT_HANDSHAKE: Final = 3
EXIT_TRANSPORT: Final = 4
EXIT_INTERRUPTED: Final = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nautilus",
        description="Mutually authenticated, encrypted byte streams between two nodes.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 handshake or channel failed, 4 no connection, 130 interrupted.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    keygen.add_command(commands)
    netcat.add_commands(commands)
    demo.add_command(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except BaseException as error:
        return _report(error)
    return code


def _report(error: BaseException) -> int:
    """Say on one line what went wrong, and return the exit code for it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, KeyboardInterrupt | EOFError):
        return EXIT_INTERRUPTED
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    codes: list[tuple[type[BaseException], int]] = [
        (TransportFailed, EXIT_TRANSPORT),
        (HandshakeError, EXIT_HANDSHAKE),
        (ChannelFailed, EXIT_HANDSHAKE),
        (LocalProtocolError, EXIT_FAILURE),
        (ValueError, EXIT_USAGE),
        (OSError, EXIT_FAILURE),
    ]
    for kind, code in codes:
        if isinstance(error, kind):
            print(f"nautilus: {error}", file=sys.stderr)
            return code
    raise error
