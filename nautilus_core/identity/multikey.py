"""Public keys as text: Multikey (multibase and multicodec) and JSON Web Keys. Knows nothing of DIDs and their documents.

Multibase is written here, not taken from a library: of its encodings DIDs use one, base58btc, which is a dozen lines.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurve, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..crypto.signatures import SCHEMES
from .keys import PublicKey

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS: Final[Mapping[str, int]] = MappingProxyType({letter: place for place, letter in enumerate(_BASE58)})
_BASE58BTC: Final = "z"
_LONGEST_MULTIBASE: Final = 3072  # characters; an ML-DSA-65 key has some 2670


class MalformedKey(ValueError):
    """No key can be read from it."""


class UnsupportedKey(ValueError):
    """A key that is well-formed, as far as one can see, but of a kind that is not used here."""


@dataclass(frozen=True, slots=True)
class _Codec:
    """How the keys of a scheme are marked (multicodec, as an unsigned varint) and, on a curve, compressed."""

    scheme: str
    prefix: bytes
    curve: EllipticCurve | None = None


_CODECS: Final = (
    _Codec("ed25519", b"\xed\x01"),  # 0xed
    _Codec("ecdsa-p256-sha256", b"\x80\x24", SECP256R1()),  # 0x1200
    _Codec("ecdsa-p384-sha384", b"\x81\x24", SECP384R1()),  # 0x1201
    _Codec("ml-dsa-65", b"\x91\x24"),  # 0x1211, mldsa-65-pub
)
"""Of <https://github.com/multiformats/multicodec/blob/master/table.csv>."""

_CURVES: Final[Mapping[object, tuple[str, int]]] = MappingProxyType(
    {"P-256": ("ecdsa-p256-sha256", 32), "P-384": ("ecdsa-p384-sha384", 48)}
)
"""The scheme of the keys on a curve, and the bytes of a coordinate."""
_ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ed25519": ("EdDSA", "Ed25519"),
        "ecdsa-p256-sha256": ("ES256",),
        "ecdsa-p384-sha384": ("ES384",),
        "ml-dsa-65": ("ML-DSA-65",),
    }
)
"""What `alg` may say of a key of a scheme."""
_PRIVATE: Final = ("d", "priv", "k")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")


def encode_multibase(data: bytes) -> str:
    """`data` in base58btc, after the letter that says so."""
    number = int.from_bytes(data, "big")
    letters = []
    while number:
        number, digit = divmod(number, 58)
        letters.append(_BASE58[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return _BASE58BTC + _BASE58[0] * zeros + "".join(reversed(letters))


def decode_multibase(text: str) -> bytes:
    """The bytes in a multibase text; `MalformedKey` for another base than base58btc, a letter it has not, or too many."""
    if not text.startswith(_BASE58BTC) or len(text) > _LONGEST_MULTIBASE:
        raise MalformedKey(f"malformed multibase: expected {_BASE58BTC!r} and at most {_LONGEST_MULTIBASE - 1} letters")
    body = text[1:]
    number = 0
    for letter in body:
        digit = _DIGITS.get(letter)
        if digit is None:
            raise MalformedKey(f"malformed multibase: {letter!r} is no letter of base58btc")
        number = number * 58 + digit
    zeros = len(body) - len(body.lstrip(_BASE58[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def encode_multikey(key: PublicKey) -> str:
    """A key as a Multikey; `UnsupportedKey` for one of a scheme without a multicodec."""
    codec = next((codec for codec in _CODECS if codec.scheme == key.scheme), None)
    if codec is None:
        raise UnsupportedKey(f"there is no Multikey for a {key.scheme} key here; use one of {', '.join(SCHEMES)}")
    data = key.data
    if codec.curve is not None:
        point = EllipticCurvePublicKey.from_encoded_point(codec.curve, data)
        data = point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return encode_multibase(codec.prefix + data)


def decode_multikey(text: str) -> PublicKey:
    """The key in a Multikey.

    Raises:
        UnsupportedKey: of another kind than the four schemes that sign here.
        MalformedKey: no key can be read from it.
        ValueError: the key is not usable: of small order, or no point of its curve.
    """
    data = decode_multibase(text)
    codec = next((codec for codec in _CODECS if data.startswith(codec.prefix)), None)
    if codec is None:
        raise UnsupportedKey(f"a key of an unsupported type, with the multicodec {data[:2].hex() or 'of nothing'}")
    raw = data[len(codec.prefix) :]
    if codec.curve is not None:
        if raw[:1] not in (b"\x02", b"\x03"):
            raise MalformedKey("a key on a curve stands in a Multikey as a compressed point")
        point = EllipticCurvePublicKey.from_encoded_point(codec.curve, raw)
        raw = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return PublicKey(codec.scheme, raw)


def key_in_jwk(jwk: Mapping[str, Any]) -> PublicKey:
    """The key in a JSON Web Key: of RFC 7518 section 6.2 (EC), RFC 8037 (Ed25519), draft-ietf-cose-dilithium (ML-DSA-65).

    Raises:
        UnsupportedKey: of another kind than these.
        MalformedKey: no key can be read from it.
        ValueError: the key is not usable, as above, is for another use, or its private part is there too.
    """
    if any(name in jwk for name in _PRIVATE):
        raise ValueError("a JSON Web Key with its private part: it is no secret any more, and proves nothing")
    key = _read_jwk(jwk)
    if not (
        jwk.get("use", "sig") == "sig"
        and jwk.get("alg", _ALGORITHMS[key.scheme][0]) in _ALGORITHMS[key.scheme]
        and _verifies(jwk.get("key_ops", ["verify"]))
    ):
        raise ValueError("a JSON Web Key that is for another use than signatures of its scheme (RFC 7517 section 4)")
    return key


def _verifies(operations: object) -> bool:
    return isinstance(operations, list) and "verify" in operations


def _read_jwk(jwk: Mapping[str, Any]) -> PublicKey:
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if kind == "OKP" and curve == "Ed25519":
        return PublicKey("ed25519", _decode_base64url(jwk, "x"))
    if kind == "EC" and curve in ("P-256", "P-384"):
        scheme, length = _CURVES[curve]
        x, y = _decode_base64url(jwk, "x"), _decode_base64url(jwk, "y")
        if len(x) != length or len(y) != length:
            raise MalformedKey(f"malformed JSON Web Key: a coordinate on {curve} has {length} bytes")
        return PublicKey(scheme, b"\x04" + x + y)
    if kind == "AKP" and jwk.get("alg") == "ML-DSA-65":
        return PublicKey("ml-dsa-65", _decode_base64url(jwk, "pub"))
    named = [str(value)[:32] for value in (kind, curve, jwk.get("alg")) if isinstance(value, str)]
    raise UnsupportedKey(f"a key of an unsupported type, {' '.join(named) or 'which is not named'!r}")


def _decode_base64url(jwk: Mapping[str, Any], name: str) -> bytes:
    """A member of a JSON Web Key, in base64url without padding (RFC 7515 section 2), in its one form."""
    text = jwk.get(name)
    if not isinstance(text, str) or not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise MalformedKey(f"malformed JSON Web Key: {name} is not in base64url")
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise MalformedKey(f"malformed JSON Web Key: {name} is not in base64url")
    return data
