"""The programs in docs/noise.md run as they stand there: the old way and the new one, against a responder of the other kind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from noise.connection import Keypair, NoiseConnection

from nautilus_core import RESPONDER, AuthenticationFailed, Handshake, Profile, profiles, trust
from nautilus_core.testing import Pair

PAGE = (Path(__file__).parent.parent / "docs" / "noise.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NAME = "Noise_XX_25519_ChaChaPoly_SHA256"
PRIVATE = X25519PrivateKey.generate().private_bytes_raw()


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """All programs, run in order in one module."""
    found: dict[str, Any] = {}
    for program in PROGRAMS:
        exec(compile(program, "docs/noise.md", "exec"), found)
    return found


def test_there_are_seven() -> None:
    assert len(PROGRAMS) == 7


def test_the_new_way_speaks_with_the_old_one(names: dict[str, Any]) -> None:
    old: Any = NoiseConnection.from_name(NAME.encode())
    old.set_as_responder()
    old.set_keypair_from_private_bytes(Keypair.STATIC, PRIVATE)
    old.start_handshake()

    def exchange(data: bytes) -> bytes:
        assert old.read_message(data[2:]) == b""
        if old.handshake_finished:
            return b""
        answer = bytes(old.write_message())
        return len(answer).to_bytes(2, "big") + answer

    sealed = names["new_initiator"](PRIVATE, exchange)
    assert old.decrypt(sealed[2:]) == b"hello"


def test_the_old_way_speaks_with_the_new_one(names: dict[str, Any]) -> None:
    engine = Handshake(RESPONDER, profiles.noise(NAME, static=PRIVATE, trust=trust.anyone()))

    def exchange(data: bytes) -> bytes:
        engine.receive_data(len(data).to_bytes(2, "big") + data)
        engine.next_event()
        return engine.data_to_send()[2:]

    sealed = names["old_initiator"](PRIVATE, exchange)
    while engine.session is None:
        engine.next_event()
    channel = engine.session.channel()
    channel.receive_data(len(sealed).to_bytes(2, "big") + sealed)
    event: Any = channel.next_event()
    assert event.data == b"hello"


def test_what_is_said_of_the_old_way(names: dict[str, Any]) -> None:
    """A wrong tag: an exception of `cryptography` comes out."""

    def exchange(data: bytes) -> bytes:
        return bytes(96)[:31] + b"\x09" + bytes(64)

    with pytest.raises(InvalidTag):
        names["old_initiator"](PRIVATE, exchange)


def test_the_states_alone(names: dict[str, Any]) -> None:
    psk = bytes(range(32))
    old: Any = NoiseConnection.from_name(b"Noise_NNpsk0_25519_ChaChaPoly_SHA256")
    old.set_as_responder()
    old.set_psks(psk)
    old.set_prologue(b"mine/1")
    old.start_handshake()

    def exchange(data: bytes) -> bytes:
        old.read_message(data)
        return bytes(old.write_message())

    assert old.decrypt(names["own_framing"](psk, exchange)) == b"hello"
    assert all(hasattr(old, name) for name in ("rekey_inbound_cipher", "rekey_outbound_cipher", "get_handshake_hash"))


def test_the_payload_hook(names: dict[str, Any]) -> None:
    def end(own: bytes, wanted: set[bytes]) -> Profile:
        hook = names["Name"](own, wanted)
        return profiles.noise(NAME, static=PRIVATE, trust=trust.anyone(), payloads={1: hook, 2: hook})

    pair = Pair(end(b"alice", {b"bob"}), end(b"bob", {b"alice"}), close=False).run()
    assert dict(pair.initiator.session.results) == {"<- e, ee, s, es": b"bob"}
    assert dict(pair.responder.session.results) == {"-> s, se": b"alice"}
    pair = Pair(end(b"alice", {b"carol"}), end(b"bob", {b"alice"}), close=False).run()
    assert isinstance(pair.initiator.error, AuthenticationFailed)


def test_the_listener_of_both_kinds(names: dict[str, Any]) -> None:
    dialer = profiles.nautilus(
        identity=names["Identity"].generate(), trust=trust.anyone(), suites=[NAME], noise_static=PRIVATE
    )
    assert Pair(dialer, names["listener"], close=False).run().initiator.session.suite == NAME
