"""Links with faults, and pairs over them: each fault does what it says, and what must hold is noticed when it does not."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.insecure import insecure_provider
from nautilus_core import (
    INITIATOR,
    RESPONDER,
    Handshake,
    HandshakeTimeout,
    InvalidMessage,
    PeerAborted,
    PeerIdentified,
    trust,
)
from nautilus_core.testing import (
    DAMAGING,
    KINDS,
    Fault,
    FaultyEnd,
    FaultyLink,
    FaultyPair,
    PromiseBroken,
    broken_promises,
    draw_faults,
)

from .helpers import alice, asking, bob, both, note

DATA = bytes(range(10))
END = b""


def through(*faults: Fault) -> list[tuple[float, bytes]]:
    """What comes of `DATA` and, a second later, of `again`; with the times."""
    link = FaultyLink(faults)
    arrived: list[tuple[float, bytes]] = []

    def wait(until: float) -> None:
        while (due := link.next_arrival) is not None and due < until:
            arrived.extend((due, piece) for piece in link.receive(due))

    link.send(DATA, 0.0)
    wait(1.0)
    link.send(b"again", 1.0)
    wait(inf)
    return arrived


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        (None, [(0.0, DATA), (1.0, b"again")]),
        (Fault("split", 4), [(0.0, DATA[:4]), (0.0, DATA[4:]), (1.0, b"again")]),
        (Fault("delay", 4, 250), [(0.0, DATA[:4]), (0.25, DATA[4:]), (1.0, b"again")]),
        (Fault("delay", 4, 2500), [(0.0, DATA[:4]), (2.5, DATA[4:]), (2.5, b"again")]),
        (Fault("drop", 4, 3), [(0.0, DATA[:4] + DATA[7:]), (1.0, b"again")]),
        (Fault("drop", 4, 99), [(0.0, DATA[:4]), (1.0, b"again")]),
        (Fault("duplicate", 4, 2), [(0.0, DATA[:6] + DATA[4:]), (1.0, b"again")]),
        (Fault("reorder", 4, 2), [(0.0, DATA[:4] + DATA[6:] + DATA[4:6]), (1.0, b"again")]),
        (Fault("corrupt", 4, 0x80), [(0.0, DATA[:4] + b"\x84" + DATA[5:]), (1.0, b"again")]),
        (Fault("truncate", 4), [(0.0, DATA[:4])]),
        (Fault("close", 4), [(0.0, DATA[:4]), (0.0, END)]),
        (Fault("close", 12), [(0.0, DATA), (1.0, b"ag"), (1.0, END)]),
        (Fault("split", 99), [(0.0, DATA), (1.0, b"again")]),
    ],
    ids=lambda value: f"{value.kind}-{value.at}-{value.amount}" if isinstance(value, Fault) else "",
)
def test_what_each_fault_does(fault: Fault | None, arrives: list[tuple[float, bytes]]) -> None:
    assert through(*([fault] if fault else [])) == arrives


def test_what_waits_arrives_with_what_is_sent_next_or_after_a_while() -> None:
    link = FaultyLink([Fault("merge", 4, 500)])
    link.send(DATA, 0.0)
    assert link.receive(0.4) == [DATA[:4]]
    link.send(b"again", 0.4)
    assert link.receive(0.4) == [DATA[4:] + b"again"]
    assert through(Fault("merge", 4, 500)) == [(0.0, DATA[:4]), (0.5, DATA[4:]), (1.0, b"again")]


def test_several_faults_do_not_get_into_each_others_way() -> None:
    faults = Fault("drop", 2, 4), Fault("corrupt", 3, 1), Fault("duplicate", 8, 1), Fault("close", 13)
    assert through(*reversed(faults)) == [(0.0, b"\0\1\7\7\x08\x08\x09"), (1.0, b"aga"), (1.0, END)]


@pytest.mark.parametrize("arguments", [("melt", 0), ("split", -1), ("drop", 0, 0), ("corrupt", 0, 256)])
def test_a_fault_that_is_none(arguments: Any) -> None:
    with pytest.raises(ValueError):
        Fault(*arguments)


def test_a_schedule_comes_of_its_seed_alone_and_can_be_pasted() -> None:
    drawn = draw_faults(7, 1000, most=9)
    assert drawn == draw_faults(7, 1000, most=9) == eval(repr(drawn))
    many = [fault for seed in range(300) for fault in draw_faults(seed, 1000, marks=[0, 250, 700])]
    assert {fault.kind for fault in many} == set(KINDS)
    assert all(fault.at < 1000 for fault in many)
    assert sum(fault.at in {0, 250, 700} for fault in many) > len(many) / 3
    assert {fault.amount for fault in many if fault.kind == "drop" and fault.at == 250} >= {450}
    with pytest.raises(ValueError):
        draw_faults(1, 0)


# ------------------------------------------------------------------------------------------------ pairs

REFERENCE = FaultyPair(alice(), bob()).run().verify()


def over(initiator: Any = (), responder: Any = (), **options: Any) -> FaultyPair:
    """Alice and Bob, with these faults on what each of them sends; verified."""
    links = FaultyLink(initiator), FaultyLink(responder)
    return FaultyPair(alice(), bob(), links, **options).run().verify(REFERENCE)


def outcomes(pair: FaultyPair) -> list[str]:
    return [end.outcome for end in pair.ends]


def test_without_faults_both_say_all_and_close() -> None:
    assert outcomes(REFERENCE) == ["closed", "closed"]
    assert REFERENCE.initiator.heard == b"".join(REFERENCE.responder.words)
    assert REFERENCE.responder.heard == b"".join(REFERENCE.initiator.words)
    assert not broken_promises(REFERENCE, REFERENCE)


def test_time_passes_only_where_something_is_late() -> None:
    pair = over([Fault("delay", 5, 29_000)])
    assert outcomes(pair) == ["closed", "closed"]
    assert {time for time, _, _ in pair.initiator.story} == {0.0, 29.0}
    pair = over([Fault("delay", 5, 31_000)])
    assert [type(end.error) for end in pair.ends] == [HandshakeTimeout, HandshakeTimeout]


def test_silence_ends_a_handshake_by_its_deadline_and_a_channel_by_its_application() -> None:
    pair = over([Fault("truncate", 0)], timeout=5.0)
    assert outcomes(pair) == ["handshake: HandshakeTimeout", "handshake: HandshakeTimeout"]
    assert pair.initiator.story[-1][0] == 5.0
    pair = over(responder=[Fault("truncate", 660)], silence=7.0)
    assert outcomes(pair) == ["channel: HandshakeError", "channel: HandshakeError"]
    assert pair.initiator.story[-1][0] == 7.0


def test_the_last_flight_lost_leaves_the_initiator_alone_with_a_session() -> None:
    finished = REFERENCE.initiator.story
    size = sum(event.size for _, _, event in finished if getattr(event, "sender", None) is INITIATOR)  # type: ignore[attr-defined]
    pair = over([Fault("close", size - 1)])
    assert outcomes(pair) == ["channel: PeerAborted", "handshake: PeerAborted"]
    assert pair.initiator.session is not None
    assert pair.responder.session is None
    assert not pair.completed


def test_questions_may_be_answered_late_or_never() -> None:
    def accept(question: PeerIdentified) -> None:
        question.accept()

    def asked(**options: Any) -> FaultyPair:
        ends = alice(trust=trust.ask()), bob(trust=trust.ask())
        return FaultyPair(*ends, answer=accept, **options).run().verify()

    late = asked(answer_after=3.0)
    assert outcomes(late) == ["closed", "closed"]
    assert late.responder.story[-1][0] == 6.0
    never = asked(answer_after=inf)
    assert type(never.initiator.error) is HandshakeTimeout
    assert "PeerIdentified" in str(never.initiator.error)


def test_an_engine_keeps_the_deadline_that_it_has() -> None:
    pair = FaultyPair(
        Handshake(INITIATOR, alice(), deadline=2.0), bob(), (FaultyLink([Fault("truncate", 0)]), FaultyLink())
    )
    pair.run().verify()
    assert pair.initiator.story[-1][0] == 2.0
    assert pair.responder.handshake.deadline == 30.0


PLACES = st.integers(0, 1300)
FAULTS = st.lists(
    st.builds(Fault, st.sampled_from(KINDS), PLACES, st.one_of(st.integers(1, 255), st.just(1))), max_size=6
)


@settings(max_examples=150)
@given(FAULTS, FAULTS)
def test_any_schedule_keeps_all_promises(one: list[Fault], other: list[Fault]) -> None:
    pair = over(one, other)
    if not any(link.damaged for link in pair.links):
        assert outcomes(pair) == ["closed", "closed"]
    assert pair.steps < 100


@settings(max_examples=40)
@given(FAULTS, FAULTS)
def test_steps_of_ones_own_agree_on_what_they_publish(one: list[Fault], other: list[Fault]) -> None:
    def edit(profile: Any) -> Any:
        for step in (note("one"), note("two", RESPONDER), asking("wish", RESPONDER)):
            profile = profile.insert_before("initiator-finished", step)
        return profile

    links = FaultyLink(one), FaultyLink(other)
    pair = FaultyPair(*both(edit), links, answer=lambda question: question.answer(7)).run().verify()
    if pair.completed:
        first, second = (end.session.results for end in pair.ends if end.session)
        assert first == {**second, "wish": 7}


@pytest.mark.parametrize("at", range(0, REFERENCE.links[0].sent, 7))
def test_a_close_at_a_byte(at: int) -> None:
    for faults in ([Fault("close", at)], ()), ((), [Fault("close", at % REFERENCE.links[1].sent)]):
        ends = over(*faults).ends
        assert all(end.error is None or isinstance(end.error, PeerAborted) for end in ends)
        assert any(end.error for end in ends)


# -------------------------------------------------------------- what must hold is noticed when it does not


def test_a_channel_that_verifies_nothing_is_noticed() -> None:
    at = REFERENCE.links[0].sent - 50  # in the last words
    with insecure_provider(), pytest.raises(PromiseBroken) as caught:
        FaultyPair(alice(), bob(), (FaultyLink([Fault("corrupt", at, 1)]), FaultyLink())).run().verify()
    assert "heard what the peer never said" in str(caught.value)
    assert repr(Fault("corrupt", at, 1)) in str(caught.value)


def test_two_views_of_a_handshake_are_noticed() -> None:
    pair = FaultyPair(alice(), bob()).run()
    assert pair.initiator.session is not None
    pair.initiator.session.psk = "another"
    assert any("two views of psk" in broken for broken in broken_promises(pair))
    assert any("without faults" in broken for broken in broken_promises(pair, REFERENCE))


@pytest.mark.parametrize("after", [0.0, 2.0])
def test_an_error_of_another_kind_is_noticed(after: float) -> None:
    def fails(question: Any) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(PromiseBroken, match="no HandshakeError"):
        FaultyPair(alice(trust=trust.ask()), bob(), answer=fails, answer_after=after).run().verify()


def test_an_end_that_never_ends_is_noticed() -> None:
    with pytest.raises(PromiseBroken, match="no end after 10 steps"):
        FaultyPair(alice(), bob(), most_steps=10).run()
    pair = FaultyPair(alice(), bob())
    assert [end.outcome for end in pair.ends] == ["still running"] * 2
    with pytest.raises(PromiseBroken, match="stands still"):
        pair.verify()


def test_a_session_without_the_peer_that_spoke_last_is_noticed() -> None:
    pair = FaultyPair(alice(), bob()).run()
    pair.initiator = FaultyPair(alice(), bob()).initiator
    assert any("who sent the last message, has none" in broken for broken in broken_promises(pair))


def test_data_that_is_missing_though_nothing_was_lost_is_noticed() -> None:
    pair = FaultyPair(alice(), bob()).run()
    pair.responder.heard = b""
    assert any("that this is all" in broken for broken in broken_promises(pair))
    assert any("nothing was lost" in broken for broken in broken_promises(pair, REFERENCE))


def test_damage_is_what_it_says() -> None:
    for kind in KINDS:
        link = FaultyLink([Fault(kind, 0)])
        assert not link.damaged
        link.send(b"data")
        assert link.damaged is (kind in DAMAGING)
    assert isinstance(over([Fault("corrupt", 3, 1)]).responder.error, InvalidMessage)
    assert all(isinstance(end, FaultyEnd) for end in REFERENCE.ends)
