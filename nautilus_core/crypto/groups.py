"""Key agreement groups behind one interface, a key encapsulation: share, encapsulate, decapsulate.

Diffie-Hellman is one too: the responder's share is its ciphertext. The hybrids are those of the ECDHE-MLKEM
specification for TLS 1.3 (draft-ietf-tls-ecdhe-mlkem), whose orders differ. Knows no messages.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Generic, NoReturn, TypeVar, cast

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    SECP384R1,
    EllipticCurve,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
    MLKEM1024PrivateKey,
    MLKEM1024PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..errors import KeyAgreementFailed
from .entropy import Entropy

K = TypeVar("K")


class Group(ABC, Generic[K]):
    """One key agreement; `K` is what the initiator keeps between its share and the responder's.

    Attributes:
        name: as in the name of a cipher suite.
        share_length: of the initiator's share, in bytes.
        response_length: of the responder's share, in bytes.

    `encapsulate` and `decapsulate` raise `KeyAgreementFailed` for whatever is wrong with the peer's share: its length, a point
    that is not on the curve, an all-zero secret (RFC 7748 section 6.1), coefficients out of range (FIPS 203 section 7.2).
    """

    __slots__ = ("name", "response_length", "share_length")

    def __init__(self, name: str, share_length: int, response_length: int) -> None:
        self.name = name
        self.share_length = share_length
        self.response_length = response_length

    @abstractmethod
    def generate(self, entropy: Entropy) -> tuple[K, bytes]:
        """The initiator's fresh private key and its share."""

    @abstractmethod
    def encapsulate(self, entropy: Entropy, share: bytes) -> tuple[bytes, bytes]:
        """For the responder: the shared secret, and its own share.

        Args:
            entropy: draws the private key, or the encapsulation.
            share: the initiator's; `share_length` bytes, as they came.

        Returns:
            The secret: 32 bytes with X25519, P-256 and ML-KEM, 48 with P-384, of a hybrid both, one behind the other; and
            `response_length` bytes for the initiator.

        Raises:
            KeyAgreementFailed: nobody honest sends such a share.
        """

    @abstractmethod
    def decapsulate(self, private_key: K, response: bytes) -> bytes:
        """For the initiator: the shared secret, as `encapsulate` gave it to the responder.

        An ML-KEM ciphertext that was tampered with gives another secret, and no error (FIPS 203 section 6.3): the keys differ.

        Args:
            private_key: what `generate` made.
            response: the responder's share; `response_length` bytes, as they came.

        Raises:
            KeyAgreementFailed: nobody honest sends such a share.
        """

    def check_share(self, share: bytes) -> None:
        """Refuse an initiator's share of the wrong length."""
        if len(share) != self.share_length:
            self._refuse("the initiator's key share", self.share_length, share)

    def check_response(self, response: bytes) -> None:
        """Refuse a responder's share of the wrong length."""
        if len(response) != self.response_length:
            self._refuse("the responder's key share", self.response_length, response)

    def _refuse(self, what: str, expected: int, got: bytes) -> NoReturn:
        raise KeyAgreementFailed(
            f"{what} has the wrong length for {self.name}",
            expected=f"{expected} bytes",
            received=f"{len(got)} bytes",
        )


class _X25519(Group[X25519PrivateKey]):
    """RFC 7748 section 6.1; an all-zero secret is refused (RFC 8446 section 7.4.2)."""

    __slots__ = ()

    def generate(self, entropy: Entropy) -> tuple[X25519PrivateKey, bytes]:
        private_key: X25519PrivateKey = entropy.ephemeral_key("X25519")
        return private_key, private_key.public_key().public_bytes_raw()

    def encapsulate(self, entropy: Entropy, share: bytes) -> tuple[bytes, bytes]:
        self.check_share(share)
        private_key, own_share = self.generate(entropy)
        return self._exchange(private_key, share), own_share

    def decapsulate(self, private_key: X25519PrivateKey, response: bytes) -> bytes:
        self.check_response(response)
        return self._exchange(private_key, response)

    def _exchange(self, private_key: X25519PrivateKey, share: bytes) -> bytes:
        try:
            return private_key.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as error:
            raise KeyAgreementFailed(
                "the X25519 key share leads to an all-zero secret",
                expected="a point of large order",
                received="a point of small order",
            ) from error


