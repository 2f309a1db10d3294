"""The field types that messages of `nautilus/1` share, with their bounds, and the rules for offers. No message lives here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from msgspec import Meta

from ..errors import AlertCode, InvalidMessage

MAX_OFFER_BYTES = 64
MAX_OFFERS = 64

Offer: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_OFFER_BYTES)]
"""One thing that a side can do, by name."""
Offers: TypeAlias = Annotated[tuple[Offer, ...], Meta(max_length=MAX_OFFERS)]
Nonce: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
KeyShare: TypeAlias = Annotated[bytes, Meta(max_length=4096)]
Credential: TypeAlias = Annotated[bytes, Meta(max_length=32_768)]
Signature: TypeAlias = Annotated[bytes, Meta(max_length=8192)]
Mac: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=64)]

GREASE_BYTES = 5


def grease(randomness: bytes) -> str:
    """A name that nobody knows, offered so that nobody comes to rely on a closed list (RFC 8701)."""
    return "grease-" + randomness.hex()


def check_lengths(offers: Sequence[str]) -> None:
    """Refuse an offer over 64 bytes, which only one outside ASCII can be once it has been decoded."""
    if not "".join(offers).isascii() and any(len(offer.encode()) > MAX_OFFER_BYTES for offer in offers):
        raise InvalidMessage(f"an offer over {MAX_OFFER_BYTES} bytes", alert=AlertCode.ILLEGAL_PARAMETER)


def check_distinct(names: Sequence[str], what: str) -> None:
    """Refuse a name that stands twice."""
    if len(set(names)) != len(names):
        raise InvalidMessage(f"{what}: a name stands twice", alert=AlertCode.ILLEGAL_PARAMETER)


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names for an error's text, from a peer or our own: quoted, and not too many of them."""
    shown = ", ".join(repr(name) for name in names[:most] if not name.startswith("grease-"))
    more = len(names) - most
    return (shown or "none") + (f" and {more} more" if more > 0 else "")
