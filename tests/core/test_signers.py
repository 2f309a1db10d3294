"""Delegated signing: the private key lives elsewhere, the engine pauses for its signature, and checks it before it leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nautilus_core import (
    INITIATOR,
    PAUSED,
    RESPONDER,
    AlertCode,
    Handshake,
    HandshakeError,
    HandshakeTimeout,
    Identity,
    LocalProtocolError,
    PeerAborted,
    PublicKey,
    Role,
    SignatureNeeded,
    State,
    VerifiedPeer,
    trust,
)
from nautilus_core.crypto.signatures import CERTIFIED_SCHEMES, SCHEMES
from nautilus_core.testing import Pair
from nautilus_core.transcript import read, replay
from nautilus_core.transcript.lines import Answered

from .certificates import KEYS, NOW, authority
from .certificates import identity as identity_of
from .helpers import ALICE, BOB, MALLORY, alice, bob, drain, run, succeed
from .transcript.recording import Recorded

DELEGATED = Identity.delegated(ALICE.public)


def signing(identity: Identity, seen: list[SignatureNeeded] | None = None) -> Callable[[Any], None]:
    """Answers with the signatures of `identity`."""

    def answer(question: Any) -> None:
        assert isinstance(question, SignatureNeeded)
        if seen is not None:
            seen.append(question)
        question.answer(identity.sign(question.content))

    return answer


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@pytest.mark.parametrize("role", [INITIATOR, RESPONDER], ids=["initiator", "responder"])
def test_either_side_may_sign_elsewhere_with_every_scheme(scheme: str, role: Role) -> None:
    identity = Identity.generate(scheme)
    delegated, seen = Identity.delegated(identity.public), list[SignatureNeeded]()
    options = {"trust": trust.anyone()}
    first = alice(**options, **({"identity": delegated} if role is INITIATOR else {}))
    second = bob(**options, **({"identity": delegated} if role is RESPONDER else {}))
    pair = succeed(run(first, second, answer=signing(identity, seen)))
    end = pair.responder if role is INITIATOR else pair.initiator
    assert isinstance(end.session.peer, VerifiedPeer)
    assert end.session.peer.public_key == identity.public
    (question,) = seen
    assert (question.public_key, question.scheme) == (identity.public, scheme)
    assert question.content.startswith(b" " * 64 + f"nautilus/1 {role.value} authentication".encode() + b"\0")


@pytest.mark.parametrize("scheme", CERTIFIED_SCHEMES)
def test_a_key_that_lives_elsewhere_may_have_a_certificate_or_a_did(scheme: str) -> None:
    root = authority()
    certified = identity_of(root.issue(KEYS[scheme]))
    named = Identity.delegated(certified.public, certified.certificates)
    policy = trust.authorities([root.certificate], name="gateway.example")
    ends = [
        Handshake(INITIATOR, alice(trust=policy), wall_time=NOW),
        Handshake(RESPONDER, bob(identity=named, trust=trust.anyone())),
    ]
    pair = Pair(*ends, answer=signing(certified)).run()
    assert isinstance(peer := pair.initiator.session.peer, VerifiedPeer)
    assert peer.names == ("gateway.example",)
    with pytest.raises(ValueError, match="another key"):
        Identity.delegated(ALICE.public, certified.certificates)
    if scheme in SCHEMES:
        key = Identity.generate(scheme)
        by_did = Identity.delegated(key.public).with_did()
        succeed(run(alice(trust=trust.dids(str(by_did.did))), bob(identity=by_did), answer=signing(key)))


def test_the_wire_is_the_same_as_with_the_key_at_hand() -> None:
    local, elsewhere = run(alice(), bob()), run(alice(identity=DELEGATED), bob(), answer=signing(ALICE))
    sizes = [[len(flight) for flight in end.flights] for end in (local.initiator, local.responder)]
    assert sizes == [[len(flight) for flight in end.flights] for end in (elsewhere.initiator, elsewhere.responder)]


def waiting() -> tuple[Pair, SignatureNeeded]:
    """A handshake that waits for Alice's signature."""
    pair = run(alice(identity=DELEGATED), bob())
    assert pair.initiator.handshake.state is State.PAUSED
    assert pair.initiator.handshake.next_event() is PAUSED
    (question,) = [event for event in pair.initiator.events if isinstance(event, SignatureNeeded)]
    return pair, question


