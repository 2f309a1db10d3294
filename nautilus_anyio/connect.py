"""`handshake` over any AnyIO byte stream, `connect` over TCP, `connect_unix`: how a stream is got. What moves bytes is `pump`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import Final

import anyio
from anyio import aclose_forcefully
from anyio.abc import ByteStream

from nautilus_core import (
    INITIATOR,
    ChannelBindings,
    Handshake,
    HandshakeTimeout,
    Profile,
    Role,
)

from .errors import ChannelFailed, TransportFailed, cause_in_words
from .key_log import FilePath, log_to
from .pump import Answer, EventHook, Options, Pump
from .retry import Retry, retrying
from .stream import SecureStream
from .tls import AnyTls, as_tls
from .transcript import FileRecorder, Record, as_recording, prepare_folder, recording

_LAST_PORT: Final = 65_535


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
    pump = Pump(stream, engine, options, at_close)
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
    raise HandshakeTimeout(
        "TLS has taken too long", hint="the peer is slow or gone, or does not speak TLS here", step="tls"
    )


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
    if not isinstance(retry, Retry | None):
        raise TypeError(f"retry= takes a Retry, as Retry(attempts=3), not {retry!r}")
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
        raise TransportFailed(
            f"no connection to {where}", received=cause_in_words(error) or str(error), step="connect"
        ) from error
    if stream is None:
        raise TransportFailed(f"no connection to {where} in {round(timeout or 0.0, 2):g} seconds", step="connect")
    return stream, None if timeout is None else max(0.0, start + timeout - anyio.current_time())
