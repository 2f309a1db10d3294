"""`handshake` over any AnyIO byte stream, `connect` over TCP, `connect_unix`. The pump between engine and stream lives here."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import Any, Final, NoReturn, TypeAlias

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, aclose_forcefully
from anyio.abc import ByteStream

from nautilus_core import (
    INITIATOR,
    PAUSED,
    Accepted,
    AlertCode,
    Channel,
    ChannelBindings,
    Event,
    Handshake,
    HandshakeCompleted,
    HandshakeError,
    HandshakeTimeout,
    LocalProtocolError,
    Profile,
    Question,
    Role,
    Session,
    Signal,
    State,
    TransportUpgrade,
    UpgradeToTls,
)

from .errors import ChannelFailed, TransportFailed, in_words
from .key_log import FilePath, KeyLogFile, log_to
from .retry import Retry, retrying
from .stream import LINGER, SecureStream, last_words
from .tls import AnyTls, Tls, as_tls
from .transcript import FileRecorder, Record, as_recording, prepare_folder, recording

_LAST_PORT: Final = 65_535

Answer: TypeAlias = Callable[[Any], Awaitable[None] | None]
"""Answers a question of a step or a policy: `question.accept()`, `.answer(value)` or `.reject(reason)`; may be async."""

EventHook: TypeAlias = Callable[[Event], None]
"""Sees each event as it happens."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `connect`, `handshake` and `serve` are asked for, on its way to the handshake; each of them says what it means."""

    timeout: float | None
    answer: Answer | None
    on_event: EventHook | None
    record: Record | None
    key_log: KeyLogFile | None
    wait_for_accept: bool = True
    tls: Tls | None = None
    channel_bindings: ChannelBindings | None = None


