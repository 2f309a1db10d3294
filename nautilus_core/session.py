"""The result of a handshake. Making the keys is the key schedule's, using them for records is the channel's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from .errors import AlertCode, AuthenticationFailed, LocalProtocolError
from .identity.identities import Anonymous
from .identity.peers import Peer, VerifiedPeer
from .role import Role

if TYPE_CHECKING:
    from .datagrams import DatagramChannel
    from .stream import HandshakeStream
    from .transport import Channel

Exporter = Callable[[str, bytes, int], bytes]
ChannelMaker = Callable[["HandshakeStream"], "Channel"]
DatagramMaker = Callable[[], "DatagramChannel"]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Session:
    """What a completed handshake agreed on. The last step makes it; the engine adds `steps` and `results`.

    Attributes:
        role: which end this is.
        peer: the `VerifiedPeer`, or `ANONYMOUS`. In a Noise pattern in which a peer proves its static key with its first
            transport message, it is `ANONYMOUS` until that has opened.
        psk: the identity of the pre-shared key that both ends proved to have, or None where there is none.
        protocol: the application protocol id, or None when neither side named any.
        suite: the name of the cipher suite.
        handshake_hash: over all messages of the handshake: equal on both ends, different in every other session. No secret.
            Empty where the last step gave none.
        steps: the names of the steps that ran, in order.
        results: what steps published, by the step's name.
        extensions: what the peer said in the extensions that both sides know.
        tls_binding: how both ends are bound to one TLS connection below, `tls-exporter` or `tls-server-end-point`; None where
            they are not: whoever terminates TLS between them is not found out then.
    """

    __slots__ = (
        "_channel_maker",
        "_datagram_maker",
        "_exporter",
        "_shown",
        "_stream",
        "extensions",
        "handshake_hash",
        "peer",
        "protocol",
        "psk",
        "results",
        "role",
        "steps",
        "suite",
        "tls_binding",
    )

    def __init__(
        self,
        *,
        role: Role,
        peer: Peer | None,
        protocol: str | None,
        suite: str,
        exporter: Exporter | None = None,
        channel_maker: ChannelMaker | None = None,
        datagram_maker: DatagramMaker | None = None,
        handshake_hash: bytes = b"",
        extensions: Mapping[str, bytes] = _NOTHING,
        psk: str | None = None,
    ) -> None:
        if not isinstance(peer, (VerifiedPeer, Anonymous)):
            raise LocalProtocolError("a session needs a verified peer, or says that it is anonymous")
        self.role = role
        self.peer = peer
        self.protocol = protocol
        self.suite = suite
        self.extensions = extensions
        self.psk = psk
        self.tls_binding: str | None = None
        self.steps: tuple[str, ...] = ()
        self.results: Mapping[str, Any] = _NOTHING
        self._exporter = exporter
        self.handshake_hash = handshake_hash
        self._channel_maker = channel_maker
        self._datagram_maker = datagram_maker
        self._stream: HandshakeStream | None = None
        self._shown: Callable[[Channel], Channel] | None = None

    def __repr__(self) -> str:
        return f"Session({self.role!r}, {self.suite}, protocol={self.protocol!r}, peer={self.peer!r})"

    def export(self, label: str, context: bytes, length: int) -> bytes:
        """Keying material that only the two ends have (RFC 8446 section 7.5).

        Args:
            label: what for; 1 to 245 bytes in UTF-8.
            context: bound into the result; of any length.
            length: of the result, in bytes.

        Raises:
            ValueError: for a label or a length out of range.
            LocalProtocolError: the protocol has no exporter, as plain Noise has none.
        """
        if self._exporter is None:
            raise LocalProtocolError(
                f"{self.suite} defines no exporter: bind to channel_binding, or carry keys as data"
            )
        return self._exporter(label, context, length)

    @property
    def channel_binding(self) -> bytes:
        """What names this session: equal on both ends, different in every other session. No secret.

        32 bytes of the exporter; of plain Noise, which has none, the handshake hash, 32 or 64 bytes (section 11.2).
        """
        if self._exporter is None and self.handshake_hash:
            return self.handshake_hash
        return self.export("channel binding", b"", 32)

    @property
    def valid_until(self) -> datetime | None:
        """Until when the peer's credential counts, for long-lived connections; None where it does not say."""
        return getattr(self.peer, "valid_until", None)

    def revalidate(self, now: datetime) -> None:
        """Whether the peer's credential still counts at `now`, with a time zone.

        Raises:
            AuthenticationFailed: not any more: the application ends the connection.
            ValueError: `now` has no time zone.
        """
        if now.tzinfo is None:
            raise ValueError("revalidate() wants a time with its time zone")
        until = self.valid_until
        if until is not None and now > until:
            raise AuthenticationFailed(
                "the peer's credential has expired in the meantime",
                expected=f"one that is valid at {now.isoformat()}",
                received=f"one that was until {until.isoformat()}",
                hint="make a new handshake with a new credential",
                alert=AlertCode.BAD_CERTIFICATE,
            )

    def prove(self, peer: VerifiedPeer) -> None:
        """A channel's: the peer has now proved who it is."""
        if not isinstance(peer, VerifiedPeer):
            raise LocalProtocolError("only a verified peer has proved who it is")
        self.peer = peer

    def continue_from(self, stream: HandshakeStream) -> None:
        """The engine's: where the channel finds what was received after the last handshake message."""
        self._stream = stream

    def show_channel(self, shown: Callable[[Channel], Channel]) -> None:
        """The engine's, where somebody records: what the channel becomes for the application."""
        self._shown = shown

    def check_not_taken(self) -> None:
        """The engine's: bytes that come now are the channel's, once there is one."""
        if self._stream is None:
            raise LocalProtocolError("the session's channel was taken: what is received is for the channel")

    def channel(self) -> Channel:
        """Take the session's traffic keys, once, for records over the same byte stream.

        Raises:
            LocalProtocolError: the second time, and for a session that has keys only.
        """
        if self._channel_maker is None or self._stream is None:
            raise LocalProtocolError("the session's traffic keys were taken already, or it has none")
        maker, stream = self._channel_maker, self._stream
        self._channel_maker = self._stream = None
        channel = maker(stream)
        trailing = stream.release()
        if trailing:
            channel.receive_data(trailing)
        if stream.ended:
            channel.receive_data(b"")
        return channel if self._shown is None else self._shown(channel)

    def datagrams(self) -> DatagramChannel:
        """Take the session's keys for datagrams, once, for a carrier that loses and reorders.

        In `nautilus/1` they are keys of their own, beside those of the channel, made where the profile says `datagrams=True`;
        plain Noise has one pair for either.

        Raises:
            LocalProtocolError: the second time, and for a session that has no such keys, or whose channel has them.
        """
        if self._datagram_maker is None:
            raise LocalProtocolError(
                "the session's datagram keys were taken already, or it has none "
                "(hint: profiles.nautilus(..., datagrams=True) makes some)"
            )
        maker, self._datagram_maker = self._datagram_maker, None
        return maker()
