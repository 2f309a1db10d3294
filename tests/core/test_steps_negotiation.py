"""Negotiation: version, protocol, suite, schemes, credential types, lists of steps, extensions, target, GREASE."""

from __future__ import annotations

from itertools import product
from typing import Any

import msgspec
import pytest

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Context,
    Handshake,
    Identity,
    InvalidMessage,
    NegotiationFailed,
    Profile,
    Role,
    Stage,
    StepSkipped,
    trust,
)
from nautilus_core.testing import Pair, alert_of

from .helpers import (
    ALICE,
    BOB,
    BUILT_IN,
    HEADER,
    Talk,
    alice,
    altered,
    bob,
    both,
    frames,
    note,
    put,
    run,
    succeed,
    waits,
)


def failed(pair: Pair, error: type[Exception], alert: AlertCode, at: Role, text: str) -> None:
    """Both ends have failed: the one in role `at` with its own error, the other because it was told."""
    end, other = (pair.initiator, pair.responder) if at is INITIATOR else (pair.responder, pair.initiator)
    assert isinstance(end.error, error), end.error
    assert text in str(end.error)
    assert getattr(end.error, "alert", None) == alert
    assert alert_of(other) == alert


# ---------------------------------------------------------------- version, protocol


@pytest.mark.parametrize("versions", [[2], [0, 2, 65_535]])
def test_no_wire_version_in_common(versions: list[int]) -> None:
    pair = run(*both(), tamper=altered("hello", put(1, versions)))
    failed(pair, NegotiationFailed, AlertCode.PROTOCOL_VERSION, RESPONDER, "no wire version in common; expected 1; got")


def test_the_responders_first_protocol_that_was_offered_is_selected() -> None:
    pair = succeed(run(alice(protocols=("a", "b", "c")), bob(protocols=("x", "c", "b"))))
    assert pair.initiator.session.protocol == pair.responder.session.protocol == "c"


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (("a",), ("b",), "expected one of 'b'; got 'a'"),
        (("a",), (), "expected no application protocol at all; got 'a'"),
        ((), ("b",), "expected one of 'b'; got none"),
    ],
)
def test_no_protocol_in_common(one: tuple[str, ...], other: tuple[str, ...], text: str) -> None:
    pair = run(alice(protocols=one), bob(protocols=other))
    failed(pair, NegotiationFailed, AlertCode.NO_APPLICATION_PROTOCOL, RESPONDER, text)


def test_the_responder_may_not_select_no_protocol_where_some_were_offered() -> None:
    pair = run(*both(protocols=("a",)), tamper=altered("hello-response", put(2, None)))
    failed(pair, InvalidMessage, AlertCode.ILLEGAL_PARAMETER, INITIATOR, "not offered")


def test_selecting_what_was_offered_only_as_grease_is_refused() -> None:
    seen: list[str] = []

    def select(role: Role, number: int, data: bytes) -> bytes:
        if role is INITIATOR and number == 0:
            seen.append(msgspec.msgpack.decode(frames(data)[0][HEADER:])[2][-1])
            return data
        return altered("hello-response", put(2, seen[0]))(role, number, data)

    pair = run(*both(protocols=("a",)), tamper=select)
    assert seen[0].startswith("grease-")
    failed(pair, InvalidMessage, AlertCode.ILLEGAL_PARAMETER, INITIATOR, "not offered")


# ---------------------------------------------------------------- suites, schemes, credential types


def test_no_suite_in_common() -> None:
    pair = run(alice(suites=("X25519_AES128GCM_SHA256",)), bob(suites=("P256_AES128GCM_SHA256",)))
    text = "no cipher suite in common; expected one of 'P256_AES128GCM_SHA256'; got 'X25519_AES128GCM_SHA256'"
    failed(pair, NegotiationFailed, AlertCode.HANDSHAKE_FAILURE, RESPONDER, text)


def test_a_scheme_that_the_initiator_trusts_no_key_of() -> None:
    other = Identity.generate("ecdsa-p256-sha256")
    pair = run(alice(trust=trust.pinned(other.public)), bob())
    text = "trusts no key of that kind; expected 'ecdsa-p256-sha256'; got 'ed25519'"
    failed(pair, NegotiationFailed, AlertCode.HANDSHAKE_FAILURE, RESPONDER, text)


def test_a_scheme_that_the_responder_trusts_no_key_of() -> None:
    other = Identity.generate("ecdsa-p256-sha256")
    pair = run(alice(), bob(trust=trust.pinned(other.public)))
    failed(pair, NegotiationFailed, AlertCode.HANDSHAKE_FAILURE, INITIATOR, "trusts no key of that kind")


