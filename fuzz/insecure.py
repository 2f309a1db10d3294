"""Providers for fuzzing only: randomness that is always the same, and cryptography without any security.

With `insecure_provider()` sealed messages are not encrypted and every tag, signature and Finished opens the next door, so
that a fuzzer reaches the code behind them. It changes the running process, and changes it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey, MLKEM1024PublicKey

from nautilus_core import INITIATOR, Entropy, PublicKey, Role
from nautilus_core.crypto import suites
from nautilus_core.noise.functions import CIPHER_FUNCTIONS
from nautilus_core.steps import psk, session_keys
from nautilus_core.transcript.lines import Drawn
from nautilus_core.transcript.tape import drawn

TAG: Final = bytes(16)
"""What stands in the place of a tag."""


class NullCipher:
    """Seals nothing: the plaintext, then a tag that nobody looks at."""

    def __init__(self, key: bytes) -> None:
        """Any key will do."""

    def encrypt(self, nonce: bytes, data: Any, associated_data: Any) -> bytes:
        """The plaintext and the tag."""
        return bytes(data) + TAG

    def encrypt_into(self, nonce: bytes, data: Any, associated_data: Any, buffer: Any) -> int:
        """The same into `buffer`."""
        buffer[:] = bytes(data) + TAG
        return len(buffer)

    def decrypt(self, nonce: bytes, data: Any, associated_data: Any) -> bytes:
        """The plaintext, whatever the tag is."""
        if len(data) < len(TAG):
            raise InvalidTag
        return bytes(data[: -len(TAG)])


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute, also of a frozen object, for as long as the block runs."""
    before = getattr(owner, name)
    put = type.__setattr__ if isinstance(owner, type) else object.__setattr__
    put(owner, name, value)
    try:
        yield
    finally:
        put(owner, name, before)


@contextmanager
def insecure_provider() -> Iterator[None]:
    """AEADs that do not encrypt; signatures, binders and Finished MACs that are always right."""
    with ExitStack() as stack:
        for aead in (suites.AES_128_GCM, suites.AES_256_GCM, suites.CHACHA20_POLY1305):
            stack.enter_context(replaced(aead, "new", NullCipher))
        for functions in CIPHER_FUNCTIONS.values():
            stack.enter_context(replaced(functions, "new", NullCipher))
        for module in (session_keys, psk):
            stack.enter_context(replaced(module, "hmac", SimpleNamespace(compare_digest=lambda *_: True)))
        stack.enter_context(replaced(PublicKey, "verify", lambda *_: True))
        yield


_SEEDS: Final[dict[str, int]] = {"X25519": 32, "X448": 56, "P256": 32, "P384": 48, "MLKEM768": 64, "MLKEM1024": 64}
_CIPHERTEXTS: Final = {1184: 1088, 1568: 1568}
"""Of ML-KEM, by the length of the public key (FIPS 203 section 8)."""


@cache
def ephemeral(role: Role, algorithm: str) -> Any:
    """The one ephemeral key of this role and algorithm."""
    data = bytes((1 + (role is INITIATOR),)) * _SEEDS[algorithm]
    return drawn(Drawn(what=algorithm, data=data))[1]


class FixedEntropy(Entropy):
    """The same random bytes and ephemeral keys in every handshake of a role, so that a recorded peer's flights fit."""

    __slots__ = ("_role",)

    def __init__(self, role: Role) -> None:
        self._role = role

    def random_bytes(self, length: int) -> bytes:
        """Bytes that count."""
        start = 128 if self._role is INITIATOR else 0
        return bytes((start + place) % 256 for place in range(length))

    def ephemeral_key(self, algorithm: str) -> Any:
        """The one key of this algorithm."""
        return ephemeral(self._role, algorithm)

    def encapsulate(self, public_key: MLKEM768PublicKey | MLKEM1024PublicKey) -> tuple[bytes, bytes]:
        """A ciphertext of zeros, and the secret that the initiator's key makes of it (implicit rejection); no other key's."""
        raw = public_key.public_bytes_raw()
        for algorithm in ("MLKEM768", "MLKEM1024"):
            own = ephemeral(INITIATOR, algorithm)
            if own.public_key().public_bytes_raw() == raw:
                ciphertext = bytes(_CIPHERTEXTS[len(raw)])
                return own.decapsulate(ciphertext), ciphertext
        return bytes(32), bytes(_CIPHERTEXTS[len(raw)])
