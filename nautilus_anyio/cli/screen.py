"""Rich's consoles and progress bars: what they look like. Whether anybody looks at them is `Output`'s.

Loaded only by a command that draws: Rich takes long to load.
"""

from __future__ import annotations

import errno
import os
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from .tables import amount


class _Console(Console):
    """One that somebody may have stopped to read: Rich would end the process there, by another code than ours."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console(*, stderr: bool) -> Console:
    """Standard error's, or standard output's."""
    colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
    return _Console(stderr=stderr, highlight=False, emoji=False, color_system=colours)


def of_bytes(console: Console, *, silent: bool) -> Progress:
    """For bytes: how many, how fast, how long yet. `silent` is one that shows nothing."""
    return _bar(console, silent, DownloadColumn(binary_units=True), Throughput(), TimeRemainingColumn())


def of_things(console: Console, *, silent: bool) -> Progress:
    """Likewise for so many things, one after the other."""
    return _bar(console, silent, MofNCompleteColumn())


def _bar(console: Console, silent: bool, *columns: ProgressColumn) -> Progress:
    description = TextColumn("{task.description}", markup=False)
    return Progress(description, BarColumn(), *columns, console=console, disable=silent, transient=True)


class Throughput(ProgressColumn):
    """So much a second, in the units of everything else here: Rich's own column counts in powers of 1000."""

    def render(self, task: Task) -> Text:
        """Of the last half minute; nothing until there is something to divide."""
        return Text("" if task.speed is None else f"{amount(round(task.speed))}/s", style="progress.data.speed")
