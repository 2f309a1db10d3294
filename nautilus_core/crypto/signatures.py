"""Signature schemes: key pairs, encoded public keys, signing and verifying. Knows nothing of who owns a key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurve,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | MLDSA65PrivateKey | rsa.RSAPrivateKey


class SigningKey(Protocol):
    """What can sign: an identity, and later a key that lives elsewhere."""

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, by the key's own scheme."""


class SignatureScheme(ABC):
    """One scheme; `public_length` is the length of its encoded public key in bytes, 0 where it varies."""

    __slots__ = ("name", "public_length")

    def __init__(self, name: str, public_length: int) -> None:
        self.name = name
        self.public_length = public_length

    def verifier(self, public_key: bytes) -> Callable[[bytes, bytes], bool]:
        """A function that says of (signature, message) whether it verifies under `public_key`, which is parsed once.

        Raises:
            ValueError: which says why, unless `public_key` is a usable encoded public key of this scheme.
        """
        if len(public_key) != self.public_length != 0:
            raise ValueError(f"a {self.name} public key has {self.public_length} bytes, not {len(public_key)}")
        verify = self._verifier(public_key)

        def verifies(signature: bytes, message: bytes) -> bool:
            try:
                verify(signature, message)
            except InvalidSignature:
                return False
            return True

        return verifies

    @abstractmethod
    def generate(self) -> PrivateKey:
        """A fresh private key."""

    @abstractmethod
    def owns(self, private_key: object) -> bool:
        """Whether `private_key` is one of this scheme."""

    @abstractmethod
    def owns_public(self, public_key: object) -> bool:
        """Whether `public_key`, an object of `cryptography`, is one of this scheme."""

    @abstractmethod
    def encode(self, public_key: object) -> bytes:
        """A public key of this scheme, encoded."""

    def public_bytes(self, private_key: PrivateKey) -> bytes:
        """The encoded public key that belongs to `private_key`."""
        return self.encode(private_key.public_key())

    @abstractmethod
    def signer(self, private_key: PrivateKey) -> Callable[[bytes], bytes]:
        """A function that gives the signature of `private_key` over a message."""

    @abstractmethod
    def _verifier(self, public_key: bytes) -> Callable[[bytes, bytes], None]:
        """Parse a key of the right length (`ValueError`); the function raises `InvalidSignature`."""


_P25519: Final = 2**255 - 19
_WITHOUT_SIGN: Final = 2**255 - 1
_SMALL_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        _P25519 - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    }
)


def _check_ed25519_point(public_key: bytes) -> None:
    """Small-order keys verify one constant signature over anything; RFC 8032 section 5.1.3 refuses y >= p."""
    y = int.from_bytes(public_key, "little") & _WITHOUT_SIGN
    if y >= _P25519:
        raise ValueError("the Ed25519 public key is not in canonical form")
    if y in _SMALL_ORDER_Y:
        raise ValueError("the Ed25519 public key is a point of small order")


