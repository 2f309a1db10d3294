"""The engine from the caller's side: events, flights, results, abort, deadlines, limits, and what a failure leaves."""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from types import ModuleType, TracebackType
from typing import Any

import pytest

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    NEED_DATA,
    PAUSED,
    RESPONDER,
    SUITES,
    AlertCode,
    AuthenticationFailed,
    Context,
    CustomProtocolStep,
    DataReceived,
    Entropy,
    Handshake,
    HandshakeCompleted,
    HandshakeError,
    Identity,
    InvalidMessage,
    Limits,
    LocalProtocolError,
    PeerAborted,
    Profile,
    Role,
    SecureChannel,
    Session,
    Signal,
    State,
    StepCompleted,
    VerifiedPeer,
    trust,
)
from nautilus_core.crypto.key_schedule import KeySchedule, SessionSecrets
from nautilus_core.crypto.signatures import SCHEMES
from nautilus_core.crypto.traffic_key import TrafficKey
from nautilus_core.state import MOVES
from nautilus_core.testing import Pair, alert_of

from .helpers import (
    ALICE,
    BOB,
    BUILT_IN,
    FAST,
    SEALED_FROM,
    Talk,
    Welcome,
    alice,
    asking,
    begun,
    bob,
    both,
    channels,
    drain,
    frames,
    note,
    run,
    succeed,
)

# ---------------------------------------------------------------- the good case


def test_the_loop_of_the_design_completes_a_handshake() -> None:
    initiator, responder = Handshake(INITIATOR, alice()), Handshake(RESPONDER, bob())
    sessions: list[Session] = []
    for handshake, peer in ((initiator, responder), (responder, initiator)) * 2:
        while True:
            event = handshake.next_event()
            if data := handshake.data_to_send():
                peer.receive_data(data)
            match event:
                case Signal.NEED_DATA:
                    break
                case HandshakeCompleted(session=session):
                    sessions.append(session)
                    break
    assert [session.role for session in sessions] == [INITIATOR, RESPONDER]


def test_both_ends_agree_on_everything() -> None:
    pair = succeed(run(*both(protocols=("acme/sync/2", "acme/sync/1"))))
    one, other = pair.initiator.session, pair.responder.session
    assert one.role is INITIATOR
    assert other.role is RESPONDER
    assert isinstance(one.peer, VerifiedPeer)
    assert isinstance(other.peer, VerifiedPeer)
    assert one.peer.public_key == BOB.public
    assert other.peer.public_key == ALICE.public
    assert one.steps == other.steps == BUILT_IN
    assert one.protocol == other.protocol == "acme/sync/2"
    assert one.suite == other.suite == FAST[0]
    assert one.results == other.results == {}
    assert one.extensions == other.extensions == {}
    assert one.channel_binding == other.channel_binding
    assert len(one.channel_binding) == 32
    assert one.export("files", b"context", 100) == other.export("files", b"context", 100)
    assert len(one.export("files", b"context", 100)) == 100
    exported = {one.export("files", b"", 32), one.export("mail", b"", 32), one.export("files", b"context", 32)}
    assert len(exported) == 3


def test_every_step_is_reported_once_and_the_completion_last() -> None:
    pair = succeed(run(*both()))
    for end in (pair.initiator, pair.responder):
        *steps, last = end.events
        assert [event.step for event in steps if isinstance(event, StepCompleted)] == list(BUILT_IN)
        assert len(steps) == len(BUILT_IN)
        assert isinstance(last, HandshakeCompleted)
        assert last.session is end.handshake.session
        for position, event in enumerate(steps):
            assert isinstance(event, StepCompleted)
            assert event.sealed is (position >= SEALED_FROM)
            assert event.sender is (RESPONDER if 3 <= position <= 7 else INITIATOR)


def test_sizes_in_events_are_those_of_the_frames() -> None:
    pair = succeed(run(*both()))
    sent = [one for flight in pair.initiator.flights for one in frames(flight)]
    reported = [e.size for e in pair.initiator.events if isinstance(e, StepCompleted) and e.sender is INITIATOR]
    assert [len(one) for one in sent] == reported


