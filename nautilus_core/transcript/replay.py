"""Replay: a fresh engine gets what was recorded, with the recorded tape, and must do the same again, byte for byte.

Without secrets an engine cannot do that; then the public part is checked (`public.py`), and the report says what that was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from ..crypto.entropy import Entropy
from ..errors import AuthenticationFailed, HandshakeError, LocalProtocolError
from ..events import HandshakeCompleted, Question, Signal
from ..handshake import Handshake
from ..profile import Profile
from ..session import Session
from ..state import State
from ..transport import Channel
from .lines import (
    Aborted,
    Answered,
    AnyLine,
    Asked,
    Called,
    Completed,
    Drawn,
    End,
    Failed,
    Frame,
    Happened,
    Opened,
    Received,
    Sent,
    Skipped,
    TimedOut,
    TranscriptError,
)
from .mirror import from_other_side
from .public import check_profile, check_public, sums
from .reader import Transcript, read
from .recorder import Recorder
from .report import ReplayDiverged, ReplayReport
from .tape import ReplayingEntropy, drawn

Answer: TypeAlias = Callable[[Question[Any]], None]
Source: TypeAlias = Transcript | Iterable[bytes]

_COMPARED: Final = (Frame, Skipped, Happened, Asked, Completed, Failed)
_MIRRORED: Final = (Frame, Failed)
"""What one side's transcript knows of the other: its messages. Its events are its own."""
_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_MISUSE: Final = (HandshakeError, LocalProtocolError, ValueError, TypeError)


def replay(
    source: Source,
    profile: Profile,
    *,
    answer: Answer | None = None,
    other_side: bool = False,
    tape: Source | None = None,
) -> ReplayReport:
    """Check a transcript against `profile`: all of it where it holds the secrets, else what is public.

    Args:
        source: a transcript, or the bytes of one, in pieces.
        profile: of the side that recorded. It needs no private key where the transcript has the secrets, but the same public
            one: what private keys made is on the tape.
        answer: answers the questions whose answers are not in the transcript.
        other_side: whether `profile` is that of the peer of the side that recorded: its engine reads what was sent, and must
            send what was received.
        tape: with `other_side`, the peer's own transcript, whose secrets are used; without it the check ends where the
            peer's secrets would be needed.

    Returns:
        What was checked, in words and numbers. Nothing passes in which there was nothing to check.

    Raises:
        ReplayDiverged: something came out differently; says at which flight, step and byte.
        TranscriptError: the transcript cannot be read, or has nothing that could be checked.
        ValueError: the profile cannot play the role.
    """
    transcript = source if isinstance(source, Transcript) else read(source)
    if other_side:
        draws = None if tape is None else tape if isinstance(tape, Transcript) else read(tape)
        transcript = from_other_side(transcript, draws)
    elif tape is not None:
        raise ValueError("tape= goes with other_side=True: a transcript has its own secrets")
    if not any(isinstance(line, (Sent, Frame, Failed)) for line in transcript.lines):
        raise TranscriptError("nothing was sent, and no message or error came of it: there is nothing to check")
    check_profile(transcript, profile)
    if other_side and tape is None:
        return _Replay(transcript, profile, answer, Entropy(), mirrored=True).run(partly=True)
    if not transcript.header.secrets:
        return check_public(transcript, profile)
    return _Replay(transcript, profile, answer, ReplayingEntropy(tape_of(transcript))).run()


def tape_of(transcript: Transcript) -> list[tuple[str, Any]]:
    """What was drawn, for a `ReplayingEntropy`; `TranscriptError` for a key that is none."""
    tape = []
    for number, line in enumerate(transcript.lines, 2):
        if isinstance(line, Drawn):
            try:
                tape.append(drawn(line))
            except (ValueError, TypeError) as error:
                raise TranscriptError(f"this is no {line.what} key", number) from error
    return tape


def give_answer(question: Question[Any], line: Answered) -> None:
    """Answer as it was recorded; `TranscriptError` for what no recorder writes."""
    value = line.value
    if isinstance(value, dict):
        try:
            value = msgspec.convert(value, dict[str, bytes])["bytes"]
        except (msgspec.MsgspecError, KeyError) as error:
            raise TranscriptError("an answer whose value is none") from error
    question.pending.give(value)


class _Collector(Recorder):
    """Keeps the lines of what happens in the replay."""

    __slots__ = ("_kinds", "lines")

    def __init__(self, *, secrets: bool, mirrored: bool) -> None:
        super().__init__(lambda _: None, dangerously_record_secrets=secrets, whole_channel=True)
        self.lines: deque[AnyLine] = deque()
        self._kinds = _MIRRORED if mirrored else _COMPARED
        self._put = self._collect

    def _collect(self, *lines: AnyLine) -> None:
        self.lines.extend([line for line in lines if isinstance(line, self._kinds)])

    @property
    def question(self) -> Question[Any] | None:
        """The one that is open."""
        return self._asked


