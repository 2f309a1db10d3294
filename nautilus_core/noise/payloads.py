"""What carries the user's payloads in Noise messages: the hook of one message, and what it sees. No message is made here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..identity.peers import ClaimedPeer, Peer
from ..step import Reading, Writing
from .properties import Properties

if TYPE_CHECKING:
    from ..context import Context


class NoiseView:
    """What a payload hook sees.

    Attributes:
        context: the step's: `yield from noise.context.ask(question)`, `publish`, `emit`, `role`, `peer`.
        index: the number of the message, from 0.
        properties: what its payload is worth (section 7.7).
        handshake_hash: through the message before this one, the same on both sides.
        static: this side's static public key, or None.
        remote_static: the peer's, as far as it is known.
        peer: whom the trust policy has accepted by now; None before. Only a `VerifiedPeer` has proved its key.
    """

    __slots__ = ("context", "handshake_hash", "index", "peer", "properties", "remote_static", "static")

    def __init__(
        self,
        context: Context,
        index: int,
        properties: Properties,
        handshake_hash: bytes,
        static: bytes | None,
        remote_static: bytes | None,
        peer: Peer | ClaimedPeer | None,
    ) -> None:
        self.context = context
        self.index = index
        self.properties = properties
        self.handshake_hash = handshake_hash
        self.static = static
        self.remote_static = remote_static
        self.peer = peer


class PayloadHook(Protocol):
    """Makes and takes the payload of one message. One hook serves all handshakes of its profile: keep no state of one in it."""

    def write(self, noise: NoiseView) -> Writing[bytes]:
        """The payload to send, or a generator that asks before it returns one."""

    def read(self, noise: NoiseView, payload: bytes) -> Reading:
        """Take the peer's payload, raising `HandshakeError` when it will not do; a generator may ask."""
