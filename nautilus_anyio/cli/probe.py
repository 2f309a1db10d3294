"""One probe of a peer that nobody trusts: a connection, a handshake that is watched and broken off. What to probe for, and
what it all means, is `inspect`'s business.

A probe sees the peer's messages before this side judges them, and goes on where an honest initiator would stop. It never
completes a handshake that the peer would accept: whoever listens for one peer goes on listening.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import msgspec
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    AlertCode,
    Context,
    HandshakeError,
    HandshakeStep,
    PeerAborted,
    Profile,
    profiles,
    trust,
)
from nautilus_core.frames import FRAME_NAMES, HEADER_LENGTH, protocol_of
from nautilus_core.identity.peers import Peer
from nautilus_core.step import Reading

from ..connect import handshake, reach

_ANONYMOUS: Final = ANONYMOUS.credential_type
_HEAD: Final = 64
_FIRST_WORD: Final = 6

OUR_FIRST_BYTES: Final = frozenset(bytes((kind,)) for kind in FRAME_NAMES)
"""With which frames of nautilus/1 begin."""


class SeenEnough(HandshakeError):
    """The probe breaks off by itself; the peer is told that its user gave up."""


@dataclass(slots=True)
class Seen:
    """What one connection showed.

    Attributes:
        what: was tried, in a few words.
        connect: seconds until the connection was there.
        answer: seconds from our first byte, or from the connection where we sent none, to the peer's first; None for none.
        head: the first bytes that came.
        ended: whether the peer ended its stream.
        messages: the peer's messages, by step, as they came.
        peer: the peer, once its proof of possession has verified.
        error: how the handshake ended; None where it was none, or the peer accepted it.
        outcome: what came of it, in a few words.
    """

    what: str
    connect: float = 0.0
    answer: float | None = None
    head: bytes = b""
    ended: bool = False
    messages: dict[str, Any] = field(default_factory=dict)
    peer: Peer | None = None
    error: HandshakeError | None = None
    outcome: str = ""

    @property
    def alert(self) -> PeerAborted | None:
        """The alert with which the peer refused us."""
        return self.error if isinstance(self.error, PeerAborted) and self.error.code is not None else None

    @property
    def foreign(self) -> str | None:
        """The protocol, none of ours, of what came; None where nothing came or it is not known."""
        return protocol_of(self.head[:HEADER_LENGTH])


class _Tap(ByteStream):
    """A stream that is looked at: when the first bytes went and came, and what they were."""

    def __init__(self, stream: ByteStream, seen: Seen) -> None:
        self._stream = stream
        self.seen = seen
        self._since = time.perf_counter()
        self._sent = False

    async def send(self, item: bytes) -> None:
        if not self._sent:
            self._sent, self._since = True, time.perf_counter()
        await self._stream.send(item)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        seen = self.seen
        try:
            data = await self._stream.receive(max_bytes)
        except (EndOfStream, BrokenResourceError, OSError):
            seen.ended = True
            raise
        if seen.answer is None:
            seen.answer = time.perf_counter() - self._since
        if len(seen.head) < _HEAD:
            seen.head += data[: _HEAD - len(seen.head)]
        return data

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes


# ------------------------------------------------------------------ the watched handshake


class _Watched(HandshakeStep[Any]):
    """A step of the default handshake, whose message is noted when it comes in; all else is the step's own."""

    def __init__(self, step: HandshakeStep[Any], seen: Seen) -> None:
        self._step = step
        self._seen = seen
        self.name, self.sender, self.inserts = step.name, step.sender, step.inserts
        self.needs, self.provides = step.needs, step.provides
        self.negotiates, self.built_in = step.negotiates, step.built_in

    def write(self, context: Context) -> Any:
        return self._step.write(context)

    def read(self, context: Context, message: Any) -> Reading:
        self._seen.messages[self.name] = message
        return self._step.read(context, message)

    def commit(self, context: Context) -> None:
        self._step.commit(context)
        self._seen.peer = context.peer

    def forget(self) -> None:
        self._step.forget()

    def encode(self, message: Any) -> bytes:
        return self._step.encode(message)

    def decode(self, body: bytes) -> Any:
        return self._step.decode(body)


class _WatchedSelection(_Watched):
    """`suite`: the end of a probe for suites alone. Else it goes on, whether or not the peer accepts an anonymous one."""

    selection_only = False

    def read(self, context: Context, message: Any) -> Reading:
        self._seen.messages[self.name] = message
        if self.selection_only:
            raise SeenEnough("the probe has seen the selection", alert=AlertCode.USER_CANCELED)
        types = (*message.credential_types, _ANONYMOUS)
        return self._step.read(context, msgspec.structs.replace(message, credential_types=types))


