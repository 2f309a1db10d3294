"""`handshake` over any AnyIO byte stream, `connect` over TCP, `connect_unix`. The pump between engine and stream lives here."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import Any, TypeAlias

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, aclose_forcefully
from anyio.abc import ByteStream

from nautilus_core import (
    INITIATOR,
    PAUSED,
    Accepted,
    AlertCode,
    Event,
    Handshake,
    HandshakeCompleted,
    HandshakeTimeout,
    LocalProtocolError,
    Profile,
    Question,
    Role,
    Session,
    Signal,
    State,
)

from .errors import ChannelFailed, TransportFailed, in_words
from .stream import SecureStream, last_words

Answer: TypeAlias = Callable[[Any], Awaitable[None] | None]
"""Answers a question of a step or a policy: `question.accept()`, `.answer(value)` or `.reject(reason)`; may be async."""

EventHook: TypeAlias = Callable[[Event], None]
"""Sees each event as it happens."""


async def handshake(
    stream: ByteStream,
    role: Role,
    profile: Profile,
    *,
    timeout: float | None = 30.0,
    answer: Answer | None = None,
    wait_for_accept: bool = True,
    on_event: EventHook | None = None,
) -> SecureStream:
    """Make a handshake over `stream`, which belongs to the result from then on; after a failure it is closed.

    Args:
        stream: any AnyIO byte stream.
        role: `INITIATOR` or `RESPONDER`.
        profile: what the handshake is made of.
        timeout: seconds until it must be complete, acceptance included; None for no limit.
        answer: answers questions (`PeerIdentified` of `trust.ask()`, those of steps).
        wait_for_accept: as initiator, whether to wait until the responder has accepted us, which is when rejection shows.
        on_event: sees each event as it happens.

    Raises:
        HandshakeError: the handshake failed; the peer has been told.
        TransportFailed: the stream broke.
        LocalProtocolError: a question came and there is no `answer`, or `answer` left one open.
    """
    deadline = None if timeout is None else anyio.current_time() + timeout
    try:
        engine = Handshake(role, profile, deadline=deadline, wall_time=datetime.now(UTC))
        pump = _Pump(stream, engine, answer, on_event)
        with anyio.CancelScope(deadline=inf if deadline is None else deadline) as scope:
            session = await pump.run()
            secure = SecureStream(stream, session, session.channel())
            if wait_for_accept and not secure.confirmed:
                await secure.wait_accepted()
                if on_event is not None:
                    on_event(Accepted())
        if scope.cancelled_caught:
            await pump.fail_by_time()
    except ChannelFailed as failed:
        await aclose_forcefully(stream)
        raise failed.error from None
    except BaseException:
        await aclose_forcefully(stream)
        raise
    return secure


class _Pump:
    """Moves bytes between an engine and a stream until there is a session."""

    def __init__(
        self, stream: ByteStream, engine: Handshake, answer: Answer | None, on_event: EventHook | None
    ) -> None:
        self._stream = stream
        self._engine = engine
        self._answer = answer
        self._on_event = on_event

    async def run(self) -> Session:
        try:
            return await self._run()
        except Exception:
            if self._engine.state not in (State.COMPLETED, State.FAILED):  # a hook of the application raised
                self._engine.abort("the application failed", code=AlertCode.INTERNAL_ERROR)
                await last_words(self._stream, self._engine.data_to_send())
            raise

    async def _run(self) -> Session:
        while True:
            event = await self._next_event()
            if isinstance(event, Signal):
                if event is PAUSED:
                    raise LocalProtocolError("answer= left a question unanswered")
                self._engine.receive_data(await self._receive())
                continue
            if self._on_event is not None:
                self._on_event(event)
            if isinstance(event, Question):
                await self._ask(event)
            elif isinstance(event, HandshakeCompleted):
                return event.session

    async def fail_by_time(self) -> None:
        """The deadline has passed: tell the peer, and raise what the engine makes of it."""
        if self._engine.session is not None:
            raise HandshakeTimeout("the responder has not accepted us in time", step="accept")
        self._engine.handle_timeout(anyio.current_time())
        while True:
            await self._next_event()

    async def _next_event(self) -> Event | Signal:
        try:
            event = self._engine.next_event()
        except Exception:
            await last_words(self._stream, self._engine.data_to_send())
            raise
        data = self._engine.data_to_send()
        if data:
            # where the peer has closed already, it may have sent an alert: reading finds it, or the end of the stream
            with suppress(BrokenResourceError, ClosedResourceError, OSError):
                await self._stream.send(data)
        return event

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive()
        except EndOfStream:
            return b""
        except (BrokenResourceError, ClosedResourceError, OSError) as error:
            raise TransportFailed("the connection broke in the middle of the handshake", step=self._where()) from error

    async def _ask(self, question: Question[Any]) -> None:
        if self._answer is None:
            raise LocalProtocolError(f"{type(question).__name__} was asked, but there is no answer=")
        answering = self._answer(question)
        if answering is not None:
            await answering

    def _where(self) -> str:
        return self._engine.steps.current.name


async def connect(
    host: str,
    port: int,
    profile: Profile,
    *,
    timeout: float | None = 30.0,
    answer: Answer | None = None,
    wait_for_accept: bool = True,
    on_event: EventHook | None = None,
) -> SecureStream:
    """Connect to a listener over TCP and make a handshake as initiator.

    Args:
        host: a name or an address; all addresses of a name are tried (RFC 8305).
        port: the TCP port.
        profile: what the handshake is made of.
        timeout: seconds for connecting and for the handshake together; None for no limit.
        answer: answers questions.
        wait_for_accept: whether to wait until the responder has accepted us.
        on_event: sees each event as it happens.

    Raises:
        TransportFailed: nobody listens there, or it cannot be reached.
        HandshakeError: the handshake failed.
    """
    stream, left = await reach(host, port, timeout)
    return await handshake(
        stream, INITIATOR, profile, timeout=left, answer=answer, wait_for_accept=wait_for_accept, on_event=on_event
    )


async def connect_unix(
    path: str | os.PathLike[str],
    profile: Profile,
    *,
    timeout: float | None = 30.0,
    answer: Answer | None = None,
    wait_for_accept: bool = True,
    on_event: EventHook | None = None,
) -> SecureStream:
    """The same over the Unix socket at `path`; the other arguments and the errors are those of `connect`."""
    stream, left = await _open(partial(anyio.connect_unix, path), os.fspath(path), timeout)
    return await handshake(
        stream, INITIATOR, profile, timeout=left, answer=answer, wait_for_accept=wait_for_accept, on_event=on_event
    )


async def reach(host: str, port: int, timeout: float | None) -> tuple[ByteStream, float | None]:
    """A TCP stream to a listener, and how many seconds of `timeout` are left; `TransportFailed` where there is none."""
    return await _open(partial(anyio.connect_tcp, host, port), f"{host} port {port}", timeout)


async def _open(
    dial: Callable[[], Awaitable[ByteStream]], where: str, timeout: float | None
) -> tuple[ByteStream, float | None]:
    """The stream that `dial` opens, and how many seconds of `timeout` are left for the handshake."""
    start = anyio.current_time()
    stream: ByteStream | None = None
    try:
        with anyio.move_on_after(timeout):
            stream = await dial()
    except OSError as error:
        raise TransportFailed(f"no connection to {where}", received=_cause(error), step="connect") from error
    if stream is None:
        raise TransportFailed(f"no connection to {where} in {timeout} seconds", step="connect")
    return stream, None if timeout is None else max(0.0, start + timeout - anyio.current_time())


def _cause(error: OSError) -> str:
    """What happened at the first address that was tried, in the words of the system."""
    cause: BaseException = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return in_words(cause) if isinstance(cause, OSError) else str(cause)
