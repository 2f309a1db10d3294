"""Transcripts in files: written as a handshake happens, read, replayed. The format is the core's; no network here.

Writing blocks, for some microseconds each time: a handshake writes about twenty times, a few hundred bytes each, to a local
file that the system buffers. A thread for each would cost more, and what it has not written yet would be lost in a crash.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Final, TypeAlias

from nautilus_core import Profile, Role
from nautilus_core import transcript as core
from nautilus_core.transcript import (
    OpenedFrame,
    Recorder,
    ReplayDiverged,
    ReplayReport,
    Transcript,
    TranscriptError,
)
from nautilus_core.transcript.replay import Answer

from .errors import in_words
from .key_log import FilePath

_log: Final = logging.getLogger("nautilus_anyio.transcript")

_BLOCK: Final = 65_536
_SUFFIX: Final = ".jsonl"


def check_new(path: Path) -> None:
    """Before a peer is called: raise an `OSError` where a transcript would not find its name free."""
    if os.path.lexists(path):
        raise _there_already(path)


def _there_already(path: Path) -> OSError:
    if path.is_dir():
        return IsADirectoryError(
            errno.EISDIR, "the transcript of one handshake needs a new file, not a folder", str(path)
        )
    return FileExistsError(errno.EEXIST, "there is a file already; a transcript is never written over", str(path))


@dataclass(frozen=True, slots=True)
class Recording:
    """Where and how to record: for `record=` of `connect`, `handshake` and `serve`, which also take a path alone.

    Args:
        path: a new file, which is never written over; for a listener a folder, which is made where it is missing.
        dangerously_record_secrets: whether the transcript has what a full replay needs. Whoever has it can read the session.
        whole_channel: whether the channel is recorded until the stream is closed, and not the handshake alone. Without
            secrets application data is in it as it travelled: sealed.
        each: whether `path` is a folder in which each handshake has a file of its own, as listeners do by themselves. There
            a file that cannot be made is a warning and no error.
    """

    path: FilePath
    dangerously_record_secrets: bool = False
    whole_channel: bool = False
    each: bool = False


Record: TypeAlias = FilePath | Recording
"""What `record=` takes."""


class FileRecorder:
    """A recorder that writes to a new file, which only its owner can read. Lines are whole after a crash.

    What cannot be written ends the recording, with one warning of the logger `nautilus_anyio.transcript`, and nothing else.

    Attributes:
        recorder: for the `Handshake`.
        path: the file.
        whole_channel: whether it goes on after the handshake.

    Raises:
        OSError: the file is there already, or cannot be made.
    """

    def __init__(self, path: Path, recording: Recording) -> None:
        try:
            self._file = FileIO(path, "x", opener=_for_owner)
        except FileExistsError:
            raise _there_already(path) from None
        self.path = path
        self.whole_channel = recording.whole_channel
        self.recorder = Recorder(
            self._write,
            clock=time.perf_counter,
            dangerously_record_secrets=recording.dangerously_record_secrets,
            whole_channel=recording.whole_channel,
        )

    def _write(self, data: bytes) -> None:
        written = self._file.write(data)
        if written != len(data):
            raise OSError(errno.ENOSPC, "only a part of it could be written", str(self.path))

    def close(self) -> None:
        """Write the last line and close the file. A second call does nothing."""
        if self._file.closed:
            return
        self.recorder.close()
        try:
            with self._file:
                if not self._file.tell():  # there was no handshake
                    self.path.unlink(missing_ok=True)
        except OSError as error:  # a network's file system may say so only here
            self.recorder.error = self.recorder.error or error
        stopped = self.recorder.error
        if stopped is not None:
            why = in_words(stopped) if isinstance(stopped, OSError) else type(stopped).__name__
            _log.warning("the recording in %s stopped: %s", self.path, why)


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def as_recording(record: Record) -> Recording:
    """What `record=` was given, as a `Recording`."""
    return record if isinstance(record, Recording) else Recording(record)


def start(record: Record | None, role: Role) -> FileRecorder | None:
    """A recorder for one handshake; None where there is nothing to record to.

    Raises:
        OSError: the file is there already, or cannot be made; not for a recording with `each`.
    """
    if record is None:
        return None
    recording = as_recording(record)
    if not recording.each:
        return FileRecorder(Path(recording.path), recording)
    try:
        return FileRecorder(prepare_folder(recording.path) / _new_name(role), recording)
    except OSError as error:  # one handshake that is not recorded must not be one that is not made
        _log.warning("a handshake is not recorded in %s: %s", os.fspath(recording.path), in_words(error))
        return None


@contextmanager
def recording(record: Record | None, role: Role) -> Iterator[FileRecorder | None]:
    """Record in the block; after it only where the whole channel is recorded, and nothing has failed."""
    recorder = start(record, role)
    try:
        yield recorder
    except BaseException:
        if recorder is not None:
            recorder.close()
        raise
    if recorder is not None and not recorder.whole_channel:
        recorder.close()


def prepare_folder(path: FilePath) -> Path:
    """Make the folder for transcripts, for its owner alone, where it is missing; `OSError` when that cannot be."""
    folder = Path(path)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(
            errno.ENOTDIR, "transcripts of many handshakes need a folder, and this is a file", str(folder)
        ) from None
    return folder


def _new_name(role: Role) -> str:
    """A name that sorts by time, that no other has, and that every file system takes."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return f"{now}-{role.value}-{secrets.token_hex(4)}{_SUFFIX}"