def test_two_flights_each_way_the_last_of_which_is_the_acceptance() -> None:
    pair = succeed(run(*both()))
    assert [len(frames(flight)) for flight in pair.initiator.flights] == [3, 2]
    assert [len(frames(flight)) for flight in pair.responder.flights] == [5, 1]
    assert [one[0] for one in frames(pair.responder.flights[-1])] == [0xE4]


def test_more_steps_in_one_direction_cost_no_flight() -> None:
    def edit(profile: Profile) -> Profile:
        for number in range(20):
            profile = profile.insert_before("initiator-finished", note(f"note-{number}"))
        return profile

    pair = succeed(run(*both(edit)))
    assert len(pair.initiator.flights) == len(pair.responder.flights) == 2


def test_every_session_is_its_own() -> None:
    profiles = both()
    bindings = {run(*profiles).initiator.session.channel_binding for _ in range(5)}
    assert len(bindings) == 5


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_suite_with_every_scheme(suite: str, scheme: str) -> None:
    first, second = _of_scheme(scheme)
    pair = succeed(
        run(
            alice(identity=first, trust=trust.pinned(second.public), suites=(suite,)),
            bob(identity=second, trust=trust.pinned(first.peer_id), suites=(suite,)),
        )
    )
    assert pair.initiator.session.suite == suite
    initiator, responder = channels(pair)
    initiator.send_data(b"over " + suite.encode())
    responder.receive_data(initiator.data_to_send())
    event = responder.next_event()
    assert isinstance(event, DataReceived)
    assert event.data == b"over " + suite.encode()


_IDENTITIES: dict[str, tuple[Identity, Identity]] = {}


def _of_scheme(scheme: str) -> tuple[Identity, Identity]:
    if scheme not in _IDENTITIES:
        _IDENTITIES[scheme] = Identity.generate(scheme), Identity.generate(scheme)
    return _IDENTITIES[scheme]


def test_default_suites_are_post_quantum_hybrids() -> None:
    pair = succeed(run(alice(suites=tuple(SUITES)), bob(suites=tuple(SUITES))))
    assert pair.initiator.session.suite == "X25519MLKEM768_AES256GCM_SHA384"


@pytest.mark.parametrize("guess", ["X25519", "X25519MLKEM768", "SecP384R1MLKEM1024"])
def test_a_wrong_guess_of_the_group_costs_one_retry(guess: str) -> None:
    wanted = "P256_AES128GCM_SHA256"
    pair = succeed(run(alice(suites=(f"{guess}_AES256GCM_SHA384", wanted)), bob(suites=(wanted,))))
    assert pair.initiator.session.suite == wanted
    assert pair.initiator.session.steps == (
        *BUILT_IN[:5],
        "initiator-key-share-retry",
        *BUILT_IN[5:],
    )
    assert len(pair.initiator.flights) == 3


def test_the_responders_preference_decides() -> None:
    suites = ("X25519_AES128GCM_SHA256", "X25519_CHACHA20POLY1305_SHA256", "X25519_AES256GCM_SHA384")
    for first in suites:
        preference = (first, *(suite for suite in suites if suite != first))
        assert succeed(run(alice(suites=suites), bob(suites=preference))).initiator.session.suite == first


def test_an_anonymous_initiator_where_the_responder_admits_one() -> None:
    pair = succeed(run(alice(identity=ANONYMOUS), bob(trust=trust.anyone(anonymous=True))))
    assert pair.responder.session.peer is ANONYMOUS
    assert pair.initiator.session.peer.peer_id == BOB.peer_id


def test_two_anonymous_ends_have_a_session_that_says_so() -> None:
    nobody = trust.anyone(anonymous=True)
    pair = succeed(run(alice(identity=ANONYMOUS, trust=nobody), bob(identity=ANONYMOUS, trust=nobody)))
    assert pair.initiator.session.peer is ANONYMOUS
    assert pair.responder.session.peer is ANONYMOUS


def test_one_profile_serves_any_number_of_handshakes_at_once() -> None:
    initiating, responding = both(lambda profile: profile.insert_before("initiator-finished", note()))
    pairs = [Pair(initiating, responding) for _ in range(4)]
    for pair in pairs:
        pair.run()
    assert len({succeed(pair).initiator.session.channel_binding for pair in pairs}) == 4


