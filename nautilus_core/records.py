"""The channel's records: which headers are legal, and what control records say. Keys and state are the channel's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import msgspec

from . import alerts
from .crypto.suites import TAG_LENGTH
from .errors import AlertCode, InvalidMessage
from .frames import ALERT, CONTROL, DATA, FRAME_NAMES, HANDSHAKE, SEALED_ALERT, foreign_protocol

MAX_CONTROL: Final = 1024
"""Of a control record's body, in bytes, its tag included."""


class Accept(msgspec.Struct, frozen=True, array_like=True, tag="accept"):
    """The responder's first record: the initiator is welcome."""


class KeyUpdate(msgspec.Struct, frozen=True, array_like=True, tag="key-update"):
    """The sender's next record is sealed under its next key (RFC 8446 section 4.6.3); `reply` asks for the peer's too."""

    reply: bool


class Close(msgspec.Struct, frozen=True, array_like=True, tag="close"):
    """The sender's last record."""


Control: TypeAlias = Accept | KeyUpdate | Close

ACCEPT: Final = msgspec.msgpack.encode(Accept())
CLOSE: Final = msgspec.msgpack.encode(Close())
UPDATE: Final = msgspec.msgpack.encode(KeyUpdate(False))
UPDATE_AND_REPLY: Final = msgspec.msgpack.encode(KeyUpdate(True))

_LONGEST: Final[Mapping[int, int]] = MappingProxyType({CONTROL: MAX_CONTROL, SEALED_ALERT: alerts.MAX_LENGTH})

_decode: Final = msgspec.msgpack.Decoder(Control).decode


def decode_control(body: bytes) -> Control:
    """What the plaintext `body` of a control record says; `InvalidMessage` when that is none."""
    try:
        message: Control = _decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidMessage("malformed control record", expected="accept, key-update or close") from error
    return message


def check_header(head: bytes, *, confirmed: bool, max_record: int) -> tuple[int, int]:
    """Refuse a header (4 bytes) that is not legal now, before anything of its body is buffered.

    Args:
        head: the header.
        confirmed: whether data is legal.
        max_record: the longest body of a data record, in bytes.

    Returns:
        The type and the length of the body, in bytes.

    Raises:
        InvalidMessage: another protocol, no record of the channel, data before acceptance, an empty or oversized record.
    """
    kind, length = head[0], int.from_bytes(head[1:], "big")
    if kind not in FRAME_NAMES:
        raise foreign_protocol(head)
    if kind in (HANDSHAKE, ALERT):
        raise _unexpected("not a record of the channel", "data, control or a sealed alert", kind)
    if kind == DATA and not confirmed:
        raise _unexpected("data before acceptance", "accept, or a sealed alert", kind)
    if kind == DATA and length <= TAG_LENGTH:
        raise InvalidMessage("an empty data record", alert=AlertCode.ILLEGAL_PARAMETER)
    limit = max_record if kind == DATA else _LONGEST[kind]
    if length > limit:
        raise InvalidMessage(
            "a record over the limit",
            expected=f"at most {limit} bytes",
            received=f"a header that announces {length}",
            alert=AlertCode.RECORD_OVERFLOW,
        )
    return kind, length


def _unexpected(message: str, expected: str, kind: int) -> InvalidMessage:
    return InvalidMessage(message, expected=expected, received=FRAME_NAMES[kind], alert=AlertCode.UNEXPECTED_MESSAGE)
