"""The ladder of steps between two ends, drawn in the terminal line by line as events come. It decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.text import Text

from nautilus_core import INITIATOR, RESPONDER, Accepted, Event, Role, StepCompleted, StepSkipped

WIDTH: Final = 78
_LEFT: Final = 4


class Ladder:
    """Draws one side's view of a handshake: an arrow for each message, a line for each flight with its bytes and time.

    Args:
        console: where to draw.
        clock: seconds, monotonic.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.perf_counter) -> None:
        self._console = console
        self._clock = clock
        self._sender: Role | None = None
        self._flights = 0
        self._bytes = 0
        self._total = 0
        self._sealed = False
        self._elapsed = 0.0
        self._started = clock()
        self._flight_started = self._started
        left, right = "initiator", "responder"
        console.print(Text(f"{left}{right:>{WIDTH - len(left)}}", style="bold"))

    def __call__(self, event: Event) -> None:
        """See one event."""
        if isinstance(event, StepCompleted):
            if event.sender is not self._sender:
                self._end_flight()
                self._sender = event.sender
            if event.sealed and not self._sealed:
                self._rule(" sealed from here on ", "═", "green")
                self._sealed = True
            self._bytes += event.size
            self._arrow(event)
        elif isinstance(event, Accepted):
            self._end_flight()
            self._sender = None
            self._draw(" accept ", "─", RESPONDER, "green")
        elif isinstance(event, StepSkipped):
            self._rule(f" {event.step} skipped: {event.reason} ", " ", "yellow")

    def finish(self) -> None:
        """The handshake is complete: end the last flight and sum up."""
        self._end_flight()
        self._elapsed = (self._clock() - self._started) * 1000
        self._rule(f" {self._flights} flights, {self._total:,} bytes, {self._elapsed:.1f} ms ", "─", "bold")

    def summary(self) -> dict[str, float]:
        """Once it is finished: how many flights and bytes there were, and the milliseconds."""
        return {"flights": self._flights, "bytes": self._total, "ms": round(self._elapsed, 3)}

    def _arrow(self, event: StepCompleted) -> None:
        style = "green" if event.sealed else "cyan"
        self._draw(f" {event.step} ", f" {event.size:,} B ", event.sender, style)

    def _draw(self, label: str, size: str, sender: Role, style: str) -> None:
        line = "─" * (WIDTH - 2 - 2 * _LEFT - len(label) - len(size) - 1)
        body = f"──{label}{line}{size}▶" if sender is INITIATOR else f"◀{size}{line}{label}──"
        self._console.print(Text.assemble("│", " " * (_LEFT - 1), (body, style), " " * (_LEFT - 1), "│"))

    def _end_flight(self) -> None:
        now = self._clock()
        if self._sender is not None:
            self._flights += 1
            self._total += self._bytes
            spent = (now - self._flight_started) * 1000
            note = f"flight {self._flights}: {self._bytes:,} bytes, {spent:.1f} ms"
            aligned = f"{note:<{WIDTH - 6}}" if self._sender is INITIATOR else f"{note:>{WIDTH - 6}}"
            self._console.print(Text.assemble("│  ", (aligned, "dim"), "  │"))
        self._bytes = 0
        self._flight_started = now

    def _rule(self, text: str, fill: str, style: str) -> None:
        self._console.print(Text.assemble("│", (f"{text:{fill}^{WIDTH - 2}}", style), "│"))
