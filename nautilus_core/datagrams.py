"""`DatagramChannel`: sealed datagrams for a carrier that loses, repeats and reorders them. It makes no keys and moves no bytes.

A datagram is an 8-byte big-endian nonce and a ciphertext. Nobody can notice one that is missing, and there is no close.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn, Protocol

from .errors import AlertCode, InvalidMessage, LocalProtocolError

NONCE_LENGTH: Final = 8
TAG_LENGTH: Final = 16
OVERHEAD: Final = NONCE_LENGTH + TAG_LENGTH

MAX_DATAGRAM: Final = 65_507
"""What fits UDP over IPv4, in bytes."""

DATAGRAMS_PER_KEY: Final = 2**28
BYTES_PER_KEY: Final = 2**37
"""No key seals more (the bounds of RFC 9001 appendix B for AES-GCM)."""

FORGERIES_PER_KEY: Final = 2**36
"""No key is tried on more forgeries (RFC 9001 section 6.6, for ChaCha20-Poly1305)."""

WINDOW: Final = 1024


class SealsAt(Protocol):
    """A key that seals and opens under a nonce that its caller counts."""

    def seal_at(self, n: int, plaintext: bytes) -> bytes:
        """The ciphertext and its tag."""

    def open_at(self, n: int, ciphertext: bytes) -> bytes:
        """The plaintext; `InvalidMessage` for a wrong tag."""


class DatagramChannel:
    """One end. `session.datagrams()` makes it, with keys that serve nothing else.

    A datagram that does not open, or that was seen before, says nothing of the peer: anybody can send one. So it raises
    `InvalidMessage` and changes nothing, and the channel goes on. The channel ends at its limits, for good.

    Args:
        writing: seals; None where only the peer sends.
        reading: opens; None where only this end sends.
        window: how far a datagram may be behind the latest one; at least 1.
        datagrams_per_key: how many are sealed at most; up to 2^28.
        on_first: called once, when the first datagram of the peer has opened.

    Raises:
        ValueError: for a number out of range.
    """

    __slots__ = ("_bytes_left", "_datagrams_per_key", "_forgeries", "_latest", "_on_first", "_reading", "_seen", "_window",
                 "_writing", "sent")  # fmt: skip

    max_payload: Final = MAX_DATAGRAM - OVERHEAD
    """The longest payload, in bytes. What arrives unfragmented is far shorter on most carriers."""

    def __init__(
        self,
        *,
        writing: SealsAt | None,
        reading: SealsAt | None,
        window: int = WINDOW,
        datagrams_per_key: int = DATAGRAMS_PER_KEY,
        on_first: Callable[[], None] | None = None,
    ) -> None:
        if window < 1 or not 1 <= datagrams_per_key <= DATAGRAMS_PER_KEY:
            raise ValueError("a window is at least 1, and a key seals 1 to 2**28 datagrams")
        self._writing = writing
        self._reading = reading
        self._window = window
        self._datagrams_per_key = datagrams_per_key
        self._bytes_left = BYTES_PER_KEY
        self._latest = -1
        self._seen = 0
        self._forgeries = 0
        self._on_first = on_first
        self.sent = 0
        """How many datagrams were sealed."""

    def __repr__(self) -> str:
        return f"DatagramChannel(sent={self.sent}, latest={self._latest})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a channel is not copied: the two would use one nonce twice")

    def seal(self, payload: bytes) -> bytes:
        """The datagram for `payload`, which may be empty.

        Raises:
            LocalProtocolError: the payload is too long, the key has sealed all that it may, or only the peer sends.
        """
        if self._writing is None:
            raise LocalProtocolError("this end does not send, or has ended")
        if len(payload) > self.max_payload:
            raise LocalProtocolError(f"a payload of {len(payload)} bytes; at most {self.max_payload} fit a datagram")
        if self.sent >= self._datagrams_per_key or len(payload) > self._bytes_left:
            self._writing = None
            raise LocalProtocolError("this key has sealed all the datagrams it may: make another handshake")
        n = self.sent
        self.sent = n + 1
        self._bytes_left -= len(payload)
        return n.to_bytes(NONCE_LENGTH, "big") + self._writing.seal_at(n, payload)

    def open(self, datagram: bytes) -> bytes:
        """The payload of a datagram of the peer.

        Raises:
            InvalidMessage: it is malformed, does not open, was seen before, or is older than the window. Drop it and go on.
            AuthenticationFailed: it is the first, by which the peer proves its Noise static key, and the policy refuses it.
            LocalProtocolError: only this end sends, or the key was tried on too many forgeries.
        """
        if self._reading is None:
            raise LocalProtocolError("this end does not receive, or has ended")
        if not OVERHEAD <= len(datagram) <= MAX_DATAGRAM:
            raise _dropped("of a length that is none", f"{OVERHEAD} to {MAX_DATAGRAM} bytes", f"{len(datagram)} bytes")
        n = int.from_bytes(datagram[:NONCE_LENGTH], "big")
        if n >= DATAGRAMS_PER_KEY:
            raise _dropped("with a nonce over the limit", "below 2**28", str(n))
        behind = self._latest - n
        if behind >= self._window or (behind >= 0 and self._seen >> behind & 1):
            raise _dropped("that was seen before, or is too old", f"a nonce over {self._latest - self._window}", str(n))
        try:
            payload = self._reading.open_at(n, datagram[NONCE_LENGTH:])
        except InvalidMessage:
            self._forgeries += 1
            if self._forgeries >= FORGERIES_PER_KEY:
                self._reading = None
            raise
        self._mark(behind)
        if self._on_first is not None:
            self._first()
        return payload

    def _mark(self, behind: int) -> None:
        """The tag has verified: now the window moves (RFC 4303 section 3.4.3). Bit 0 is the latest."""
        if behind >= 0:
            self._seen |= 1 << behind
        else:
            self._seen = (self._seen << -behind | 1) & (1 << self._window) - 1 if -behind < self._window else 1
            self._latest -= behind

    def _first(self) -> None:
        action, self._on_first = self._on_first, None
        try:
            if action is not None:
                action()
        except BaseException:
            self._reading = self._writing = None
            raise


def _dropped(what: str, expected: str, received: str) -> InvalidMessage:
    return InvalidMessage(
        f"a datagram {what}",
        expected=expected,
        received=received,
        hint="drop it: datagrams are repeated and forged by anybody",
        alert=AlertCode.ILLEGAL_PARAMETER,
        step="datagrams",
    )


__all__ = ["DatagramChannel", "SealsAt"]
