"""A user's own steps: typed, raw, of several messages, from functions; the ticket example of the design."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from msgspec import Meta

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Context,
    CustomProtocolStep,
    HandshakeStep,
    InvalidMessage,
    LocalProtocolError,
    Message,
    MessageStep,
    MultiMessageStep,
    PeerAborted,
    Profile,
    Question,
    Role,
    Stage,
    StepCompleted,
)
from nautilus_core.testing import End, alert_of

from .helpers import BUILT_IN, Talk, both, frame, frames, note, packed, run, succeed

# ---------------------------------------------------------------- the example of the design


class Ticket(Message, frozen=True, tag="fleet-ticket"):
    tenant: Annotated[str, Meta(min_length=1, max_length=32)]
    mac: Annotated[bytes, Meta(min_length=32, max_length=32)]


class NewTenant(Question[int], frozen=True, kw_only=True):
    """Somebody whom we have not served before: how much may it have?"""

    tenant: str


class Tickets:
    """What both ends of a fleet know."""

    def __init__(self, secret: bytes, tenant: str = "acme") -> None:
        self.secret = secret
        self.tenant = tenant

    def issue(self, transcript_hash: bytes) -> Ticket:
        return Ticket(self.tenant, self._mac(self.tenant, transcript_hash))

    def verify(self, ticket: Ticket, transcript_hash: bytes) -> bool:
        return hmac.compare_digest(ticket.mac, self._mac(ticket.tenant, transcript_hash))

    def _mac(self, tenant: str, transcript_hash: bytes) -> bytes:
        return hmac.digest(self.secret, tenant.encode() + transcript_hash, "sha256")


class PresentTicket(MessageStep[Ticket]):
    name, sender, message = "fleet-ticket", INITIATOR, Ticket

    def __init__(self, tickets: Tickets) -> None:
        self.tickets = tickets

    def write(self, context: Context) -> Ticket:
        return self.tickets.issue(context.transcript_hash())

    def read(self, context: Context, message: Ticket) -> Any:
        if not self.tickets.verify(message, context.transcript_hash()):
            raise AuthenticationFailed("ticket is not for this handshake")
        quota = yield from context.ask(NewTenant(tenant=message.tenant))
        context.publish(quota)


def ticketed(issuer: Tickets, verifier: Tickets) -> tuple[Profile, Profile]:
    initiator, responder = both()
    return (
        initiator.insert_before("initiator-finished", lambda: PresentTicket(issuer)),
        responder.insert_before("initiator-finished", lambda: PresentTicket(verifier)),
    )


FLEET = Tickets(b"the fleet's secret")


def test_a_ticket_is_accepted_and_its_quota_is_a_result() -> None:
    asked: list[str] = []

    def answer(question: NewTenant) -> None:
        asked.append(question.tenant)
        question.answer(10)

    pair = succeed(run(*ticketed(FLEET, FLEET), answer=answer))
    assert asked == ["acme"]
    assert pair.responder.session.results == {"fleet-ticket": 10}
    assert pair.initiator.session.results == {}
    assert pair.initiator.session.steps[-2] == "fleet-ticket"


def test_a_ticket_of_another_fleet_is_refused_before_anybody_is_asked() -> None:
    pair = run(*ticketed(Tickets(b"another secret"), FLEET))
    assert isinstance(pair.responder.error, AuthenticationFailed)
    assert str(pair.responder.error) == "fleet-ticket: ticket is not for this handshake"
    assert not [event for event in pair.responder.events if isinstance(event, NewTenant)]
    with pytest.raises(PeerAborted) as told:
        pair.initiator.session.channel().next_event()
    assert told.value.code == AlertCode.ACCESS_DENIED


def test_a_ticket_of_another_handshake_is_refused() -> None:
    """It is bound to the transcript: the same ticket proves nothing in the next handshake."""
    first = FLEET.issue(b"\0" * 32)

    class Stolen(Tickets):
        def issue(self, transcript_hash: bytes) -> Ticket:
            return first

    pair = run(*ticketed(Stolen(b""), FLEET))
    assert isinstance(pair.responder.error, AuthenticationFailed)


def test_a_tenant_that_is_rejected_and_answered_twice_and_too_late() -> None:
    pair = run(*ticketed(FLEET, FLEET))
    question = pair.responder.events[-1]
    assert isinstance(question, NewTenant)
    question.reject("over quota", alert=500)
    with pytest.raises(LocalProtocolError, match="already answered"):
        question.answer(1)
    with pytest.raises(LocalProtocolError, match="already answered"):
        question.reject("again")
    pair.run()
    assert isinstance(pair.responder.error, AuthenticationFailed)
    with pytest.raises(LocalProtocolError, match="already answered"):
        question.answer(1)
    with pytest.raises(PeerAborted, match="application code 500"):
        pair.initiator.session.channel().next_event()


@pytest.mark.parametrize(
    "body",
    [
        ["fleet-ticket"],
        ["fleet-ticket", "acme"],
        ["fleet-ticket", "", bytes(32)],
        ["fleet-ticket", "a" * 33, bytes(32)],
        ["fleet-ticket", "acme", bytes(31)],
        ["fleet-ticket", b"acme", bytes(32)],
        ["fleet-ticket", "acme", "x" * 32],
        {"fleet-ticket": 1},
    ],
)
def test_the_constraints_of_a_typed_message_are_checked_before_read(body: Any) -> None:
    step = PresentTicket(FLEET)
    with pytest.raises(InvalidMessage, match="malformed message") as caught:
        step.decode(packed(body)[4:])
    assert caught.value.alert == AlertCode.DECODE_ERROR


def test_messages_round_trip_on_the_wire() -> None:
    step = PresentTicket(FLEET)
    ticket = FLEET.issue(bytes(32))
    assert step.decode(step.encode(ticket)) == ticket
    raw = note("note")()
    assert raw.decode(raw.encode(b"\0\xff")) == b"\0\xff"
    assert frame(raw.encode(b"x")) == packed(["note", b"x"])


# ---------------------------------------------------------------- steps from functions


def test_a_step_from_functions_with_a_message_type() -> None:
    def factory() -> CustomProtocolStep[Ticket]:
        return CustomProtocolStep(
            "fleet-ticket",
            RESPONDER,
            message=Ticket,
            write=lambda context: FLEET.issue(context.transcript_hash()),
            read=lambda context, message: context.publish(message.tenant),
        )

    pair = succeed(run(*both(lambda profile: profile.insert_before("initiator-finished", factory))))
    assert pair.initiator.session.results == {"fleet-ticket": "acme"}


def test_a_step_from_functions_with_bytes_said_aloud() -> None:
    def factory() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep(
            "raw", INITIATOR, message=bytes, write=lambda context: b"x", read=lambda context, message: None
        )

    assert (
        "raw"
        in succeed(
            run(*both(lambda profile: profile.insert_before("initiator-finished", factory)))
        ).initiator.session.steps
    )


def test_a_raw_step_that_writes_something_else_is_at_fault() -> None:
    def factory() -> CustomProtocolStep[Any]:
        return CustomProtocolStep("raw", INITIATOR, write=lambda context: "text", read=lambda context, message: None)

    pair = run(*both(lambda profile: profile.insert_before("initiator-finished", factory)))
    assert isinstance(pair.initiator.error, LocalProtocolError)
    assert "'raw' must write bytes, not str" in str(pair.initiator.error)
    assert alert_of(pair.responder) == AlertCode.INTERNAL_ERROR


class Challenge(HandshakeStep[bytes]):
    """A subclass of the abstract step itself: raw bytes."""

    name, sender = "challenge", RESPONDER

    def __init__(self, log: list[tuple[Role, str, bytes]]) -> None:
        self.log = log

    def write(self, context: Context) -> bytes:
        challenge = context.entropy.random_bytes(16)
        self.log.append((context.role, "write", challenge))
        return challenge

    def read(self, context: Context, message: bytes) -> None:
        self.log.append((context.role, "read", message))

    def commit(self, context: Context) -> None:
        self.log.append((context.role, "commit", b""))


def test_write_read_and_commit_are_called_once_each_and_in_order() -> None:
    log: list[tuple[Role, str, bytes]] = []
    succeed(run(*both(lambda profile: profile.insert_before("initiator-finished", lambda: Challenge(log)))))
    challenge = log[0][2]
    assert log == [
        (RESPONDER, "write", challenge),
        (RESPONDER, "commit", b""),
        (INITIATOR, "read", challenge),
        (INITIATOR, "commit", b""),
    ]


def test_a_step_of_the_users_may_raise_any_handshake_error_with_its_own_code() -> None:
    def refuse(context: Context, message: bytes) -> None:
        raise AuthenticationFailed("banned", received="a note", hint="ask nicely", alert=777)

    def factory() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep("note", RESPONDER, write=lambda context: b"x", read=refuse)

    pair = run(*both(lambda profile: profile.insert_before("initiator-finished", factory)))
    assert str(pair.initiator.error) == "note: banned; got a note (hint: ask nicely)"
    assert alert_of(pair.responder) == 777


@pytest.mark.parametrize(
    ("anchor", "needs", "sealed"),
    [
        ("suite", Stage.NOTHING, False),
        ("responder-authentication", Stage.KEYS, True),
        ("initiator-finished", Stage.PEER, True),
    ],
)
@pytest.mark.parametrize("sender", Role)
def test_where_a_step_stands_decides_whether_it_is_sealed(
    anchor: str, needs: Stage, sealed: bool, sender: Role
) -> None:
    secret = b"is this legible on the wire?"
    factory = note("note", sender, text=secret, needs=needs)
    pair = succeed(run(*both(lambda profile: profile.insert_before(anchor, factory))))
    wire = b"".join(pair.initiator.flights + pair.responder.flights)
    assert (secret in wire) is not sealed
    for end in (pair.initiator, pair.responder):
        reported = [event.sealed for event in end.events if isinstance(event, StepCompleted) and event.step == "note"]
        assert reported == [sealed]


def test_results_belong_to_their_steps_and_do_not_change() -> None:
    pair = succeed(
        run(*both(lambda p: p.insert_before("initiator-finished", note("a")).insert_after("a", note("b", text=b"B"))))
    )
    results = pair.responder.session.results
    assert results == {"a": b"a note from the initiator", "b": b"B"}
    with pytest.raises(TypeError):
        results["a"] = None  # type: ignore[index]


def misuse(call: Callable[[Context], object], where: str) -> End:
    """The initiator's end after `call` in the `write` or the `commit` of its step."""

    def write(context: Context) -> bytes:
        if where == "write":
            call(context)
        return b"x"

    def commit(context: Context) -> None:
        if where == "commit" and context.role is INITIATOR:
            call(context)

    def factory() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep(
            "misuse", INITIATOR, write=write, read=lambda context, message: None, commit=commit, needs=Stage.NOTHING
        )

    return run(*both(lambda profile: profile.insert_after("hello", factory))).initiator