def test_an_anonymous_initiator_that_is_not_admitted_fails_before_it_says_anything() -> None:
    pair = run(alice(identity=ANONYMOUS), bob())
    text = "hint: it wants to know who we are"
    failed(pair, NegotiationFailed, AlertCode.HANDSHAKE_FAILURE, INITIATOR, text)
    assert len(pair.initiator.flights) == 2  # the first flight, and the alert


def test_an_anonymous_responder_that_is_not_admitted() -> None:
    pair = run(alice(), bob(identity=ANONYMOUS))
    failed(pair, NegotiationFailed, AlertCode.HANDSHAKE_FAILURE, RESPONDER, "does not accept this side's type")


def test_who_claims_to_be_anonymous_though_that_was_not_offered_is_refused() -> None:
    """An initiator that goes on although the responder does not admit anonymous peers."""
    pair = run(
        alice(identity=ANONYMOUS),
        bob(),
        tamper=altered("suite", put(3, ["anonymous"])),
    )
    assert pair.responder.error is not None
    assert not pair.responder.completed
    assert not pair.initiator.completed


def test_schemes_may_differ_between_the_two_sides() -> None:
    other = Identity.generate("ecdsa-p384-sha384")
    pair = succeed(run(alice(trust=trust.pinned(other.public)), bob(identity=other)))
    assert pair.initiator.session.peer.peer_id == other.peer_id
    assert pair.responder.session.peer.peer_id == ALICE.peer_id


# ---------------------------------------------------------------- GREASE


def first_flight(profile: Profile) -> dict[str, list[Any]]:
    handshake = Handshake(INITIATOR, profile)
    handshake.next_event()
    messages = [msgspec.msgpack.decode(one[HEADER:]) for one in frames(handshake.data_to_send())]
    return {message[0]: message[1:] for message in messages}


def greased(names: list[str]) -> list[str]:
    return [name for name in names if name.startswith("grease-")]


def test_every_open_list_of_ours_offers_something_that_nobody_knows() -> None:
    flight = first_flight(alice(protocols=("a",)))
    versions, protocols, _, _, extensions = flight["hello"]
    assert [version for version in versions if version & 0x0F0F == 0x0A0A]
    for names in (protocols, [name for name, _ in extensions], *flight["suites"]):
        assert len(greased(names)) == 1
        assert all(len(name.encode()) <= 64 for name in names)


def test_grease_differs_in_each_handshake() -> None:
    flights = [first_flight(alice(protocols=("a",))) for _ in range(5)]
    assert len({greased(flight["hello"][1])[0] for flight in flights}) == 5
    assert len({greased(flight["suites"][0])[0] for flight in flights}) == 5


def test_the_responders_lists_are_greased_too() -> None:
    pair = succeed(run(*both()))
    suite = msgspec.msgpack.decode(frames(pair.responder.flights[0])[1][HEADER:])
    assert len(greased(suite[2])) == len(greased(suite[3])) == 1


def test_grease_does_not_show_in_errors() -> None:
    pair = run(alice(protocols=("a",)), bob(protocols=("b",)))
    assert "grease" not in str(pair.responder.error)


# ---------------------------------------------------------------- extensions, target


def test_extensions_that_both_sides_know_are_exchanged() -> None:
    pair = succeed(
        run(
            alice(extensions={"colour": b"red", "mine": b"1"}),
            bob(extensions={"yours": b"2", "colour": b"blue"}),
        )
    )
    assert pair.initiator.session.extensions == {"colour": b"blue"}
    assert pair.responder.session.extensions == {"colour": b"red"}


def test_steps_see_the_extensions() -> None:
    seen: dict[Role, dict[str, bytes]] = {}

    def look(context: Context) -> None:
        seen[context.role] = dict(context.extensions)

    def edit(profile: Profile) -> Profile:
        return profile.insert_after("hello-response", note(commit=look, needs=Stage.NOTHING))

    succeed(run(edit(alice(extensions={"x": b"i"})), edit(bob(extensions={"x": b"r"}))))
    assert seen == {INITIATOR: {"x": b"r"}, RESPONDER: {"x": b"i"}}


def test_a_step_that_the_initiator_requires_and_that_does_not_fit_is_refused_by_the_responder() -> None:
    mine, theirs = both(protocols=["b/1"])
    mine = mine.insert_before("initiator-finished", note(protocol_id="a/1"))
    theirs = theirs.insert_before("initiator-finished", note(protocol_id="a/1", required=False))
    pair = run(mine, theirs)
    assert isinstance(pair.responder.error, NegotiationFailed)
    assert "the required step 'note' does not fit the negotiated protocol" in str(pair.responder.error)


def test_an_extension_that_is_answered_twice_is_refused() -> None:
    twice = altered("hello-response", put(5, [["x", b"1"], ["x", b"2"]]))
    error = run(*both(extensions={"x": b""}), tamper=twice).initiator.error
    assert isinstance(error, InvalidMessage)
    assert "a name stands twice" in str(error)


