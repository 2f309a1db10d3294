"""The ladder of a handshake: what a picture shows, whether it was recorded or has not been run. It draws nothing.

`ladder_of(transcript)` and `ladder_of_profile(profile)` make the same model; renderers turn it into text, Mermaid or a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from ..errors import alert_meaning
from ..layout import Layout, PlacedStep, lay_out
from ..profile import Profile
from ..role import INITIATOR, RESPONDER, Role
from ..steps.session_keys import SessionKeyDerivation
from .lines import (
    Aborted,
    Answered,
    AnyLine,
    Asked,
    Called,
    Completed,
    End,
    Failed,
    Happened,
    Opened,
    Skipped,
    TimedOut,
)
from .pieces import Piece, pieces_of
from .reader import Transcript
from .redaction import public_values


class Tone(Enum):
    """What a mark is about."""

    SEALED = "sealed"
    EVENT = "event"
    QUESTION = "question"
    ANSWER = "answer"
    SKIPPED = "skipped"
    ERROR = "error"
    DONE = "done"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Party:
    """One of the two ends.

    Attributes:
        role: which.
        recorded: whether it is the end that recorded.
        peer: its peer id, `anonymous`, or None where nothing says who it is.
        proof: `verified`, `accepted` for an anonymous one, `shown` where it was asked about and nothing came of it, `unknown`.
        names: what it is called beside its peer id, as far as that was verified: its DID, what an authority certifies.
        psk: the identity of the pre-shared key that it has proved to have; None without one.
    """

    role: Role
    recorded: bool = False
    peer: str | None = None
    proof: str = "unknown"
    names: tuple[str, ...] = ()
    psk: str | None = None


@dataclass(frozen=True, slots=True)
class Arrow:
    """A message, an alert or a record from one end to the other.

    Attributes:
        label: the step's name, or what else it is.
        sender: from whom.
        flight: in which flight, from 1; 0 where that cannot be said.
        size: of the frame in bytes; None where it has not been run.
        sealed: whether it was encrypted.
        at: microseconds since the beginning; None without a clock.
        bad: whether it is an alert, or what was not accepted.
        note: what else there is to say.
        piece: its bytes and fields; None where it has not been run.
    """

    label: str
    sender: Role
    flight: int
    size: int | None = None
    sealed: bool = False
    at: int | None = None
    bad: bool = False
    note: str = ""
    piece: Piece | None = None


@dataclass(frozen=True, slots=True)
class FlightEnd:
    """The messages since the last one were one flight.

    Attributes:
        number: from 1.
        sender: whose flight.
        messages: how many.
        size: of all its frames, in bytes; None where it has not been run.
        took: microseconds from the end of the flight before to its last message; None without a clock.
    """

    number: int
    sender: Role
    messages: int
    size: int | None = None
    took: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened between messages, in words.

    Attributes:
        tone: what it is about.
        text: the words. They may hold what a peer sent: a renderer escapes them.
        side: at which end; None for both.
        at: microseconds; None without a clock.
    """

    tone: Tone
    text: str
    side: Role | None = None
    at: int | None = None


Rung: TypeAlias = Arrow | FlightEnd | Mark


@dataclass(frozen=True, slots=True)
class Ladder:
    """A handshake as a ladder.

    Attributes:
        profile: its name.
        run: whether it was recorded; else it is what would happen.
        parties: the initiator and the responder.
        rungs: from top to bottom.
        outcome: `completed`, `failed`, `open`, or `not run`.
        suite: of the session; None without one.
        protocol: the application protocol; None for none.
        error: what ended it; None for nothing.
        handshake_hash: of the session; None without one.
        whole: whether the transcript has its last line.
        secrets: whether the transcript holds secrets.
    """

    profile: str
    run: bool
    parties: tuple[Party, Party]
    rungs: tuple[Rung, ...]
    outcome: str
    suite: str | None = None
    protocol: str | None = None
    error: str | None = None
    handshake_hash: bytes | None = None
    whole: bool = True
    secrets: bool = False

    @property
    def flights(self) -> int:
        """How many flights there are."""
        return sum(isinstance(rung, FlightEnd) for rung in self.rungs)

    @property
    def size(self) -> int:
        """Bytes of all arrows."""
        return sum(rung.size or 0 for rung in self.rungs if isinstance(rung, Arrow))

    @property
    def ended(self) -> int | None:
        """The last time that is known, in microseconds."""
        times = [rung.at for rung in self.rungs if not isinstance(rung, FlightEnd) and rung.at is not None]
        return max(times, default=None)


