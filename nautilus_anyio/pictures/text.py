"""A ladder as text, for a terminal or a failing test. Each row has a style for who can show colours; nothing is printed."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from nautilus_core.role import INITIATOR, Role
from nautilus_core.transcript import Arrow, FlightEnd, Ladder, Mark, Rung, Tone

from .words import MOST, arrow_detail, flight_text, party_text, printable, summary

WIDTH: Final = 78
NARROWEST: Final = 40
_SIDE: Final = 3
"""Columns between a lifeline and the arrows."""

_STYLES: Final = {
    Tone.SEALED: "green",
    Tone.EVENT: "dim",
    Tone.QUESTION: "yellow",
    Tone.ANSWER: "yellow",
    Tone.SKIPPED: "yellow",
    Tone.ERROR: "bold red",
    Tone.DONE: "bold green",
    Tone.NOTE: "dim",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the picture.

    Attributes:
        text: the whole of it.
        style: for the terminal, in the words of `rich`; empty for none.
    """

    text: str
    style: str = ""


def as_text(ladder: Ladder, width: int = WIDTH) -> str:
    """The ladder as lines of at most `width` columns, and at least 40."""
    return "\n".join(row.text for row in rows_of(ladder, width))


def rows_of(ladder: Ladder, width: int = WIDTH) -> Iterator[Row]:
    """The same, line by line with styles."""
    width = max(width, NARROWEST)
    yield Row(_cut(printable(ladder.profile, 100), width), "bold")
    yield from head(ladder, width)
    for rung in ladder.rungs[:MOST]:
        yield from rung_rows(rung, width)
    if len(ladder.rungs) > MOST:
        yield _ruled(f" {len(ladder.rungs) - MOST:,} more ", " ", width, "dim")
    yield summary_row(ladder, width)
    if not ladder.whole:
        yield Row("the transcript is cut off: it has no last line", "yellow")


def summary_row(ladder: Ladder, width: int) -> Row:
    """How it ended, in one line."""
    return _ruled(f" {summary(ladder)} ", "─", width, "bold red" if ladder.outcome == "failed" else "bold")


def head(ladder: Ladder, width: int) -> Iterator[Row]:
    """The two ends."""
    left, right = "initiator", "responder"
    yield Row(f"{left}{right:>{width - len(left)}}", "bold")
    said = [party_text(party, ladder) for party in ladder.parties]
    for text, align in zip(said, "<>", strict=True):
        for line in textwrap.wrap(text, width) if text else ():
            yield Row(f"{line:{align}{width}}".rstrip(), "dim")


def rung_rows(rung: Rung, width: int) -> Iterator[Row]:
    """One rung."""
    if isinstance(rung, Arrow):
        yield _arrow(rung, width)
        if rung.note:
            yield from _said(f"({rung.note})", rung.sender, width, "red" if rung.bad else "dim")
    elif isinstance(rung, FlightEnd):
        yield from _said(flight_text(rung), rung.sender, width, "dim")
    elif rung.tone is Tone.SEALED:
        yield _ruled(f" {rung.text} ", "═", width, _STYLES[rung.tone])
    else:
        yield from _mark(rung, width)


def _arrow(arrow: Arrow, width: int) -> Row:
    style = "bold red" if arrow.bad else "green" if arrow.sealed else "cyan"
    inner = width - 2 - 2 * _SIDE
    label, detail = printable(arrow.label, 100), arrow_detail(arrow)
    detail = f" {detail} " if detail else ""
    if _columns(label) + len(detail) + 8 > inner:
        detail = f" {arrow.size:,} B " if arrow.size is not None else ""
    label = f" {_cut(label, inner - len(detail) - 6)} "
    line = "─" * (inner - 3 - _columns(label) - len(detail))
    body = f"──{label}{line}{detail}▶" if arrow.sender is INITIATOR else f"◀{detail}{line}{label}──"
    side = " " * _SIDE
    return Row(f"│{side}{body}{side}│", style)


def _mark(mark: Mark, width: int) -> Iterator[Row]:
    sign = {Tone.ERROR: "✗ ", Tone.DONE: "✓ ", Tone.QUESTION: "? ", Tone.ANSWER: "! "}.get(mark.tone, "")
    yield from _said(sign + mark.text[:600], mark.side, width, _STYLES[mark.tone])


def _said(text: str, side: Role | None, width: int, style: str) -> Iterator[Row]:
    """Words between the lifelines: at one end, or in the middle for both."""
    room = width - 6
    for line in _wrapped(printable(text, 600), room):
        free = room - _columns(line)
        before = free // 2 if side is None else 0 if side is INITIATOR else free
        yield Row(f"│  {' ' * before}{line}{' ' * (free - before)}  │", style)


def _ruled(text: str, fill: str, width: int, style: str) -> Row:
    text = _cut(text, width - 2)
    free = width - 2 - _columns(text)
    return Row(f"│{fill * (free // 2)}{text}{fill * (free - free // 2)}│", style)


def _wrapped(text: str, room: int) -> Iterator[str]:
    for line in textwrap.wrap(text, room):
        while _columns(line) > room:  # letters of two columns
            part = _cut(line, room, "")
            yield part
            line = line[len(part) :]  # noqa: PLW2901  # what is left of it
        yield line


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _cut(text: str, most: int, end: str = "…") -> str:
    """`text` in at most `most` columns."""
    if _columns(text) <= most:
        return text
    while _columns(text) > most - len(end):
        text = text[:-1]
    return text + end
