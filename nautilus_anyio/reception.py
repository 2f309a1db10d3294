"""`Reception`: each connection of a listener from accepting to its end: half-open, in progress, session. It bounds and counts.

Who may have a place is decided in `admission`; how a handshake is made, by whoever made the reception.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Final, TypeAlias

import anyio
from anyio import BrokenResourceError, CancelScope, ClosedResourceError, EndOfStream, aclose_forcefully, current_time
from anyio.abc import ByteStream, SocketAttribute
from anyio.lowlevel import checkpoint_if_cancelled

from nautilus_core import INITIATOR, AlertCode, HandshakeError, HandshakeTimeout, PeerAborted, Profile

from .admission import ListenerLimits, Place, Places, source_of
from .counters import Counters, Refusal, Tally
from .errors import ChannelFailed, TransportFailed, cause_in_words
from .farewell import FarewellAttribute, last_words
from .stream import SecureStream
from .tls import has_record

Handler: TypeAlias = Callable[[SecureStream], Awaitable[Any]]

ShakeHands: TypeAlias = Callable[[ByteStream, float | None], Awaitable[SecureStream]]
"""Makes the handshake over a stream within so many seconds; whatever fails, the stream is closed."""

_MOST_HELD: Final = 4096
"""Bytes of a first message that are held without an engine; a longer one takes a place before it is whole."""

_CROWD: Final = 256
"""When so many connections wait, who is sent away is told and closed at once: most hear it, as all that they sent was read."""


@dataclass(frozen=True, slots=True)
class ConnectionFailure:
    """What ended one connection of a listener.

    Attributes:
        error: the error; a `HandshakeError` or `ChannelFailed` where the peer or the stream below was the cause.
        phase: `handshake` or `handler`.
        remote: the peer's address, as the stream below knows it; None where it has none.
        peer_id: who it was, where that was proved: also of a peer that the trust policy or a step refused.
    """

    error: Exception
    phase: str
    remote: Any
    peer_id: str | None

    def __str__(self) -> str:
        """One line for people: what failed with whom, and the whole of the error."""
        at = self.remote
        at = f"{at[0]} port {at[1]}" if isinstance(at, tuple) and len(at) > 1 else at
        whom = [str(one) for one in (self.peer_id, at) if one]
        return " ".join([self.phase, *(["with", " at ".join(whom)] if whom else []), f"failed: {self.error}"])

    @property
    def fields(self) -> dict[str, Any]:
        """The same for structured logs: plain values, nothing secret."""
        error = self.error.error if isinstance(self.error, ChannelFailed) else self.error
        fields: dict[str, Any] = {
            "phase": self.phase,
            "remote": self.remote,
            "peer_id": self.peer_id,
            "kind": type(error).__name__,
        }
        if isinstance(error, HandshakeError):
            fields |= {"step": error.step, "alert": error.alert, "retryable": error.retryable}
        return fields


class _Guest(ByteStream):
    """A connection on its way in: the stream below, with the peer's first bytes in front of what is still to come.

    It knows whose turn it is: nobody else waits for a peer, in a handshake, but by `receive`.

    Args:
        stream: the stream below.
        scope: what the connection's task runs in.

    Attributes:
        remote: the peer's address.
        first: what it has said before there was an engine.
        farewell: what it is told when it is sent away.
        admitted: when it got its place.
        place: it, while it has one.
        at_goodbye: called when the handshake has failed and says its last words.
        evicted: whether it had to make room.
    """

    def __init__(self, stream: ByteStream, scope: CancelScope) -> None:
        self.stream = stream
        self.scope = scope
        self.remote = stream.extra(SocketAttribute.remote_address, None)
        self.first = b""
        self.farewell = b""
        self.admitted = 0.0
        self.place: Place | None = None
        self.at_goodbye: Callable[[], None] | None = None
        self.evicted = False

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the stream below, and who is told when the handshake, in TLS or not, has failed."""
        return {**self.stream.extra_attributes, FarewellAttribute.at_last_words: lambda: self._needs_no_place}

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """What was read before there was a handshake, then what comes."""
        if self.first:
            data, self.first = self.first[:max_bytes], self.first[max_bytes:]
            return data
        place = self.place
        if place is None:
            return await self.stream.receive(max_bytes)
        place.waiting = True
        try:
            return await self.stream.receive(max_bytes)
        finally:
            place.waiting = False

    async def send(self, item: bytes) -> None:
        """Send all of `item`."""
        await self.stream.send(item)

    async def send_eof(self) -> None:
        """End this direction."""
        await self.stream.send_eof()

    async def aclose(self) -> None:
        """Close the stream below."""
        await self.stream.aclose()

    def _needs_no_place(self) -> None:
        """Within a handshake: it has failed."""
        if self.at_goodbye is not None:
            self.at_goodbye()


