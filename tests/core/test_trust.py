"""Trust policies: pinned, known peers, anyone, ask, and one of the user's own."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Context,
    CustomProtocolStep,
    Handshake,
    HandshakeError,
    HandshakeTimeout,
    Identity,
    InMemoryKnownPeers,
    NegotiationFailed,
    PeerAborted,
    PeerIdentified,
    PublicKey,
    Role,
    TrustPolicy,
    VerifiedPeer,
    profiles,
    trust,
)
from nautilus_core.testing import Pair, alert_of

from .helpers import ALICE, BOB, MALLORY, alice, altered, bob, put, run, succeed


def judged(policy: TrustPolicy, judge: Role, **options: Any) -> Pair:
    """A pair one of whose ends has this policy."""
    if judge is INITIATOR:
        return run(alice(trust=policy), bob(), **options)
    return run(alice(), bob(trust=policy), **options)


def other_of(judge: Role) -> Identity:
    return BOB if judge is INITIATOR else ALICE


def refused(pair: Pair, judge: Role, text: str) -> None:
    """The judge refused with this text; the other end was told, but not why."""
    end, other = (pair.initiator, pair.responder) if judge is INITIATOR else (pair.responder, pair.initiator)
    assert isinstance(end.error, AuthenticationFailed)
    assert text in str(end.error)
    assert end.handshake.session is None
    if other.completed:
        with pytest.raises(PeerAborted) as told:
            other.session.channel().next_event()
        assert told.value.code == AlertCode.ACCESS_DENIED
    else:
        assert alert_of(other) == AlertCode.ACCESS_DENIED


# ---------------------------------------------------------------- pinned


@pytest.mark.parametrize("judge", Role)
def test_pinned_by_key_or_by_peer_id(judge: Role) -> None:
    other = other_of(judge)
    for policy in (
        trust.pinned(other.public),
        trust.pinned(other.peer_id),
        trust.pinned(MALLORY.public, other.public),
        trust.pinned(MALLORY.peer_id, other.public),
    ):
        succeed(judged(policy, judge))


@pytest.mark.parametrize("judge", Role)
def test_a_key_that_is_not_pinned_is_refused(judge: Role) -> None:
    other = other_of(judge)
    one = f"the peer's key is not a pinned one; expected {MALLORY.peer_id}; got {other.peer_id}"
    refused(judged(trust.pinned(MALLORY.public), judge), judge, one)
    refused(judged(trust.pinned(MALLORY.peer_id), judge), judge, one)
    refused(
        judged(trust.pinned(MALLORY.public, MALLORY.peer_id, Identity.generate().public), judge), judge, "one of 2 keys"
    )


def test_pinned_keys_say_which_schemes_can_satisfy_them_and_peer_ids_do_not() -> None:
    ecdsa = Identity.generate("ecdsa-p256-sha256")
    assert trust.pinned(ALICE.public).schemes == ("ed25519",)
    assert set(trust.pinned(ALICE.public, ecdsa.public).schemes) == {"ed25519", "ecdsa-p256-sha256"}
    assert trust.pinned(ALICE.public, ecdsa.peer_id).schemes == trust.anyone().schemes
    assert "anonymous" not in trust.pinned(ALICE.public).credential_types


def test_pinned_nobody_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one public key or peer id"):
        trust.pinned()
    for text in ("", "alice", "key:xyz", "anonymous"):
        with pytest.raises(ValueError, match="is no peer id"):
            trust.pinned(text)


# ---------------------------------------------------------------- known peers


@pytest.mark.parametrize("judge", Role)
def test_first_contact_asks_and_is_remembered_when_it_is_accepted(judge: Role) -> None:
    store = InMemoryKnownPeers()
    pair = judged(trust.known_peers(store, name="node-7:4000"), judge)
    end = pair.initiator if judge is INITIATOR else pair.responder
    question = end.events[-1]
    assert isinstance(question, PeerIdentified)
    assert question.name == "node-7:4000"
    assert question.peer.peer_id == other_of(judge).peer_id
    assert store.lookup("node-7:4000") == frozenset()  # not before it is accepted
    question.accept()
    succeed(pair.run())
    assert store.lookup("node-7:4000") == {other_of(judge).peer_id}
    succeed(judged(trust.known_peers(store, name="node-7:4000"), judge))  # without a question


@pytest.mark.parametrize("judge", Role)
def test_first_contact_that_is_rejected_is_not_remembered(judge: Role) -> None:
    store = InMemoryKnownPeers()
    policy = trust.known_peers(store, name="node")
    refused(judged(policy, judge, answer=lambda question: question.reject("who?")), judge, "who?")
    assert store.lookup("node") == frozenset()


@pytest.mark.parametrize("judge", Role)
def test_first_contact_may_be_accepted_without_a_question(judge: Role) -> None:
    store = InMemoryKnownPeers()
    succeed(judged(trust.known_peers(store, name="node", accept_new=True), judge))
    assert store.lookup("node") == {other_of(judge).peer_id}


@pytest.mark.parametrize("judge", Role)
@pytest.mark.parametrize("accept_new", [True, False])
def test_a_changed_key_is_refused_in_any_case(judge: Role, accept_new: bool) -> None:
    store = InMemoryKnownPeers()
    store.remember("node", MALLORY.peer_id)
    policy = trust.known_peers(store, name="node", accept_new=accept_new)
    text = f"node has another key than before; expected {MALLORY.peer_id}; got {other_of(judge).peer_id}"
    refused(judged(policy, judge), judge, text)
    assert store.lookup("node") == {MALLORY.peer_id}


def test_who_listens_looks_a_peer_up_under_its_own_id() -> None:
    store = InMemoryKnownPeers()
    store.remember("node", MALLORY.peer_id)
    succeed(judged(trust.known_peers(store, accept_new=True), RESPONDER))
    assert store.lookup(ALICE.peer_id) == {ALICE.peer_id}
    succeed(judged(trust.known_peers(store), RESPONDER))


def test_several_keys_may_be_known_under_one_name() -> None:
    store = InMemoryKnownPeers()
    for identity in (MALLORY, BOB):
        store.remember("node", identity.peer_id)
    succeed(judged(trust.known_peers(store, name="node"), INITIATOR))


def test_a_peer_is_remembered_only_once_its_message_is_committed() -> None:
    """A peer that is refused, or whose proof is wrong, leaves no trace in the store."""
    store = InMemoryKnownPeers()
    policy = trust.known_peers(store, name="node", accept_new=True)

    def corrupt(role: Role, number: int, data: bytes) -> bytes:
        return data[:-120] + bytes((data[-120] ^ 1,)) + data[-119:] if role is RESPONDER else data

    pair = run(alice(trust=policy), bob(), tamper=corrupt)
    assert not pair.initiator.completed
    assert store.lookup("node") == frozenset()


class WriteOnceStore(InMemoryKnownPeers):
    """Counts how often it is told something."""

    told = 0

    def remember(self, name: str, peer_id: str) -> None:
        type(self).told += 1
        super().remember(name, peer_id)


def test_a_known_peer_is_not_remembered_again() -> None:
    store = WriteOnceStore()
    policy = trust.known_peers(store, name="node", accept_new=True)
    for _ in range(3):
        succeed(judged(policy, INITIATOR))
    assert WriteOnceStore.told == 1


# ---------------------------------------------------------------- anyone, ask


@pytest.mark.parametrize("judge", Role)
def test_anyone_still_says_who_it_is(judge: Role) -> None:
    pair = succeed(judged(trust.anyone(), judge))
    session = (pair.initiator if judge is INITIATOR else pair.responder).session
    assert isinstance(session.peer, VerifiedPeer)
    assert session.peer.public_key == other_of(judge).public


def test_anyone_admits_anonymous_peers_only_when_told_to() -> None:
    assert trust.anyone().credential_types == ("raw-public-key",)
    pair = run(alice(identity=ANONYMOUS), bob(trust=trust.anyone()))
    assert isinstance(pair.initiator.error, NegotiationFailed)
    succeed(run(alice(identity=ANONYMOUS), bob(trust=trust.anyone(anonymous=True))))


def test_ask_about_an_anonymous_peer() -> None:
    pair = run(alice(identity=ANONYMOUS), bob(trust=trust.ask(anonymous=True)))
    question = pair.responder.events[-1]
    assert isinstance(question, PeerIdentified)
    assert question.peer is ANONYMOUS
    question.accept()
    assert succeed(pair.run()).responder.session.peer is ANONYMOUS


def test_both_ends_may_ask() -> None:
    names = []

    def answer(question: PeerIdentified) -> None:
        names.append(question.peer.peer_id)
        question.accept()

    succeed(run(alice(trust=trust.ask()), bob(trust=trust.ask()), answer=answer))
    assert names == [BOB.peer_id, ALICE.peer_id]


def test_nobody_is_asked_about_a_peer_that_did_not_prove_itself() -> None:
    pair = run(alice(trust=trust.ask()), bob(), tamper=altered("responder-key-share", put(2, ALICE.public.data)))
    assert not pair.initiator.completed
    assert not [event for event in pair.initiator.events if isinstance(event, PeerIdentified)]


# ---------------------------------------------------------------- one of the user's own


class OnlyOnWeekdays(TrustPolicy):
    """Looks at the handshake's context."""

    def __init__(self, welcome: bool) -> None:
        self.welcome = welcome
        self.remembered: list[str] = []

    def authorize(self, peer: Any, context: Context) -> None:
        if not self.welcome:
            raise AuthenticationFailed("come back on Monday", alert=1000)

    def remember(self, peer: Any, context: Context) -> None:
        self.remembered.append(peer.peer_id)


