"""Every kind of credential against every other, in both roles, with and without a pre-shared key: who is who, or why not."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

import pytest

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    Anonymous,
    AuthenticationFailed,
    Handshake,
    Identity,
    NegotiationFailed,
    PreSharedKey,
    Role,
    TrustPolicy,
    VerifiedPeer,
    profiles,
    trust,
)
from nautilus_core.testing import Pair

from .certificates import KEYS, NOW, Made, authority, identity, issue
from .helpers import ALICE, BOB, FAST

KINDS: Final = ("raw-public-key", "x509", "did", "anonymous")
ROOT: Final = authority()
PSK: Final = PreSharedKey("office", bytes(range(32)), initiator="alice", responder="bob", hash="SHA256")
OTHER_KEY: Final = PreSharedKey("office", bytes(32), initiator="alice", responder="bob", hash="SHA256")
LEAVES: Final = {
    INITIATOR: ROOT.issue(KEYS["ed25519"], names=("node.example",)),
    RESPONDER: ROOT.issue(KEYS["ecdsa-p256-sha256"], names=("gateway.example",)),
}
PAIRS = pytest.mark.parametrize(("mine", "theirs"), list(product(KINDS, KINDS)))
WITH_PSK = pytest.mark.parametrize("psk", [None, PSK], ids=["", "psk"])


def presents(role: Role, kind: str) -> Any:
    """How a side says who it is."""
    raw = ALICE if role is INITIATOR else BOB
    leaf: Made = LEAVES[role]
    return {"raw-public-key": raw, "x509": identity(leaf), "did": raw.with_did(), "anonymous": ANONYMOUS}[kind]


def accepts(judge: Role, kind: str) -> TrustPolicy:
    """A policy that wants exactly this kind of the other side."""
    raw = BOB if judge is INITIATOR else ALICE
    did = raw.with_did().did
    assert did is not None
    return {
        "raw-public-key": lambda: trust.pinned(raw.public),
        "x509": lambda: trust.authorities([ROOT.certificate], name="gateway.example" if judge is INITIATOR else None),
        "did": lambda: trust.dids(did),
        "anonymous": lambda: trust.anyone(anonymous=True),
    }[kind]()


def handshake(kinds: dict[Role, str], wants: dict[Role, str], psks: dict[Role, PreSharedKey | None]) -> Pair:
    ends = []
    for role in (INITIATOR, RESPONDER):
        psk = psks[role]
        with_psk: dict[str, Any] = (
            {} if psk is None else {"psks": [psk], "psk_name": "alice" if role is INITIATOR else "bob"}
        )
        profile = profiles.nautilus(
            identity=presents(role, kinds[role]), trust=accepts(role, wants[role]), suites=FAST, **with_psk
        )
        ends.append(Handshake(role, profile, wall_time=NOW))
    return Pair(*ends).run()


def check_identity(peer: object, role: Role, kind: str) -> None:
    """That a session says of `role` what was proved, and no more."""
    if kind == "anonymous":
        assert isinstance(peer, Anonymous)
        return
    own = presents(role, kind)
    assert isinstance(peer, VerifiedPeer)
    assert (peer.credential_type, peer.public_key) == (kind, own.public)
    assert peer.identifier == (own.did if kind == "did" else None)
    expected = ("node.example" if role is INITIATOR else "gateway.example",) if kind == "x509" else ()
    assert peer.names == expected
    assert (peer.valid_until is not None) is (kind == "x509")


@PAIRS
@WITH_PSK
def test_who_presents_what_is_wanted_is_known_by_it(mine: str, theirs: str, psk: PreSharedKey | None) -> None:
    kinds = {INITIATOR: mine, RESPONDER: theirs}
    pair = handshake(kinds, {INITIATOR: theirs, RESPONDER: mine}, {INITIATOR: psk, RESPONDER: psk})
    assert pair.initiator.completed, pair.initiator.error
    assert pair.responder.completed, pair.responder.error
    check_identity(pair.initiator.session.peer, RESPONDER, theirs)
    check_identity(pair.responder.session.peer, INITIATOR, mine)
    assert pair.initiator.session.psk == pair.responder.session.psk == (None if psk is None else "office")


OTHERS: Final = [
    (mine, theirs)
    for mine, theirs in product(KINDS, KINDS)
    if mine != theirs
    and (mine, theirs) != ("raw-public-key", "anonymous")  # whoever admits nobody in particular admits a key
]


@pytest.mark.parametrize(("mine", "theirs"), OTHERS)
@pytest.mark.parametrize("judge", [INITIATOR, RESPONDER], ids=lambda role: role.value)
@WITH_PSK
def test_who_presents_another_kind_is_refused(mine: str, theirs: str, judge: Role, psk: PreSharedKey | None) -> None:
    """`mine` is presented to a policy that wants `theirs`."""
    kinds = {judge.peer: mine, judge: "raw-public-key"}
    pair = handshake(kinds, {judge: theirs, judge.peer: "raw-public-key"}, {INITIATOR: psk, RESPONDER: psk})
    first = pair.initiator if judge is RESPONDER else pair.responder
    # who would have to present it finds out by the other side's offers, before anything is shown
    assert isinstance(first.error, NegotiationFailed)
    assert mine in str(first.error)
    assert pair.initiator.handshake.session is None
    assert pair.responder.handshake.session is None


@PAIRS
def test_another_psk_is_refused_whoever_presents_what(mine: str, theirs: str) -> None:
    kinds = {INITIATOR: mine, RESPONDER: theirs}
    pair = handshake(kinds, {INITIATOR: theirs, RESPONDER: mine}, {INITIATOR: OTHER_KEY, RESPONDER: PSK})
    assert isinstance(pair.responder.error, AuthenticationFailed)
    assert pair.initiator.handshake.session is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "anonymous"])
@pytest.mark.parametrize("judge", [INITIATOR, RESPONDER], ids=lambda role: role.value)
def test_somebody_else_of_the_wanted_kind_is_refused(kind: str, judge: Role) -> None:
    """Mallory has a credential of the same kind that is in order, but is not who is wanted."""
    raw = Identity.generate()
    other = authority(subject="Root")
    leaf = issue(KEYS["ecdsa-p384-sha384"], by=other, names=("gateway.example",))
    mallory = {"raw-public-key": raw, "x509": identity(leaf), "did": raw.with_did()}[kind]
    judging = profiles.nautilus(identity=presents(judge, "raw-public-key"), trust=accepts(judge, kind), suites=FAST)
    fooling = profiles.nautilus(identity=mallory, trust=trust.anyone(), suites=FAST)
    two = (judging, fooling) if judge is INITIATOR else (fooling, judging)
    pair = Pair(*[Handshake(role, profile, wall_time=NOW) for role, profile in zip(Role, two, strict=True)]).run()
    end = pair.initiator if judge is INITIATOR else pair.responder
    assert isinstance(end.error, AuthenticationFailed)
    assert end.handshake.session is None
