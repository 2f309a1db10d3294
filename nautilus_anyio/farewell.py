"""The end of a stream on which something is still to be said: that it arrives, and that nobody is waited for without end.

What is said, and when, is known to those who say it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, cast

from anyio import (
    BrokenResourceError,
    BusyResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    aclose_forcefully,
    move_on_after,
)
from anyio.abc import ByteStream

from nautilus_core import HandshakeError, LocalProtocolError

_RECEIVE_SIZE: Final = 262_144
_DRAIN_LIMIT: Final = 4 * 1024 * 1024
_GRACE: Final = 1.0
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


async def last_words(
    transport: ByteStream, data: bytes | bytearray, grace: float = _GRACE, *, shield: bool = True
) -> None:
    """Send an alert so that it arrives, and close: half-close, and throw away what still comes, for `grace` seconds at most.

    Closing at once with unread data would make TCP send a reset, which discards what the peer has not read yet.
    """
    with move_on_after(grace, shield=shield), suppress(NotImplementedError, *GONE):
        if data:
            await transport.send(cast("bytes", data))
        await transport.send_eof()
        drained = 0
        while drained < _DRAIN_LIMIT:
            drained += len(await transport.receive(_RECEIVE_SIZE))
    with CancelScope(shield=True):  # what has failed is to be raised, and not a deadline that passes meanwhile
        await aclose_forcefully(transport)