class _NistCurve(Group[EllipticCurvePrivateKey]):
    """ECDH over P-256 or P-384 with uncompressed points (RFC 8446 sections 4.2.8.2 and 7.4.2)."""

    __slots__ = ("_curve",)

    def __init__(self, name: str, curve: EllipticCurve, share_length: int) -> None:
        super().__init__(name, share_length, share_length)
        self._curve = curve

    def generate(self, entropy: Entropy) -> tuple[EllipticCurvePrivateKey, bytes]:
        private_key: EllipticCurvePrivateKey = entropy.ephemeral_key(self.name)
        share = private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return private_key, share

    def encapsulate(self, entropy: Entropy, share: bytes) -> tuple[bytes, bytes]:
        self.check_share(share)
        private_key, own_share = self.generate(entropy)
        return self._exchange(private_key, share), own_share

    def decapsulate(self, private_key: EllipticCurvePrivateKey, response: bytes) -> bytes:
        self.check_response(response)
        return self._exchange(private_key, response)

    def _exchange(self, private_key: EllipticCurvePrivateKey, share: bytes) -> bytes:
        try:
            if share[0] != 4:
                raise ValueError("not an uncompressed point")
            return private_key.exchange(ECDH(), EllipticCurvePublicKey.from_encoded_point(self._curve, share))
        except ValueError as error:
            raise KeyAgreementFailed(
                f"the key share is no point of {self.name}", expected="an uncompressed point on the curve"
            ) from error


_MLKEMPrivateKey = MLKEM768PrivateKey | MLKEM1024PrivateKey


class _MLKEM(Group[_MLKEMPrivateKey]):
    """ML-KEM (FIPS 203); OpenSSL makes the checks of section 7.2 and 7.3."""

    __slots__ = ("_public_key_type",)

    def __init__(
        self,
        name: str,
        public_key_type: type[MLKEM768PublicKey | MLKEM1024PublicKey],
        share_length: int,
        response_length: int,
    ) -> None:
        super().__init__(name, share_length, response_length)
        self._public_key_type = public_key_type

    def generate(self, entropy: Entropy) -> tuple[_MLKEMPrivateKey, bytes]:
        private_key: _MLKEMPrivateKey = entropy.ephemeral_key(self.name)
        return private_key, private_key.public_key().public_bytes_raw()

    def encapsulate(self, entropy: Entropy, share: bytes) -> tuple[bytes, bytes]:
        self.check_share(share)
        try:
            return entropy.encapsulate(self._public_key_type.from_public_bytes(share))
        except ValueError as error:
            raise KeyAgreementFailed(
                f"the key share is no {self.name} encapsulation key",
                expected="coefficients below the modulus (FIPS 203 section 7.2)",
            ) from error

    def decapsulate(self, private_key: _MLKEMPrivateKey, response: bytes) -> bytes:
        self.check_response(response)
        return private_key.decapsulate(response)


A = TypeVar("A")
B = TypeVar("B")


class _Hybrid(Group[tuple[A, B]]):
    """Two groups side by side: shares, responses and secrets are concatenated in the same order."""

    __slots__ = ("_first", "_second")

    def __init__(self, name: str, first: Group[A], second: Group[B]) -> None:
        super().__init__(name, first.share_length + second.share_length, first.response_length + second.response_length)
        self._first = first
        self._second = second

    def generate(self, entropy: Entropy) -> tuple[tuple[A, B], bytes]:
        first_key, first_share = self._first.generate(entropy)
        second_key, second_share = self._second.generate(entropy)
        return (first_key, second_key), first_share + second_share

    def encapsulate(self, entropy: Entropy, share: bytes) -> tuple[bytes, bytes]:
        self.check_share(share)
        cut = self._first.share_length
        first_secret, first_response = self._first.encapsulate(entropy, share[:cut])
        second_secret, second_response = self._second.encapsulate(entropy, share[cut:])
        return first_secret + second_secret, first_response + second_response

    def decapsulate(self, private_key: tuple[A, B], response: bytes) -> bytes:
        self.check_response(response)
        cut = self._first.response_length
        first_key, second_key = private_key
        return self._first.decapsulate(first_key, response[:cut]) + self._second.decapsulate(second_key, response[cut:])


_X25519_GROUP: Final = _X25519("X25519", 32, 32)
_MLKEM_768: Final = _MLKEM("MLKEM768", MLKEM768PublicKey, 1184, 1088)
_MLKEM_1024: Final = _MLKEM("MLKEM1024", MLKEM1024PublicKey, 1568, 1568)
_P256: Final = _NistCurve("P256", SECP256R1(), 65)
_P384: Final = _NistCurve("P384", SECP384R1(), 97)

GROUPS: Final[Mapping[str, Group[object]]] = MappingProxyType(
    {
        group.name: cast("Group[object]", group)
        for group in (
            _Hybrid("X25519MLKEM768", _MLKEM_768, _X25519_GROUP),
            _Hybrid("SecP384R1MLKEM1024", _P384, _MLKEM_1024),
            _X25519_GROUP,
            _P256,
        )
    }
)
"""Every group that a cipher suite can name."""
