"""`record_transcript`: handshakes that are recorded, or that must repeat what was recorded. The files of one test.

A test writes its transcripts when it has passed. What is compared is in `comparing`.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote
from zlib import crc32

import pytest

from nautilus_core.crypto.entropy import SYSTEM_ENTROPY
from nautilus_core.handshake import Handshake
from nautilus_core.profiles import Profile
from nautilus_core.role import Role
from nautilus_core.transcript import Recorder, ReplayDiverged, ReplayingEntropy, Transcript, TranscriptError, read
from nautilus_core.transcript.lines import Failed, Frame, Sent
from nautilus_core.transcript.replay import tape_of

from ..transcript import read as read_file
from .comparing import Divergence, first_divergence
from .items import Looks, so_far
from .stored import SUFFIX

_LONGEST_NAME: Final = 180
_HINT: Final = "to record it: pytest --nautilus-record="


@dataclass(slots=True)
class _Made:
    """One handshake of the test: where its transcript is, what it wrote, and what it must repeat."""

    path: Path
    file: list[bytes]
    recorder: Recorder
    recorded: Transcript | None
    entropy: ReplayingEntropy | None


class RecordTranscript:
    """Makes the handshakes of one test; see the fixture `record_transcript`.

    Args:
        path: of the transcript of the first handshake.
        looks: where to show what happened.
        mode: `none`, `new` or `all`, as in `--nautilus-record`.

    Attributes:
        path: as given; those of the others have a number.
    """

    def __init__(self, path: Path, looks: Looks, mode: str) -> None:
        self.path = path
        self._looks = looks
        self._mode = mode
        self._made: list[_Made] = []

    @classmethod
    def of(cls, item: pytest.Function, looks: Looks, mode: str) -> RecordTranscript:
        """For a test, by its file and name."""
        folder = cast("str", item.config.getini("nautilus_transcripts"))
        owner = f"{item.cls.__qualname__}." if item.cls is not None else ""
        name = quote(owner + item.name, safe="[] ,=+")
        if len(name) > _LONGEST_NAME:
            name = f"{name[:_LONGEST_NAME]}%{crc32(name.encode()):08x}"
        return cls(item.path.parent / folder / item.path.stem / (name + SUFFIX), looks, mode)

    def __call__(
        self, role: Role, profile: Profile, *, deadline: float | None = None, wall_time: datetime | None = None
    ) -> Handshake:
        """A handshake that is recorded, or repeats what was; with its channel, where the test takes it.

        Args:
            role: which end it is.
            profile: what it is made of. Its identity must be the same in each run.
            deadline: as in `Handshake`.
            wall_time: likewise; a repeated handshake has the recorded one.

        Raises:
            ReplayDiverged: it was recorded with another role or list of steps.
            TranscriptError: its transcript cannot be read.
        """
        path = self._path(len(self._made) + 1)
        recorded = None
        if self._mode == "none" and not path.exists():
            pytest.fail(f"there is no transcript {path}\n{_HINT}new", pytrace=False)
        if self._mode != "all" and path.exists():
            recorded = _recorded(path, role)
            wall_time = recorded.header.wall_time
        file: list[bytes] = []
        whole = recorded is None or recorded.header.whole_channel
        recorder = Recorder(file.append, dangerously_record_secrets=True, whole_channel=whole)
        entropy = None if recorded is None else ReplayingEntropy(tape_of(recorded))
        handshake = Handshake(
            role,
            profile,
            entropy=SYSTEM_ENTROPY if entropy is None else entropy,
            deadline=deadline,
            wall_time=wall_time,
            recorder=recorder,
        )
        self._looks.add(f"{path.name}, {role.value}", partial(so_far, file))
        self._made.append(_Made(path, file, recorder, recorded, entropy))
        return handshake

    def check(self, error: BaseException | None) -> None:
        """The test has ended: compare, and store what is new when it has passed.

        Raises:
            ReplayDiverged: a handshake was another than the recorded one.
        """
        if error is not None and not isinstance(error, (Exception, pytest.fail.Exception)):
            return  # skipped, or interrupted
        idle = [made.path.name for made in self._made if _live(made) is None]
        differences = [found for made in self._made if (found := _compare(made)) is not None]
        if differences:
            first = next((one for one in differences if one.caused), differences[0])
            raise first.diverged from error
        if error is not None:
            return
        if not self._made:
            pytest.fail("record_transcript made no handshake: nothing was checked", pytrace=False)
        if idle:
            pytest.fail(f"the handshake of {idle[0]} did nothing: there is nothing to check", pytrace=False)
        self._check_others()
        for made in self._made:
            if made.recorded is None:
                _store(made.path, made.file)

    def _path(self, number: int) -> Path:
        name = self.path.name.removesuffix(SUFFIX)
        return self.path if number == 1 else self.path.with_name(f"{name}-{number}{SUFFIX}")

    def _check_others(self) -> None:
        """There is no transcript of a handshake that the test does not make any more."""
        number = len(self._made) + 1
        while (path := self._path(number)).exists():
            if self._mode != "all":
                made = len(self._made)
                pytest.fail(f"the test made {made} handshakes; there is also {path}\n{_HINT}all", pytrace=False)
            path.unlink()
            number += 1


def _recorded(path: Path, role: Role) -> Transcript:
    try:
        transcript = read_file(path)
        if not transcript.header.secrets:
            raise TranscriptError("it was recorded without secrets: a handshake cannot repeat it", 1)
        if transcript.header.role is not role:
            raise ReplayDiverged(f"the {transcript.header.role.value}", f"the {role.value}", line=1)
    except (TranscriptError, ReplayDiverged) as error:
        error.add_note(f"in {path}")
        raise
    return transcript


def _live(made: _Made) -> Transcript | None:
    """What the handshake did; None when that was nothing."""
    made.recorder.close()
    if made.recorder.error is not None:
        raise made.recorder.error
    live = read(made.file) if made.file else None
    did = live is not None and any(isinstance(line, (Sent, Frame, Failed)) for line in live.lines)
    return live if did else None


def _compare(made: _Made) -> Divergence | None:
    live = _live(made)
    if live is None or made.recorded is None or made.entropy is None:
        return None
    difference = first_divergence(made.recorded, live, made.entropy.drawn, made.entropy.problem)
    if difference is not None:
        difference.diverged.add_note(f"in {made.path}\nif it is meant to be another now: {_HINT[14:]}all")
    return difference


def _store(path: Path, file: list[bytes]) -> None:
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name[:40], suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as new:
            new.writelines(file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
