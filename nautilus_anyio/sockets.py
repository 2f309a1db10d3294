"""What is peculiar to sockets: options of the TCP socket below a stream, why accepting fails for a while.

Streams of other kinds have no such options, and are left as they are.
"""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress
from typing import Any, Final

from anyio import TypedAttributeProvider
from anyio.abc import SocketAttribute

OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
_PASSING: Final = OUT_OF_FILES | {errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED}
"""Why accepting one connection can fail without a fault of the listener: the process or the system has too much open."""

_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)


def notice_dead_peers(stream: TypedAttributeProvider, *, seconds: int = 120, sending: bool = False) -> None:
    """Have the system find out about a peer that vanished without a word.

    Args:
        stream: over TCP, directly or not.
        seconds: of silence after which the peer is gone; a live one's system answers in between.
        sending: whether it counts as silence, too, that nothing of what we send is taken: not for a peer that may stop
            reading for longer.
    """
    raw = _tcp_socket(stream)
    if raw is None:
        return
    settings = [("TCP_KEEPIDLE", seconds // 2), ("TCP_KEEPINTVL", seconds // 6), ("TCP_KEEPCNT", 3)]
    if sending:
        settings.append(("TCP_USER_TIMEOUT", seconds * 1000))
    with suppress(OSError):  # it is closed already
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in settings:
            if hasattr(socket, name):  # not every system has all
                raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def reset_at_close(stream: TypedAttributeProvider) -> None:
    """Make the close of a TCP socket a reset, which its other end cannot take for an end of data. Others just close."""
    raw = _tcp_socket(stream)
    if raw is not None:
        with suppress(OSError):  # it is closed already
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)


def _tcp_socket(stream: TypedAttributeProvider) -> Any:
    raw = stream.extra(SocketAttribute.raw_socket, None)
    return raw if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6) else None


def passing_errno(error: BaseException | None) -> int | None:
    """The errno of what accepting has raised, where it passes by itself; looks into the groups and causes that AnyIO adds."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            numbers = [passing_errno(inner) for inner in error.exceptions]
            return None if None in numbers else numbers[0]
        if isinstance(error, OSError) and error.errno in _PASSING:
            return error.errno
        error = error.__cause__
    return None