def test_a_policy_of_the_users_own() -> None:
    policy = OnlyOnWeekdays(True)
    succeed(judged(policy, INITIATOR))
    assert policy.remembered == [BOB.peer_id]
    policy = OnlyOnWeekdays(False)
    pair = judged(policy, INITIATOR)
    assert isinstance(pair.initiator.error, AuthenticationFailed)
    assert alert_of(pair.responder) == 1000
    assert policy.remembered == []


def test_a_policy_that_breaks_is_the_callers_bug() -> None:
    class Broken(TrustPolicy):
        def authorize(self, peer: Any, context: Context) -> None:
            raise KeyError("the database is gone")

    pair = judged(Broken(), RESPONDER)
    assert isinstance(pair.responder.error, KeyError)
    with pytest.raises(PeerAborted) as told:
        pair.initiator.session.channel().next_event()
    assert told.value.code == AlertCode.INTERNAL_ERROR


# ---------------------------------------------------------------- who was refused


@pytest.mark.parametrize("judge", Role)
def test_the_error_says_who_was_refused(judge: Role) -> None:
    pair = judged(trust.pinned(MALLORY.public), judge)
    end = pair.initiator if judge is INITIATOR else pair.responder
    assert isinstance(end.error, AuthenticationFailed)
    assert end.error.peer_id == other_of(judge).peer_id