def finish(context: Context) -> None:
    context.finish(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "where", "text"),
    [
        (lambda context: context.transcript_hash(), "write", "no hash until a cipher suite is selected"),
        (lambda context: context.select_hash("SHA256"), "write", r"select_hash\(\) is for a step's commit"),
        (lambda context: context.establish(bytes(32)), "write", r"establish\(\) is for a step's commit"),
        (finish, "write", r"finish\(\) is for a step's commit"),
        (lambda context: context.establish(bytes(32)), "commit", "before a cipher suite is selected"),
        (finish, "commit", "only the step that provides the session finishes the handshake"),
    ],
)
def test_misuse_of_the_context(call: Callable[[Context], object], where: str, text: str) -> None:
    end = misuse(call, where)
    assert isinstance(end.error, LocalProtocolError)
    with pytest.raises(LocalProtocolError, match=text):
        raise end.error


def test_an_unknown_hash_is_a_value_error() -> None:
    end = misuse(lambda context: context.select_hash("MD5"), "commit")
    assert isinstance(end.error, ValueError)
    assert "no hash 'MD5'; use one of SHA256, SHA384" in str(end.error)


def test_a_hash_and_a_secret_are_fixed_once() -> None:
    for call, text in (
        (lambda context: context.select_hash("SHA256"), "already selected"),
        (lambda context: context.establish(bytes(32)), "already established"),
        (lambda context: context.use_psk("late", bytes(32)), "before a shared secret is established"),
    ):

        def edit(profile: Profile, call: Callable[[Context], object] = call) -> Profile:
            return profile.insert_before("initiator-finished", note(commit=call))  # type: ignore[arg-type]

        pair = run(*both(edit))
        assert isinstance(pair.initiator.error, LocalProtocolError)
        assert text in str(pair.initiator.error)


