"""How a listener ends: what is there may end within its grace, then it is cut; nothing is left behind."""

from __future__ import annotations

import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import BrokenResourceError
from anyio.abc import Listener, SocketAttribute, TaskGroup
from anyio.streams.stapled import MultiListener

from nautilus_anyio import ListenerLimits, SecureListener, SecureStream, TransportFailed, connect, serve
from nautilus_core import AlertCode, PeerAborted, StepCompleted

from .helpers import echo, initiator, responder
from .test_load import Peer, flight, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def served(
    handler: Callable[[SecureStream], Awaitable[Any]] = echo, **arguments: Any
) -> AsyncIterator[tuple[int, SecureListener, anyio.Event]]:
    """A listener whose `serve` is to return by itself; gives its port, it, and what is set then."""
    below = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = SecureListener(below, responder(), **arguments)
    returned = anyio.Event()

    async def serve_until_closed() -> None:
        await listener.serve(handler)
        returned.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve_until_closed)
            yield below.extra(SocketAttribute.local_port), listener, returned


def sockets_of(port: int) -> int:
    """How many sockets of this process are the listener's: open ones that are bound to its port."""
    gc.collect()
    return sum(
        isinstance(thing, socket.socket)
        and thing.family is socket.AF_INET
        and thing.fileno() >= 0
        and thing.getsockname()[1] == port
        for thing in gc.get_objects()
    )


async def test_who_ends_in_time_ends_well() -> None:
    async with served() as (port, listener, returned):
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"before")
            assert await stream.receive() == b"before"
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.aclose, 5)
                await anyio.sleep(0.05)
                with pytest.raises(TransportFailed):
                    await connect("127.0.0.1", port, initiator())
                await stream.send(b"within the grace")
                assert await stream.receive() == b"within the grace"
                await stream.send_eof()
        await returned.wait()
        assert listener.counters.sessions == 0
        assert listener.counters.sessions_failed == {}
        assert sockets_of(port) == 0


async def test_who_is_late_is_cut() -> None:
    ended: list[str] = []

    async def handler(stream: SecureStream) -> None:
        try:
            await stream.receive()
        finally:
            ended.append("handler")

    async with served(handler) as (port, listener, returned):
        stream = await connect("127.0.0.1", port, initiator())
        begun = anyio.current_time()
        await listener.aclose(grace=0.2)
        assert 0.2 <= anyio.current_time() - begun < 2
        assert ended == ["handler"]
        assert listener.counters.sessions == 0
        await returned.wait()
        with pytest.raises(BrokenResourceError):
            await stream.receive()
        await stream.aclose()
        assert sockets_of(port) == 0


async def test_handshakes_in_progress_have_the_same_grace() -> None:
    async with served() as (port, listener, returned):
        with Peer(port) as late:
            await late.say(flight())
            assert await late.hear()
            await listener.aclose(grace=0.1)
            assert await late.hear() == b""
        counters = listener.counters
        assert (counters.in_progress, counters.refused) == (0, {"closing": 1})
        await returned.wait()
        assert sockets_of(port) == 0


async def test_a_handshake_completes_while_the_listener_closes() -> None:
    """The peer's answer comes after the listener was closed; its session has the rest of the grace."""
    async with served() as (port, listener, returned):
        async with anyio.create_task_group() as tasks:

            def close_in_the_middle(event: object) -> None:
                if isinstance(event, StepCompleted) and event.step == "responder-finished":
                    tasks.start_soon(listener.aclose, 5)

            stream = await connect("127.0.0.1", port, initiator(), on_event=close_in_the_middle)
            async with stream:
                await stream.send(b"x")
                assert await stream.receive() == b"x"
        await returned.wait()
        assert listener.counters.completed == 1


async def test_who_has_said_nothing_is_cut_at_once() -> None:
    async with served() as (port, listener, returned):
        with Peer(port) as silent:
            await until(listener, lambda counters: counters.half_open == 1)
            begun = anyio.current_time()
            await listener.aclose(grace=30)
            assert anyio.current_time() - begun < 5
            assert await silent.hear() == b""
        counters = listener.counters
        assert (counters.half_open, counters.refused) == (0, {"closing": 1})
        await returned.wait()


async def test_without_a_grace_connections_go_on() -> None:
    async with served() as (port, listener, returned):
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"x")
            await stream.receive()
            await listener.aclose()
            await stream.send(b"still there")
            assert await stream.receive() == b"still there"
            assert not returned.is_set()
        await returned.wait()


