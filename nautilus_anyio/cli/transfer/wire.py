"""Messages of a transfer over a `SecureStream`, and tasks that run at once. Which message comes when is not known here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar, cast, overload

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream

from nautilus_core import HandshakeError

from ...sockets import notice_dead_peers
from ...stream import SecureStream
from .messages import (
    AnyMessage,
    Incoming,
    Message,
    Parser,
    PeerStopped,
    Ready,
    Reason,
    SameRole,
    Sending,
    Stopped,
    frame,
    malformed,
)

M = TypeVar("M", bound=Message)
N = TypeVar("N", bound=Message)

_STOP_SECONDS: Final = 5.0
_DEAD_AFTER: Final = 60
"""Seconds after which a peer whose machine answers nothing counts as gone."""


class Wire:
    """Sends and receives the frames of one transfer.

    Args:
        stream: the channel to the peer; it stays the caller's to close.
    """

    def __init__(self, stream: SecureStream) -> None:
        self._stream = stream
        self._parser = Parser()
        notice_dead_peers(stream, seconds=_DEAD_AFTER, sending=True)

    async def introduce(self, own: Ready | Sending) -> None:
        """Say which of the two this end is, and hear what the other one is; before all else.

        Raises:
            SameRole: the same; both ends find that out.
        """
        await self.send(own)
        if type(await self.expect(Ready, Sending)) is type(own):
            both = "receives" if isinstance(own, Ready) else "sends"
            raise SameRole(f"the other end {both}, too")

    async def send(self, message: Message) -> None:
        """Send a message."""
        await self._stream.send(frame(message))

    async def send_frame(self, data: bytes | bytearray) -> None:
        """Send a frame that is made already."""
        await self._stream.send(cast("bytes", data))  # it reads any buffer

    async def stop(self, reason: Reason) -> None:
        """Tell the peer that this end gives up; a peer that is gone need not be told.

        What the peer still sends is read and thrown away until it has ended: a connection that is closed before that is
        reset, and the peer might see the reset instead of the reason.
        """
        with anyio.move_on_after(_STOP_SECONDS), suppress(EndOfStream, BrokenResourceError, ClosedResourceError):
            await self.send(Stopped(reason))
            while True:
                await self._stream.receive()

    async def receive(self, what: str) -> Incoming:
        """The next message or piece of the file; `what` says for an error what was expected.

        Raises:
            InvalidMessage: the peer sent what is none, or ended in the middle.
            PeerStopped: the peer gave up.
            ChannelFailed: the connection broke.
        """
        while (came := self._parser.next_frame()) is None:
            try:
                self._parser.receive_data(await self._stream.receive())
            except EndOfStream:
                raise malformed("the peer ended too early", expected=what, received="the end") from None
        if isinstance(came, Stopped):
            raise PeerStopped(came.reason)
        return came

    @overload
    async def expect(self, kind: type[M], /) -> M: ...
    @overload
    async def expect(self, kind: type[M], other: type[N], /) -> M | N: ...
    async def expect(self, *kinds: type[Any]) -> Any:
        """The next message, which must be of one of `kinds`; raises as `receive`, and `InvalidMessage` for another."""
        expected = " or ".join(_name(kind) for kind in kinds)
        came = await self.receive(expected)
        if isinstance(came, kinds):
            return came
        raise malformed("a message out of order", expected=expected, received=shown(came))


def shown(came: AnyMessage | bytes) -> str:
    """What came, in a few words for an error."""
    return "a piece of the file" if isinstance(came, bytes) else _name(type(came))


def _name(kind: type[Message]) -> str:
    return f"'{kind.__struct_config__.tag}'"


async def together(*jobs: Callable[[], Awaitable[None]]) -> None:
    """Run all at once. The first that fails ends the others, and its error is raised as it is."""
    failures: list[Exception] = []

    async def guarded(job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        except (HandshakeError, BrokenResourceError, ClosedResourceError, OSError) as error:
            failures.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for job in jobs:
            tasks.start_soon(guarded, job)
    if failures:
        raise failures[0]
