"""The ladder of a handshake, drawn in the terminal line by line as events come. How its rows look is `pictures.text`'s."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.text import Text

from nautilus_core import RESPONDER, Accepted, Event, StepCompleted, StepSkipped
from nautilus_core.transcript import Arrow, FlightEnd, Ladder, Mark, Party, Rung, Tone

from ..pictures.text import WIDTH, head, rung_rows, summary_row

_NOBODY: Final = (Party(RESPONDER.peer), Party(RESPONDER))


class LiveLadder:
    """Draws one side's view of a handshake: an arrow for each message, a line for each flight with its bytes and time.

    Args:
        console: where to draw.
        clock: seconds, monotonic.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.perf_counter) -> None:
        self._console = console
        self._clock = clock
        self._started = clock()
        self._rungs: list[Rung] = []
        self._flight: list[Arrow] = []
        self._flights = 0
        self._before = 0
        for row in head(self._ladder("open"), WIDTH):
            console.print(Text(row.text, row.style))

    def __call__(self, event: Event) -> None:
        """See one event."""
        if isinstance(event, StepCompleted):
            if event.sealed and not any(isinstance(rung, Arrow) and rung.sealed for rung in self._rungs):
                self._end_flight(unless_of=event.sender)
                self._draw(Mark(Tone.SEALED, "encrypted from here on"))
            self._arrow(Arrow(event.step, event.sender, self._flights + 1, event.size, event.sealed, self._now()))
        elif isinstance(event, Accepted):
            self._end_flight()
            self._draw(Arrow("accept", RESPONDER, self._flights + 1, sealed=True, at=self._now()))
        elif isinstance(event, StepSkipped):
            self._draw(Mark(Tone.SKIPPED, f"{event.step} skipped: {event.reason}"))

    def finish(self) -> None:
        """The handshake is complete: end the last flight and sum up."""
        self._end_flight()
        row = summary_row(self._ladder("completed"), WIDTH)
        self._console.print(Text(row.text, row.style))

    def summary(self) -> dict[str, float]:
        """Once it is finished: how many flights and bytes there were, and the milliseconds."""
        ladder = self._ladder("completed")
        return {"flights": ladder.flights, "bytes": ladder.size, "ms": round((ladder.ended or 0) / 1000, 3)}

    def _ladder(self, outcome: str) -> Ladder:
        return Ladder("", run=False, parties=_NOBODY, rungs=tuple(self._rungs), outcome=outcome)

    def _now(self) -> int:
        return round((self._clock() - self._started) * 1_000_000)

    def _arrow(self, arrow: Arrow) -> None:
        self._end_flight(unless_of=arrow.sender)
        self._flight.append(arrow)
        self._draw(arrow)

    def _end_flight(self, *, unless_of: object = None) -> None:
        if self._flight and self._flight[-1].sender is not unless_of:
            now = self._flight[-1].at or 0
            size = sum(arrow.size or 0 for arrow in self._flight)
            self._flights += 1
            self._draw(FlightEnd(self._flights, self._flight[0].sender, len(self._flight), size, now - self._before))
            self._before = now
            self._flight = []

    def _draw(self, rung: Rung) -> None:
        self._rungs.append(rung)
        for row in rung_rows(rung, WIDTH):
            self._console.print(Text(row.text, row.style))
