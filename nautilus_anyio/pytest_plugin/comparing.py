"""Two transcripts of one handshake: the first difference that matters. Times do not, nor in which pieces bytes came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

import msgspec

from nautilus_core.role import Role
from nautilus_core.transcript import AnyLine, ReplayDiverged, Transcript
from nautilus_core.transcript.lines import Drawn, End, Frame, Happened, Received, Sent

_BYTES: Final = (Received, Sent)
_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a handshake was another than the recorded one.

    Attributes:
        diverged: the error, which says where and how.
        caused: whether this end did it; else it came from its peer.
    """

    diverged: ReplayDiverged
    caused: bool


def first_divergence(recorded: Transcript, live: Transcript, drawn: int, problem: str | None) -> Divergence | None:
    """The first difference in the order of the recorded lines.

    Args:
        recorded: what the handshake must do again.
        live: what it did.
        drawn: how many draws of the tape it used.
        problem: what it drew that the tape does not have; None where it had all.
    """
    found = [*_header(recorded, live), *_draws(recorded, drawn, problem), *_events(recorded, live)]
    for kind in _BYTES:
        for channel in (False, True):
            found += _stream(recorded, live, kind, channel)
    return min(found, key=lambda one: (one.diverged.line, not one.caused), default=None)


def _header(recorded: Transcript, live: Transcript) -> Iterator[Divergence]:
    for field in ("role", "profile", "framing", "steps", "limits"):
        one, other = getattr(recorded.header, field), getattr(live.header, field)
        if one != other:
            yield Divergence(ReplayDiverged(f"{field} {one}", f"{other}", line=1), caused=True)


def _draws(recorded: Transcript, drawn: int, problem: str | None) -> Iterator[Divergence]:
    numbers = [number for number, line in enumerate(recorded.lines, 2) if isinstance(line, Drawn)]
    if problem is None and drawn < len(numbers):
        problem = f"only {drawn} draws"
    if problem is not None:
        line = numbers[drawn] if drawn < len(numbers) else len(recorded.lines) + 1
        yield Divergence(
            ReplayDiverged(f"{len(numbers)} draws of randomness and keys", problem, line=line), caused=True
        )


def _events(recorded: Transcript, live: Transcript) -> Iterator[Divergence]:
    """What happened, without times and flights, which depend on the pieces in which bytes came."""
    flight = 0
    places: list[tuple[int, int, AnyLine]] = []
    for number, line in enumerate(recorded.lines, 2):
        if isinstance(line, _BYTES):
            flight = line.flight
        elif not isinstance(line, (Drawn, End)):
            places += [(number, flight, one) for one in _by_record(line)]
    others = [one for line in live.lines if not isinstance(line, (*_BYTES, Drawn, End)) for one in _by_record(line)]
    for place, other in zip_longest(places, others):
        number, where, one = place or (len(recorded.lines) + 1, flight, None)
        expected, got = _text(one), _text(other)
        if expected != got:
            step = getattr(one or other, "step", None)
            yield Divergence(ReplayDiverged(expected, got, line=number, flight=where, step=step), caused=True)
            return


def _by_record(line: AnyLine) -> list[AnyLine]:
    """Records that came together are one event: a line for each, because together they need not come again."""
    records = line.values.get("records") if isinstance(line, Happened) and line.event == "DataReceived" else None
    if not isinstance(records, list):
        return [line]
    return [msgspec.structs.replace(line, values={"records": [one]}) for one in records]


def _text(line: AnyLine | None) -> str:
    return "nothing" if line is None else _encode(msgspec.structs.replace(line, at=None)).decode()


def _stream(recorded: Transcript, live: Transcript, kind: type[Received | Sent], channel: bool) -> Iterator[Divergence]:
    """All bytes of one direction, in the handshake or on the channel."""
    lines = [
        (number, line)
        for number, line in enumerate(recorded.lines, 2)
        if isinstance(line, kind) and line.channel is channel
    ]
    one = b"".join(line.data for _, line in lines)
    other = b"".join(line.data for line in live.lines if isinstance(line, kind) and line.channel is channel)
    if one == other:
        return
    place = _where(one, other)
    number, flight, start = _line_of(recorded, lines, place)
    step = None if channel else _step_of(recorded, kind, place)
    direction = "sent" if kind is Sent else "received"
    diverged = ReplayDiverged(
        _window(one, place, direction), _window(other, place, direction), line=number, flight=flight, step=step,
        byte=place - start,
    )  # fmt: skip
    yield Divergence(diverged, caused=kind is Sent)


def _where(one: bytes, other: bytes) -> int:
    """The first byte that differs."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _line_of(recorded: Transcript, lines: Sequence[tuple[int, Received | Sent]], place: int) -> tuple[int, int, int]:
    """The line and the flight that the byte `place` stands in, and where that flight begins."""
    total = start = flight = 0
    for number, line in lines:
        if line.flight != flight:
            flight, start = line.flight, total
        total += len(line.data)
        if place < total:
            return number, flight, start
    return (lines[-1][0] if lines else len(recorded.lines) + 1), flight, start


def _step_of(recorded: Transcript, kind: type[Received | Sent], place: int) -> str | None:
    role = recorded.header.role
    sender: Role = role if kind is Sent else role.peer
    end = 0
    for line in recorded.lines:
        if isinstance(line, Frame) and line.sender is sender:
            end += line.size
            if place < end:
                return line.step
    return None


def _window(data: bytes, place: int, direction: str) -> str:
    shown = data[place : place + _SHOWN]
    return f"{direction} {shown.hex(' ')}" if shown else f"{direction} nothing more"
