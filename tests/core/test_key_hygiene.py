"""Secrets are kept no longer than they are needed: after a failure, after completion, once a channel is taken."""

from __future__ import annotations

import gc

import pytest

from nautilus_core import (
    INITIATOR,
    Handshake,
    InvalidMessage,
    LocalProtocolError,
    NautilusStream,
    Stage,
)
from nautilus_core.crypto.traffic_key import TrafficKey
from nautilus_core.step import CustomProtocolStep
from nautilus_core.steps.key_agreement import KeyAgreement
from nautilus_core.testing import Pair

from .helpers import FAST, alice, bob, succeed


def agreement_of(engine: Handshake) -> KeyAgreement:
    """What the key agreement's steps share."""
    agreement = vars_of(engine.steps["initiator-key-share"])["_agreement"]
    assert isinstance(agreement, KeyAgreement)
    return agreement


def vars_of(thing: object) -> dict[str, object]:
    """The attributes of an object with slots."""
    names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    return {name: getattr(thing, name) for name in names if hasattr(thing, name)}


def stream_of(engine: Handshake) -> NautilusStream:
    """The engine's stream."""
    stream = vars_of(engine)["_stream"]
    assert isinstance(stream, NautilusStream)
    return stream


def test_after_a_failure_the_ephemeral_key_is_gone() -> None:
    engine = Handshake(INITIATOR, alice())
    engine.next_event()
    assert vars_of(agreement_of(engine))["_private_key"] is not None
    engine.abort("changed my mind")
    secrets = vars_of(agreement_of(engine))
    assert secrets["_private_key"] is None
    assert secrets["_secret"] is None


@pytest.mark.parametrize("suites", [FAST, ("P256_AES128GCM_SHA256", *FAST)], ids=["guessed right", "retried"])
def test_after_completion_nothing_is_left_of_the_key_agreement(suites: tuple[str, ...]) -> None:
    pair = succeed(Pair(alice(suites=suites), bob()).run())
    for end in (pair.initiator, pair.responder):
        assert end.handshake._context.schedule is None
        secrets = vars_of(agreement_of(end.handshake))
        assert secrets["_private_key"] is None
        assert secrets["_secret"] is None


def test_the_key_of_a_wrong_guess_is_gone_before_another_is_made() -> None:
    agreement = KeyAgreement("X25519")
    agreement.offer(Handshake(INITIATOR, alice())._context, "X25519")
    assert vars_of(agreement)["_private_key"] is not None
    assert agreement.select("P256")
    assert vars_of(agreement)["_private_key"] is None


def test_after_completion_only_the_key_for_a_rejection_is_left_and_not_once_the_channel_is_taken() -> None:
    pair = Pair(alice(), bob()).run()
    initiator, responder = stream_of(pair.initiator.handshake), stream_of(pair.responder.handshake)
    assert isinstance(initiator.reading, TrafficKey)
    assert initiator._writing is None
    assert responder.reading is None
    assert responder._writing is None
    pair.initiator.session.channel()
    assert initiator.reading is None


def test_a_session_whose_channel_was_taken_keeps_nothing_of_it() -> None:
    pair = Pair(alice(datagrams=True), bob(datagrams=True)).run()
    for end in (pair.initiator, pair.responder):
        session = end.session
        kept = session.channel(), session.datagrams()
        secrets = vars_of(session)
        assert secrets["_channel_maker"] is secrets["_datagram_maker"] is secrets["_stream"] is None
        assert not any(thing in kept for thing in secrets.values())


def test_the_name_of_the_retry_is_taken() -> None:
    def impostor() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep(
            "initiator-key-share-retry",
            INITIATOR,
            write=lambda _: b"",
            read=lambda *_: None,
            needs=Stage.KEYS,
        )

    with pytest.raises(LocalProtocolError, match="the name 'initiator-key-share-retry' is taken"):
        alice().insert_before("initiator-finished", impostor)


def test_a_share_of_no_group_is_refused() -> None:
    agreement = KeyAgreement(None)
    agreement.receive(None, b"")
    with pytest.raises(InvalidMessage, match="of no group"):
        agreement.receive(None, b"something")


def test_a_handshake_leaves_nothing_to_the_garbage_collector() -> None:
    initiator, responder = alice(), bob()
    Pair(initiator, responder).run()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            pair = Pair(initiator, responder).run()
            pair.initiator.session.channel()
        del pair
        assert gc.collect() == 0
    finally:
        gc.enable()
