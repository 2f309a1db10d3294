"""`FaultyPair`: both ends of a handshake and then of its channel, over faulty links, on a simulated clock.

What must hold at the end is in `promises`; what the links do to the bytes, in `faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ..handshake import Handshake
from ..profile import Profile
from ..role import INITIATOR, RESPONDER, Role
from ..state import State
from .faults import FaultyLink
from .faulty_end import FaultyEnd
from .promises import broken_promises

SAID: Final[tuple[tuple[bytes, ...], tuple[bytes, ...]]] = (
    (b"first, from the initiator", b"second" * 50, b"third, and last"),
    (b"first, from the responder", b"second" * 50),
)
"""What the two ends say in the channel, unless they are given something else."""

TIMEOUT: Final = 30.0
SILENCE: Final = 60.0
MOST_STEPS: Final = 1000


class PromiseBroken(AssertionError):
    """Two ends over faulty links did something that they never may. Its text has the schedule and what both ends did."""


class FaultyPair:
    """Both ends, the links between them, and a clock that stands still while anything moves.

    Args:
        initiator: the initiator's engine, or a profile to make one from. An engine without a deadline gets one.
        responder: likewise the responder's.
        links: from the initiator to the responder, and back; without faults by default.
        answer: called with each question; without it questions stay open.
        answer_after: seconds until it is called; `math.inf` for never.
        timeout: seconds for the handshake.
        silence: seconds without data after which the application of an end gives its channel up: a channel has no clock.
        words: what the initiator says in the channel, and what the responder says.
        most_steps: how many calls one end makes at most; more are a `PromiseBroken`.

    Attributes:
        initiator: one end.
        responder: the other.
        links: as given.
    """

    def __init__(
        self,
        initiator: Handshake | Profile,
        responder: Handshake | Profile,
        links: tuple[FaultyLink, FaultyLink] | None = None,
        *,
        answer: Callable[[Any], None] | None = None,
        answer_after: float = 0.0,
        timeout: float = TIMEOUT,
        silence: float = SILENCE,
        words: tuple[Sequence[bytes], Sequence[bytes]] = SAID,
        most_steps: int = MOST_STEPS,
    ) -> None:
        def end(role: Role, made: Handshake | Profile, said: Sequence[bytes]) -> FaultyEnd:
            handshake = Handshake(role, made) if isinstance(made, Profile) else made
            if handshake.deadline is None:
                handshake.deadline = timeout
            return FaultyEnd(handshake, said, answer, answer_after, silence)

        self.initiator = end(INITIATOR, initiator, words[0])
        self.responder = end(RESPONDER, responder, words[1])
        self.links = links or (FaultyLink(), FaultyLink())
        self._most_steps = most_steps
        self._now = 0.0
        self._turns = 0

    @property
    def ends(self) -> tuple[FaultyEnd, FaultyEnd]:
        """The initiator and the responder."""
        return self.initiator, self.responder

    @property
    def steps(self) -> int:
        """How many calls the busier end has made."""
        return max(end.steps for end in self.ends)

    @property
    def completed(self) -> bool:
        """Whether both ends have a session."""
        return all(end.handshake.state is State.COMPLETED for end in self.ends)

    def run(self) -> FaultyPair:
        """Go on until nothing moves any more and nothing is due; returns the pair itself.

        Raises:
            PromiseBroken: it takes too many steps.
        """
        for end in self.ends:
            end.run(self._now)
        while self._move() or self._wait():
            self._turns += 1
            if max(self._turns, self.steps) > self._most_steps:
                raise PromiseBroken(f"no end after {self._most_steps} steps\n{self.report()}")
        return self

    def _move(self) -> bool:
        """Let both ends send, and deliver what arrives now; whether there was any."""
        moved = False
        for sender, receiver, link in zip(self.ends, self.ends[::-1], self.links, strict=True):
            if data := sender.take_output(self._now):
                link.send(data, self._now)
                moved = True
            if sender.ends_stream:
                link.end(self._now)
            for piece in link.receive(self._now):
                receiver.take(piece, self._now)
                moved = True
        return moved

    def _wait(self) -> bool:
        """Let time pass until something arrives or is due; whether there is anything to wait for."""
        times = [link.next_arrival for link in self.links] + [end.alarm for end in self.ends]
        due = min((time for time in times if time is not None), default=None)
        if due is None:
            return False
        self._now = max(self._now, due)
        for end in self.ends:
            end.tick(self._now)
        return True

    def report(self) -> str:
        """The schedule, and what both ends did, for people; nothing in it is secret but what was said in the channel."""
        lines = [f"links = ({', '.join(map(repr, self.links))})"]
        for end in self.ends:
            lines.append(f"{end.role.value}, {end.outcome}, {end.steps} steps:")
            lines += [f"  {time:9.3f}  {what} {detail}" for time, what, detail in end.story]
        return "\n".join(lines)

    def verify(self, like: FaultyPair | None = None) -> FaultyPair:
        """Check all that always holds, whatever the links did, and return the pair.

        Args:
            like: the same two profiles over links without faults: whoever completes agreed on the same.

        Raises:
            PromiseBroken: something does not hold.
        """
        if broken := broken_promises(self, like):
            raise PromiseBroken("\n".join([*broken, self.report()]))
        return self
