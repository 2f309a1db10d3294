"""Transcripts in files, for tests. They are read here, whole and in blocks; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nautilus_core.profiles import Profile
from nautilus_core.transcript import ReplayReport, Transcript
from nautilus_core.transcript import replay as replay_transcript

from ..transcript import read
from .items import Looks

SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class StoredTranscript:
    """A transcript in a file.

    Attributes:
        path: of the file.
    """

    path: Path
    _looks: Looks | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Of the file, without its suffix."""
        return self.path.name.removesuffix(SUFFIX)

    @property
    def transcript(self) -> Transcript:
        """What stands in it; `TranscriptError` when that is no whole transcript."""
        return read(self.path)

    def replay(self, profile: Profile, **options: Any) -> ReplayReport:
        """`nautilus_core.transcript.replay` of this file; the options are `answer`, `other_side` and `tape`.

        Raises:
            ReplayDiverged: something came out differently.
            TranscriptError: it cannot be read, or there is nothing to check in it.
        """
        transcript = self.transcript
        if self._looks is not None:
            self._looks.add(self.path.name, partial(_same, transcript))
        return replay_transcript(transcript, profile, **options)

    def shown_by(self, looks: Looks) -> StoredTranscript:
        """The same, which is shown where a test fails that has replayed it."""
        return replace(self, _looks=looks)


def _same(transcript: Transcript) -> Transcript:
    return transcript


def stored_in(beside: Path, folder: str) -> list[StoredTranscript]:
    """The transcripts in `folder`, relative to the folder `beside`, by name; the test fails when there are none."""
    path = beside / folder
    if not path.is_dir():
        pytest.fail(f"there is no folder of transcripts {path}", pytrace=False)
    found = sorted(path.glob(f"*{SUFFIX}"))
    if not found:
        pytest.fail(f"there is no transcript (*{SUFFIX}) in {path}: nothing would be checked", pytrace=False)
    return [StoredTranscript(one) for one in found]
