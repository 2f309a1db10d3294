"""One handshake of `nautilus/1` with a Noise suite, byte for byte: noise-suite.json.

It is replayed through the engine, and computed again straight-line from private keys and frames with `hmac` and `cryptography`
alone: Noise XX, the key schedule, Finished, the acceptance, the exporter, and some datagrams, sealed in one order and opened in
another.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from nautilus_core import INITIATOR, RESPONDER, Entropy, Handshake, Identity, Role, profiles, trust
from nautilus_core.testing import Pair

from ..helpers import frames

PATH: Final = Path(__file__).parent / "noise-suite.json"
VECTOR: Final[dict[str, Any]] = json.loads(PATH.read_text("utf-8"))
SUITE: Final = "Noise_XX_25519_ChaChaPoly_SHA256"
SEEDS: Final = {INITIATOR: (0x11, 0x21), RESPONDER: (0x12, 0x22)}
"""The bytes that each side's static and ephemeral private keys are made of."""

DATAGRAMS: Final = (
    (INITIATOR, b"first"),
    (INITIATOR, b""),
    (RESPONDER, b"the other way"),
    (INITIATOR, bytes(range(256))),
)


class Counting(Entropy):
    """Random bytes that count, and one ephemeral key."""

    def __init__(self, role: Role) -> None:
        self._next = 0x80 if role is INITIATOR else 0
        self._ephemeral = X25519PrivateKey.from_private_bytes(bytes([SEEDS[role][1]]) * 32)

    def random_bytes(self, length: int) -> bytes:
        data = bytes((self._next + place) & 0xFF for place in range(length))
        self._next = (self._next + length) & 0xFF
        return data

    def ephemeral_key(self, algorithm: str) -> Any:
        return self._ephemeral


def made() -> dict[str, Any]:
    """The vector, by our own engine."""
    ends: dict[Role, Handshake] = {}
    for role in Role:
        static = bytes([SEEDS[role][0]]) * 32
        profile = profiles.nautilus(
            identity=Identity.generate(),
            trust=trust.anyone(),
            suites=[SUITE],
            noise_static=static,
            protocols=["vector/1"],
            datagrams=True,
        )
        ends[role] = Handshake(role, profile, entropy=Counting(role))
    pair = Pair(ends[INITIATOR], ends[RESPONDER], close=False).run()
    flights = {INITIATOR: iter(pair.initiator.flights), RESPONDER: iter(pair.responder.flights)}
    sent = []
    role = INITIATOR
    while flight := next(flights[role], None):
        sent += [{"sender": role.value, "frame": frame.hex()} for frame in frames(flight)]
        role = role.peer
    session = pair.initiator.session
    ways = {INITIATOR: session.datagrams(), RESPONDER: pair.responder.session.datagrams()}
    sealed = [(role, payload, ways[role].seal(payload)) for role, payload in DATAGRAMS]
    for role, payload, datagram in reversed(sealed):
        assert ways[role.peer].open(datagram) == payload
    return {
        "suite": SUITE,
        "keys": {
            role.value: {"static": (bytes([one]) * 32).hex(), "ephemeral": (bytes([two]) * 32).hex()}
            for role, (one, two) in SEEDS.items()
        },
        "frames": sent,
        "channel_binding": session.channel_binding.hex(),
        "export": session.export("vector", b"context", 48).hex(),
        "datagrams": [
            {"sender": role.value, "payload": payload.hex(), "datagram": datagram.hex()}
            for role, payload, datagram in sealed
        ],
    }


def test_the_engine_replays_it() -> None:
    assert made() == VECTOR


# ---------------------------------------------------------------- straight-line


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256."""
    return hmac.digest(key, message, "sha256")


def sha256(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def two(salt: bytes, material: bytes) -> tuple[bytes, bytes]:
    """Noise's HKDF."""
    secret = mac(salt, material)
    first = mac(secret, b"\x01")
    return first, mac(secret, first + b"\x02")