def test_the_channel_goes_on_with_bytes_that_followed_the_handshake() -> None:
    initiating, responding = both()
    initiator, responder = Handshake(INITIATOR, initiating), Handshake(RESPONDER, responding)
    drain(initiator)
    responder.receive_data(initiator.data_to_send())
    drain(responder)
    initiator.receive_data(responder.data_to_send())
    session = drain(initiator)[-1].session
    channel = session.channel()
    channel.send_data(b"early")
    late = initiator.data_to_send() + channel.data_to_send()
    responder.receive_data(late)
    drain(responder)
    assert responder.trailing_data == late[-(len(b"early") + 4 + 16) :]
    assert responder.session is not None
    event = responder.session.channel().next_event()
    assert isinstance(event, DataReceived)
    assert event.data == b"early"


def test_an_initiator_is_not_confirmed_before_the_acceptance() -> None:
    pair = run(*both())
    channel = pair.initiator.session.channel()
    assert not channel.confirmed
    assert type(channel.next_event()).__name__ == "Accepted"
    assert channel.confirmed


def test_a_session_has_one_channel() -> None:
    pair = succeed(run(*both()))
    for end in (pair.initiator, pair.responder):
        assert isinstance(end.session.channel(), SecureChannel)
        with pytest.raises(LocalProtocolError, match="taken already"):
            end.session.channel()
        with pytest.raises(LocalProtocolError, match="for the channel"):
            end.handshake.receive_data(b"late")
        assert end.handshake.trailing_data == b""


def test_a_session_can_be_used_for_its_keys_alone() -> None:
    pair = succeed(run(*both()))
    assert pair.initiator.session.export("mine", b"", 64) == pair.responder.session.export("mine", b"", 64)


@pytest.mark.parametrize(("label", "length"), [("", 32), ("x" * 246, 32), ("x", 0), ("x", 255 * 32 + 1)])
def test_an_exporter_refuses_what_it_cannot_give(label: str, length: int) -> None:
    with pytest.raises(ValueError, match="exporter"):
        run(*both()).initiator.session.export(label, b"", length)


def test_bytes_of_any_kind_can_be_fed() -> None:
    initiator, responder = begun(INITIATOR), begun(RESPONDER)
    flight = initiator.data_to_send()
    responder.receive_data(bytearray(flight[:100]))
    responder.receive_data(memoryview(flight)[100:])
    assert len(drain(responder)) == 8


def test_a_step_sees_its_handshake_through_the_context() -> None:
    seen: list[tuple[Any, ...]] = []
    when = datetime(2026, 8, 1, tzinfo=UTC)

    def look(context: Context) -> None:
        seen.append((context.role, context.protocol, str(context.suite), context.wall_time, type(context.entropy)))
        seen.append((repr(context.peer), dict(context.extensions), context.steps.current.name))

    profiles = both(
        lambda profile: profile.insert_before("initiator-finished", note(commit=look)),
        protocols=("p",),
        extensions={"colour": b"red"},
    )
    run(*(Handshake(role, one, wall_time=when) for role, one in zip((INITIATOR, RESPONDER), profiles, strict=True)))
    assert seen == [
        (INITIATOR, "p", FAST[0], when, Entropy),
        (f"VerifiedPeer(ed25519, {BOB.peer_id})", {"colour": b"red"}, "note"),
        (RESPONDER, "p", FAST[0], when, Entropy),
        (f"VerifiedPeer(ed25519, {ALICE.peer_id})", {"colour": b"red"}, "note"),
    ]


def test_the_transcript_hash_is_the_same_on_both_sides_before_and_through_a_message() -> None:
    hashes: dict[Role, list[bytes]] = {INITIATOR: [], RESPONDER: []}

    def keep(context: Context) -> None:
        hashes[context.role].append(context.transcript_hash())

    def write(context: Context) -> bytes:
        keep(context)
        return b"x"

    def read(context: Context, message: bytes) -> None:
        keep(context)

    def step() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep("look", INITIATOR, write=write, read=read, commit=keep)

    succeed(run(*both(lambda profile: profile.insert_before("initiator-finished", step))))
    assert hashes[INITIATOR] == hashes[RESPONDER]
    before, through = hashes[INITIATOR]
    assert before != through


