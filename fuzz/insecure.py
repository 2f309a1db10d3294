"""A provider without security, for fuzzing only: it lets mutated bytes reach what lies behind sealing and authentication.

The AEAD is the identity with sixteen zero bytes as its tag, every signature verifies, every MAC compares equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

from cryptography.exceptions import InvalidTag

from nautilus_core import PublicKey, profiles
from nautilus_core.crypto.hashing import SHA256
from nautilus_core.crypto.suites import SUITES, TAG_LENGTH, Aead, CipherSuite
from nautilus_core.steps import cipher_suite, session_keys

NAME: Final = "X25519_NULL_SHA256"
_TAG: Final = bytes(TAG_LENGTH)


class NullCipher:
    """Encrypts nothing; a tag that is not all zero is wrong."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def encrypt(self, nonce: bytes, data: Any, associated_data: Any) -> bytes:
        """The data and a tag."""
        return bytes(data) + _TAG

    def encrypt_into(self, nonce: bytes, data: Any, associated_data: Any, buffer: Any) -> int:
        """The same into a buffer."""
        sealed = bytes(data) + _TAG
        memoryview(buffer)[:] = sealed
        return len(sealed)

    def decrypt(self, nonce: bytes, data: Any, associated_data: Any) -> bytes:
        """The data without its tag; `InvalidTag` for another tag."""
        sealed = bytes(data)
        if sealed[-TAG_LENGTH:] != _TAG:
            raise InvalidTag
        return sealed[:-TAG_LENGTH]


_AEAD: Final[Any] = Aead("NULL", 32, NullCipher)  # type: ignore[arg-type]  # it only has to look like one
NULL_SUITE: Final = CipherSuite(
    NAME, "X25519", _AEAD, SHA256, SHA256.label_info(b"key", 32), SHA256.label_info(b"iv", 12)
)


@contextmanager
def insecure_provider() -> Iterator[None]:
    """While it lasts, the suite `X25519_NULL_SHA256` exists and no proof is checked."""
    suites = {**SUITES, NAME: NULL_SUITE}
    replaced: list[tuple[Any, str, Any]] = [
        (profiles, "SUITES", suites),
        (cipher_suite, "SUITES", suites),
        (session_keys, "hmac", SimpleNamespace(compare_digest=lambda *_: True)),
        (PublicKey, "verify", lambda *_: True),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    for owner, name, value in replaced:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in originals:
            setattr(owner, name, value)
