"""Policies against who answers them wrong, and against who looks for the way around: nobody is welcome by a slip."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from nautilus_core import (
    ANONYMOUS,
    AuthenticationFailed,
    Context,
    Identity,
    InMemoryKnownPeers,
    LocalProtocolError,
    PeerIdentified,
    Question,
    TrustPolicy,
    VerifiedPeer,
    profiles,
    trust,
)

from .helpers import ALICE, BOB, MALLORY, alice, bob, run, succeed


def against(policy: TrustPolicy, identity: Any = BOB, **options: Any) -> Any:
    """Alice's end, with this policy, against a responder with this identity."""
    return run(alice(trust=policy), bob(identity=identity, trust=trust.anyone()), **options).initiator


def misused(policy: TrustPolicy, identity: Any = BOB, **options: Any) -> str:
    """That the application's mistake ends the handshake, and admits nobody."""
    end = against(policy, identity, **options)
    assert isinstance(end.error, LocalProtocolError), end.error
    assert end.handshake.session is None
    return str(end.error)


# ------------------------------------------------------------------------------------------- what is no decision


async def a_coroutine() -> None:
    """What a function that is async gives."""


NO_DECISIONS: dict[str, Callable[[], Any]] = {
    "no": lambda: False,
    "yes": lambda: True,
    "no roles in common": set,
    "an empty text": str,
    "a reason": lambda: "not on a Tuesday",
    "a coroutine": a_coroutine,
}


@pytest.mark.parametrize("said", NO_DECISIONS)
def test_what_is_no_decision_is_not_taken_for_a_yes(said: str) -> None:
    for wrap in (lambda policy: policy, trust.any_of, lambda policy: trust.all_of(trust.anyone(), policy)):
        error = misused(wrap(trust.decided_by(lambda peer, context: NO_DECISIONS[said]())))
        assert "raise AuthenticationFailed" in error


@pytest.mark.parametrize("said", ["no", "no roles in common", "an empty text"])
def test_what_a_generator_returns_is_not_taken_for_a_yes(said: str) -> None:
    def decide(peer: Any, context: Context) -> Generator[Question[Any], Any, Any]:
        yield from context.ask(PeerIdentified(peer=peer))
        return NO_DECISIONS[said]()

    policy = trust.decided_by(decide)
    for one in (
        policy,
        trust.all_of(trust.anyone(), policy),
        trust.all_of(policy, trust.anyone()),
        trust.any_of(policy),
    ):
        misused(one, answer=lambda question: question.accept())


class Refusing(TrustPolicy):
    """A policy that says no by its value, as no policy does."""

    def __init__(self, said: Any) -> None:
        self._said = said

    def authorize(self, peer: Any, context: Context) -> Any:
        return self._said


@pytest.mark.parametrize("said", [False, (), ""])
def test_a_policys_own_no_is_not_taken_for_a_yes(said: Any) -> None:
    misused(Refusing(said))


@pytest.mark.parametrize("said", [False, True, "no", 0])
def test_a_question_about_a_peer_takes_no_value_for_a_yes(said: Any) -> None:
    def answer(question: Any) -> None:
        with pytest.raises(LocalProtocolError, match=r"accept\(\).*reject\(reason\)"):
            question.answer(said)
        question.reject("so it was meant")

    for policy in (trust.ask(), trust.known_peers(InMemoryKnownPeers(), name="gateway")):
        end = against(policy, answer=answer)
        assert isinstance(end.error, AuthenticationFailed)
        assert "so it was meant" in str(end.error)
    succeed(run(alice(trust=trust.ask()), bob(trust=trust.anyone()), answer=lambda question: question.answer(None)))


def test_an_async_function_is_no_list_of_dids() -> None:
    async def allowed(did: str) -> bool:
        return False

    class Roster:
        async def __call__(self, did: str) -> bool:
            return False

    for function in (allowed, Roster()):
        with pytest.raises(ValueError, match="async"):
            trust.dids(function)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- somebody else


def met(identity: Identity) -> VerifiedPeer:
    peer = against(trust.anyone(kinds=["raw-public-key", "did"]), identity).session.peer
    assert isinstance(peer, VerifiedPeer)
    return peer


def test_a_policy_cannot_put_another_peer_in_the_place_of_who_has_proved_itself() -> None:
    """A cache of decisions that is looked up by the wrong key, for one."""
    other = met(MALLORY)
    by_did = met(BOB.with_did())
    for answer in (other, by_did):
        policy = trust.decided_by(lambda peer, context, answer=answer: answer)  # type: ignore[misc]
        for one in (policy, trust.any_of(policy), trust.all_of(policy, trust.anyone())):
            assert "another peer" in misused(one)
    anybody = trust.decided_by(lambda peer, context: other, trust.anyone(anonymous=True))
    assert "another peer" in misused(anybody, ANONYMOUS)


# ------------------------------------------------------------------------------------------- ways around


class PostQuantum(TrustPolicy):
    """Trusts anyone whose signature outlives quantum computers."""

    schemes = ("ml-dsa-65",)

    def authorize(self, peer: Any, context: Context) -> None:
        return None


def test_any_of_lends_no_policy_the_schemes_of_another() -> None:
    """`pinned` takes an Ed25519 key, and the other no such signature: together they must not take anybody's."""
    policy = trust.any_of(PostQuantum(), trust.pinned(BOB.public))
    assert against(policy, BOB).completed
    assert against(policy, Identity.generate("ml-dsa-65")).completed
    end = against(policy, MALLORY)
    assert isinstance(end.error, AuthenticationFailed), end.session
    assert end.handshake.session is None
    nested = trust.any_of(trust.all_of(PostQuantum(), trust.anyone()), trust.any_of(trust.pinned(BOB.public)))
    assert isinstance(against(nested, MALLORY).error, AuthenticationFailed)


def test_any_of_lends_no_policy_the_kinds_of_another() -> None:
    """`anyone` takes raw keys, and the other one DID: together they must not take anybody's."""
    did = BOB.with_did()
    policy = trust.any_of(trust.anyone(), trust.dids(str(did.did)))
    for identity in (did, BOB, MALLORY):
        assert against(policy, identity).completed
    end = against(policy, MALLORY.with_did())
    assert isinstance(end.error, AuthenticationFailed)
    assert "not trusted" in str(end.error)


def test_a_refused_alternative_remembers_nobody() -> None:
    store = InMemoryKnownPeers()
    known = trust.known_peers(store, name="gateway", accept_new=True)
    policy = trust.any_of(trust.all_of(trust.any_of(known), trust.pinned(ALICE.public)), trust.pinned(MALLORY.public))
    assert against(policy, MALLORY).completed
    assert store.lookup("gateway") == frozenset()
    policy = trust.any_of(trust.all_of(trust.any_of(known), trust.pinned(BOB.public)), trust.pinned(MALLORY.public))
    assert against(policy, BOB).completed
    assert store.lookup("gateway") == {BOB.peer_id}


class Unread(TrustPolicy):
    """Wants a kind of credential, and has nobody to read it."""

    credential_types = ("token",)

    def authorize(self, peer: Any, context: Context) -> None:
        return None


def test_a_policy_whose_credentials_nobody_reads_is_refused_early() -> None:
    """Else a peer that presents one would find the gap."""
    with pytest.raises(ValueError, match="'token'.*kinds"):
        profiles.nautilus(identity=ALICE, trust=Unread())
    with pytest.raises(ValueError, match="'token'.*kinds"):
        profiles.nautilus(identity=ALICE, trust=trust.any_of(trust.anyone(), Unread()))