# ---------------------------------------------------------------- states


def test_states_and_signals() -> None:
    handshake = Handshake(RESPONDER, bob())
    states = [handshake.state]
    for _ in range(2):
        assert handshake.next_event() is NEED_DATA
        states.append(handshake.state)
    assert states == [State.NEW, State.RUNNING, State.RUNNING]
    assert handshake.session is None
    assert handshake.data_to_send() == b""
    assert repr(handshake) == "<Handshake responder running at hello>"


def test_the_table_of_moves_names_every_state_and_has_two_ends() -> None:
    assert set(MOVES) == set(State)
    assert {state for state in State if not MOVES[state]} == {State.COMPLETED, State.FAILED}
    reachable = {State.NEW}
    while (more := reachable | {to for state in reachable for to in MOVES[state]}) != reachable:
        reachable = more
    assert reachable == set(State)


def test_next_event_after_the_completion_is_misuse() -> None:
    pair = succeed(run(*both()))
    for end in (pair.initiator, pair.responder):
        with pytest.raises(LocalProtocolError, match=r"session\.channel"):
            end.handshake.next_event()


def test_data_after_the_end_of_the_stream_is_misuse() -> None:
    handshake = begun(RESPONDER)
    handshake.receive_data(b"")
    with pytest.raises(LocalProtocolError, match="after the end"):
        handshake.receive_data(b"x")
    with pytest.raises(LocalProtocolError, match="after the end"):
        handshake.receive_data(b"")


# ---------------------------------------------------------------- abort


@pytest.mark.parametrize("role", Role)
def test_abort_before_the_start(role: Role) -> None:
    handshake = Handshake(role, alice())
    handshake.abort("changed my mind")
    assert handshake.state is State.FAILED
    with pytest.raises(HandshakeError, match="aborted by the application: changed my mind") as caught:
        handshake.next_event()
    assert caught.value.alert == AlertCode.USER_CANCELED
    peer = begun(role.peer)
    peer.receive_data(handshake.data_to_send())
    with pytest.raises(PeerAborted, match="its application gave up") as told:
        drain(peer)
    assert told.value.code == AlertCode.USER_CANCELED
    assert not told.value.authenticated


@pytest.mark.parametrize("code", [AlertCode.BUSY, AlertCode.INTERNAL_ERROR, 256, 65_535])
def test_abort_tells_the_peer_a_code_and_when_to_come_again_but_no_reason(code: int) -> None:
    handshake, peer = begun(RESPONDER), begun(INITIATOR)
    handshake.abort("the secret reason", code=code, retry_after=30)
    alert = handshake.data_to_send()
    assert b"secret" not in alert
    peer.receive_data(alert)
    with pytest.raises(PeerAborted) as told:
        drain(peer)
    assert told.value.code == code
    assert told.value.retry_after == 30
    assert told.value.retryable is (code == AlertCode.BUSY)


def test_an_unauthenticated_alert_cannot_keep_us_away_for_long() -> None:
    handshake, peer = begun(RESPONDER), begun(INITIATOR)
    handshake.abort("busy", code=AlertCode.BUSY, retry_after=80_000)
    peer.receive_data(handshake.data_to_send())
    with pytest.raises(PeerAborted, match="not authenticated") as told:
        drain(peer)
    assert told.value.retry_after == 60


@pytest.mark.parametrize("code", [0, AlertCode.BAD_FINISHED, 230, 255, 65_536, -1])
def test_abort_refuses_codes_that_are_the_engines_own(code: int) -> None:
    handshake = begun(RESPONDER)
    with pytest.raises(ValueError, match="does not belong"):
        handshake.abort("no", code=code)
    assert handshake.next_event() is NEED_DATA


@pytest.mark.parametrize("retry_after", [-1, 86_401])
def test_abort_refuses_a_retry_after_that_the_peer_could_not_read(retry_after: int) -> None:
    handshake = begun(RESPONDER)
    with pytest.raises(ValueError, match="retry_after"):
        handshake.abort("no", code=AlertCode.BUSY, retry_after=retry_after)
    assert handshake.next_event() is NEED_DATA