class _Ed25519(SignatureScheme):
    """RFC 8032 section 5.1."""

    __slots__ = ()

    def generate(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.generate()

    def owns(self, private_key: object) -> bool:
        return isinstance(private_key, Ed25519PrivateKey)

    def owns_public(self, public_key: object) -> bool:
        return isinstance(public_key, Ed25519PublicKey)

    def encode(self, public_key: object) -> bytes:
        return cast("Ed25519PublicKey", public_key).public_bytes_raw()

    def signer(self, private_key: PrivateKey) -> Callable[[bytes], bytes]:
        return cast("Ed25519PrivateKey", private_key).sign

    def _verifier(self, public_key: bytes) -> Callable[[bytes, bytes], None]:
        _check_ed25519_point(public_key)
        return Ed25519PublicKey.from_public_bytes(public_key).verify


class _ECDSA(SignatureScheme):
    """FIPS 186-5 section 6 with DER signatures; keys are uncompressed points (SEC 1 section 2.3.3)."""

    __slots__ = ("_algorithm", "_curve")

    def __init__(self, name: str, public_length: int, curve: EllipticCurve, digest: hashes.HashAlgorithm) -> None:
        super().__init__(name, public_length)
        self._curve = curve
        self._algorithm = ECDSA(digest)

    def generate(self) -> EllipticCurvePrivateKey:
        return generate_private_key(self._curve)

    def owns(self, private_key: object) -> bool:
        return isinstance(private_key, EllipticCurvePrivateKey) and private_key.curve.name == self._curve.name

    def owns_public(self, public_key: object) -> bool:
        return isinstance(public_key, EllipticCurvePublicKey) and public_key.curve.name == self._curve.name

    def encode(self, public_key: object) -> bytes:
        key = cast("EllipticCurvePublicKey", public_key)
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def signer(self, private_key: PrivateKey) -> Callable[[bytes], bytes]:
        key = cast("EllipticCurvePrivateKey", private_key)
        return lambda message: key.sign(message, self._algorithm)

    def _verifier(self, public_key: bytes) -> Callable[[bytes, bytes], None]:
        if public_key[:1] != b"\x04":
            raise ValueError(f"a {self.name} public key is an uncompressed point")
        key = EllipticCurvePublicKey.from_encoded_point(self._curve, public_key)
        return lambda signature, message: key.verify(signature, message, self._algorithm)


class _MLDSA65(SignatureScheme):
    """ML-DSA-65 (FIPS 204 section 5.2): pure, with the empty context."""

    __slots__ = ()

    def generate(self) -> MLDSA65PrivateKey:
        return MLDSA65PrivateKey.generate()

    def owns(self, private_key: object) -> bool:
        return isinstance(private_key, MLDSA65PrivateKey)

    def owns_public(self, public_key: object) -> bool:
        return isinstance(public_key, MLDSA65PublicKey)

    def encode(self, public_key: object) -> bytes:
        return cast("MLDSA65PublicKey", public_key).public_bytes_raw()

    def signer(self, private_key: PrivateKey) -> Callable[[bytes], bytes]:
        return cast("MLDSA65PrivateKey", private_key).sign

    def _verifier(self, public_key: bytes) -> Callable[[bytes, bytes], None]:
        return MLDSA65PublicKey.from_public_bytes(public_key).verify


RSA_BITS: Final = range(2048, 8193)
"""How long an RSA modulus may be: below, it is weak; above, it costs who verifies too much."""


_RSA_EXPONENTS: Final = range(2**16 + 1, 2**256)
"""FIPS 186-5 section A.1.1; a long one costs who verifies as much as signing costs who signs."""


class _RSAPSS(SignatureScheme):
    """RSASSA-PSS (RFC 8017 section 8.1) with SHA-256, MGF1 over it, and 32 bytes of salt; keys are DER SubjectPublicKeyInfo."""

    __slots__ = ()

    def generate(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65_537, key_size=3072)

    def owns(self, private_key: object) -> bool:
        return isinstance(private_key, rsa.RSAPrivateKey)

    def owns_public(self, public_key: object) -> bool:
        return isinstance(public_key, rsa.RSAPublicKey)

    def encode(self, public_key: object) -> bytes:
        key = cast("rsa.RSAPublicKey", public_key)
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def signer(self, private_key: PrivateKey) -> Callable[[bytes], bytes]:
        key = cast("rsa.RSAPrivateKey", private_key)
        return lambda message: key.sign(message, _pss(), hashes.SHA256())

    def _verifier(self, public_key: bytes) -> Callable[[bytes, bytes], None]:
        try:
            key = load_der_public_key(public_key)
        except UnsupportedAlgorithm as error:
            raise ValueError(f"a {self.name} public key of an unknown kind") from error
        if not isinstance(key, rsa.RSAPublicKey) or self.encode(key) != public_key:
            raise ValueError(f"a {self.name} public key is an RSA key as a SubjectPublicKeyInfo, in DER")
        if key.key_size not in RSA_BITS:
            raise ValueError(f"an RSA key of {key.key_size} bits; it has {RSA_BITS[0]} to {RSA_BITS[-1]}")
        numbers = key.public_numbers()
        if numbers.e not in _RSA_EXPONENTS or not numbers.n % 2:
            raise ValueError(
                "an RSA key with an exponent, or a modulus, that none should have (FIPS 186-5 section A.1.1)"
            )
        return lambda signature, message: key.verify(signature, message, _pss(), hashes.SHA256())


def _pss() -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)


SCHEMES: Final[Mapping[str, SignatureScheme]] = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            _Ed25519("ed25519", 32),
            _ECDSA("ecdsa-p256-sha256", 65, SECP256R1(), hashes.SHA256()),
            _ECDSA("ecdsa-p384-sha384", 97, SECP384R1(), hashes.SHA384()),
            _MLDSA65("ml-dsa-65", 1952),
        )
    }
)
"""The signature schemes whose keys stand alone, as raw public keys, by name."""

CERTIFIED_SCHEMES: Final[Mapping[str, SignatureScheme]] = MappingProxyType(
    {**SCHEMES, "rsa-pss-sha256": _RSAPSS("rsa-pss-sha256", 0)}
)
"""Every signature scheme by name: those, and the one whose keys stand in certificates only."""


def scheme_named(name: str) -> SignatureScheme:
    """The scheme called `name`; `ValueError` when there is none."""
    if name not in CERTIFIED_SCHEMES:
        raise ValueError(f"no signature scheme {name!r}; use one of {', '.join(CERTIFIED_SCHEMES)}")
    return CERTIFIED_SCHEMES[name]


def scheme_of(private_key: object) -> SignatureScheme:
    """The scheme of a `cryptography` private key; `ValueError` when there is none."""
    for scheme in CERTIFIED_SCHEMES.values():
        if scheme.owns(private_key):
            return scheme
    raise _no_scheme(private_key)


def scheme_of_public(public_key: object) -> SignatureScheme:
    """The scheme of a `cryptography` public key; `ValueError` when there is none."""
    for scheme in CERTIFIED_SCHEMES.values():
        if scheme.owns_public(public_key):
            return scheme
    raise _no_scheme(public_key)


def _no_scheme(key: object) -> ValueError:
    known = ", ".join(CERTIFIED_SCHEMES)
    curve = getattr(key, "curve", None)
    where = "" if curve is None else f" on {curve.name}"
    return ValueError(
        f"no signature scheme here uses a key of this kind: {type(key).__name__}{where}; use one of {known}"
    )
