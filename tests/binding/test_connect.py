"""`connect`, `handshake` and `serve`: failures have names, hooks see them, and nobody waits for ever."""

from __future__ import annotations

import logging
import socket
from contextlib import ExitStack
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute

from nautilus_anyio import ChannelFailed, ConnectionFailure, SecureStream, TransportFailed, connect, handshake, serve
from nautilus_core import (
    INITIATOR,
    Accepted,
    AuthenticationFailed,
    CustomProtocolStep,
    Event,
    HandshakeCompleted,
    HandshakeTimeout,
    InvalidMessage,
    LocalProtocolError,
    PeerAborted,
    PeerIdentified,
    StepCompleted,
    trust,
)

from .helpers import BOB, MALLORY, echo, initiator, listening, responder

pytestmark = pytest.mark.anyio


async def test_nobody_listens() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    await listener.aclose()
    with pytest.raises(TransportFailed, match=f"no connection to 127.0.0.1 port {port}") as caught:
        await connect("127.0.0.1", port, initiator())
    assert caught.value.retryable


async def test_a_connection_that_is_not_answered_fails_in_time() -> None:
    with socket.socket() as deaf, ExitStack() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # the queue is full then, and the kernel drops who comes next
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        with pytest.raises(TransportFailed, match=r"no connection to 127.0.0.1 port \d+ in 0.2 seconds"):
            await connect("127.0.0.1", deaf.getsockname()[1], initiator(), timeout=0.2)


async def test_the_wrong_peer_is_refused_and_told(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[ConnectionFailure] = []
    with caplog.at_level(logging.WARNING, logger="nautilus_anyio"):
        async with listening(responder(), on_error=failures.append) as port:
            with pytest.raises(PeerAborted, match="its trust policy refused us") as caught:
                await connect("127.0.0.1", port, initiator(identity=MALLORY))
            assert caught.value.authenticated
            assert not caught.value.retryable
            await anyio.wait_all_tasks_blocked()
    assert isinstance(failures[0].error, AuthenticationFailed)
    assert "not a pinned one" in caplog.text


async def test_without_waiting_for_acceptance_rejection_shows_later() -> None:
    async with listening(responder()) as port:
        stream = await connect("127.0.0.1", port, initiator(identity=MALLORY), wait_for_accept=False)
        async with stream:
            assert not stream.confirmed
            with pytest.raises(anyio.BrokenResourceError, match="refused us"):
                await stream.receive()


async def test_a_silent_listener_times_out_by_name() -> None:
    async def silent(stream: ByteStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, silent)
        with pytest.raises(HandshakeTimeout, match="hello-response: .* the peer's message"):
            await connect("127.0.0.1", listener.extra(SocketAttribute.local_port), initiator(), timeout=0.2)
        tasks.cancel_scope.cancel()


async def test_a_silent_client_is_cut_and_the_next_is_served() -> None:
    failures: list[ConnectionFailure] = []
    failed = anyio.Event()

    def note(error: ConnectionFailure) -> None:
        failures.append(error)
        failed.set()

    async with listening(responder(), timeout=1.0, on_error=note) as port:
        async with await anyio.connect_tcp("127.0.0.1", port) as silent:
            with pytest.raises(anyio.EndOfStream):
                while True:
                    await silent.receive()
        with anyio.fail_after(10):
            await failed.wait()
        assert isinstance(failures[0].error, HandshakeTimeout)
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"x")
            assert await stream.receive() == b"x"


async def test_http_to_a_nautilus_port_is_named_and_harmless() -> None:
    failures: list[ConnectionFailure] = []
    async with listening(responder(), on_error=failures.append) as port:
        async with await anyio.connect_tcp("127.0.0.1", port) as browser:
            await browser.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await browser.receive())[:1] == b"\xe2"
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"x")
            assert await stream.receive() == b"x"
    assert isinstance(failures[0].error, InvalidMessage)
    assert "HTTP" in str(failures[0].error)


