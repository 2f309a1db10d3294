"""Faults of a byte stream, as values, and the link that has them. Which ends talk over it is not known here.

A schedule is a tuple of `Fault`s. Its repr can be pasted into a test, it can be shrunk fault by fault, and `draw_faults` makes
one from a seed, always the same.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

Kind: TypeAlias = Literal["split", "merge", "delay", "drop", "truncate", "duplicate", "reorder", "corrupt", "close"]
"""What can happen to a stream of bytes; `Fault` says what each is."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

DAMAGING: Final[frozenset[Kind]] = frozenset({"drop", "truncate", "duplicate", "reorder", "corrupt", "close"})
"""The kinds after which what arrives is not what was sent. The others only change when it arrives, and in which pieces."""

_LONGEST_DELAY: Final = 40_000
"""Milliseconds. More than the usual timeout of a handshake, so that some come too late."""

_BYTE: Final = 0xFF


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that happens to what travels in one direction.

    Attributes:
        kind: what. `split`: the byte comes in another piece than the one before it. `merge`: it waits for what is sent next,
            `amount` milliseconds at most. `delay`: it, and all after it, arrive no sooner than in `amount` milliseconds.
            `drop`: `amount` bytes are lost. `duplicate`: they come twice. `reorder`: they come after the rest of what was sent
            with them. `corrupt`: the byte is XORed with `amount`. `truncate`: nothing more arrives, and no end either.
            `close`: the stream ends here.
        at: before, or at, which byte of all that is sent in this direction, from 0.
        amount: as the kind says. Of bytes those alone count that were sent at once.

    Raises:
        ValueError: for numbers out of range.
    """

    kind: Kind
    at: int
    amount: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.at < 0 or self.amount < 1:
            raise ValueError(f"no such fault: {self}")
        if self.kind == "corrupt" and self.amount > _BYTE:
            raise ValueError(f"a byte is corrupted with 1 to 255, not {self.amount}")


class _Lots:
    """Numbers that a seed alone decides: SHAKE128 of it, four bytes for each. Not for secrets."""

    def __init__(self, seed: int | str) -> None:
        self._shake = hashlib.shake_128(str(seed).encode(), usedforsecurity=False)
        self._drawn = 0
        self._bytes = b""

    def below(self, limit: int) -> int:
        """From 0 up to, but not, `limit`. That smaller numbers are a little likelier is no harm here."""
        start = self._drawn
        self._drawn += 4
        if len(self._bytes) < self._drawn:
            self._bytes = self._shake.digest(max(128, 2 * self._drawn))
        return int.from_bytes(self._bytes[start : start + 4], "big") % limit


def draw_faults(
    seed: int | str, length: int, *, most: int = 3, kinds: Sequence[Kind] = KINDS, marks: Sequence[int] = ()
) -> tuple[Fault, ...]:
    """A schedule for one direction, drawn by lot.

    Args:
        seed: decides everything: the same arguments always give the same schedule.
        length: how many bytes are expected to be sent; faults are at one of them.
        most: how many faults there are at most; the number is drawn too, from 0.
        kinds: which ones to draw from.
        marks: places of interest, rising: where messages begin. Half of the faults are exactly there, and go to the next.

    Raises:
        ValueError: there is nothing to draw from.
    """
    if length < 1 or not kinds or most < 0:
        raise ValueError("faults are drawn for a length of at least 1, from some kinds")
    lots = _Lots(seed)
    drawn = [_drawn(lots, length, kinds, marks) for _ in range(lots.below(most + 1))]
    return tuple(sorted(drawn, key=lambda fault: fault.at))


def _drawn(lots: _Lots, length: int, kinds: Sequence[Kind], marks: Sequence[int]) -> Fault:
    kind = kinds[lots.below(len(kinds))]
    at = lots.below(length)
    size = 1 + lots.below(1 << lots.below(9))  # mostly few bytes, up to 256
    if marks and lots.below(2):
        at = marks[lots.below(len(marks))]
        following = bisect_right(marks, at)
        size = max(1, (marks[following] if following < len(marks) else length) - at)
    if kind == "corrupt":
        return Fault(kind, at, 1 + lots.below(_BYTE))
    if kind in {"delay", "merge"}:
        return Fault(kind, at, 1 + lots.below(_LONGEST_DELAY if lots.below(4) == 0 else 200))
    return Fault(kind, at, size if kind in {"drop", "duplicate", "reorder"} else 1)


class FaultyLink:
    """One direction of a byte stream, with faults. It has no clock: each call is told the time, in seconds.

    Bytes that arrive do so in the order in which they were put on the link, as over TCP; `reorder` changes what is put on it.

    Args:
        faults: the schedule, in any order.

    Attributes:
        faults: the schedule, in the order of its places.
        happened: the faults whose place has been reached.
        sent: how many bytes the sender has sent.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.at))
        self.happened: list[Fault] = []
        self.sent = 0
        self._ahead = deque(self.faults)
        self._pieces: deque[tuple[float, bytearray]] = deque()
        """When each arrives, and its bytes; none at all are the end of the stream."""
        self._earliest = 0.0
        self._cut = False
        self._late = b""
        self._held: bytearray | None = None
        self._held_until = 0.0
        self._over = False

    @classmethod
    def seeded(
        cls, seed: int | str, length: int, *, most: int = 3, kinds: Sequence[Kind] = KINDS, marks: Sequence[int] = ()
    ) -> FaultyLink:
        """A link with the schedule that `draw_faults` makes of the same arguments."""
        return cls(draw_faults(seed, length, most=most, kinds=kinds, marks=marks))

    def __repr__(self) -> str:
        return f"FaultyLink({self.faults!r})"

    @property
    def damaged(self) -> bool:
        """Whether something has happened after which what arrives is not what was sent."""
        return any(fault.kind in DAMAGING for fault in self.happened)

    @property
    def next_arrival(self) -> float | None:
        """When something arrives next; None when nothing is on the way."""
        if self._pieces:
            return self._pieces[0][0]
        return self._held_until if self._held else None

    def send(self, data: bytes, now: float = 0.0) -> None:
        """Put bytes on the link. The pieces of one call stay apart from those of another, but for `merge`."""
        cursor, end = 0, self.sent + len(data)
        self._cut = True
        if self._held is not None:
            self._release(now)  # what is sent now goes on with it, in one piece
        while self._ahead and self._ahead[0].at < end:
            fault = self._ahead.popleft()
            place = max(fault.at - self.sent, cursor)  # not inside of what another fault has taken
            self._put(data[cursor:place], now)
            if not self._over:
                self.happened.append(fault)
            cursor = _EFFECTS[fault.kind](self, fault, data, place, now)
        self._put(data[cursor:] + self._late, now)
        self._late = b""
        self.sent = end

    def end(self, now: float = 0.0) -> None:
        """The sender's stream ends: after all that is on the way."""
        if not self._over:
            self._release(now)
            self._over = True
            self._earliest = max(self._earliest, now)
            self._pieces.append((self._earliest, bytearray()))

    def receive(self, now: float = 0.0) -> list[bytes]:
        """The pieces that have arrived; `b""` is the end of the stream, and the last."""
        if self._held is not None and self._held_until <= now:
            self._release(self._held_until)
        arrived = []
        while self._pieces and self._pieces[0][0] <= now:
            arrived.append(bytes(self._pieces.popleft()[1]))
        return arrived

    def _put(self, data: bytes, now: float) -> None:
        if not data or self._over:
            return
        if self._held is not None:
            self._held += data
            return
        self._earliest = max(self._earliest, now)
        if self._cut or not self._pieces or self._pieces[-1][0] < self._earliest:
            self._pieces.append((self._earliest, bytearray(data)))
        else:
            self._pieces[-1][1].extend(data)
        self._cut = False

    def _release(self, now: float) -> None:
        """What was held goes on its way."""
        held, self._held = self._held, None
        if held:
            self._cut = True
            self._put(bytes(held), now)

    # ------------------------------------------- what a fault does; returns how much of the data has been taken care of

    def _split(self, fault: Fault, data: bytes, place: int, now: float) -> int:
        self._cut = True
        return place

    def _merge(self, fault: Fault, data: bytes, place: int, now: float) -> int:
        if self._held is None and not self._over:
            self._held = bytearray()
            self._held_until = now + fault.amount / 1000
        return place

    def _delay(self, fault: Fault, data: bytes, place: int, now: float) -> int:
        self._cut = True
        self._earliest = max(self._earliest, now + fault.amount / 1000)
        return place

    def _drop(self, fault: Fault, data: bytes, place: int, now: float) -> int:
        return place + fault.amount

    def _duplicate(self, fault: Fault, data: bytes, place: int, now: float) -> int:
        end = place + fault.amount
        self._put(data[place:end] * 2, now)
        return end

    def _reorder(self, fault: Fault, data: bytes, place: int, now: float) -> int:
        end = place + fault.amount
        self._late += data[place:end]
        return end

    def _corrupt(self, fault: Fault, data: bytes, place: int, now: float) -> int:
        self._put(bytes(byte ^ fault.amount for byte in data[place : place + 1]), now)
        return place + 1

    def _truncate(self, fault: Fault, data: bytes, place: int, now: float) -> int:
        self._release(now)
        self._over = True
        return len(data)

    def _close(self, fault: Fault, data: bytes, place: int, now: float) -> int:
        self.end(now)
        return len(data)


_Effect: TypeAlias = Callable[[FaultyLink, Fault, bytes, int, float], int]

_EFFECTS: Final[Mapping[Kind, _Effect]] = MappingProxyType({kind: getattr(FaultyLink, f"_{kind}") for kind in KINDS})
