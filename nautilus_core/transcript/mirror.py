"""A transcript as the peer of the side that recorded must have seen it: what was sent comes in, what came in was sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from ..role import Role
from .lines import AnyLine, Called, End, Frame, Opened, Received, Sent, TranscriptError
from .reader import Transcript
from .report import ReplayDiverged

_OF_NO_SECRET: Final = ("hello-response", "suite", "psk")
"""What a responder says that any engine with the same profile can read, whatever it has drawn itself."""


def from_other_side(transcript: Transcript, tape: Transcript | None) -> Transcript:
    """The peer's view of `transcript`: with a `tape` all that the peer's engine did, which must come of these bytes again.

    Without a tape it has the messages before encryption alone: an engine without the recorded secrets can read no others.

    Raises:
        TranscriptError: `tape` is not the other side's, or has no secrets.
        ReplayDiverged: the two transcripts have other messages.
    """
    header = transcript.header
    if tape is None:
        new = msgspec.structs.replace(header, role=header.role.peer, secrets=False)
        return Transcript(new, tuple(_before_encryption(transcript)), transcript.whole)
    if tape.header.role is header.role or not tape.header.secrets:
        raise TranscriptError("tape= is the transcript of the other side, recorded with its secrets")
    _check_messages(transcript, tape)
    return Transcript(tape.header, tuple(_as_it_travelled(transcript, tape)), transcript.whole and tape.whole)


def _as_it_travelled(transcript: Transcript, tape: Transcript) -> Iterator[AnyLine]:
    """The lines of the tape's handshake, with the bytes that the other side saw. What either did with its channel is its own."""
    bytes_of = {
        Received: b"".join(line.data for line in transcript.lines if isinstance(line, Sent)),
        Sent: b"".join(line.data for line in transcript.lines if isinstance(line, Received)),
    }
    taken = dict.fromkeys(bytes_of, 0)
    for line in tape.lines:
        if isinstance(line, (Opened, Called, End)) or getattr(line, "channel", False):
            continue
        if isinstance(line, (Received, Sent)):
            begin = taken[type(line)]
            end = taken[type(line)] = begin + len(line.data)
            yield msgspec.structs.replace(line, data=bytes_of[type(line)][begin:end])
        else:
            yield line


def _check_messages(transcript: Transcript, tape: Transcript) -> None:
    """Who sends has all its messages; who receives has those that it has accepted, which are the first of them."""
    for sender in Role:
        one, other = (
            [(number, line) for number, line in enumerate(one.lines, 2) if isinstance(line, Frame)]
            for one in (transcript, tape)
        )
        mine, theirs = ([pair for pair in pairs if pair[1].sender is sender] for pairs in (one, other))
        for (number, line), (_, its) in zip(mine, theirs, strict=False):
            if (line.step, line.size, line.sealed) != (its.step, its.size, its.sealed):
                raise ReplayDiverged(
                    f"{line.step!r}, {line.size} bytes", f"{its.step!r}, {its.size} bytes", line=number, step=line.step
                )


def _before_encryption(transcript: Transcript) -> list[AnyLine]:
    """The messages up to where the peer's engine must open something, in the order of the list."""
    role = transcript.header.role
    sent = b"".join(line.data for line in transcript.lines if isinstance(line, Sent) and not line.channel)
    lines: list[AnyLine] = []
    place = 0
    answered = False
    for line in transcript.lines:
        if not isinstance(line, Frame):
            continue
        depends = answered and line.step not in _OF_NO_SECRET
        if line.sealed or (line.sender is role and depends):
            break
        if line.sender is role:
            lines.append(Received(flight=2 if answered else 1, data=sent[place : place + line.size]))
            place += line.size
        else:
            answered = True
        lines.append(line)
    return lines
