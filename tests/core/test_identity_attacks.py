"""A man in the middle with a valid identity of its own, against each kind of credential: he never gets another's name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
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


class Instead(Entropy):
    """Signs, in the same handshake, something else than is asked: what `change` makes of it."""

    __slots__ = ("_change",)

    def __init__(self, change: Callable[[bytes], bytes]) -> None:
        self._change = change

    def sign(self, key: SigningKey, message: bytes) -> bytes:
        return key.sign(self._change(message))


CONTEXT_END: Final = 64 + len("nautilus/1 initiator authentication\0")
PRESENTED_BY: Final = {
    "raw-public-key": (BOB.credential_type, BOB.scheme, BOB.credential),
    "another type": ("x509", BOB.scheme, BOB.credential),
    "another scheme": (BOB.credential_type, "ml-dsa-65", BOB.credential),
    "another credential": (BOB.credential_type, BOB.scheme, MALLORY.credential),
}


def presenting(kind: str, scheme: str, credential: bytes) -> bytes:
    """The end of what is signed, as PROTOCOL has it, computed a second time; with the hash of the suite below."""
    text = bytes([len(kind)]) + kind.encode() + bytes([len(scheme)]) + scheme.encode()
    return hashlib.sha256(text + len(credential).to_bytes(3, "big") + credential).digest()


def signing_instead(judge: Role, change: Callable[[bytes], bytes]) -> Any:
    """The judge's end of a handshake with Bob, who signs what `change` makes of what he should sign."""
    options: dict[str, Any] = {"suites": ["X25519_AES128GCM_SHA256"]}
    wanting = profiles.nautilus(identity=MALLORY, trust=trust.pinned(BOB.public), **options)
    signing = profiles.nautilus(identity=BOB, trust=trust.anyone(), **options)
    return run(judge, wanting, signing, Instead(change))[0]


@BOTH
@pytest.mark.parametrize("presented", PRESENTED_BY)
def test_no_unknown_key_share_by_another_credential_for_the_same_key(judge: Role, presented: str) -> None:
    """What Bob signs names the credential that he presents: in the same session nobody can put another name to his key."""
    end = presenting(*PRESENTED_BY[presented])
    judged = signing_instead(judge, lambda message: message[:-32] + end)
    assert judged.completed is (presented == "raw-public-key")
    if not judged.completed:
        assert "did not prove" in str(judged.error)


@BOTH
@pytest.mark.parametrize("change", ["role", "protocol", "transcript", "more", "less"])
def test_each_part_of_what_is_signed_counts(judge: Role, change: str) -> None:
    """In the same session: the role and the protocol in the context, the transcript, and the length of it all."""
    other = f"nautilus/1 {judge.value} authentication\0".encode()
    changes: dict[str, Callable[[bytes], bytes]] = {
        "role": lambda message: message[:64] + other + message[CONTEXT_END:],
        "protocol": lambda message: message.replace(b"nautilus/1", b"nautilus/2"),
        "transcript": lambda message: message[:CONTEXT_END] + bytes(32) + message[CONTEXT_END + 32 :],
        "more": lambda message: message + b"\0",
        "less": lambda message: message[:-1],
    }
    judged = signing_instead(judge, changes[change])
    assert isinstance(judged.error, AuthenticationFailed)
    assert judged.handshake.session is None


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
