"""Random edits on both sides: the ends complete alike or both fail, and never wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    Context,
    Handshake,
    HandshakeError,
    HandshakeStep,
    InvalidMessage,
    LocalProtocolError,
    PeerAborted,
    Role,
    Stage,
    State,
    StepCompleted,
    StepList,
    StepSkipped,
)

from .helpers import BUILT_IN, Talk, agreed, alice, bob, note, run

NAMES = ("a", "b", "c", "d")
LENGTHS = {"c": 1, "d": 4, "y": 3}
"""In messages, of the steps that may have several."""

ANCHORS = st.sampled_from([*BUILT_IN, *NAMES, "initiator-finished", "initiator-finished", "responder-authentication"])
PROTOCOLS = st.sampled_from([None, None, None, "p", "q"])
NEEDS = st.sampled_from([Stage.PEER, Stage.PEER, Stage.KEYS, Stage.NOTHING])
SIDES = st.sampled_from([(INITIATOR,), (RESPONDER,), tuple(Role), tuple(Role), tuple(Role)])

Make = Callable[[], HandshakeStep[Any]]


def editing_commit(edit: str, anchor: str, make: Make) -> Callable[[Context], None]:
    """A commit that makes one edit, the same on both ends; one that is refused is refused on both."""

    def commit(context: Context) -> None:
        try:
            apply(context.steps, edit, anchor, make)
        except LocalProtocolError:
            context.publish("refused")

    return commit


def apply(steps: StepList, edit: str, anchor: str, make: Make) -> None:
    if edit == "insert before":
        steps.insert_before(anchor, make())
    elif edit == "insert after":
        steps.insert_after(anchor, make())
    elif edit == "replace":
        steps.replace(anchor, make())
    else:
        steps.remove(anchor)


@st.composite
def makers(draw: st.DrawFn, names: tuple[str, ...] = NAMES) -> Make:
    """A function that makes a step of one message or of several.

    How many is the name's: lists are agreed on by names, and of two steps that differ in it the sender of the last message
    learns only after its end (`test_two_steps_of_one_name_and_another_shape`).
    """
    name, sender = draw(st.sampled_from(names)), draw(st.sampled_from(Role))
    required, needs = draw(st.booleans()), draw(NEEDS)
    length = LENGTHS.get(name)
    if length is None:
        return note(name, sender, required=required, needs=needs, protocol_id=draw(PROTOCOLS))

    def talk() -> HandshakeStep[Any]:
        step = Talk(name, sender, length=length, required=required)
        step.needs = needs
        return step

    return talk


EDITS = st.sampled_from(["insert before", "insert after", "insert before", "insert after", "replace", "remove"])


class TwoLists(RuleBasedStateMachine):
    """Two handshakes that have not started; each rule edits one of them or both, and at the end they run."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[Role, Handshake] = {}
        self.editors = 0

    @initialize(protocols=st.sampled_from([((), ()), (("p",), ("p",)), (("p", "q"), ("q", "p")), (("q",), ("p", "q"))]))
    def start(self, protocols: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
        self.ends = {
            INITIATOR: Handshake(INITIATOR, alice(protocols=protocols[0])),
            RESPONDER: Handshake(RESPONDER, bob(protocols=protocols[1])),
        }

    @rule(sides=SIDES, edit=EDITS, anchor=ANCHORS, make=makers())
    def edit(self, sides: tuple[Role, ...], edit: str, anchor: str, make: Make) -> None:
        for side in sides:
            steps = self.ends[side].steps
            before = list(steps)
            try:
                apply(steps, edit, anchor, make)
            except LocalProtocolError:
                assert list(steps) == before

    @rule(
        edit=EDITS,
        place=st.sampled_from([*BUILT_IN, *NAMES]),
        make=makers(("x", "y")),
        sender=st.sampled_from(Role),
        needs=st.sampled_from([Stage.KEYS, Stage.PEER]),
        required=st.booleans(),
        anchor=ANCHORS,
    )
    def edit_in_a_commit(
        self, edit: str, place: str, make: Make, sender: Role, needs: Stage, required: bool, anchor: str
    ) -> None:
        """Both ends get a step whose commit makes the same edit: it runs where both have the same list."""
        self.editors += 1
        commit = editing_commit(edit, place, make)
        editor = note(f"editor-{self.editors}", sender, needs=needs, required=required, commit=commit)
        self.edit(tuple(Role), "insert before", anchor, editor)

    def teardown(self) -> None:
        if not self.ends:
            return
        pair = run(self.ends[INITIATOR], self.ends[RESPONDER])
        ends = (pair.initiator, pair.responder)
        for end in ends:
            assert end.handshake.state in (State.COMPLETED, State.FAILED), f"{end.handshake!r} waits for ever"
            assert end.error is None or isinstance(end.error, HandshakeError), repr(end.error)
        if not any(end.completed for end in ends):
            return
        assert all(end.completed for end in ends), [end.error for end in ends]
        assert agreed(pair)
        assert dict(pair.initiator.session.results) == dict(pair.responder.session.results)
        for end in ends:
            ran = [event.step for event in end.events if isinstance(event, StepCompleted)]
            assert tuple(dict.fromkeys(ran)) == end.session.steps
            skipped = {event.step for event in end.events if isinstance(event, StepSkipped)}
            assert not skipped & set(ran) - {"x", "y"}  # which one commit may insert where another's was skipped
            names = [name for name in end.session.steps if name in BUILT_IN]
            assert tuple(names) == BUILT_IN


TwoLists.TestCase.settings = settings(
    max_examples=300, stateful_step_count=10, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestTwoLists = TwoLists.TestCase


def test_the_machine_reaches_both_outcomes() -> None:
    """A fixed pair of each kind, so that the machine's check is known to be able to see either."""
    for required, completed in ((False, True), (True, False)):
        initiator, responder = Handshake(INITIATOR, alice()), Handshake(RESPONDER, bob())
        apply(initiator.steps, "insert before", "initiator-finished", note("a", required=required))
        pair = run(initiator, responder)
        assert pair.initiator.completed is pair.responder.completed is completed


def test_two_steps_of_one_name_and_another_shape() -> None:
    """Their ends differ on what it is: who reads it fails, and the initiator, which had nothing more to hear, is told so."""
    pair = run(
        Handshake(INITIATOR, alice().insert_before("initiator-finished", note("c"))),
        Handshake(RESPONDER, bob().insert_before("initiator-finished", lambda: Talk("c", INITIATOR, length=1))),
    )
    assert pair.initiator.completed
    assert isinstance(pair.responder.error, InvalidMessage)
    assert pair.responder.error.step == "c"
    assert pair.responder.handshake.session is None
    channel = pair.initiator.session.channel()
    channel.receive_data(pair.responder.flights[-1])
    with pytest.raises(PeerAborted):
        channel.next_event()
