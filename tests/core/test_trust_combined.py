"""Policies of policies, and of a function: who is welcome, what is offered to the peer, and who remembers."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nautilus_core import (
    ANONYMOUS,
    AuthenticationFailed,
    Context,
    Identity,
    InMemoryKnownPeers,
    PeerIdentified,
    Question,
    TrustPolicy,
    VerifiedPeer,
    trust,
)
from nautilus_core.identity.credentials import Presented
from nautilus_core.identity.peers import certify, verify_possession

from .helpers import ALICE, BOB, MALLORY, alice, bob, run, succeed


def against(policy: TrustPolicy, identity: Any = BOB, **options: Any) -> Any:
    """Alice, with this policy, against a responder with this identity."""
    return run(alice(trust=policy), bob(identity=identity, trust=trust.anyone()), **options)


def refused(policy: TrustPolicy, identity: Any = BOB, **options: Any) -> str:
    error = against(policy, identity, **options).initiator.error
    assert isinstance(error, AuthenticationFailed)
    return str(error)


def test_all_of_wants_every_one() -> None:
    store = InMemoryKnownPeers()
    both = trust.all_of(trust.pinned(BOB.public), trust.known_peers(store, name="gateway", accept_new=True))
    succeed(against(both))
    assert store.lookup("gateway") == {BOB.peer_id}
    assert "not a pinned one" in refused(both, MALLORY)
    assert store.lookup("gateway") == {BOB.peer_id}
    with pytest.raises(ValueError, match="at least"):
        trust.all_of()


def test_all_of_offers_what_satisfies_all() -> None:
    ecdsa = Identity.generate("ecdsa-p256-sha256")
    policy = trust.all_of(trust.anyone(), trust.pinned(BOB.public, ecdsa.public))
    assert policy.schemes == ("ed25519", "ecdsa-p256-sha256")
    nobody = trust.all_of(trust.pinned(BOB.public), trust.pinned(ecdsa.public))
    assert nobody.schemes == ()


def test_any_of_takes_the_first_that_trusts() -> None:
    store = InMemoryKnownPeers()
    policy = trust.any_of(trust.pinned(ALICE.public), trust.known_peers(store, name="gateway", accept_new=True))
    succeed(against(policy))
    assert store.lookup("gateway") == {BOB.peer_id}
    pinned = trust.any_of(trust.pinned(BOB.public), trust.known_peers(store, name="other", accept_new=True))
    succeed(against(pinned))
    assert store.lookup("other") == frozenset()
    neither = refused(trust.any_of(trust.pinned(ALICE.public), trust.pinned(MALLORY.peer_id)))
    assert "none of the trust policies trusts the peer" in neither
    assert ALICE.peer_id in neither
    assert MALLORY.peer_id in neither


def test_any_of_admits_an_anonymous_peer_where_one_does() -> None:
    policy = trust.any_of(trust.pinned(BOB.public), trust.anyone(anonymous=True))
    pair = against(policy, ANONYMOUS)
    assert pair.initiator.session.peer is ANONYMOUS
    pair = against(trust.any_of(trust.pinned(BOB.public), trust.anyone()), ANONYMOUS)
    assert not pair.initiator.completed


def test_a_function_decides_after_the_policy() -> None:
    seen: list[Any] = []

    def decide(peer: Any, context: Context) -> None:
        seen.append((peer.peer_id, context.protocol))
        if peer.peer_id == MALLORY.peer_id:
            raise AuthenticationFailed("not on a Tuesday")

    succeed(against(trust.decided_by(decide)))
    assert seen == [(BOB.peer_id, None)]
    assert "not on a Tuesday" in refused(trust.decided_by(decide), MALLORY)
    assert "not a pinned one" in refused(trust.decided_by(decide, trust.pinned(ALICE.public)))


class Roster(Question[bool], frozen=True, kw_only=True):
    """Asks whether somebody is on duty."""

    peer_id: str


@pytest.mark.parametrize("yes", [True, False])
def test_a_functions_answer_may_come_later(yes: bool) -> None:
    def decide(peer: Any, context: Context) -> Generator[Question[Any], Any, None]:
        if not (yield from context.ask(Roster(peer_id=peer.peer_id))):
            raise AuthenticationFailed("off duty")

    def answer(question: Question[Any]) -> None:
        assert isinstance(question, Roster)
        question.answer(yes)

    pair = against(trust.decided_by(decide), answer=answer)
    assert pair.initiator.completed is yes
    if not yes:
        assert "off duty" in str(pair.initiator.error)


def test_a_policy_that_asks_is_one_of_any() -> None:
    def answer(question: Question[Any]) -> None:
        assert isinstance(question, PeerIdentified)
        question.accept()

    succeed(against(trust.any_of(trust.pinned(ALICE.public), trust.ask()), answer=answer))


def test_what_an_authority_certifies_is_on_the_session_until_it_expires() -> None:
    until = datetime(2030, 1, 1, tzinfo=UTC)

    def decide(peer: Any, context: Context) -> VerifiedPeer:
        return certify(peer, ("gateway.example",), until)

    session = against(trust.decided_by(decide)).initiator.session
    assert session.peer.names == ("gateway.example",)
    assert session.valid_until == until
    session.revalidate(until - timedelta(days=1))
    with pytest.raises(AuthenticationFailed, match="expired in the meantime"):
        session.revalidate(until + timedelta(seconds=1))
    with pytest.raises(ValueError, match="time zone"):
        session.revalidate(datetime(2030, 1, 1))  # that is the point
    plain = verify_possession("raw-public-key", Presented((BOB.public,)), BOB.sign(b"x"), b"x")
    assert (plain.names, plain.identifier, plain.valid_until) == ((), None, None)