def ladder_of(transcript: Transcript) -> Ladder:
    """The ladder of what was recorded. Any transcript has one, however odd."""
    header, lines = transcript.header, transcript.lines
    completed = next((line for line in lines if isinstance(line, Completed)), None)
    failed = next((line for line in lines if isinstance(line, Failed)), None)
    ended = next((line.outcome for line in lines if isinstance(line, End)), "open")
    return Ladder(
        profile=header.profile,
        run=True,
        parties=_parties(transcript, completed),
        rungs=tuple(_with_flights(_with_seal(_rungs(transcript)))),
        outcome=ended,
        suite=None if completed is None else completed.suite,
        protocol=None if completed is None else completed.protocol,
        error=None if failed is None else _error_text(failed),
        handshake_hash=None if completed is None else completed.handshake_hash,
        whole=transcript.whole,
        secrets=header.secrets,
    )


def ladder_of_profile(profile: Profile) -> Ladder:
    """The ladder of a handshake that has not been run, where every step runs and none is added."""
    steps = profile.make_steps()
    accepted = isinstance(steps[-1], SessionKeyDerivation)
    return Ladder(
        profile=profile.name,
        run=False,
        parties=(Party(INITIATOR), Party(RESPONDER)),
        rungs=tuple(_with_flights(_with_seal(_planned(lay_out(steps), accepted)))),
        outcome="not run",
    )


# ------------------------------------------------------------------ of a profile


def step_notes(step: PlacedStep) -> Iterator[str]:
    """On what it depends whether, and how often, a step runs."""
    if step.protocol_id is not None:
        yield f"with {step.protocol_id} only"
    if not step.required:
        yield "where both ends have it"
    if step.several:
        yield "several messages, turn by turn"


def _planned(layout: Layout, accepted: bool) -> Iterator[Rung]:
    for step in layout.steps:
        note = ", ".join(step_notes(step))
        yield Arrow(step.name, step.sender, step.flight, sealed=step.sealed, note=note)
        if step.may_insert:
            yield Mark(Tone.NOTE, f"{', '.join(step.may_insert)} may come in here")
    yield Mark(Tone.DONE, "session keys")
    if accepted:
        yield Arrow("accept", RESPONDER, len(layout.flights) + 1, sealed=layout.sealed_from is not None)


# ------------------------------------------------------------------ of a transcript


def _rungs(transcript: Transcript) -> Iterator[Arrow | Mark]:
    role = transcript.header.role
    pieces = pieces_of(transcript)
    control = next((piece for piece in pieces if piece.kind == "control record" and piece.sender is RESPONDER), None)
    place = 0
    for number, line in enumerate(transcript.lines, 2):
        while place < len(pieces) and pieces[place].line <= number:
            piece = pieces[place]
            yield _arrow(piece, "accept" if piece is control else piece.step or piece.kind)
            place += 1
        mark = _mark(line, role)
        if mark is not None:
            yield mark


def _arrow(piece: Piece, label: str) -> Arrow:
    bad = piece.step is None and piece.kind in ("message", "alert", "sealed alert", "rest")
    note = ""
    if piece.kind == "alert" and "code" in piece.fields:
        note = f"{piece.fields['code']}: {piece.fields['meaning']}"
    elif piece.kind in ("message", "rest") and piece.step is None:
        note = "not accepted"
    return Arrow(
        label=label,
        sender=piece.sender,
        flight=piece.flight,
        size=len(piece.data),
        sealed=piece.sealed,
        at=piece.at,
        bad=bad,
        note=note,
        piece=piece,
    )


