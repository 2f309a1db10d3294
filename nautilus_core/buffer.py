"""A receive buffer whose cost is linear in the bytes, however they are cut. It knows that frames have lengths, no more."""

from __future__ import annotations

from typing import Final

_SMALL: Final = 512
"""A piece shorter than this is joined to the one before, if that is short too: by itself it would cost many times its length."""


class ReceiveBuffer:
    """Received bytes, until they are taken as whole frames.

    Frames that come many at a time are sliced out of `data`. Pieces that come while a frame is unfinished are kept apart
    and joined once the frame, or its header, is whole: a byte is copied a bounded number of times, and takes little more than
    its place, also in a frame that comes byte by byte.

    Attributes:
        data: where frames are read from.
        position: the place in `data` of the next frame.
    """

    __slots__ = ("_pending", "_pieces", "data", "position")

    def __init__(self) -> None:
        self.data = b""
        self.position = 0
        self._pieces: list[bytes] = []
        self._pending = 0

    def __len__(self) -> int:
        return len(self.data) - self.position + self._pending

    def feed(self, piece: bytes) -> None:
        """Append bytes."""
        if self.position == len(self.data) and not self._pieces:
            self.data = piece
            self.position = 0
        else:
            pieces = self._pieces
            if pieces and len(piece) < _SMALL and len(pieces[-1]) < _SMALL:
                pieces[-1] += piece
            else:
                pieces.append(piece)
            self._pending += len(piece)

    def lacks(self, needed: int) -> bool:
        """Whether fewer than `needed` bytes wait; else they all stand in `data` from `position` on.

        Call it when `data` alone is too short.
        """
        waiting = len(self.data) - self.position + self._pending
        if waiting < needed:
            if not waiting:  # what was read is not kept
                self.data = b""
                self.position = 0
            return True
        if self._pieces:
            self.data = b"".join((self.data[self.position :], *self._pieces))
            self.position = 0
            self._pieces.clear()
            self._pending = 0
        return False

    def take_all(self) -> bytes:
        """Take everything."""
        data = self.data[self.position :] if not self._pieces else b"".join((self.data[self.position :], *self._pieces))
        self.clear()
        return data

    def clear(self) -> None:
        """Drop everything."""
        self.data = b""
        self.position = 0
        self._pieces.clear()
        self._pending = 0