# ---------------------------------------------------------------- steps of several messages


@pytest.mark.parametrize("sender", Role)
@pytest.mark.parametrize("length", [1, 2, 3, 6])
def test_the_sender_turns_after_each_message_and_the_step_commits_once(sender: Role, length: int) -> None:
    steps: list[Talk] = []

    def factory() -> Talk:
        steps.append(Talk("talk", sender, length=length))
        return steps[-1]

    pair = succeed(run(*both(lambda profile: profile.insert_before("initiator-finished", factory))))
    lines = tuple(b"line %d" % number for number in range(length))
    assert pair.initiator.session.results == pair.responder.session.results == {"talk": lines}
    assert sorted(step.commits for step in steps)[-2:] == [1, 1]
    for end in (pair.initiator, pair.responder):
        senders = [event.sender for event in end.events if isinstance(event, StepCompleted) and event.step == "talk"]
        assert senders == [sender if number % 2 == 0 else sender.peer for number in range(length)]
    assert pair.initiator.session.steps == (*BUILT_IN[:-1], "talk", BUILT_IN[-1])


def test_a_talk_may_be_the_first_thing_before_keys() -> None:
    class EarlyTalk(Talk):
        needs = Stage.NOTHING

    pair = succeed(
        run(*both(lambda profile: profile.insert_before("suite", lambda: EarlyTalk("talk", RESPONDER, length=5))))
    )
    assert len(pair.initiator.session.results["talk"]) == 5