def test_an_application_code_is_named_by_number() -> None:
    handshake, peer = begun(RESPONDER), begun(INITIATOR)
    handshake.abort("tenant is gone", code=404)
    peer.receive_data(handshake.data_to_send())
    with pytest.raises(PeerAborted, match="application code 404"):
        drain(peer)


def test_abort_while_paused_withdraws_the_question_and_tells_the_peer() -> None:
    pair = run(*both(lambda profile: profile.insert_before("initiator-finished", asking())))
    responder = pair.responder.handshake
    assert responder.next_event() is PAUSED
    question = pair.responder.events[-1]
    assert isinstance(question, Welcome)
    responder.abort("nobody answers", code=300)
    with pytest.raises(HandshakeError, match="question: aborted by the application: nobody answers"):
        responder.next_event()
    question.answer(1)
    with pytest.raises(HandshakeError, match="nobody answers"):
        responder.next_event()
    channel = pair.initiator.session.channel()
    channel.receive_data(responder.data_to_send())
    with pytest.raises(PeerAborted, match="application code 300") as told:
        channel.next_event()
    assert told.value.authenticated
    assert not channel.confirmed


def test_abort_after_the_completion_is_for_the_channel() -> None:
    pair = succeed(run(*both()))
    for end in (pair.initiator, pair.responder):
        with pytest.raises(LocalProtocolError, match="abort its channel"):
            end.handshake.abort("too late")
        assert end.handshake.state is State.COMPLETED


def test_abort_after_a_failure_raises_what_failed() -> None:
    handshake = begun(RESPONDER)
    handshake.abort("first")
    with pytest.raises(HandshakeError, match="first"):
        handshake.abort("second")


# ---------------------------------------------------------------- limits


def test_a_message_over_the_limit_is_refused_on_its_header() -> None:
    handshake = begun(RESPONDER, limits=Limits(message=4096, handshake=8192))
    handshake.receive_data(b"\xe1" + (4097).to_bytes(3, "big"))
    with pytest.raises(InvalidMessage, match=r"over the limit; expected at most 4096 bytes; got .* 4097") as caught:
        handshake.next_event()
    assert caught.value.alert == AlertCode.RECORD_OVERFLOW


def test_a_message_at_the_limit_is_waited_for() -> None:
    handshake = begun(RESPONDER, limits=Limits(message=4096, handshake=8192))
    handshake.receive_data(b"\xe1" + (4096).to_bytes(3, "big"))
    assert handshake.next_event() is NEED_DATA


def test_a_step_that_writes_more_than_the_limit_is_at_fault_itself() -> None:
    big = note(text=bytes(5000))
    profiles = both(lambda profile: profile.insert_before("initiator-finished", big), limits=Limits(message=4096))
    pair = run(*profiles)
    assert isinstance(pair.initiator.error, LocalProtocolError)
    assert "'note' wrote a frame of 50" in str(pair.initiator.error)
    assert alert_of(pair.responder) == AlertCode.INTERNAL_ERROR


def test_the_bytes_of_a_whole_handshake_are_limited() -> None:
    def edit(profile: Profile) -> Profile:
        for number in range(4):
            profile = profile.insert_before("initiator-finished", note(f"note-{number}", text=bytes(4000)))
        return profile

    pair = run(edit(alice()), edit(bob(limits=Limits(message=8192, handshake=12_000))))
    assert isinstance(pair.responder.error, InvalidMessage)
    assert "longer than its limit; expected at most 12000 bytes" in str(pair.responder.error)
    assert pair.responder.error.alert == AlertCode.RECORD_OVERFLOW


class EndlessTalk(Talk):
    """Never says that it is finished."""

    def __init__(self) -> None:
        super().__init__(length=-1)


def test_a_step_that_never_finishes_meets_the_limit_of_messages() -> None:
    profiles = both(
        lambda profile: profile.insert_before("initiator-finished", EndlessTalk), limits=Limits(messages=30)
    )
    pair = run(*profiles)
    errors = [end.error for end in (pair.initiator, pair.responder)]
    assert any(isinstance(error, InvalidMessage) and "more messages than its limit" in str(error) for error in errors)
    assert all(end.handshake.state is State.FAILED for end in (pair.initiator, pair.responder))
    assert sum(len(frames(flight)) for end in (pair.initiator, pair.responder) for flight in end.flights) < 35


