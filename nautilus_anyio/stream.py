"""`SecureStream`: an AnyIO byte stream over a secure channel. It moves bytes; records and keys are the channel's."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, cast

from anyio import (
    BrokenResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    Lock,
    TypedAttributeSet,
    aclose_forcefully,
    current_time,
    move_on_after,
    typed_attribute,
)
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint_if_cancelled

from nautilus_core import (
    AlertCode,
    Channel,
    DataReceived,
    Event,
    HandshakeError,
    LocalProtocolError,
    PeerClosed,
    Session,
    Signal,
)
from nautilus_core.identity.peers import Peer

from .errors import ChannelFailed, TransportFailed, cause_in_words
from .farewell import GONE, LINGER, last_words

_RECEIVE_SIZE: Final = 262_144
_RECORDS_AT_ONCE: Final = 4
_CLOSE_GRACE: Final = 2.0


class SecureAttribute(TypedAttributeSet):
    """What a `SecureStream` knows, as AnyIO's typed attributes; those of the stream below are there as well."""

    peer: Peer = typed_attribute()
    """The verified peer, or `ANONYMOUS`."""
    protocol: str | None = typed_attribute()
    """The application protocol id."""
    suite: str = typed_attribute()
    """The name of the cipher suite."""
    session: Session = typed_attribute()
    """The whole session."""
    channel_binding: bytes = typed_attribute()
    """Bytes that name this session, equal on both ends."""


