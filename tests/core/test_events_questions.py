"""Events, the two signals, and questions: asked, answered, rejected, answered twice, too early and too late."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    PAUSED,
    RESPONDER,
    Accepted,
    AlertCode,
    AuthenticationFailed,
    Context,
    CustomProtocolStep,
    DataReceived,
    Event,
    HandshakeCompleted,
    HandshakeError,
    KeyUpdated,
    LocalProtocolError,
    PeerAborted,
    PeerClosed,
    PeerIdentified,
    Profile,
    Question,
    Role,
    Signal,
    State,
    StepCompleted,
    StepSkipped,
    trust,
)
from nautilus_core.testing import Pair, alert_of

from .helpers import ALICE, BOB, Welcome, alice, asking, bob, both, drain, note, run, succeed


def asking_pair(sender: Role = INITIATOR, asker: Role | None = None) -> Pair:
    """A pair that stands where one end has asked `Welcome`."""
    return run(*both(lambda profile: profile.insert_before("initiator-finished", asking("ask", sender, asker=asker))))


def question_of(pair: Pair, asker: Role) -> Welcome:
    """The open question of one end, which is paused."""
    end = pair.initiator if asker is INITIATOR else pair.responder
    assert end.handshake.state is State.PAUSED
    assert end.handshake.next_event() is PAUSED
    question = end.events[-1]
    assert isinstance(question, Welcome)
    return question


def go_on(pair: Pair) -> Pair:
    """Drive a pair that has been answered to its end."""
    return pair.run()


# ---------------------------------------------------------------- events


def test_signals_are_exported_by_name_and_are_no_events() -> None:
    assert (NEED_DATA, PAUSED) == (Signal.NEED_DATA, Signal.PAUSED)
    assert (repr(NEED_DATA), repr(PAUSED)) == ("NEED_DATA", "PAUSED")
    assert not any(isinstance(signal, Event) for signal in Signal)


@pytest.mark.parametrize(
    "event",
    [
        StepCompleted("hello", INITIATOR, 10, False),
        StepSkipped("note", "why"),
        Accepted(),
        DataReceived((b"x",)),
        KeyUpdated(RESPONDER),
        PeerClosed(),
        Welcome(tenant="acme"),
    ],
)
def test_events_are_frozen_values(event: Any) -> None:
    assert isinstance(event, Event)
    for field in event.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(event, field, None)


def test_a_steps_own_events_come_in_order() -> None:
    class Progress(Event, frozen=True):
        percent: int

    def commit(context: Context) -> None:
        context.emit(Progress(50))
        context.emit(Progress(100))

    pair = succeed(run(*both(lambda profile: profile.insert_before("initiator-finished", note(commit=commit)))))
    for end in (pair.initiator, pair.responder):
        place = [isinstance(e, StepCompleted) and e.step == "note" for e in end.events].index(True)
        assert end.events[place + 1 : place + 3] == [Progress(50), Progress(100)]


def test_data_received_joins_its_records() -> None:
    assert DataReceived((b"a", b"bc")).data == b"abc"
    record = b"whole"
    assert DataReceived((record,)).data is record


# ---------------------------------------------------------------- questions


@pytest.mark.parametrize("sender", Role)
@pytest.mark.parametrize("asker", Role)
def test_a_question_pauses_until_it_is_answered(sender: Role, asker: Role) -> None:
    pair = asking_pair(sender, asker)
    question = question_of(pair, asker)
    assert question.tenant == ("tenant" if asker is not sender else "acme")
    question.answer(7)
    succeed(go_on(pair))
    end = pair.initiator if asker is INITIATOR else pair.responder
    assert end.session.results["ask"] == 7


def test_nothing_is_said_while_the_question_is_open() -> None:
    pair = asking_pair()
    responder = pair.responder.handshake
    for _ in range(3):
        assert responder.next_event() is PAUSED
        assert responder.data_to_send() == b""


def test_the_peers_bytes_are_held_meanwhile() -> None:
    pair = asking_pair()
    channel = pair.initiator.session.channel()
    channel.send_data(b"already here")
    pair.responder.handshake.receive_data(channel.data_to_send())
    assert pair.responder.handshake.next_event() is PAUSED
    question_of(pair, RESPONDER).answer(1)
    events = drain(pair.responder.handshake)
    assert isinstance(events[-1], HandshakeCompleted)
    received = events[-1].session.channel().next_event()
    assert isinstance(received, DataReceived)
    assert received.data == b"already here"


def test_the_end_of_the_stream_meanwhile_is_the_channels_when_the_messages_are_all_there() -> None:
    pair = asking_pair()
    pair.responder.handshake.receive_data(b"")
    question_of(pair, RESPONDER).answer(1)
    assert pair.responder.handshake.next_event() is not PAUSED
    drain(pair.responder.handshake)
    with pytest.raises(PeerAborted, match="without a close"):
        pair.responder.session.channel().next_event()


@pytest.mark.parametrize("asker", Role)
@pytest.mark.parametrize("alert", [None, AlertCode.BAD_CERTIFICATE, 1000])
def test_a_rejection_fails_the_step_and_is_told_to_the_peer_without_the_reason(asker: Role, alert: int | None) -> None:
    pair = asking_pair(asker.peer, asker)
    question_of(pair, asker).reject("no such tenant", alert=alert)
    go_on(pair)
    end, other = (pair.initiator, pair.responder) if asker is INITIATOR else (pair.responder, pair.initiator)
    assert isinstance(end.error, AuthenticationFailed)
    assert str(end.error) == "ask: refused by the application: no such tenant"
    code = alert or AlertCode.ACCESS_DENIED
    if other.completed:
        with pytest.raises(PeerAborted) as told:
            other.session.channel().next_event()
        assert told.value.code == code
    else:
        assert alert_of(other) == code
    assert b"no such tenant" not in b"".join(end.flights)


def test_a_rejection_with_the_code_of_another_error_is_refused_and_the_question_stays_open() -> None:
    pair = asking_pair()
    question = question_of(pair, RESPONDER)
    with pytest.raises(ValueError, match="does not belong to AuthenticationFailed"):
        question.reject("no", alert=AlertCode.BAD_FINISHED)
    assert pair.responder.handshake.next_event() is PAUSED
    question.answer(1)
    succeed(go_on(pair))


ANSWERS: list[Callable[[Welcome], None]] = [lambda q: q.answer(2), lambda q: q.reject("changed my mind")]


@pytest.mark.parametrize("first", ANSWERS)
@pytest.mark.parametrize("second", ANSWERS)
def test_a_question_is_answered_once(first: Callable[[Welcome], None], second: Callable[[Welcome], None]) -> None:
    question = question_of(asking_pair(), RESPONDER)
    first(question)
    with pytest.raises(LocalProtocolError, match="already answered"):
        second(question)


def test_the_first_of_two_answers_counts() -> None:
    pair = asking_pair()
    question = question_of(pair, RESPONDER)
    question.answer(1)
    with pytest.raises(LocalProtocolError):
        question.answer(2)
    assert succeed(go_on(pair)).responder.session.results["ask"] == 1


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_question_that_was_not_asked_cannot_be_answered(answer: Callable[[Welcome], None]) -> None:
    with pytest.raises(LocalProtocolError, match="was not asked"):
        answer(Welcome(tenant="acme"))


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_after_the_handshake_has_failed_comes_too_late(answer: Callable[[Welcome], None]) -> None:
    pair = asking_pair()
    question = question_of(pair, RESPONDER)
    pair.responder.handshake.abort("tired of waiting")
    with pytest.raises(HandshakeError, match="tired of waiting"):
        pair.responder.handshake.next_event()
    answer(question)  # it is no mistake of the caller's: the peer or the clock may have been quicker
    answer(question)
    with pytest.raises(HandshakeError, match="tired of waiting"):
        pair.responder.handshake.next_event()


def asking_step(questions: Callable[[Context], Generator[Any, Any, None]]) -> Callable[[Profile], Profile]:
    def step() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep(
            "ask", INITIATOR, write=lambda context: b"x", read=lambda context, message: questions(context)
        )

    return lambda profile: profile.insert_before("initiator-finished", step)


def test_a_step_may_ask_several_questions() -> None:
    def questions(context: Context) -> Generator[Question[Any], Any, None]:
        total = 0
        for name in ("one", "two", "three"):
            total += yield from context.ask(Welcome(tenant=name))
        context.publish(total)

    asked = []

    def answer(question: Welcome) -> None:
        asked.append(question.tenant)
        question.answer(len(question.tenant))

    pair = succeed(run(*both(asking_step(questions)), answer=answer))
    assert asked == ["one", "two", "three"]
    assert pair.responder.session.results["ask"] == 11


def test_a_generator_that_asks_nothing_is_not_paused() -> None:
    def questions(context: Context) -> Generator[Question[Any], Any, None]:
        context.publish("nothing to ask")
        return
        yield

    assert succeed(run(*both(asking_step(questions)))).responder.session.results["ask"] == "nothing to ask"


def test_a_step_may_answer_a_rejection_for_itself() -> None:
    def questions(context: Context) -> Generator[Question[Any], Any, None]:
        try:
            yield from context.ask(Welcome(tenant="acme"))
        except AuthenticationFailed:
            context.publish("as a guest")

    pair = succeed(run(*both(asking_step(questions)), answer=lambda question: question.reject("unknown")))
    assert pair.responder.session.results["ask"] == "as a guest"


def test_one_question_object_is_asked_once() -> None:
    question = Welcome(tenant="acme")

    def questions(context: Context) -> Generator[Question[Any], Any, None]:
        yield from context.ask(question)
        yield from context.ask(question)

    pair = run(*both(asking_step(questions)), answer=lambda asked: asked.answer(1))
    assert isinstance(pair.responder.error, LocalProtocolError)
    assert "asked only once" in str(pair.responder.error)


def test_a_generator_that_yields_something_else_is_at_fault() -> None:
    def questions(context: Context) -> Generator[Any, Any, None]:
        yield "how are you?"

    pair = run(*both(asking_step(questions)))
    assert isinstance(pair.responder.error, LocalProtocolError)
    assert "yields questions, not str" in str(pair.responder.error)


def test_a_foreign_exception_after_an_answer_comes_out_as_it_was() -> None:
    def questions(context: Context) -> Generator[Question[Any], Any, None]:
        yield from context.ask(Welcome(tenant="acme"))
        raise ZeroDivisionError("after the answer")

    pair = run(*both(asking_step(questions)), answer=lambda asked: asked.answer(1))
    assert isinstance(pair.responder.error, ZeroDivisionError)
    assert pair.responder.handshake.state is State.FAILED


def test_a_generator_is_closed_when_the_handshake_fails_and_its_clean_up_cannot_hide_why() -> None:
    closed = []

    def questions(context: Context) -> Generator[Question[Any], Any, None]:
        try:
            yield from context.ask(Welcome(tenant="acme"))
        finally:
            closed.append(True)
            raise ZeroDivisionError("in the clean-up")

    pair = run(*both(asking_step(questions)))
    pair.responder.handshake.abort("enough")
    assert closed == [True]
    with pytest.raises(HandshakeError, match="enough"):
        pair.responder.handshake.next_event()


def test_questions_in_the_list_compare_and_print_like_events() -> None:
    assert Welcome(tenant="a") == Welcome(tenant="a")
    assert Welcome(tenant="a") != Welcome(tenant="b")
    question = question_of(asking_pair(), RESPONDER)
    assert repr(question) == "Welcome(pending=<open>, tenant='tenant')"
    question.answer(1)
    assert repr(question) == "Welcome(pending=<answered>, tenant='tenant')"


# ---------------------------------------------------------------- is this peer welcome?


@pytest.mark.parametrize("asker", Role)
def test_ask_hands_out_the_verified_peer(asker: Role) -> None:
    profiles = (
        alice(trust=trust.ask()) if asker is INITIATOR else alice(),
        bob(trust=trust.ask()) if asker is RESPONDER else bob(),
    )
    pair = run(*profiles)
    end = pair.initiator if asker is INITIATOR else pair.responder
    question = end.events[-1]
    assert isinstance(question, PeerIdentified)
    assert question.peer.peer_id == (BOB if asker is INITIATOR else ALICE).peer_id
    assert question.name is None
    question.accept()
    assert succeed(go_on(pair))


def test_a_refused_peer_gets_no_session() -> None:
    pair = run(alice(trust=trust.ask()), bob(), answer=lambda question: question.reject("not today"))
    assert isinstance(pair.initiator.error, AuthenticationFailed)
    assert alert_of(pair.responder) == AlertCode.ACCESS_DENIED
    assert pair.initiator.handshake.session is None
