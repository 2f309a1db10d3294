"""What travels in `nautilus/transfer/1`: the messages, their frames, the parser of both, and the errors. No I/O.

A frame is its kind (1 byte), the length of its body (3 bytes, big endian), and the body: a message as a MessagePack array,
or a piece of the file as it is. `docs/transfer.md` has the order in which they come.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeAlias, cast

import msgspec
from msgspec import Meta

from nautilus_core import AlertCode, InvalidMessage

PROTOCOL: Final = "nautilus/transfer/1"
HEADER_LENGTH: Final = 4
MAX_DATA: Final = 1 << 20
"""The most bytes of the file in one frame."""
MAX_MESSAGE: Final = 1024

_MESSAGE: Final = 1
_DATA: Final = 2

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255)]
Size: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Digest: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Reason(StrEnum):
    """Why one end stops a transfer. What to do about it is in `MEANING`."""

    CHANGED = "changed"
    UNREADABLE = "unreadable"
    NAME = "name"
    EXISTS = "exists"
    ONE_FILE = "one-file"
    SIZE = "size"
    SPACE = "space"
    BUSY = "busy"
    STORAGE = "storage"
    DIGEST = "digest"


MEANING: Final[dict[Reason, str]] = {
    Reason.CHANGED: "the file changed while it was sent; send it again once nobody writes to it",
    Reason.UNREADABLE: "the sender could not read its file to the end",
    Reason.NAME: "the receiver does not take that file name; rename the file, or receive it with --output FILE",
    Reason.EXISTS: "the receiver has a different file of that name; move it away, or receive with --force",
    Reason.ONE_FILE: "the receiver takes one file only, because of its --output; receive with --directory for more",
    Reason.SIZE: "the file is over the receiver's --max-size",
    Reason.SPACE: "the receiver's disk has no room for the file; make room there, then send it again",
    Reason.BUSY: "the receiver is in the middle of another transfer to that name; wait for it, then send again",
    Reason.STORAGE: "the receiver could not write the file, as when its disk is full; mend that, then send again to resume",
    Reason.DIGEST: "the receiver's copy has another checksum, and was thrown away; send it again",
}
"""What each reason says, in words, to the end that is told."""


class TransferFailed(OSError):
    """A transfer that cannot go on: what is wrong, and what to do now.

    Args:
        message: both, on one line.
        reason: what the peer is told of it, or has told us.
    """

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class PeerStopped(TransferFailed):
    """The peer gave up, and said why.

    Args:
        reason: what it said.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(MEANING[reason], reason)


class SameRole(OSError):
    """Both ends send, or both receive."""


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The base of the messages: a MessagePack array that begins with the message's name."""


class Ready(Message, frozen=True, tag="ready"):
    """Receiver, once, first: it is one, and waits for offers."""


class Sending(Message, frozen=True, tag="sending"):
    """Sender, once, first: it is one, and will make offers."""


class Offer(Message, frozen=True, tag="offer"):
    """Sender: a file of `size` bytes; `more` says whether another offer follows."""

    name: Name
    size: Size
    more: bool


class Have(Message, frozen=True, tag="have"):
    """Receiver: `offset` bytes are there already; it wants to compare them."""

    offset: Size


class Prefix(Message, frozen=True, tag="prefix"):
    """Sender: the SHA-256 of the file's first `Have.offset` bytes."""

    digest: Digest


class Start(Message, frozen=True, tag="start"):
    """Receiver: send from `offset` on: what it has, or 0 where that is no beginning of this file."""

    offset: Size


class Done(Message, frozen=True, tag="done"):
    """Sender: that was all; the SHA-256 of the whole file."""

    digest: Digest


class Received(Message, frozen=True, tag="received"):
    """Receiver: the file is on its disk under its own name, with this SHA-256."""

    digest: Digest


class Stopped(Message, frozen=True, tag="stopped"):
    """Either: this end gives up, and says why."""

    reason: Reason


AnyMessage: TypeAlias = Ready | Sending | Offer | Have | Prefix | Start | Done | Received | Stopped
Incoming: TypeAlias = AnyMessage | bytes
"""What a frame brings: a message, or a piece of the file."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(AnyMessage).decode


def frame(message: Message) -> bytes:
    """A message in its frame."""
    body = _encode(message)
    return (_MESSAGE << 24 | len(body)).to_bytes(HEADER_LENGTH, "big") + body


def data_header(length: int) -> bytes:
    """The header of a piece of the file of `length` bytes, 1 to `MAX_DATA`."""
    return (_DATA << 24 | length).to_bytes(HEADER_LENGTH, "big")


def malformed(what: str, *, expected: str | None = None, received: str | None = None) -> InvalidMessage:
    """The error for what a peer must not send."""
    return InvalidMessage(
        what, expected=expected, received=received, step="transfer", alert=AlertCode.ILLEGAL_PARAMETER
    )


class Parser:
    """Bytes in, in any pieces; messages and pieces of the file out. It holds one frame at most, once it is drained.

    `receive_data` only buffers; call `next_frame` until it returns None before the next.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._failure: InvalidMessage | None = None

    def receive_data(self, data: bytes) -> None:
        """Buffer what came in."""
        self._buffer += data

    def next_frame(self) -> Incoming | None:
        """The next message or piece, or None where more bytes are needed.

        Raises:
            InvalidMessage: this is no frame of the protocol; from then on always.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self._parse()
        except InvalidMessage as error:
            self._failure = error
            self._buffer.clear()
            raise

    def _parse(self) -> Incoming | None:
        if len(self._buffer) < HEADER_LENGTH:
            return None
        kind, length = self._buffer[0], int.from_bytes(self._buffer[1:HEADER_LENGTH], "big")
        most = {_MESSAGE: MAX_MESSAGE, _DATA: MAX_DATA}.get(kind)
        if most is None:
            raise malformed("a frame of an unknown kind", expected="1 or 2", received=str(kind))
        if not 1 <= length <= most:
            raise malformed("a frame of a wrong length", expected=f"1 to {most:,} bytes", received=f"{length:,}")
        end = HEADER_LENGTH + length
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view:
            body = bytes(view[HEADER_LENGTH:end])
        del self._buffer[:end]
        return body if kind == _DATA else _decoded(body)


def _decoded(body: bytes) -> AnyMessage:
    try:
        return cast("AnyMessage", _decode(body))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise malformed(
            "a message that cannot be read", expected=f"one of {PROTOCOL}", received=f"{len(body)} bytes that are none"
        ) from error