class SecureStream(ByteStream):
    """A byte stream whose data is sealed. Made by `connect`, `handshake` and `serve`.

    Tasks may send and receive at once; of those that do the same, one goes after the other. A send that is cancelled leaves
    a record half written: the stream is broken then, and closed; no key is used again for other data. A receive that is
    cancelled loses nothing.

    Raises:
        ChannelFailed: from `send` and `receive`: the peer gave up, the stream below broke, or what came is not authentic.
            It is a `BrokenResourceError`, as AnyIO's users expect.
    """

    def __init__(
        self,
        transport: ByteStream,
        session: Session,
        channel: Channel,
        *,
        at_close: Callable[[], None] | None = None,
    ) -> None:
        self._transport = transport
        self._at_close = at_close
        self._session = session
        self._channel = channel
        self._records: deque[bytes | memoryview] = deque()
        self._sending = Lock(fast_acquire=True)  # sending on the stream below yields already
        self._receiving = Lock(fast_acquire=True)
        self._peer_closed = False
        self._failure: HandshakeError | None = None
        self._closed = False
        self._sent_eof = False

    def __repr__(self) -> str:
        return f"<SecureStream {self._session!r}>"

    @property
    def session(self) -> Session:
        """What the handshake agreed on."""
        return self._session

    @property
    def confirmed(self) -> bool:
        """Whether the responder has accepted us; always so unless `wait_for_accept=False`."""
        return self._channel.confirmed

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The typed attributes: see `SecureAttribute`."""
        session = self._session
        return {
            **self._transport.extra_attributes,
            SecureAttribute.peer: lambda: session.peer,
            SecureAttribute.protocol: lambda: session.protocol,
            SecureAttribute.suite: lambda: session.suite,
            SecureAttribute.session: lambda: session,
            SecureAttribute.channel_binding: lambda: session.channel_binding,
        }

    async def send(self, item: bytes) -> None:
        """Send all of `item`."""
        await checkpoint_if_cancelled()  # before anything is sealed: the stream is as it was then
        async with self._sending:
            data = item if type(item) is bytes else memoryview(item)  # a slice of all of `bytes` is no copy
            size = _RECORDS_AT_ONCE * self._channel.max_payload
            for start in range(0, len(data), size):
                async with self._sealing():
                    self._channel.send_data(data[start : start + size])
                await self._flush()

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """The next bytes, at least one and at most `max_bytes`; `EndOfStream` once the peer has closed its direction."""
        if max_bytes < 1:
            raise ValueError("max_bytes is at least 1")
        while True:
            async with self._receiving:  # for one event at a time: a close, too, has to take in what comes
                if self._closed:
                    raise ClosedResourceError
                if self._records:
                    return self._take(max_bytes)
                event = await self._next_event()
                if isinstance(event, DataReceived):
                    self._records.extend(event.records)
                    return self._take(max_bytes)
                if isinstance(event, PeerClosed):
                    self._peer_closed = True
                    raise EndOfStream

    def _take(self, most: int) -> bytes:
        data = self._records.popleft()
        if len(data) > most:
            rest = memoryview(data)
            self._records.appendleft(rest[most:])
            data = rest[:most]
        return data if isinstance(data, bytes) else bytes(data)

    async def update_keys(self, *, ask_peer: bool = False) -> None:
        """Change to the next traffic key of this direction now; with `ask_peer`, the peer does at its next send."""
        await checkpoint_if_cancelled()
        async with self._sending:
            async with self._sealing():
                self._channel.update_keys(ask_peer=ask_peer)
            await self._flush()

    async def send_eof(self) -> None:
        """Say that this end sends no more; receiving goes on. A second call does nothing.

        It is said authentically, but where the protocol has no close of its own (plain Noise): there the stream below ends.
        """
        await checkpoint_if_cancelled()
        async with self._sending:
            async with self._sealing():
                self._channel.close()
            self._sent_eof = True
            await self._flush()
            if self._channel.closes_with_stream:
                with suppress(BrokenResourceError, ClosedResourceError, OSError):
                    await self._transport.send_eof()

    async def wait_closed(self) -> None:
        """Wait until the peer has closed altogether, and does not receive any more either.

        Raises:
            LocalProtocolError: before `EndOfStream`: there may be data to receive.
        """
        if not self._peer_closed:
            raise LocalProtocolError("wait_closed() is for after EndOfStream: the peer may still send")
        with suppress(ChannelFailed):
            await self._until_the_end()

    async def _until_the_end(self) -> None:
        """Of the stream below, after the peer has closed its direction: nothing may come any more."""
        async with self._receiving:
            while data := await self._receive():
                self._channel.receive_data(data)
                await self._next_event()

    async def finish(self) -> None:
        """Once both directions have ended: close, and wait until the peer has, too. It has done then what it had to.

        There is no limit to how long that takes. The end of the stream below is not authentic, its reset is not either: this
        tells of a peer that failed after it had closed its direction, and could not say so any more.

        Raises:
            LocalProtocolError: before `send_eof`, or before `EndOfStream`.
            ChannelFailed: the peer has broken off instead.
        """
        if not (self._sent_eof and self._peer_closed):
            raise LocalProtocolError("finish() is for after send_eof() and EndOfStream")
        self._check_open()
        with suppress(NotImplementedError, BrokenResourceError, ClosedResourceError, OSError):
            await self._transport.send_eof()
        await self._until_the_end()
        await self.aclose()

    async def abort(self, reason: str, *, code: int = AlertCode.USER_CANCELED, retry_after: int | None = None) -> None:
        """End both directions at once, and close. The peer is told `code`, unless `send_eof` was this end's last word.

        Args:
            reason: for this side's error, which every later call raises.
            code: `USER_CANCELED`, `BUSY`, `INTERNAL_ERROR`, or an application's own, 256 to 65535.
            retry_after: seconds after which the peer may try again; at most a day.

        Raises:
            ValueError: for another code, or a `retry_after` out of range.
        """
        if self._failure is None and not self._closed:
            with suppress(HandshakeError, LocalProtocolError):
                self._channel.abort(reason, code=code, retry_after=retry_after)
            self._failed(HandshakeError(f"aborted by the application: {reason}", step="channel"))
            await self._end_with_last_words()

    async def wait_accepted(self) -> None:
        """Wait until the responder has accepted us; raises `ChannelFailed` when it has not. Before any `receive`."""
        async with self._receiving:
            while not self._channel.confirmed:
                await self._next_event()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close. After an exception abort instead, when cancelled cut: the peer must not take half of the data for all."""
        try:
            if isinstance(error, Exception) and not self._closed:
                await self.abort("it failed", code=AlertCode.INTERNAL_ERROR)
            elif error is not None:
                self._closed = True
                await aclose_forcefully(self._transport)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close both directions: say so to the peer, let it take in what was sent, close the stream below.

        It takes two seconds at most.
        """
        try:
            if not self._closed:
                await self._close()
        finally:
            if self._at_close is not None:
                self._at_close()

    async def _close(self) -> None:
        with move_on_after(_CLOSE_GRACE):
            try:
                if self._failure is None:
                    with suppress(*GONE):
                        await self._say_goodbye()
                self._closed = True
                with suppress(OSError):
                    await self._transport.aclose()
            except BaseException:
                self._closed = True
                await aclose_forcefully(self._transport)
                raise

    async def _say_goodbye(self) -> None:
        """Send the close; before it, as initiator, take in the acceptance; after it, what the peer still sends.

        TCP resets a stream that is closed with unread data, and a reset discards what the peer has not read yet. Nothing
        is unread once the peer has closed, too.
        """
        if not self._channel.confirmed:
            await self.wait_accepted()
        async with self._sending:
            self._closed = True
            self._channel.close()
            if data := self._channel.data_to_send():
                await self._transport.send(cast("bytes", data))
        if not self._peer_closed:
            with move_on_after(LINGER) as silence:
                async with self._receiving:  # a task that receives still lets go of it with the next bytes that come
                    await self._take_in_the_rest(silence)

    async def _take_in_the_rest(self, silence: CancelScope) -> None:
        """Until the peer has closed its direction, too, or is silent: it may need a while to read what was sent."""
        while not isinstance(event := self._channel.next_event(), PeerClosed):
            if isinstance(event, Signal):
                self._channel.receive_data(await self._transport.receive(_RECEIVE_SIZE))
                silence.deadline = current_time() + LINGER

    # ------------------------------------------------------------------ the pump

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedResourceError
        if self._failure is not None:
            raise ChannelFailed(self._failure) from self._failure

    @asynccontextmanager
    async def _sealing(self) -> AsyncIterator[None]:
        """Let the channel seal something. What came after the data that was received last may have ended it already."""
        self._check_open()
        try:
            yield
        except HandshakeError as error:
            failure = self._failed(error)
            await last_words(self._transport, self._channel.data_to_send())
            raise failure from error
        except LocalProtocolError as error:
            if self._sent_eof:
                raise ClosedResourceError("send_eof() was called: this direction is closed") from error
            raise

    async def _flush(self) -> None:
        """Send what is sealed. A record that is not sent whole breaks the stream: its nonce is not used again."""
        try:
            while data := self._channel.data_to_send():
                await self._transport.send(cast("bytes", data))
        except (BrokenResourceError, ClosedResourceError, OSError) as error:
            self._check_open()
            raise self._failed(_broken_below(error)) from error
        except BaseException:
            self._failed(TransportFailed("a send was cancelled half way", step="channel"))
            with CancelScope(shield=True):  # Ctrl-C must not turn into the cancellation that it sets off elsewhere
                await aclose_forcefully(self._transport)
            raise

    async def _next_event(self) -> Event:
        """What the channel makes of what comes in. A key update that the peer asks for leaves with the next send."""
        while True:
            self._check_open()
            try:
                event = self._channel.next_event()
            except HandshakeError as error:
                failure = self._failed(error)
                await self._end_with_last_words()
                raise failure from error
            if not isinstance(event, Signal):
                return event
            self._channel.receive_data(await self._receive())

    async def _receive(self) -> bytes:
        try:
            return await self._transport.receive(_RECEIVE_SIZE)
        except EndOfStream:
            return b""
        except ChannelFailed as failed:  # TLS below has failed, and says how
            raise self._failed(failed.error) from failed
        except (BrokenResourceError, ClosedResourceError, OSError) as error:
            self._check_open()
            raise self._failed(_broken_below(error)) from error

    async def _end_with_last_words(self) -> None:
        """Send the alert and close; where a send is half way there is no place for it, and that send must not hang."""
        if self._sending.locked():
            await aclose_forcefully(self._transport)
        else:
            await last_words(self._transport, self._channel.data_to_send())

    def _failed(self, error: HandshakeError) -> ChannelFailed:
        self._failure = self._failure or error
        return ChannelFailed(self._failure)


def _broken_below(error: Exception) -> TransportFailed:
    return TransportFailed("the stream below broke", received=cause_in_words(error), step="channel")
