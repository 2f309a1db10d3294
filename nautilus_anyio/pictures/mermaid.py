"""A ladder as a Mermaid sequence diagram."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Final

from nautilus_core.role import INITIATOR
from nautilus_core.transcript import Arrow, FlightEnd, Ladder, Mark, Rung

from .words import MOST, arrow_detail, flight_text, mark_text, party_text, printable, summary

_LONGEST: Final = 160
_COLUMNS: Final = 44
"""Letters of a line of a note, which is as wide as the space between the ends."""
_MOST: Final = MOST // 2
"""Mermaid refuses a diagram of more than 50,000 characters."""


def as_mermaid(ladder: Ladder) -> str:
    """The diagram: an arrow for each message, notes for what happens in between."""
    lines = ["sequenceDiagram"]
    for letter, party in zip("IR", ladder.parties, strict=True):
        said = party_text(party, ladder)
        lines.append(f"    participant {letter} as {party.role.value}" + (f"<br/>{_entities(said)}" if said else ""))
    for rung in ladder.rungs[:_MOST]:
        lines += [f"    {line}" for line in _rung(rung, ladder)]
    if len(ladder.rungs) > _MOST:
        lines.append(f"    {_note(f'{len(ladder.rungs) - _MOST} more')}")
    if ladder.run:
        lines.append(f"    {_note(summary(ladder))}")
    else:
        lines += ["    I-->>R: data", "    R-->>I: data"]
    return "\n".join(lines)


def _rung(rung: Rung, ladder: Ladder) -> Iterator[str]:
    if isinstance(rung, Arrow):
        line = "-x" if rung.bad else "->>"
        arrow = f"I{line}R" if rung.sender is INITIATOR else f"R{line}I"
        extra = ", ".join(part for part in (rung.note, arrow_detail(rung)) if part)
        yield f"{arrow}: {_entities(rung.label)}" + (f" ({_entities(extra)})" if extra else "")
    elif isinstance(rung, Mark):
        yield _note(mark_text(rung))
    elif isinstance(rung, FlightEnd) and ladder.run:
        yield _note(flight_text(rung))


def _note(text: str) -> str:
    """A note over both ends; Mermaid would not break its lines."""
    lines = textwrap.wrap(printable(text, _LONGEST), _COLUMNS) or [""]
    return f"Note over I,R: {'<br/>'.join(map(_entities, lines))}"


def _entities(text: str) -> str:
    """With Mermaid's entities for what could mean something to it: a name may have any character."""
    return re.sub(r"[^\w ,./:+-]", lambda found: f"#{ord(found[0])};", printable(text, _LONGEST))
