"""What the tests of transcripts share: a recorded pair, and transcripts that are altered and written anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec

from nautilus_core import INITIATOR, RESPONDER, Handshake, Profile
from nautilus_core.testing import End, Pair
from nautilus_core.transcript import AnyLine, LineWriter, Recorder, Transcript, read
from nautilus_core.transcript.lines import Received, Sent


class Recorded:
    """A handshake that both ends have recorded, as far as it went.

    Attributes:
        pair: both ends.
        files: the lines that each end has written, the initiator first.
        key_logs: likewise the lines of their key logs.
    """

    def __init__(
        self,
        initiator: Profile,
        responder: Profile,
        *,
        secrets: bool = True,
        use: Callable[[Pair], object] | None = None,
        whole_channel: bool = False,
        wall_time: datetime | None = None,
        **options: Any,
    ) -> None:
        self.profiles = initiator, responder
        self.files: tuple[list[bytes], list[bytes]] = ([], [])
        self.key_logs: tuple[list[bytes], list[bytes]] = ([], [])
        recorders = [
            Recorder(
                lambda data, file=file: file.extend(data.splitlines(keepends=True)),  # type: ignore[misc]  # bound early
                dangerously_record_secrets=secrets,
                whole_channel=whole_channel,
            )
            for file in self.files
        ]
        ends = [
            Handshake(role, profile, recorder=recorder, key_log=key_log.append, wall_time=wall_time)
            for role, profile, recorder, key_log in zip(
                (INITIATOR, RESPONDER), self.profiles, recorders, self.key_logs, strict=True
            )
        ]
        self.pair = Pair(ends[0], ends[1], **options).run()
        if use is not None:
            use(self.pair)
        for recorder in recorders:
            recorder.close()
            if recorder.error is not None:
                raise recorder.error

    @property
    def ends(self) -> tuple[End, End]:
        """Both ends of the pair."""
        return self.pair.initiator, self.pair.responder


def rewritten(transcript: Transcript, lines: Iterable[AnyLine]) -> list[bytes]:
    """The file of a transcript with other lines, and good checks."""
    file: list[bytes] = []
    write = LineWriter(file.append)
    for line in (transcript.header, *lines):
        write(line)
    return file


def with_a_byte_changed(file: list[bytes], place: int, *, of: type[Received | Sent]) -> list[bytes]:
    """The file with the byte `place` of all that came in, or went out, changed, and good checks."""
    transcript = read(file)
    lines = list(transcript.lines)
    for number, line in enumerate(lines):
        if isinstance(line, of):
            if place < len(line.data):
                data = bytearray(line.data)
                data[place] ^= 1
                lines[number] = msgspec.structs.replace(line, data=bytes(data))
                return rewritten(transcript, lines)
            place -= len(line.data)
    raise IndexError(place)


def size(file: list[bytes], of: type[Received | Sent]) -> int:
    """How many bytes came in, or went out."""
    return sum(len(line.data) for line in read(file).lines if isinstance(line, of))
