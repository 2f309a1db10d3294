"""The frame header of `nautilus/1`: type (1 byte), length of the body (3 bytes, big endian). Bodies are elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .errors import AlertCode, InvalidMessage

HANDSHAKE: Final = 0xE1
ALERT: Final = 0xE2
DATA: Final = 0xE3
CONTROL: Final = 0xE4
SEALED_ALERT: Final = 0xE5

HEADER_LENGTH: Final = 4

FRAME_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {
        HANDSHAKE: "a handshake message",
        ALERT: "a plaintext alert",
        DATA: "a data record",
        CONTROL: "a control record",
        SEALED_ALERT: "a sealed alert",
    }
)

_HTTP: Final = (
    b"GET ",
    b"POST",
    b"PUT ",
    b"HEAD",
    b"OPTI",
    b"DELE",
    b"PATC",
    b"CONN",
    b"TRAC",
    b"PRI ",
    b"HTTP",
)


def header(kind: int, length: int) -> bytes:
    """The header of a frame of type `kind` with a body of `length` bytes."""
    return (kind << 24 | length).to_bytes(4, "big")


def protocol_of(head: bytes) -> str | None:
    """The name of the protocol, none of ours, in which the first 4 bytes of a stream are the beginning; None for unknown."""
    if head in _HTTP:
        return "HTTP"
    if head == b"SSH-":
        return "SSH"
    if len(head) == 4 and head[0] in (0x14, 0x15, 0x16, 0x17) and head[1] == 3:
        return "TLS"
    if head == b"\x13/mu":
        return "multistream-select (libp2p)"
    return None


def foreign_protocol(head: bytes) -> InvalidMessage:
    """The error for a header (4 bytes) that is none of ours; names the protocol whose greeting begins like it."""
    name = protocol_of(head)
    return InvalidMessage(
        f"the peer speaks {name}, not nautilus/1" if name else "the peer does not speak nautilus/1",
        expected="a frame of type 0xE1 to 0xE5",
        received=f"bytes {head.hex(' ')}",
        hint=f"a {name} peer is at the other end" if name else "is this the right port?",
        alert=AlertCode.UNEXPECTED_MESSAGE,
    )
