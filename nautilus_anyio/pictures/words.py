"""What all pictures say in the same words, and how text that is not ours is made harmless. It draws nothing."""

from __future__ import annotations

import re
from typing import Any, Final

from nautilus_core.transcript import Arrow, FlightEnd, Ladder, Mark, Party, Tone

MOST: Final = 1_000
"""Rungs of a picture: nobody looks at more, and a browser could not show them."""


def printable(text: str, most: int | None = None) -> str:
    """A peer's text, or a file's name, so that it cannot steer the terminal: what does not print is shown as Python does."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in utf8(text[:most]))
    return shown if most is None or len(text) <= most else f"{shown}..."


def utf8(text: str) -> str:
    """`text` without what UTF-8 cannot hold: a byte of a file's name that is none, which Python keeps as a lone surrogate, is
    shown as `\\xff`."""
    return re.sub("[\ud800-\udfff]", lambda found: _escaped(ord(found[0])), text)


def _escaped(surrogate: int) -> str:
    from_byte = 0xDC80 <= surrogate <= 0xDCFF
    return f"\\x{surrogate - 0xDC00:02x}" if from_byte else f"\\u{surrogate:04x}"


def shown_time(microseconds: int) -> str:
    """A time in a unit that suits it."""
    if abs(microseconds) < 100_000:
        return f"{microseconds / 1000:.2f} ms"
    return f"{microseconds / 1000:.0f} ms" if abs(microseconds) < 10_000_000 else f"{microseconds / 1_000_000:,.1f} s"


def arrow_detail(arrow: Arrow, *, time: bool = True) -> str:
    """Size and time of an arrow."""
    parts = [] if arrow.size is None else [f"{arrow.size:,} B"]
    if time and arrow.at is not None:
        parts.append(f"+{shown_time(arrow.at)}")
    return ", ".join(parts)


def flight_text(end: FlightEnd) -> str:
    """A flight in a few words."""
    parts = [f"flight {end.number}: {end.messages} message{'' if end.messages == 1 else 's'}"]
    if end.size is not None:
        parts.append(f"{end.size:,} B")
    if end.took is not None:
        parts.append(shown_time(end.took))
    return ", ".join(parts)


def mark_text(mark: Mark) -> str:
    """A mark with the end at which it happened."""
    text = printable(mark.text, 600)
    if mark.side is None:
        return text
    verb = {Tone.QUESTION: " asks", Tone.ANSWER: "'s application"}.get(mark.tone, "")
    return f"{mark.side.value}{verb}: {text}"


def party_text(party: Party, ladder: Ladder) -> str:
    """Who an end is, and what it has proved."""
    if not ladder.run:
        return ""
    if party.recorded:
        return "recorded here"
    peer = "" if party.peer is None else printable(party.peer, 100)
    if party.names:
        more = f" and {len(party.names) - 3} more" if len(party.names) > 3 else ""
        peer += f", who is {', '.join(printable(name, 100) for name in party.names[:3])}{more}"
    if party.psk is not None and party.proof in ("verified", "accepted"):
        having = f"have the pre-shared key {printable(party.psk, 100)!r}"
        return f"proved to {having}" if party.proof == "accepted" else f"proved to be {peer}, and to {having}"
    return {
        "verified": f"proved to be {peer}",
        "accepted": "accepted without proof: anonymous",
        "shown": f"asked about: {peer}",
    }.get(party.proof, "proved nothing that was accepted")


def summary(ladder: Ladder) -> str:
    """The whole in one line."""
    parts = [f"{ladder.flights} flight{'' if ladder.flights == 1 else 's'}"]
    if ladder.size:
        parts.append(f"{ladder.size:,} bytes")
    if ladder.ended is not None:
        parts.append(shown_time(ladder.ended))
    return ", ".join([printable(ladder.outcome, 20), *parts])


def field_text(value: Any) -> str:
    """A decoded value, for people: bytes in hex, a list with commas."""
    if isinstance(value, bytes):
        return value.hex() or "(empty)"
    if isinstance(value, (tuple, list)):
        return ", ".join(_inner(one) for one in value) or "(none)"
    if value is None:
        return "(none)"
    fields = getattr(value, "__struct_fields__", None)
    if fields is not None:
        return ", ".join(_inner(getattr(value, name)) for name in fields)
    return str(getattr(value, "value", value))


def _inner(value: Any) -> str:
    """A value inside another one."""
    nested = isinstance(value, (tuple, list)) or hasattr(value, "__struct_fields__")
    return f"({field_text(value)})" if nested else field_text(value)
