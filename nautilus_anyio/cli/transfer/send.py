"""The sending side of a transfer: offers each file, proves what is there already, sends the rest. No command line here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from ...errors import ChannelFailed
from .files import Source, hash_prefix
from .messages import (
    HEADER_LENGTH,
    MAX_DATA,
    Done,
    Have,
    Offer,
    Prefix,
    Received,
    Sending,
    Start,
    Stopped,
    TransferFailed,
    malformed,
)
from .report import Outcome, Reporter
from .wire import Wire, together

READ_AHEAD: Final = 4
"""How many pieces of the file wait between disk and network: 4 MiB of memory."""


class Sender:
    """Sends files, one after the other.

    Args:
        wire: to a receiver.
        paths: the files.
        reporter: sees how far it has got.
    """

    def __init__(self, wire: Wire, paths: Sequence[Path], reporter: Reporter) -> None:
        self._wire = wire
        self._paths = paths
        self._reporter = reporter

    async def run(self) -> None:
        """Send all files; returns once the receiver has confirmed the last.

        Raises:
            TransferFailed: a file changed or cannot be read.
            PeerStopped: the receiver does not want a file, or cannot store it.
            InvalidMessage: the peer does not keep to the protocol.
            SameRole: the peer sends, too.
            ChannelFailed: the connection broke.
        """
        await self._wire.introduce(Sending())
        for number, path in enumerate(self._paths, 1):
            with closing(Source(path)) as source:
                await _File(self._wire, source, self._reporter).send(more=number < len(self._paths))


class _File:
    """One file on its way."""

    def __init__(self, wire: Wire, source: Source, reporter: Reporter) -> None:
        self._wire = wire
        self._source = source
        self._reporter = reporter
        self._offset = 0
        self._checksum = hashlib.sha256()
        self._failure: TransferFailed | None = None
        self._all_sent = False

    async def send(self, *, more: bool) -> None:
        source, reporter = self._source, self._reporter
        await self._wire.send(Offer(source.name, source.size, more))
        reporter.begin("offering", source.name, 0, source.size)
        have = await self._wire.expect(Have)
        if have.offset > source.size:
            raise malformed("an offset behind the end", expected=f"{source.size} at most", received=str(have.offset))
        if have.offset:
            reporter.begin("checking", source.name, 0, have.offset)
        self._checksum = await hash_prefix(source.descriptor, have.offset, reporter.advance)
        await self._wire.send(Prefix(self._checksum.digest()))
        answer = await self._wire.expect(Start, Received)
        started = time.perf_counter()
        if isinstance(answer, Received):
            self._offset = source.size
            if have.offset != source.size:
                raise malformed("the receiver calls a part of the file received")
            self._check(answer)
        else:
            self._begin(answer.offset, have.offset)
            await self._move()
        seconds = time.perf_counter() - started
        digest, was_there = self._checksum.digest(), isinstance(answer, Received)
        reporter.finished(Outcome("sent", str(source.path), source.size, digest, self._offset, seconds, was_there))

    def _begin(self, offset: int, known: int) -> None:
        if offset not in (0, known):
            raise malformed("a start that was not agreed on", expected=f"0 or {known}", received=str(offset))
        self._offset = offset
        self._reporter.begin("sending", self._source.name, offset, self._source.size)
        if offset != known:
            self._reporter.note("what the receiver has is not a beginning of this file; sending all of it")
            self._checksum = hashlib.sha256()
        elif offset:
            self._reporter.note(f"resuming at byte {offset:,}", at=offset)

    async def _move(self) -> None:
        give, take = anyio.create_memory_object_stream[bytearray](READ_AHEAD)
        await together(lambda: self._read(give), lambda: self._send(take), self._watch)

    async def _read(self, give: MemoryObjectSendStream[bytearray]) -> None:
        """Disk to queue. A failure travels behind the data: a send that is cut off could not tell the receiver."""
        with give:
            try:
                for offset in range(self._offset, self._source.size, MAX_DATA):
                    await give.send(await anyio.to_thread.run_sync(self._source.frame_at, offset, self._checksum))
                self._source.check_unchanged()
            except TransferFailed as failure:
                self._failure = failure

    async def _send(self, take: MemoryObjectReceiveStream[bytearray]) -> None:
        """Queue to network."""
        with take:
            async for piece in take:
                await self._wire.send_frame(piece)
                self._reporter.advance(len(piece) - HEADER_LENGTH)
        if self._failure is not None:
            with suppress(ChannelFailed):
                await self._wire.send(Stopped(self._failure.reason))
            raise self._failure
        self._all_sent = True
        self._reporter.begin("confirming", self._source.name, self._source.size, self._source.size)
        await self._wire.send(Done(self._checksum.digest()))

    async def _watch(self) -> None:
        """Hear of it at once when the receiver stops, and of the end."""
        self._check(await self._wire.expect(Received))

    def _check(self, received: Received) -> None:
        if self._offset != self._source.size and not self._all_sent:
            raise malformed("the receiver confirms a file that is not sent yet")
        if received.digest != self._checksum.digest():
            raise malformed("the receiver confirms another checksum")