def test_what_is_held_while_paused_is_bounded() -> None:
    initiating, responding = both(
        lambda profile: profile.insert_before("initiator-finished", asking()), limits=Limits(held=1000)
    )
    pair = run(initiating, responding)
    responder = pair.responder.handshake
    assert responder.state is State.PAUSED
    channel = pair.initiator.session.channel()
    channel.send_data(bytes(800))
    responder.receive_data(channel.data_to_send())
    assert responder.next_event() is PAUSED
    channel.send_data(bytes(800))
    responder.receive_data(channel.data_to_send())
    with pytest.raises(HandshakeError, match="too much before it was accepted") as caught:
        responder.next_event()
    assert caught.value.alert == AlertCode.BUSY
    channel.receive_data(responder.data_to_send())
    with pytest.raises(PeerAborted, match="it is busy") as told:
        channel.next_event()
    assert told.value.retryable


def test_a_list_cannot_be_edited_once_a_commit_has_failed() -> None:
    def fail(context: Context) -> None:
        raise ValueError("not now")

    pair = run(*both(lambda profile: profile.insert_before("initiator-finished", note(commit=fail))))
    for end in (pair.initiator, pair.responder):
        assert end.handshake.state is State.FAILED
        with pytest.raises(LocalProtocolError, match="the list is edited before"):
            end.handshake.steps.insert_before("initiator-finished", note("late")())


@pytest.mark.parametrize(
    "numbers",
    [{"message": 4095}, {"message": 2**24}, {"handshake": 65_535}, {"messages": 0}, {"record": 63}, {"held": -1}],
)
def test_limits_that_no_handshake_could_live_with(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="limits:"):
        Limits(**numbers)


# ---------------------------------------------------------------- failures


class TheirBugError(Exception):
    """What a user's step raises."""


@pytest.mark.parametrize("where", ["write", "read", "commit"])
@pytest.mark.parametrize("sender", Role)
def test_a_foreign_exception_fails_the_handshake_and_comes_out_as_it_was(where: str, sender: Role) -> None:
    bug = TheirBugError("with a password in it")

    def break_in(place: str, role: Role) -> None:
        guilty = {"write": sender, "read": sender.peer, "commit": RESPONDER}[where]
        if place == where and role is guilty:
            raise bug

    def write(context: Context) -> bytes:
        break_in("write", context.role)
        return b"x"

    def read(context: Context, message: bytes) -> None:
        break_in("read", context.role)

    def commit(context: Context) -> None:
        break_in("commit", context.role)

    def step() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep("buggy", sender, write=write, read=read, commit=commit)

    pair = run(*both(lambda profile: profile.insert_before("initiator-finished", step)))
    guilty, other = pair.initiator, pair.responder
    if guilty.error is not bug:
        guilty, other = other, guilty
    assert guilty.error is bug
    assert guilty.handshake.state is State.FAILED
    for _ in range(2):
        with pytest.raises(TheirBugError) as caught:
            guilty.handshake.next_event()
        assert caught.value is bug
    if other.completed:
        channel = other.session.channel()
        with pytest.raises(PeerAborted) as told:
            channel.next_event()
        assert told.value.code == AlertCode.INTERNAL_ERROR
    else:
        assert alert_of(other) == AlertCode.INTERNAL_ERROR
    assert b"password" not in b"".join(guilty.flights)


def test_misuse_in_a_users_step_is_a_local_protocol_error() -> None:
    def write(context: Context) -> bytes:
        context.establish(bytes(32))
        return b"x"

    def step() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep("misuse", INITIATOR, write=write, read=lambda context, message: None)

    pair = run(*both(lambda profile: profile.insert_before("initiator-finished", step)))
    assert isinstance(pair.initiator.error, LocalProtocolError)
    assert alert_of(pair.responder) == AlertCode.INTERNAL_ERROR


