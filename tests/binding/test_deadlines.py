"""Deadlines in the binding: the error is the engine's, the same on both loops, whoever was late; and it comes in time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

from nautilus_anyio import ChannelFailed, SecureStream, connect, handshake
from nautilus_core import (
    INITIATOR,
    RESPONDER,
    AlertCode,
    HandshakeError,
    HandshakeTimeout,
    InvalidMessage,
    PeerAborted,
    PeerIdentified,
    StepCompleted,
    profiles,
    trust,
)

from .helpers import BOB, MALLORY, initiator, raw_pair, responder
from .moods import listening_in, serving, silent

pytestmark = pytest.mark.anyio

SOON = 0.15


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """The block raises by then; it does not so before its deadline."""
    began = anyio.current_time()
    try:
        yield
    finally:
        assert SOON <= anyio.current_time() - began < seconds


async def test_a_peer_that_says_nothing() -> None:
    async with listening_in(silent) as listener:
        async with within(3):
            with pytest.raises(HandshakeTimeout) as caught:
                await connect("127.0.0.1", listener.port, initiator(), timeout=SOON)
    error = caught.value
    assert (error.step, error.waited_for, error.question) == ("hello-response", "peer", None)
    assert str(error) == (
        "hello-response: the deadline has passed; expected the peer's message hello-response; got nothing in time "
        "(hint: the peer is slow or gone, or the deadline is too near)"
    )
    assert error.retryable


async def test_a_peer_that_takes_nothing_and_does_not_even_close() -> None:
    """The alert is not waited for longer than a moment."""
    ours, theirs = await raw_pair()
    async with theirs, within(2):
        with pytest.raises(HandshakeTimeout, match="hello-response"):
            await handshake(ours, INITIATOR, initiator(), timeout=SOON)


async def never(question: Any) -> None:
    await anyio.sleep_forever()


async def answers_and_goes_on(question: Any) -> None:
    question.accept()
    await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("answer", "question", "expected"),
    [
        (never, "PeerIdentified", "answer to PeerIdentified"),
        (answers_and_goes_on, None, "next_event after its answer to PeerIdentified"),
    ],
)
async def test_an_application_that_does_not_answer(answer: Any, question: str | None, expected: str) -> None:
    heard: list[BaseException] = []

    async def serve(stream: ByteStream) -> None:
        try:
            await handshake(stream, RESPONDER, responder())
        except HandshakeError as error:
            heard.append(error)

    async with listening_in(serve) as listener:
        async with within(3):
            with pytest.raises(HandshakeTimeout) as caught:
                profile = initiator(trust=trust.ask())
                await connect("127.0.0.1", listener.port, profile, timeout=SOON, answer=answer)
        while not heard:
            await anyio.sleep(0.01)
    error = caught.value
    assert (error.step, error.waited_for, error.question) == ("responder-authentication", "application", question)
    assert str(error) == (
        f"responder-authentication: the deadline has passed; expected the application's {expected}; got nothing in time "
        "(hint: the peer waits meanwhile: be faster, or set a later deadline)"
    )
    assert isinstance(heard[0], PeerAborted)
    assert heard[0].code == AlertCode.TIMEOUT


async def test_a_responder_that_does_not_accept() -> None:
    """Its application is being asked. It hears that we have gone once it goes on."""
    accept, failures = anyio.Event(), []

    async def answer(question: PeerIdentified) -> None:
        await accept.wait()
        question.accept()

    async def serve(stream: ByteStream) -> None:
        secure = await handshake(stream, RESPONDER, responder(trust=trust.ask()), answer=answer)
        try:
            await secure.receive()
        except ChannelFailed as failed:
            failures.append(failed.error)

    async with listening_in(serve) as listener:
        async with within(3):
            with pytest.raises(HandshakeTimeout) as caught:
                await connect("127.0.0.1", listener.port, initiator(), timeout=SOON)
        accept.set()
        while not failures:
            await anyio.sleep(0.01)
    error = caught.value
    assert (error.step, error.waited_for, error.question) == ("accept", "peer", None)
    assert str(error) == (
        "accept: the responder has not accepted us in time; expected the peer's message accept; got nothing in time "
        "(hint: its owner may still be asked whether we are welcome)"
    )
    assert isinstance(failures[0], PeerAborted)
    assert failures[0].authenticated


class Stuck(ByteStream):
    """A stream whose sends hang from one of them on."""

    def __init__(self, stream: ByteStream, from_send: int) -> None:
        self._stream = stream
        self._left = from_send

    async def send(self, item: bytes) -> None:
        if self._left == 0:
            await anyio.sleep_forever()
        self._left -= 1
        await self._stream.send(item)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        return await self._stream.receive(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes


async def test_a_peer_that_does_not_take_our_last_message() -> None:
    ours, theirs = await raw_pair()

    async def initiate() -> None:
        async with theirs:
            with pytest.raises(HandshakeError):
                await handshake(theirs, INITIATOR, initiator())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(initiate)
        async with within(3):
            with pytest.raises(HandshakeTimeout, match="has not taken our last message in time") as caught:
                await handshake(Stuck(ours, 1), RESPONDER, responder(), timeout=SOON)
    assert caught.value.step == "initiator-finished"


async def test_a_peer_that_takes_nothing_at_all_in_the_middle() -> None:
    ours, theirs = await raw_pair()
    async with theirs, within(3):
        with pytest.raises(HandshakeTimeout, match="hello-response"):
            await handshake(Stuck(ours, 0), INITIATOR, initiator(), timeout=SOON)


@pytest.mark.parametrize(
    ("wrong", "expected"), [(b"no protocol of ours", InvalidMessage), (b"", LookupError)], ids=["engine", "application"]
)
async def test_what_failed_before_the_deadline_is_what_is_raised(wrong: bytes, expected: type[Exception]) -> None:
    """Also when the deadline passes while the peer is told: of the engine's errors, and of those of the application."""

    def see(event: object) -> None:
        if not wrong and isinstance(event, StepCompleted):
            raise LookupError("of the application")

    ours, theirs = await raw_pair()

    async def close_later() -> None:
        await anyio.sleep(2 * SOON)
        await theirs.aclose()

    if wrong:
        await theirs.send(wrong)
    async with anyio.create_task_group() as tasks, within(3):
        tasks.start_soon(close_later)
        with pytest.raises(expected):
            await handshake(ours, INITIATOR, initiator(), timeout=SOON, on_event=see)


