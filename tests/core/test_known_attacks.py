"""Attacks on others that no other test here plays: docs/security.md lists them all, each with the test that shows its end."""

from __future__ import annotations

import ast
import zlib
from pathlib import Path
from typing import Any

import pytest

import nautilus_core
from nautilus_core import (
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Entropy,
    Handshake,
    Identity,
    Role,
    profiles,
    trust,
)
from nautilus_core.crypto.entropy import SYSTEM_ENTROPY
from nautilus_core.crypto.signatures import SigningKey
from nautilus_core.testing import Pair

from .channels import ends, frames
from .helpers import ALICE, BOB

SUITES = ("X25519_AES128GCM_SHA256",)
MALLORY = Identity.generate()
BOTH = pytest.mark.parametrize("victim", [INITIATOR, RESPONDER], ids=lambda role: role.value)


def pair_of(victim: Role, mine: Any, theirs: Any, entropy: Entropy) -> tuple[Any, Any]:
    """`victim` with the profile `mine` against `theirs`, which draws from `entropy`; both ends, the victim's first."""
    one, other = Handshake(victim, mine), Handshake(victim.peer, theirs, entropy=entropy)
    pair = Pair(one, other) if victim is INITIATOR else Pair(other, one)
    pair.run()
    found = (pair.initiator, pair.responder)
    return found if victim is INITIATOR else found[::-1]


class SigningAs(Entropy):
    """Signs with this identity's key, whoever is presented."""

    __slots__ = ("_identity",)

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def sign(self, key: SigningKey, message: bytes) -> bytes:
        return self._identity.sign(message)


@BOTH
def test_who_has_stolen_my_key_cannot_be_somebody_else_to_me(victim: Role) -> None:
    """Key-compromise impersonation: Alice's own key lets nobody be Bob for Alice."""
    mine = profiles.nautilus(identity=ALICE, trust=trust.pinned(BOB.public), suites=SUITES)
    theirs = profiles.nautilus(identity=Identity.public_only(BOB.public), trust=trust.anyone(), suites=SUITES)
    judged, _ = pair_of(victim, mine, theirs, SigningAs(ALICE))
    assert isinstance(judged.error, AuthenticationFailed)
    assert judged.error.alert == AlertCode.DECRYPT_ERROR
    honest, _ = pair_of(victim, mine, theirs, SigningAs(BOB))
    assert honest.completed


class Same(Entropy):
    """The same randomness and ephemeral keys in every handshake, as far as one can choose them."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[str, Any] = {}

    def random_bytes(self, length: int) -> bytes:
        return bytes(length)

    def ephemeral_key(self, algorithm: str) -> Any:
        return self._keys.setdefault(algorithm, SYSTEM_ENTROPY.ephemeral_key(algorithm))


def test_two_sessions_of_one_in_the_middle_have_nothing_in_common() -> None:
    """Triple handshake: Mallory has Alice and Bob as peers and draws the same in both sessions; a binding tells them apart."""
    drawn = Same()
    anybody = trust.anyone()
    alice, bob, mallory = (
        profiles.nautilus(identity=one, trust=anybody, suites=SUITES) for one in (ALICE, BOB, MALLORY)
    )
    with_alice, _ = pair_of(INITIATOR, alice, mallory, drawn)
    with_bob, _ = pair_of(RESPONDER, bob, mallory, drawn)
    for value in ("handshake_hash", "channel_binding"):
        assert getattr(with_alice.session, value) != getattr(with_bob.session, value)
    assert with_alice.session.export("app", b"", 32) != with_bob.session.export("app", b"", 32)


def test_the_length_of_a_record_says_how_long_its_data_is_and_nothing_else() -> None:
    """CRIME: nothing is compressed, so a guess beside a secret does not shorten anything."""
    lengths = set()
    for data in (bytes(1000), (b"cookie=secret" * 77)[:1000], bytes(range(250)) * 4):
        initiator, _ = ends()
        initiator.send_data(data)
        (record,) = frames(initiator.data_to_send())
        lengths.add(len(record))
        assert len(data) == 1000
        assert len(record) > len(zlib.compress(data)) + 4
    assert len(lengths) == 1


SECRET_WORDS = {"mac", "binder", "binders", "signature", "verify_data"}


def _named(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def test_no_mac_is_compared_byte_by_byte() -> None:
    """`==` on a MAC tells by its time how much of it is right; `hmac.compare_digest` does not."""
    constant = []
    for path in sorted(Path(nautilus_core.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Compare) and any(isinstance(kind, ast.Eq | ast.NotEq) for kind in node.ops):
                compared = {_named(one) for one in (node.left, *node.comparators)}
                assert not compared & SECRET_WORDS, f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Call) and _named(node.func) == "compare_digest":
                constant.append(path.stem)
    assert sorted(set(constant)) == ["channel_binding", "psk", "session_keys"]


def test_nothing_can_be_loaded_by_what_a_peer_or_a_file_says() -> None:
    """No pickle, no YAML, no eval: what is read is MessagePack, JSON and TOML, into types that stand in the code."""
    forbidden = {"pickle", "marshal", "shelve", "yaml", "ctypes", "dill", "jsonpickle"}
    for path in sorted(Path(nautilus_core.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & forbidden, path
