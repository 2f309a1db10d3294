"""Any byte that was sent or received, and is another in the transcript, is noticed by replay itself.

Here every byte of a few, and some of all others; `python -m tests.transcripts.changes` does all of them.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from nautilus_core import INITIATOR, Role
from nautilus_core.transcript import read
from nautilus_core.transcript.lines import Completed, Failed, Frame, Happened, Received, Sent, Skipped

from .case import path_of
from .cases import CASES
from .changes import CHECK, ENGINE, UNNOTICED, changed, diverges, places, recorded, verdict

WHOLE = ("suite-x25519-aes128gcm", "noise-xx", "authentication-responder-refuses", "psk-alone")
STRIDE = 41
MOST = 32
"""Changes of one transcript."""


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", WHOLE)
def test_every_byte_of_a_few(name: str, role: Role) -> None:
    transcript, case = read([path_of(name, role).read_bytes()]), CASES[name]
    found = [verdict(changed(transcript, *place), case, role) for place in places(transcript)]
    assert found.count(ENGINE) > 100
    assert UNNOTICED not in found
    if any(isinstance(line, Completed) for line in transcript.lines):
        assert found.count(CHECK) <= 28  # the acceptance, where the application never took the channel


def test_some_bytes_of_all() -> None:
    source = random.Random(5)
    transcripts = list(recorded())
    assert len(transcripts) >= 100
    changes = 0
    for name, role, case, transcript in transcripts:
        found = list(places(transcript))
        stride = max(STRIDE, len(found) // MOST)
        for number, place in found[source.randrange(min(stride, len(found)) or 1) :: stride]:
            bits = source.randrange(1, 256)
            assert diverges(changed(transcript, number, place, bits), case, role), (name, role, number, place, bits)
            changes += 1
    assert changes > 4000


def test_a_change_that_no_engine_could_see_is_noticed_by_the_check() -> None:
    """What follows the message that failed is never read."""
    name, role = "invalid-field", INITIATOR.peer
    transcript, case = read([path_of(name, role).read_bytes()]), CASES[name]
    assert any(isinstance(line, Failed) for line in transcript.lines)
    number, line = next((number, line) for number, line in enumerate(transcript.lines) if isinstance(line, Received))
    assert verdict(changed(transcript, number, len(line.data) - 1), case, role) == CHECK


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.secrets])
def test_without_secrets_the_checks_notice_it_too(name: str) -> None:
    for role in Role:
        transcript = read([path_of(name, role).read_bytes()])
        for number, place in list(places(transcript))[::STRIDE]:
            assert diverges(changed(transcript, number, place), CASES[name], role)


KINDS = (Completed, Failed, Frame, Happened, Received, Sent, Skipped)


@pytest.mark.parametrize("name", ["default", "channel", "authentication-responder-refuses", "optional-steps"])
def test_a_line_that_is_missing_is_noticed(name: str) -> None:
    """But for the last event of a channel: an application that did not ask for it would have left the same."""
    for role in Role:
        transcript, case = read([path_of(name, role).read_bytes()]), CASES[name]
        lines = transcript.lines
        asked_for = [number for number, line in enumerate(lines) if isinstance(line, Happened) and line.channel][-1:]
        for number, line in enumerate(lines):
            if isinstance(line, KINDS) and number not in asked_for:
                shorter = replace(transcript, lines=(*lines[:number], *lines[number + 1 :]))
                assert diverges(shorter, case, role), line
