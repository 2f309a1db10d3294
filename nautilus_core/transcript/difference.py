"""The first difference between two transcripts, and what it means. Times and checks are not compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ..errors import one_line
from ..step import StepDescription
from .lines import AnyLine, Called, Drawn, Frame, Received, Sent
from .pieces import Piece, pieces_of
from .reader import Transcript

_NOTHING: Final = "nothing: it ends here"
_NO_MORE: Final = "(no more)"
_VIEWS: Final = "they are the views of the two ends: what one sends comes in at the other"
_MOST: Final = 200
"""Characters of a value in a difference."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two transcripts part.

    Attributes:
        line: the number of the line, from 1.
        what: in words, what differs.
        one: what the first has there. Never a secret.
        other: what the second has.
        flight: in which flight; 0 where that says nothing.
        step: in which step's message; None outside of one.
        byte: which byte of the flight, from 0; None where no byte differs.
        field: of the message or of the line, the field that differs; None for the whole.
    """

    line: int
    what: str
    one: str
    other: str
    flight: int = 0
    step: str | None = None
    byte: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        where = f"line {self.line}"
        where += f", flight {self.flight}" if self.flight else ""
        where += f", step {self.step!r}" if self.step is not None else ""
        where += f", byte {self.byte}" if self.byte is not None else ""
        where += f", field {self.field!r}" if self.field is not None else ""
        return one_line(f"{where}: {self.what}: first {self.one}; second {self.other}")


def first_difference(one: Transcript, other: Transcript, *, times: bool = False) -> Difference | None:
    """The first difference, or None where there is none. One of secrets counts only where nothing came of it.

    Args:
        one: a transcript.
        other: another.
        times: whether times are compared too.
    """
    flight, secret = 0, None
    first, second = (one.header, *one.lines), (other.header, *other.lines)
    for number, (mine, its) in enumerate(zip(first, second, strict=False), 1):
        flight = getattr(mine, "flight", flight)
        if mine != its and (times or msgspec.structs.replace(mine, at=its.at) != its):
            found = _explained(one, other, number, mine, its, flight)
            if not (isinstance(mine, Drawn) and isinstance(its, Drawn) and mine.what == its.what):
                return found
            secret = secret or found
    if len(first) == len(second):
        return secret
    number = min(len(first), len(second)) + 1
    shown = [_kind(lines[number - 1]) if len(lines) >= number else _NOTHING for lines in (first, second)]
    return Difference(number, "one goes on where the other ends", shown[0], shown[1], flight)


def _explained(one: Transcript, other: Transcript, number: int, mine: AnyLine, its: AnyLine, flight: int) -> Difference:
    if type(mine) is not type(its):
        return Difference(number, "another kind of line", _kind(mine), _kind(its), flight)
    if isinstance(mine, (Received, Sent)) and isinstance(its, (Received, Sent)) and mine.data != its.data:
        return _of_bytes(one, other, number, mine, its)
    step = mine.step if isinstance(mine, Frame) else None
    for field, left, right in _fields(mine, its):
        if isinstance(mine, Drawn) or (isinstance(mine, Called) and field == "data"):
            return Difference(number, "the secrets differ", "(a secret)", "(a secret)", flight, step, None, field)
        path, one_value, other_value = _inside(field, left, right)
        what = _VIEWS if field == "role" else f"the {_kind(mine)} differs"
        return Difference(number, what, _shown(one_value), _shown(other_value), flight, step, None, path)
    return Difference(number, "another time", f"{mine.at}", f"{its.at}", flight, step, None, "at")


def _fields(mine: AnyLine, its: AnyLine) -> Iterator[tuple[str, Any, Any]]:
    for name in mine.__struct_fields__:
        left, right = getattr(mine, name), getattr(its, name)
        if name != "at" and left != right:
            yield name, left, right


def _inside(path: str, left: Any, right: Any) -> tuple[str, Any, Any]:
    """The first difference inside two values, and the path to it."""
    if type(left) is not type(right):
        return path, left, right
    if isinstance(left, (tuple, list)):
        for place, (one, other) in enumerate(zip(left, right, strict=False)):
            if one != other:
                return _inside(f"{path}[{place}]", one, other)
        place = min(len(left), len(right))
        one, other = (values[place] if len(values) > place else _NO_MORE for values in (left, right))
        return f"{path}[{place}]", one, other
    for name in () if isinstance(left, StepDescription) else getattr(left, "__struct_fields__", ()):
        if getattr(left, name) != getattr(right, name):
            return _inside(f"{path}.{name}", getattr(left, name), getattr(right, name))
    return path, left, right


def _of_bytes(
    one: Transcript, other: Transcript, number: int, mine: Received | Sent, its: Received | Sent
) -> Difference:
    """Where bytes differ: in which message, and in which of its fields, if that can be read."""
    length = min(len(mine.data), len(its.data))
    byte = next((place for place in range(length) if mine.data[place] != its.data[place]), length)
    role = one.header.role
    sender = role if isinstance(mine, Sent) else role.peer
    before = sum(
        len(line.data)
        for line in one.lines[: number - 2]
        if isinstance(line, (Received, Sent)) and type(line) is type(mine) and line.flight == mine.flight
    )
    pieces = [_piece_at(transcript, sender, mine.flight, before + byte) for transcript in (one, other)]
    step = next((piece.step for piece in pieces if piece is not None and piece.step is not None), None)
    left, right = pieces
    if left is not None and right is not None and left.step == right.step:
        for name, value in left.fields.items():
            if value != right.fields.get(name):
                path, one_value, other_value = _inside(name, value, right.fields.get(name))
                what = f"the {'message' if step else left.kind} says something else"
                shown = _shown(one_value), _shown(other_value)
                return Difference(number, what, *shown, mine.flight, step, before + byte, path)
    what = "sealed bytes differ" if left is not None and left.sealed else "the bytes differ"
    shown = _bytes(mine.data, byte), _bytes(its.data, byte)
    return Difference(number, what, *shown, mine.flight, step, before + byte)


def _piece_at(transcript: Transcript, sender: object, flight: int, byte: int) -> Piece | None:
    for piece in pieces_of(transcript):
        inside = piece.offset <= byte < piece.offset + len(piece.data)
        if inside and piece.sender is sender and piece.flight == flight:
            return piece
    return None


def _kind(line: AnyLine) -> str:
    return str(type(line).__struct_config__.tag) + (f" of {line.step!r}" if isinstance(line, Frame) else " line")


def _bytes(data: bytes, place: int) -> str:
    shown = data[place : place + 12]
    return f"{shown.hex(' ')}" if shown else f"nothing after {len(data)} bytes"


def _shown(value: Any) -> str:
    """A value in a few words; bytes in hex."""
    if value is _NO_MORE:
        return _NO_MORE
    if isinstance(value, StepDescription):
        required = "required" if value.required else "optional"
        return f"the step {value.name!r} of the {value.sender.value}, {required}, protocol {value.protocol_id}"
    value = getattr(value, "value", value)
    text = value.hex() if isinstance(value, bytes) else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."
