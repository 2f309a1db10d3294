"""The DH, cipher and hash functions that a protocol name can choose (sections 4 and 12), and the KEMs of `hfs`.

All of it is `cryptography` and `hashlib`; keys are parsed once and kept as objects beside their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey, MLKEM1024PublicKey
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from ..crypto.entropy import Entropy
from ..crypto.hashing import BLAKE2B, BLAKE2S, SHA256, SHA512, HashFunction, Hkdf
from ..errors import KeyAgreementFailed

if TYPE_CHECKING:
    from hashlib import _Hash

DHPrivateKey: TypeAlias = X25519PrivateKey | X448PrivateKey
DHPublicKey: TypeAlias = X25519PublicKey | X448PublicKey

MAX_NONCE: Final = 2**64 - 1
"""Reserved (section 5.1): it encrypts no message, only `REKEY` uses it."""

TAG_LENGTH: Final = 16
KEY_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key pair whose public part is known.

    Args:
        public: the raw public key, of the DH's length in bytes.
        private: what `Entropy` does a Diffie-Hellman with: a `cryptography` key, or a handle of a key that lives elsewhere.
    """

    public: bytes
    private: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class RemoteKey:
    """The peer's public key: parsed once, with its raw bytes."""

    data: bytes
    key: DHPublicKey = field(repr=False, compare=False)


OwnKey: TypeAlias = DHPrivateKey | KeyPair | bytes | bytearray | memoryview
"""What is taken for a key pair of one's own: a private key as an object or raw bytes, or a `KeyPair`."""

PeersKey: TypeAlias = DHPublicKey | RemoteKey | bytes | bytearray | memoryview
"""What is taken for a public key of the peer."""


@dataclass(frozen=True, slots=True, eq=False)
class DHFunctions:
    """Section 4.1.

    Attributes:
        name: as in a protocol name.
        algorithm: as `Entropy.ephemeral_key` calls it.
        length: DHLEN, in bytes.
        parse: makes a public key from exactly `length` bytes.
    """

    name: str
    algorithm: str
    length: int
    parse: Callable[[bytes], DHPublicKey]
    private_type: type[DHPrivateKey]
    public_type: type[DHPublicKey]

    def key_pair(self, key: OwnKey, what: str = "static") -> KeyPair:
        """The key pair of a private key: a `cryptography` object or `length` raw bytes; a `KeyPair` is taken as it is.

        Raises:
            ValueError: for anything else, `what` says of which argument.
        """
        if isinstance(key, KeyPair):
            if len(key.public) != self.length:
                raise ValueError(f"{what}: a {self.name} public key has {self.length} bytes, not {len(key.public)}")
            return key
        if isinstance(key, (bytes, bytearray, memoryview)):
            if len(key) != self.length:
                raise ValueError(f"{what}: a {self.name} private key has {self.length} bytes, not {len(key)}")
            key = self.private_type.from_private_bytes(bytes(key))
        if not isinstance(key, self.private_type):
            raise ValueError(f"{what}: a {self.algorithm} private key or its raw bytes, not a {type(key).__name__}")
        return KeyPair(key.public_key().public_bytes_raw(), key)

    def remote_key(self, key: PeersKey, what: str = "remote_static") -> RemoteKey:
        """A public key: a `cryptography` object or `length` raw bytes; raises as `key_pair`."""
        if isinstance(key, RemoteKey):
            key = key.data
        if isinstance(key, self.public_type):
            return RemoteKey(key.public_bytes_raw(), key)
        if not isinstance(key, (bytes, bytearray, memoryview)):
            raise ValueError(f"{what}: a {self.algorithm} public key or its raw bytes, not a {type(key).__name__}")
        if len(key) != self.length:
            raise ValueError(f"{what}: a {self.name} public key has {self.length} bytes, not {len(key)}")
        return RemoteKey(bytes(key), self.parse(bytes(key)))


