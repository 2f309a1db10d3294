"""What one test has done, to be shown where it fails. No handshake is made here, and no file touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from nautilus_core.transcript import Transcript, TranscriptError, read

from .ladder import ladder

if TYPE_CHECKING:
    from .recording import RecordTranscript

Look: TypeAlias = Callable[[], Transcript | None]

_MOST_SHOWN = 4


class Looks:
    """What there is to see of one test.

    Attributes:
        recording: what `record_transcript` gave it; None where it was not asked for.
    """

    def __init__(self) -> None:
        self.recording: RecordTranscript | None = None
        self._titles: list[str] = []
        self._looks: list[Look] = []

    def add(self, title: str, look: Look) -> None:
        """Something to show: `look` gives the transcript so far, or None."""
        self._titles.append(title)
        self._looks.append(look)

    def check(self, error: BaseException | None) -> None:
        """The test has ended, with `error` or well: raise what it did differently from what was recorded."""
        if self.recording is not None:
            self.recording.check(error)

    def sections(self) -> list[tuple[str, str]]:
        """The ladders for the report of a test that failed: the last ones."""
        shown = list(zip(self._titles, self._looks, strict=True))[-_MOST_SHOWN:]
        drawn = [(f"nautilus: {title}", look()) for title, look in shown]
        return [(title, ladder(transcript)) for title, transcript in drawn if transcript is not None]


def so_far(file: Sequence[bytes]) -> Transcript | None:
    """What a recorder has written until now; None before its first line."""
    try:
        return read(file, cut_off=True) if file else None
    except TranscriptError:
        return None
