"""Several identities on one node: the initiator's target says which of them answers."""

from __future__ import annotations

from typing import Any

import pytest

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    AlertCode,
    Handshake,
    Identities,
    Identity,
    NegotiationFailed,
    PeerAborted,
    VerifiedPeer,
    trust,
)
from nautilus_core.transcript import replay

from .helpers import ALICE, BOB, MALLORY, alice, bob, run, succeed
from .transcript.recording import Recorded

VAULT, SHOP = Identity.generate(), Identity.generate("ecdsa-p256-sha256")
HOSTS = {"vault.example": VAULT, "shop.example": SHOP, "b\u00fccher.example": MALLORY}


def answered(target: str | None, identities: Identities, **options: Any) -> Identity | None:
    """Who answers an initiator that wants `target`."""
    pair = succeed(run(alice(trust=trust.anyone(anonymous=True), target=target, **options), bob(identity=identities)))
    peer = pair.initiator.session.peer
    if not isinstance(peer, VerifiedPeer):
        return None
    return next(one for one in (BOB, *HOSTS.values()) if one.public == peer.public_key)


@pytest.mark.parametrize("target", sorted(HOSTS))
def test_the_target_selects(target: str) -> None:
    assert answered(target, Identities(BOB, HOSTS)) is HOSTS[target]
    assert answered(target, Identities(None, HOSTS)) is HOSTS[target]
    assert answered(target, Identities(BOB, HOSTS, refuse_unknown=True)) is HOSTS[target]


def test_who_names_nobody_gets_the_default() -> None:
    assert answered(None, Identities(BOB, HOSTS)) is BOB
    assert answered(None, Identities(BOB, HOSTS, refuse_unknown=True)) is BOB


def test_who_names_somebody_else_gets_the_default() -> None:
    assert answered("elsewhere.example", Identities(BOB, HOSTS)) is BOB
    assert answered("elsewhere.example", Identities(ANONYMOUS, HOSTS)) is None


@pytest.mark.parametrize(
    ("target", "identities"),
    [
        ("elsewhere.example", Identities(BOB, HOSTS, refuse_unknown=True)),
        ("elsewhere.example", Identities(None, HOSTS)),
        ("Vault.example", Identities(None, HOSTS)),
        (None, Identities(None, HOSTS)),
    ],
)
def test_or_is_refused(target: str | None, identities: Identities) -> None:
    pair = run(alice(trust=trust.anyone(), target=target), bob(identity=identities))
    error, told = pair.responder.error, pair.initiator.error
    assert isinstance(error, NegotiationFailed)
    assert ("elsewhere.example" in str(error)) == (target == "elsewhere.example")
    assert not any(name in str(error) for name in HOSTS)
    assert error.hint is not None
    assert isinstance(told, PeerAborted)
    assert told.code == AlertCode.HANDSHAKE_FAILURE


def test_a_target_that_is_no_text_is_an_unknown_one() -> None:
    assert Identities(BOB, HOSTS).named(b"\xff\xfe") is BOB
    with pytest.raises(NegotiationFailed):
        Identities(None, HOSTS).named(b"\xff\xfe")


def test_what_the_initiator_can_verify_counts_for_the_identity_that_is_selected() -> None:
    only = trust.pinned(SHOP.public)
    succeed(run(alice(trust=only, target="shop.example"), bob(identity=Identities(BOB, HOSTS))))
    pair = run(alice(trust=only, target="vault.example"), bob(identity=Identities(BOB, HOSTS)))
    assert isinstance(pair.responder.error, NegotiationFailed)
    assert "'ed25519'" in str(pair.responder.error)


def test_handshakes_of_one_profile_do_not_disturb_each_other() -> None:
    profile = bob(identity=Identities(BOB, HOSTS))
    for target, identity in (("vault.example", VAULT), ("shop.example", SHOP), (None, BOB)):
        session = succeed(run(alice(trust=trust.anyone(), target=target), profile)).initiator.session
        assert isinstance(session.peer, VerifiedPeer)
        assert session.peer.public_key == identity.public


def test_the_initiator_is_the_default() -> None:
    pair = succeed(run(alice(identity=Identities(ALICE, {})), bob()))
    assert isinstance(pair.responder.session.peer, VerifiedPeer)
    assert pair.responder.session.peer.public_key == ALICE.public
    with pytest.raises(ValueError, match="no default"):
        Handshake(INITIATOR, alice(identity=Identities(None, HOSTS)))
    Handshake(RESPONDER, alice(identity=Identities(None, HOSTS)))


def test_the_value() -> None:
    with pytest.raises(ValueError, match="nobody"):
        Identities(None, {})
    names = dict(HOSTS)
    identities = Identities(BOB, names)
    names.clear()
    assert list(identities) == [BOB, *HOSTS.values()]
    assert list(Identities(BOB, {"one": BOB, "two": BOB})) == [BOB]
    with pytest.raises(TypeError):
        identities.by_target["new"] = BOB  # type: ignore[index]
    assert dict(bob(identity=identities).offers)["identity"] == ("raw-public-key", "ed25519", "ecdsa-p256-sha256")


def test_it_replays() -> None:
    public = Identities(
        Identity.public_only(BOB.public), {name: Identity.public_only(one.public) for name, one in HOSTS.items()}
    )
    recorded = Recorded(alice(trust=trust.anyone(), target="shop.example"), bob(identity=Identities(BOB, HOSTS)))
    assert replay(recorded.files[1], bob(identity=public)).full
