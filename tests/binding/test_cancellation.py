"""Cancellation at every await of a handshake, a send, a receive and a close: one await after the other, not by luck.

Whatever is cancelled, the other end gets a typed error in bounded time, no key seals two things under one nonce, and
nothing hangs.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import pytest
from anyio.abc import ByteStream

from nautilus_anyio import ChannelFailed, SecureStream, handshake
from nautilus_core import INITIATOR, RESPONDER, HandshakeError, Role

from .cancelling import cancelled_at, nonces_watched
from .helpers import initiator, raw_pair, responder, secure_pair

pytestmark = pytest.mark.anyio

MOST: Final = 400
"""More awaits than any of these has: a search that goes on beyond is a failure."""

PROFILES: Final = {INITIATOR: initiator, RESPONDER: responder}


async def read_to_the_end(stream: SecureStream, found: list[Any]) -> None:
    """Take in all that comes; leave at the end what ended it."""
    try:
        with anyio.fail_after(10):
            found.extend([data async for data in stream])
        found.append("closed")
    except ChannelFailed as error:
        found.append(error)
    await stream.aclose()


async def shake_hands(stream: ByteStream, role: Role, outcome: list[Any]) -> None:
    """Make a handshake, and read until the other end goes."""
    try:
        with anyio.fail_after(10):
            secure = await handshake(stream, role, PROFILES[role]())
    except HandshakeError as error:
        outcome.append(error)
        return
    await read_to_the_end(secure, outcome)


@pytest.mark.parametrize("role", [INITIATOR, RESPONDER])
async def test_a_handshake(role: Role) -> None:
    with nonces_watched() as watch:
        for number in range(1, MOST):
            here, there = await raw_pair()
            outcome: list[Any] = []
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(shake_hands, there, role.peer, outcome)
                made: list[SecureStream] = []

                async def ours(stream: ByteStream = here, made: list[SecureStream] = made) -> None:
                    made.append(await handshake(stream, role, PROFILES[role]()))

                if not await cancelled_at(number, ours):
                    await made[0].aclose()
                    break
                with pytest.raises(anyio.ClosedResourceError):
                    await here.send(b"x")
            assert isinstance(outcome[-1], HandshakeError | ChannelFailed), (number, outcome)
        assert 3 < number < MOST - 1
        assert outcome == ["closed"]
        assert not watch.repeated
        assert watch.sealed


async def use(stream: SecureStream, action: Callable[[SecureStream], Awaitable[Any]]) -> None:
    """Do something with a stream, which is left as an `async with` leaves it."""
    async with stream:
        await action(stream)


async def send(stream: SecureStream) -> None:
    """Several records, in several sends, with a change of keys in between."""
    await stream.send(b"first" * 100)
    await stream.update_keys(ask_peer=True)
    await stream.send(bytes(700_000))


async def receive(stream: SecureStream) -> None:
    """Wait for what does not come."""
    await stream.receive()
    await stream.receive()


async def half_close(stream: SecureStream) -> None:
    """End one direction."""
    await stream.send(b"last words")
    await stream.send_eof()


@pytest.mark.parametrize("role", [INITIATOR, RESPONDER])
@pytest.mark.parametrize("action", [send, receive, half_close])
async def test_a_stream_in_use(action: Callable[[SecureStream], Awaitable[Any]], role: Role) -> None:
    with nonces_watched() as watch:
        cancelled = 0
        for number in range(1, MOST):
            ends = dict(zip((INITIATOR, RESPONDER), (await secure_pair())[:2], strict=True))
            ours, theirs = ends[role], ends[role.peer]
            found: list[Any] = []
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read_to_the_end, theirs, found)
                if action is receive:
                    await theirs.send(b"only this")
                with anyio.move_on_after(0.05 if action is receive else None) as patience:
                    caught = await cancelled_at(number, functools.partial(use, ours, action))
                if not caught and not patience.cancelled_caught:
                    break
                with pytest.raises((anyio.ClosedResourceError, ChannelFailed)):
                    await ours.send(b"again")
            cancelled += 1
            if found[-1] == "closed":  # the close was sent whole before the cancellation: the end is authentic
                assert action is half_close or number > 3
            else:
                assert isinstance(found[-1], ChannelFailed), (number, found[-1])
            if patience.cancelled_caught:
                break
        assert cancelled >= (5 if action is send else 3)
        assert not watch.repeated


async def test_a_close() -> None:
    with nonces_watched() as watch:
        for number in range(1, MOST):
            ours, theirs, below, _ = await secure_pair()
            found: list[Any] = []
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read_to_the_end, theirs, found)
                caught = await cancelled_at(number, ours.aclose)
                with pytest.raises(anyio.ClosedResourceError):
                    await below.send(b"x")
                with pytest.raises(anyio.ClosedResourceError):
                    await ours.receive()
            assert found[-1] == "closed" or isinstance(found[-1], ChannelFailed)
            if not caught:
                break
        assert found == ["closed"]
        assert 1 < number < MOST - 1
        assert not watch.repeated


async def test_a_send_that_waits_for_its_turn_breaks_nothing() -> None:
    ours, theirs, *_ = await secure_pair()
    found: list[Any] = []
    size = 32 << 20
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ours.send, bytes(size))
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.05) as scope:
            await ours.send(b"too late")
        assert scope.cancelled_caught
        tasks.start_soon(read_to_the_end, theirs, found)
        await ours.send_eof()
    await ours.aclose()
    assert found[-1] == "closed"
    assert sum(map(len, found[:-1])) == size


async def send_something(stream: SecureStream) -> None:
    """One record."""
    await stream.send(b"not this")


@pytest.mark.parametrize("action", [send_something, SecureStream.update_keys, SecureStream.send_eof])
async def test_what_is_cancelled_before_it_begins_changes_nothing(
    action: Callable[[SecureStream], Awaitable[Any]],
) -> None:
    ours, theirs, *_ = await secure_pair()
    with nonces_watched() as watch:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await action(ours)
        assert scope.cancelled_caught
        assert not watch.sealed
        await ours.send(b"this")
        assert await theirs.receive() == b"this"
        await ours.send_eof()
        with pytest.raises(anyio.EndOfStream):
            await theirs.receive()
    for stream in (ours, theirs):
        await stream.aclose()


async def abort(stream: SecureStream) -> None:
    """End both directions, with a code."""
    await stream.abort("enough", code=300)


async def finish(stream: SecureStream) -> None:
    """Close, and wait for the peer's close."""
    await stream.send_eof()
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    await stream.finish()


@pytest.mark.parametrize("action", [abort, finish])
async def test_an_abort_and_a_finish(action: Callable[[SecureStream], Awaitable[Any]]) -> None:
    for number in range(1, MOST):
        ours, theirs, below, _ = await secure_pair()
        found: list[Any] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_to_the_end, theirs, found)
            caught = await cancelled_at(number, functools.partial(use, ours, action))
            with pytest.raises(anyio.ClosedResourceError):
                await below.send(b"x")
        assert found[-1] == "closed" or isinstance(found[-1], ChannelFailed)
        if not caught:
            break
    assert 1 < number < MOST - 1
    assert (found == ["closed"]) is (action is finish)
