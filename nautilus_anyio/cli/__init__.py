"""The command `nautilus`: which subcommands there are, and how errors and exit codes come out. Each has a module.

A module is loaded when its command is asked for: what the others need would take as long again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

from nautilus_core import HandshakeError, LocalProtocolError, PeerAborted
from nautilus_core.transcript import ReplayDiverged

from ..errors import ChannelFailed, TransportFailed
from .options import check_combinations
from .output import Output, interrupted
from .usage import Parser, ShowVersion, UsageError, wants_json

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
EXIT_HANDSHAKE: Final = 3
EXIT_TRANSPORT: Final = 4
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 141

_EXAMPLES: Final = """\
examples:
  nautilus demo                                         watch a handshake, then move data
  nautilus keygen node.pem                              make an identity
  nautilus listen 7000 --identity node.pem              wait for a peer, as netcat does
  nautilus connect host:7000 --trust pinned:key:...     the other end
  nautilus receive 7000                                 wait for files
  nautilus send disk.img host:7000                      send one; run again, it resumes
  nautilus listen 0.0.0.0:7000 --forward 5432           a secure tunnel to a service of this machine,
  nautilus connect host:7000 --listen 5432              and its entrance on another one
  nautilus inspect host:7000                            what a peer offers, and how it fails
  nautilus profile show                                 what a handshake is made of
  nautilus transcript diagram handshake.jsonl           what happened in a recorded one

exit codes: 0 done, 1 failed, 2 wrong usage, 3 the handshake failed or the peer broke off, 4 no connection, or it was lost:
trying again may help, 130 interrupted, 141 nobody reads the standard output any more
Each command has a --help of its own, with examples.
"""

_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "identity": ("keygen", "identity"),
    "netcat": ("listen", "connect"),
    "transfer": ("send", "receive"),
    "profile": ("profile",),
    "transcript": ("transcript",),
    "inspect": ("inspect",),
    "demo": ("demo",),
    "bench": ("bench",),
    "completion": ("completion",),
}
"""Each module, with the commands that its `add_commands` adds."""


def make_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The whole command line; or, where `only` is a command, as much of it as reads that one."""
    parser = Parser(
        prog="nautilus",
        description="Mutually authenticated, encrypted byte streams between two nodes.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=ShowVersion, help="show the version and end")
    parser.ask_for_command()
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    modules = [name for name, added in _COMMANDS.items() if only in added] or _COMMANDS
    for name in modules:
        import_module(f".{name}", __package__).add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        options = make_parser(next(iter(words), None)).parse_args(words)
    except UsageError as error:
        Output(as_json=wants_json(words)).error(str(error), error, EXIT_USAGE, command=error.command)
        return EXIT_USAGE
    except SystemExit as ended:  # after --help or --version
        return int(ended.code or 0)
    options.output = output = Output(as_json=getattr(options, "json", False), quiet=getattr(options, "quiet", False))
    try:
        check_combinations(options)
        code: int = options.run(options)
    except BaseException as error:
        return _report(error, output)
    return code


def _report(error: BaseException, output: Output) -> int:
    """Say on one line what went wrong, and return the exit code for it."""
    if interrupted(error):
        return EXIT_INTERRUPTED
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, EOFError):
        return EXIT_INTERRUPTED
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    codes: list[tuple[type[BaseException], int]] = [
        (HandshakeError, EXIT_HANDSHAKE),
        (ChannelFailed, EXIT_HANDSHAKE),
        (LocalProtocolError, EXIT_FAILURE),
        (ReplayDiverged, EXIT_FAILURE),
        (ValueError, EXIT_USAGE),
        (OSError, EXIT_FAILURE),
    ]
    code = next((code for kind, code in codes if isinstance(error, kind)), None)
    if code is None:
        raise error
    code = EXIT_TRANSPORT if _lost(error) else code
    output.error(_words(error), error, code)
    return code


def _lost(error: BaseException) -> bool:
    """Whether there was no connection, or it broke or ended in the middle: nobody has refused anything."""
    if isinstance(error, ChannelFailed):
        return error.error.retryable
    return isinstance(error, TransportFailed) or (isinstance(error, PeerAborted) and error.code is None)


def _words(error: BaseException) -> str:
    """What an error says, with its notes; of one of the system what and where, without its number."""
    if not isinstance(error, OSError) or error.strerror is None:
        return "; ".join((str(error), *getattr(error, "__notes__", ())))
    return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
