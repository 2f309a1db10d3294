"""Whether a handshake can begin with what has come: what a listener asks before it makes an engine."""

from __future__ import annotations

import pytest

from nautilus_core import INITIATOR, Handshake, Identity, Profile, profiles, trust
from nautilus_core.frames import ALERT, HEADER_LENGTH, header
from nautilus_core.limits import DEFAULT_LIMITS

NAUTILUS = profiles.nautilus(identity=Identity.generate(), trust=trust.anyone())
NOISE = profiles.noise("Noise_NN_25519_ChaChaPoly_BLAKE2s")


@pytest.mark.parametrize("profile", [NAUTILUS, NOISE], ids=["nautilus/1", "noise"])
def test_it_can_from_the_first_whole_frame_on(profile: Profile) -> None:
    engine = Handshake(INITIATOR, profile)
    engine.next_event()
    flight = engine.data_to_send()
    if profile is NOISE:
        first = 2 + int.from_bytes(flight[:2], "big")
    else:
        first = HEADER_LENGTH + int.from_bytes(flight[1:HEADER_LENGTH], "big")
    stream = profile.make_stream()
    for length in range(len(flight) + 1):
        assert stream.has_message(flight[:length]) is (length >= first)
        assert stream.has_message(bytearray(flight[:length])) is (length >= first)


@pytest.mark.parametrize(
    "first",
    [b"G", b"SSH-2.0", header(ALERT, 3), header(0xE1, DEFAULT_LIMITS.message + 1), header(0xE1, 2**24 - 1)],
    ids=["a byte", "another protocol", "an alert", "over the limit", "far over it"],
)
def test_what_never_becomes_a_message_is_for_the_engine_to_refuse(first: bytes) -> None:
    assert NAUTILUS.make_stream().has_message(first)


def test_noise_has_one_limit() -> None:
    limited = profiles.noise("Noise_NN_25519_ChaChaPoly_BLAKE2s", limits=type(DEFAULT_LIMITS)(message=4096))
    assert not limited.make_stream().has_message(b"\x10\x00")
    assert limited.make_stream().has_message(b"\x10\x01")
