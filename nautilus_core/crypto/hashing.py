"""Hash functions, HMAC, HKDF-Expand-Label and the running transcript hash. Only strong hashes exist here.

The digests are OpenSSL's (through `hashlib`); HMAC over them is two calls, which costs less than any object around them
and is most of what a key schedule does. Longer HKDF outputs come from `cryptography`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ..errors import LocalProtocolError

if TYPE_CHECKING:
    from hashlib import _Hash

_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))
_LABEL_PREFIX: Final = b"nautilus1 "


@dataclass(frozen=True, slots=True)
class HashFunction:
    """A hash by name, with its output and block lengths in bytes."""

    name: str
    digest_size: int
    block_size: int
    new: Callable[[bytes], _Hash]
    for_hkdf: hashes.HashAlgorithm

    def digest(self, data: bytes) -> bytes:
        """The hash of `data`."""
        return self.new(data).digest()

    def hmac(self, key: bytes, message: bytes) -> bytes:
        """HMAC (RFC 2104 section 2) of `message`; `key` is at most a block long, as every key here is."""
        if len(key) > self.block_size:
            key = self.new(key).digest()
        key = key.ljust(self.block_size, b"\0")
        inner = self.new(key.translate(_INNER_PAD) + message).digest()
        return self.new(key.translate(_OUTER_PAD) + inner).digest()

    def expand_label(self, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        """HKDF-Expand-Label (RFC 8446 section 7.1) with our prefix in place of "tls13 "; `length` in bytes."""
        info = _label_head(label, length) + bytes((len(context),)) + context
        if length <= self.digest_size:
            return self.hmac(secret, info + b"\x01")[:length]
        return HKDFExpand(self.for_hkdf, length, info).derive(secret)


@lru_cache(maxsize=64)
def _label_head(label: bytes, length: int) -> bytes:
    full = _LABEL_PREFIX + label
    return length.to_bytes(2, "big") + bytes((len(full),)) + full


SHA256: Final = HashFunction("SHA256", 32, 64, hashlib.sha256, hashes.SHA256())
SHA384: Final = HashFunction("SHA384", 48, 128, hashlib.sha384, hashes.SHA384())
HASHES: Final[Mapping[str, HashFunction]] = MappingProxyType({"SHA256": SHA256, "SHA384": SHA384})


class TranscriptHash:
    """The running hash over all handshake messages (RFC 8446 section 4.4.1): bytes are kept until a hash is selected."""

    __slots__ = ("_early", "_hash", "function")

    def __init__(self) -> None:
        self.function: HashFunction | None = None
        self._early: list[bytes] = []
        self._hash: _Hash | None = None

    def update(self, message: bytes) -> None:
        """Append one framed handshake message, exactly as it was sent or received, in plaintext."""
        if self._hash is None:
            self._early.append(message)
        else:
            self._hash.update(message)

    def select(self, function: HashFunction) -> None:
        """Fix the hash function; what came before enters it now. Happens once."""
        if self._hash is not None:
            raise LocalProtocolError("the transcript's hash is already selected")
        self.function = function
        self._hash = function.new(b"".join(self._early))
        self._early.clear()

    def digest(self) -> bytes:
        """The hash of everything so far; `LocalProtocolError` before a hash is selected."""
        if self._hash is None:
            raise LocalProtocolError("the transcript has no hash until a cipher suite is selected")
        return self._hash.copy().digest()