def label(secret: bytes, name: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label with our prefix, up to two blocks."""
    full = b"nautilus1 " + name
    info = length.to_bytes(2, "big") + bytes([len(full)]) + full + bytes([len(context)]) + context
    first = mac(secret, info + b"\x01")
    return (first + mac(secret, first + info + b"\x02"))[:length]


def opened(secret: bytes, number: int, frame: bytes) -> bytes:
    """The plaintext of a sealed frame."""
    key, iv = label(secret, b"key", b"", 32), label(secret, b"iv", b"", 12)
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
    return ChaCha20Poly1305(key).decrypt(nonce, frame[4:], frame[:4])


def noise_xx(prologue: bytes, messages: list[bytes]) -> bytes:
    """Read all three messages of XX, knowing all private keys; gives k1 and k2."""
    key = {
        (role, kind): X25519PrivateKey.from_private_bytes(bytes.fromhex(VECTOR["keys"][role][kind]))
        for role in ("initiator", "responder")
        for kind in ("static", "ephemeral")
    }

    def dh(one: str, other: str) -> bytes:
        return key["initiator", one].exchange(key["responder", other].public_key())

    def public(role: str, kind: str) -> bytes:
        return key[role, kind].public_key().public_bytes_raw()

    def opens(cipher_key: bytes, number: int, ciphertext: bytes) -> bytes:
        nonce = bytes(4) + number.to_bytes(8, "little")
        return ChaCha20Poly1305(cipher_key).decrypt(nonce, ciphertext, h)

    ck = h = SUITE.encode()  # 32 bytes, as long as the hash
    h = sha256(h + prologue)
    assert messages[0] == public("initiator", "ephemeral")
    h = sha256(sha256(h + messages[0]))
    e, s, payload = messages[1][:32], messages[1][32:80], messages[1][80:]
    assert e == public("responder", "ephemeral")
    h = sha256(h + e)
    ck, k = two(ck, dh("ephemeral", "ephemeral"))
    assert opens(k, 0, s) == public("responder", "static")
    h = sha256(h + s)
    ck, k = two(ck, dh("ephemeral", "static"))
    assert opens(k, 0, payload) == b""
    h = sha256(h + payload)
    s, payload = messages[2][:48], messages[2][48:]
    assert opens(k, 1, s) == public("initiator", "static")
    h = sha256(h + s)
    ck, k = two(ck, dh("static", "ephemeral"))
    assert opens(k, 0, payload) == b""
    return b"".join(two(ck, b""))


def test_it_is_what_the_protocol_says() -> None:
    sent = [bytes.fromhex(one["frame"]) for one in VECTOR["frames"]]
    bodies = [msgspec.msgpack.decode(frame[4:]) for frame in sent[:8]]
    names = ["hello", "suites", "initiator-key-share", "hello-response", "suite", "noise-0", "noise-1", "noise-2"]
    assert [body[0] for body in bodies] == names
    assert len(sent) == 11
    shared = noise_xx(b"".join(sent[:5]), [body[1] for body in bodies[5:]])

    zeros = bytes(32)
    early = mac(zeros, zeros)
    handshake = mac(label(early, b"derived", sha256(b""), 32), shared)
    transcript = b"".join(sent[:8])
    traffic = [label(handshake, name, sha256(transcript), 32) for name in (b"i hs traffic", b"r hs traffic")]
    for number, name, frame in ((1, "responder-finished", sent[8]), (0, "initiator-finished", sent[9])):
        expected = mac(label(traffic[number], b"finished", b"", 32), sha256(transcript))
        plaintext = opened(traffic[number], 0, frame)
        assert plaintext == msgspec.msgpack.encode([name, expected])
        transcript += b"\xe1" + len(plaintext).to_bytes(3, "big") + plaintext
    master = mac(label(handshake, b"derived", sha256(b""), 32), zeros)
    assert opened(label(master, b"r ap traffic", sha256(transcript), 32), 0, sent[10]) == b"\x91\xa6accept"
    exporter = label(master, b"exp master", sha256(transcript), 32)

    def export(name: bytes, context: bytes, length: int) -> str:
        return label(label(exporter, name, sha256(b""), 32), b"exporter", sha256(context), length).hex()

    for role in ("initiator", "responder"):
        secret = label(master, role[:1].encode() + b" dg traffic", sha256(transcript), 32)
        mine = [one for one in VECTOR["datagrams"] if one["sender"] == role]
        assert mine
        for number, one in enumerate(mine):
            datagram = bytes.fromhex(one["datagram"])
            assert datagram[:8] == number.to_bytes(8, "big")
            key, iv = label(secret, b"key", b"", 32), label(secret, b"iv", b"", 12)
            nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
            assert ChaCha20Poly1305(key).decrypt(nonce, datagram[8:], None).hex() == one["payload"]
    assert VECTOR["channel_binding"] == export(b"channel binding", b"", 32)
    assert VECTOR["export"] == export(b"vector", b"context", 48)
