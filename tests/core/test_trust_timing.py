"""When trust policies remember, what a failing end of a handshake leaves behind, and what errors hold on to."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from nautilus_core import (
    INITIATOR,
    AuthenticationFailed,
    CustomProtocolStep,
    Handshake,
    HandshakeError,
    Identity,
    InMemoryKnownPeers,
    Profile,
    profiles,
    trust,
)
from nautilus_core.crypto.traffic_key import TrafficKey
from nautilus_core.testing import Pair

from .helpers import alice, bob

HERE, FIRST, SECOND = Identity.generate(), Identity.generate(), Identity.generate()


def dialling(store: InMemoryKnownPeers, **options: Any) -> Profile:
    return profiles.nautilus(identity=HERE, trust=trust.known_peers(store, name="bob", **options))


def listening(identity: Identity) -> Profile:
    return profiles.nautilus(identity=identity, trust=trust.anyone())


def test_of_two_first_contacts_at_once_only_one_is_remembered() -> None:
    store = InMemoryKnownPeers()
    questions: list[Any] = []
    pairs = [Pair(dialling(store), listening(peer), answer=questions.append, close=False) for peer in (FIRST, SECOND)]
    for pair in pairs:
        pair.run()
    for question in questions:
        question.accept()
    for pair in pairs:
        pair.run()
    assert store.lookup("bob") == {FIRST.peer_id}
    assert pairs[0].initiator.completed
    assert isinstance(pairs[1].initiator.error, AuthenticationFailed)


def test_a_peer_that_a_later_step_refuses_is_not_remembered() -> None:
    store = InMemoryKnownPeers()

    def refuse(*_: object) -> None:
        raise AuthenticationFailed("no ticket")

    def ticket() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep("ticket", INITIATOR, write=lambda _: b"", read=refuse)

    responder = profiles.nautilus(identity=FIRST, trust=trust.known_peers(store, accept_new=True))
    pair = Pair(
        profiles.nautilus(identity=HERE, trust=trust.anyone()).insert_before("initiator-finished", ticket),
        responder.insert_before("initiator-finished", ticket),
    ).run()
    assert isinstance(pair.responder.error, AuthenticationFailed)
    assert store.lookup(HERE.peer_id) == frozenset()


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ValueError, match="a name, or None"):
        trust.known_peers(InMemoryKnownPeers(), name="")


def test_a_store_that_fails_fails_the_handshake_and_nothing_is_accepted() -> None:
    class Broken(InMemoryKnownPeers):
        def remember(self, name: str, peer_id: str) -> None:
            raise OSError("disk full")

    responder = profiles.nautilus(identity=FIRST, trust=trust.known_peers(Broken(), accept_new=True))
    pair = Pair(profiles.nautilus(identity=HERE, trust=trust.anyone()), responder).run()
    assert isinstance(pair.responder.error, OSError)
    channel = pair.initiator.session.channel()
    with pytest.raises(HandshakeError, match="an error of its own"):
        channel.next_event()
    assert not channel.confirmed


def test_a_stored_error_holds_no_key_and_its_traceback_does_not_grow() -> None:
    pair = Pair(alice(), bob(), tamper=lambda sender, number, data: data[:-1] + b"\0" if number == 1 else data).run()
    error = pair.responder.error
    assert isinstance(error, HandshakeError)
    engine: Handshake = pair.responder.handshake
    lengths = set()
    for _ in range(5):
        with pytest.raises(HandshakeError) as caught:
            engine.next_event()
        lengths.add(len(caught.traceback))
    assert len(lengths) == 1
    held = [thing for frame in frames_of(error) for thing in frame.f_locals.values()]
    assert not any(isinstance(thing, TrafficKey) for thing in held)
    gc.collect()


def frames_of(error: BaseException | None) -> list[Any]:
    """All frames that an error and what caused it hold on to."""
    frames = []
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            frames.append(traceback.tb_frame)
            traceback = traceback.tb_next
        error = error.__cause__ or error.__context__
    return frames