def test_the_answer_may_come_later() -> None:
    pair, question = waiting()
    assert len(pair.initiator.flights) == 1
    question.answer(ALICE.sign(question.content))
    succeed(pair.run())


@pytest.mark.parametrize(
    "wrong",
    [
        MALLORY.sign,
        lambda content: ALICE.sign(content + b"."),
        lambda content: ALICE.sign(content)[:-1],
        lambda content: b"",
        lambda content: "signature",
        lambda content: None,
    ],
    ids=["another key", "another content", "short", "empty", "text", "nothing"],
)
def test_a_wrong_signature_is_never_sent(wrong: Callable[[bytes], Any]) -> None:
    pair, question = waiting()
    answer = wrong(question.content)
    question.answer(answer)
    pair.run()
    error = pair.initiator.error
    assert isinstance(error, LocalProtocolError)
    assert str(error).startswith("initiator-authentication: the signer's answer is no signature")
    assert ALICE.peer_id in str(error)
    assert pair.initiator.handshake.state is State.FAILED
    assert len(pair.initiator.flights) == 2  # the first, and an alert
    told = pair.responder.error
    assert isinstance(told, PeerAborted)
    assert told.code == AlertCode.INTERNAL_ERROR


def test_the_signature_of_another_handshake_is_a_wrong_one() -> None:
    (_, first), (pair, second) = waiting(), waiting()
    second.answer(ALICE.sign(first.content))
    pair.run()
    assert isinstance(pair.initiator.error, LocalProtocolError)


def test_a_signer_that_does_not_want_to() -> None:
    pair, question = waiting()
    question.reject("the card was taken out")
    pair.run()
    error, told = pair.initiator.error, pair.responder.error
    assert type(error) is HandshakeError
    assert str(error) == "initiator-authentication: there is no signature of this side: the card was taken out"
    assert isinstance(told, PeerAborted)
    assert told.code == AlertCode.INTERNAL_ERROR


def test_a_signer_that_is_too_slow() -> None:
    responder = Handshake(RESPONDER, bob(identity=Identity.delegated(BOB.public)), deadline=30.0)
    engine = Handshake(INITIATOR, alice())
    drain(engine)
    responder.receive_data(engine.data_to_send())
    (question,) = [event for event in drain(responder) if isinstance(event, SignatureNeeded)]
    responder.handle_timeout(31.0)
    with pytest.raises(HandshakeTimeout, match="answer to SignatureNeeded"):
        responder.next_event()
    question.answer(BOB.sign(question.content))  # it changes nothing any more
    assert responder.state is State.FAILED


def test_what_a_delegated_identity_cannot() -> None:
    with pytest.raises(LocalProtocolError, match="no private key"):
        DELEGATED.sign(b"")
    with pytest.raises(LocalProtocolError, match="no private key"):
        DELEGATED.to_pem()
    with pytest.raises(ValueError, match="noise-static-25519"):
        Identity.delegated(PublicKey("noise-static-25519", b"\x09" + bytes(31)))
    assert repr(DELEGATED) == repr(ALICE)
    assert not ALICE.signs_elsewhere
    assert not Identity.public_only(ALICE.public).signs_elsewhere


def test_it_is_recorded_with_secrets_and_replays_without_the_signer() -> None:
    recorded = Recorded(alice(identity=DELEGATED), bob(), answer=signing(ALICE))
    for file, profile in zip(recorded.files, recorded.profiles, strict=True):
        assert replay(file, profile).full
    (answered,) = [line for line in read(recorded.files[0]).lines if isinstance(line, Answered)]
    assert answered.verdict == "value"


def test_without_secrets_the_public_part_replays() -> None:
    recorded = Recorded(alice(identity=DELEGATED), bob(), answer=signing(ALICE), secrets=False)
    assert replay(recorded.files[0], recorded.profiles[0]).outcome == "completed"
    (answered,) = [line for line in read(recorded.files[0]).lines if isinstance(line, Answered)]
    assert answered.verdict == "withheld"


@pytest.mark.parametrize("refuse", [True, False], ids=["refused", "wrong"])
def test_a_failure_replays(refuse: bool) -> None:
    def answer(question: Any) -> None:
        if refuse:
            question.reject("no")
        else:
            question.answer(MALLORY.sign(question.content))

    recorded = Recorded(alice(identity=DELEGATED), bob(), answer=answer)
    for file, profile in zip(recorded.files, recorded.profiles, strict=True):
        assert replay(file, profile).outcome == "failed"
