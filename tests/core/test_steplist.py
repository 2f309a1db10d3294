"""`StepList`: edits by step or name, before the start and ahead of the cursor, and the validation with positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    Context,
    CustomProtocolStep,
    Handshake,
    HandshakeStep,
    LocalProtocolError,
    Message,
    MessageStep,
    NegotiationFailed,
    Profile,
    Role,
    Stage,
    StepCompleted,
    StepList,
    StepSkipped,
)

from .helpers import BUILT_IN, Talk, alice, bob, both, note, run, succeed


def fresh() -> StepList:
    return Handshake(INITIATOR, alice()).steps


def refused(text: str) -> Any:
    return pytest.raises(LocalProtocolError, match=text)


# ---------------------------------------------------------------- reading


def test_a_list_can_be_read_as_one() -> None:
    steps = fresh()
    assert len(steps) == len(BUILT_IN)
    assert tuple(step.name for step in steps) == steps.names == BUILT_IN
    assert repr(steps) == f"StepList({', '.join(BUILT_IN)})"
    assert "hello" in steps
    assert steps["hello"] in steps
    assert "nobody" not in steps
    assert note("hello")() not in steps
    assert steps.index("suite") == steps.index(steps["suite"]) == 4
    assert [step.name for step in steps.after("responder-finished")] == [
        "initiator-authentication",
        "initiator-finished",
    ]
    assert steps.current.name == "hello"
    with refused("no step 'nobody' in the list"):
        steps.index("nobody")
    with refused("no step 'hello'"):
        steps.index(note("hello")())


def test_a_step_shows_its_name_and_sender() -> None:
    assert repr(note("note", RESPONDER)()) == "<CustomProtocolStep 'note' from responder>"


# ---------------------------------------------------------------- edits


def test_edits_by_name_and_by_step() -> None:
    steps = fresh()
    first, second, third = note("first")(), note("second")(), note("third")()
    steps.insert_before("initiator-finished", first)
    steps.insert_after(first, second)
    steps.insert_before(second, third)
    assert steps.names[-4:] == ("first", "third", "second", "initiator-finished")
    replacement = note("other", RESPONDER)()
    steps.replace(third, replacement)
    assert steps["other"] is replacement
    steps.remove(first)
    steps.remove("second")
    assert steps.names[-2:] == ("other", "initiator-finished")
    steps.remove(replacement)
    assert steps.names == BUILT_IN


def test_append_builds_a_list_from_its_end_only_while_it_stays_valid() -> None:
    steps = fresh()
    with refused(r"position 10, step 'late': nothing can stand after the step that yields the session"):
        steps.append(note("late")())
    assert steps.names == BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_steps_cannot_be_removed(name: str) -> None:
    steps = fresh()
    with refused(f"'{name}' belongs to the protocol and cannot be removed"):
        steps.remove(name)
    assert steps.names == BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_steps_are_replaced_only_by_what_stands_for_the_same(name: str) -> None:
    steps = fresh()
    old = steps[name]

    def successor(**changes: Any) -> CustomProtocolStep[bytes]:
        step = note(name, old.sender, needs=old.needs)()
        step.provides, step.negotiates, step.built_in = old.provides, old.negotiates, True
        for field, value in changes.items():
            setattr(step, field, value)
        return step

    other_stage = Stage.KEYS if old.provides is not Stage.KEYS else Stage.PEER
    for changes in (
        {"name": "other"},
        {"sender": old.sender.peer},
        {"provides": other_stage},
        {"negotiates": not old.negotiates},
        {"required": False},
        {"built_in": False},
    ):
        with refused(f"'{name}' belongs to the protocol|must be required"):
            steps.replace(name, successor(**changes))
    steps.replace(name, successor())
    assert steps.names == BUILT_IN
    assert steps[name] is not old
    with refused("cannot be removed"):
        steps.remove(name)


@pytest.mark.parametrize("anchor", ["nobody", note("hello")()])
def test_an_anchor_that_is_not_in_the_list(anchor: Any) -> None:
    steps = fresh()
    edits: list[Callable[[], None]] = [
        lambda: steps.insert_before(anchor, note()()),
        lambda: steps.insert_after(anchor, note()()),
        lambda: steps.replace(anchor, note()()),
        lambda: steps.remove(anchor),
    ]
    for edit in edits:
        with refused("no step '(nobody|hello)' in the list"):
            edit()
    assert steps.names == BUILT_IN


# ---------------------------------------------------------------- validation


def test_two_steps_of_one_name() -> None:
    steps = fresh()
    steps.insert_before("initiator-finished", note()())
    with refused(r"position 10, step 'note'|position 10: the name 'note' is taken, in 0 hello, 1 suites"):
        steps.insert_before("initiator-finished", note()())
    with refused("the name 'hello' is taken"):
        steps.insert_before("initiator-finished", note("hello")())


@pytest.mark.parametrize("position", range(len(BUILT_IN)))
@pytest.mark.parametrize("needs", [Stage.NOTHING, Stage.KEYS, Stage.PEER])
@pytest.mark.parametrize("sender", Role)
def test_what_a_step_needs_decides_where_it_can_stand(position: int, needs: Stage, sender: Role) -> None:
    established = {6: Stage.KEYS, 7: Stage.KEYS, 8: Stage.KEYS, 9: Stage.PEER}.get(position, Stage.NOTHING)
    steps = fresh()
    step = note("note", sender, needs=needs)()
    if needs > established:
        text = rf"position {position}, step 'note': needs .* is all that is established there; it must stand after position"
    elif position <= 3 and sender is RESPONDER:
        text = rf"position {position}, step 'note': comes from the responder, but before 'hello-response' only"
    elif position == 3:
        text = r"position 3, step 'note': cannot stand right before 'hello-response'"
    else:
        steps.insert_before(BUILT_IN[position], step)
        assert steps.names == (*BUILT_IN[:position], "note", *BUILT_IN[position:])
        return
    with refused(text):
        steps.insert_before(BUILT_IN[position], step)
    assert steps.names == BUILT_IN


def test_the_error_of_a_misplaced_step_says_what_it_needs_and_where_that_is() -> None:
    with refused(
        r"position 5, step 'note': needs both identities, but nothing is all that is established there; "
        r"it must stand after position 9 'initiator-authentication', in 0 hello, .*, 5 note, 6 responder-key-share"
    ):
        fresh().insert_before("responder-key-share", note()())


@pytest.mark.parametrize("options", [{"required": False}, {"protocol_id": "p"}])
def test_optional_and_protocol_bound_steps_stand_after_the_negotiation(options: dict[str, Any]) -> None:
    step = note("note", needs=Stage.NOTHING, **options)
    for anchor in BUILT_IN[:3]:
        with refused("must stand after the step that negotiates protocols"):
            fresh().insert_before(anchor, step())
    fresh().insert_after("hello-response", step())


def test_a_list_without_a_last_step_that_yields_the_session() -> None:
    for steps in ([], [note(needs=Stage.NOTHING)()]):
        with refused("the last step must yield the session"):
            StepList(steps)


def test_a_second_step_that_yields_the_session() -> None:
    first, second = note("first", needs=Stage.NOTHING)(), note("second", needs=Stage.NOTHING)()
    first.provides = second.provides = Stage.SESSION
    with refused("position 1, step 'second': nothing can stand after"):
        StepList([first, second])


class Raw(HandshakeStep[bytes]):
    """A step whose class attributes are set by the test."""

    sender = INITIATOR

    def write(self, context: Context) -> bytes:
        return b""

    def read(self, context: Context, message: bytes) -> None:
        return None


class Typed(Message, frozen=True, tag="typed"):
    number: int


class Untyped(MessageStep[Typed]):
    name, sender = "typed", INITIATOR

    def write(self, context: Context) -> Typed:
        return Typed(1)

    def read(self, context: Context, message: Typed) -> None:
        return None


def made(step: Any, **attributes: Any) -> Any:
    for name, value in attributes.items():
        setattr(step, name, value)
    return step


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (made(Raw()), "1 to 64 ASCII characters: Raw"),
        (made(Raw(), name=""), "1 to 64 ASCII characters"),
        (made(Raw(), name="x" * 65), "1 to 64 ASCII characters"),
        (made(Raw(), name="na\u00efve"), "1 to 64 ASCII characters"),
        (made(Raw(), name=7), "1 to 64 ASCII characters"),
        (made(Raw(), name="x", sender="initiator"), "needs a sender"),
        (made(Raw(), name="x", sender=None), "needs a sender"),
        (made(Raw(), name="x", provides=Stage.PEER, required=False), "so must be required"),
        (made(Raw(), name="x", protocol_id=""), "the protocol id of step 'x' has 1 to 64 bytes"),
        (made(Raw(), name="x", protocol_id="\u20ac" * 22), "the protocol id of step 'x' has 1 to 64 bytes"),
        (made(Untyped()), "needs a message type"),
        (made(Untyped(), message=Typed, name="other"), "must be a Message with tag='other'"),
        (made(Untyped(), message=dict), "must be a Message with tag='typed'"),
    ],
)
def test_a_step_that_is_not_well_defined(step: Any, text: str) -> None:
    steps = fresh()
    with refused(text):
        steps.insert_before("initiator-finished", step)
    assert steps.names == BUILT_IN


def test_a_message_type_without_the_steps_name_as_its_tag() -> None:
    step: CustomProtocolStep[Typed] = CustomProtocolStep(
        "other", INITIATOR, message=Typed, write=lambda context: Typed(1), read=lambda context, message: None
    )
    with refused("must be a Message with tag='other'"):
        fresh().insert_before("initiator-finished", step)


@settings(max_examples=100, deadline=None)
@given(
    edits=st.lists(
        st.tuples(
            st.sampled_from(["insert_before", "insert_after", "replace", "remove"]),
            st.sampled_from([*BUILT_IN, "a", "b", "c"]),
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(Role),
            st.sampled_from([Stage.NOTHING, Stage.KEYS, Stage.PEER]),
            st.booleans(),
        ),
        max_size=10,
    )
)
def test_any_edit_leaves_a_valid_list_or_the_one_before(edits: list[Any]) -> None:
    steps = fresh()
    for edit, anchor, name, sender, needs, required in edits:
        before = list(steps)
        step = note(name, sender, needs=needs, required=required)()
        try:
            if edit == "remove":
                steps.remove(anchor)
            else:
                getattr(steps, edit)(anchor, step)
        except LocalProtocolError:
            assert list(steps) == before
        else:
            assert list(steps) != before
        StepList(steps)
        assert set(BUILT_IN) <= set(steps.names)


# ---------------------------------------------------------------- before the start, and while it runs


def test_the_list_of_one_handshake_is_edited_before_it_starts() -> None:
    initiator, responder = (Handshake(role, profile) for role, profile in zip(Role, both(), strict=True))
    for handshake in (initiator, responder):
        handshake.steps.insert_before("initiator-finished", note()())
    pair = succeed(run(initiator, responder))
    assert pair.initiator.session.steps[-2] == "note"
    assert succeed(run(*both())).initiator.session.steps == BUILT_IN


def test_the_list_is_closed_while_the_handshake_runs() -> None:
    handshake = Handshake(RESPONDER, bob())
    handshake.next_event()
    edits: list[Callable[[], None]] = [
        lambda: handshake.steps.insert_before("initiator-finished", note()()),
        lambda: handshake.steps.append(note()()),
        lambda: handshake.steps.replace("initiator-finished", handshake.steps["initiator-finished"]),
    ]
    for edit in edits:
        with refused("before the handshake starts, or in a step's commit"):
            edit()


@pytest.mark.parametrize("place", ["write", "read"])
def test_the_list_is_closed_in_write_and_read(place: str) -> None:
    def edit(context: Context) -> None:
        context.steps.insert_before("initiator-finished", note("more")())

    def write(context: Context) -> bytes:
        if place == "write":
            edit(context)
        return b"x"

    def read(context: Context, message: bytes) -> None:
        if place == "read":
            edit(context)

    def step() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep("eager", RESPONDER, write=write, read=read)

    pair = run(*both(lambda profile: profile.insert_before("initiator-finished", step)))
    guilty = pair.responder if place == "write" else pair.initiator
    assert isinstance(guilty.error, LocalProtocolError)
    assert "or in a step's commit" in str(guilty.error)


def editing(commit: Any, *others: Any) -> Any:
    def edit(profile: Any) -> Any:
        for factory in (note("editor", commit=commit), *others):
            profile = profile.insert_before("initiator-finished", factory)
        return profile

    return both(edit, protocols=("a", "b"))


@pytest.mark.parametrize("sender", Role)
def test_a_commit_inserts_ahead_of_the_cursor(sender: Role) -> None:
    def commit(context: Context) -> None:
        context.steps.insert_after("editor", note("more", sender)())
        context.steps.insert_before("initiator-finished", Talk("talk", sender))

    pair = succeed(run(*editing(commit)))
    assert pair.initiator.session.steps[-4:] == ("editor", "more", "talk", "initiator-finished")
    assert pair.initiator.session.results == pair.responder.session.results
    assert set(pair.initiator.session.results) == {"editor", "more", "talk"}


def test_a_commit_removes_and_replaces_ahead_of_the_cursor() -> None:
    def commit(context: Context) -> None:
        context.steps.remove("gone")
        context.steps.replace("old", note("new", RESPONDER)())

    pair = succeed(run(*editing(commit, note("gone"), note("old"))))
    assert pair.initiator.session.steps[-3:] == ("editor", "new", "initiator-finished")


def test_a_commit_cannot_touch_what_has_run_or_itself() -> None:
    for edit, text in (
        (
            lambda steps: steps.insert_before("editor", note("more")()),
            "only what stands after the running step 'editor'",
        ),
        (
            lambda steps: steps.insert_after("responder-finished", note("more", needs=Stage.KEYS)()),
            "only what stands after",
        ),
        (lambda steps: steps.remove("editor"), "only what stands after"),
        (lambda steps: steps.replace("editor", note("editor")()), "only what stands after"),
        (lambda steps: steps.remove("initiator-finished"), "cannot be removed"),
        (lambda steps: steps.append(note("more")()), "nothing can stand after"),
    ):

        def commit(context: Context, edit: Any = edit, text: str = text) -> None:
            before = context.steps.names
            with refused(text):
                edit(context.steps)
            assert context.steps.names == before

        succeed(run(*editing(commit)))


def test_an_optional_step_of_another_protocol_that_a_commit_inserts_is_skipped() -> None:
    def commit(context: Context) -> None:
        context.steps.insert_after("editor", note("for-b", protocol_id="b", required=False)())
        context.steps.insert_after("for-b", note("for-a", protocol_id="a", required=False)())

    pair = succeed(run(*editing(commit)))
    assert pair.initiator.session.protocol == "a"
    assert pair.initiator.session.steps[-3:] == ("editor", "for-a", "initiator-finished")
    for end in (pair.initiator, pair.responder):
        assert StepSkipped("for-b", "it runs with 'b' only") in end.events
        ran = [event.step for event in end.events if isinstance(event, StepCompleted)]
        assert tuple(ran) == end.session.steps


def test_a_required_step_of_another_protocol_that_a_commit_inserts_fails_the_handshake() -> None:
    def commit(context: Context) -> None:
        context.steps.insert_after("editor", note("for-b", protocol_id="b")())

    pair = run(*editing(commit))
    assert isinstance(pair.initiator.error, NegotiationFailed)
    assert "required step 'for-b' runs with 'b' only" in str(pair.initiator.error)
    assert not pair.responder.completed


def test_edits_are_made_again_in_each_handshake() -> None:
    def commit(context: Context) -> None:
        context.steps.insert_after("editor", note("more")())

    profiles = editing(commit)
    for _ in range(3):
        assert len(succeed(run(*profiles)).initiator.session.steps) == len(BUILT_IN) + 2


def test_a_commit_before_the_negotiation_edits_what_is_negotiated() -> None:
    def commit(context: Context) -> None:
        context.steps.insert_before("initiator-finished", note("more", RESPONDER)())

    def edit(profile: Profile) -> Profile:
        return profile.insert_before("hello", note("first", needs=Stage.NOTHING, commit=commit))

    pair = succeed(run(*both(edit)))
    assert pair.initiator.session.steps == ("first", *BUILT_IN[:-1], "more", "initiator-finished")


def test_a_required_step_that_a_commit_adds_after_the_hello_has_offered_the_list_is_not_dropped_in_silence() -> None:
    """Too late to be offered: the handshake fails, on whichever side has it."""

    def commit(context: Context) -> None:
        context.steps.insert_before("initiator-finished", note("late")())

    late, plain = (
        note("early", needs=Stage.NOTHING, commit=commit),
        note("early", needs=Stage.NOTHING),
    )
    for one, other in ((late, late), (late, plain), (plain, late)):
        pair = run(alice().insert_after("hello", one), bob().insert_after("hello", other))
        errors = [end.error for end in (pair.initiator, pair.responder)]
        assert [error for error in errors if isinstance(error, NegotiationFailed) and "'late'" in str(error)]
        assert not pair.initiator.completed
        assert not pair.responder.completed