def read(path: FilePath, *, cut_off: bool = False) -> Transcript:
    """The transcript in a file.

    Args:
        path: the file.
        cut_off: whether to take one without its last line, as far as it is whole: its recorder has crashed, or still runs.

    Raises:
        TranscriptError: it is no transcript, was altered, is cut off or too long; says which line.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        return core.read(iter(partial(file.read, _BLOCK), b""), cut_off=cut_off)


def replay(
    source: FilePath | Transcript,
    profile: Profile,
    *,
    answer: Answer | None = None,
    other_side: bool = False,
    tape: FilePath | Transcript | None = None,
) -> ReplayReport:
    """Check a transcript against `profile`: with secrets an engine does it all again, without the public part is checked.

    Args:
        source: the file, or a transcript that was read.
        profile: of the side that recorded; with secrets it needs no private keys: `Identity.public_only` will do.
        answer: answers the questions whose answers are not in the transcript.
        other_side: whether `profile` is that of the peer of the side that recorded.
        tape: with `other_side`, the peer's own transcript, with its secrets.

    Raises:
        ReplayDiverged: something came out differently; says at which flight, step and byte.
        TranscriptError: a transcript is none, or there is nothing to check in it.
        ValueError: the profile cannot play the role.
        OSError: a file cannot be read.
    """
    tapes = None if tape is None else _read(tape)
    return core.replay(_read(source), profile, answer=answer, other_side=other_side, tape=tapes)


def opened(source: FilePath | Transcript, key_log: FilePath) -> list[OpenedFrame]:
    """Every frame of a transcript with what is in it, as far as the secrets in the file `key_log` open it.

    Raises:
        TranscriptError: the transcript is none, is not in `nautilus/1`, or the log has no secret of its session.
        ValueError: the key log is damaged.
        OSError: a file cannot be read.
    """
    with Path(key_log).open("rb") as lines:
        return list(core.opened(_read(source), lines))


def _read(source: FilePath | Transcript) -> Transcript:
    return source if isinstance(source, Transcript) else read(source)


__all__ = [
    "FileRecorder",
    "OpenedFrame",
    "Record",
    "Recording",
    "ReplayDiverged",
    "ReplayReport",
    "Transcript",
    "TranscriptError",
    "opened",
    "read",
    "replay",
]
