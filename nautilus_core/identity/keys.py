"""Public keys, and what people and programs know them by. Who owns one, and whether that is proved, is not known here."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from ..crypto.signatures import scheme_named
from .words import words

NOISE_STATIC_TYPES: Final[Mapping[str, int]] = MappingProxyType({"noise-static-25519": 32, "noise-static-448": 56})
"""Credential types, and schemes, of Noise static keys, with their lengths in bytes: they agree on keys and sign nothing."""

_PEER_ID_PREFIX: Final = "key:"
_FINGERPRINT_CONTEXT: Final = b"nautilus public key\0"
_WORDS_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A raw public key: of a signature scheme, or a Noise static key.

    Args:
        scheme: one of `SCHEMES`, or `noise-static-25519` or `noise-static-448`.
        data: the raw key, of the scheme's exact length in bytes.

    Raises:
        ValueError: for an unknown scheme, or a key that is not usable in it (wrong length, no point, small order).
    """

    scheme: str
    data: bytes
    _verify: Callable[[bytes, bytes], bool] = field(init=False, repr=False, compare=False)
    _peer_id: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        length = NOISE_STATIC_TYPES.get(self.scheme)
        if length is None:
            verify = scheme_named(self.scheme).verifier(self.data)
        elif len(self.data) == length:
            verify = _signs_nothing
        else:
            raise ValueError(f"a {self.scheme} key has {length} bytes, not {len(self.data)}")
        object.__setattr__(self, "_verify", verify)

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is one of this key over `message`; never so for a key that agrees on keys."""
        return self._verify(signature, message)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 (32 bytes) over a fixed context, the scheme and the key."""
        return hashlib.sha256(_FINGERPRINT_CONTEXT + self.scheme.encode() + b"\0" + self.data).digest()

    @property
    def peer_id(self) -> str:
        """The whole fingerprint as one word that can be pasted: `key:` and 52 letters and digits."""
        if not self._peer_id:  # in every log line of a connection
            peer_id = _PEER_ID_PREFIX + base64.b32encode(self.fingerprint).decode().rstrip("=").lower()
            object.__setattr__(self, "_peer_id", peer_id)
        return self._peer_id

    @property
    def words(self) -> str:
        """The first 16 bytes of the fingerprint as 16 words, for two people to compare."""
        return words(self.fingerprint[:_WORDS_BYTES])

    def __repr__(self) -> str:
        return f"PublicKey({self.scheme}, {self.peer_id})"


def _signs_nothing(signature: bytes, message: bytes) -> bool:
    return False


def check_peer_id(peer_id: str) -> str:
    """Return `peer_id` when it has the form of one, else raise `ValueError`."""
    body = peer_id.removeprefix(_PEER_ID_PREFIX)
    if body != peer_id and len(body) == 52 and set(body) <= set("abcdefghijklmnopqrstuvwxyz234567"):
        return peer_id
    raise ValueError(f"{peer_id!r} is no peer id: expected {_PEER_ID_PREFIX!r} and 52 letters a-z and digits 2-7")