def test_extensions_cannot_be_changed_by_who_reads_them() -> None:
    session = succeed(run(*both(extensions={"x": b"1"}))).initiator.session
    with pytest.raises(TypeError):
        session.extensions["x"] = b"2"  # type: ignore[index]


def test_the_target_reaches_the_responder_and_proves_nothing() -> None:
    pair = succeed(run(alice(target="node-7.example"), bob()))
    assert pair.responder.session.extensions == {"target": b"node-7.example"}
    assert pair.responder.session.peer.peer_id == ALICE.peer_id
    assert pair.initiator.session.extensions == {"target": b""}


# ---------------------------------------------------------------- lists of steps


def after_peer(*factories: Any) -> Any:
    def edit(profile: Profile) -> Profile:
        for factory in factories:
            profile = profile.insert_before("initiator-finished", factory)
        return profile

    return edit


@pytest.mark.parametrize("sender", Role)
def test_a_step_on_both_sides_runs(sender: Role) -> None:
    pair = succeed(run(*both(after_peer(note("note", sender)))))
    assert pair.initiator.session.steps == (*BUILT_IN[:-1], "note", "initiator-finished")
    results = {"note": b"a note from the " + sender.value.encode()}
    assert pair.initiator.session.results == pair.responder.session.results == results


@pytest.mark.parametrize("sender", Role)
@pytest.mark.parametrize("owner", Role)
def test_an_optional_step_of_one_side_alone_is_skipped_and_reported(sender: Role, owner: Role) -> None:
    edit = after_peer(note("note", sender, required=False))
    pair = succeed(run(edit(alice()), bob()) if owner is INITIATOR else run(alice(), edit(bob())))
    assert pair.initiator.session.steps == BUILT_IN
    end = pair.initiator if owner is INITIATOR else pair.responder
    skipped = [event for event in end.events if isinstance(event, StepSkipped)]
    assert skipped == [StepSkipped("note", "the peer does not have it")]
    other = pair.responder if owner is INITIATOR else pair.initiator
    assert not [event for event in other.events if isinstance(event, StepSkipped)]


@pytest.mark.parametrize("sender", Role)
@pytest.mark.parametrize("owner", Role)
def test_a_required_step_of_one_side_alone_fails_on_both(sender: Role, owner: Role) -> None:
    edit = after_peer(note("note", sender))
    pair = run(edit(alice()), bob()) if owner is INITIATOR else run(alice(), edit(bob()))
    failed(pair, NegotiationFailed, AlertCode.STEP_LIST_MISMATCH, RESPONDER, "'note'")
    assert "made from the same profile, or the step be optional" in str(pair.responder.error)


def test_a_different_sender_fails_though_both_have_the_step() -> None:
    for required in (True, False):
        edits = [after_peer(note("note", sender, required=required)) for sender in (INITIATOR, RESPONDER)]
        pair = run(edits[0](alice()), edits[1](bob()))
        text = "the two ends disagree on who sends 'note'; expected the responder; got the initiator"
        failed(pair, NegotiationFailed, AlertCode.STEP_LIST_MISMATCH, RESPONDER, text)


def test_a_different_order_fails() -> None:
    first, second = note("first", INITIATOR), note("second", RESPONDER)
    pair = run(after_peer(first, second)(alice()), after_peer(second, first)(bob()))
    text = "the same steps in different orders; expected 'second'; got 'first'"
    failed(pair, NegotiationFailed, AlertCode.STEP_LIST_MISMATCH, RESPONDER, text)
    assert "wait for the other for ever" in str(pair.responder.error)


def test_optional_steps_of_both_that_only_one_has_do_not_disturb_the_order_of_the_others() -> None:
    shared, mine, yours = note("shared"), note("mine", required=False), note("yours", RESPONDER, required=False)
    pair = succeed(run(after_peer(mine, shared)(alice()), after_peer(shared, yours)(bob())))
    assert pair.initiator.session.steps == (*BUILT_IN[:-1], "shared", "initiator-finished")


def test_one_step_of_several_messages_against_one_of_a_single_message_does_not_hang() -> None:
    for sender in Role:
        talk = after_peer(lambda sender=sender: Talk("note", sender))
        for profiles in (
            (talk(alice()), after_peer(note("note", sender))(bob())),
            (after_peer(note("note", sender))(alice()), talk(bob())),
        ):
            pair = run(*profiles)
            assert isinstance((pair.responder if sender is INITIATOR else pair.initiator).error, InvalidMessage)
            assert not waits(pair.initiator)
            assert not waits(pair.responder)