async def test_a_handler_that_fails_disturbs_nobody() -> None:
    failures: list[ConnectionFailure] = []

    async def failing(stream: SecureStream) -> None:
        if await stream.receive() == b"bad":
            raise RuntimeError("a bug in the application")
        await stream.send(b"ok")

    async with listening(responder(), failing, on_error=failures.append) as port:
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"bad")
            with pytest.raises(ChannelFailed, match="an error of its own"):
                await stream.receive()
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"good")
            assert await stream.receive() == b"ok"
    assert [str(failure.error) for failure in failures] == ["a bug in the application"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_questions_are_answered(asynchronous: bool) -> None:
    asked: list[str] = []

    def accept(question: PeerIdentified) -> None:
        asked.append(question.peer.peer_id)
        question.accept()

    async def accept_later(question: PeerIdentified) -> None:
        await anyio.sleep(0.01)
        accept(question)

    answer: Any = accept_later if asynchronous else accept
    async with listening(responder()) as port:
        async with await connect("127.0.0.1", port, initiator(trust=trust.ask()), answer=answer) as stream:
            assert stream.session.peer.peer_id == BOB.peer_id
    assert asked == [BOB.peer_id]


async def test_a_rejected_question_fails_both_ends() -> None:
    failures: list[ConnectionFailure] = []
    async with listening(responder(), on_error=failures.append) as port:
        with pytest.raises(AuthenticationFailed, match="refused by the application: a stranger"):
            await connect(
                "127.0.0.1", port, initiator(trust=trust.ask()), answer=lambda asked: asked.reject("a stranger")
            )
        await anyio.wait_all_tasks_blocked()
    assert isinstance(failures[0].error, PeerAborted)


async def test_a_question_without_an_answer_is_the_callers_mistake() -> None:
    async with listening(responder()) as port:
        with pytest.raises(LocalProtocolError, match="no answer="):
            await connect("127.0.0.1", port, initiator(trust=trust.ask()))
        with pytest.raises(LocalProtocolError, match="unanswered"):
            await connect("127.0.0.1", port, initiator(trust=trust.ask()), answer=lambda _: None)


async def test_events_are_seen_as_they_happen() -> None:
    events: list[Event] = []
    async with listening(responder()) as port:
        async with await connect("127.0.0.1", port, initiator(), on_event=events.append) as stream:
            names = [event.step for event in events if isinstance(event, StepCompleted)]
            assert names == list(stream.session.steps)
            assert [type(event) for event in events[-2:]] == [HandshakeCompleted, Accepted]


async def test_over_any_byte_stream_here_a_pair_of_memory_streams() -> None:
    to_responder, from_initiator = anyio.create_memory_object_stream[bytes](100)
    to_initiator, from_responder = anyio.create_memory_object_stream[bytes](100)

    class Joined(ByteStream):
        def __init__(self, outgoing: Any, incoming: Any) -> None:
            self.outgoing, self.incoming = outgoing, incoming

        async def send(self, item: bytes) -> None:
            await self.outgoing.send(item)

        async def receive(self, max_bytes: int = 65536) -> bytes:
            data: bytes = await self.incoming.receive()
            return data

        async def send_eof(self) -> None:
            await self.outgoing.aclose()

        async def aclose(self) -> None:
            await self.outgoing.aclose()
            await self.incoming.aclose()

    here, there = Joined(to_responder, from_responder), Joined(to_initiator, from_initiator)

    class OneConnection:
        extra_attributes: dict[Any, Any] = {}  # noqa: RUF012

        async def serve(self, handler: Any, task_group: Any = None) -> None:
            await handler(there)

        async def aclose(self) -> None:
            await there.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: serve(OneConnection(), echo, responder()))  # type: ignore[arg-type]
        async with await handshake(here, INITIATOR, initiator()) as stream:
            await stream.send(b"through memory")
            assert await stream.receive() == b"through memory"
            await stream.send_eof()
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()


async def test_an_error_hook_that_fails_disturbs_nobody() -> None:
    def hook(error: Exception) -> None:
        raise KeyError("a bug in the hook")

    async with listening(responder(), on_error=hook) as port:
        async with await anyio.connect_tcp("127.0.0.1", port) as stray:
            await stray.send(b"GET / HTTP/1.1\r\n\r\n")
            assert (await stray.receive())[:1] == b"\xe2"
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"x")
            assert await stream.receive() == b"x"


async def test_an_answer_that_raises_tells_the_peer() -> None:
    failures: list[ConnectionFailure] = []

    def answer(question: object) -> None:
        raise KeyError("a bug in the application")

    async with listening(responder(), on_error=failures.append) as port:
        with pytest.raises(KeyError):
            await connect("127.0.0.1", port, initiator(trust=trust.ask()), answer=answer)
        await anyio.wait_all_tasks_blocked()
    assert isinstance(failures[0].error, PeerAborted)
    assert "an error of its own" in str(failures[0].error)


async def test_a_step_function_that_raises_closes_the_connection() -> None:
    calls = []

    def failing() -> CustomProtocolStep[bytes]:
        calls.append(1)
        if len(calls) > 4:
            raise OSError("database is down")
        return CustomProtocolStep("custom", INITIATOR, write=lambda _: b"", read=lambda *_: None)

    failures: list[ConnectionFailure] = []
    profile = responder().insert_before("initiator-finished", failing)
    calls.extend([1] * 4)
    async with listening(profile, on_error=failures.append) as port:
        with pytest.raises((PeerAborted, TransportFailed)):
            await connect("127.0.0.1", port, initiator())
    assert str(failures[0].error) == "database is down"


async def test_a_close_right_after_sending_without_waiting_for_acceptance_loses_nothing() -> None:
    received = bytearray()
    done = anyio.Event()

    async def collect(stream: SecureStream) -> None:
        async for data in stream:
            received.extend(data)
        done.set()

    async with listening(responder(), collect) as port:
        stream = await connect("127.0.0.1", port, initiator(), wait_for_accept=False)
        await stream.send(bytes(2_000_000))
        await stream.aclose()
        with anyio.fail_after(20):
            await done.wait()
    assert len(received) == 2_000_000
