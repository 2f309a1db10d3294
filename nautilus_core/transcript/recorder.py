"""`Recorder`: writes down a handshake, and its channel, as it happens. It changes nothing, and its failure breaks nothing.

The engine calls it in four places (bytes in, bytes out, events, the end), and draws through its `Entropy` where secrets are
recorded. It touches no file and no clock: both are functions of the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from zlib import crc32

from ..crypto.entropy import Entropy
from ..errors import LocalProtocolError
from ..events import Event, HandshakeCompleted, Question, StepCompleted, StepSkipped
from ..state import State
from ..stream import HandshakeStream, LengthPrefixedStream, NautilusStream
from .channel import RecordedChannel
from .described import answer, completion, failure, values_of
from .lines import (
    FORMAT,
    LIBRARY,
    MAX_PIECE,
    VERSION,
    Aborted,
    AnyLine,
    Asked,
    Called,
    Drawn,
    End,
    Frame,
    Happened,
    Header,
    LineWriter,
    Opened,
    Received,
    Sent,
    Skipped,
    TimedOut,
)
from .tape import WritingEntropy, written

if TYPE_CHECKING:
    from ..channel_binding import ChannelBindings
    from ..handshake import Handshake
    from ..profile import Profile
    from ..transport import Channel

Write: TypeAlias = Callable[[bytes], object]
Clock: TypeAlias = Callable[[], float]

_FRAMINGS: Final[dict[type[object], str]] = {NautilusStream: "nautilus/1", LengthPrefixedStream: "length-prefixed"}


class _Events(list[Event]):
    """The engine's list of events, which shows each to the recorder as it happens."""

    __slots__ = ("_show",)

    def __init__(self, show: Callable[[Event], None]) -> None:
        self._show = show

    def append(self, event: Event) -> None:
        list.append(self, event)
        self._show(event)


