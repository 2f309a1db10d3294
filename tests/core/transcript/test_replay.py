"""Every kind of handshake that is recorded replays to the same bytes; whatever differs is found, and named."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    SUITES,
    AlertCode,
    AuthenticationFailed,
    Handshake,
    HandshakeError,
    Identity,
    PeerIdentified,
    Profile,
    Role,
    TrustPolicy,
    profiles,
    trust,
)
from nautilus_core.testing import Pair, byte_by_byte
from nautilus_core.transcript import Recorder, ReplayDiverged, TranscriptError, read, replay
from nautilus_core.transcript.lines import Completed, Drawn, Failed, Received, Sent

from ..helpers import ALICE, BOB, MALLORY, Talk, Welcome, alice, altered, asking, bob, both, note, put
from .recording import Recorded, rewritten, size, with_a_byte_changed

XX = "Noise_XX_25519_ChaChaPoly_BLAKE2s"


def replays(recorded: Recorded, **options: Any) -> None:
    """Both ends replay in full, from their own view and, completed, from the other's."""
    for file, profile, end in zip(recorded.files, recorded.profiles, recorded.ends, strict=True):
        report = replay(file, profile, **options)
        assert report.full
        assert report.sent == sum(map(len, end.flights)) > 0 or report.outcome == "failed"
        assert report.outcome == ("completed" if end.completed else "failed" if end.error else "open")


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_every_suite(suite: str) -> None:
    recorded = Recorded(*both(suites=[suite], protocols=["acme/1"]))
    replays(recorded)
    mine, theirs = recorded.files
    initiator, responder = recorded.profiles
    assert replay(mine, responder, other_side=True, tape=theirs).full
    assert replay(theirs, initiator, other_side=True, tape=mine).full
    assert not replay(mine, responder, other_side=True).full
    assert replay(theirs, initiator, other_side=True).messages >= 5


def test_a_retry_of_the_key_share() -> None:
    initiator = alice(suites=["X25519_AES128GCM_SHA256", "P256_AES128GCM_SHA256"])
    responder = both(suites=["P256_AES128GCM_SHA256"])[1]
    recorded = Recorded(initiator, responder)
    assert "initiator-key-share-retry" in recorded.pair.initiator.session.steps
    replays(recorded)
    public = Recorded(initiator, responder, secrets=False)
    assert replay(public.files[0], initiator).messages == 11


def test_anonymous() -> None:
    recorded = Recorded(
        profiles.nautilus(identity=ANONYMOUS, trust=trust.pinned(BOB.public)),
        profiles.nautilus(identity=BOB, trust=trust.anyone()),
    )
    replays(recorded)


def with_steps(profile: Profile) -> Profile:
    return (
        profile.insert_before("initiator-finished", note())
        .insert_before("initiator-finished", lambda: Talk(length=4))
        .insert_before("initiator-finished", asking("who"))
    )


def test_custom_steps_of_several_messages_and_questions() -> None:
    recorded = Recorded(*both(with_steps), answer=lambda question: question.answer(7))
    replays(recorded)
    public = Recorded(*both(with_steps), answer=lambda question: question.answer(7), secrets=False)
    for file, profile in zip(public.files, public.profiles, strict=True):
        assert replay(file, profile).messages == 16
        assert b'"tenant"' not in b"".join(file)


def test_an_answer_that_is_not_recorded_is_asked_for() -> None:
    recorded = Recorded(*both(with_steps), answer=lambda question: question.answer(frozenset({7})))
    with pytest.raises(TranscriptError, match="the answer to Welcome is not in the transcript"):
        replay(recorded.files[1], recorded.profiles[1])
    asked: list[Any] = []

    def answer(question: Any) -> None:
        asked.append(question)
        question.answer(frozenset({7}))

    assert replay(recorded.files[1], recorded.profiles[1], answer=answer).full
    assert [type(question) for question in asked] == [Welcome]


@pytest.mark.parametrize("accept", [True, False])
def test_a_trust_policy_that_asks(accept: bool) -> None:
    def answer(question: Any) -> None:
        assert isinstance(question, PeerIdentified)
        if accept:
            question.accept()
        else:
            question.reject("not on the list", alert=AlertCode.ACCESS_DENIED)

    asks = profiles.nautilus(identity=BOB, trust=trust.ask(), suites=["X25519_AES128GCM_SHA256"])
    recorded = Recorded(alice(), asks, answer=answer)
    assert recorded.pair.responder.completed is accept
    replays(recorded)