class Reception:
    """Receives the connections of one listener, and sees to it that there are not too many.

    Args:
        profile: what the handshakes are made of.
        limits: how many, and how long.
        timeout: seconds for each connection from accepting to the end of its handshake; None for no limit.
        failed: is told what ended a handshake or a handler.
        refused: is told that a connection was refused, and why.
        inside_tls: whether TLS comes first: then who is refused is told nothing, since TLS has no word for it.
    """

    def __init__(
        self,
        profile: Profile,
        limits: ListenerLimits,
        timeout: float | None,
        failed: Callable[[ConnectionFailure], None],
        refused: Callable[[Refusal], None],
        *,
        inside_tls: bool = False,
    ) -> None:
        stream = profile.make_stream()
        self._has_message = has_record if inside_tls else stream.has_message
        self._busy = b"" if inside_tls else _alert(profile, AlertCode.BUSY, limits.retry_after)
        self._too_slow = b"" if inside_tls else _alert(profile, AlertCode.TIMEOUT, None)
        first = profile.outline.descriptions[0]
        self._first_step = "tls" if inside_tls else first.name
        self._peer_begins = inside_tls or first.sender is INITIATOR
        self._limits = limits
        self._timeout = timeout
        self._failed = failed
        self._refused = refused
        self._tally = Tally()
        self._places = Places(limits)
        self._guests: dict[_Guest, None] = {}
        self._waiting_room: dict[_Guest, None] = {}
        self._half_open = 0
        self._closing = False
        self._empty: anyio.Event | None = None

    def counters(self) -> Counters:
        """What was counted, as it is now."""
        return self._tally.counters(half_open=self._half_open, in_progress=len(self._places))

    async def receive(self, stream: ByteStream, shake_hands: ShakeHands, handler: Handler) -> None:
        """Everything with one connection, until it is closed; whatever fails is its own.

        Args:
            stream: the connection.
            shake_hands: makes the handshake, once it has a place.
            handler: called with the secure stream, which is closed when it returns.
        """
        with self._expected(stream) as guest:
            secure = await self._let_in(guest, shake_hands)
            if secure is not None:
                await self._attend(secure, guest, handler)
            else:
                await self._dismiss(guest)

    async def admit(self, stream: ByteStream, shake_hands: ShakeHands) -> SecureStream | None:
        """The handshake with one connection. The secure stream is the caller's, who closes it: `drain` leaves it alone.

        Args:
            stream: the connection.
            shake_hands: makes the handshake, once it has a place.

        Returns:
            None where it was not let in, or its handshake failed: that was told already, and it is closed.
        """
        with self._expected(stream) as guest:
            secure = await self._let_in(guest, shake_hands)
            if secure is None:
                await self._dismiss(guest)
            return secure
        return None  # it had to make room

    def make_room(self) -> bool:
        """Give up some of the connections that wait without a place: files are scarce. Whether there were any."""
        count = -(-len(self._waiting_room) // 8)
        for guest in list(self._waiting_room)[:count]:
            self._evict(guest)
        return count > 0

    def close(self) -> None:
        """Let nobody in any more: those that have no place yet are cut, the others go on."""
        self._closing = True
        for guest in self._waiting_room:
            guest.scope.cancel()

    async def drain(self, grace: float) -> None:
        """Close, and give what is there `grace` seconds to end; then it is cancelled. Cancelled itself, it cuts at once."""
        self.close()
        if not self._guests:
            return
        self._empty = self._empty or anyio.Event()
        try:
            with anyio.move_on_after(grace):
                await self._empty.wait()
        finally:
            for guest in self._guests:
                guest.scope.cancel()
        await self._empty.wait()

    # ---------------------------------------------------------------- one connection

    @contextmanager
    def _expected(self, stream: ByteStream) -> Iterator[_Guest]:
        """Within the block a connection is one of ours, and can be cut, which ends the block."""
        self._tally.accepted += 1
        with CancelScope() as scope:
            guest = _Guest(stream, scope)
            self._guests[guest] = None
            try:
                yield guest
            finally:
                del self._guests[guest]
                if self._empty is not None and not self._guests:
                    self._empty.set()

    async def _let_in(self, guest: _Guest, shake_hands: ShakeHands) -> SecureStream | None:
        """The secure stream, once its handshake is complete; None where it is not let in. It is counted here, and once."""
        now = current_time()
        deadline = inf if self._timeout is None else now + self._timeout
        try:
            if self._peer_begins:
                await self._hear_first_message(guest, now, deadline)
            if not self._take_place(guest):
                return None
            secure = await shake_hands(guest, None if deadline == inf else max(0.0, deadline - current_time()))
            await self._keep_unless_cut(secure)
        except Exception as error:
            self._leave(guest)
            self._tally.fail(error)
            peer_id = error.peer_id if isinstance(error, HandshakeError) else None
            self._failed(ConnectionFailure(error, "handshake", guest.remote, peer_id))
            return None
        except BaseException:
            self._leave(guest)
            self._tally.refuse(Refusal.EVICTED if guest.evicted else Refusal.CLOSING)
            await aclose_forcefully(guest.stream)
            raise
        self._leave(guest)
        self._tally.complete(current_time() - guest.admitted)
        return secure

    async def _hear_first_message(self, guest: _Guest, now: float, deadline: float) -> None:
        """Wait until it is there; it is held by the guest."""
        seconds = self._limits.hello_timeout
        deadline = deadline if seconds is None else min(deadline, now + seconds)
        heard = bytearray()
        self._half_open += 1
        try:
            with self._in_waiting_room(guest), CancelScope(deadline=deadline):
                while not self._has_message(heard) and len(heard) < _MOST_HELD:
                    heard += await guest.stream.receive()
                guest.first = bytes(heard)
                return
        except EndOfStream:
            raise PeerAborted(
                "the stream ended before the first message",
                expected="the peer's first message",
                received=f"{len(heard)} bytes of it" if heard else "the end of the stream",
                hint="somebody looked whether the port is open, or the peer crashed",
                step=self._first_step,
            ) from None
        except (BrokenResourceError, ClosedResourceError, OSError) as error:
            raise TransportFailed(
                "the connection broke before the first message", received=cause_in_words(error), step=self._first_step
            ) from error
        finally:
            self._half_open -= 1
        guest.farewell = self._too_slow
        raise HandshakeTimeout(
            f"no first message in {deadline - now:g} seconds",
            received=f"{len(heard)} bytes of it" if heard else "nothing",
            step=self._first_step,
        )

    def _take_place(self, guest: _Guest) -> bool:
        """Whether there is one; it is held until the guest leaves."""
        guest.admitted = current_time()
        place = Place(source_of(guest.remote), guest.admitted, partial(self._evict, guest))
        refusal = Refusal.CLOSING if self._closing else self._places.take(place)
        if refusal is None:
            guest.place = place
            guest.at_goodbye = partial(self._leave, guest)
            return True
        guest.farewell = self._busy
        self._tally.refuse(refusal)
        self._refused(refusal)
        return False

    async def _keep_unless_cut(self, secure: SecureStream) -> None:
        """Where the place was lost with the last bytes of the handshake, it is lost."""
        try:
            await checkpoint_if_cancelled()
        except BaseException:
            await aclose_forcefully(secure)
            raise

    def _leave(self, guest: _Guest) -> None:
        """The handshake is over, one way or the other."""
        guest.at_goodbye = None
        if guest.place is not None:
            self._places.give_back(guest.place)
            guest.place = None

    async def _dismiss(self, guest: _Guest) -> None:
        """Say why, so that it arrives, and close; that can take a second, which nobody gets where too many wait."""
        try:
            if guest.farewell and len(self._waiting_room) < _CROWD:
                with self._in_waiting_room(guest):
                    await last_words(guest.stream, guest.farewell, shield=False)
            elif guest.farewell:
                with suppress(BrokenResourceError, ClosedResourceError, OSError):
                    await guest.stream.send(guest.farewell)
        finally:
            await aclose_forcefully(guest.stream)

    async def _attend(self, secure: SecureStream, guest: _Guest, handler: Handler) -> None:
        self._tally.sessions += 1
        try:
            async with secure:
                await handler(secure)
        except Exception as error:  # whatever it is, it is this connection's alone
            self._tally.fail_session(error)
            self._failed(ConnectionFailure(error, "handler", guest.remote, secure.session.peer.peer_id))
        finally:
            self._tally.sessions -= 1

    # -------------------------------------------------------------- the waiting room

    @contextmanager
    def _in_waiting_room(self, guest: _Guest) -> Iterator[None]:
        """Who waits here has no place, and is sent away when too many come after."""
        if self._closing:
            guest.scope.cancel()
        if len(self._waiting_room) >= self._limits.half_open:
            self._evict(next(iter(self._waiting_room)))
        self._waiting_room[guest] = None
        try:
            yield
        finally:
            self._waiting_room.pop(guest, None)

    def _evict(self, guest: _Guest) -> None:
        self._waiting_room.pop(guest, None)
        guest.evicted = True
        guest.scope.cancel()


def _alert(profile: Profile, code: AlertCode, retry_after: int | None) -> bytes:
    """The frame of an alert in plaintext; nothing where the profile's framing has no alerts."""
    stream = profile.make_stream()
    stream.write_alert(code, retry_after)
    return stream.data_to_send()
