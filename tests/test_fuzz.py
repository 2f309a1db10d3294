"""The fuzz harnesses: their seeds reach the good paths, and every seed, and its truncations, comes through."""

from __future__ import annotations

import random

import pytest

from fuzz import engine, frames
from fuzz.insecure import insecure_provider
from fuzz.run import mutate
from nautilus_core import INITIATOR, RESPONDER, Handshake
from nautilus_core.testing import Pair


@pytest.mark.parametrize("harness", [frames, engine], ids=["frames", "engine"])
def test_seeds_and_a_few_mutants_come_through(harness: object) -> None:
    seeds: list[bytes] = harness.seeds()  # type: ignore[attr-defined]
    source = random.Random(1)
    inputs = [*seeds, *(mutate(source, seeds) for _ in range(300))]
    outcomes = [harness.one_input(data) for data in inputs]  # type: ignore[attr-defined]
    assert outcomes == [None] * len(inputs)


@pytest.mark.parametrize("secure", [True, False])
def test_the_handshake_that_is_fuzzed_completes(secure: bool) -> None:
    if secure:
        pair = Pair(engine.make_profile(True), engine.make_profile(True)).run()
    else:
        with insecure_provider():
            profile = engine.make_profile(False)
            pair = Pair(Handshake(INITIATOR, profile), Handshake(RESPONDER, profile)).run()
    assert pair.initiator.session.steps[-3:] == ("custom", "talk", "initiator-finished")
    assert pair.responder.session.channel_binding == pair.initiator.session.channel_binding


def test_the_insecure_provider_is_gone_afterwards() -> None:
    with insecure_provider():
        pass
    with pytest.raises(ValueError, match="no suite 'X25519_NULL_SHA256'"):
        engine.make_profile(False)