def test_it_says_so_where_a_later_step_refuses_and_where_nobody_answers_in_time() -> None:
    def no(context: Context, message: bytes) -> None:
        raise AuthenticationFailed("no")

    def step() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep("no", INITIATOR, write=lambda context: b"", read=no)

    pair = run(*(profile.insert_before("initiator-finished", step) for profile in (alice(), bob())))
    assert isinstance(pair.responder.error, AuthenticationFailed)
    assert pair.responder.error.peer_id == ALICE.peer_id

    asking = Handshake(RESPONDER, bob(trust=trust.ask()), deadline=1.0)
    Pair(alice(), asking, close=False).run()
    asking.handle_timeout(2.0)
    with pytest.raises(HandshakeTimeout) as late:
        while True:
            asking.next_event()
    assert late.value.peer_id == ALICE.peer_id


def test_it_names_nobody_who_has_proved_nothing() -> None:
    forged = Identity.delegated(ALICE.public)
    for identity, answer in (
        (ANONYMOUS, lambda question: question.reject("no")),
        (forged, lambda question: question.reject("there is no signer")),
    ):
        pair = run(alice(identity=identity), bob(trust=trust.ask(anonymous=True)), answer=answer)
        assert isinstance(pair.responder.error, HandshakeError)
        assert pair.responder.error.peer_id is None


def test_noise_names_who_was_refused() -> None:
    keys = {name: X25519PrivateKey.generate() for name in ("alice", "bob", "mallory")}
    public = {name: PublicKey("noise-static-25519", key.public_key().public_bytes_raw()) for name, key in keys.items()}
    name = "Noise_XX_25519_ChaChaPoly_SHA256"
    pair = Pair(
        profiles.noise(name, static=keys["alice"], trust=trust.anyone()),
        profiles.noise(name, static=keys["bob"], trust=trust.pinned(public["mallory"])),
        close=False,
    ).run()
    assert isinstance(pair.responder.error, AuthenticationFailed)
    assert pair.responder.error.peer_id == public["alice"].peer_id
