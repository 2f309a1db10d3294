"""The lines of a transcript: one typed struct for each kind, and how they are written. Reading them is the reader's.

A line is one JSON object. The last of those that were written together ends with the field `check`: the CRC-32 of all lines
so far, each with its newline and without its check. So a line that was changed, lost or moved shows, by its number or by that
of the next check. It guards against accidents; who wants to forge a transcript can.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias
from zlib import crc32

import msgspec

from ..channel_binding import ChannelBindings
from ..errors import one_line
from ..limits import Limits
from ..role import Role
from ..step import StepDescription

FORMAT: Final = "nautilus-transcript"
VERSION: Final = 1
LIBRARY: Final = "nautilus-handshake 0.1.0"

MAX_LINE: Final = 1_048_576
"""Bytes of one line."""
MAX_LINES: Final = 200_000
MAX_BYTES: Final = 67_108_864
"""Of all lines together: what a recorder writes at most, and a reader takes in."""
MAX_VALUES: Final = 2_000_000
"""Commas in all lines together: a value in JSON can be two bytes long, and takes thirty times as many when it was read."""
MAX_PIECE: Final = 262_144
"""Bytes received or sent in one line; what is longer takes several."""

CHECK_LENGTH: Final = len(b',"check":"00000000"}')


class TranscriptError(Exception):
    """What was read is no transcript, or not a whole one.

    Attributes:
        line: the number of the line, from 1; 0 where there is none.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(one_line(f"line {line}: {message}" if line else message))
        self.line = line


Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""JSON has numbers of any length; a line of a transcript has none of more than 64 bits."""


class Line(msgspec.Struct, frozen=True, tag_field="kind", omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """What all lines are.

    Attributes:
        at: microseconds since the recording began, by the caller's clock; None without one.
    """

    at: Whole | None = None


class Header(Line, frozen=True, tag="header", kw_only=True):
    """The first line: who recorded what.

    Attributes:
        format: `FORMAT`.
        version: of the format.
        library: what recorded it.
        role: which end recorded.
        profile: the profile's name.
        framing: `nautilus/1`, `length-prefixed`, or the class of another stream.
        steps: the list as it was before the first message: name, sender, protocol id, whether required.
        limits: of the profile.
        wall_time: the date and time given by the caller, for certificates.
        secrets: whether there are lines that hold secrets.
        whole_channel: whether the channel was recorded to its end, or only up to the acceptance.
        channel_bindings: what named the channel below: `ChannelBindings.from_bytes` reads it. None where nothing did.
    """

    format: str
    version: Whole
    library: str
    role: Role
    profile: str
    framing: str
    steps: tuple[StepDescription, ...]
    limits: Limits
    wall_time: datetime | None = None
    secrets: bool = False
    whole_channel: bool = False
    channel_bindings: bytes | None = None

    @property
    def bindings(self) -> ChannelBindings | None:
        """The channel bindings, for a `Handshake`; `TranscriptError` for bytes that are none."""
        if self.channel_bindings is None:
            return None
        try:
            return ChannelBindings.from_bytes(self.channel_bindings)
        except ValueError as error:
            raise TranscriptError(str(error), 1) from error


class Received(Line, frozen=True, tag="in", kw_only=True):
    """Bytes from the peer; empty at the end of its stream. `flight` counts changes of direction, from 1."""

    flight: Whole
    data: bytes
    channel: bool = False


class Sent(Line, frozen=True, tag="out", kw_only=True):
    """Bytes for the peer."""

    flight: Whole
    data: bytes
    channel: bool = False


class Frame(Line, frozen=True, tag="frame", kw_only=True):
    """The next frame of its sender is the message of this step, and was accepted."""

    step: str
    sender: Role
    size: Whole
    sealed: bool


class Skipped(Line, frozen=True, tag="skipped", kw_only=True):
    """An optional step does not run."""

    step: str
    reason: str


class Happened(Line, frozen=True, tag="event", kw_only=True):
    """Another event. Of an event that the library does not know, values are here only with the secrets."""

    event: str
    values: dict[str, Any] = {}
    channel: bool = False


class Asked(Line, frozen=True, tag="question", kw_only=True):
    """A step asks the application."""

    question: str
    values: dict[str, Any] = {}


class Answered(Line, frozen=True, tag="answer", kw_only=True):
    """The application has answered.

    Attributes:
        verdict: `value`, `rejected`, or `withheld` for a value that is not recorded.
        value: None, a bool, a number, a text, or `{"bytes": base64}`.
        reason: of the rejection; of a withheld value, the name of its type.
        error: of the rejection, the name of its class.
        alert: likewise what the peer is told.
    """

    verdict: str
    value: Any = None
    reason: str | None = None
    error: str | None = None
    alert: Whole | None = None


class Completed(Line, frozen=True, tag="completed", kw_only=True):
    """The handshake is complete.

    Attributes:
        suite: of the session.
        protocol: likewise, of the application.
        peer: its peer id, or `anonymous`.
        handshake_hash: names the session: it is equal on both ends, and no secret.
        steps: those that ran.
        psk: the identity of the pre-shared key that both ends have; None without one.
        identifier: what the peer is named by beside its key: its DID.
        names: that an authority certifies of it.
    """

    suite: str
    protocol: str | None
    peer: str
    handshake_hash: bytes
    steps: tuple[str, ...]
    psk: str | None = None
    identifier: str | None = None
    names: tuple[str, ...] = ()


class Aborted(Line, frozen=True, tag="abort", kw_only=True):
    """The application has given up."""

    reason: str
    code: Whole
    retry_after: Whole | None = None
    channel: bool = False


class TimedOut(Line, frozen=True, tag="timeout", kw_only=True):
    """The deadline has passed.

    Attributes:
        begun: whether the application had called `next_event` before.
    """

    begun: bool = True


class Failed(Line, frozen=True, tag="error", kw_only=True):
    """What ended the handshake, or its channel: for an error that is not the library's own, its class alone."""

    error: str
    message: str | None = None
    expected: str | None = None
    received: str | None = None
    hint: str | None = None
    step: str | None = None
    alert: Whole | None = None
    code: Whole | None = None
    retry_after: Whole | None = None
    authenticated: bool = False
    channel: bool = False


