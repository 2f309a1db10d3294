"""Equal events and equal bytes under any split of what is delivered, with and without data after the handshake."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    DataReceived,
    Event,
    Handshake,
    HandshakeCompleted,
    PeerAborted,
    Profile,
    Question,
    Signal,
)
from nautilus_core.testing import End, Pair, RecordingEntropy, ReplayingEntropy, Split, byte_by_byte, whole

from .helpers import Talk, Welcome, alice, asking, bob, both, note, succeed


def rich(profile: Profile) -> Profile:
    """Notes from both sides, a talk, a question on each side, an optional step."""
    return (
        profile.insert_before("initiator-finished", note("note", RESPONDER))
        .insert_before("initiator-finished", lambda: Talk(length=4))
        .insert_before("initiator-finished", asking("ask-reader", INITIATOR))
        .insert_before("initiator-finished", asking("ask-writer", INITIATOR, asker=INITIATOR))
        .insert_before("initiator-finished", note("optional", INITIATOR, required=False))
    )


P256 = "P256_AES128GCM_SHA256"
PROFILES = {
    "plain": both(),
    "retry": (alice(suites=("X25519_AES128GCM_SHA256", P256)), bob(suites=(P256,))),
    "rich": (rich(alice(protocols=("a",))), rich(bob(protocols=("a",))).remove("optional")),
}


class Recording:
    """A handshake delivered whole, to compare others with."""

    def __init__(self, profiles: tuple[Profile, Profile]) -> None:
        self.profiles = profiles
        first, second = RecordingEntropy(), RecordingEntropy()
        self.pair = self._run(first, second, whole)
        self.tapes = first.tape, second.tape

    def again(self, split: Split) -> Pair:
        first, second = self.tapes
        return self._run(ReplayingEntropy(first), ReplayingEntropy(second), split)

    def _run(
        self, first: RecordingEntropy | ReplayingEntropy, second: RecordingEntropy | ReplayingEntropy, split: Split
    ) -> Pair:
        initiating, responding = self.profiles
        initiator = Handshake(INITIATOR, initiating, entropy=first)
        responder = Handshake(RESPONDER, responding, entropy=second)
        return succeed(Pair(initiator, responder, split=split, answer=answer, close=False).run())


def answer(question: Question[int]) -> None:
    assert isinstance(question, Welcome)
    question.answer(len(question.tenant))


RECORDINGS = {name: Recording(profiles) for name, profiles in PROFILES.items()}


def view(end: End) -> tuple[list[Event], bytes, tuple[str, ...], object, object]:
    """All that an application can see of one end."""
    *events, last = end.events
    assert isinstance(last, HandshakeCompleted)
    session = last.session
    return events, session.channel_binding, session.steps, dict(session.results), session.peer


def same(one: Pair, other: Pair) -> None:
    for first, second in ((one.initiator, other.initiator), (one.responder, other.responder)):
        assert view(first) == view(second)
        assert first.flights == second.flights


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_replayed_handshake_has_the_same_bytes(name: str) -> None:
    recording = RECORDINGS[name]
    same(recording.pair, recording.again(whole))


@pytest.mark.parametrize("name", RECORDINGS)
def test_byte_by_byte(name: str) -> None:
    recording = RECORDINGS[name]
    same(recording.pair, recording.again(byte_by_byte))


def cut(places: Iterable[int]) -> Split:
    """Cuts each flight at these places, as fractions of 1000."""
    ordered = sorted(places)

    def split(data: bytes) -> list[bytes]:
        marks = [0, *(place * len(data) // 1000 for place in ordered), len(data)]
        return [data[start:end] for start, end in pairwise(marks)]

    return split


@pytest.mark.parametrize("name", RECORDINGS)
@settings(max_examples=40, deadline=None)
@given(places=st.lists(st.integers(0, 1000), max_size=12))
def test_any_split(name: str, places: list[int]) -> None:
    recording = RECORDINGS[name]
    same(recording.pair, recording.again(cut(places)))


# ---------------------------------------------------------------- with trailing data


def delivered(handshake: Handshake, pieces: Iterable[bytes]) -> tuple[list[Event], bytes]:
    """Feed pieces; hand back all handshake events and what the channel received in all."""
    events: list[Event] = []
    data = b""
    channel = None
    for piece in pieces:
        if not piece:
            continue
        if channel is None:
            handshake.receive_data(piece)
            while not isinstance(event := handshake.next_event(), Signal):
                events.append(event)
                if isinstance(event, HandshakeCompleted):
                    channel = event.session.channel()
                    break
        else:
            channel.receive_data(piece)
        while channel is not None and not isinstance(received := channel.next_event(), Signal):
            assert isinstance(received, DataReceived)
            data += received.data
    return events, data


def late_flight() -> tuple[list[tuple[str, object]], bytes, bytes]:
    """The responder's tape, the initiator's first flight, and its last one with three records right behind it."""
    recorded = RecordingEntropy()
    initiator, responder = Handshake(INITIATOR, alice()), Handshake(RESPONDER, bob(), entropy=recorded)
    while not isinstance(initiator.next_event(), Signal):
        pass
    first = initiator.data_to_send()
    responder.receive_data(first)
    while not isinstance(responder.next_event(), Signal):
        pass
    initiator.receive_data(responder.data_to_send())
    while not isinstance(event := initiator.next_event(), HandshakeCompleted):
        assert event is not NEED_DATA
    channel = event.session.channel()
    for record in (b"one", b"two", b"three" * 1000):
        channel.send_data(record)
    return recorded.tape, first, initiator.data_to_send() + channel.data_to_send()


TAPE, FIRST, LAST = late_flight()
EXPECTED = b"onetwo" + b"three" * 1000


def responder_again() -> Handshake:
    handshake = Handshake(RESPONDER, bob(), entropy=ReplayingEntropy(TAPE))
    handshake.receive_data(FIRST)
    while not isinstance(handshake.next_event(), Signal):
        pass
    return handshake


@pytest.mark.parametrize("split", [whole, byte_by_byte])
def test_bytes_after_the_last_handshake_frame_reach_the_channel(split: Split) -> None:
    events, data = delivered(responder_again(), split(LAST))
    assert [getattr(event, "step", "done") for event in events] == [
        "initiator-authentication",
        "initiator-finished",
        "done",
    ]
    assert data == EXPECTED


@settings(max_examples=60, deadline=None)
@given(places=st.lists(st.integers(0, 1000), max_size=8))
def test_they_reach_it_under_any_split(places: list[int]) -> None:
    events, data = delivered(responder_again(), cut(places)(LAST))
    assert len(events) == 3
    assert data == EXPECTED


def test_an_end_of_the_stream_after_them_reaches_it_too() -> None:
    handshake = responder_again()
    handshake.receive_data(LAST)
    handshake.receive_data(b"")
    while not isinstance(event := handshake.next_event(), HandshakeCompleted):
        pass
    channel = event.session.channel()
    received = channel.next_event()
    assert isinstance(received, DataReceived)
    assert received.data == EXPECTED
    with pytest.raises(PeerAborted, match="without a close"):
        channel.next_event()
