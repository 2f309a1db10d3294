"""The tools on transcripts in the core: pieces of the wire, redaction, differences, profiles from headers, another run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from nautilus_core import (
    AuthenticationFailed,
    Identity,
    PeerIdentified,
    Profile,
    Question,
    Session,
    profiles,
    trust,
)
from nautilus_core.testing import Pair
from nautilus_core.transcript import (
    Transcript,
    TranscriptError,
    first_difference,
    pieces_of,
    profile_of,
    read,
    redact,
    replay,
    rerun,
    to_bytes,
)
from nautilus_core.transcript.lines import Answered, Asked, Called, Completed, Drawn, Failed, Received, Sent

from ..helpers import ALICE, BOB, MALLORY, Talk, alice, asking, bob, both, note
from .recording import Recorded, rewritten, with_a_byte_changed

FIELD = "gateway.example:7000"


def edited(profile: Profile) -> Profile:
    return (
        profile.insert_before("initiator-finished", note())
        .insert_before("initiator-finished", lambda: Talk(length=4))
        .insert_before("initiator-finished", asking("who"))
    )


def talk(pair: Pair) -> None:
    """A little over the channel."""
    channel = pair.initiator.session.channel()
    channel.send_data(b"the application's secret")
    channel.data_to_send()


@pytest.mark.parametrize("secrets", [True, False])
def test_the_pieces_are_all_that_was_on_the_wire(secrets: bool) -> None:
    for file in Recorded(*both(edited), answer=lambda question: question.answer(7), secrets=secrets).files:
        transcript = read(file)
        pieces = pieces_of(transcript)
        for kind, sender in ((Sent, transcript.header.role), (Received, transcript.header.role.peer)):
            wire = b"".join(line.data for line in transcript.lines if isinstance(line, kind))
            assert b"".join(piece.data for piece in pieces if piece.sender is sender) == wire
        hello = pieces[0]
        assert (hello.step, hello.sealed, hello.offset, hello.flight) == ("hello", False, 0, 1)
        assert len(hello.fields["nonce"]) == 32
        assert all(bool(piece.fields) is not piece.sealed for piece in pieces)


def test_an_alert_is_decoded() -> None:
    recorded = Recorded(alice(suites=["P256_AES128GCM_SHA256"]), bob(suites=["X25519_AES128GCM_SHA256"]))
    alert = pieces_of(read(recorded.files[0]))[-1]
    assert (alert.kind, alert.step) == ("alert", None)
    assert alert.fields["code"] == 40
    assert "no cipher suite" in alert.fields["meaning"]


# ------------------------------------------------------------------ redaction


def test_what_is_redacted_is_as_if_recorded_without_secrets() -> None:
    recorded = Recorded(*both(edited), answer=lambda question: question.answer(7), use=talk, whole_channel=True)
    for file, profile in zip(recorded.files, recorded.profiles, strict=True):
        assert b"the application" not in to_bytes(redact(read(file)))
        transcript = read([to_bytes(redact(read(file)))])
        assert not transcript.header.secrets
        assert not [line for line in transcript.lines if isinstance(line, Drawn)]
        assert all(line.data is None for line in transcript.lines if isinstance(line, Called))
        assert all(line.value is None for line in transcript.lines if isinstance(line, Answered))
        assert all(not line.values for line in transcript.lines if isinstance(line, Asked))
        report = replay(transcript, profile)
        assert (report.full, report.messages) == (False, 16)


@pytest.mark.parametrize("accept", [True, False])
def test_names_are_taken_out_too(accept: bool) -> None:
    def answer(question: PeerIdentified) -> None:
        if accept:
            question.accept()
        else:
            question.reject(f"{question.peer.peer_id} at 192.0.2.7:7000 is not on the list of {FIELD}")

    asks = profiles.nautilus(identity=BOB, trust=trust.ask(), suites=["X25519_AES128GCM_SHA256"])
    recorded = Recorded(alice(target=FIELD), asks, answer=answer)
    named = to_bytes(read(recorded.files[1]))
    assert ALICE.peer_id.encode() in named
    for file, profile in zip(recorded.files, recorded.profiles, strict=True):
        transcript = redact(read(file), names=True)
        written = to_bytes(transcript)
        for name in (ALICE.peer_id, BOB.peer_id, "192.0.2.7", FIELD, "gateway"):
            assert name.encode() not in written
            assert not any(name.encode() in piece.data for piece in pieces_of(transcript))
        hello = pieces_of(transcript)[0]
        assert dict(hello.fields["extensions"])["target"] == b"x" * len(FIELD)
        assert not replay(transcript, profile).full


RECORDED = Path(__file__).parents[2] / "transcripts" / "recorded"
SAID = {
    "psk-of-several": ("office", "cellar"),
    "refused-psk-unknown": ("office", "cellar"),
    "refused-psk-binder": ("office", "'node'", "'gateway'"),
    "x509-ed25519": ("gateway.example", "node.example"),
    "refused-authority": ("Example Root", "Another Root"),
    "refused-expired": ("responder ed25519",),
    "did-web": ("did:web:gateway.example",),
    "refused-document-of-another": ("gateway.example", "other.example"),
}
"""What each says of who talks, beside peer ids."""


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_names_in_credentials_are_taken_out_too(name: str, role: str) -> None:
    whole = read([(RECORDED / f"{name}.{role}.jsonl").read_bytes()])
    transcript = redact(whole, names=True)
    everything = to_bytes(transcript) + b"".join(piece.data for piece in pieces_of(transcript))
    for said in (*SAID[name], "key:"):
        assert said.encode() not in everything
    assert len(pieces_of(transcript)) == len(pieces_of(whole))
    assert not replay(transcript, profile_of(transcript.header)).full
    completed = [line for line in transcript.lines if isinstance(line, Completed)]
    if completed and name == "psk-of-several":
        assert (completed[0].psk, completed[0].peer) == ("withheld", "anonymous")


def test_of_a_question_the_library_asks_the_public_part_stays() -> None:
    transcript = redact(read([(RECORDED / "did-web.initiator.jsonl").read_bytes()]))
    assert [line.values for line in transcript.lines if isinstance(line, Asked)] == [{"did": "did:web:gateway.example"}]
    transcript = redact(read([(RECORDED / "delegated-both.initiator.jsonl").read_bytes()]))
    (asked,) = [line.values for line in transcript.lines if isinstance(line, Asked)]
    assert asked["scheme"] == "ed25519"
    assert set(asked["content"]) == {"length"}


def test_redaction_leaves_no_secret_of_the_tape() -> None:
    transcript = read(Recorded(*both()).files[0])
    secrets = [line.data for line in transcript.lines if isinstance(line, Drawn) and len(line.data) == 32]
    assert secrets
    written = to_bytes(redact(transcript))
    assert not any(msgspec.json.encode(secret).strip(b'"') in written for secret in secrets)


# ------------------------------------------------------------------ differences


def test_a_byte_in_a_field_is_named() -> None:
    file = Recorded(*both()).files[0]
    one = read(file)
    nonce = next(piece for piece in pieces_of(one) if piece.step == "hello")
    place = nonce.data.index(nonce.fields["nonce"])
    found = first_difference(one, read(with_a_byte_changed(file, place, of=Sent)))
    assert found is not None
    assert (found.flight, found.step, found.byte, found.field) == (1, "hello", place, "nonce")
    assert found.one[:2] != found.other[:2]
    assert found.one[2:] == found.other[2:]


def test_a_sealed_byte_is_named_by_its_step() -> None:
    file = Recorded(*both()).files[0]
    one = read(file)
    sealed = next(piece for piece in pieces_of(one) if piece.sealed)
    found = first_difference(one, read(with_a_byte_changed(file, sealed.offset + 9, of=Received)))
    assert found is not None
    assert (found.step, found.byte, found.field) == ("responder-authentication", sealed.offset + 9, None)
    assert "sealed" in found.what


def test_times_and_secrets_count_last() -> None:
    one = read(Recorded(*both()).files[0])
    later = Transcript(one.header, tuple(msgspec.structs.replace(line, at=5) for line in one.lines))
    assert first_difference(one, later) is None
    assert first_difference(one, later, times=True) is not None
    lines = [msgspec.structs.replace(line, data=bytes(32)) if isinstance(line, Drawn) else line for line in one.lines]
    found = first_difference(one, read(rewritten(one, lines)))
    assert found is not None
    assert (found.what, found.one, found.other) == ("the secrets differ", "(a secret)", "(a secret)")


def test_what_ends_earlier_and_what_has_other_steps() -> None:
    one, other = read(Recorded(*both()).files[0]), read(Recorded(*both(edited), answer=lambda q: q.answer(7)).files[0])
    found = first_difference(one, other)
    assert found is not None
    assert (found.line, found.field) == (1, "steps[9]")
    assert "'initiator-finished'" in found.one
    assert "'note'" in found.other
    shorter = Transcript(one.header, one.lines[:-1], whole=False)
    assert "it ends here" in str(first_difference(one, shorter))
    two_views = Recorded(*both()).files
    assert "views of the two ends" in str(first_difference(read(two_views[0]), read(two_views[1])))


# ------------------------------------------------------------------ a profile from the header


def test_a_profile_from_the_header_is_good_for_the_public_check() -> None:
    for edit in (edited, lambda profile: profile):
        for file in Recorded(*both(edit), answer=lambda question: question.answer(7), secrets=False).files:
            transcript = read(file)
            assert replay(transcript, profile_of(transcript.header)).messages >= 10


def test_a_noise_protocol_likewise_and_a_foreign_profile_not() -> None:
    profile = profiles.noise("Noise_NN_25519_ChaChaPoly_SHA256")
    transcript = read(Recorded(profile, profile, secrets=False).files[0])
    assert replay(transcript, profile_of(transcript.header)).messages == 2
    for name in ("acme/1", "Noise_nonsense"):
        with pytest.raises(ValueError, match="cannot be made from the header"):
            profile_of(msgspec.structs.replace(transcript.header, profile=name))


def test_a_changed_public_byte_is_still_noticed() -> None:
    file = Recorded(*both(edited), answer=lambda question: question.answer(7), secrets=False).files[0]
    changed = read(with_a_byte_changed(file, 1, of=Sent))
    with pytest.raises(Exception, match="recorded a message of"):
        replay(changed, profile_of(changed.header))


# ------------------------------------------------------------------ another run


def test_a_failure_completes_once_it_is_mended() -> None:
    wrong = bob(trust=trust.pinned(MALLORY.public))
    transcript = read(Recorded(alice(), wrong).files[1])
    assert any(isinstance(line, Failed) for line in transcript.lines)
    with pytest.raises(AuthenticationFailed):
        rerun(transcript, wrong)
    session = rerun(transcript, bob())
    assert isinstance(session, Session)
    assert session.peer.peer_id == ALICE.peer_id


def test_who_must_say_more_than_was_recorded_signs_anew() -> None:
    wrong = alice(trust=trust.pinned(MALLORY.public))
    transcript = read(Recorded(wrong, bob()).files[0])
    assert rerun(transcript, alice()).peer.peer_id == BOB.peer_id


def test_a_refusal_is_left_out_and_an_answer_is_asked_for() -> None:
    asks = profiles.nautilus(identity=BOB, trust=trust.ask(), suites=["X25519_AES128GCM_SHA256"])
    transcript = read(Recorded(alice(), asks, answer=lambda question: question.reject("no")).files[1])
    assert rerun(transcript, asks).peer.peer_id == ALICE.peer_id

    def refuse(question: Question[Any]) -> None:
        question.reject("still not")

    with pytest.raises(AuthenticationFailed, match="still not"):
        rerun(transcript, asks, answer=refuse)


def test_what_cannot_complete_says_why() -> None:
    public = read(Recorded(*both(), secrets=False).files[0])
    with pytest.raises(TranscriptError, match="no secrets"):
        rerun(public, alice())
    full = read(Recorded(*both()).files[0])
    first = next(place for place, line in enumerate(full.lines) if isinstance(line, Received))
    with pytest.raises(TranscriptError, match="next messages are not in the transcript"):
        rerun(Transcript(full.header, full.lines[:first]), alice())
    assert any(isinstance(line, Completed) for line in full.lines)
    stranger = Identity.generate()
    with pytest.raises(AuthenticationFailed):
        rerun(full, alice(trust=trust.pinned(stranger.public)))