def test_a_response_that_selects_a_step_that_was_not_offered() -> None:
    def add(fields: list[Any]) -> None:
        fields[4].insert(0, ["mine", "responder", None, True])

    pair = run(*both(), tamper=altered("hello-response", add))
    failed(pair, NegotiationFailed, AlertCode.STEP_LIST_MISMATCH, INITIATOR, "selected the step 'mine', which was not")


@pytest.mark.parametrize("name", BUILT_IN[4:])
def test_a_response_cannot_leave_out_a_built_in_step(name: str) -> None:
    def strip(fields: list[Any]) -> None:
        fields[4] = [step for step in fields[4] if step[0] != name]

    pair = run(*both(), tamper=altered("hello-response", strip))
    failed(pair, NegotiationFailed, AlertCode.STEP_LIST_MISMATCH, INITIATOR, f"will not run the required step '{name}'")


@pytest.mark.parametrize("name", BUILT_IN[4:])
def test_a_hello_cannot_leave_out_a_built_in_step(name: str) -> None:
    def strip(fields: list[Any]) -> None:
        fields[4] = [step for step in fields[4] if step[0] != name]

    pair = run(*both(), tamper=altered("hello", strip))
    failed(pair, NegotiationFailed, AlertCode.STEP_LIST_MISMATCH, RESPONDER, f"the peer has no step '{name}'")


def test_a_response_that_changes_a_sender_or_the_order() -> None:
    def sender(fields: list[Any]) -> None:
        fields[4][-1][1] = "responder"

    def order(fields: list[Any]) -> None:
        fields[4].reverse()

    failed(
        run(*both(), tamper=altered("hello-response", sender)),
        NegotiationFailed,
        AlertCode.STEP_LIST_MISMATCH,
        INITIATOR,
        "disagree on who sends 'initiator-finished'",
    )
    failed(
        run(*both(), tamper=altered("hello-response", order)),
        NegotiationFailed,
        AlertCode.STEP_LIST_MISMATCH,
        INITIATOR,
        "in different orders",
    )


# ---------------------------------------------------------------- steps of one protocol


def test_a_protocol_bound_step_runs_with_its_protocol() -> None:
    edit = after_peer(note("note", protocol_id="a", required=False))
    assert "note" in succeed(run(*both(edit, protocols=("a", "b")))).initiator.session.steps


def test_an_optional_step_of_another_protocol_is_skipped_on_both_sides() -> None:
    edit = after_peer(note("note", protocol_id="b", required=False))
    pair = succeed(run(*both(edit, protocols=("a", "b"))))
    assert pair.initiator.session.steps == BUILT_IN
    for end in (pair.initiator, pair.responder):
        assert StepSkipped("note", "it runs with 'b' only") in end.events


@pytest.mark.parametrize("owners", [(True, True), (True, False), (False, True)])
def test_a_required_step_of_another_protocol_fails(owners: tuple[bool, bool]) -> None:
    edit = after_peer(note("note", protocol_id="b"))
    profiles = [edit(one) if own else one for own, one in zip(owners, both(protocols=("a", "b")), strict=True)]
    pair = run(*profiles)
    failed(pair, NegotiationFailed, AlertCode.STEP_LIST_MISMATCH, RESPONDER, "'note'")


def test_a_step_bound_on_one_side_and_free_on_the_other_runs_where_it_fits() -> None:
    bound, free = note("note", protocol_id="a", required=False), note("note", required=False)
    for first, second in product((bound, free), repeat=2):
        pair = succeed(run(after_peer(first)(alice(protocols=("a",))), after_peer(second)(bob(protocols=("a",)))))
        assert "note" in pair.initiator.session.steps
    other = note("note", protocol_id="b", required=False)
    for profiles in (
        (after_peer(other)(alice(protocols=("a",))), after_peer(free)(bob(protocols=("a",)))),
        (after_peer(free)(alice(protocols=("a",))), after_peer(other)(bob(protocols=("a",)))),
    ):
        assert "note" not in succeed(run(*profiles)).initiator.session.steps


def test_a_response_cannot_select_a_step_of_another_protocol() -> None:
    edit = after_peer(note("note", protocol_id="b", required=False))

    def add(fields: list[Any]) -> None:
        fields[4].insert(-1, ["note", "initiator", "b", False])

    pair = run(*both(edit, protocols=("a", "b")), tamper=altered("hello-response", add))
    failed(pair, NegotiationFailed, AlertCode.STEP_LIST_MISMATCH, INITIATOR, "does not fit the protocol")


# ---------------------------------------------------------------- who refuses whom


def test_each_side_refuses_whom_it_does_not_trust() -> None:
    pair = run(alice(trust=trust.pinned(ALICE.public)), bob())
    failed(pair, AuthenticationFailed, AlertCode.ACCESS_DENIED, INITIATOR, f"got {BOB.peer_id}")
