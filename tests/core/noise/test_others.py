"""Live, against other implementations: in both roles, over all patterns that they know, with traffic both ways afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    DataReceived,
    Handshake,
    HandshakeCompleted,
    Role,
    Signal,
    profiles,
    trust,
)
from nautilus_core.noise import handshake_pattern
from nautilus_core.noise.functions import CIPHER_FUNCTIONS, DH_FUNCTIONS, HASH_FUNCTIONS
from nautilus_core.noise.patterns import DEFERRED, FUNDAMENTAL, ONE_WAY

from .helpers import KEYS, MODIFIED, PSKS, needed
from .others import Dissononce, NoiseProtocolPackage, Other

SUITES = [
    f"{dh}_{cipher}_{function}" for dh in DH_FUNCTIONS for cipher in CIPHER_FUNCTIONS for function in HASH_FUNCTIONS
]
PROLOGUE = b"before"
SEVERAL = ("NNpsk0+psk2", "XXpsk0+psk3", "IKpsk1+psk2")

KNOWN: dict[str, tuple[Any, tuple[str, ...]]] = {
    "noiseprotocol": (NoiseProtocolPackage, (*ONE_WAY, *FUNDAMENTAL, *MODIFIED, *SEVERAL)),
    "dissononce": (Dissononce, (*ONE_WAY, *FUNDAMENTAL, *DEFERRED, *MODIFIED, *SEVERAL)),
}
CASES = [(package, pattern, number) for package, (_, known) in KNOWN.items() for number, pattern in enumerate(known)]


def drive(engine: Handshake, other: Other) -> None:
    """Move the messages of an engine and another implementation, with payloads, until the engine is done."""
    first: Any = next(iter(engine.steps))
    pattern = first.settings.protocol.pattern
    for number, message in enumerate(pattern.messages):
        payload = b"payload %d" % number
        if message.sender is engine.role:
            while not isinstance(engine.next_event(), (Signal, HandshakeCompleted)):
                pass
            sent = engine.data_to_send()
            assert sent[:2] == (len(sent) - 2).to_bytes(2, "big")
            assert other.read(sent[2:]) == payload
        else:
            sent = other.write(payload)
            engine.receive_data(len(sent).to_bytes(2, "big") + sent)
    while engine.session is None:
        engine.next_event()


def exchange(engine: Handshake, other: Other, *, one_way: bool) -> None:
    """Traffic both ways, several messages each."""
    assert engine.session is not None
    channel = engine.session.channel()
    for number in range(3):
        data = b"data %d" % number * (number * 1000 + 1)
        if not one_way or engine.role is INITIATOR:
            channel.send_data(data)
            sent = bytes(channel.data_to_send())
            assert other.decrypt(sent[2:]) == data
        if not one_way or engine.role is RESPONDER:
            sealed = other.encrypt(data)
            channel.receive_data(len(sealed).to_bytes(2, "big") + sealed)
            assert channel.next_event() == DataReceived((data,))


@pytest.mark.parametrize("role", list(Role), ids=lambda role: f"as {role.value}")
@pytest.mark.parametrize(("package", "called", "number"), CASES, ids=str)
def test_against_another_implementation(package: str, called: str, number: int, role: Role) -> None:
    suite = SUITES[number % len(SUITES)]
    dh, name = suite.split("_")[0], f"Noise_{called}_{suite}"
    pattern = handshake_pattern(called)
    payloads = {index: b"payload %d" % index for index in range(len(pattern.messages))}
    arguments = {**needed(pattern, role, dh), "prologue": PROLOGUE, "payloads": payloads}
    engine = Handshake(role, profiles.noise(name, **arguments))
    own, peers = KEYS[dh][role.peer], KEYS[dh][role].public
    other: Other = KNOWN[package][0](name, role.peer, own, peers, PSKS[: pattern.psk_count], PROLOGUE)
    drive(engine, other)
    assert engine.session is not None
    assert engine.session.channel_binding == other.handshake_hash()
    exchange(engine, other, one_way=pattern.one_way)


@pytest.mark.parametrize("role", list(Role), ids=lambda role: f"as {role.value}")
@pytest.mark.parametrize("called", ["XXfallback", "NXfallback", "IXfallback", "XXfallback+psk0"])
def test_fallback_against_dissononce(called: str, role: Role) -> None:
    """In its psk handshakes dissononce 0.34 mixes an ephemeral pre-message into the key on one side only, so we play Bob there.

    Section 9.2 has both sides do it.
    """
    if "psk" in called and role is INITIATOR:
        role = RESPONDER
    name = f"Noise_{called}_25519_ChaChaPoly_SHA256"
    pattern, keys = handshake_pattern(called), KEYS["25519"]
    ephemeral = DH_FUNCTIONS["25519"].key_pair(bytes([9]) * 32)
    arguments: dict[str, Any] = {"psks": PSKS[: pattern.psk_count]}
    if role is INITIATOR:
        arguments["ephemeral"] = ephemeral
    else:
        arguments["remote_ephemeral"] = ephemeral.public
    if pattern.static_of(role):
        arguments["static"] = keys[role]
    if "s" in pattern.pre_messages[role.peer]:
        arguments["remote_static"] = keys[role.peer].public
    if pattern.sends_static(role.peer):
        arguments["trust"] = trust.anyone()
    payloads = {index: b"payload %d" % index for index in range(len(pattern.messages))}
    engine = Handshake(role, profiles.noise(name, payloads=payloads, **arguments))
    own = keys[role.peer]
    other = Dissononce(name, role.peer, own, keys[role].public, PSKS[: pattern.psk_count], b"", ephemeral)
    drive(engine, other)
    assert engine.session is not None
    assert engine.session.channel_binding == other.handshake_hash()
    exchange(engine, other, one_way=False)
