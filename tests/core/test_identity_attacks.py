"""A man in the middle with a valid identity of its own, against each kind of credential: he never gets another's name."""

from __future__ import annotations

from typing import Any, Final

import pytest

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    AuthenticationFailed,
    Entropy,
    Handshake,
    Identity,
    PreSharedKey,
    Profile,
    Role,
    TrustPolicy,
    VerifiedPeer,
    profiles,
    trust,
)
from nautilus_core.crypto.signatures import SigningKey
from nautilus_core.testing import Pair, RecordingEntropy

from .certificates import KEYS, NOW, authority, identity
from .helpers import BOB, FAST, MALLORY

ROOT: Final = authority()
LEAF: Final = ROOT.issue(KEYS["ecdsa-p256-sha256"], names=("bob.example",))
VICTIMS: Final = {"raw-public-key": BOB, "x509": identity(LEAF), "did": BOB.with_did()}
BOTH = pytest.mark.parametrize("judge", [INITIATOR, RESPONDER], ids=lambda role: role.value)
KIND = pytest.mark.parametrize("kind", list(VICTIMS))


class Stolen(Entropy):
    """Signs with a signature that somebody else has made elsewhere."""

    __slots__ = ("_signature",)

    def __init__(self, signature: bytes) -> None:
        self._signature = signature

    def sign(self, key: SigningKey, message: bytes) -> bytes:
        return self._signature


def wants(kind: str, judge: Role) -> TrustPolicy:
    """Bob, and nobody else, as this kind."""
    if kind == "x509":
        return trust.authorities([ROOT.certificate], name="bob.example" if judge is INITIATOR else None)
    if kind == "did":
        did = VICTIMS[kind].did
        assert did is not None
        return trust.dids(did)
    return trust.pinned(BOB.public)


def without_key(victim: Identity) -> Identity:
    """What everybody who has met somebody has of him: all but his private key."""
    public = Identity.public_only(victim.public, victim.certificates)
    return public if victim.did is None else public.with_did(victim.did)


def side(own: Identity, policy: TrustPolicy) -> Profile:
    return profiles.nautilus(identity=own, trust=policy, suites=FAST)


def run(judge: Role, judging: Profile, other: Profile, entropy: Entropy | None = None) -> Any:
    """`judging` as `judge` against `other`, which draws from `entropy`; both ends."""
    options: dict[str, Any] = {} if entropy is None else {"entropy": entropy}
    mine = Handshake(judge, judging, wall_time=NOW)
    theirs = Handshake(judge.peer, other, wall_time=NOW, **options)
    pair = Pair(mine, theirs) if judge is INITIATOR else Pair(theirs, mine)
    pair.run()
    return (pair.initiator, pair.responder) if judge is INITIATOR else (pair.responder, pair.initiator)


def proof_of(victim: Identity, role: Role) -> bytes:
    """The signature that `victim` makes as `role` for Mallory, whom it talks to without suspicion."""
    drawn = RecordingEntropy()
    run(role.peer, side(MALLORY, trust.anyone(kinds=list(VICTIMS))), side(victim, trust.anyone()), drawn)
    return bytes(next(value for kind, value in drawn.tape if kind == "signature"))


@KIND
@BOTH
def test_a_transplanted_proof_proves_nothing(kind: str, judge: Role) -> None:
    """Bob has proved himself to Mallory, who shows that proof to Alice in a session of his own."""
    victim = VICTIMS[kind]
    stolen = proof_of(victim, judge.peer)
    judged, _ = run(judge, side(MALLORY, wants(kind, judge)), side(without_key(victim), trust.anyone()), Stolen(stolen))
    assert isinstance(judged.error, AuthenticationFailed)
    assert "did not prove that it owns its key" in str(judged.error)
    assert judged.handshake.session is None


@KIND
@BOTH
def test_a_proof_for_one_role_is_none_for_the_other(kind: str, judge: Role) -> None:
    stolen = proof_of(VICTIMS[kind], judge)
    judged, _ = run(
        judge, side(MALLORY, wants(kind, judge)), side(without_key(VICTIMS[kind]), trust.anyone()), Stolen(stolen)
    )
    assert isinstance(judged.error, AuthenticationFailed)


@BOTH
def test_no_unknown_key_share_by_another_credential_for_the_same_key(judge: Role) -> None:
    """What Bob signs names the credential that he presents: nobody can put another name to his key in the same session."""
    moved: list[bytes] = []

    class Watching(Entropy):
        def sign(self, key: SigningKey, message: bytes) -> bytes:
            moved.append(BOB.sign(message))
            return moved[0]

    honest, _ = run(judge, side(MALLORY, trust.pinned(BOB.public)), side(without_key(BOB), trust.anyone()), Watching())
    assert honest.completed
    did = without_key(BOB).with_did()
    content_of_another_credential = Stolen(moved[0])
    judged, _ = run(judge, side(MALLORY, wants("did", judge)), side(did, trust.anyone()), content_of_another_credential)
    assert isinstance(judged.error, AuthenticationFailed)


@KIND
@BOTH
def test_who_stands_in_between_is_seen_as_himself(kind: str, judge: Role) -> None:
    """Mallory terminates both sessions: each end that admits him knows him by his own key, and never as Bob."""
    judged, _ = run(judge, side(BOB, trust.anyone(kinds=list(VICTIMS))), side(MALLORY, trust.anyone()))
    peer = judged.handshake.session.peer
    assert isinstance(peer, VerifiedPeer)
    assert peer.peer_id == MALLORY.peer_id
    refusing, _ = run(judge, side(BOB, wants(kind, judge)), side(MALLORY, trust.anyone()))
    assert refusing.error is not None
    assert refusing.handshake.session is None


def test_a_reflected_psk_is_not_taken() -> None:
    """A node that initiates and responds with one secret is led back to itself: the names of the direction differ."""
    out = PreSharedKey("office", bytes(range(32)), initiator="node", responder="peer", hash="SHA256")
    back = PreSharedKey("office", bytes(range(32)), initiator="peer", responder="node", hash="SHA256")
    ends = [
        profiles.nautilus(identity=BOB, trust=trust.psk(), suites=FAST, psks=[psk], psk_name="node")
        for psk in (out, back)
    ]
    pair = Pair(ends[0], ends[1]).run()
    assert isinstance(pair.responder.error, AuthenticationFailed)
    assert pair.initiator.handshake.session is None
