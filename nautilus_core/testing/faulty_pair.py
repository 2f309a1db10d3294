"""`FaultyPair`: both ends of a handshake and then of its channel, over faulty links, on a simulated clock.

What must hold at the end is in `promises`; what the links do to the bytes, in `faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any, Final

from ..errors import LocalProtocolError
from ..events import DataReceived, Event, HandshakeCompleted, PeerClosed, Question, Signal
from ..handshake import Handshake
from ..profile import Profile
from ..role import INITIATOR, RESPONDER, Role
from ..session import Session
from ..state import State
from ..transport import Channel
from .faults import FaultyLink
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


class FaultyEnd:
    """One end of a `FaultyPair`: its engine, then its channel, and an application that talks.

    The application says its first words as soon as it has a session (who initiates) or has heard something (who responds), and
    the next ones whenever it has heard something new, each after a change of keys; when it has said all, it closes.

    Attributes:
        role: which end it is.
        handshake: its engine.
        channel: its channel, from the completion of the handshake on.
        error: what ended its handshake or its channel before the time, or None.
        heard: the data that it has received.
        words: what it has to say.
        peer_closed: the peer's close, once there was one.
        steps: how many calls it has made.
        story: what it did, and when: `(seconds, what, detail)`.
    """

    def __init__(
        self,
        handshake: Handshake,
        words: Sequence[bytes],
        answer: Callable[[Any], None] | None,
        answer_after: float,
        silence: float,
    ) -> None:
        self.role = handshake.role
        self.handshake = handshake
        self.channel: Channel | None = None
        self.error: Exception | None = None
        self.heard = b""
        self.words = tuple(words)
        self.peer_closed: PeerClosed | None = None
        self.steps = 0
        self.story: list[tuple[float, str, object]] = []
        self._unsaid = list(words)
        self._closed = False
        self._out = b""
        self._answer = answer
        self._answer_after = answer_after
        self._question: Question[Any] | None = None
        self._answer_at: float | None = None
        self._silence = silence
        self._last_heard = 0.0

    @property
    def session(self) -> Session | None:
        """What its handshake agreed on; None where it did not complete."""
        return self.handshake.session

    @property
    def over(self) -> bool:
        """Whether it has nothing more to do: it failed, or both directions are closed."""
        return self.error is not None or (self._closed and self.peer_closed is not None)

    @property
    def outcome(self) -> str:
        """How it ended: `closed`, `handshake: ERROR` or `channel: ERROR`; `still running` where it has not."""
        if self.error is not None:
            return f"{'handshake' if self.channel is None else 'channel'}: {type(self.error).__name__}"
        return "closed" if self.over else "still running"

    @property
    def ends_stream(self) -> bool:
        """Whether its stream ends after what it has sent."""
        return self.over or (self._closed and self.channel is not None and self.channel.closes_with_stream)

    @property
    def alarm(self) -> float | None:
        """When it wants to be told the time, because something is due then."""
        if self.over:
            return None
        times = [self._answer_at, self._last_heard + self._silence if self.channel else self.handshake.deadline]
        return min((time for time in times if time is not None), default=None)

    def take(self, data: bytes, now: float) -> None:
        """Bytes have arrived; `b""` is the end of the stream."""
        if self.over:
            return
        self.steps += 1
        self._tell(now, "got", len(data) if data else "the end of the stream")
        try:
            (self.channel or self.handshake).receive_data(data)
        except Exception as error:  # judged later, whatever it is
            self._fail(error, now)
        self.run(now)

    def tick(self, now: float) -> None:
        """It is `now`: answer what is due to be answered, and give up what has taken too long."""
        if self.over:
            return
        try:
            if self._answer_at is not None and self._answer_at <= now:
                self._give_answer(now)
            if self.channel is None:
                self.handshake.handle_timeout(now)
            elif now >= self._last_heard + self._silence:
                self._tell(now, "gives up", "nothing was heard for too long")
                self.channel.abort("nothing was heard for too long")
        except Exception as error:  # judged later, whatever it is
            self._fail(error, now)
        self.run(now)

    def _give_answer(self, now: float) -> None:
        question, self._question, self._answer_at = self._question, None, None
        if question is not None and self._answer is not None:
            self._tell(now, "answers", type(question).__name__)
            self._answer(question)

    def run(self, now: float) -> None:
        """Go on until it blocks."""
        while not self.over:
            self.steps += 1
            try:
                event = (self.channel or self.handshake).next_event()
                if isinstance(event, Signal):
                    return
                self._happened(event, now)
            except Exception as error:  # judged later, whatever it is
                self._fail(error, now)

    def take_output(self, now: float) -> bytes:
        """The bytes that it has to send."""
        self._flush()
        data, self._out = self._out, b""
        if data:
            self._tell(now, "sends", len(data))
        return data

    def _happened(self, event: Event, now: float) -> None:
        self._tell(now, "event", event)
        if isinstance(event, Question):
            self._question = event
            self._answer_at = None if self._answer_after == inf else now + self._answer_after
            if not self._answer_after:
                self._give_answer(now)
        elif isinstance(event, HandshakeCompleted):
            self._flush()
            self.channel = event.session.channel()
            self._last_heard = now
            if self.role is INITIATOR or not self.words:
                self._say()
        elif isinstance(event, DataReceived):
            self.heard += event.data
            self._last_heard = now
            self._say()
        elif isinstance(event, PeerClosed):
            self.peer_closed = event
            while not self._closed:
                self._say()

    def _say(self) -> None:
        """The next words, or that there are no more."""
        if self.channel is None or self._closed:
            return
        if self._unsaid:
            if len(self._unsaid) < len(self.words):
                with suppress(LocalProtocolError):  # Noise has no update that could be asked for
                    self.channel.update_keys(ask_peer=True)
            self.channel.send_data(self._unsaid.pop(0))
        if not self._unsaid:
            self.channel.close()
            self._closed = True

    def _fail(self, error: Exception, now: float) -> None:
        self.error = self.error or error
        self._tell(now, "fails", f"{type(error).__name__}: {error}")

    def _flush(self) -> None:
        self._out += (self.channel or self.handshake).data_to_send()

    def _tell(self, now: float, what: str, detail: object) -> None:
        self.story.append((now, what, detail))


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