class Drawn(Line, frozen=True, tag="draw", kw_only=True):
    """SECRET: what the `Entropy` gave. `ciphertext` stands beside the secret of an encapsulation."""

    what: str
    data: bytes
    ciphertext: bytes | None = None
    error: str | None = None


class Opened(Line, frozen=True, tag="channel", kw_only=True):
    """The application has taken the session's channel."""


class Called(Line, frozen=True, tag="call", kw_only=True):
    """What the application did with the channel: `send`, `update` or `close`. `data` is SECRET, and only there with them."""

    what: str
    size: Whole = 0
    data: bytes | None = None
    ask_peer: bool = False


class End(Line, frozen=True, tag="end", kw_only=True):
    """The last line.

    Attributes:
        outcome: `completed`, `failed`, or `open` where the recording ended first.
        received: bytes in all `in` lines.
        sent: likewise in all `out` lines.
        received_check: CRC-32 over all bytes of the `in` lines: not every one changes what an engine does.
        sent_check: likewise over those of the `out` lines.
    """

    outcome: str
    received: Whole
    sent: Whole
    received_check: Whole
    sent_check: Whole


AnyLine = (
    Header
    | Received
    | Sent
    | Frame
    | Skipped
    | Happened
    | Asked
    | Answered
    | Completed
    | Aborted
    | TimedOut
    | Failed
    | Drawn
    | Opened
    | Called
    | End
)

_encode_lines: Final = msgspec.json.Encoder().encode_lines
_LONGEST: Final = MAX_LINE - CHECK_LENGTH


class LineWriter:
    """Writes lines through `write`: those that are given together in one call of it, the last of them with a check."""

    __slots__ = ("_check", "_left", "_lines", "_values", "_write")

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._check = 0
        self._lines = 0
        self._left = MAX_BYTES
        self._values = 0

    def __call__(self, *lines: AnyLine) -> None:
        """Write lines.

        Raises:
            TranscriptError: the transcript would be longer than a reader takes in; none of the lines is written.
        """
        data = _encode_lines(lines)
        size = len(data)
        self._lines += len(lines)
        self._left -= size + CHECK_LENGTH
        if self._left < 0 or self._lines > MAX_LINES or (size > _LONGEST and _longest(data) > _LONGEST):
            raise TranscriptError(f"more than {MAX_LINES} lines, {MAX_BYTES} bytes, or {MAX_LINE} bytes in one line")
        self._values += data.count(b",") + 1
        if self._values > MAX_VALUES:
            raise TranscriptError(f"more than {MAX_VALUES} values")
        self._check = crc32(data, self._check)
        self._write(b'%b,"check":"%08x"}\n' % (data[:-2], self._check))


def _longest(data: bytes) -> int:
    return max(map(len, data.splitlines()))
