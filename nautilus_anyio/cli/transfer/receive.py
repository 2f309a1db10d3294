"""The receiving side of a transfer: decides what it takes and what it keeps, writes it, and confirms. No command line here."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from ...errors import ChannelFailed
from .files import Destination, PartFile, check_room, hash_prefix
from .messages import Done, Have, Offer, PeerStopped, Prefix, Ready, Reason, Received, Start, TransferFailed, malformed
from .report import Outcome, Reporter
from .wire import Wire, shown, together

WRITE_BEHIND: Final = 4
"""How many pieces of the file wait between network and disk: 4 MiB of memory."""
_BUSY_SECONDS: Final = 2.0


class Receiver:
    """Receives the files that a sender offers, one after the other.

    Args:
        wire: to a sender.
        destination: where the files go.
        reporter: sees how far it has got.
    """

    def __init__(self, wire: Wire, destination: Destination, reporter: Reporter) -> None:
        self._wire = wire
        self._destination = destination
        self._reporter = reporter

    async def run(self) -> None:
        """Receive all files; returns once the last is on the disk.

        Raises:
            TransferFailed: a file is not wanted or cannot be stored; the sender has been told.
            PeerStopped: the sender cannot go on.
            InvalidMessage: the peer does not keep to the protocol.
            SameRole: the peer receives, too.
            ChannelFailed: the connection broke.
        """
        await self._wire.introduce(Ready())
        more = True
        while more:
            offer = await self._wire.expect(Offer)
            more = offer.more
            try:
                await self._take(offer)
            except PeerStopped:
                raise
            except TransferFailed as failure:
                await self._wire.stop(failure.reason)
                raise

    async def _take(self, offer: Offer) -> None:
        target = self._destination.target(offer.name, offer.size)
        if offer.more and self._destination.output is not None:
            raise TransferFailed("several files are offered, but --output names one", Reason.ONE_FILE)
        self._reporter.begin("receiving", target.name, 0, offer.size)
        there = await anyio.to_thread.run_sync(self._destination.existing, target, offer.size)
        if there is not None:
            await self._compare(target, there, offer)
            return
        with closing(await _open(target)) as part:
            await _File(self._wire, part, offer, self._reporter).receive(target, force=self._destination.force)

    async def _compare(self, target: Path, descriptor: int, offer: Offer) -> None:
        """A file of that name and size is there: perhaps it is the one, from an attempt whose end the sender missed."""
        try:
            await self._wire.send(Have(offer.size))
            self._reporter.begin("checking", target.name, 0, offer.size)
            digest = (await hash_prefix(descriptor, offer.size, self._reporter.advance)).digest()
        finally:
            os.close(descriptor)
        if digest != (await self._wire.expect(Prefix)).digest:
            raise self._destination.exists(target)
        outcome = Outcome("received", str(target), offer.size, digest, offer.size, 0.0, was_there=True)
        await _confirm(self._wire, self._reporter, outcome, offer)


async def _open(target: Path) -> PartFile:
    """The part of `target`. A transfer to it that was cut off just now gets a moment to notice, and to let go."""
    give_up = anyio.current_time() + _BUSY_SECONDS
    while True:
        try:
            return await anyio.to_thread.run_sync(PartFile, target)
        except TransferFailed as failure:
            if failure.reason is not Reason.BUSY or anyio.current_time() > give_up:
                raise
        await anyio.sleep(_BUSY_SECONDS / 50)


class _File:
    """One file on its way."""

    def __init__(self, wire: Wire, part: PartFile, offer: Offer, reporter: Reporter) -> None:
        self._wire = wire
        self._part = part
        self._offer = offer
        self._reporter = reporter
        self._checksum = hashlib.sha256()

    async def receive(self, target: Path, *, force: bool) -> None:
        offset = await self._agree(target)
        started = time.perf_counter()
        self._reporter.begin("receiving", target.name, offset, self._offer.size)
        if offset:
            self._reporter.note(f"resuming at byte {offset:,}", at=offset)
        await self._wire.send(Start(offset))
        await self._move()
        digest = self._checksum.digest()
        if digest != (await self._wire.expect(Done)).digest:
            self._part.discard()
            raise TransferFailed(
                f"{target.name}: the checksum is not the sender's; what came was thrown away; send it again",
                Reason.DIGEST,
            )
        await anyio.to_thread.run_sync(lambda: self._part.publish(force=force))
        seconds = time.perf_counter() - started
        outcome = Outcome("received", str(target), self._offer.size, digest, offset, seconds)
        await _confirm(self._wire, self._reporter, outcome, self._offer)

    async def _agree(self, target: Path) -> int:
        """From which byte on to send: behind what is there, if that is a beginning of the file."""
        part, size = self._part, self._offer.size
        known = part.size if part.size <= size else 0
        check_room(target.parent, size - part.size)
        await self._wire.send(Have(known))
        if known:
            self._reporter.begin("checking", target.name, 0, known)
        self._checksum = await hash_prefix(part.descriptor, known, self._reporter.advance)
        same = self._checksum.digest() == (await self._wire.expect(Prefix)).digest
        if known != part.size or not same:
            self._reporter.note("what was here is not a beginning of this file; receiving all of it")
            self._checksum = hashlib.sha256()
            known = 0
        await anyio.to_thread.run_sync(part.cut, known)
        return known

    async def _move(self) -> None:
        give, take = anyio.create_memory_object_stream[bytes](WRITE_BEHIND)
        await together(lambda: self._receive(give), lambda: self._write(take))

    async def _receive(self, give: MemoryObjectSendStream[bytes]) -> None:
        """Network to queue."""
        left = self._offer.size - self._part.size
        with give:
            while left:
                piece = await self._wire.receive("a piece of the file")
                if not isinstance(piece, bytes):
                    raise malformed("a message out of order", expected="a piece of the file", received=shown(piece))
                if len(piece) > left:
                    raise malformed("more than was offered", expected=f"{left:,} bytes", received=f"{len(piece):,}")
                left -= len(piece)
                await give.send(piece)

    async def _write(self, take: MemoryObjectReceiveStream[bytes]) -> None:
        """Queue to disk."""

        def store(piece: bytes) -> None:
            self._part.append(piece)
            self._checksum.update(piece)

        with take:
            async for piece in take:
                await anyio.to_thread.run_sync(store, piece)
                self._reporter.advance(len(piece))


async def _confirm(wire: Wire, reporter: Reporter, outcome: Outcome, offer: Offer) -> None:
    """Tell the sender, and report the file; after the last one it does no harm when the sender is gone."""
    try:
        await wire.send(Received(outcome.digest))
    except ChannelFailed:
        if offer.more:
            raise
    finally:
        reporter.finished(outcome)
