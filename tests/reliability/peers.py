"""Peers of a listener, as plain sockets: those that are silent, slow or talk nonsense, and those that stop half way.

They make no handshakes of their own: what they send was made before. Honest peers use `nautilus_anyio.connect`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from nautilus_core import INITIATOR, Handshake, Identity, profiles, trust

from .listener import HOST

_NO_PORT_YET: Final = 24
"""Linux's IP_BIND_ADDRESS_NO_PORT: choose the port when connecting, so that all of them do for each peer."""


def first_flight() -> bytes:
    """All that an initiator sends before it waits."""
    own = Identity.generate()
    handshake = Handshake(INITIATOR, profiles.nautilus(identity=own, trust=trust.anyone()))
    handshake.next_event()
    return handshake.data_to_send()


def dial(port: int, source: str = HOST) -> socket.socket:
    """A socket that does not block, on its way to the listener."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    peer.setblocking(False)
    if source != HOST:
        peer.setsockopt(socket.IPPROTO_IP, _NO_PORT_YET, 1)
        peer.bind((source, 0))
    peer.connect_ex((HOST, port))
    return peer


def send(peer: socket.socket, data: bytes) -> bool:
    """Send all of `data` if the system takes it at once; whether it has."""
    try:
        return peer.send(data) == len(data)
    except OSError:
        return False


HOSTILE: Final[dict[str, Callable[[bytes], bytes]]] = {
    "silent": lambda _: b"",
    "garbage": lambda _: b"SSH-2.0-nobody\r\n" + bytes(64),
    "truncated": lambda flight: flight[: len(flight) // 3],
    "oversized": lambda _: b"\xe1\xff\xff\xff" + bytes(64),
    "byte by byte": lambda flight: flight[:1],
    "gone in mid-hello": lambda flight: flight[:10],
}
"""What each kind sends at first, given an honest first flight. Who goes byte by byte goes on, who is gone closes."""