class _LastWord(_Watched):
    """`initiator-authentication`: an anonymous one is sent to who will refuse it; who would accept it is left in peace."""

    def write(self, context: Context) -> Any:
        if _ANONYMOUS in self._seen.messages["suite"].credential_types:
            raise SeenEnough("the probe has seen enough", alert=AlertCode.USER_CANCELED)
        return super().write(context)


def watched(seen: Seen, suites: tuple[str, ...], protocols: tuple[str, ...], *, selection_only: bool) -> Profile:
    """The default handshake of an anonymous initiator who trusts anyone; `seen` gets what the peer says."""
    honest = profiles.nautilus(
        identity=ANONYMOUS, trust=trust.anyone(anonymous=True), suites=suites, protocols=protocols
    )

    def make_steps() -> list[HandshakeStep[Any]]:
        made: list[HandshakeStep[Any]] = []
        for step in honest.make_steps():
            if step.name == "suite":
                selection = _WatchedSelection(step, seen)
                selection.selection_only = selection_only
                made.append(selection)
            else:
                made.append((_LastWord if step.name == "initiator-authentication" else _Watched)(step, seen))
        return made

    return Profile(honest.name, make_steps, honest.stream, honest.limits)


# ------------------------------------------------------------------ probes


@dataclass(slots=True)
class Prober:
    """Makes probes of one address, and keeps account of them.

    Args:
        host: a name or an address.
        port: the TCP port.
        deadline: when all has to be done, on AnyIO's clock.
        most: connections.
        patience: seconds for one connection.
        on_probe: called at each.

    Attributes:
        done: what the connections showed, in order.
    """

    host: str
    port: int
    deadline: float
    most: int
    patience: float
    on_probe: Callable[[], None]
    done: list[Seen] = field(default_factory=list)

    @property
    def exhausted(self) -> bool:
        """Whether there is no time, or no connection, left."""
        return len(self.done) >= self.most or anyio.current_time() >= self.deadline

    async def listen(self) -> Seen:
        """Connect, say nothing, and see whether the peer speaks first; it has a part of the patience for that."""
        seen, stream = await self._connect("nothing")
        try:
            with anyio.move_on_after(min(self.patience / _FIRST_WORD, self._left())):
                await _read_head(stream)
        finally:
            await anyio.aclose_forcefully(stream)
        return seen

    async def say(self, what: str, data: bytes) -> Seen:
        """Connect, send `data`, and see how the answer begins."""
        seen, stream = await self._connect(what)
        try:
            with anyio.move_on_after(self._left()):
                await stream.send(data)
                await _read_head(stream)
        except (BrokenResourceError, OSError):
            seen.ended = True
        finally:
            await anyio.aclose_forcefully(stream)
        return seen

    async def shake_hands(
        self, what: str, suites: tuple[str, ...], protocols: tuple[str, ...], *, selection_only: bool = False
    ) -> Seen:
        """A watched handshake, as far as it goes, or to the peer's selection."""
        seen, stream = await self._connect(what)
        profile = watched(seen, suites, protocols, selection_only=selection_only)
        try:
            async with await handshake(stream, INITIATOR, profile, timeout=self._left()):
                pass
        except HandshakeError as error:
            seen.error = error
        return seen

    def _left(self) -> float:
        return max(0.0, min(self.patience, self.deadline - anyio.current_time()))

    async def _connect(self, what: str) -> tuple[Seen, _Tap]:
        seen = Seen(what)
        self.done.append(seen)
        self.on_probe()
        start = time.perf_counter()
        stream, _ = await reach(self.host, self.port, self._left())
        seen.connect = time.perf_counter() - start
        return seen, _Tap(stream, seen)


async def _read_head(stream: _Tap) -> None:
    with suppress(EndOfStream, BrokenResourceError, OSError):
        await stream.receive()


def http_greeting(host: str) -> bytes:
    """A request that every HTTP server answers."""
    return f"OPTIONS * HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii", "replace")


def tls_greeting() -> bytes:
    """A ClientHello, of the standard library's making."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def speaks_ours(seen: Seen) -> bool:
    """Whether what came was nautilus/1: a message of it, or one of its alerts."""
    return bool(seen.messages) or (seen.alert is not None and seen.head[:1] in OUR_FIRST_BYTES)