async def handshake(
    stream: ByteStream,
    role: Role,
    profile: Profile,
    *,
    timeout: float | None = 30.0,
    answer: Answer | None = None,
    wait_for_accept: bool = True,
    on_event: EventHook | None = None,
    record: Record | None = None,
    key_log: FilePath | None = None,
    tls: AnyTls | None = None,
    channel_bindings: ChannelBindings | None = None,
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
        record: a new file for the transcript, or a `transcript.Recording`.
        key_log: a file that gets each traffic secret. DANGEROUS: whoever has it can read the session.
        tls: makes the handshake inside TLS: a context of `ssl` or pyOpenSSL, or a `Tls`, which says more.
        channel_bindings: where `stream` is inside TLS already, what names that connection: `bindings_of(stream)`.

    Raises:
        HandshakeError: the handshake failed, or TLS did; the peer has been told.
        TransportFailed: the stream broke.
        LocalProtocolError: a question came and there is no `answer`, or `answer` left one open.
        OSError: the transcript's file is there already or cannot be made, or the key log cannot be written.
        ValueError: `tls` cannot do what it says.
    """
    async with _owned(stream):
        log, below = log_to(key_log), as_tls(tls, role, profile)
        if below is not None and channel_bindings is not None:
            raise ValueError("channel_bindings= is for a stream that is inside TLS already; tls= makes them itself")
        options = Options(timeout, answer, on_event, record, log, wait_for_accept, below, channel_bindings)
        return await handshake_over(stream, role, profile, options)


async def handshake_over(stream: ByteStream, role: Role, profile: Profile, options: Options) -> SecureStream:
    """The same, with its options as one value."""
    async with _owned(stream):
        with recording(options.record, role) as recorder:
            return await _made(stream, role, profile, options, recorder)


@asynccontextmanager
async def _owned(stream: ByteStream) -> AsyncIterator[None]:
    """Whatever fails in the block, the stream is closed."""
    try:
        yield
    except BaseException:
        await aclose_forcefully(stream)
        raise


async def _made(
    stream: ByteStream, role: Role, profile: Profile, options: Options, recorder: FileRecorder | None
) -> SecureStream:
    timeout = options.timeout
    deadline = None if timeout is None else anyio.current_time() + timeout
    stream, bindings = await _inside(stream, role, options, deadline)
    engine = Handshake(
        role,
        profile,
        deadline=deadline,
        wall_time=datetime.now(UTC),
        recorder=None if recorder is None else recorder.recorder,
        key_log=options.key_log,
        channel_bindings=bindings,
    )
    at_close = recorder.close if recorder is not None and recorder.whole_channel else None
    pump = _Pump(stream, engine, options, at_close)
    try:
        with anyio.CancelScope(deadline=inf if deadline is None else deadline):
            return await pump.run()
        await pump.fail_by_time()
    except ChannelFailed as failed:
        pump.give_up(failed.error)
        raise failed.error from None
    except BaseException as error:
        pump.give_up(error)
        raise


async def _inside(
    stream: ByteStream, role: Role, options: Options, deadline: float | None
) -> tuple[ByteStream, ChannelBindings | None]:
    """The stream that the handshake travels on, inside TLS where that comes first, and what names it."""
    tls = options.tls
    if tls is None or tls.upgrade:
        return stream, options.channel_bindings
    with anyio.CancelScope(deadline=inf if deadline is None else deadline):
        return await tls.wrap(stream, role)
    raise HandshakeTimeout("TLS has taken too long", step="tls")


class _Pump:
    """Moves bytes between an engine and a stream until the handshake is done.

    Args:
        stream: which it does not close but after an alert.
        engine: the handshake.
        options: how it is made.
        at_close: for the secure stream, to call when it is closed.
    """

    def __init__(
        self, stream: ByteStream, engine: Handshake, options: Options, at_close: Callable[[], None] | None
    ) -> None:
        self._stream = stream
        self._engine = engine
        self._options = options
        self._at_close = at_close
        self._channel: Channel | None = None

    async def run(self) -> SecureStream:
        session = await self._session()
        channel = self._channel = session.channel()
        secure = SecureStream(self._stream, session, channel, at_close=self._at_close)
        if self._options.wait_for_accept and not secure.confirmed:
            await secure.wait_accepted()
            self._show(Accepted())
        return secure

    async def _session(self) -> Session:
        try:
            return await self._until_there_is_a_session()
        except TransportFailed:
            raise
        except Exception as error:
            if self._engine.state not in (State.COMPLETED, State.FAILED):  # a hook of the application raised
                self.give_up(error)
                await last_words(self._stream, self._engine.data_to_send())
            raise

    async def _until_there_is_a_session(self) -> Session:
        while True:
            event = await self._next_event()
            if isinstance(event, Signal):
                if event is PAUSED:
                    raise LocalProtocolError("answer= left a question unanswered")
                self._engine.receive_data(await self._receive())
                continue
            self._show(event)
            if isinstance(event, Question):
                await self._ask(event)
            elif isinstance(event, HandshakeCompleted):
                return event.session

    async def fail_by_time(self) -> NoReturn:
        """The deadline has passed: tell the peer, and raise what the engine makes of it.

        The peer is waited for no longer than a silent one at any close: it has had its time.
        """
        engine = self._engine
        if engine.session is not None:
            error = self._too_late_at_the_end()
            self.give_up(error)
            await last_words(self._stream, b"" if self._channel is None else self._channel.data_to_send(), LINGER)
            raise error
        engine.handle_timeout(inf)  # the cancel scope has said that it has passed
        try:
            while True:
                engine.next_event()
        except Exception:
            await last_words(self._stream, engine.data_to_send(), LINGER)
            raise

    def _too_late_at_the_end(self) -> HandshakeTimeout:
        """The engine is done; what is missing is the peer's acceptance, or that it takes what we have sent last."""
        if self._channel is None:
            return HandshakeTimeout(
                "the peer has not taken our last message in time",
                hint="it does not read, or the connection is stuck",
                step=self._where(),
            )
        return HandshakeTimeout(
            "the responder has not accepted us in time",
            expected="the peer's message accept",
            received="nothing in time",
            hint="its owner may still be asked whether we are welcome",
            step="accept",
        )

    def give_up(self, error: BaseException) -> None:
        """What ends the handshake is no failure of the engine or its channel: it becomes one, so that a transcript has it."""
        if isinstance(error, HandshakeError):
            reason, code = error.message, AlertCode.USER_CANCELED
        elif isinstance(error, Exception):
            reason, code = "the application failed", AlertCode.INTERNAL_ERROR
        else:
            reason, code = "cancelled", AlertCode.USER_CANCELED
        with suppress(HandshakeError, LocalProtocolError):  # it has failed already
            if self._channel is not None:
                self._channel.abort(reason, code=code)
                self._channel.next_event()
            elif self._engine.state not in (State.COMPLETED, State.FAILED):
                self._engine.abort(reason, code=code)

    def _show(self, event: Event) -> None:
        if self._options.on_event is not None:
            self._options.on_event(event)

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
        except ChannelFailed:  # TLS below has failed, and says how
            raise
        except (BrokenResourceError, ClosedResourceError, OSError) as error:
            raise TransportFailed("the connection broke in the middle of the handshake", step=self._where()) from error

    async def _ask(self, question: Question[Any]) -> None:
        if isinstance(question, TransportUpgrade):
            await self._upgrade(question)
            return
        answer = self._options.answer
        if answer is None:
            raise LocalProtocolError(f"{type(question).__name__} was asked, but there is no answer=")
        answering = answer(question)
        if answering is not None:
            await answering

    async def _upgrade(self, question: TransportUpgrade) -> None:
        """Go on inside TLS. What was read is with the engine, which has nothing of it left; all that comes now is TLS's."""
        tls = self._options.tls
        if tls is None or not tls.upgrade:
            raise LocalProtocolError(f"{UpgradeToTls.name} was agreed on, but there is no tls=Tls(..., upgrade=True)")
        self._stream, bindings = await tls.wrap(self._stream, self._engine.role)
        question.secured(bindings or ChannelBindings(required=False))

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
    record: Record | None = None,
    key_log: FilePath | None = None,
    retry: Retry | None = None,
    tls: AnyTls | None = None,
) -> SecureStream:
    """Connect to a listener over TCP and make a handshake as initiator.

    Args:
        host: a name or an address; all addresses of a name are tried (RFC 8305).
        port: the TCP port.
        profile: what the handshake is made of.
        timeout: seconds for connecting and for the handshake together; None for no limit. With `retry`, for each attempt.
        answer: answers questions.
        wait_for_accept: whether to wait until the responder has accepted us.
        on_event: sees each event as it happens.
        record: a new file for the transcript, or a `transcript.Recording`; there is none when nobody listens. With `retry` a
            folder, in which each attempt has a file of its own.
        key_log: a file that gets each traffic secret. DANGEROUS: whoever has it can read the session.
        retry: how often and when to try again where that may help; not at all by default.
        tls: makes the handshake inside TLS: a context of `ssl` or pyOpenSSL, or a `Tls`, which says more.
            The server's certificate must name `host`.

    Raises:
        TransportFailed: nobody listens there, or it cannot be reached.
        HandshakeError: the handshake failed, or TLS did. With `retry`, the error of the last attempt.
        OSError: the transcript's file is there already or cannot be made, or the key log cannot be written.
        ValueError: there is no such port.
    """
    if not 0 < port <= _LAST_PORT:
        raise ValueError(f"a TCP port is 1 to {_LAST_PORT}, and not {port}")
    below = as_tls(tls, INITIATOR, profile, host)
    options = Options(timeout, answer, on_event, record, log_to(key_log), wait_for_accept, below)
    return await _dialed(partial(anyio.connect_tcp, host, port), f"{host} port {port}", profile, options, retry)


