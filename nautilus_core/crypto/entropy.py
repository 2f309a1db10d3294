"""Where randomness and private-key operations come from: an argument of every handshake, so that a recording replays.

Nothing else in the core draws a random number, makes a key, signs, or uses a static key or a pre-shared one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
    MLKEM1024PrivateKey,
    MLKEM1024PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..errors import LocalProtocolError

if TYPE_CHECKING:
    from ..tls.flight import TlsEnd, TlsFlight
    from .hashing import HashFunction
    from .signatures import SigningKey

EphemeralKey = X25519PrivateKey | X448PrivateKey | EllipticCurvePrivateKey | MLKEM768PrivateKey | MLKEM1024PrivateKey

_GENERATORS: Final[Mapping[str, Callable[[], EphemeralKey]]] = MappingProxyType(
    {
        "X25519": X25519PrivateKey.generate,
        "X448": X448PrivateKey.generate,
        "P256": lambda: generate_ec(SECP256R1()),
        "P384": lambda: generate_ec(SECP384R1()),
        "MLKEM768": MLKEM768PrivateKey.generate,
        "MLKEM1024": MLKEM1024PrivateKey.generate,
    }
)


class Entropy:
    """The operating system's randomness. Subclass it to record, to replay or to fix what a handshake draws."""

    __slots__ = ()

    def random_bytes(self, length: int) -> bytes:
        """`length` random bytes."""
        return os.urandom(length)

    def ephemeral_key(self, algorithm: str) -> Any:
        """A fresh private key, an `EphemeralKey`; `algorithm` is X25519, X448, P256, P384, MLKEM768 or
        MLKEM1024."""
        return _GENERATORS[algorithm]()

    def encapsulate(self, public_key: MLKEM768PublicKey | MLKEM1024PublicKey) -> tuple[bytes, bytes]:
        """A shared secret (32 bytes) and its ciphertext (FIPS 203 section 7.2)."""
        return public_key.encapsulate()

    def sign(self, key: SigningKey, message: bytes) -> bytes:
        """The signature of `key`, by its scheme, over `message`."""
        return key.sign(message)

    def exchange(self, key: Any, public_key: Any) -> bytes:
        """Diffie-Hellman of the static private key `key` and the peer's `public_key`; `ValueError` when it is all zeros."""
        secret: bytes = key.exchange(public_key)
        return secret

    def extract(self, function: HashFunction, salt: bytes, psk: bytes) -> bytes:
        """HKDF-Extract (RFC 5869 section 2.2) of a pre-shared key; `salt` is at most a hash long.

        `LocalProtocolError` for a key of no bytes, as `PreSharedKey.public_only` has: what is extracted, everybody knows.
        """
        if not psk:
            raise LocalProtocolError(
                "a pre-shared key without its key makes no handshake; expected the PreSharedKey itself (hint: that of "
                "PreSharedKey.public_only is for replays)"
            )
        return function.hmac(salt, psk)

    def tls(self, end: TlsEnd, received: bytes) -> TlsFlight:
        """What a TLS connection answers to the peer's bytes: it draws its own randomness, and uses its own private key."""
        return end.advance(received)


SYSTEM_ENTROPY: Final = Entropy()
