"""What a command says, and where: results to standard output, everything else to standard error. It decides nothing.

With `--json` each result is one JSON object on a line, and so are notes and the error, on standard error; with `--quiet`
there are no notes and no progress. Colours and bars are for terminals; with NO_COLOR, or TERM=dumb, there are neither: not
one escape sequence.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Literal

from rich.console import Console, RenderableType
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

from nautilus_core import HandshakeError

from ..stream import SecureStream
from .tables import amount, printable


def add_output(parser: argparse.ArgumentParser) -> None:
    """`--json` and `--quiet`."""
    parser.add_argument("--json", action="store_true", help="results, notes and errors as JSON, one object a line")
    parser.add_argument("--quiet", "-q", action="store_true", help="no notes and no progress; errors only")


_LONGEST_DID: Final = 200  # characters


class Output:
    """The way out of one command.

    Args:
        as_json: whether a program reads.
        quiet: whether only results and errors are wanted.

    Attributes:
        console: standard output for people; tables and pictures go there.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
        self.console = Console(highlight=False, emoji=False, color_system=colours)
        self._errors = Console(stderr=True, highlight=False, emoji=False, color_system=colours)

    def result(self, text: str, **fields: Any) -> None:
        """What the command was asked for: `text` for people, `fields` for programs."""
        print(_encoded(fields) if self.as_json else text, flush=True)

    def picture(self, *parts: RenderableType, **fields: Any) -> None:
        """The same, for people as tables and the like: `parts`, one below the other."""
        if self.as_json:
            print(_encoded(fields), flush=True)
            return
        for part in parts:
            self.console.print(part)

    def note(self, text: str, **fields: Any) -> None:
        """What happens meanwhile, on standard error."""
        if not self.quiet:
            self._say(text, {"note": text, **fields})

    def error(self, text: str, error: BaseException, code: int) -> None:
        """Why the command ends, on one line."""
        fields: dict[str, Any] = {"error": text, "kind": type(error).__name__, "exit_code": code}
        cause = getattr(error, "error", error)
        if isinstance(cause, HandshakeError):
            fields |= {"kind": type(cause).__name__, "step": cause.step, "hint": cause.hint}
            fields |= {"retryable": cause.retryable}
        self._say(text, fields)

    def connected(self, stream: SecureStream) -> None:
        """Note who is at the other end."""
        session = stream.session
        peer = session.peer
        key = getattr(peer, "public_key", None)
        words = f" ({key.words})" if key is not None else ""
        names = getattr(peer, "names", ())
        certified = f", certified as {', '.join(names)}" if names else ""
        did = getattr(peer, "identifier", None)
        known = "" if did is None else f", which is {did if len(did) <= _LONGEST_DID else did[:_LONGEST_DID] + '...'}"
        self.note(
            f"connected to {peer.peer_id}{words}{known}{certified}, {session.suite}",
            peer=peer.peer_id,
            **({} if did is None else {"identifier": did}),
            **({"names": names} if names else {}),
            suite=session.suite,
            protocol=session.protocol,
        )

    def progress(self) -> Progress:
        """A progress bar for bytes, on standard error; silent where nobody looks. `add_task(description, total=...)`."""
        return self._bar(DownloadColumn(binary_units=True), _Speed(), TimeRemainingColumn())

    def counter(self) -> Progress:
        """Likewise for so many things to do, one after the other."""
        return self._bar(MofNCompleteColumn())

    def _bar(self, *columns: ProgressColumn) -> Progress:
        moving = self._errors.is_terminal and not self._errors.is_dumb_terminal and not os.environ.get("NO_COLOR")
        silent = self.quiet or self.as_json or not moving
        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *columns,
            console=self._errors,
            disable=silent,
            transient=True,  # the result says what there is to keep
        )

    def _say(self, text: str, fields: dict[str, Any]) -> None:
        if sys.stderr is None:  # it was closed before we started; print() would take standard output instead
            return
        line = printable(" ".join(text.split()))
        with suppress(BrokenPipeError):  # nobody listens to notes: no reason to stop
            print(_encoded(fields) if self.as_json else f"nautilus: {line}", file=sys.stderr, flush=True)


class _Speed(ProgressColumn):
    """Bytes in a second, in the units of the other columns."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{amount(round(speed))}/s", style="progress.data.speed")


def _encoded(fields: dict[str, Any]) -> str:
    """One JSON object, valid for every reader: what is no Unicode, as in a file's name, is shown as Python escapes it."""
    return json.dumps(_unicode(fields))


def _unicode(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_unicode(key): _unicode(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_unicode(inner) for inner in value]
    return value


def interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C is what ended a command, alone or with what it brought down."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)
