"""The engine: runs a list of steps without I/O. Bytes in; events, and bytes to send, out.

The call contract: `receive_data` only buffers. `next_event` runs until it blocks, then hands out what happened one event
at a time, an error last. `data_to_send` takes what waits to be sent, and is called after each `next_event`, also one that
raised. Nothing here knows a message, a key or a clock: steps, stream and key schedule do, and time is an argument.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from datetime import datetime
from math import isnan
from types import GeneratorType, TracebackType
from typing import TYPE_CHECKING, Final

from .alerts import check_retry_after
from .channel_binding import ChannelBindings
from .context import Context
from .crypto.entropy import SYSTEM_ENTROPY, Entropy
from .crypto.hashing import TranscriptHash
from .crypto.key_log import KeyLog, WriteKey
from .errors import (
    AlertCode,
    HandshakeError,
    HandshakeTimeout,
    InvalidMessage,
    LocalProtocolError,
    NegotiationFailed,
    PeerAborted,
    release_frames,
)
from .events import NEED_DATA, PAUSED, Event, HandshakeCompleted, Signal, StepCompleted, StepSkipped
from .role import Role
from .state import MOVES, State
from .step import not_a_reading
from .steplist import AnyStep, StepList
from .suspended import Suspended

if TYPE_CHECKING:
    from .profile import Profile
    from .session import Session
    from .transcript.recorder import Recorder


_NEW: Final = State.NEW
_COMPLETED: Final = State.COMPLETED
_PAUSED: Final = State.PAUSED
_RUNNING: Final = State.RUNNING
"""Bound here because the look-up of an enum's member costs as much as a call in CPython 3.11."""