@dataclass(slots=True)
class _Place:
    """Where the replay is in what was sent."""

    flight: int = 0
    in_flight: int = 0
    total: int = 0


class _Replay:
    """One replay: applies what came from outside, line by line, and compares what comes out."""

    def __init__(
        self,
        transcript: Transcript,
        profile: Profile,
        answer: Answer | None,
        entropy: Entropy,
        *,
        mirrored: bool = False,
    ) -> None:
        header = transcript.header
        self._transcript = transcript
        self._answer = answer
        self._entropy = entropy
        self._collector = _Collector(secrets=header.secrets, mirrored=mirrored)
        self._handshake = Handshake(
            header.role,
            profile,
            entropy=entropy,
            wall_time=header.wall_time,
            recorder=self._collector,
            channel_bindings=header.bindings,
        )
        self._channel: Channel | None = None
        self._place = _Place()
        self._waiting = {False: bytearray(), True: bytearray()}
        self._counts = {"frames": 0, "events": 0, "flights": 0}
        self._number = 1
        ends, total = [], 0
        for line in transcript.lines:
            if isinstance(line, Frame) and line.sender is header.role:
                total += line.size
                ends.append((total, line.step))
        self._ends = ends

    def run(self, *, partly: bool = False) -> ReplayReport:
        """All lines, then that nothing more comes than was recorded."""
        if any(isinstance(line, TimedOut) and line.begun for line in self._transcript.lines):
            self._pump(channel=False)  # before what comes in: nothing else would tell when it began
        for number, line in enumerate(self._transcript.lines, 2):
            self._number = number
            if isinstance(line, Received):
                self._place.flight = line.flight
                self._apply("receive_data", partial(self._target(line.channel).receive_data, line.data))
            elif isinstance(line, Sent):
                self._sent(line, partly)
            elif isinstance(line, _COMPARED):
                self._compare(line, partly)
            elif not isinstance(line, (Drawn, End)):
                self._act(line)
        self._check_rest()
        return self._report(partly)

    # -------------------------------------------------------------- what came from outside

    def _act(self, line: AnyLine) -> None:
        match line:
            case Answered():
                self._answered(line)
            case TimedOut():
                self._handshake.deadline = 0.0
                self._apply("handle_timeout", lambda: self._handshake.handle_timeout(0.0))
            case Aborted():
                target = self._target(line.channel)
                self._apply("abort", lambda: target.abort(line.reason, code=line.code, retry_after=line.retry_after))
            case Opened():
                self._pump(channel=False)
                session = self._handshake.session
                if session is None:
                    raise self._diverged("the session's channel is taken", "there is no session")
                self._apply("channel", lambda: self._take(session))
            case Called():
                self._called(line)
            case _:
                raise TranscriptError("a header in the middle", self._number)

    def _take(self, session: Session) -> None:
        self._channel = session.channel()

    def _called(self, line: Called) -> None:
        channel = self._target(channel=True)
        if not isinstance(channel, Handshake):
            if line.what == "send":
                self._apply("send_data", lambda: channel.send_data(line.data or b""))
            elif line.what == "update":
                self._apply("update_keys", lambda: channel.update_keys(ask_peer=line.ask_peer))
            elif line.what == "close":
                self._apply("close", channel.close)
            else:
                raise TranscriptError(f"there is no call {line.what[:64]!r}", self._number)

    def _answered(self, line: Answered) -> None:
        self._pump(channel=False)
        question = self._collector.question
        if question is None:
            raise self._diverged("a question is answered", "no question is open")
        if line.verdict == "rejected":
            error = HandshakeError if line.error == "HandshakeError" else AuthenticationFailed
            self._apply("reject", lambda: question.pending.give(None, error(line.reason or "", alert=line.alert)))
        elif line.verdict == "value":
            give_answer(question, line)
        elif self._answer is not None:
            self._answer(question)
        else:
            raise TranscriptError(
                f"the answer to {type(question).__name__} is not in the transcript: give answer=", self._number
            )

    def _apply(self, what: str, action: Callable[[], object]) -> None:
        try:
            action()
        except _MISUSE as error:
            raise self._diverged(f"{what} is possible", f"{type(error).__name__}: {error}") from error

    def _target(self, channel: bool) -> Any:
        if not channel:
            return self._handshake
        if self._channel is None:
            raise self._diverged("the channel is used", "it has not been taken")
        return self._channel

    # ------------------------------------------------------------------- what comes out

    def _pump(self, channel: bool) -> None:
        """Run until something has come out on the channel, or until the engine blocks."""
        target = self._target(channel)
        while channel or self._handshake.state is not State.COMPLETED:
            try:
                event = target.next_event()
            except Exception:  # the collector has seen it
                break
            if channel or isinstance(event, (Signal, HandshakeCompleted)):
                break
        self._collector.flush()
        problem = self._entropy.problem if isinstance(self._entropy, ReplayingEntropy) else None
        cut_off = not self._transcript.whole and problem is not None and "nothing more" in problem
        if problem is not None and not cut_off:
            raise self._diverged("the tape fits what is drawn", problem)

    def _sent(self, line: Sent, partly: bool) -> None:
        place, waiting = self._place, self._waiting[line.channel]
        if line.flight != place.flight:
            place.flight, place.in_flight = line.flight, 0
            self._counts["flights"] += 1
        if not line.channel:
            self._pump(channel=False)
        waiting += self._target(line.channel).data_to_send()
        got, expected = bytes(waiting[: len(line.data)]), line.data
        del waiting[: len(got)]
        if got != expected and not partly:
            pairs = zip(got, expected, strict=False)
            same = next(
                (place for place, (one, other) in enumerate(pairs) if one != other), min(len(got), len(expected))
            )
            raise self._diverged(_window(expected, same), _window(got, same), byte=same)
        place.in_flight += len(expected)
        place.total += len(expected)

    def _compare(self, line: AnyLine, partly: bool) -> None:
        lines = self._collector.lines
        channel = getattr(line, "channel", False)
        if not lines:
            self._pump(channel)
        if not lines:
            raise self._diverged(_text(line), "nothing", of=line)
        got = lines.popleft()
        one, other = _text(line), _text(got)
        if partly and isinstance(line, Frame) and isinstance(got, Frame) and line.sender is self._handshake.role:
            other = _text(msgspec.structs.replace(got, size=line.size))  # its own key share may be another's length
        if one != other:
            raise self._diverged(one, other, of=line)
        self._counts["frames" if isinstance(line, Frame) else "events"] += 1

    def _check_rest(self) -> None:
        lines = self._transcript.lines
        ended = any(isinstance(line, (Completed, Failed)) for line in lines)
        if ended and self._collector.lines:
            raise self._diverged("nothing more", _text(self._collector.lines[0]))
        last = lines[-1]
        if isinstance(last, End):
            for expected, got in sums(self._transcript, last):
                if expected != got:
                    raise self._diverged(expected, got)

    def _diverged(
        self, expected: str, got: str, *, byte: int | None = None, of: AnyLine | None = None
    ) -> ReplayDiverged:
        place = self._place
        step = of.step if isinstance(of, (Frame, Failed)) else None
        if byte is not None:
            offset = place.total + byte
            step = next((step for end, step in self._ends if offset < end), None)
            byte += place.in_flight
        lines = self._collector.lines
        if lines and isinstance(lines[-1], Failed) and lines[-1].message is not None:
            got += f"; the replay had failed: {lines[-1].message}"
        return ReplayDiverged(expected, got, line=self._number, flight=place.flight, step=step, byte=byte)

    def _report(self, partly: bool) -> ReplayReport:
        header, lines, counts = self._transcript.header, self._transcript.lines, self._counts
        checked = [f"{counts['frames']} messages in order, with sender and sealing"]
        missing = []
        if partly:
            missing.append("what is sealed, and what this side sent: its secrets are not in the transcript")
        else:
            checked.insert(0, f"{self._place.total} bytes sent, equal one by one")
            checked.append(f"{counts['events']} other events, with their fields")
        left = sum(map(len, self._waiting.values())) + len(self._handshake.data_to_send())
        if left and not partly:
            missing.append(f"{left} bytes that were never taken to be sent, or after the transcript ends")
        received = sum(len(line.data) for line in lines if isinstance(line, Received))
        return ReplayReport(
            role=header.role,
            profile=header.profile,
            outcome=next((line.outcome for line in lines if isinstance(line, End)), "open"),
            full=not partly,
            received=received,
            sent=0 if partly else self._place.total,
            messages=counts["frames"],
            events=counts["events"],
            checked=tuple(checked),
            not_checked=tuple(missing),
        )


def _text(line: AnyLine) -> str:
    return _encode(msgspec.structs.replace(line, at=None)).decode()


def _window(data: bytes, place: int) -> str:
    """The bytes around a difference."""
    start = max(0, place - 4)
    shown = data[start : place + 12]
    return f"{shown.hex(' ')} from byte {start}" if shown else f"nothing after {len(data)} bytes"
