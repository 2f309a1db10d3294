"""Alerts on the wire: `[code, retry_after or nil]`, in plaintext or sealed. When to send one is the engine's business."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from .crypto.suites import TAG_LENGTH
from .crypto.traffic_key import TrafficKey
from .errors import InvalidMessage, PeerAborted
from .frames import ALERT, SEALED_ALERT, header

MAX_LENGTH: Final = 64
"""Of an alert's body, in bytes, its tag included. Its leading fields never change between versions."""

MAX_RETRY_AFTER: Final = 86_400


class _Alert(msgspec.Struct, frozen=True, array_like=True):
    code: Annotated[int, msgspec.Meta(ge=0, le=65_535)]
    retry_after: Annotated[int, msgspec.Meta(ge=0, le=MAX_RETRY_AFTER)] | None


_decode: Final = msgspec.msgpack.Decoder(_Alert).decode


def check_retry_after(retry_after: int | None) -> None:
    """Raise `ValueError` for a `retry_after` that an alert cannot carry."""
    if retry_after is not None and not (type(retry_after) is int and 0 <= retry_after <= MAX_RETRY_AFTER):
        raise ValueError(f"retry_after is 0 to {MAX_RETRY_AFTER} whole seconds")


def frame(code: int, retry_after: int | None, key: TrafficKey | None) -> bytes:
    """The frame of an alert, sealed where there is a `key`; `retry_after` in seconds."""
    body = msgspec.msgpack.encode(_Alert(code, retry_after))
    if key is None:
        return header(ALERT, len(body)) + body
    head = header(SEALED_ALERT, len(body) + TAG_LENGTH)
    return head + key.seal(body, head)


def decode(body: bytes, *, authenticated: bool) -> PeerAborted:
    """The error that an alert's plaintext `body` means."""
    try:
        alert = _decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidMessage("malformed alert", expected="[code, retry_after or nil]") from error
    return PeerAborted.from_alert(alert.code, alert.retry_after, authenticated=authenticated)
