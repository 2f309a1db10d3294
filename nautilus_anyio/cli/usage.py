"""How the command line is read: a mistake in it is one line that says what and where to look. Which options there are is not
known here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

_PACKAGE = "nautilus-handshake"


class UsageError(ValueError):
    """A command line that means nothing.

    Args:
        command: which command was meant, as in `nautilus connect`.
        message: what is wrong with it.
    """

    def __init__(self, command: str, message: str) -> None:
        super().__init__(f"{message}; try {command} --help")
        self.command = command


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError` where argparse prints its usage and ends the process, and takes options whole.

    A beginning of an option would mean another one as soon as there is a new one.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> Any:
        """Raise it."""
        raise UsageError(self.prog, message)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but what is not known is the mistake of the command it was said to, not of the first word."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def ask_for_command(self) -> None:
        """For a parser that has commands: without one, its help, on standard error, and the exit code of wrong usage."""

        def run(_: argparse.Namespace) -> int:
            self.print_help(sys.stderr)
            return 2

        self.set_defaults(run=run)


class ShowVersion(argparse.Action):
    """`--version`; what is installed is looked up only when somebody asks."""

    def __init__(self, option_strings: Sequence[str], dest: str, **others: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **others)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it and end."""
        from importlib import metadata  # noqa: PLC0415  # nothing else asks

        try:
            version = metadata.version(_PACKAGE)
        except metadata.PackageNotFoundError:  # it runs from a folder of sources
            version = "of unknown version: it is not installed"
        print(f"nautilus {version}")
        parser.exit()


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether `--json` stands among the arguments, also behind one that cannot be read."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in own
