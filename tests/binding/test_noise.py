"""Noise over AnyIO, on both event loops: the same `connect` and `serve`, another profile."""

from __future__ import annotations

from typing import Any, Final

import anyio
import pytest
from anyio import EndOfStream

from nautilus_anyio import ChannelFailed, ConnectionFailure, SecureAttribute, SecureStream, connect
from nautilus_core import (
    ANONYMOUS,
    RESPONDER,
    AuthenticationFailed,
    Handshake,
    HandshakeCompleted,
    Identity,
    PeerAborted,
    PublicKey,
    profiles,
    trust,
)
from nautilus_core.noise.functions import DH_FUNCTIONS

from .helpers import listening

pytestmark = pytest.mark.anyio

SUITE: Final = "25519_ChaChaPoly_SHA256"
XX: Final = f"Noise_XX_{SUITE}"
ALICE: Final = DH_FUNCTIONS["25519"].key_pair(bytes([1]) * 32)
BOB: Final = DH_FUNCTIONS["25519"].key_pair(bytes([2]) * 32)
BOB_KEY: Final = PublicKey("noise-static-25519", BOB.public)


def alice(name: str = XX, **arguments: Any) -> Any:
    """Who dials, and knows Bob's key."""
    return profiles.noise(name, **{"static": ALICE, "remote_static": BOB.public, **arguments})


def bob(name: str = XX, **arguments: Any) -> Any:
    """Who listens, to anybody."""
    return profiles.noise(name, **{"static": BOB, "trust": trust.anyone(), **arguments})


@pytest.mark.parametrize("close_message", [False, True])
async def test_data_both_ways_and_an_end_of_each_direction(close_message: bool) -> None:
    async with listening(bob(close_message=close_message)) as port:
        async with await connect("127.0.0.1", port, alice(close_message=close_message)) as stream:
            data = bytes(range(256)) * 1000
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_send_all, stream, data)
                received = b"".join([piece async for piece in stream])
            assert received == data
            assert stream.confirmed
            assert stream.extra(SecureAttribute.suite) == XX
            assert stream.extra(SecureAttribute.peer).peer_id == BOB_KEY.peer_id
            assert len(stream.extra(SecureAttribute.channel_binding)) == 32
            with pytest.raises(EndOfStream):
                await stream.receive()


async def _send_all(stream: SecureStream, data: bytes) -> None:
    await stream.send(data)
    await stream.send_eof()


@pytest.mark.parametrize("pattern", ["NN", "NX", "IK", "IX", "KK"])
async def test_other_patterns(pattern: str) -> None:
    name = f"Noise_{pattern}_448_AESGCM_BLAKE2b"
    keys = [DH_FUNCTIONS["448"].key_pair(bytes([number]) * 56) for number in (1, 2)]
    anyone = trust.anyone()
    dialers: dict[str, dict[str, Any]] = {
        "NN": {},
        "NX": {"trust": anyone},
        "IK": {"static": keys[0], "remote_static": keys[1].public},
        "IX": {"static": keys[0], "trust": anyone},
        "KK": {"static": keys[0], "remote_static": keys[1].public},
    }
    listeners: dict[str, dict[str, Any]] = {
        "NN": {},
        "NX": {"static": keys[1]},
        "IK": {"static": keys[1], "trust": anyone},
        "IX": {"static": keys[1], "trust": anyone},
        "KK": {"static": keys[1], "remote_static": keys[0].public},
    }
    seen: list[Any] = []

    async def handler(stream: SecureStream) -> None:
        await stream.send(b"hello " + await stream.receive())
        seen.append(stream.extra(SecureAttribute.peer))

    async with listening(profiles.noise(name, **listeners[pattern]), handler) as port:
        async with await connect("127.0.0.1", port, profiles.noise(name, **dialers[pattern])) as stream:
            await stream.send(b"you")
            assert await stream.receive() == b"hello you"
            with pytest.raises(EndOfStream):
                await stream.receive()
    assert (seen[0] is ANONYMOUS) is (pattern in ("NN", "NX"))


async def test_a_one_way_pattern() -> None:
    name = f"Noise_X_{SUITE}"
    seen: list[bytes] = []
    done = anyio.Event()

    async def handler(stream: SecureStream) -> None:
        seen.append(b"".join([piece async for piece in stream]))
        done.set()

    async with listening(bob(name), handler) as port:
        async with await connect("127.0.0.1", port, alice(name)) as stream:
            await stream.send(b"one way")
        with anyio.fail_after(20):
            await done.wait()
    assert seen == [b"one way"]


async def test_the_wrong_key_is_refused() -> None:
    errors: list[ConnectionFailure] = []
    async with listening(bob(), on_error=errors.append) as port:
        with pytest.raises(AuthenticationFailed, match="not the one that was given"):
            await connect("127.0.0.1", port, alice(remote_static=ALICE.public))
        with anyio.fail_after(20):
            while not errors:
                await anyio.sleep(0.01)
    assert isinstance(errors[0].error, PeerAborted)


async def test_a_cut_shows_with_a_close_message_and_in_the_middle_of_a_message() -> None:
    async def cut(stream: SecureStream) -> None:
        await stream.send(b"data")
        await stream._transport.aclose()

    async with listening(bob(close_message=True), cut) as port:
        async with await connect("127.0.0.1", port, alice(close_message=True)) as stream:
            assert await stream.receive() == b"data"
            with pytest.raises(ChannelFailed, match="without a close"):
                await stream.receive()


async def test_one_listener_for_signatures_and_noise() -> None:
    me, them = Identity.generate(), Identity.generate()
    suites = ["X25519_AES128GCM_SHA256", XX]
    listener = profiles.nautilus(identity=them, trust=trust.anyone(), suites=suites, noise_static=BOB)
    async with listening(listener) as port:
        for suite, key in zip(suites, (them.public, BOB_KEY), strict=True):
            dialer = profiles.nautilus(identity=me, trust=trust.pinned(key), suites=[suite], noise_static=ALICE)
            async with await connect("127.0.0.1", port, dialer) as stream:
                await stream.send(b"ping")
                assert await stream.receive() == b"ping"
                assert stream.extra(SecureAttribute.peer).peer_id == key.peer_id
                assert stream.session.suite == suite


async def test_a_peer_that_knows_nothing_of_us() -> None:
    """A plain socket with an engine behind it: what travels are length-prefixed Noise messages and nothing else."""
    async with listening(bob()) as port, await anyio.connect_tcp("127.0.0.1", port) as plain:
        engine = Handshake(RESPONDER.peer, alice())
        while not isinstance(event := engine.next_event(), HandshakeCompleted):
            if data := engine.data_to_send():
                await plain.send(data)
                continue
            if not hasattr(event, "step"):
                engine.receive_data(await plain.receive())
        await plain.send(engine.data_to_send())
        channel = event.session.channel()
        channel.send_data(b"by hand")
        await plain.send(bytes(channel.data_to_send()))
        channel.receive_data(await plain.receive())
        answer: Any = channel.next_event()
        assert answer.data == b"by hand"