async def test_time_that_is_up_before_it_begins() -> None:
    ours, theirs = await raw_pair()
    async with theirs:
        with pytest.raises(HandshakeTimeout):
            await handshake(ours, INITIATOR, initiator(), timeout=0.0)


async def test_the_deadline_ends_with_the_handshake() -> None:
    """It does not cut the stream that comes out."""

    async def late(stream: SecureStream) -> None:
        await anyio.sleep(2 * SOON)
        await stream.send(b"x")

    async def serve(stream: ByteStream) -> None:
        async with await handshake(stream, RESPONDER, responder(), timeout=SOON * 4) as secure:
            await late(secure)

    async with listening_in(serve) as listener:
        async with await connect("127.0.0.1", listener.port, initiator(), timeout=SOON * 4) as stream:
            await anyio.sleep(SOON * 4)
            assert await stream.receive() == b"x"


async def test_the_wrong_peer_is_named_and_no_timeout() -> None:
    profile = profiles.nautilus(identity=MALLORY, trust=trust.anyone())
    async with listening_in(serving(profile)) as listener:
        with pytest.raises(HandshakeError, match="not a pinned one") as caught:
            await connect("127.0.0.1", listener.port, initiator(trust=trust.pinned(BOB.public)), timeout=5.0)
        assert not isinstance(caught.value, HandshakeTimeout)