@pytest.mark.parametrize(("one", "other"), [(2, 3), (3, 2), (1, 4), (4, 1)])
@pytest.mark.parametrize("sender", Role)
def test_ends_that_disagree_on_where_a_step_finishes_notice(sender: Role, one: int, other: int) -> None:
    initiator, responder = both()
    pair = run(
        initiator.insert_before("initiator-finished", lambda: Talk("talk", sender, length=one)),
        responder.insert_before("initiator-finished", lambda: Talk("talk", sender, length=other)),
    )
    errors = [end.error for end in (pair.initiator, pair.responder)]
    assert [
        error
        for error in errors
        if isinstance(error, InvalidMessage) and "disagree on where the step ends" in str(error)
    ]
    assert not (pair.initiator.completed and pair.responder.completed)


class Countdown(MultiMessageStep):
    """Each message says a smaller number, until one says 0: the messages decide how many there are."""

    name, sender = "countdown", INITIATOR

    def __init__(self, number: int) -> None:
        self.number = number

    def write(self, context: Context) -> bytes:
        self.number -= 1
        self.finished = self.number == 0
        return bytes((self.number,))

    def read(self, context: Context, message: bytes) -> None:
        self.number = message[0]
        self.finished = self.number == 0


@pytest.mark.parametrize("number", [1, 2, 7, 50])
def test_a_talk_as_long_as_it_takes(number: int) -> None:
    pair = succeed(run(*both(lambda profile: profile.insert_before("initiator-finished", lambda: Countdown(number)))))
    for end in (pair.initiator, pair.responder):
        assert [getattr(event, "step", None) for event in end.events].count("countdown") == number


def test_a_part_that_says_it_is_the_last_too_early_is_refused() -> None:
    step = Talk(length=3)
    step.decode(packed(["talk", True, b"x"])[4:])
    step.read(None, b"x")  # type: ignore[arg-type]
    with pytest.raises(
        InvalidMessage, match="expected a message with more to come; got the step's last message"
    ) as caught:
        step.check_finished()
    assert caught.value.alert == AlertCode.UNEXPECTED_MESSAGE


@pytest.mark.parametrize(
    "body", [["talk"], ["talk", b"x"], ["talk", 1, b"x"], ["talk", True], ["talk", True, "x"], ["other", True, b"x"]]
)
def test_a_part_that_is_malformed(body: list[Any]) -> None:
    with pytest.raises(InvalidMessage, match=r"(malformed|unexpected) message"):
        Talk().decode(packed(body)[4:])


def test_other_steps_go_on_after_a_talk_of_either_parity() -> None:
    for length in (2, 3):

        def edit(profile: Profile, length: int = length) -> Profile:
            profile = profile.insert_before("initiator-finished", lambda: Talk("one", INITIATOR, length=length))
            profile = profile.insert_before("initiator-finished", lambda: Talk("two", RESPONDER, length=length))
            return profile.insert_before("initiator-finished", note("after", RESPONDER))

        pair = succeed(run(*both(edit)))
        assert pair.initiator.session.results["after"] == b"a note from the responder"


def test_a_message_of_several_frames_worth_is_one_frame() -> None:
    text = bytes(60_000)
    pair = succeed(run(*both(lambda profile: profile.insert_before("initiator-finished", note(text=text)))))
    assert max(len(one) for one in frames(pair.initiator.flights[-1])) > 60_000
    assert pair.responder.session.results["note"] == text
