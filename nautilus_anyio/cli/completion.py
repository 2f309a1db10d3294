"""`nautilus completion`: a script with which the shell completes the command. Which words there are, the parsers say."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import shtab

from nautilus_core import SUITES

from .options import add_command

SHELLS: Final = ("bash", "zsh", "tcsh")

_EXAMPLES: Final = """\
  eval "$(nautilus completion bash)"                           for this shell; or in ~/.bashrc
  nautilus completion zsh > ~/.zfunc/_nautilus                 with ~/.zfunc in fpath, before compinit
  nautilus completion tcsh > ~/.nautilus.tcsh                  and source it in ~/.tcshrc"""

_VALUES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"suite": tuple(SUITES), "trust": ("pinned:", "known-peers", "ask", "anyone")}
)
"""What an option is likely to be given, by its name, where the parser leaves that open."""


def add_commands(commands: Any) -> None:
    """Register the command."""
    parser = add_command(commands, "completion", "print what makes a shell complete the command", _EXAMPLES, run)
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from . import make_parser  # noqa: PLC0415  # the whole command line, which this is a part of

    parser = make_parser()
    for action in actions_of(parser):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks
        elif action.choices is None and action.dest in _VALUES:
            action.choices = _VALUES[action.dest]
    script = shtab.complete(parser, shell=options.shell)
    options.output.result(script, shell=options.shell, script=script)
    return 0


def actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The options and arguments of a parser and of all its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in set(action.choices.values()):
                yield from actions_of(command)