async def test_closing_twice_and_closing_what_was_never_served() -> None:
    below = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = below.extra(SocketAttribute.local_port)
    listener = SecureListener(below, responder())
    for grace in (1, 1, None):
        with anyio.fail_after(0.5):  # there is nobody to wait for
            await listener.aclose(grace=grace)
    with anyio.fail_after(0.5):
        await listener.serve(echo)  # it is over before it began
    assert listener.counters.accepted == 0
    assert sockets_of(port) == 0


async def test_a_drain_that_is_cancelled_cuts_at_once() -> None:
    async with served() as (port, listener, returned):
        stream = await connect("127.0.0.1", port, initiator())
        with anyio.move_on_after(0.05) as scope:
            await listener.aclose(grace=60)
        assert scope.cancelled_caught
        await returned.wait()
        with pytest.raises(BrokenResourceError):
            await stream.receive()
        await stream.aclose()


async def test_a_handler_that_closes_its_listener_is_cut_like_the_others() -> None:
    listeners: list[SecureListener] = []

    async def handler(stream: SecureStream) -> None:
        await stream.receive()
        await listeners[0].aclose(grace=0.1)

    async with served(handler) as (port, listener, returned):
        listeners.append(listener)
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"close")
            with pytest.raises(BrokenResourceError):
                await stream.receive()
        await returned.wait()


async def test_a_task_group_of_the_callers_is_left_as_it_was() -> None:
    """Connections run in it; when the listener is drained, only what the caller started there is left."""
    below = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = below.extra(SocketAttribute.local_port)
    listener = SecureListener(below, responder())
    other = anyio.Event()

    async def accept(connections: TaskGroup) -> None:
        await listener.serve(echo, connections)
        other.set()

    async with anyio.create_task_group() as accepting, anyio.create_task_group() as connections:
        connections.start_soon(other.wait)
        accepting.start_soon(accept, connections)
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"x")
            await stream.receive()
            await listener.aclose(grace=0.1)
            assert not connections.cancel_scope.cancel_called
            with pytest.raises(BrokenResourceError):
                await stream.receive()
        await other.wait()
    assert sockets_of(port) == 0


async def test_cancelling_the_callers_task_group_ends_all() -> None:
    below = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = below.extra(SocketAttribute.local_port)
    async with below:
        async with anyio.create_task_group() as accepting, anyio.create_task_group() as connections:

            async def accept() -> None:
                await serve(below, echo, responder(), task_group=connections)

            accepting.start_soon(accept)
            stream = await connect("127.0.0.1", port, initiator())
            with Peer(port) as silent, Peer(port) as half:
                await half.say(flight())
                assert await half.hear()
                await silent.say(b"\xe1")
                connections.cancel_scope.cancel()
                accepting.cancel_scope.cancel()
    with pytest.raises(BrokenResourceError):
        await stream.receive()
    await stream.aclose()
    assert sockets_of(port) == 0


async def test_several_parts_that_are_closed_are_one_listener_that_is(tmp_path: Path) -> None:
    tcp: Listener[Any] = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = tcp.extra(SocketAttribute.local_port)
    both = MultiListener([tcp, await anyio.create_unix_listener(tmp_path / "socket")])
    listener = SecureListener(both, responder())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"x")
            await stream.receive()
        await listener.aclose(grace=5)


async def test_a_listener_that_somebody_else_closed_is_an_error() -> None:
    below = await anyio.create_tcp_listener(local_host="127.0.0.1")
    await below.aclose()
    with pytest.raises((anyio.ClosedResourceError, ExceptionGroup)):
        await SecureListener(below, responder()).serve(echo)


async def test_a_refusal_reaches_its_peer_also_when_that_sends_more() -> None:
    """Closed with unread data, TCP would reset, and take the alert away."""
    async with served(limits=ListenerLimits(handshakes=1, patience=60)) as (port, listener, _):
        with Peer(port) as first, Peer(port) as talkative:
            await first.say(flight())
            assert await first.hear()
            await talkative.say(flight() + bytes(50_000))
            await anyio.sleep(0.05)
            await talkative.say(bytes(50_000))
            assert (await talkative.hear())[:1] == b"\xe2"
            with pytest.raises(PeerAborted) as caught:
                await connect("127.0.0.1", port, initiator())
            assert caught.value.code == AlertCode.BUSY
        await listener.aclose(grace=0)
