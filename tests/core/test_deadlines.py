"""Time in the core: when a deadline has passed, what that does in each state, and whom the error says we waited for."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus_core import INITIATOR, NEED_DATA, PAUSED, RESPONDER, Handshake, HandshakeTimeout, PeerAborted, Role, State
from nautilus_core.errors import AlertCode
from nautilus_core.testing import Pair

from .helpers import alice, asking, bob, both, drain, frames, run, succeed

DEADLINE = 100.0
TIMES = st.floats(min_value=-1e9, max_value=1e9)


def waiting(role: Role = INITIATOR) -> Handshake:
    """An engine with a deadline, which waits for its peer's first message; what it sends first is taken."""
    handshake = Handshake(role, alice() if role is INITIATOR else bob(), deadline=DEADLINE)
    drain(handshake)
    handshake.data_to_send()
    return handshake


def too_late(handshake: Handshake, now: float = DEADLINE) -> HandshakeTimeout:
    """What the deadline makes of it; its alert goes to the peer, once."""
    handshake.handle_timeout(now)
    assert handshake.state is State.FAILED
    with pytest.raises(HandshakeTimeout) as caught:
        drain(handshake)
    (alert,) = frames(handshake.data_to_send())
    assert alert[0] in (0xE2, 0xE5)
    assert handshake.data_to_send() == b""
    assert caught.value.retryable
    assert caught.value.alert == AlertCode.TIMEOUT
    return caught.value


@given(deadline=TIMES, times=st.lists(TIMES, max_size=8))
def test_it_has_passed_at_the_first_time_that_reaches_it(deadline: float, times: list[float]) -> None:
    handshake = Handshake(INITIATOR, alice(), deadline=deadline)
    for number, now in enumerate(times):
        handshake.handle_timeout(now)
        assert (handshake.state is State.FAILED) == any(earlier >= deadline for earlier in times[: number + 1])
        assert handshake.deadline == deadline


@given(early=st.lists(st.floats(min_value=-1e9, max_value=DEADLINE, exclude_max=True), max_size=4), data=st.data())
def test_a_time_before_it_changes_nothing_wherever_it_is_told(early: list[float], data: st.DataObject) -> None:
    initiator, responder = Handshake(INITIATOR, alice(), deadline=DEADLINE), Handshake(RESPONDER, bob(), deadline=inf)

    def split(flight: bytes) -> list[bytes]:
        for now in early:
            initiator.handle_timeout(now)
            responder.handle_timeout(now)
        cut = data.draw(st.integers(0, len(flight)))
        return [piece for piece in (flight[:cut], flight[cut:]) if piece]

    succeed(Pair(initiator, responder, split=split).run())


@given(place=st.integers(0, 4), told=st.sampled_from([DEADLINE, 1e9, inf]))
def test_wherever_it_passes_both_sides_end_with_a_name(place: int, told: float) -> None:
    """After each flight, of either side."""
    engines = {INITIATOR: Handshake(INITIATOR, alice(), deadline=DEADLINE), RESPONDER: Handshake(RESPONDER, bob())}
    sender = INITIATOR
    for _ in range(place):
        drain(engines[sender])
        if flight := engines[sender].data_to_send():
            engines[sender.peer].receive_data(flight)
        sender = sender.peer
    late = engines[INITIATOR]
    before = late.state
    late.handle_timeout(told)
    if before is State.COMPLETED:
        assert late.session is not None
        return
    with pytest.raises(HandshakeTimeout) as caught:
        drain(late)
    assert late.session is None
    assert caught.value.step in [step.name for step in late.steps]
    engines[RESPONDER].receive_data(late.data_to_send())
    with pytest.raises(PeerAborted, match="took too long") as heard:
        drain(engines[RESPONDER])
    assert heard.value.code == AlertCode.TIMEOUT
    assert heard.value.retryable


# ---------------------------------------------------------------- whom we waited for


def test_the_peer_who_says_nothing() -> None:
    error = too_late(waiting())
    assert (error.waited_for, error.question, error.step) == ("peer", None, "hello-response")
    assert str(error) == (
        "hello-response: the deadline has passed; expected the peer's message hello-response; got nothing in time "
        "(hint: the peer is slow or gone, or the deadline is too near)"
    )


