"""The fuzz harnesses: their seeds reach the good paths, and every seed, and a few mutants, come through."""

from __future__ import annotations

import random
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fuzz import engine, frames, noise, tls
from fuzz.insecure import insecure_provider
from fuzz.run import load_seeds, mutate
from nautilus_core import INITIATOR, RESPONDER, PublicKey, Role
from nautilus_core.crypto.suites import AES_128_GCM

HARNESSES = pytest.mark.parametrize("harness", [frames, engine, noise, tls], ids=["frames", "engine", "noise", "tls"])


@HARNESSES
def test_seeds_and_a_few_mutants_come_through(harness: ModuleType) -> None:
    """Whatever is no `HandshakeError` would come out of `one_input`."""
    seeds = list(harness.seeds().values())
    source = random.Random(1)
    inputs = [*seeds, *(mutate(source, seeds) for _ in range(300))]
    assert [harness.one_input(data) for data in inputs] == [None] * len(inputs)


@HARNESSES
def test_the_seeds_in_the_repository_come_through(harness: ModuleType) -> None:
    seeds = load_seeds(harness.__name__.removeprefix("fuzz."))
    assert len(seeds) == len(harness.seeds())
    assert [harness.one_input(data) for data in seeds] == [None] * len(seeds)


@pytest.mark.parametrize("role", [INITIATOR, RESPONDER])
@pytest.mark.parametrize("number", range(len(engine.PROFILES)))
@pytest.mark.parametrize("secure", [True, False])
def test_the_recorded_peer_takes_its_victim_through_handshake_and_channel(
    role: Role, number: int, secure: bool
) -> None:
    """Without edits the whole recording is understood, up to the close; so an edit can reach all of it."""
    if secure:
        victim = engine.play(role, number, b"".join(engine.recorded(role, number, secure=True)))
    else:
        with insecure_provider():
            victim = engine.play(role, number, b"".join(engine.recorded(role, number, secure=False)))
    assert victim.closed
    assert victim.error is None


def test_the_insecure_provider_is_gone_afterwards() -> None:
    before = PublicKey.verify
    with insecure_provider():
        assert AES_128_GCM.new is not AESGCM
        assert PublicKey.verify is not before
    assert AES_128_GCM.new is AESGCM
    assert PublicKey.verify is before
