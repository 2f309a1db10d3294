"""Providers for fuzzing only: randomness that is always the same, and cryptography without any security.

With `insecure_provider()` sealed messages are not encrypted and every tag, signature and Finished opens the next door, so
that a fuzzer reaches the code behind them. It changes the running process, and changes it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey, MLKEM1024PublicKey

from nautilus_core import INITIATOR, Entropy, PublicKey, Role
from nautilus_core.crypto import suites
from nautilus_core.crypto.signatures import SigningKey
from nautilus_core.noise.functions import CIPHER_FUNCTIONS
from nautilus_core.steps import session_keys

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
    """AEADs that do not encrypt; signatures and Finished MACs that are always right."""
    with ExitStack() as stack:
        for aead in (suites.AES_128_GCM, suites.AES_256_GCM, suites.CHACHA20_POLY1305):
            stack.enter_context(replaced(aead, "new", NullCipher))
        for functions in CIPHER_FUNCTIONS.values():
            stack.enter_context(replaced(functions, "new", NullCipher))
        stack.enter_context(replaced(session_keys, "hmac", SimpleNamespace(compare_digest=lambda *_: True)))
        stack.enter_context(replaced(PublicKey, "verify", lambda *_: True))
        yield


_KEYS: Final[dict[tuple[Role, str], Any]] = {}
_ENCAPSULATED: Final[dict[bytes, tuple[bytes, bytes]]] = {}
_SIGNED: Final[dict[bytes, bytes]] = {}
_KEPT: Final = 32
"""How many results of each kind are kept: enough for the recordings, which come first."""


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
        name = self._role, algorithm
        if name not in _KEYS:
            _KEYS[name] = super().ephemeral_key(algorithm)
        return _KEYS[name]

    def encapsulate(self, public_key: MLKEM768PublicKey | MLKEM1024PublicKey) -> tuple[bytes, bytes]:
        """The one encapsulation to this key, where it is kept."""
        name = public_key.public_bytes_raw()
        if name in _ENCAPSULATED:
            return _ENCAPSULATED[name]
        made = super().encapsulate(public_key)
        if len(_ENCAPSULATED) < _KEPT:
            _ENCAPSULATED[name] = made
        return made

    def sign(self, key: SigningKey, message: bytes) -> bytes:
        """The one signature over this message, where it is kept (ECDSA's are different each time)."""
        if message in _SIGNED:
            return _SIGNED[message]
        made = super().sign(key, message)
        if len(_SIGNED) < _KEPT:
            _SIGNED[message] = made
        return made
