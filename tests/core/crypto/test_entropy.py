"""Entropy: fresh at every draw, of the kind that was asked for; and a tape of it."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nautilus_core import Entropy, Identity
from nautilus_core.crypto.entropy import SYSTEM_ENTROPY
from nautilus_core.testing import RecordingEntropy, ReplayingEntropy
from tests.vectors.model import private_bytes

KINDS: dict[str, type[Any]] = {
    "X25519": X25519PrivateKey,
    "X448": X448PrivateKey,
    "P256": EllipticCurvePrivateKey,
    "P384": EllipticCurvePrivateKey,
    "MLKEM768": MLKEM768PrivateKey,
    "MLKEM1024": MLKEM1024PrivateKey,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize("length", [0, 1, 32, 1000])
def test_random_bytes_have_their_length(length: int) -> None:
    assert len(SYSTEM_ENTROPY.random_bytes(length)) == length


def test_random_bytes_are_fresh() -> None:
    assert len({SYSTEM_ENTROPY.random_bytes(16) for _ in range(100)}) == 100


@every_kind
def test_every_key_is_of_its_kind_and_fresh(kind: str) -> None:
    keys = [SYSTEM_ENTROPY.ephemeral_key(kind) for _ in range(3)]
    assert all(isinstance(key, KINDS[kind]) for key in keys)
    assert len({private_bytes(key) for key in keys}) == 3
    if kind.startswith("P"):
        assert [getattr(key, "curve").key_size for key in keys] == [int(kind[1:])] * 3  # noqa: B009


def test_there_are_no_other_kinds() -> None:
    with pytest.raises(KeyError):
        SYSTEM_ENTROPY.ephemeral_key("P521")


@pytest.mark.parametrize("new", [MLKEM768PrivateKey, MLKEM1024PrivateKey])
def test_every_encapsulation_is_fresh_and_opens(new: type[MLKEM768PrivateKey] | type[MLKEM1024PrivateKey]) -> None:
    private_key = new.generate()
    (secret, ciphertext), other = (SYSTEM_ENTROPY.encapsulate(private_key.public_key()) for _ in range(2))
    assert private_key.decapsulate(ciphertext) == secret
    assert len(secret) == 32
    assert other[0] != secret
    assert other[1] != ciphertext


def test_signatures_are_the_keys_own() -> None:
    identity = Identity.generate()
    assert identity.public.verify(SYSTEM_ENTROPY.sign(identity, b"message"), b"message")


def draw_everything(entropy: Entropy, public_key: Any, identity: Identity) -> list[Any]:
    """One draw of each kind."""
    return [
        entropy.random_bytes(32),
        *[entropy.ephemeral_key(kind) for kind in KINDS],
        entropy.encapsulate(public_key),
        entropy.sign(identity, b"message"),
    ]


def test_a_tape_gives_the_same_again() -> None:
    public_key, identity = MLKEM768PrivateKey.generate().public_key(), Identity.generate("ml-dsa-65")
    recording = RecordingEntropy()
    drawn = draw_everything(recording, public_key, identity)
    assert [kind for kind, _ in recording.tape] == ["random", *KINDS, "encapsulation", "signature"]
    replaying = ReplayingEntropy(recording.tape)
    assert draw_everything(replaying, public_key, identity) == drawn
    with pytest.raises(ValueError, match="nothing more"):
        replaying.random_bytes(1)


def test_a_tape_gives_nothing_else_than_what_it_has() -> None:
    tape = [("random", bytes(32)), ("random", bytes(32)), ("X25519", X25519PrivateKey.generate())]
    with pytest.raises(ValueError, match="32 random bytes where 31"):
        ReplayingEntropy(tape).random_bytes(31)
    with pytest.raises(ValueError, match="has random, but X25519"):
        ReplayingEntropy(tape).ephemeral_key("X25519")
    replaying = ReplayingEntropy(tape[2:])
    with pytest.raises(ValueError, match="has X25519, but P256"):
        replaying.ephemeral_key("P256")
