"""The 944 official vectors (Cacophony's), through the engine: from the file where it is there, and by one digest always."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import pytest

from nautilus_core import INITIATOR, RESPONDER, Role
from nautilus_core.noise import NoiseProtocol
from nautilus_core.noise.functions import CIPHER_FUNCTIONS, DH_FUNCTIONS, HASH_FUNCTIONS
from nautilus_core.noise.patterns import PATTERNS

from .helpers import MODIFIED, play

VECTORS: Final = Path(__file__).parents[3] / ".." / "shared" / "vectors" / "cacophony.json"
PREFIX: Final = {INITIATOR: "init", RESPONDER: "resp"}

PATTERN_NAMES: Final = (*PATTERNS, *MODIFIED)
NAMES: Final = sorted(
    f"Noise_{pattern}_{dh}_{cipher}_{function}"
    for pattern in PATTERN_NAMES
    for dh in DH_FUNCTIONS
    for cipher in CIPHER_FUNCTIONS
    for function in HASH_FUNCTIONS
)

PROLOGUE: Final = b"John Galt"
PAYLOADS: Final = (
    b"Ludwig von Mises",
    b"Murray Rothbard",
    b"F. A. Hayek",
    b"Carl Menger",
    b"Jean-Baptiste Say",
    b"Eugen B\xf6hm von Bawerk",
)
PSK: Final = b"This is my Austrian perspective!"
STATIC: Final = {
    "25519": {
        INITIATOR: "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1",
        RESPONDER: "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893",
    },
    "448": {
        INITIATOR: (
            "34d564c4be963d1b2a89fcfe83e6a72b5e3f5e3127f9f596ffc7575e"
            "418dfc1f4e827cfc10c9fed38e92ad56ddf8f08571430df2e76d5411"
        ),
        RESPONDER: (
            "a9b45971180882a79b89a3399544a425ef8136d278efa443ed67d3ff"
            "9d36e883bc330c6295bbf6ed73ff6fd10cbed767ad05ce03ebd27c7c"
        ),
    },
}
EPHEMERAL: Final = {
    "25519": {
        INITIATOR: "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
        RESPONDER: "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
    },
    "448": {
        INITIATOR: (
            "7fd26c8b8a0d5c98c85ff9ca1d7bc66d78578b9f2c4c170850748b27"
            "992767e6ea6cc9992a561c9d19dfc342e260c280ef4f3f9b8f879d4e"
        ),
        RESPONDER: (
            "3facf7503ebee252465689f1d4e3b1dd219639ef9de4ffd6049d6d71"
            "a0f62126840febb99042421ce12af6626d98d9170260390fbc8399a5"
        ),
    },
}

DIGEST: Final = "f24b9a79edf1583ba6d77a8f7b6204ea78c167b39791b5f5a5c9aaf5aca7826a"
"""SHA-256 over all vectors in the order of their names: name, messages, handshake hash, each after its length."""


def digest_of(vectors: list[tuple[str, list[bytes], bytes]]) -> str:
    """The digest of vectors."""
    digest = hashlib.sha256()
    for name, messages, handshake_hash in vectors:
        for part in (name.encode(), *messages, handshake_hash):
            digest.update(len(part).to_bytes(2, "big") + part)
    return digest.hexdigest()


def recomputed(name: str) -> tuple[str, list[bytes], bytes]:
    """A vector from the public inputs above."""
    protocol = NoiseProtocol.parse(name)
    pattern, dh = protocol.pattern, protocol.dh
    pairs = {role: dh.key_pair(bytes.fromhex(STATIC[dh.name][role])) for role in Role}
    keys: dict[Role, dict[str, Any]] = {}
    for role in Role:
        keys[role] = {"psks": (PSK,) * pattern.psk_count}
        if pattern.static_of(role):
            keys[role]["static"] = pairs[role]
        if "s" in pattern.pre_messages[role.peer]:
            keys[role]["remote_static"] = pairs[role.peer].public
    ephemerals = {role: bytes.fromhex(EPHEMERAL[dh.name][role]) for role in Role}
    return (name, *play(name, PAYLOADS, PROLOGUE, keys, ephemerals))


def test_all_vectors_recomputed_from_their_inputs_have_the_pinned_digest() -> None:
    assert len(NAMES) == 944
    assert digest_of([recomputed(name) for name in NAMES]) == DIGEST


@pytest.mark.skipif(not VECTORS.is_file(), reason="the official Noise vectors are not beside this project")
class TestTheFile:
    """What stands in the file itself."""

    vectors: Final[dict[str, dict[str, Any]]] = (
        {one["protocol_name"]: one for one in json.loads(VECTORS.read_text("utf-8"))["vectors"]}
        if VECTORS.is_file()
        else {}
    )

    def test_it_has_the_vectors_that_the_digest_is_of(self) -> None:
        assert sorted(self.vectors) == NAMES
        found = [
            (
                name,
                [bytes.fromhex(message["ciphertext"]) for message in self.vectors[name]["messages"]],
                bytes.fromhex(self.vectors[name]["handshake_hash"]),
            )
            for name in NAMES
        ]
        assert digest_of(found) == DIGEST

    @pytest.mark.parametrize("pattern", PATTERN_NAMES)
    def test_every_message_and_handshake_hash(self, pattern: str) -> None:
        named = [vector for name, vector in self.vectors.items() if name.split("_")[1] == pattern]
        assert len(named) == 16
        for vector in named:
            keys: dict[Role, dict[str, Any]] = {}
            for role, prefix in PREFIX.items():
                keys[role] = {"psks": [bytes.fromhex(psk) for psk in vector.get(f"{prefix}_psks", ())]}
                for key, argument in (("static", "static"), ("remote_static", "remote_static")):
                    if f"{prefix}_{key}" in vector:
                        keys[role][argument] = bytes.fromhex(vector[f"{prefix}_{key}"])
            ephemerals = {
                role: bytes.fromhex(vector.get(f"{prefix}_ephemeral", "")) or None for role, prefix in PREFIX.items()
            }
            assert vector["init_prologue"] == vector["resp_prologue"]
            messages, handshake_hash = play(
                vector["protocol_name"],
                tuple(bytes.fromhex(message["payload"]) for message in vector["messages"]),
                bytes.fromhex(vector["init_prologue"]),
                keys,
                ephemerals,
            )
            assert [message.hex() for message in messages] == [message["ciphertext"] for message in vector["messages"]]
            assert handshake_hash.hex() == vector["handshake_hash"]
