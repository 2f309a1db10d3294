"""What was sealed is opened for people who look: by the secrets in the transcript, or by a key log."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given

from nautilus_core import SUITES, trust
from nautilus_core.testing import Pair
from nautilus_core.transcript import Piece, Transcript, TranscriptError, pieces_of, read, unsealed
from nautilus_core.transcript.lines import Completed

from ..channels import deliver
from ..helpers import ALICE, BOB, MALLORY, alice, bob, both, note
from .hostile import transcripts
from .recording import Recorded

FOLDER = Path(__file__).parents[2] / "transcripts" / "recorded"
OPENED_BY_ITS_SECRETS = [
    "default",
    "retry",
    "psk-alone",
    "psk-of-several",
    "psk-of-another-hash",
    "psk-retry",
    "x509-ed25519",
    "mixed-x509-did",
    "custom-steps",
    *(f"suite-{name}" for name in ("p256-aes256gcm", "secp384r1mlkem1024-aes256gcm", "x25519-chacha20poly1305")),
]


def messages(pieces: list[Piece]) -> list[Piece]:
    """Those that were sealed, of steps."""
    return [piece for piece in pieces if piece.sealed and piece.kind == "message"]


@pytest.mark.parametrize("name", OPENED_BY_ITS_SECRETS)
@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_the_secrets_open_the_handshake(name: str, role: str) -> None:
    transcript = read([(FOLDER / f"{name}.{role}.jsonl").read_bytes()])
    assert any(isinstance(line, Completed) and line.suite in SUITES for line in transcript.lines)
    found = unsealed(transcript)
    assert len(found) == len(pieces_of(transcript))
    assert len(messages(found)) >= 4
    for piece in messages(found):
        assert piece.inside is not None
        assert piece.fields
    assert [piece for piece in found if piece.kind == "control record" and piece.inside is not None] == []


def test_what_is_inside_is_decoded() -> None:
    recorded = Recorded(*[one.insert_before("initiator-finished", note()) for one in both()])
    pieces = {piece.step: piece for piece in unsealed(read(recorded.files[0])) if piece.step}
    shown = pieces["responder-authentication"]
    assert shown.sealed
    assert shown.fields["credential"] == BOB.credential
    assert shown.inside is not None
    assert len(shown.inside) < len(shown.data)
    assert list(pieces["note"].fields) == ["[1]"]
    assert pieces["hello"].inside is None
    plain = {piece.step: piece for piece in pieces_of(read(recorded.files[0]))}
    assert not plain["responder-authentication"].fields


def test_a_refusal_that_was_sealed() -> None:
    recorded = Recorded(alice(), bob(trust=trust.pinned(MALLORY.public)))
    alerts = [piece for piece in unsealed(read(recorded.files[1])) if piece.kind == "sealed alert"]
    assert [piece.fields for piece in alerts] == [{"code": 49, "meaning": "its trust policy refused us"}]


def test_a_key_log_opens_the_channel_too() -> None:
    def talk(pair: Pair) -> None:
        one, other = pair.initiator.session.channel(), pair.responder.session.channel()
        one.send_data(b"a question")
        one.update_keys()
        one.send_data(b"another")
        deliver(one, other)

    recorded = Recorded(*both(), use=talk, whole_channel=True, secrets=False)
    found = unsealed(read(recorded.files[0]), recorded.key_logs[0])
    assert [piece.fields for piece in found if piece.kind == "data record"] == [
        {"data": b"a question"},
        {"data": b"another"},
    ]
    assert [piece.fields for piece in found if piece.kind == "control record"] == [
        {"says": "accept"},
        {"says": "key-update", "reply": False},
    ]
    assert all(piece.inside is not None for piece in messages(found))


def test_what_cannot_be_opened_says_so() -> None:
    with pytest.raises(TranscriptError, match="holds no secrets"):
        unsealed(read(Recorded(*both(), secrets=False).files[0]))
    noise = read([(FOLDER / "noise-suite-xx.initiator.jsonl").read_bytes()])
    with pytest.raises(TranscriptError, match="do not open it"):
        unsealed(noise)
    with pytest.raises(TranscriptError, match="only nautilus/1"):
        unsealed(read([(FOLDER / "noise-xx.initiator.jsonl").read_bytes()]))
    other = Recorded(*both())
    with pytest.raises(TranscriptError, match="no secret of this session"):
        unsealed(read(Recorded(alice(identity=ALICE), bob()).files[0]), other.key_logs[0])


def test_a_failure_before_anything_was_sealed_has_nothing_to_open() -> None:
    transcript = read([(FOLDER / "negotiation-no-suite.initiator.jsonl").read_bytes()])
    assert unsealed(transcript) == pieces_of(transcript)


@given(transcripts())
def test_whatever_it_holds_it_opens_or_says_why_not(transcript: Transcript) -> None:
    with suppress(TranscriptError, ValueError):
        unsealed(transcript)
