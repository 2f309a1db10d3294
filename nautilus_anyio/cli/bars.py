"""Progress bars: what they look like. Whether anybody looks at them, and where, is `Output`'s."""

from __future__ import annotations

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