class Recorder:
    """Records one handshake: `Handshake(role, profile, recorder=Recorder(write))`.

    Args:
        write: takes whole lines, as bytes: what has come in before it is acted upon, all that followed before anything goes
            out. So a crash leaves whole lines, and the input that led to it.
        clock: the time in seconds, from any beginning; without one no line has a time.
        dangerously_record_secrets: whether the transcript has what a full replay needs: random bytes, ephemeral keys, and what
            private keys made. Whoever has it can read the session. The keys of identities are never in it.
        whole_channel: whether the channel is recorded to its end, and not only until the responder has accepted.

    Attributes:
        error: why recording has stopped; None while it goes on. The handshake goes on in either case.
        secrets: whether secrets are recorded.
    """

    __slots__ = (
        "_asked",
        "_begin",
        "_clock",
        "_ended",
        "_flight",
        "_handshake",
        "_header",
        "_last_flight",
        "_outcome",
        "_put",
        "_received",
        "_received_check",
        "_sent",
        "_sent_check",
        "_waiting",
        "error",
        "secrets",
        "whole_channel",
    )

    def __init__(
        self,
        write: Write,
        *,
        clock: Clock | None = None,
        dangerously_record_secrets: bool = False,
        whole_channel: bool = False,
    ) -> None:
        self._put: Callable[..., None] = LineWriter(write)
        self._waiting: list[AnyLine] = []
        self._clock = clock
        self.secrets = dangerously_record_secrets
        self.whole_channel = whole_channel
        self.error: Exception | None = None
        self._begin = 0.0
        self._flight = 0
        self._last_flight = ""
        self._received = self._sent = 0
        self._received_check = self._sent_check = 0
        self._handshake: Handshake | None = None
        self._header: tuple[Profile, type[HandshakeStream], datetime | None, bytes | None] | None = None
        self._asked: Question[Any] | None = None
        self._outcome = "open"
        self._ended = False

    def __repr__(self) -> str:
        state = "stopped" if self.error is not None else "ended" if self._ended else "recording"
        return f"<Recorder {state}, {'with' if self.secrets else 'without'} secrets>"

    def close(self) -> None:
        """Write the last line. Without it a transcript counts as cut off. A second call does nothing."""
        if self._handshake is not None and not self._ended:
            self._answered()
            self._line(
                End(
                    at=self._now(),
                    outcome=self._outcome,
                    received=self._received,
                    sent=self._sent,
                    received_check=self._received_check,
                    sent_check=self._sent_check,
                )
            )
            self.flush()
        self._ended = True

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --------------------------------------------------------------- the engine's

    def attach(
        self,
        handshake: Handshake,
        profile: Profile,
        stream: HandshakeStream,
        entropy: Entropy,
        wall_time: datetime | None,
        channel_bindings: ChannelBindings | None = None,
    ) -> tuple[list[Event], Entropy]:
        """The engine's: begin; returns its list of events and the entropy that it draws from.

        Raises:
            LocalProtocolError: the recorder has another handshake already.
        """
        if self._handshake is not None:
            raise LocalProtocolError("a Recorder records one handshake: make a new one")
        self._handshake = handshake
        bindings = None if channel_bindings is None else channel_bindings.to_bytes()
        self._header = profile, type(stream), wall_time, bindings
        return _Events(self.happened), WritingEntropy(entropy, self._drawn) if self.secrets else entropy

    def received(self, data: bytes, *, channel: bool = False) -> None:
        """The engine's: bytes from the peer have come in, or its stream has ended."""
        self._bytes(Received, "in", data, channel)
        self._received += len(data)
        self._received_check = crc32(data, self._received_check)

    def sent(self, data: bytes | bytearray, *, channel: bool = False) -> None:
        """The engine's: bytes for the peer were taken, if any: before they leave, all that led to them is written."""
        if data:
            self._bytes(Sent, "out", bytes(data), channel)
            self._sent += len(data)
            self._sent_check = crc32(data, self._sent_check)
        else:
            self.flush()

    def happened(self, event: Event, *, channel: bool = False) -> None:
        """The engine's: an event."""
        if self.error is not None or self._ended:
            return
        if self._asked is not None:
            self._answered()
        if type(event) is StepCompleted:
            at = self._now()
            line = Frame(at=at, step=event.step, sender=event.sender, size=event.size, sealed=event.sealed)
            if self._header is None and self.error is None:  # as `_line` does: most lines of a handshake come from here
                self._waiting.append(line)
            else:
                self._line(line)
            return
        try:
            self._line(self._line_of(event, channel))
        except Exception as error:  # a field of somebody's event that cannot be looked at
            self.error = error
        if channel:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Whatever goes wrong ends the recording and nothing else."""
        lines = self._waiting
        if lines and self.error is None:
            try:
                self._put(*lines)
            except Exception as error:  # the recorder's trouble is never the handshake's
                self.error = error
        lines.clear()

    def aborted(self, reason: str, code: int, retry_after: int | None, *, channel: bool = False) -> None:
        """The engine's: the application has given up."""
        self._answered()
        line = Aborted(at=self._now(), reason=reason, code=int(code), retry_after=retry_after, channel=channel)
        self._line(line)
        self.flush()

    def timed_out(self) -> None:
        """The engine's: the deadline has passed."""
        self._answered()
        begun = self._handshake is not None and self._handshake.state is not State.NEW
        self._line(TimedOut(at=self._now(), begun=begun))

    def failed(self, error: Exception, *, channel: bool = False) -> None:
        """The engine's, or the channel's: it has failed."""
        self._answered()
        self._outcome = "failed"
        self._line(failure(error, self._now(), channel=channel))
        self.flush()

    def wrap(self, channel: Channel) -> Channel:
        """The session's: the channel that the application gets."""
        self._line(Opened(at=self._now()))
        return RecordedChannel(channel, self)

    def called(self, what: str, data: bytes = b"", *, ask_peer: bool = False) -> None:
        """The channel's: the application has called it."""
        kept = data if self.secrets and what == "send" else None
        self._line(Called(at=self._now(), what=what, size=len(data), data=kept, ask_peer=ask_peer))
        self.flush()

    # ------------------------------------------------------------------- its own

    def _line(self, line: AnyLine) -> None:
        """Have it written, after the header."""
        if self.error is not None or self._ended:
            return
        if self._header is not None:
            self._begin_with(*self._header)
            self._header = None
        self._waiting.append(line)

    def _now(self) -> int | None:
        if self._clock is None or self.error is not None:
            return None
        try:
            now = self._clock()
        except Exception as error:  # likewise
            self.error = error
            return None
        if self._header is not None:
            self._begin = now
        return round((now - self._begin) * 1_000_000)

    def _begin_with(
        self, profile: Profile, stream: type[HandshakeStream], wall_time: datetime | None, bindings: bytes | None
    ) -> None:
        handshake = self._handshake
        if handshake is None:
            raise LocalProtocolError("no handshake has this recorder")
        header = Header(
            at=None if self._clock is None else 0,
            format=FORMAT,
            version=VERSION,
            library=LIBRARY,
            role=handshake.role,
            profile=profile.name,
            framing=_FRAMINGS.get(stream, stream.__name__),
            steps=handshake.steps.outline.descriptions,
            limits=profile.limits,
            wall_time=wall_time,
            secrets=self.secrets,
            whole_channel=self.whole_channel,
            channel_bindings=bindings,
        )
        self._waiting.append(header)

    def _bytes(self, kind: type[Received | Sent], direction: str, data: bytes, channel: bool) -> None:
        if self.error is not None or self._ended:
            return
        if self._asked is not None:
            self._answered()
        if direction != self._last_flight:
            self._last_flight = direction
            self._flight += 1
        at = self._now()
        pieces: tuple[bytes, ...] = (data,)
        if len(data) > MAX_PIECE:
            pieces = tuple([data[start : start + MAX_PIECE] for start in range(0, len(data), MAX_PIECE)])
        for piece in pieces:
            self._line(kind(at=at, flight=self._flight, data=piece, channel=channel))
        self.flush()

    def _line_of(self, event: Event, channel: bool) -> AnyLine:
        at = self._now()
        if isinstance(event, StepSkipped):
            return Skipped(at=at, step=event.step, reason=event.reason)
        if isinstance(event, HandshakeCompleted):
            self._outcome = "completed"
            return completion(event.session, at)
        values = values_of(event, self.secrets)
        if isinstance(event, Question):
            self._asked = event
            return Asked(at=at, question=type(event).__name__, values=values)
        return Happened(at=at, event=type(event).__name__, values=values, channel=channel)

    def _answered(self) -> None:
        """Where a question was open and has its answer now, that comes first."""
        asked = self._asked
        if asked is None or not asked.pending.given:
            return
        self._asked = None
        self._line(answer(asked, self._now(), self.secrets))

    def _drawn(self, kind: str, value: Any) -> None:
        if self.error is not None or self._ended:
            return
        self._answered()
        try:
            line: Drawn = written(kind, value, self._now())
        except Exception as error:  # a key of an Entropy of the user's, which shows no bytes
            self.error = error
            return
        self._line(line)


__all__ = ["Clock", "Recorder", "Write"]
