"""What a listener counts, as values that can be read at any time. Nothing here decides whom it lets in.

The names and units are those that OpenTelemetry's conventions would give them; no library for metrics is needed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds: the upper bounds that OpenTelemetry's conventions advise for durations; one more bucket holds what is above."""

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Refusal(StrEnum):
    """Why a connection was not let in, though its peer did nothing wrong."""

    BUSY = "busy"
    """As many handshakes were in progress as the limits allow."""
    ADDRESS = "address"
    """As many of them came from the same address."""
    EVICTED = "evicted"
    """It had kept the listener waiting, and its place was needed."""
    CLOSING = "closing"
    """The listener was closed, or cancelled, before its handshake was complete."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How long handshakes took that completed, from their first message on.

    Attributes:
        buckets: how many were within each bound of `BUCKETS` and above the one before; the last is for what is above all.
        count: how many in all.
        sum: seconds in all.
        max: seconds of the longest; 0 where there is none.
    """

    buckets: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    count: int = 0
    sum: float = 0.0
    max: float = 0.0


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of the counters, or one histogram, for a library of metrics.

    Attributes:
        name: such as `nautilus.listener.accepted`.
        kind: `counter` only grows, `updowncounter` is how many there are now, `histogram` has a `Durations` as its value.
        unit: in UCUM: `s`, `{connection}`, `{handshake}`, `{session}`.
        value: the number.
        attributes: what tells it from others of the same name: `error.type`, `nautilus.refusal`.
    """

    name: str
    kind: Literal["counter", "updowncounter", "histogram"]
    unit: str
    value: int | Durations
    attributes: Mapping[str, str] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True, slots=True)
class Counters:
    """What a listener has counted, at one moment.

    Each connection that was accepted is in exactly one of `half_open`, `in_progress`, `completed`, `failed` and `refused`; one
    whose handshake has just failed is in none while the peer is told, for a second at most.

    Attributes:
        accepted: connections, since the listener was made; likewise all that are not said to be of now.
        half_open: connections now whose peer has not sent its first message yet.
        in_progress: handshakes now.
        completed: handshakes.
        failed: handshakes, by the name of the error's class.
        refused: connections, by the reason, a `Refusal`.
        sessions: handlers that run now.
        sessions_failed: handlers that raised, by the name of the error's class; `ChannelFailed` where the peer broke off.
        durations: of the handshakes that completed.
    """

    accepted: int
    half_open: int
    in_progress: int
    completed: int
    failed: Mapping[str, int]
    refused: Mapping[str, int]
    sessions: int
    sessions_failed: Mapping[str, int]
    durations: Durations

    def as_metrics(self) -> tuple[Metric, ...]:
        """The same as metrics, with OpenTelemetry's kinds, units and attributes."""
        return (
            Metric("nautilus.listener.accepted", "counter", "{connection}", self.accepted),
            Metric("nautilus.listener.half_open", "updowncounter", "{connection}", self.half_open),
            *_each("nautilus.listener.refused", "{connection}", self.refused, "nautilus.refusal"),
            Metric("nautilus.handshake.active", "updowncounter", "{handshake}", self.in_progress),
            Metric("nautilus.handshake.completed", "counter", "{handshake}", self.completed),
            *_each("nautilus.handshake.failed", "{handshake}", self.failed, "error.type"),
            Metric("nautilus.handshake.duration", "histogram", "s", self.durations),
            Metric("nautilus.session.active", "updowncounter", "{session}", self.sessions),
            *_each("nautilus.session.failed", "{session}", self.sessions_failed, "error.type"),
        )


def _each(name: str, unit: str, counts: Mapping[str, int], attribute: str) -> list[Metric]:
    return [Metric(name, "counter", unit, count, {attribute: value}) for value, count in sorted(counts.items())]


@dataclass(slots=True)
class Tally:
    """Where a listener counts; `counters` takes the snapshot."""

    accepted: int = 0
    completed: int = 0
    sessions: int = 0
    _failed: dict[str, int] = field(default_factory=dict)
    _refused: dict[str, int] = field(default_factory=dict)
    _sessions_failed: dict[str, int] = field(default_factory=dict)
    _buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    _sum: float = 0.0
    _max: float = 0.0

    def complete(self, seconds: float) -> None:
        """A handshake that took so long."""
        self.completed += 1
        self._buckets[bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds
        self._max = max(self._max, seconds)

    def fail(self, error: Exception) -> None:
        """A handshake that failed."""
        _count(self._failed, type(error).__name__)

    def refuse(self, reason: Refusal) -> None:
        """A connection that was not let in."""
        _count(self._refused, reason.value)

    def fail_session(self, error: Exception) -> None:
        """A handler that raised."""
        _count(self._sessions_failed, type(error).__name__)

    def counters(self, *, half_open: int, in_progress: int) -> Counters:
        """All of it now."""
        return Counters(
            self.accepted,
            half_open,
            in_progress,
            self.completed,
            MappingProxyType(dict(self._failed)),
            MappingProxyType(dict(self._refused)),
            self.sessions,
            MappingProxyType(dict(self._sessions_failed)),
            Durations(tuple(self._buckets), self.completed, self._sum, self._max),
        )


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