def test_an_interrupt_goes_through_and_poisons_the_handshake() -> None:
    def write(context: Context) -> bytes:
        raise KeyboardInterrupt

    def step() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep("slow", INITIATOR, write=write, read=lambda context, message: None, needs=0)  # type: ignore[arg-type]

    handshake = Handshake(INITIATOR, alice().insert_before("suites", step))
    with pytest.raises(KeyboardInterrupt):
        handshake.next_event()
    assert handshake.state is State.FAILED
    with pytest.raises(HandshakeError, match="interrupted"):
        drain(handshake)


def _ways_to_fail() -> dict[str, Pair]:
    def flip_last(role: Role, number: int, data: bytes) -> bytes:
        return data[:-1] + bytes((data[-1] ^ 1,))

    return {
        "first flight": run(*both(), tamper=lambda role, number, data: b"GET / HTTP/1.1\r\n"),
        "sealed flight": run(*both(), tamper=lambda r, n, d: flip_last(r, n, d) if r is RESPONDER else d),
        "last flight": run(*both(), tamper=lambda r, n, d: flip_last(r, n, d) if (r, n) == (INITIATOR, 1) else d),
        "refused": run(alice(), bob(trust=trust.pinned(BOB.public))),
    }


def test_after_any_failure_every_call_raises_and_there_is_no_output_but_the_alert() -> None:
    for name, pair in _ways_to_fail().items():
        failed = [end for end in (pair.initiator, pair.responder) if end.handshake.state is State.FAILED]
        assert failed, name
        for end in failed:
            handshake, error = end.handshake, end.error
            assert error is not None
            if not (isinstance(error, PeerAborted) and error.code is not None):
                assert [one[0] for one in frames(end.flights[-1])][-1] in (0xE2, 0xE5), name
            calls: list[Any] = [
                handshake.next_event,
                lambda handshake=handshake: handshake.receive_data(b"x"),
                lambda handshake=handshake: handshake.receive_data(b""),
                lambda handshake=handshake: handshake.abort("no"),
            ]
            for call in calls * 2:
                with pytest.raises(type(error)) as caught:
                    call()
                assert caught.value is error
            assert handshake.data_to_send() == b""
            assert handshake.session is None
            assert handshake.trailing_data == b""
            handshake.handle_timeout(1e9)


def _reachable(root: object) -> list[object]:
    """All objects that can be reached from `root`, but not through modules, classes, functions or an error's traceback."""
    seen: dict[int, object] = {}
    queue = [root]
    while queue:
        found = queue.pop()
        if id(found) in seen or callable(found) or isinstance(found, (ModuleType, TracebackType)):
            continue
        seen[id(found)] = found
        queue.extend(gc.get_referents(found))
    return list(seen.values())


_KEYS = (TrafficKey, KeySchedule, SessionSecrets, Session, SecureChannel)


def test_after_any_failure_no_keys_remain() -> None:
    for name, pair in _ways_to_fail().items():
        for end in (pair.initiator, pair.responder):
            if end.handshake.state is State.FAILED:
                assert not [found for found in _reachable(end.handshake) if isinstance(found, _KEYS)], name


def test_a_completed_handshake_does_hold_keys_and_so_the_search_for_them_works() -> None:
    pair = run(*both())
    assert [found for found in _reachable(pair.initiator.handshake) if isinstance(found, _KEYS)]


def test_a_refused_initiator_is_told_under_seal() -> None:
    pair = run(alice(), bob(trust=trust.pinned(BOB.public)))
    assert isinstance(pair.responder.error, AuthenticationFailed)
    channel = pair.initiator.session.channel()
    with pytest.raises(PeerAborted, match="its trust policy refused us") as told:
        channel.next_event()
    assert told.value.authenticated
    assert not channel.confirmed


@pytest.mark.parametrize("role", Role)
def test_the_end_of_the_stream_in_mid_handshake_names_the_step_it_waited_for(role: Role) -> None:
    handshake = begun(role)
    handshake.receive_data(b"")
    with pytest.raises(PeerAborted, match="ended in the middle") as caught:
        handshake.next_event()
    assert caught.value.step == ("hello-response" if role is INITIATOR else "hello")
    assert caught.value.code is None
    assert caught.value.retryable