class Handshake:
    """One end of one handshake.

    Args:
        role: `INITIATOR` or `RESPONDER`.
        profile: makes the steps, the framing and the limits.
        entropy: randomness and private-key operations; the operating system's by default.
        deadline: when to give up, in seconds on the caller's monotonic clock; None for never.
        wall_time: the date and time, for steps that judge certificates.
        recorder: writes down what happens, for `transcript.replay`; it changes nothing.
        key_log: takes a line, as bytes, for each traffic secret, the channel's too: whoever has them can read the session.
            Plain Noise has none.
        channel_bindings: what names the channel below, a TLS connection, so that whoever terminates it in the middle is found
            out; `session.tls_binding` says what came of it. None for nothing.

    Attributes:
        steps: the list, editable until the first `next_event`.
        deadline: when to give up. Nothing happens by itself then: it is for `handle_timeout`, and may be changed before.

    Raises:
        LocalProtocolError: the profile's list of steps is not valid.
        TypeError: `role` is no role.
        ValueError: the profile cannot play this role: it lacks a key, for one; or it has no hello to carry `channel_bindings`.
    """

    __slots__ = (
        "_context",
        "_error",
        "_events",
        "_recorder",
        "_repeated",
        "_running",
        "_state",
        "_stream",
        "_suspended",
        "_traceback",
        "_transcript",
        "_turn",
        "deadline",
        "role",
        "steps",
    )

    def __init__(
        self,
        role: Role,
        profile: Profile,
        *,
        entropy: Entropy = SYSTEM_ENTROPY,
        deadline: float | None = None,
        wall_time: datetime | None = None,
        recorder: Recorder | None = None,
        key_log: WriteKey | None = None,
        channel_bindings: ChannelBindings | None = None,
    ) -> None:
        if not isinstance(role, Role):
            raise TypeError(f"a role is INITIATOR or RESPONDER, not {role!r}")
        if profile.check is not None:
            profile.check(role)
        self.role = role
        self.steps = StepList(profile.make_steps(), profile.outline)
        self.deadline = deadline
        self._stream = profile.make_stream()
        self._transcript = TranscriptHash()
        self._events: list[Event] = []  # short: a deque's first block alone is most of a waiting handshake
        self._recorder = recorder
        if recorder is not None:
            self._events, entropy = recorder.attach(self, profile, self._stream, entropy, wall_time, channel_bindings)
        log = None if key_log is None else KeyLog(key_log)
        self._context = Context(role, self.steps, self._stream, self._transcript, self._events, entropy, wall_time, log)
        if channel_bindings is not None:
            if not any(step.binds for step in self.steps):
                raise ValueError("the profile has no step that carries channel bindings: the hellos of nautilus/1 do")
            self._context.channel_bindings = channel_bindings
        self._state = _NEW
        self._turn: Role | None = None
        self._repeated = 0
        self._running = False
        self._suspended: Suspended | None = None
        self._error: Exception | None = None
        self._traceback: TracebackType | None = None

    def __repr__(self) -> str:
        return f"<Handshake {self.role.value} {self._state.value} at {self._where()}>"

    @property
    def state(self) -> State:
        """Where the handshake stands."""
        return self._state

    @property
    def session(self) -> Session | None:
        """The session, once the handshake is complete; None before."""
        return self._context.session

    @property
    def trailing_data(self) -> bytes:
        """What was received after the last handshake message; `session.channel()` takes it along by itself."""
        return self._stream.peek() if self._state is _COMPLETED else b""

    # --------------------------------------------------------------- the caller

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Buffer bytes from the peer; `b""` is the end of its stream. Nothing runs until `next_event`.

        While `PAUSED`, at most `limits.held` bytes are held; more fail the handshake.

        Raises:
            LocalProtocolError: after the end of the stream, or once the session's channel has been taken.
            HandshakeError: again, after the handshake has failed.
        """
        if self._error is not None:
            raise self._error.with_traceback(self._traceback)
        if self._state is _COMPLETED and self._context.session is not None:
            self._context.session.check_not_taken()
        data = bytes(data) if not isinstance(data, bytes) else data
        self._stream.feed(data)
        if self._recorder is not None:
            self._recorder.received(data)
        if self._state is _PAUSED:
            try:
                self._check_held()
            except HandshakeError as error:
                self._fail(error)

    def next_event(self) -> Event | Signal:
        """What happened next; `NEED_DATA` when the peer must send more, `PAUSED` when a question waits for its answer.

        `HandshakeCompleted` is the last event.

        Raises:
            HandshakeError: the handshake has failed, for good: the same error again at every later call.
            LocalProtocolError: after `HandshakeCompleted`; or from within one of its steps.
            Exception: what a user's step raised, as it was.
        """
        events = self._events
        if events:
            return events.pop(0)
        if self._error is None:
            if self._state is _COMPLETED:
                raise LocalProtocolError("the handshake is complete: go on with session.channel()")
            self._run()
            if events:
                return events.pop(0)
        if self._error is not None:
            raise self._error.with_traceback(self._traceback)
        return PAUSED if self._state is _PAUSED else NEED_DATA

    def data_to_send(self) -> bytes:
        """Take the bytes that wait to be sent: whole flights, the responder's acceptance, or the alert after a failure."""
        data = self._stream.data_to_send()
        if self._recorder is not None:
            self._recorder.sent(data)
        return data

    def abort(self, reason: str, *, code: int = AlertCode.USER_CANCELED, retry_after: int | None = None) -> None:
        """Give up: the peer is told `code`, `reason` stays here.

        Args:
            reason: for this side's error.
            code: `USER_CANCELED`, `BUSY`, `INTERNAL_ERROR`, or an application's own, 256 to 65535.
            retry_after: seconds after which the peer may try again; at most a day.

        Raises:
            LocalProtocolError: the handshake is complete: abort its channel; or a step of it calls, which raises a
                `HandshakeError` instead.
            ValueError: for another code, or a `retry_after` out of range.
        """
        self._check_failed()
        if self._running:
            raise _entered_again()
        if self._state is _COMPLETED:
            raise LocalProtocolError("the handshake is complete: abort its channel instead")
        check_retry_after(retry_after)
        error = HandshakeError(f"aborted by the application: {reason}", alert=code)
        if self._recorder is not None:
            self._recorder.aborted(reason, code, retry_after)
        self._fail(error, retry_after)

    def handle_timeout(self, now: float) -> None:
        """Tell the time, on the deadline's clock. It can be told at any time, and as often as one likes.

        The deadline has passed when `now` has reached it. From then on the handshake has failed with `HandshakeTimeout`, which
        `next_event` raises, and the peer's alert waits to be sent; also where it had not begun. Before the deadline, without
        one, and once the handshake has ended, nothing happens.

        Raises:
            LocalProtocolError: from within one of its steps, which cannot be ended in the middle.
            ValueError: `now` or the deadline is no number.
        """
        if self._running:
            raise _entered_again()
        if self.deadline is None or self._state in (State.COMPLETED, State.FAILED):
            return
        if isnan(now) or isnan(self.deadline):
            raise ValueError("a time is a number of seconds, and not NaN")
        if now < self.deadline:
            return
        if self._recorder is not None:
            self._recorder.timed_out()
        self._fail(self._too_late())

    # --------------------------------------------------------------- the engine

    def _check_held(self) -> None:
        """While a question is open: not too much, and nothing at all where what carries the bytes is being changed."""
        question = None if self._suspended is None else self._suspended.open_question
        if question is not None and question.takes_no_data:
            self._context.check_nothing_received(question.takes_no_data)
        held = self._stream.limits.held
        if self._stream.buffered > held:
            raise HandshakeError(
                "the peer sent too much before it was accepted",
                expected=f"at most {held} bytes",
                received=f"{self._stream.buffered} bytes",
                alert=AlertCode.BUSY,
            )

    def _move(self, state: State) -> None:
        if state not in MOVES[self._state]:
            raise LocalProtocolError(f"no move from {self._state.name} to {state.name}")
        self._state = state

    def _run(self) -> None:
        if self._running:
            raise _entered_again()
        self._running = True
        try:
            if self._state is _NEW:
                self._move(_RUNNING)
                self.steps.editable = False
                self.steps.cursor = 0
            if self._suspended is None:
                self._advance(None)
            elif (done := self._drive(self._suspended)) is not None:
                self._advance(done or None)
        except Exception as error:  # a user's step may raise anything: kept, and raised by next_event
            self._fail(error)
        except BaseException as error:
            self._fail(HandshakeError("interrupted"))
            raise error
        finally:
            self._running = False

    def _advance(self, done: tuple[bytes, int] | None) -> None:
        """Run steps until one waits for the peer or for the application, or the last is committed.

        `done` is the running step's message, where a generator has just ended: as the transcript has it, and its size.
        """
        steps, ordered = self.steps, self.steps.ordered
        context, stream, role = self._context, self._stream, self.role
        transcript, emit = self._transcript, self._events.append
        while self._suspended is None:
            step, description = ordered[steps.cursor], steps.outline.descriptions[steps.cursor]
            if description.protocol_id is not None and description.protocol_id != context.protocol:
                self._skip(step)
                continue
            sender = self._turn or description.sender
            if done is None:
                if sender is role:
                    message = step.write(context)
                    if type(message) is GeneratorType:
                        done = self._drive(Suspended(message, None)) or None
                    else:
                        done = stream.write(step, message)
                else:
                    incoming = stream.read(step)
                    if incoming is None:
                        if stream.ended:
                            raise PeerAborted.by_end(stream.buffered)
                        return
                    message, framed, size = incoming
                    reading = step.read(context, message)
                    done = (
                        (framed, size) if reading is None else self._drive(Suspended(reading, (framed, size))) or None
                    )
                if done is None:
                    return
            framed, size = done
            done = None
            transcript.update(framed)
            emit(StepCompleted(description.name, sender, size, stream.sealed))
            if step.multi_message and self._has_more(step, sender):
                continue
            steps.editable = True
            step.commit(context)
            steps.editable = False
            steps.cursor = cursor = steps.cursor + 1
            if cursor == len(ordered):
                self._complete()
                return

    def _drive(self, suspended: Suspended) -> tuple[bytes, int] | tuple[()] | None:
        """Drive a generator to its end, or to its next question, which pauses the engine (None).

        Returns:
            The message that was written or read; nothing, (), where the generator stood between two of them.
        """
        if suspended.question is not None:
            if suspended.open_question is not None:
                return None
            self._move(_RUNNING)
        self._suspended = None
        if not isinstance(suspended.generator, Generator):
            raise not_a_reading(self.steps.current, suspended.generator)
        asked = suspended.go_on()
        if asked is not None:
            self._suspended = suspended
            self._events.append(asked)
            self._move(_PAUSED)
            return None
        if suspended.incoming is None:
            return self._stream.write(self.steps.current, suspended.result)
        return suspended.incoming

    def _has_more(self, step: AnyStep, sender: Role) -> bool:
        """Of a step of several messages: whether another one follows, from the other side."""
        if sender is not self.role:
            step.check_finished()
        if step.finished:
            self._turn = None
            return False
        self._turn = sender.peer
        self._repeated += 1
        limit = self._stream.limits.messages
        if self._repeated + len(self.steps) > limit:
            raise InvalidMessage(
                "the handshake has more messages than its limit", expected=str(limit), alert=AlertCode.RECORD_OVERFLOW
            )
        if (between := step.between(self._context)) is not None:
            self._drive(Suspended(between, ()))
        return True

    def _complete(self) -> None:
        session = self._context.complete()
        if self._recorder is not None:
            session.show_channel(self._recorder.wrap)
        self._move(_COMPLETED)
        self._events.append(HandshakeCompleted(session))

    def _skip(self, step: AnyStep) -> None:
        if step.required:
            raise NegotiationFailed(
                f"required step {step.name!r} runs with {step.protocol_id!r} only",
                expected=f"the protocol {step.protocol_id!r}",
                received=repr(self._context.protocol),
                alert=AlertCode.STEP_LIST_MISMATCH,
                step=step.name,
            )
        self._events.append(StepSkipped(step.name, f"it runs with {step.protocol_id!r} only"))
        self.steps.skip()

    def _fail(self, error: Exception, retry_after: int | None = None) -> None:
        """Poison everything; queue the alert. The error is raised when the events before it have been handed out."""
        self._state = State.FAILED
        self._error = error
        if isinstance(error, HandshakeError):
            release_frames(error)
        self._traceback = error.__traceback__
        self.steps.editable = False
        alert: int | None = AlertCode.INTERNAL_ERROR
        if isinstance(error, HandshakeError):
            if error.step is None:
                error.step = self._where()
            judged = self._context.judged
            error.peer_id = None if judged is None else judged.peer_id
            alert = None if isinstance(error, PeerAborted) and error.code is not None else error.alert
        suspended, self._suspended = self._suspended, None
        if suspended is not None:
            suspended.withdraw()
        if self._recorder is not None:
            self._recorder.failed(error)
        if alert is not None:
            self._write_last_words()
            self._stream.write_alert(alert, retry_after)
        self._stream.release()
        self._context.forget()
        for step in self.steps:
            with suppress(Exception):  # a user's clean-up must not hide the failure, nor keep the others from theirs
                step.forget()
        if suspended is not None:
            suspended.close()

    def _too_late(self) -> HandshakeTimeout:
        """Whom we have waited for until the deadline."""
        if self._state is _NEW:
            return HandshakeTimeout.of_application("first call of next_event")
        if self._suspended is None:
            return HandshakeTimeout.of_peer(self._where(), self._stream.buffered)
        return self._suspended.too_late()

    def _write_last_words(self) -> None:
        """Of the step that has failed: where it waits for our message, its own protocol can say there why."""
        step = self.steps.current
        if step.last_words:
            with suppress(LocalProtocolError):  # it is too long
                self._stream.write(step, step.last_words)

    def _where(self) -> str:
        return self.steps.current.name

    def _check_failed(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(self._traceback)


def _entered_again() -> LocalProtocolError:
    """The error for a call that would end or move a handshake under the step that is running, which then goes on without keys."""
    return LocalProtocolError(
        "a call from within a step of this handshake, or from another thread, while it runs (hint: a step raises a "
        "HandshakeError to give up; an engine is one thread's)"
    )