async def connect_unix(
    path: str | os.PathLike[str],
    profile: Profile,
    *,
    timeout: float | None = 30.0,
    answer: Answer | None = None,
    wait_for_accept: bool = True,
    on_event: EventHook | None = None,
    record: Record | None = None,
    key_log: FilePath | None = None,
    retry: Retry | None = None,
    tls: AnyTls | None = None,
) -> SecureStream:
    """The same over the Unix socket at `path`; the other arguments and the errors are those of `connect`."""
    below = as_tls(tls, INITIATOR, profile)
    options = Options(timeout, answer, on_event, record, log_to(key_log), wait_for_accept, below)
    return await _dialed(partial(anyio.connect_unix, path), os.fspath(path), profile, options, retry)


async def _dialed(
    dial: Callable[[], Awaitable[ByteStream]], where: str, profile: Profile, options: Options, retry: Retry | None
) -> SecureStream:
    """A handshake over the stream that `dial` opens, tried again as `retry` has it."""
    if retry is None:
        return await _attempt(dial, where, profile, options)
    record = options.record
    if record is not None:
        record = replace(as_recording(record), each=True)
        prepare_folder(record.path)

    async def once(seconds: float | None) -> SecureStream:
        return await _attempt(dial, where, profile, replace(options, timeout=seconds, record=record))

    return await retrying(retry, once, options.timeout, options.on_event)


async def _attempt(
    dial: Callable[[], Awaitable[ByteStream]], where: str, profile: Profile, options: Options
) -> SecureStream:
    """One handshake over the stream that `dial` opens; a file that cannot be made is noticed before."""
    with recording(options.record, INITIATOR) as recorder:
        stream, left = await _open(dial, where, options.timeout)
        async with _owned(stream):
            return await _made(stream, INITIATOR, profile, replace(options, timeout=left), recorder)


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
        raise TransportFailed(f"no connection to {where} in {round(timeout or 0.0, 2):g} seconds", step="connect")
    return stream, None if timeout is None else max(0.0, start + timeout - anyio.current_time())


def _cause(error: OSError) -> str:
    """What happened at the first address that was tried, in the words of the system."""
    cause: BaseException = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return in_words(cause) if isinstance(cause, OSError) else str(cause)
