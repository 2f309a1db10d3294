"""`FaultyEnd`: one end of a handshake and then of its channel, with an application that talks. It knows no links and no peer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any

from ..errors import LocalProtocolError
from ..events import DataReceived, Event, HandshakeCompleted, PeerClosed, Question, Signal
from ..handshake import Handshake
from ..role import INITIATOR
from ..session import Session
from ..transport import Channel


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