def noise_sides(name: str) -> tuple[Profile, Profile]:
    pattern = name.split("_")[1]
    keys = [X25519PrivateKey.generate() for _ in range(2)]
    public = [key.public_key().public_bytes_raw() for key in keys]
    psks = [bytes(32)] if "psk" in pattern else []
    knows = pattern.startswith("IK")
    return (
        profiles.noise(
            name,
            static=keys[0],
            psks=psks,
            remote_static=public[1] if knows else None,
            trust=None if knows else trust.anyone(),
        ),
        profiles.noise(name, static=keys[1], psks=psks, trust=trust.anyone()),
    )


@pytest.mark.parametrize("name", [XX, "Noise_IK_25519_AESGCM_SHA256", "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s"])
def test_noise(name: str) -> None:
    sides = noise_sides(name)
    replays(Recorded(*sides))
    public = Recorded(*sides, secrets=False)
    report = replay(public.files[0], sides[0])
    assert not report.full
    assert report.messages == len(public.pair.initiator.session.steps)


def test_negotiated_noise() -> None:
    keys = [X25519PrivateKey.generate() for _ in range(2)]
    sides = [
        profiles.nautilus(identity=identity, trust=trust.anyone(), suites=[XX], noise_static=key)
        for identity, key in zip((ALICE, BOB), keys, strict=True)
    ]
    replays(Recorded(*sides))
    public = Recorded(*sides, secrets=False)
    assert replay(public.files[1], sides[1]).messages > 5


def low_order(fields: list[Any]) -> None:
    fields[2] = bytes(32)


FAILURES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "NegotiationFailed": ({"suites": ["P256_AES128GCM_SHA256"]}, {}, {}),
    "KeyAgreementFailed": ({}, {}, {"tamper": altered("initiator-key-share", low_order)}),
    "AuthenticationFailed": ({"trust": trust.pinned(MALLORY.public)}, {}, {}),
    "InvalidMessage": ({}, {}, {"tamper": altered("hello", put(3, b"short"))}),
    "BadRecord": ({}, {}, {"tamper": altered("suite", put(2, []))}),
    "PeerAborted": ({}, {}, {"tamper": lambda role, number, data: data if role is INITIATOR else data[:100]}),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures_come_again(name: str) -> None:
    one, other, options = FAILURES[name]
    initiator, responder = alice(**one), both(**other)[1]
    for secrets in (True, False):
        recorded = Recorded(initiator, responder, secrets=secrets, **options)
        assert not (recorded.pair.initiator.completed and recorded.pair.responder.completed)
        errors = [line.error for file in recorded.files for line in read(file).lines if isinstance(line, Failed)]
        assert errors
        if secrets:
            replays(recorded)
        else:
            assert not replay(recorded.files[0], initiator).full
            assert not replay(recorded.files[1], responder).full


def alone(profile: Profile, act: Any, role: Role = INITIATOR) -> list[bytes]:
    """What an end recorded that was alone, and on which `act` was called; an initiator has sent its first flight."""
    file: list[bytes] = []
    with Recorder(file.append, dangerously_record_secrets=True) as recorder:
        handshake = Handshake(role, profile, deadline=5.0, recorder=recorder)
        if role is INITIATOR:
            handshake.next_event()
            handshake.data_to_send()
        act(handshake)
        with pytest.raises(HandshakeError):
            while True:
                handshake.next_event()
        handshake.data_to_send()
    return file


def test_a_timeout_and_an_abort_come_again() -> None:
    profile = alice()
    for act, error in (
        (lambda one: one.handle_timeout(6.0), "HandshakeTimeout"),
        (lambda one: one.abort("no more", retry_after=3, code=AlertCode.BUSY), "HandshakeError"),
        (lambda one: one.receive_data(b"GET / HTTP/1.1\r\n\r\n"), "InvalidMessage"),
    ):
        file = alone(profile, act)
        assert [line.error for line in read(file).lines if isinstance(line, Failed)] == [error]
        assert replay(file, profile).outcome == "failed"


def first_flight() -> bytes:
    """Of an initiator: a whole hello, and what follows it."""
    initiator = Handshake(INITIATOR, alice())
    initiator.next_event()
    return initiator.data_to_send()


BEGIN, FLIGHT = b"", first_flight()


