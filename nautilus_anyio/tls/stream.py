"""`TlsStream`: an AnyIO byte stream inside TLS, over `ssl` or pyOpenSSL. What the certificates must be is the context's.

AnyIO's own `TLSStream` has no exporter, cannot end one direction alone, and does not say which alert came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, Lock, ResourceGuard, aclose_forcefully
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute

from nautilus_core import INITIATOR, HandshakeError, Role

from ..errors import ChannelFailed, TransportFailed, cause_in_words
from ..farewell import last_words
from . import errors
from .machines import Machine

_RECEIVE_SIZE = 65_536

_HANDSHAKE_RECORD = 22
_RECORD_HEADER = 5
_LONGEST_RECORD = 16_384


def has_record(first: bytes | bytearray) -> bool:
    """Whether TLS can begin with what a client has sent `first`: a record is there whole, or can never be (RFC 8446, 5.1)."""
    if len(first) < _RECORD_HEADER:
        return bool(first) and first[0] != _HANDSHAKE_RECORD
    length = int.from_bytes(first[3:_RECORD_HEADER], "big")
    return first[0] != _HANDSHAKE_RECORD or length > _LONGEST_RECORD or len(first) >= _RECORD_HEADER + length


class TlsStream(ByteStream):
    """A byte stream inside TLS.

    An end of the stream without TLS's close is an end like any other: Nautilus's channel has an authenticated close of its
    own, and truncation shows there. This end always says its close.

    Args:
        transport: the byte stream below, which belongs to this one.
        machine: this end of TLS; its handshake is done.
        role: which end; the initiator is the client.

    Raises:
        ChannelFailed: from `send` and `receive`: TLS has failed, its `error` says how.
    """

    def __init__(self, transport: ByteStream, machine: Machine, role: Role) -> None:
        self._transport = transport
        self._machine = machine
        self._role = role
        self._sending = Lock(fast_acquire=True)
        self._receiving = ResourceGuard("receiving from")
        self._unsent = b""
        self._broken = False
        self._closed = False
        self._ended = False
        self._said_close = False

    @property
    def transport_stream(self) -> ByteStream:
        """The stream below."""
        return self._transport

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the stream below, and AnyIO's of TLS, as far as both libraries have them."""
        machine, peer = self._machine, self._role.peer
        return {
            **self._transport.extra_attributes,
            TLSAttribute.alpn_protocol: lambda: machine.alpn,
            TLSAttribute.tls_version: lambda: machine.version,
            TLSAttribute.peer_certificate_binary: lambda: machine.certificate(peer),
            TLSAttribute.server_side: lambda: self._role is not INITIATOR,
            TLSAttribute.standard_compatible: lambda: False,
        }

    async def send(self, item: bytes) -> None:
        """Send all of `item`."""
        async with self._sending:
            self._check_open()
            if item:
                try:
                    self._machine.write(item)
                except EOFError:  # the peer's stream has ended, and TLS with it
                    raise BrokenResourceError from None
                except HandshakeError as error:
                    raise ChannelFailed(error) from error
            await self._flush()

    async def receive(self, max_bytes: int = _RECEIVE_SIZE) -> bytes:
        """The next bytes, at least one and at most `max_bytes`; `EndOfStream` at the end."""
        with self._receiving:
            while True:
                self._check_open()
                if self._ended:
                    raise EndOfStream
                try:
                    data = self._machine.read(max_bytes)
                except EOFError:
                    data = b""
                except HandshakeError as error:
                    await self._break_off()
                    raise ChannelFailed(error) from error
                await self._answer()
                if data is None:
                    self._machine.feed(await self._take_in())
                elif data:
                    return data
                else:
                    self._ended = True

    async def send_eof(self) -> None:
        """Say that this end sends no more; receiving goes on (RFC 8446 section 6.1)."""
        async with self._sending:
            self._check_open()
            await self._say_close()

    async def aclose(self) -> None:
        """Say so where that was not done, and close the stream below; a send that is half way is cut, and nothing is said."""
        if self._closed:
            return
        self._closed = True
        if self._sending.locked():
            await aclose_forcefully(self._transport)
            return
        try:
            if not self._broken:
                async with self._sending:
                    with suppress(BrokenResourceError, ClosedResourceError, OSError):
                        await self._say_close()
        except BaseException:
            await aclose_forcefully(self._transport)
            raise
        await self._transport.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedResourceError
        if self._broken:
            raise BrokenResourceError

    async def _say_close(self) -> None:
        if not self._said_close:
            self._said_close = True
            self._machine.close()
            await self._flush()

    async def _flush(self) -> None:
        """Send what TLS has written, in order. What is not sent whole breaks the stream: the next record would not open."""
        while data := self._unsent + self._machine.take():
            self._unsent = b""
            try:
                await self._transport.send(data)
            except BaseException:
                self._broken = True
                raise

    async def _answer(self) -> None:
        """Reading may have had TLS write something: an answer to a key update. Who is sending sends that as well."""
        self._unsent += self._machine.take()
        if self._unsent and not self._sending.locked():
            async with self._sending:
                await self._flush()

    async def _take_in(self) -> bytes:
        try:
            return await self._transport.receive(_RECEIVE_SIZE)
        except EndOfStream:
            return b""

    async def _break_off(self) -> None:
        """TLS has failed: send its alert, if it has one, and close."""
        self._broken = True
        await last_words(self._transport, self._machine.take())


async def handshake(transport: ByteStream, machine: Machine, role: Role) -> TlsStream:
    """Make TLS over `transport`.

    Raises:
        HandshakeError: TLS has failed; the peer has its alert, and `transport` is closed.
        TransportFailed: the stream below broke.
    """
    try:
        while not machine.handshake():
            if data := machine.take():
                await transport.send(data)
            machine.feed(await _received(transport))
        if data := machine.take():
            await transport.send(data)
    except EOFError:
        await aclose_forcefully(transport)
        raise errors.ended_early() from None
    except HandshakeError:
        await last_words(transport, machine.take())
        raise
    except (BrokenResourceError, ClosedResourceError, OSError) as error:
        await aclose_forcefully(transport)
        raise TransportFailed(
            "the connection broke in the middle of the TLS handshake", received=cause_in_words(error), step=errors.STEP
        ) from error
    return TlsStream(transport, machine, role)


async def _received(transport: ByteStream) -> bytes:
    try:
        return await transport.receive(_RECEIVE_SIZE)
    except EndOfStream:
        return b""
