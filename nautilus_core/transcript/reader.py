"""Reads a transcript: whole, or a `TranscriptError` that names the line. Bounded, whatever it is given. No files here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import msgspec

from .lines import (
    CHECK_LENGTH,
    FORMAT,
    MAX_BYTES,
    MAX_LINE,
    MAX_LINES,
    MAX_VALUES,
    VERSION,
    AnyLine,
    End,
    Header,
    TranscriptError,
)

_decode: Final = msgspec.json.Decoder(AnyLine).decode
_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


class _Introduction(msgspec.Struct):
    """What every version of the first line has."""

    format: str
    version: int


_decode_introduction: Final = msgspec.json.Decoder(_Introduction).decode


@dataclass(frozen=True, slots=True)
class Transcript:
    """A transcript that was read.

    Attributes:
        header: its first line.
        lines: all others, in order; the number of the line `lines[0]` in its file is 2.
        whole: whether it has its last line. One that has not was cut off: its recorder stopped, or still runs.
    """

    header: Header
    lines: tuple[AnyLine, ...]
    whole: bool = True


def read(pieces: Iterable[bytes], *, cut_off: bool = False) -> Transcript:
    """Read a transcript from the bytes of its file, in pieces of any size: lines, or blocks.

    Args:
        pieces: the bytes. A piece that is one enormous line is in memory already: read large files in blocks.
        cut_off: whether to take one without its last line, up to the last line that has a check.

    Raises:
        TranscriptError: it is none, was altered, is cut off, comes from a newer version, or is too long; says which line.
    """
    header: Header | None = None
    lines: list[AnyLine] = []
    checks = _Checks()
    number = values = 0
    for number, raw, whole in _split(pieces):
        if not whole:
            if cut_off and header is not None:
                break
            raise TranscriptError("it ends in the middle of a line: the transcript is cut off", number)
        if lines and isinstance(lines[-1], End):
            raise TranscriptError("something follows the last line", number)
        values += raw.count(b",")
        if values > MAX_VALUES:
            raise TranscriptError(f"more than {MAX_VALUES} values", number)
        if header is None:
            _check_introduction(raw)
        line = _decode_line(checks.take(raw, number), number)
        if header is None:
            if not isinstance(line, Header):
                raise TranscriptError("the first line is no header", number)
            header = line
            continue
        if isinstance(line, Header):
            raise TranscriptError("a second header: two transcripts in one file", number)
        lines.append(line)
    if header is None:
        raise TranscriptError("it is empty")
    ended = bool(lines) and isinstance(lines[-1], End) and checks.last == number
    if not ended and not cut_off:
        raise TranscriptError("there is no last line: the transcript is cut off", number)
    if not checks.last:
        raise TranscriptError("it is cut off before the first check", number)
    return Transcript(header, tuple(lines[: checks.last - 1]), ended)


def _split(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes, bool]]:
    """The lines, each with its number and whether it is whole."""
    left, number, total = b"", 1, 0
    for piece in pieces:
        if not isinstance(piece, bytes):
            raise TypeError(f"a transcript is read from bytes, not from {type(piece).__name__}")
        total += len(piece)
        if total > MAX_BYTES:
            raise TranscriptError(f"the transcript has more than {MAX_BYTES} bytes", number)
        *whole, left = (left + piece).split(b"\n")
        for line in whole:
            if len(line) > MAX_LINE:
                raise TranscriptError(f"a line of more than {MAX_LINE} bytes", number)
            if number > MAX_LINES:
                raise TranscriptError(f"more than {MAX_LINES} lines", number)
            yield number, line, True
            number += 1
        if len(left) > MAX_LINE:
            raise TranscriptError(f"a line of more than {MAX_LINE} bytes", number)
    if left:
        yield number, left, False


def _check_introduction(raw: bytes) -> None:
    try:
        introduction = _decode_introduction(raw)
    except _ERRORS as error:
        raise TranscriptError("this is no transcript of Nautilus: no header in JSON", 1) from error
    if introduction.format != FORMAT:
        raise TranscriptError(f"this is no transcript of Nautilus, but {introduction.format[:64]!r}", 1)
    if introduction.version > VERSION:
        raise TranscriptError(
            f"written in version {introduction.version} of the format; this library knows version {VERSION}: update it",
            1,
        )
    if introduction.version < 1:
        raise TranscriptError(f"there is no version {introduction.version} of the format", 1)


class _Checks:
    """Compares the checks that some lines have with all lines before; `last` is the number of the last such line."""

    __slots__ = ("_check", "last")

    def __init__(self) -> None:
        self._check = 0
        self.last = 0

    def take(self, raw: bytes, number: int) -> bytes:
        """The line as it was before its check was put in."""
        start = len(raw) - CHECK_LENGTH
        has_check = start > 0 and raw.startswith(b',"check":"', start) and raw.endswith(b'"}')
        body = raw[:start] + b"}" if has_check else raw
        self._check = crc32(b"\n", crc32(body, self._check))
        if has_check:
            if raw[start:] != b',"check":"%08x"}' % self._check:
                raise TranscriptError(f"its check is wrong: {self._suspects(number)}", number)
            self.last = number
        return body

    def _suspects(self, number: int) -> str:
        if number - self.last == 1:
            return "this line was altered, or one before it is missing"
        return f"one of the lines {self.last + 1} to {number} was altered, or one is missing"


def _decode_line(body: bytes, number: int) -> AnyLine:
    try:
        line: AnyLine = _decode(body)
    except _ERRORS as error:
        raise TranscriptError(f"this is no line of a transcript: {error}", number) from error
    return line