@pytest.mark.parametrize(
    ("order", "waited_for"),
    [
        ([], "next_event"),
        ([FLIGHT[:3]], "next_event"),
        ([FLIGHT], "next_event"),
        ([BEGIN], "nothing in time"),
        ([BEGIN, FLIGHT[:3]], "3 bytes in time"),
        ([FLIGHT[:3], BEGIN], "3 bytes in time"),
        ([BEGIN, FLIGHT], f"{len(FLIGHT)} bytes in time"),
    ],
)
def test_a_timeout_before_the_first_message_comes_again(order: list[bytes], waited_for: str) -> None:
    """What the error says depends on whether the application has begun, of which a responder's bytes say nothing."""

    def late(responder: Handshake) -> None:
        for data in order:
            if data is BEGIN:
                assert responder.next_event() is NEED_DATA
            else:
                responder.receive_data(data)
        responder.handle_timeout(6.0)

    profile = bob()
    file = alone(profile, late, RESPONDER)
    (error,) = [line for line in read(file).lines if isinstance(line, Failed)]
    assert waited_for in f"{error.expected}; {error.received}"
    assert replay(file, profile).outcome == "failed"


def test_an_exception_of_a_users_step_comes_again() -> None:
    def broken(_: Any) -> bytes:
        raise KeyError("a secret of the application")

    def edit(profile: Profile) -> Profile:
        step = note("broken")

        def make() -> Any:
            made = step()
            made._write = broken
            return made

        return profile.insert_before("initiator-finished", make)

    recorded = Recorded(*both(edit))
    assert isinstance(recorded.pair.initiator.error, KeyError)
    assert b"a secret" not in b"".join(recorded.files[0])
    replays(recorded)


def test_a_rejection_that_comes_on_the_channel_is_recorded() -> None:
    initiator, responder = alice(), both(trust=trust.pinned(MALLORY.public))[1]

    def use(pair: Pair) -> None:
        channel = pair.initiator.session.channel()
        with pytest.raises(HandshakeError):
            channel.next_event()

    recorded = Recorded(initiator, responder, use=use, close=False)
    assert isinstance(recorded.pair.responder.error, AuthenticationFailed)
    errors = [line for line in read(recorded.files[0]).lines if isinstance(line, Failed)]
    assert [(line.error, line.channel) for line in errors] == [("PeerAborted", True)]
    assert replay(recorded.files[0], initiator).outcome == "failed"


def talk_over_the_channel(pair: Pair) -> None:
    one, other = pair.initiator.session.channel(), pair.responder.session.channel()
    one.next_event()
    for number in range(3):
        one.send_data(b"a question")
        one.update_keys(ask_peer=True)
        other.receive_data(bytes(one.data_to_send()))
        other.next_event()
        other.next_event()
        other.send_data(bytes(70_000 + number))
        one.receive_data(bytes(other.data_to_send()))
        one.next_event()
    one.close()
    other.receive_data(bytes(one.data_to_send()))
    other.next_event()


@pytest.mark.parametrize("whole", [True, False])
def test_the_channel_is_recorded_to_its_end_where_that_is_wanted(whole: bool) -> None:
    recorded = Recorded(*both(), use=talk_over_the_channel, whole_channel=whole)
    for file, profile in zip(recorded.files, recorded.profiles, strict=True):
        report = replay(file, profile)
        assert (report.sent + report.received > 200_000) is whole


@given(cuts=st.lists(st.integers(1, 200), max_size=30))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_split_replays(cuts: list[int]) -> None:
    def split(data: bytes) -> list[bytes]:
        pieces = []
        for cut in cuts:
            pieces.append(data[:cut])
            data = data[cut:]
        return [piece for piece in (*pieces, data) if piece]

    replays(Recorded(*both(), split=split))


def test_byte_by_byte() -> None:
    replays(Recorded(*both(), split=byte_by_byte))


def test_any_byte_that_is_changed_is_noticed() -> None:
    """With good checks, so that the replay itself must see it."""
    recorded = Recorded(*both())
    for file, profile in zip(recorded.files, recorded.profiles, strict=True):
        for kind in (Sent, Received):
            for place in range(0, size(file, kind), 7):
                with pytest.raises(ReplayDiverged) as raised:
                    replay(with_a_byte_changed(file, place, of=kind), profile)
                assert raised.value.line > 1


def test_a_difference_is_named() -> None:
    recorded = Recorded(*both())
    with pytest.raises(ReplayDiverged) as raised:
        replay(with_a_byte_changed(recorded.files[0], 270, of=Sent), recorded.profiles[0])
    error = raised.value
    assert (error.flight, error.step, error.byte) == (1, "suites", 270)
    assert "flight 1, step 'suites', byte 270: recorded" in str(error)
    assert error.expected != error.got


