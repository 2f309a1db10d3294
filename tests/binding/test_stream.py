"""`SecureStream` over real sockets on loopback, on both event loops."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import anyio
import pytest
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream, SocketAttribute

from nautilus_anyio import ChannelFailed, SecureAttribute, SecureStream, connect, handshake
from nautilus_core import INITIATOR, RESPONDER, HandshakeError, Session

from .helpers import ALICE, BOB, initiator, listening, raw_pair, responder, secure_pair

pytestmark = pytest.mark.anyio


async def test_data_comes_back_as_it_was_sent() -> None:
    async with listening(responder()) as port, await connect("127.0.0.1", port, initiator()) as stream:
        data = os.urandom(3_000_000)
        received = bytearray()
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                await stream.send(data)
                await stream.send_eof()

            tasks.start_soon(send)
            async for part in stream:
                received += part
        assert received == data


async def test_receive_gives_at_most_what_was_asked_for() -> None:
    async with listening(responder()) as port, await connect("127.0.0.1", port, initiator()) as stream:
        await stream.send(b"abcdefgh")
        assert await stream.receive(3) == b"abc"
        assert await stream.receive(3) == b"def"
        assert await stream.receive() == b"gh"
        with pytest.raises(ValueError, match="at least 1"):
            await stream.receive(0)


async def test_typed_attributes_of_the_session_and_of_the_stream_below() -> None:
    async with listening(responder(protocols=["acme/1"])) as port:
        async with await connect("127.0.0.1", port, initiator(protocols=["acme/1"])) as stream:
            assert stream.extra(SecureAttribute.peer).peer_id == BOB.peer_id
            assert stream.extra(SecureAttribute.protocol) == "acme/1"
            assert stream.extra(SecureAttribute.suite) == "X25519MLKEM768_AES256GCM_SHA384"
            assert stream.extra(SecureAttribute.channel_binding) == stream.session.channel_binding
            assert isinstance(stream.extra(SecureAttribute.session), Session)
            assert stream.extra(SocketAttribute.remote_port) == port


async def test_half_close_lets_the_other_direction_go_on() -> None:
    initiating, responding, *_ = await secure_pair()
    async with initiating, responding:
        await initiating.send(b"last words")
        await initiating.send_eof()
        await initiating.send_eof()
        assert await responding.receive() == b"last words"
        with pytest.raises(anyio.EndOfStream):
            await responding.receive()
        await responding.send(b"still here")
        assert await initiating.receive() == b"still here"
        with pytest.raises(anyio.ClosedResourceError):
            await initiating.send(b"more")


async def test_an_end_without_a_close_is_truncation() -> None:
    initiating, responding, below, _ = await secure_pair()
    async with responding:
        await initiating.send(b"all that arrives")
        await below.aclose()
        assert await responding.receive() == b"all that arrives"
        with pytest.raises(ChannelFailed, match="without a close"):
            await responding.receive()
        with pytest.raises(ChannelFailed):
            await responding.send(b"too late")
    await initiating.aclose()


async def test_altered_bytes_break_both_ends_with_the_reason() -> None:
    initiating, responding, below, _ = await secure_pair()
    async with initiating, responding:
        await below.send(b"\xe3\x00\x00\x20" + bytes(32))
        with pytest.raises(ChannelFailed, match="does not open") as caught:
            await responding.receive()
        assert isinstance(caught.value.error, HandshakeError)
        with pytest.raises(ChannelFailed, match="could not open a sealed message"):
            await initiating.receive()


async def test_a_cancelled_send_breaks_the_stream_and_reuses_no_nonce() -> None:
    initiating, responding, *_ = await secure_pair()
    async with initiating, responding:
        with anyio.move_on_after(0.2) as scope:
            await initiating.send(bytes(64 << 20))  # nobody reads it: it must block
        assert scope.cancelled_caught
        with pytest.raises(ChannelFailed, match="cancelled"):
            await initiating.send(b"again")
        with pytest.raises(ChannelFailed):
            while True:
                await responding.receive()


async def test_a_send_that_is_cancelled_before_it_begins_leaves_the_stream_as_it_was() -> None:
    initiating, responding, *_ = await secure_pair()
    async with initiating, responding:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await initiating.send(b"never")
        assert scope.cancelled_caught
        await initiating.send(b"after all")
        assert await responding.receive() == b"after all"


async def test_a_cancelled_receive_loses_nothing() -> None:
    initiating, responding, *_ = await secure_pair()
    async with initiating, responding:
        with anyio.move_on_after(0.05) as scope:
            await responding.receive()
        assert scope.cancelled_caught
        await initiating.send(b"after all")
        assert await responding.receive() == b"after all"


async def test_many_tasks_may_send_at_once() -> None:
    initiating, responding, *_ = await secure_pair()
    async with initiating, responding, anyio.create_task_group() as tasks:
        for letter in b"abcdefgh":
            tasks.start_soon(initiating.send, bytes([letter]) * 1000)
        received = b""
        while len(received) < 8000:
            received += await responding.receive()
    assert sorted(set(received)) == list(b"abcdefgh")
    runs = sum(1 for here, there in zip(received, received[1:], strict=False) if here != there)
    assert runs == 7  # each send came through in one piece


async def test_two_receives_at_once_take_turns() -> None:
    initiating, responding, *_ = await secure_pair()
    received: list[bytes] = []

    async def take() -> None:
        received.append(await initiating.receive())

    async with initiating, responding, anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        await responding.send(b"first")
        while not received:
            await anyio.sleep(0.001)
        await responding.send(b"second")
    assert received == [b"first", b"second"]


async def test_keys_are_updated_in_the_middle() -> None:
    async with listening(responder()) as port, await connect("127.0.0.1", port, initiator()) as stream:
        for number in range(5):
            await stream.update_keys(ask_peer=number % 2 == 0)
            await stream.send(b"%d" % number)
            assert await stream.receive() == b"%d" % number


async def test_close_is_bounded_when_the_peer_does_not_read() -> None:
    initiating, responding, *_ = await secure_pair()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(swallow, initiating)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(10):
            await initiating.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await initiating.receive()
    await responding.aclose()


async def swallow(stream: SecureStream) -> None:
    """Send what nobody reads until the stream is closed."""
    with pytest.raises((ChannelFailed, anyio.ClosedResourceError)):
        await stream.send(bytes(64 << 20))


async def test_the_peer_is_the_verified_one_on_both_ends() -> None:
    initiating, responding, *_ = await secure_pair()
    async with initiating, responding:
        assert initiating.extra(SecureAttribute.peer).peer_id == BOB.peer_id
        assert responding.extra(SecureAttribute.peer).peer_id == ALICE.peer_id
        assert initiating.confirmed
        assert repr(initiating).startswith("<SecureStream Session(INITIATOR")


async def test_leaving_by_an_exception_is_no_clean_end() -> None:
    initiating, responding, *_ = await secure_pair()
    with pytest.raises(RuntimeError, match="a bug"):
        async with initiating:
            await initiating.send(b"half of the answ")
            raise RuntimeError("a bug")
    async with responding:
        assert await responding.receive() == b"half of the answ"
        with pytest.raises(ChannelFailed, match="an error of its own"):
            await responding.receive()


async def test_leaving_by_a_cancellation_is_no_clean_end() -> None:
    initiating, responding, *_ = await secure_pair()
    with anyio.move_on_after(0.05):
        async with initiating:
            await initiating.send(b"half of the answ")
            await anyio.sleep_forever()
    async with responding:
        assert await responding.receive() == b"half of the answ"
        with pytest.raises(ChannelFailed, match="without a close|broke"):
            await responding.receive()


class Halt(BaseException):
    """What is no `Exception` and no cancellation, as Ctrl-C."""


class Halting(ByteStream):
    """A transport in whose `send` somebody presses Ctrl-C, once it is armed."""

    def __init__(self, below: ByteStream) -> None:
        self.below = below
        self.armed = False

    async def send(self, item: bytes) -> None:
        if self.armed:
            await anyio.sleep(0.01)
            raise Halt
        await self.below.send(item)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        return await self.below.receive(max_bytes)

    async def send_eof(self) -> None:
        await self.below.send_eof()

    async def aclose(self) -> None:
        await self.below.aclose()


async def test_what_ends_a_send_is_not_replaced_by_the_cancellation_that_it_sets_off() -> None:
    here, there = await raw_pair()
    halting = Halting(here)
    streams: dict[str, SecureStream] = {}

    async def shake(name: str, raw: ByteStream) -> None:
        role, profile = (INITIATOR, initiator()) if name == "here" else (RESPONDER, responder())
        streams[name] = await handshake(raw, role, profile)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shake, "here", halting)
        tasks.start_soon(shake, "there", there)
    halting.armed = True

    async def receive() -> None:
        try:
            await streams["here"].receive()
        except ChannelFailed:
            both.cancel_scope.cancel()

    with pytest.raises(BaseExceptionGroup) as caught:
        async with anyio.create_task_group() as both:
            both.start_soon(receive)
            both.start_soon(streams["here"].send, b"data")
    assert caught.group_contains(Halt)
    await streams["here"].aclose()
    await streams["there"].aclose()


async def test_a_close_while_another_task_receives_loses_nothing_that_was_sent() -> None:
    initiating, responding, *_ = await secure_pair()
    received = 0

    async def receive() -> None:
        with pytest.raises(ClosedResourceError):
            while True:
                await initiating.receive()

    async def talk() -> None:  # what comes in behind the close must not make TCP reset the connection
        with talking, suppress(BrokenResourceError):
            while True:
                await responding.send(bytes(100))
                await anyio.sleep(0.003)

    async def close() -> None:
        await anyio.sleep(0.02)
        await initiating.send(bytes(1_000_000))
        await initiating.aclose()

    talking = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        for job in (receive, talk, close):
            tasks.start_soon(job)
        with pytest.raises(EndOfStream):
            while True:
                received += len(await responding.receive())
                await anyio.sleep(0.005)
        talking.cancel()
    assert received == 1_000_000
    await responding.aclose()


class LateAcceptance(Halting):
    """A transport whose sends are late, once it is armed."""

    async def send(self, item: bytes) -> None:
        if self.armed:
            await anyio.sleep(0.1)
        self.armed = True
        await self.below.send(item)


async def test_a_close_before_the_acceptance_while_another_task_receives_is_clean() -> None:
    here, there = await raw_pair()
    took = []

    async def initiate() -> None:
        stream = await handshake(here, INITIATOR, initiator(), wait_for_accept=False)

        async def receive() -> None:
            with pytest.raises(ClosedResourceError):
                await stream.receive()

        async with anyio.create_task_group() as both:
            both.start_soon(receive)
            await anyio.sleep(0.01)
            await stream.send(b"data")
            assert not stream.confirmed
            start = time.monotonic()
            await stream.aclose()
            took.append(time.monotonic() - start)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(initiate)
        async with await handshake(LateAcceptance(there), RESPONDER, responder()) as stream:
            assert await stream.receive() == b"data"
            with pytest.raises(EndOfStream):
                await stream.receive()
    assert took[0] < 1.5


async def test_nothing_is_received_after_the_close() -> None:
    initiating, responding, *_ = await secure_pair()
    await responding.send(b"abcdef")
    assert await initiating.receive(3) == b"abc"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(responding.aclose)
        await initiating.aclose()
    with pytest.raises(ClosedResourceError):
        await initiating.receive()


async def test_a_close_waits_for_a_peer_that_is_slow_to_read_and_goes_on_talking() -> None:
    """It may take longer than a silence may: the reset would take away what the peer has not read yet."""
    initiating, responding, *_ = await secure_pair()
    size, received = 1_000_000, 0

    async def tick() -> None:
        with suppress(ChannelFailed, anyio.ClosedResourceError):
            while True:
                await responding.send(bytes(100))
                await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:

        async def send_and_close() -> None:
            await initiating.send(bytes(size))
            await initiating.aclose()

        tasks.start_soon(tick)
        tasks.start_soon(send_and_close)
        with pytest.raises(anyio.EndOfStream):
            while True:
                received += len(await responding.receive(20_000))
                await anyio.sleep(0.015)
        await responding.aclose()
        tasks.cancel_scope.cancel()
    assert received == size
