"""Fuzzes transcripts: reading them, and all that is done with one that was read.

Byte 0 chooses: the profile of the replay (bits 0 and 1), whether the rest is a file as it is or lines whose checks are put in
here (bit 2), whether it is taken cut off (bit 3), the other side (bit 4), pictures too (bit 5). A reader may raise
`TranscriptError` alone, a replay also `ReplayDiverged`, and `ValueError` where the profile cannot play the role.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final
from zlib import crc32

from fuzz.checks import Finding, check_text
from fuzz.insecure import FixedEntropy
from fuzz.people import NOW, answer, profile
from fuzz.structure import changed_json
from nautilus_anyio.pictures import as_html, as_mermaid, as_svg, as_text
from nautilus_core import (
    INITIATOR,
    RESPONDER,
    Handshake,
    HandshakeError,
    LocalProtocolError,
    Profile,
    Role,
    profiles,
    trust,
)
from nautilus_core.testing import Pair
from nautilus_core.transcript import (
    Recorder,
    ReplayDiverged,
    Transcript,
    TranscriptError,
    first_difference,
    ladder_of,
    opened,
    pieces_of,
    profile_of,
    read,
    redact,
    replay,
    rerun,
    to_bytes,
)
from nautilus_core.transcript.lines import CHECK_LENGTH, Received, Sent

CHECKED: Final = 4
CUT_OFF: Final = 8
OTHER_SIDE: Final = 16
PICTURES: Final = 32
_MARK: Final = b',"check":"'

_SCRIPT: Final = "<script>alert"


@cache
def _profiles(role: Role) -> tuple[Profile, ...]:
    noise = profiles.noise(
        "Noise_XX_25519_ChaChaPoly_SHA256", static=bytes([5 + (role is INITIATOR)]) * 32, trust=trust.anyone()
    )
    return profile(role, "plain"), profile(role, "custom"), profile(role, "psk"), noise


RECORDED: Final = ("plain", "custom", "psk", "noise")
"""What `_profiles` are called."""


@cache
def _recordings() -> dict[str, tuple[bytes, tuple[bytes, ...]]]:
    """Transcripts of our own, with the key log of each, by name."""
    made: dict[str, tuple[bytes, tuple[bytes, ...]]] = {}
    for number, name in enumerate(RECORDED):
        for secrets in (True, False):
            for role, recording in _record(number, secrets=secrets).items():
                made[f"{name}-{'secrets' if secrets else 'public'}-{role.value}"] = recording
    return made


def _record(number: int, *, secrets: bool) -> dict[Role, tuple[bytes, tuple[bytes, ...]]]:
    """What each end records of a handshake and a question over the channel; and its key log."""
    files: dict[Role, list[bytes]] = {role: [] for role in Role}
    logs: dict[Role, list[bytes]] = {role: [] for role in Role}
    recorders = {
        role: Recorder(files[role].append, dangerously_record_secrets=secrets, whole_channel=True) for role in Role
    }

    def end(role: Role) -> Handshake:
        made = _profiles(role)[number]
        options: dict[str, Any] = {"recorder": recorders[role], "key_log": logs[role].append}
        return Handshake(role, made, entropy=FixedEntropy(role), wall_time=NOW, **options)

    pair = Pair(end(INITIATOR), end(RESPONDER), answer=lambda question: answer(question, INITIATOR), close=False).run()
    channel = pair.initiator.session.channel()
    channel.next_event()
    channel.send_data(b"a question")
    channel.close()
    channel.data_to_send()
    for recorder in recorders.values():
        recorder.close()
    return {role: (b"".join(files[role]), tuple(logs[role])) for role in Role}


def with_checks(lines: bytes) -> bytes:
    """The lines, each with the check that it needs, whatever they say."""
    check, file = 0, []
    for line in lines.split(b"\n"):
        if line.endswith(b"}"):
            check = crc32(b"\n", crc32(line, check))
            file.append(line[:-1] + _MARK + b'%08x"}\n' % check)
        elif line:
            check = crc32(b"\n", crc32(line, check))
            file.append(line + b"\n")
    return b"".join(file)


def without_checks(file: bytes) -> bytes:
    """The reverse of `with_checks`."""
    lines = file.splitlines()
    return (
        b"\n".join(line[:-CHECK_LENGTH] + b"}" if line[-CHECK_LENGTH:].startswith(_MARK) else line for line in lines)
        + b"\n"
    )


def _allowed(action: Callable[[], Any], *errors: type[Exception]) -> Any:
    try:
        return action()
    except errors as error:
        check_text(error, ())
        return None


def one_input(data: bytes) -> None:
    """One input; raises whatever is not documented."""
    if not data:
        return
    choice, file = data[0], data[1:]
    if choice & CHECKED:
        file = with_checks(file)
    cut_off = bool(choice & CUT_OFF)
    outcomes = [_read(pieces, cut_off) for pieces in ([file], [file[:100], file[100:1000], file[1000:]])]
    if outcomes[0] != outcomes[1]:
        raise Finding(f"in pieces it is read otherwise: {outcomes}")
    transcript = outcomes[0]
    if isinstance(transcript, Transcript):
        _check_transcript(transcript)
        _replay(transcript, choice)
        if choice & PICTURES:
            _draw(transcript)


def _read(pieces: Iterable[bytes], cut_off: bool) -> Transcript | str:
    try:
        return read(pieces, cut_off=cut_off)
    except TranscriptError as error:
        check_text(error, ())
        return str(error)


def _check_transcript(transcript: Transcript) -> None:
    written = to_bytes(transcript)
    if transcript.whole and read([written]) != transcript:
        raise Finding("a transcript that was written is read otherwise")
    wires = dict.fromkeys(Role, 0)
    for line in transcript.lines:
        if isinstance(line, (Received, Sent)):
            own = transcript.header.role
            wires[own if isinstance(line, Sent) else own.peer] += len(line.data)
    pieces = pieces_of(transcript)
    if {role: sum(len(piece.data) for piece in pieces if piece.sender is role) for role in Role} != wires:
        raise Finding("the pieces are not all that went over the wire")
    public = redact(transcript)
    if public.header.secrets or redact(public) != public:
        raise Finding("redacting twice is another thing")
    redact(transcript, names=True)
    reference = _recordings()["plain-public-initiator"][0]
    first_difference(transcript, read([reference]))
    if first_difference(transcript, transcript) is not None and written == to_bytes(transcript):
        raise Finding("a transcript that differs from itself")


def _replay(transcript: Transcript, choice: int) -> None:
    role = transcript.header.role
    sides = role.peer if choice & OTHER_SIDE else role
    played = _profiles(sides)[choice & 3]

    def answered(question: Any) -> None:
        answer(question, sides)

    _allowed(
        lambda: replay(transcript, played, answer=answered, other_side=bool(choice & OTHER_SIDE)),
        TranscriptError, ReplayDiverged, ValueError,
    )  # fmt: skip
    _allowed(lambda: rerun(transcript, played, answer=answered), TranscriptError, HandshakeError, LocalProtocolError)
    made = _allowed(lambda: profile_of(transcript.header), ValueError)
    if made is not None:
        _allowed(lambda: replay(redact(transcript), made), TranscriptError, ReplayDiverged, ValueError)
    logs = [line for name, (_, log) in _recordings().items() if name.endswith("secrets-initiator") for line in log]
    _allowed(lambda: list(opened(transcript, logs)), TranscriptError)


def _draw(transcript: Transcript) -> None:
    ladder = ladder_of(transcript)
    texts = as_text(ladder), as_mermaid(ladder), as_svg(ladder), as_html(ladder)
    if any(_SCRIPT in text for text in texts[2:]):
        raise Finding("a picture runs what stands in a transcript")
    for text in texts:
        if not text.replace("\n", "").isprintable():
            raise Finding(f"a picture with what is not printable: {text!r}")


def mutate(data: bytes, choose: random.Random) -> bytes | None:
    """A change inside of one line, or lines moved, doubled, or left out; the checks are put in."""
    if not data:
        return None
    lines = (data[1:] if data[0] & CHECKED else without_checks(data[1:])).splitlines()
    if not lines:
        return None
    place = choose.randrange(len(lines))
    what = choose.randrange(5)
    if what == 0:
        del lines[place]
    elif what == 1:
        lines.insert(choose.randrange(len(lines)), lines[place])
    else:
        lines[place] = changed_json(lines[place], choose) or b"{}"
    return bytes((data[0] | CHECKED,)) + b"\n".join(lines) + b"\n"


def seeds() -> dict[str, bytes]:
    """Transcripts of every profile and of both ends, with secrets and without."""
    made: dict[str, bytes] = {}
    for name, (file, _) in _recordings().items():
        number = RECORDED.index(name.partition("-")[0])
        made[name] = bytes((number | CHECKED | PICTURES,)) + without_checks(file)
        if "public" in name and name.startswith("plain"):
            made[f"{name}-file"] = bytes((number,)) + file
            made[f"{name}-cut-off"] = bytes((number | CUT_OFF | OTHER_SIDE,)) + file[: len(file) // 2]
    evil = without_checks(_recordings()["plain-public-initiator"][0]).replace(
        b"nautilus/1", b"<script>alert(1)</script>", 1
    )
    made["script"] = bytes((CHECKED | PICTURES,)) + evil
    return made