def test_the_peer_who_begins_a_message() -> None:
    handshake = waiting(RESPONDER)
    handshake.receive_data(b"\xe1\0\1")
    assert handshake.next_event() is NEED_DATA
    error = too_late(handshake)
    assert (error.waited_for, error.step) == ("peer", "hello")
    assert error.received == "3 bytes in time"


def test_the_application_that_does_not_begin() -> None:
    handshake = Handshake(INITIATOR, alice(), deadline=DEADLINE)
    error = too_late(handshake)
    assert (error.waited_for, error.question, error.step) == ("application", None, "hello")
    assert error.expected == "the application's first call of next_event"


def paused(deadline: float | None = DEADLINE) -> tuple[Handshake, Any]:
    """A responder whose step asks something; its question."""
    initiating, responding = both(lambda profile: profile.insert_before("initiator-finished", asking()))
    pair = run(initiating, Handshake(RESPONDER, responding, deadline=deadline))
    handshake = pair.responder.handshake
    assert handshake.next_event() is PAUSED
    return handshake, pair.responder.events[-1]


def test_the_application_that_does_not_answer() -> None:
    handshake, question = paused()
    error = too_late(handshake)
    assert (error.waited_for, error.question, error.step) == ("application", "Welcome", "question")
    assert str(error) == (
        "question: the deadline has passed; expected the application's answer to Welcome; got nothing in time "
        "(hint: the peer waits meanwhile: be faster, or set a later deadline)"
    )
    question.answer(1)  # it changes nothing any more
    assert handshake.state is State.FAILED


def test_the_application_that_answers_and_does_not_go_on() -> None:
    handshake, question = paused()
    question.answer(1)
    error = too_late(handshake)
    assert (error.waited_for, error.question) == ("application", None)
    assert error.expected == "the application's next_event after its answer to Welcome"


# ---------------------------------------------------------------- where nothing happens


@pytest.mark.parametrize("now", [0.0, -inf, 99.999])
def test_before_it_nothing_happens(now: float) -> None:
    for handshake in (Handshake(INITIATOR, alice(), deadline=DEADLINE), waiting(), paused()[0]):
        state = handshake.state
        handshake.handle_timeout(now)
        assert handshake.state is state


def test_without_one_nothing_happens() -> None:
    for handshake in (Handshake(INITIATOR, alice()), paused(None)[0]):
        state = handshake.state
        assert handshake.deadline is None
        handshake.handle_timeout(inf)
        assert handshake.state is state


def test_after_the_end_nothing_happens() -> None:
    pair = succeed(run(Handshake(INITIATOR, alice(), deadline=1.0), Handshake(RESPONDER, bob(), deadline=1.0)))
    for end in (pair.initiator, pair.responder):
        end.handshake.handle_timeout(2.0)
        assert end.completed
        assert end.handshake.data_to_send() == b""


def test_after_a_failure_that_failure_stays() -> None:
    handshake = waiting()
    handshake.receive_data(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(Exception) as first:
        drain(handshake)
    handshake.data_to_send()
    handshake.handle_timeout(inf)
    with pytest.raises(type(first.value)) as again:
        handshake.next_event()
    assert again.value is first.value
    assert handshake.data_to_send() == b""


def test_it_may_be_moved_while_it_runs() -> None:
    handshake = waiting()
    handshake.deadline = 200.0
    handshake.handle_timeout(150.0)
    assert handshake.next_event() is NEED_DATA
    handshake.deadline = 120.0
    assert too_late(handshake, 150.0).step == "hello-response"


@pytest.mark.parametrize(("deadline", "now"), [(DEADLINE, nan), (nan, 1.0)])
def test_a_time_that_is_none_is_refused(deadline: float, now: float) -> None:
    handshake = Handshake(INITIATOR, alice(), deadline=deadline)
    with pytest.raises(ValueError, match="not NaN"):
        handshake.handle_timeout(now)
    assert handshake.state is State.NEW
