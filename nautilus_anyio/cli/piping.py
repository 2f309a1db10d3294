"""Bytes from one stream to another, and both ways with half-close. What the streams are, and who made them, is not here."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, Protocol

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, aclose_forcefully
from anyio.abc import SocketStream

from nautilus_core import HandshakeError

from ..errors import ChannelFailed, cause_in_words
from ..sockets import reset_at_close
from ..stream import SecureStream

CHUNK: Final = 262_144
BROKEN: Final = (BrokenResourceError, ClosedResourceError, OSError)
"""What a stream raises that no longer works."""

LINGER: Final = 5.0
"""Seconds that an end which is not listened to any more has, to notice and to end as well."""


class Source(Protocol):
    """What bytes come from; `EndOfStream` at its end."""

    async def receive(self, max_bytes: int = ...) -> bytes:
        """What there is, one byte at least and `max_bytes` at most; waits where there is nothing yet."""


class Sink(Protocol):
    """What bytes go to. `send` returns once there is room for more: that is what slows the source down."""

    async def send(self, item: bytes, /) -> None:
        """Send all of `item`; one of `BROKEN` where it takes no more."""

    async def send_eof(self) -> None:
        """Say that nothing more comes."""


class SinkFailed(Exception):
    """The sink takes no more; what the source says is still to be heard.

    Attributes:
        error: what the sink raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


async def copy(source: Source, sink: Sink) -> None:
    """Carry all that comes from `source`, without saying to `sink` that it ends there.

    Raises:
        SinkFailed: the sink takes no more.
    """
    while True:
        try:
            data = await source.receive(CHUNK)
        except EndOfStream:
            return
        try:
            await sink.send(data)
        except BROKEN as error:
            raise SinkFailed(error) from error


async def carry(source: Source, sink: Sink) -> None:
    """`copy`, and tell the sink that it was all.

    Raises:
        SinkFailed: the sink takes no more.
    """
    await copy(source, sink)
    try:
        await sink.send_eof()
    except BROKEN as error:
        raise SinkFailed(error) from error


async def discard(source: Source) -> None:
    """Read to the end, for nobody: whether and how the source ends is noticed only by who reads."""
    with suppress(EndOfStream):
        while True:
            await source.receive(CHUNK)


async def pipe(secure: SecureStream, local: SocketStream) -> None:
    """Carry both directions between a secure stream and a socket, each until its own end; then close the socket.

    A direction whose sink fails does not stop the other one: what its source has sent already still arrives. A source that
    fails stops both. A socket that has not been told the end by then is reset, so that half of the data is not taken for
    all; the secure stream is left to the caller, whose `async with` sees the exception and tells the peer.

    Raises:
        BrokenResourceError, ClosedResourceError, OSError: what the first stream that failed has raised.
    """
    inward, outward = _Way(secure, local), _Way(local, secure)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inward.run, outward)
            tasks.start_soon(outward.run, inward)
        failure = inward.failure or outward.failure
    except ExceptionGroup as group:
        failure = first_of(group)
    finally:
        if not inward.complete:
            reset_at_close(local)
        await aclose_forcefully(local)
    if failure is not None:
        raise failure


def first_of(error: Exception) -> Exception:
    """The first exception of a group, or `error` itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def why(error: Exception, local: str) -> str:
    """What to say of an error of a secure stream, or of a socket or process here that is called `local`."""
    if isinstance(error, HandshakeError | ChannelFailed):
        return str(error)
    cause = cause_in_words(error)
    return f"{local}: {cause}" if cause is not None else str(error) or f"{local}: it broke off"


class _Way:
    """One direction of a pipe."""

    def __init__(self, source: Source, sink: Sink) -> None:
        self._source = source
        self._sink = sink
        self._over = anyio.Event()
        self.complete = False
        self.failure: Exception | None = None

    async def run(self, other: _Way) -> None:
        try:
            await carry(self._source, self._sink)
            self.complete = True
        except SinkFailed as failed:
            self.failure = failed.error
        self._over.set()
        if not self.complete:
            await self._discard(other)

    async def _discard(self, other: _Way) -> None:
        """Go on reading, a while longer than the other direction: a socket closed with unread data loses what it sends."""
        async with anyio.create_task_group() as tasks:

            async def limit() -> None:
                await other._over.wait()
                await anyio.sleep(LINGER)
                tasks.cancel_scope.cancel()

            tasks.start_soon(limit)
            await discard(self._source)
            tasks.cancel_scope.cancel()
