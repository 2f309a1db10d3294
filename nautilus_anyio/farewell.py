"""The end of a stream on which something is still to be said: that it arrives, and that nobody is waited for without end.

What is said, and when, is known to those who say it: the engine, a channel, or TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

from anyio import (
    BrokenResourceError,
    BusyResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    TypedAttributeSet,
    aclose_forcefully,
    move_on_after,
    typed_attribute,
)
from anyio.abc import ByteStream

from nautilus_core import HandshakeError, LocalProtocolError

_RECEIVE_SIZE: Final = 262_144
_GRACE: Final = 1.0
_DRAIN_LIMIT: Final = 4 * 1024 * 1024

LINGER: Final = 0.25
"""Seconds of silence after which a peer that has not closed is not waited for any more."""

GONE: Final = (
    HandshakeError,
    LocalProtocolError,
    BrokenResourceError,
    BusyResourceError,
    ClosedResourceError,
    EndOfStream,
    OSError,
)
"""What says, while a stream is being closed, that there is nobody left to say anything to."""


class FarewellAttribute(TypedAttributeSet):
    """What a stream is told of its end, through whatever is wrapped around it."""

    at_last_words: Callable[[], None] = typed_attribute()
    """Called when what runs on the stream has failed, and only says so any more."""


async def last_words(
    transport: ByteStream, data: bytes | bytearray, grace: float = _GRACE, *, shield: bool = True
) -> None:
    """Send an alert so that it arrives, and close: half-close, and throw away what still comes, for `grace` seconds at most.

    Closing at once with unread data would make TCP send a reset, which discards what the peer has not read yet.
    """
    at_last_words = transport.extra(FarewellAttribute.at_last_words, None)
    if at_last_words is not None:
        at_last_words()
    with move_on_after(grace, shield=shield), suppress(NotImplementedError, *GONE):
        if data:
            await transport.send(cast("bytes", data))
        await transport.send_eof()
        drained = 0
        while drained < _DRAIN_LIMIT:
            drained += len(await transport.receive(_RECEIVE_SIZE))
    with CancelScope(shield=True):  # what has failed is to be raised, and not a deadline that passes meanwhile
        await aclose_forcefully(transport)
