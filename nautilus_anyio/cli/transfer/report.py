"""What people see of a transfer: bars, notes, and the result. It moves nothing and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.progress import Progress, TaskID

from ...pictures.words import printable
from ..output import Output
from ..tables import amount


@dataclass(frozen=True, slots=True)
class Outcome:
    """A file that is at the other end, whole.

    Args:
        verb: "sent" or "received".
        path: the file at this end.
        size: of the whole file, in bytes.
        digest: its SHA-256, 32 bytes.
        resumed_from: how many of the bytes were there before.
        seconds: how long it took to move the others.
        was_there: whether the whole file was at the receiver, under its name, before.
    """

    verb: str
    path: str
    size: int
    digest: bytes
    resumed_from: int
    seconds: float
    was_there: bool = False


class Reporter:
    """Shows one transfer after the other; with `Bars` of its own for transfers at the same time.

    Args:
        output: the command's way out.
        bars: where bars are drawn.

    Attributes:
        output: as given.
        name: the file that is under way, or "".
        done: how many of its bytes are behind us.
        total: of how many.
    """

    def __init__(self, output: Output, bars: Bars) -> None:
        self.output = output
        self._bars = bars
        self._task: TaskID | None = None
        self.name = ""
        self.done = 0
        self.total = 0

    def begin(self, verb: str, name: str, done: int, total: int) -> None:
        """Something of `total` bytes begins, `done` of which are behind us."""
        self.name, self.done, self.total = name, done, total
        if self._task is None:
            self._task = self._bars.add()
        self._bars.progress.reset(self._task, description=f"{verb} {printable(name)}", completed=done, total=total)

    def advance(self, count: int) -> None:
        """So many bytes more are behind us."""
        self.done += count
        if self._task is not None:
            self._bars.progress.advance(self._task, count)

    def end(self) -> None:
        """It is over, well or not."""
        if self._task is not None:
            self._bars.remove(self._task)
            self._task = None

    def note(self, text: str, **fields: Any) -> None:
        """Say something on the way about the file."""
        self.output.note(f"{printable(self.name)}: {text}", file=self.name, **fields)

    def where(self) -> str:
        """How far it has got, for an error's text."""
        if not self.name:
            return "before a file was under way"
        return f"after {self.done:,} of {self.total:,} bytes of {printable(self.name)}"

    def finished(self, outcome: Outcome) -> None:
        """The result of one file."""
        self.end()
        self.name = ""
        moved = outcome.size - outcome.resumed_from
        rate = moved / outcome.seconds if outcome.seconds else 0.0
        how = f"in {outcome.seconds:.2f} s, {amount(round(rate))}/s"
        if outcome.was_there:
            how = "was there already, the same"
        if moved and outcome.resumed_from:
            how += f", resumed at {amount(outcome.resumed_from)}"
        self.output.result(
            f"{outcome.verb} {printable(outcome.path)}  {amount(outcome.size)} {how}\nsha256 {outcome.digest.hex()}",
            verb=outcome.verb,
            file=outcome.path,
            bytes=outcome.size,
            sha256=outcome.digest.hex(),
            resumed_from=outcome.resumed_from,
            seconds=round(outcome.seconds, 6),
            bytes_per_second=round(rate),
            was_there=outcome.was_there,
        )


class Bars:
    """The bars of one process. They are on the screen only while something moves: a question can be asked in between."""

    def __init__(self, output: Output) -> None:
        self.progress: Progress = output.progress()

    def add(self) -> TaskID:
        """A new bar."""
        if not self.progress.task_ids:
            self.progress.start()
        return self.progress.add_task("")

    def remove(self, task: TaskID) -> None:
        """Take a bar away."""
        if len(self.progress.task_ids) == 1:
            self.progress.stop()
        self.progress.remove_task(task)