def test_public_changes_are_noticed_without_secrets() -> None:
    recorded = Recorded(*both(), secrets=False)
    file, profile = recorded.files[0], recorded.profiles[0]
    for place in (0, 1, 2, 3, 4, 6):
        with pytest.raises(ReplayDiverged):
            replay(with_a_byte_changed(file, place, of=Sent), profile)


def test_another_profile_is_not_replayed() -> None:
    recorded = Recorded(*both())
    with pytest.raises(ReplayDiverged, match="a list of steps"):
        replay(recorded.files[0], both(with_steps)[0])
    with pytest.raises(ReplayDiverged, match="the profile 'nautilus/1'"):
        replay(recorded.files[0], noise_sides(XX)[0])
    with pytest.raises(ReplayDiverged):
        replay(recorded.files[0], alice(protocols=["acme/1"]))


def test_no_identity_key_is_in_it() -> None:
    key = Ed25519PrivateKey.generate()
    initiator_key = Identity(key)
    initiator = alice(identity=initiator_key)
    recorded = Recorded(initiator, bob(trust=trust.anyone()))
    assert replay(recorded.files[0], initiator).full
    assert replay(recorded.files[0], alice(identity=Identity.public_only(initiator_key.public))).full
    kept = [line.data for line in read(recorded.files[0]).lines if isinstance(line, Drawn)]
    assert len(kept) >= 4
    assert not [data for data in kept if key.private_bytes_raw() in data]


def test_nothing_secret_without_secrets() -> None:
    recorded = Recorded(*both(), secrets=False)
    for file in recorded.files:
        assert b'"draw"' not in b"".join(file)
        assert b'"secrets"' not in b"".join(file)


class _Forgetful(TrustPolicy):
    """Welcomes everybody; its store is broken."""

    def authorize(self, peer: Any, context: Any) -> None:
        return None

    def remember(self, peer: Any, context: Any) -> None:
        raise OSError("the disk is full")


def test_an_exception_of_a_policy_that_comes_on_the_channel_comes_again() -> None:
    key = X25519PrivateKey.generate()
    sides = [
        profiles.noise("Noise_IX_25519_ChaChaPoly_SHA256", static=key, trust=policy)
        for policy in (trust.anyone(), _Forgetful())
    ]

    def use(pair: Pair) -> None:
        one, other = pair.initiator.session.channel(), pair.responder.session.channel()
        one.send_data(b"first")
        other.receive_data(one.data_to_send())
        with pytest.raises(OSError, match="the disk is full"):
            other.next_event()

    recorded = Recorded(*sides, use=use, whole_channel=True)
    failed = [line for line in read(recorded.files[1]).lines if isinstance(line, Failed)]
    assert [(line.error, line.message, line.channel) for line in failed] == [("OSError", None, True)]
    assert b"disk" not in b"".join(recorded.files[1])
    assert replay(recorded.files[1], sides[1]).outcome == "failed"


def test_the_other_sides_own_events_and_list_of_steps_are_its_own() -> None:
    extra = note("mine", required=False)
    initiator, responder = alice().insert_before("initiator-finished", extra), both()[1]
    recorded = Recorded(initiator, responder)
    for mine, theirs, profile in ((0, 1, responder), (1, 0, initiator)):
        assert replay(recorded.files[mine], profile, other_side=True, tape=recorded.files[theirs]).full


def test_the_last_line_says_what_came_in_and_went_out() -> None:
    """A byte after the message that failed changes nothing that an engine does."""
    for secrets in (True, False):
        recorded = Recorded(*both(), tamper=altered("hello", put(3, b"short")), secrets=secrets)
        file, profile = recorded.files[1], recorded.profiles[1]
        last = size(file, Received) - 1
        with pytest.raises(ReplayDiverged, match=r"bytes in whose CRC-32 is [0-9a-f]{8}; replayed") as raised:
            replay(with_a_byte_changed(file, last, of=Received), profile)
        assert raised.value.line == len(file)


def test_the_outcome_in_the_last_line_is_checked() -> None:
    for secrets in (True, False):
        recorded = Recorded(*both(), secrets=secrets)
        transcript = read(recorded.files[0])
        *lines, end = transcript.lines
        lines = [line for line in lines if not isinstance(line, Completed)]
        with pytest.raises(ReplayDiverged, match="the outcome completed; replayed the outcome open"):
            replay(rewritten(transcript, [*lines, end]), recorded.profiles[0])