DH_FUNCTIONS: Final[Mapping[str, DHFunctions]] = MappingProxyType(
    {
        "25519": DHFunctions(
            "25519", "X25519", 32, X25519PublicKey.from_public_bytes, X25519PrivateKey, X25519PublicKey
        ),
        "448": DHFunctions("448", "X448", 56, X448PublicKey.from_public_bytes, X448PrivateKey, X448PublicKey),
    }
)
"""Sections 12.1 and 12.2."""


@dataclass(frozen=True, slots=True, eq=False)
class CipherFunctions:
    """Section 4.2; `pack` makes the 12-byte nonce of a number, `new` the AEAD of a 32-byte key."""

    name: str
    new: Callable[[bytes], ChaCha20Poly1305 | AESGCM]
    pack: Callable[[int], bytes]


CIPHER_FUNCTIONS: Final[Mapping[str, CipherFunctions]] = MappingProxyType(
    {
        "ChaChaPoly": CipherFunctions("ChaChaPoly", ChaCha20Poly1305, Struct("<4xQ").pack),
        "AESGCM": CipherFunctions("AESGCM", AESGCM, Struct(">4xQ").pack),
    }
)
"""Sections 12.3 and 12.4: the nonce is little-endian in the one, big-endian in the other."""


class HashFunctions:
    """Section 4.3.

    Attributes:
        name: as in a protocol name.
        length: HASHLEN, in bytes.
        new: a running hash that begins with the bytes given.
        hkdf: two outputs of HKDF(chaining_key, input_key_material).
        function: the same hash for what lies outside of Noise.
    """

    __slots__ = ("function", "hkdf", "length", "name", "new")

    def __init__(self, name: str, function: HashFunction) -> None:
        self.name = name
        self.function = function
        self.length = function.digest_size
        self.new: Callable[[bytes], _Hash] = function.new
        self.hkdf: Hkdf = function.hkdf

    def __repr__(self) -> str:
        return f"HashFunctions({self.name})"

    def psk_outputs(self, entropy: Entropy, chaining_key: bytes, psk: bytes) -> tuple[bytes, bytes, bytes]:
        """Three outputs of HKDF(chaining_key, psk); the extraction, which needs the psk, is `entropy`'s."""
        temporary = entropy.extract(self.function, chaining_key, psk)
        okm = self.function.expand(temporary, b"", 3 * self.length)
        return okm[: self.length], okm[self.length : 2 * self.length], okm[2 * self.length :]


HASH_FUNCTIONS: Final[Mapping[str, HashFunctions]] = MappingProxyType(
    {
        "SHA256": HashFunctions("SHA256", SHA256),
        "SHA512": HashFunctions("SHA512", SHA512),
        "BLAKE2s": HashFunctions("BLAKE2s", BLAKE2S),
        "BLAKE2b": HashFunctions("BLAKE2b", BLAKE2B),
    }
)
"""Sections 12.5 to 12.8."""


@dataclass(frozen=True, slots=True, eq=False)
class KemFunctions:
    """The draft's KEM functions, for ML-KEM (FIPS 203); lengths in bytes."""

    name: str
    key_length: int
    ciphertext_length: int
    public_type: type[MLKEM768PublicKey | MLKEM1024PublicKey]

    def encapsulate(self, entropy: Entropy, public_key: bytes) -> tuple[bytes, bytes]:
        """The secret and its ciphertext; `KeyAgreementFailed` for what is no public key (FIPS 203 section 7.2)."""
        try:
            return entropy.encapsulate(self.public_type.from_public_bytes(public_key))
        except ValueError as error:
            raise KeyAgreementFailed(
                f"the KEM key is no {self.name} encapsulation key",
                expected="coefficients below the modulus (FIPS 203 section 7.2)",
            ) from error


KEM_FUNCTIONS: Final[Mapping[str, KemFunctions]] = MappingProxyType(
    {
        "MLKEM768": KemFunctions("MLKEM768", 1184, 1088, MLKEM768PublicKey),
        "MLKEM1024": KemFunctions("MLKEM1024", 1568, 1568, MLKEM1024PublicKey),
    }
)
"""Named without hyphens, as section 8 has it for all algorithms, and as libp2p and I2P do."""
