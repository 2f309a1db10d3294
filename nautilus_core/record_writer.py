"""Seals what one end of a channel sends: data cut into records, control records, key updates. Rules are the channel's."""

from __future__ import annotations

from typing import Final, TypeAlias

from . import alerts, records
from .crypto.suites import TAG_LENGTH
from .crypto.traffic_key import Plaintext, TrafficKey
from .frames import CONTROL, DATA, HEADER_LENGTH, header

MAX_UPDATES_WITHOUT_DATA: Final = 16

_MANY: Final = 4
_SMALL: Final = 4096
"""From so many records of at most so many bytes on it is cheaper to seal them at once."""

_EMPTY_RECORD: Final = (DATA << 24) + TAG_LENGTH
_OVERHEAD: Final = HEADER_LENGTH + TAG_LENGTH

Frames: TypeAlias = bytes | bytearray


class RecordWriter:
    """The sending half of a channel: a queue, sealed as late as can be, and the key that it is sealed under.

    Args:
        key: the first key.
        max_payload: of one data record, in bytes.
        records_per_key: how many records a key seals at most, the update that replaces it included.
        bytes_per_key: likewise how many bytes of data, but one data record at least.

    Attributes:
        waiting: data that is not sealed yet; append to it.
        reply_due: whether the peer has asked for an update.
        updates: how many updates were sent since the last data.
    """

    __slots__ = (
        "_bytes_left",
        "_bytes_per_key",
        "_frames",
        "_key",
        "_max_payload",
        "_update_at",
        "reply_due",
        "updates",
        "waiting",
    )

    def __init__(self, key: TrafficKey, max_payload: int, records_per_key: int, bytes_per_key: int) -> None:
        self._key = key
        self._max_payload = max_payload
        self._update_at = records_per_key - 1
        self._bytes_left = self._bytes_per_key = bytes_per_key
        self._frames: list[Frames] = []
        self.waiting: list[bytes] = []
        self.reply_due = False
        self.updates = 0

    def take(self) -> Frames:
        """Seal what waits, and take all frames."""
        self.seal_waiting()
        if self.reply_due:
            self._reply()
        frames, self._frames = self._frames, []
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def control(self, message: bytes) -> None:
        """Seal a control record, behind the data that waits."""
        self.seal_waiting()
        head = header(CONTROL, len(message) + TAG_LENGTH)
        self._frames.append(head + self._key.seal(message, head))

    def update(self, message: bytes = records.UPDATE) -> None:
        """Change to the next key; `message` is the last record under this one, and there is always room for it."""
        self.control(message)
        self._key = self._key.updated()
        self._bytes_left = self._bytes_per_key
        self.reply_due = False
        self.updates += 1

    def alert(self, code: int, retry_after: int | None) -> None:
        """Seal an alert, in the place of the data that waits."""
        self._frames.append(alerts.frame(code, retry_after, self._key))

    def end(self) -> None:
        """Nothing more is sealed: data that waits is dropped, and so is the key."""
        self.waiting.clear()
        self.reply_due = False
        del self._key

    def drop(self) -> None:
        """Drop what was sealed: the peer reads no more."""
        self._frames.clear()

    def seal_waiting(self) -> None:
        """Seal the data that waits, in records of at most `max_payload` bytes, answering the peer's request before."""
        waiting = self.waiting
        if not waiting:
            return
        self.waiting = []
        if self.reply_due:
            self._reply()
        if len(waiting) >= _MANY and self._seal_at_once(waiting):
            return
        longest = self._max_payload
        for data in waiting:
            if 0 < len(data) <= longest:
                self._seal(data)
            elif not self._seal_into_one(data):
                view = memoryview(data)
                for start in range(0, len(view), longest):
                    self._seal(view[start : start + longest])

    def _reply(self) -> None:
        """After 16 updates without data the answer waits for data: the key has sealed nothing that it could protect."""
        if self.updates < MAX_UPDATES_WITHOUT_DATA:
            self.update()

    def _has_room(self, count: int, length: int) -> bool:
        """Whether the key may seal `count` more records with `length` bytes of data, and an update after them."""
        return length <= self._bytes_left and count <= self._update_at - self._key.sequence

    def _sealed(self, length: int) -> None:
        self._bytes_left -= length
        self.updates = 0

    def _seal(self, payload: Plaintext) -> None:
        """Seal one data record, and update the key before it where that is due (RFC 8446 section 5.5)."""
        length = len(payload)
        full = length > self._bytes_left < self._bytes_per_key
        if full or self._key.sequence >= self._update_at:
            self.update()
        head = (_EMPTY_RECORD + length).to_bytes(4, "big")
        self._frames.append(head + self._key.seal(payload, head))
        self._sealed(length)

    def _seal_at_once(self, payloads: list[bytes]) -> bool:
        """The same for many small records; False where one is not small, or is empty, or the key must be updated."""
        lengths = list(map(len, payloads))
        total, sizes = sum(lengths), set(lengths)
        if 0 in sizes or max(sizes) > min(self._max_payload, _SMALL) or not self._has_room(len(lengths), total):
            return False
        headers = {size: (_EMPTY_RECORD + size).to_bytes(4, "big") for size in sizes}
        heads = [headers[length] for length in lengths]
        frames = [b""] * (2 * len(heads))
        frames[::2] = heads
        frames[1::2] = self._key.seal_all(payloads, heads)
        self._frames += frames
        self._sealed(total)
        return True

    def _seal_into_one(self, data: bytes) -> bool:
        """The same for data of several records, into one buffer; False where the key must be updated.

        Large data is copied nowhere: temporary copies would cost several times the sealing, in pages that go back to the
        system with each of them.
        """
        length, longest = len(data), self._max_payload
        count = -(-length // longest)
        if not length or not self._has_room(count, length):
            return not length
        frames = bytearray(length + count * _OVERHEAD)
        view, out, end = memoryview(data), memoryview(frames), 0
        for start in range(0, length, longest):
            payload = view[start : start + longest]
            head = (_EMPTY_RECORD + len(payload)).to_bytes(4, "big")
            body = end + HEADER_LENGTH
            out[end:body] = head
            end = body + len(payload) + TAG_LENGTH
            self._key.seal_into(payload, head, out[body:end])
        self._frames.append(frames)
        self._sealed(length)
        return True
