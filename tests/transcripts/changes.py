"""`python -m tests.transcripts.changes`: change every byte that was sent or received, one at a time; replay must notice each.

The lines' checks play no part here: a transcript is changed after it was read. A change is noticed by what the engine does
then; or, where no engine could do anything else (a byte of a message that came after the failure, a nonce of a handshake that
never came to keys), by the checks in the last line, which the first look here has made to fit.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Final
from zlib import crc32

import msgspec

from nautilus_core import Role
from nautilus_core.transcript import ReplayDiverged, Transcript, TranscriptError, read, replay
from nautilus_core.transcript.lines import AnyLine, End, Received, Sent

from .case import Case, path_of
from .cases import CASES

ENGINE: Final = "noticed by what the engine did"
CHECK: Final = "noticed by the check alone"
UNNOTICED: Final = "not noticed"


def recorded() -> Iterator[tuple[str, Role, Case, Transcript]]:
    """All transcripts that have the secrets."""
    for name, case in CASES.items():
        if case.secrets:
            for role in Role:
                yield name, role, case, read([path_of(name, role).read_bytes()])


def places(transcript: Transcript) -> Iterator[tuple[int, int]]:
    """Every byte that was sent or received: the place of its line, and its own."""
    for number, line in enumerate(transcript.lines):
        if isinstance(line, (Received, Sent)):
            for place in range(len(line.data)):
                yield number, place


def changed(transcript: Transcript, number: int, place: int, bits: int = 1) -> Transcript:
    """The transcript with a byte changed."""
    lines: list[AnyLine] = list(transcript.lines)
    line = lines[number]
    if not isinstance(line, (Received, Sent)):
        raise TypeError(line)
    data = bytearray(line.data)
    data[place] ^= bits
    lines[number] = msgspec.structs.replace(line, data=bytes(data))
    return replace(transcript, lines=tuple(lines))


def with_fitting_checks(transcript: Transcript) -> Transcript:
    """As whoever changes a byte and knows of the last line would leave it."""
    *lines, end = transcript.lines
    if not isinstance(end, End):
        raise TypeError(end)
    checks = [crc32(b"".join(line.data for line in lines if isinstance(line, kind))) for kind in (Received, Sent)]
    end = msgspec.structs.replace(end, received_check=checks[0], sent_check=checks[1])
    return replace(transcript, lines=(*lines, end))


def diverges(transcript: Transcript, case: Case, role: Role) -> bool:
    """Whether replay notices something."""
    try:
        replay(transcript, case.profile(role))
    except (ReplayDiverged, TranscriptError):
        return True
    return False


def verdict(transcript: Transcript, case: Case, role: Role) -> str:
    """What notices the change that was made in this transcript."""
    if diverges(with_fitting_checks(transcript), case, role):
        return ENGINE
    return CHECK if diverges(transcript, case, role) else UNNOTICED


def main() -> int:
    """Change everything; returns 1 when something was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.transcripts.changes", description=__doc__)
    parser.add_argument("--bits", type=int, default=1, help="which bits of a byte change, 1 to 255")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    transcripts = 0
    for name, role, case, transcript in recorded():
        transcripts += 1
        for number, place in places(transcript):
            found = verdict(changed(transcript, number, place, options.bits), case, role)
            counts[found] += 1
            if found == UNNOTICED:
                print(f"{name}.{role.value}: line {number + 2}, byte {place} is not noticed")
    print(f"{transcripts} transcripts, {counts.total()} bytes changed")
    for what, count in counts.items():
        print(f"{count:8} {what}")
    return 1 if counts[UNNOTICED] else 0


if __name__ == "__main__":
    raise SystemExit(main())
