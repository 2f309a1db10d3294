"""Hash functions, HMAC, HKDF-Expand-Label and the running transcript hash. Only strong hashes exist here.

The digests are OpenSSL's (through `hashlib`); HMAC over them is two calls, which costs less than any object around them
and is most of what a key schedule does. Longer HKDF outputs come from `cryptography`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ..errors import LocalProtocolError

if TYPE_CHECKING:
    from hashlib import _Hash

_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))
_LABEL_PREFIX: Final = b"nautilus1 "

Hmac: TypeAlias = Callable[[bytes, bytes], bytes]
HmacPair: TypeAlias = Callable[[bytes, bytes, bytes], tuple[bytes, bytes]]
Hkdf: TypeAlias = Callable[[bytes, bytes], tuple[bytes, bytes]]


def _hmac_over(new: Callable[[bytes], _Hash], block_size: int) -> Hmac:
    """HMAC (RFC 2104 section 2) of (key, message) over one hash: a closure, because a key schedule calls it 20 times.

    Every key here is as long as the hash's output, which is shorter than its block.
    """

    def hmac(key: bytes, message: bytes) -> bytes:
        padded = key.ljust(block_size, b"\0")
        inner = new(padded.translate(_INNER_PAD) + message).digest()
        return new(padded.translate(_OUTER_PAD) + inner).digest()

    return hmac


def _hmac_pair_over(new: Callable[[bytes], _Hash], block_size: int) -> HmacPair:
    """The same of (key, message, message) for two messages under one key, which is padded and hashed once."""

    def hmac_pair(key: bytes, first: bytes, second: bytes) -> tuple[bytes, bytes]:
        padded = key.ljust(block_size, b"\0")
        inner, outer = new(padded.translate(_INNER_PAD)), new(padded.translate(_OUTER_PAD))
        other_inner, other_outer = inner.copy(), outer.copy()
        inner.update(first)
        outer.update(inner.digest())
        other_inner.update(second)
        other_outer.update(other_inner.digest())
        return outer.digest(), other_outer.digest()

    return hmac_pair


def _hkdf_over(new: Callable[[bytes], _Hash], length: int, block_size: int) -> Hkdf:
    """HKDF (RFC 5869) of (salt, input) with an empty info and two outputs, each as long as the hash, as the salt is.

    Six calls of the hash, whose padded keys serve twice, cost less than one call through `cryptography`.
    """
    inner_pad, outer_pad = b"\x36" * (block_size - length), b"\x5c" * (block_size - length)

    def hkdf(salt: bytes, material: bytes) -> tuple[bytes, bytes]:
        secret = new(salt.translate(_INNER_PAD) + inner_pad + material).digest()
        secret = new(salt.translate(_OUTER_PAD) + outer_pad + secret).digest()
        inner = secret.translate(_INNER_PAD) + inner_pad
        outer = secret.translate(_OUTER_PAD) + outer_pad
        first = new(outer + new(inner + b"\x01").digest()).digest()
        return first, new(outer + new(inner + first + b"\x02").digest()).digest()

    return hkdf


class HashFunction:
    """A hash by name.

    Attributes:
        digest_size: of its output, in bytes.
        new: a running hash that begins with the bytes given.
        hmac: HMAC of (key, message), for keys as long as the hash's output.
        hmac_pair: HMAC of (key, first message) and of (key, second message), which costs less than each by itself.
        hkdf: two outputs of HKDF of (salt, input), for salts as long as the hash's output.
        empty: the hash of nothing, which RFC 8446 section 7.1 uses as an empty context.
        algorithm: the same hash as `cryptography` has it.
    """

    __slots__ = ("algorithm", "digest_size", "empty", "hkdf", "hmac", "hmac_pair", "name", "new")

    def __init__(
        self, name: str, block_size: int, new: Callable[[bytes], _Hash], algorithm: hashes.HashAlgorithm
    ) -> None:
        self.name = name
        self.new = new
        self.empty = new(b"").digest()
        self.digest_size = len(self.empty)
        self.hmac = _hmac_over(new, block_size)
        self.hmac_pair = _hmac_pair_over(new, block_size)
        self.hkdf = _hkdf_over(new, self.digest_size, block_size)
        self.algorithm = algorithm

    def __repr__(self) -> str:
        return self.name

    def digest(self, data: bytes) -> bytes:
        """The hash of `data`."""
        return self.new(data).digest()

    def expand_label(self, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        """HKDF-Expand-Label (RFC 8446 section 7.1) with our prefix in place of "tls13 "; `length` in bytes."""
        info = _label_head(label, length, len(context)) + context
        if length <= self.digest_size:
            return self.hmac(secret, info + b"\x01")[:length]
        return self.expand(secret, info, length)

    def expand(self, secret: bytes, info: bytes, length: int) -> bytes:
        """HKDF-Expand (RFC 5869 section 2.3); `length` in bytes."""
        return HKDFExpand(self.algorithm, length, info).derive(secret)

    def label_info(self, label: bytes, length: int) -> bytes:
        """What HKDF-Expand-Label without a context feeds to HMAC for one block: a constant, to be made once."""
        return _label_head(label, length, 0) + b"\x01"

    def label_head(self, label: bytes) -> bytes:
        """What Derive-Secret feeds to HMAC before the transcript hash and one byte 0x01: a constant, to be made once."""
        return _label_head(label, self.digest_size, self.digest_size)

    def derive_secret(self, secret: bytes, label: bytes, transcript_hash: bytes) -> bytes:
        """Derive-Secret (RFC 8446 section 7.1); the transcript is given by its hash."""
        return self.hmac(secret, self.label_head(label) + transcript_hash + b"\x01")


@lru_cache(maxsize=64)
def _label_head(label: bytes, length: int, context_length: int) -> bytes:
    full = _LABEL_PREFIX + label
    return length.to_bytes(2, "big") + bytes((len(full),)) + full + bytes((context_length,))


SHA256: Final = HashFunction("SHA256", 64, hashlib.sha256, hashes.SHA256())
SHA384: Final = HashFunction("SHA384", 128, hashlib.sha384, hashes.SHA384())
SHA512: Final = HashFunction("SHA512", 128, hashlib.sha512, hashes.SHA512())
BLAKE2S: Final = HashFunction("BLAKE2s", 64, cast("Callable[[bytes], _Hash]", hashlib.blake2s), hashes.BLAKE2s(32))
BLAKE2B: Final = HashFunction("BLAKE2b", 128, cast("Callable[[bytes], _Hash]", hashlib.blake2b), hashes.BLAKE2b(64))
HASHES: Final[Mapping[str, HashFunction]] = MappingProxyType(
    {function.name: function for function in (SHA256, SHA384, SHA512, BLAKE2S, BLAKE2B)}
)
"""Every hash by name: the first two are those of our cipher suites, all but SHA384 those of Noise."""


class TranscriptHash:
    """The running hash over all handshake messages (RFC 8446 section 4.4.1): bytes are kept until a hash is selected.

    Attributes:
        update: append one framed handshake message, exactly as it was sent or received, in plaintext.
        function: the selected hash; None before.
    """

    __slots__ = ("_early", "_hash", "function", "update")

    def __init__(self) -> None:
        self.function: HashFunction | None = None
        self._early: list[bytes] = []
        self._hash: _Hash | None = None
        self.update: Callable[[bytes], None] = self._early.append

    def select(self, function: HashFunction) -> None:
        """Fix the hash function; what came before enters it now. Happens once."""
        if self._hash is not None:
            raise LocalProtocolError("the transcript's hash is already selected")
        self.function = function
        self._hash = function.new(b"".join(self._early))
        self.update = self._hash.update
        self._early.clear()

    def content(self) -> bytes:
        """Everything so far; `LocalProtocolError` once a hash is selected."""
        if self._hash is not None:
            raise LocalProtocolError("the transcript is a hash by now: its bytes are not kept")
        return b"".join(self._early)

    def digest(self) -> bytes:
        """The hash of everything so far; `LocalProtocolError` before a hash is selected."""
        if self._hash is None:
            raise LocalProtocolError("the transcript has no hash until a cipher suite is selected")
        return self._hash.copy().digest()
