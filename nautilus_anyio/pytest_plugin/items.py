"""What one test has done, to be shown where it fails. No handshake is made here, and no file touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from nautilus_core.transcript import Transcript, TranscriptError, ladder_of, read

from ..pictures import as_text

Look: TypeAlias = Callable[[], Transcript | None]

_MOST_SHOWN = 4


class Looks:
    """What there is to see of one test.

    Attributes:
        at_end: what compares the test with its records when it has ended, given its error; None where nothing does.
    """

    def __init__(self) -> None:
        self.at_end: Callable[[BaseException | None], None] | None = None
        self._titles: list[str] = []
        self._looks: list[Look] = []

    def add(self, title: str, look: Look) -> None:
        """Something to show: `look` gives the transcript so far, or None."""
        self._titles.append(title)
        self._looks.append(look)

    def check(self, error: BaseException | None) -> None:
        """The test has ended, with `error` or well: raise what it did differently from what was recorded."""
        if self.at_end is not None:
            self.at_end(error)

    def sections(self) -> list[tuple[str, str]]:
        """The ladders for the report of a test that failed: the last ones."""
        shown = list(zip(self._titles, self._looks, strict=True))[-_MOST_SHOWN:]
        drawn = [(f"nautilus: {title}", look()) for title, look in shown]
        return [(title, as_text(ladder_of(transcript))) for title, transcript in drawn if transcript is not None]


def so_far(file: Sequence[bytes]) -> Transcript | None:
    """What a recorder has written until now; None before its first line."""
    try:
        return read(file, cut_off=True) if file else None
    except TranscriptError:
        return None