def _mark(line: AnyLine, role: Role) -> Mark | None:
    side: Role | None = role
    match line:
        case Skipped():
            tone, text, side = Tone.SKIPPED, f"{line.step} skipped: {line.reason}", None
        case Happened():
            tone, text = Tone.EVENT, f"{line.event}{_values(line.event, line.values)}"
        case Asked():
            tone, text = Tone.QUESTION, f"{line.question}{_values(line.question, line.values)}?"
        case Answered():
            tone, text = Tone.ANSWER, _answer_text(line)
        case Completed():
            tone, text, side = Tone.DONE, f"session keys, {line.suite}", None
        case Aborted():
            tone, text = Tone.ERROR, f"aborts: {line.reason} ({alert_meaning(line.code)})"
        case TimedOut():
            tone, text = Tone.ERROR, "the deadline has passed"
        case Failed():
            tone, text = Tone.ERROR, _error_text(line)
        case Opened():
            tone, text = Tone.NOTE, "takes the channel"
        case Called():
            tone, text = Tone.NOTE, line.what + (f" {line.size:,} bytes" if line.what == "send" else "")
        case _:
            return None
    return Mark(tone, text, side, line.at)


def _values(event: str, values: dict[str, Any]) -> str:
    """Of an event, what a transcript without secrets says of it too."""
    shown = ", ".join(f"{name} {value}" for name, value in public_values(event, values).items() if value is not None)
    return f" ({shown})" if shown else ""


def _answer_text(line: Answered) -> str:
    if line.verdict == "rejected":
        return line.reason or "refused"
    if line.verdict == "withheld":
        return f"answered (a {line.reason}, not recorded)"
    return "yes" if line.value is None else "answered (recorded, secret)"


def _error_text(line: Failed) -> str:
    text = line.error + (f" in {line.step}" if line.step else "") + (f": {line.message}" if line.message else "")
    text += f"; expected {line.expected}" if line.expected else ""
    text += f"; got {line.received}" if line.received else ""
    return text + (f" (hint: {line.hint})" if line.hint else "")


def _parties(transcript: Transcript, completed: Completed | None) -> tuple[Party, Party]:
    role = transcript.header.role
    peer, proof = None, "unknown"
    for line in transcript.lines:
        if isinstance(line, Asked) and line.question == "PeerIdentified" and isinstance(line.values.get("peer"), str):
            peer, proof = str(line.values["peer"]), "shown"
    other = Party(role.peer, peer=peer, proof=proof)
    if completed is not None:
        peer, names = completed.peer, completed.names
        names = names if completed.identifier is None else (completed.identifier, *names)
        proof = "accepted" if peer == "anonymous" else "verified"
        other = Party(role.peer, peer=peer, proof=proof, names=names, psk=completed.psk)
    parties = {role: Party(role, recorded=True), role.peer: other}
    return parties[INITIATOR], parties[RESPONDER]


# ------------------------------------------------------------------ of both


def _with_seal(rungs: Iterator[Arrow | Mark] | Iterator[Rung]) -> Iterator[Rung]:
    """With a mark before the first message that is encrypted."""
    begun = False
    for rung in rungs:
        if isinstance(rung, Arrow) and rung.sealed and not begun:
            begun = True
            yield Mark(Tone.SEALED, "encrypted from here on", None, rung.at)
        yield rung


def _with_flights(rungs: Iterator[Rung]) -> Iterator[Rung]:
    """With the end of each flight: where the direction turns, and at the end."""
    open_flight: list[Arrow] = []
    number, before = 0, 0
    waiting: list[Rung] = []

    def end() -> FlightEnd:
        nonlocal number, before
        number += 1
        last = max((arrow.at for arrow in open_flight if arrow.at is not None), default=None)
        took = None if last is None else max(0, last - before)
        before = last or before
        sizes = [arrow.size for arrow in open_flight if arrow.size is not None]
        return FlightEnd(number, open_flight[0].sender, len(open_flight), sum(sizes) if sizes else None, took)

    for rung in rungs:
        if isinstance(rung, Arrow):
            if open_flight and open_flight[-1].sender is not rung.sender:
                yield end()
                open_flight = []
            yield from waiting
            waiting = []
            open_flight.append(rung)
            yield rung
        else:
            waiting.append(rung)
    if open_flight:
        yield end()
    yield from waiting
