"""A transcript as the peer of the side that recorded must have seen it: what was sent comes in, what came in was sent."""

from __future__ import annotations

import msgspec

from .lines import AnyLine, Drawn, Frame, Received, Sent, TranscriptError
from .reader import Transcript


def from_other_side(transcript: Transcript, tape: Transcript | None) -> Transcript:
    """The peer's view of `transcript`, with the secrets of the peer's own `tape`.

    Without a tape it has the messages before encryption alone: an engine without the recorded secrets can read no others.

    Raises:
        TranscriptError: `tape` is not the other side's, or has no secrets.
    """
    header = transcript.header
    if tape is not None and (tape.header.role is header.role or not tape.header.secrets):
        raise TranscriptError("tape= is the transcript of the other side, recorded with its secrets")
    lines: list[AnyLine] = [] if tape is None else [line for line in tape.lines if isinstance(line, Drawn)]
    steps = header.steps if tape is None else tape.header.steps  # each side has its own list: optional steps differ
    bindings = header.channel_bindings if tape is None else tape.header.channel_bindings
    new = msgspec.structs.replace(
        header, role=header.role.peer, steps=steps, secrets=tape is not None, channel_bindings=bindings
    )
    lines += _mirrored(transcript) if tape is not None else _before_encryption(transcript)
    return Transcript(new, tuple(lines), transcript.whole)


def _mirrored(transcript: Transcript) -> list[AnyLine]:
    """Both directions exchanged; a message that comes in is accepted only after its bytes."""
    role = transcript.header.role
    lines: list[AnyLine] = []
    held: list[AnyLine] = []
    for line in transcript.lines:
        if isinstance(line, Frame):
            (held if line.sender is role else lines).append(line)
        elif isinstance(line, Sent) and not line.channel:
            lines += [Received(flight=line.flight, data=line.data), *held]
            held.clear()
        elif isinstance(line, Received) and not line.channel and line.data:
            lines.append(Sent(flight=line.flight, data=line.data))
    return lines


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
        depends = answered and line.step not in ("hello-response", "suite")
        if line.sealed or (line.sender is role and depends):
            break
        if line.sender is role:
            lines.append(Received(flight=2 if answered else 1, data=sent[place : place + line.size]))
            place += line.size
        else:
            answered = True
        lines.append(line)
    return lines
