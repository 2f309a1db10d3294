"""`NoiseChannel`: Noise transport messages over a byte stream, in the shape of `SecureChannel`. It makes no keys.

A message is a 2-byte length and a ciphertext of at most 65,535 bytes. Noise has no records beside data: no acceptance, no
alerts, no key update on the wire, and no close. See `close` and `next_event` for what an end of the stream means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ..errors import AlertCode, HandshakeError, InvalidMessage, LocalProtocolError, PeerAborted
from ..events import NEED_DATA, DataReceived, Event, PeerClosed, Signal
from ..transport import Buffer, ChannelEnd
from .functions import TAG_LENGTH
from .handshake_state import MAX_MESSAGE
from .symmetric import CipherState, Plaintext

STEP: Final = "channel"
MAX_PAYLOAD: Final = MAX_MESSAGE - TAG_LENGTH
MAX_EMPTY: Final = 16
"""How many empty messages may follow each other."""

_PREFIX: Final = 2
_EMPTY_SIZE: Final = _PREFIX + TAG_LENGTH
_COPIED: Final = 4096
"""Up to this many bytes a copy costs less than a `memoryview`."""


class NoiseChannel(ChannelEnd):
    """One end of a channel of Noise transport messages. `session.channel()` makes it.

    Args:
        writing: encrypts what this end sends; None where it only receives (a one-way pattern).
        reading: decrypts what the peer sends; None where it only sends.
        rekey_after: after how many messages of a direction its key is replaced (section 11.3). Noise says nothing of it on
            the wire: both ends must have the same number, or None.
        close_message: whether an empty message is the last of its sender, and an end of the stream without it a truncation.
            Both ends must have the same.
        on_first: called once, when the first message of the peer has decrypted.
    """

    __slots__ = (
        "_close_message",
        "_empty",
        "_frames",
        "_on_first",
        "_peer_closed",
        "_reading",
        "_rekey_after",
        "_simply_reading",
        "_simply_writing",
        "_waiting",
        "_writing",
    )

    max_payload: Final = MAX_PAYLOAD
    """The longest payload of one message, in bytes."""

    confirmed: Final = True
    """Noise has no acceptance: there is nothing to wait for."""

    def __init__(
        self,
        *,
        writing: CipherState | None,
        reading: CipherState | None,
        rekey_after: int | None = None,
        close_message: bool = False,
        on_first: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._writing = writing
        self._reading = reading
        self._rekey_after = rekey_after
        self._close_message = close_message
        self._on_first = on_first
        self._waiting: list[bytes] = []
        self._frames: list[bytes] = []
        self._peer_closed = False
        self._empty = 0
        # The ciphers while one message needs nothing else: no rekey, nobody to tell of it, no close by the peer, no failure.
        self._simply_writing = writing if rekey_after is None else None
        self._simply_reading = reading if rekey_after is None and on_first is None else None

    def __repr__(self) -> str:
        return f"NoiseChannel(writing={self._writing!r}, reading={self._reading!r})"

    @property
    def closes_with_stream(self) -> bool:
        """Whether `close` sends nothing: the end of the stream says it."""
        return not self._close_message

    # ------------------------------------------------------------------ sending

    def send_data(self, data: Buffer) -> None:
        """Queue application data, which leaves in messages of at most `max_payload` bytes. Empty data is nothing.

        Raises:
            LocalProtocolError: after `close`, or where a one-way pattern lets only the peer send.
            HandshakeError: again, after the channel has failed.
            TypeError: for what is no buffer.
        """
        if not self._open:
            self._refuse()
        if self._writing is None:
            raise LocalProtocolError("a one-way pattern: only the peer sends (section 7.4)")
        self._waiting.append(data if type(data) is bytes else memoryview(data).tobytes())

    def update_keys(self, *, ask_peer: bool = False) -> None:
        """Never: Noise cannot tell the peer of it.

        Raises:
            LocalProtocolError: always; `profiles.noise(rekey_after=...)` has both ends rekey at the same messages.
        """
        raise LocalProtocolError("Noise has no key update on the wire: agree on rekey_after= in both profiles")

    def close(self) -> None:
        """This end sends no more. Receiving goes on. A second call does nothing.

        With `close_message` an empty message says so, authentically. Without it nothing is sent: end the stream below. The
        peer cannot tell that from an attacker who cuts the line, so an application must know by itself what is whole
        (section 13).

        Raises:
            HandshakeError: again, after the channel has failed.
        """
        if self._error is not None:
            self._refuse()
        if self._open and self._close_message and self._writing is not None:
            try:
                self._seal_waiting()
                self._seal([b""])
            except BaseException as error:
                self._interrupted(error)
                raise
        self._open = False

    def abort(self, reason: str, *, code: int = AlertCode.USER_CANCELED, retry_after: int | None = None) -> None:
        """End both directions at once. Noise has no alerts: the peer only sees the stream end.

        Args:
            reason: for this side's error, which every later call raises.
            code: the error's alert, which is not sent.
            retry_after: likewise not sent.

        Raises:
            HandshakeError: again, after the channel has failed.
            ValueError: for a code that is none of `HandshakeError`.
        """
        if self._error is not None:
            self._refuse()
        self._fail(HandshakeError(f"aborted by the application: {reason}", alert=code, step=STEP))

    def data_to_send(self) -> bytes | bytearray:
        """Take all bytes that wait to be sent; `b""` when there are none, and after a failure.

        Raises:
            LocalProtocolError: the key has encrypted all that it may. The channel has failed then: what waited is lost.
        """
        waiting = self._waiting
        if waiting:
            try:
                if (writing := self._simply_writing) is not None and len(waiting) == 1:
                    length = len(waiting[0])
                    if 0 < length <= MAX_PAYLOAD:
                        return (length + TAG_LENGTH).to_bytes(2, "big") + writing.encrypt_with_ad(None, waiting.pop())
                self._seal_waiting()
            except BaseException as error:
                self._interrupted(error)
                raise
        frames, self._frames = self._frames, []
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _seal_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        payloads: list[Plaintext] = []
        for data in waiting:
            if len(data) <= MAX_PAYLOAD:
                if data:
                    payloads.append(data)
                continue
            view = memoryview(data)
            payloads += [view[start : start + MAX_PAYLOAD] for start in range(0, len(view), MAX_PAYLOAD)]
        self._seal(payloads)

    def _seal(self, payloads: list[Plaintext]) -> None:
        writing = self._writing
        if writing is None or not payloads:
            return
        for part in _between_rekeys(writing, payloads, self._rekey_after):
            frames = [b""] * (2 * len(part))
            frames[::2] = [(len(payload) + TAG_LENGTH).to_bytes(2, "big") for payload in part]
            frames[1::2] = writing.encrypt_all(part)
            self._frames += frames

    # ---------------------------------------------------------------- receiving

    def next_event(self) -> Event | Signal:
        """What happened next, or `NEED_DATA`. Empty messages are no event; too many of them are an error.

        Returns:
            `DataReceived`, with all messages that are there whole; `PeerClosed`, and again at each call after it. Without
            `close_message` the end of the stream between two messages is that, with `authenticated=False`.

        Raises:
            HandshakeError: a message that does not decrypt, or an end of the stream that is a truncation (`PeerAborted`). The
                channel has failed then, for good: every later call raises the same error.
            Exception: what a trust policy's `remember` raised, as it was; the channel has failed then, too.
        """
        if (reading := self._simply_reading) is not None:
            received = self._received
            data, start = received.data, received.position
            size = len(data) - start
            if size > _EMPTY_SIZE and size == _PREFIX + (data[start] << 8 | data[start + 1]):
                try:  # the common case: one message, and nothing else
                    received.position = start + size
                    start += _PREFIX
                    sealed = data[start:] if size <= _COPIED else memoryview(data)[start:]
                    payload = reading.decrypt_with_ad(None, sealed)
                    self._empty = 0
                    return DataReceived((payload,))
                except BaseException as error:
                    self._broken(error)
                    raise
        if self._error is not None:
            self._refuse()
        payloads: list[bytes] = []
        try:
            if not self._peer_closed and (messages := self._take()):
                self._decrypt(messages, payloads)
            if not payloads:
                return self._closed() if self._peer_closed else self._wait()
        except BaseException as error:
            self._broken(error)
            if not payloads or not isinstance(error, HandshakeError):
                raise
        return DataReceived(tuple(payloads))

    def _take(self) -> list[Plaintext]:
        """The ciphertexts that are there whole, up to a length that is none."""
        received = self._received
        data, start = received.data, received.position
        messages: list[Plaintext] = []
        while True:
            if len(data) - start < _PREFIX:
                received.position = start
                if received.lacks(_PREFIX):
                    break
                data, start = received.data, received.position
            length = data[start] << 8 | data[start + 1]
            if length < TAG_LENGTH or (self._reading is None):
                if not messages:
                    raise self._unexpected(length)
                break
            end = start + _PREFIX + length
            if end > len(data):
                received.position = start
                if received.lacks(_PREFIX + length):
                    break
                data, start = received.data, received.position
                end = start + _PREFIX + length
            messages.append((data if length <= _COPIED else memoryview(data))[start + _PREFIX : end])
            start = end
            if length == TAG_LENGTH and self._close_message:
                break
        if data is received.data:
            received.position = start
        return messages

    def _unexpected(self, length: int) -> InvalidMessage:
        if self._reading is None:
            return InvalidMessage(
                "a message against the direction of a one-way pattern", alert=AlertCode.UNEXPECTED_MESSAGE
            )
        return InvalidMessage(
            "a Noise transport message that is too short",
            expected=f"{TAG_LENGTH} bytes and more",
            received=f"a prefix that announces {length}",
        )

    def _decrypt(self, messages: list[Plaintext], payloads: list[bytes]) -> None:
        reading = self._reading
        if reading is None:
            raise self._unexpected(0)
        try:
            for part in _between_rekeys(reading, messages, self._rekey_after):
                reading.decrypt_all(part, payloads)
        finally:
            if self._on_first is not None and reading.n:
                self._heard(payloads)
        if not all(payloads):
            self._count_empty(payloads)
        else:
            self._empty = 0

    def _heard(self, payloads: list[bytes]) -> None:
        action, self._on_first = self._on_first, None
        self._simply_reading = self._reading if self._rekey_after is None else None
        try:
            if action is not None:
                action()
        except BaseException:
            payloads.clear()
            raise

    def _count_empty(self, payloads: list[bytes]) -> None:
        """Take the empty messages out: the last one closes, or too many of them are an error, as each costs work."""
        if self._close_message:
            payloads.pop()
            self._peer_closed = True
            self._simply_reading = None
            return
        for payload in payloads:
            self._empty = 0 if payload else self._empty + 1
            if self._empty > MAX_EMPTY:
                payloads.clear()
                raise InvalidMessage(
                    "too many empty messages", expected=f"at most {MAX_EMPTY}", alert=AlertCode.UNEXPECTED_MESSAGE
                )
        payloads[:] = filter(None, payloads)

    def _closed(self) -> PeerClosed:
        left = len(self._received)
        if left:
            raise InvalidMessage(
                "something after the close", received=f"{left} bytes", alert=AlertCode.UNEXPECTED_MESSAGE
            )
        return PeerClosed(self._close_message and self._reading is not None)

    def _wait(self) -> Event | Signal:
        """There is no whole message: there must be more to come, or the stream has ended between two of them."""
        if not self._ended:
            return NEED_DATA
        left = len(self._received)
        if left or (self._close_message and self._reading is not None):
            raise PeerAborted(
                "the stream ended without a close: data may be missing",
                expected="the closing message" if self._close_message else "the rest of a message",
                received=f"{left} bytes of a message" if left else "the end of the stream",
            )
        self._peer_closed = True
        return self._closed()

    def _broken(self, error: BaseException) -> None:
        """A message of the peer, or what came in between, has ended the channel."""
        if isinstance(error, HandshakeError):
            error.step = STEP
            self._fail(error)
        else:
            self._interrupted(error)

    def _interrupted(self, error: BaseException) -> None:
        """Something else than the peer ended a call half way: data was taken and is lost, so nothing may follow it."""
        failure = HandshakeError("interrupted in the middle of a message", alert=AlertCode.INTERNAL_ERROR, step=STEP)
        failure.__cause__ = error
        self._fail(failure)

    def _fail(self, error: HandshakeError) -> None:
        """Poison everything."""
        for cipher in (self._writing, self._reading):
            if cipher is not None:
                cipher.forget()
        self._poison(error)
        self._waiting.clear()
        self._frames.clear()
        self._simply_writing = self._simply_reading = self._on_first = None


def _between_rekeys(
    cipher: CipherState, messages: list[Plaintext], rekey_after: int | None
) -> Iterator[list[Plaintext]]:
    """`messages` in parts between which the key is replaced: before each whose number is a multiple of `rekey_after`."""
    start = 0
    while start < len(messages):
        if rekey_after is None:
            count = len(messages)
        else:
            if cipher.n and cipher.n % rekey_after == 0:
                cipher.rekey()
            count = rekey_after - cipher.n % rekey_after
        yield messages[start : start + count] if start or count < len(messages) else messages
        start += count
