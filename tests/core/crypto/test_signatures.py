"""Signature schemes: what verifies, what does not, and which public keys are refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from nautilus_core.crypto.signatures import SCHEMES, PrivateKey, SignatureScheme, scheme_named, scheme_of

MESSAGE = b"what is signed"

every_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
ED25519 = SCHEMES["ed25519"]
KEYS: dict[str, PrivateKey] = {name: scheme.generate() for name, scheme in SCHEMES.items()}

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P


def verifier_of(scheme: SignatureScheme, private_key: PrivateKey | None = None) -> Callable[[bytes, bytes], bool]:
    """The verifier of one key."""
    return scheme.verifier(scheme.public_bytes(KEYS[scheme.name] if private_key is None else private_key))


def signature_of(scheme: SignatureScheme, message: bytes = MESSAGE) -> bytes:
    """A signature by the scheme's key."""
    return scheme.signer(KEYS[scheme.name])(message)


def flip(data: bytes, bit: int) -> bytes:
    """`data` with one bit changed."""
    place, bit = divmod(bit % (8 * len(data)), 8)
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


# ------------------------------------------------------------------------------------------------ every scheme


def test_the_schemes_are_these() -> None:
    lengths = {name: scheme.public_length for name, scheme in SCHEMES.items()}
    assert lengths == {"ed25519": 32, "ecdsa-p256-sha256": 65, "ecdsa-p384-sha384": 97, "ml-dsa-65": 1952}


@every_scheme
def test_a_signature_verifies_under_its_key(scheme: SignatureScheme) -> None:
    assert verifier_of(scheme)(signature_of(scheme), MESSAGE)
    assert verifier_of(scheme)(signature_of(scheme, b""), b"")


@every_scheme
@given(bit=st.integers(0, 2**16))
def test_an_altered_signature_does_not_verify(scheme: SignatureScheme, bit: int) -> None:
    assert not verifier_of(scheme)(flip(SIGNATURES[scheme.name], bit), MESSAGE)


@every_scheme
@given(bit=st.integers(0, 2**16))
def test_an_altered_message_does_not_verify(scheme: SignatureScheme, bit: int) -> None:
    assert not verifier_of(scheme)(SIGNATURES[scheme.name], flip(MESSAGE, bit))


@every_scheme
@pytest.mark.parametrize("length", [0, 1, 31, 32, 63, 64, 65, 72, 104, 3308, 3309, 3310])
def test_a_signature_of_another_length_does_not_verify(scheme: SignatureScheme, length: int) -> None:
    verifies = verifier_of(scheme)
    signature = SIGNATURES[scheme.name]
    assert not verifies(bytes(length), MESSAGE)
    assert verifies(signature[:length], MESSAGE) == (length >= len(signature))
    assert not verifies(signature + bytes(length + 1), MESSAGE)


@every_scheme
def test_a_signature_does_not_verify_under_another_key(scheme: SignatureScheme) -> None:
    assert not verifier_of(scheme, scheme.generate())(SIGNATURES[scheme.name], MESSAGE)


@every_scheme
@given(signature=st.binary(max_size=120))
def test_noise_does_not_verify(scheme: SignatureScheme, signature: bytes) -> None:
    assert not verifier_of(scheme)(signature, MESSAGE)


@every_scheme
@given(data=st.data())
def test_no_public_key_raises_anything_but_value_error(scheme: SignatureScheme, data: st.DataObject) -> None:
    length = scheme.public_length
    public_key = (data.draw(st.binary(min_size=32, max_size=32)) * (length // 32 + 1))[:length]
    if scheme.name.startswith("ecdsa") and data.draw(st.booleans()):
        public_key = b"\x04" + public_key[1:]
    try:
        verifies = scheme.verifier(public_key)
    except ValueError:
        return
    assert not verifies(SIGNATURES[scheme.name], MESSAGE)


@every_scheme
@pytest.mark.parametrize("more", [-1, 1, 32])
def test_a_public_key_of_another_length_is_refused(scheme: SignatureScheme, more: int) -> None:
    public_key = (scheme.public_bytes(KEYS[scheme.name]) + bytes(32))[: scheme.public_length + more]
    with pytest.raises(ValueError, match=f"has {scheme.public_length} bytes"):
        scheme.verifier(public_key)
    with pytest.raises(ValueError, match="not 0"):
        scheme.verifier(b"")


@every_scheme
def test_a_key_belongs_to_one_scheme(scheme: SignatureScheme) -> None:
    assert scheme_of(KEYS[scheme.name]) is scheme
    assert scheme_named(scheme.name) is scheme
    assert [other.name for other in SCHEMES.values() if other.owns(KEYS[scheme.name])] == [scheme.name]


def test_foreign_keys_and_names_are_refused() -> None:
    for key in (
        Ed448PrivateKey.generate(),
        ec.generate_private_key(ec.SECP521R1()),
        dsa.generate_private_key(2048),
        Ed25519PrivateKey.generate().public_key(),
        None,
    ):
        with pytest.raises(ValueError, match="no signature scheme here uses"):
            scheme_of(key)
    for name in ("", "rsa-pss-sha1", "ED25519"):
        with pytest.raises(ValueError, match="no signature scheme"):
            scheme_named(name)


SIGNATURES = {name: signature_of(scheme) for name, scheme in SCHEMES.items()}


# ------------------------------------------------------------------------------------------------ RSA-PSS


def test_rsa_pss_is_that_of_the_rfc_with_a_salt_of_32_bytes() -> None:
    scheme = scheme_named("rsa-pss-sha256")
    key = rsa.generate_private_key(65537, 2048)
    verifies = scheme.verifier(scheme.public_bytes(key))
    signature = scheme.signer(key)(b"message")
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    key.public_key().verify(signature, b"message", pss, hashes.SHA256())
    assert verifies(signature, b"message")
    assert not verifies(signature, b"another")
    for other, digest in (
        (padding.PSS(padding.MGF1(hashes.SHA256()), 20), hashes.SHA256()),
        (padding.PSS(padding.MGF1(hashes.SHA384()), 32), hashes.SHA256()),
        (padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA384()),
        (padding.PKCS1v15(), hashes.SHA256()),
    ):
        assert not verifies(key.sign(b"message", other, digest), b"message")


@pytest.mark.parametrize(("bits", "fits"), [(2047, False), (2048, True), (8192, True), (8193, False)])
def test_rsa_keys_are_neither_weak_nor_slow(bits: int, fits: bool) -> None:
    scheme = scheme_named("rsa-pss-sha256")
    data = scheme.encode(rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) + 1).public_key())
    if fits:
        assert not scheme.verifier(data)(bytes(bits // 8), b"message")
    else:
        with pytest.raises(ValueError, match=f"{bits} bits; it has 2048 to 8192"):
            scheme.verifier(data)


def test_an_rsa_key_has_one_encoding() -> None:
    scheme = scheme_named("rsa-pss-sha256")
    ours = rsa.generate_private_key(65537, 2048).public_key()
    for data in (
        b"",
        scheme.encode(ours) + b"\0",
        ours.public_bytes(Encoding.DER, PublicFormat.PKCS1),
        KEYS["ed25519"].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ):
        with pytest.raises(ValueError):
            scheme.verifier(data)


# ------------------------------------------------------------------------------------------------ Ed25519


def points_with_y(y: int) -> list[tuple[int, int]]:
    """The points of edwards25519 with this y, by RFC 8032 section 5.1.3."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square:
        root = root * pow(2, (P - 1) // 4, P) % P
    if root * root % P != square:
        return []
    return sorted({(root, y), (-root % P, y)})


def add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """The sum of two points, in affine coordinates."""
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    return (
        (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P) % P,
    )


def order_of(point: tuple[int, int]) -> int:
    """The order of a point, when it is at most 8."""
    current, order = point, 1
    while current != (0, 1) and order < 9:
        current, order = add(current, point), order + 1
    return order


def small_order_points() -> list[tuple[int, int]]:
    """All eight, found by multiplying points with the order of the large subgroup."""
    large = 2**252 + 27742317777372353535851937790883648493
    found: set[tuple[int, int]] = set()
    y = 2
    while len(found) < 8:
        for point in points_with_y(y):
            current, torsion = point, (0, 1)
            for bit in range(large.bit_length()):
                if large >> bit & 1:
                    torsion = add(torsion, current)
                current = add(current, current)
            while torsion not in found:
                found.add(torsion)
                torsion = add(torsion, torsion)
        y += 1
    return sorted(found)


SMALL_ORDER = small_order_points()


def test_there_are_eight_points_of_small_order() -> None:
    assert sorted(map(order_of, SMALL_ORDER)) == [1, 2, 4, 4, 8, 8, 8, 8]


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: f"order {order_of(point)}")
@pytest.mark.parametrize("sign", [0, 1])
def test_ed25519_keys_of_small_order_are_refused(point: tuple[int, int], sign: int) -> None:
    x, y = point
    for encoded in (y | sign << 255, y | (x & 1) << 255):
        with pytest.raises(ValueError, match="small order"):
            ED25519.verifier(encoded.to_bytes(32, "little"))


def test_such_keys_would_verify_one_signature_over_anything() -> None:
    """Why they are refused: the library alone accepts the identity as a key, with a constant signature."""
    identity = Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    constant = (1).to_bytes(32, "little") + bytes(32)
    for message in (b"one thing", b"and another"):
        identity.verify(constant, message)


@pytest.mark.parametrize("k", range(19))
@pytest.mark.parametrize("sign", [0, 1])
def test_ed25519_keys_in_another_form_are_refused(k: int, sign: int) -> None:
    """RFC 8032 section 5.1.3: a y of 2^255 - 19 and above."""
    with pytest.raises(ValueError, match="canonical"):
        ED25519.verifier((P + k | sign << 255).to_bytes(32, "little"))


def test_an_ed25519_key_off_the_curve_verifies_nothing() -> None:
    y = next(y for y in range(2, 99) if not points_with_y(y))
    assert not ED25519.verifier(y.to_bytes(32, "little"))(SIGNATURES["ed25519"], MESSAGE)


def test_an_ed25519_signature_with_a_scalar_over_the_order_does_not_verify() -> None:
    """RFC 8032 section 5.1.7: S + L would make a second signature over the same message."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = SIGNATURES["ed25519"]
    scalar = int.from_bytes(signature[32:], "little") + order
    assert not verifier_of(ED25519)(signature[:32] + scalar.to_bytes(32, "little"), MESSAGE)


def test_ed25519_is_that_of_rfc_8032() -> None:
    private_key = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    )
    assert ED25519.public_bytes(private_key).hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert ED25519.signer(private_key)(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


# ------------------------------------------------------------------------------------------------ ECDSA

CURVES: dict[str, tuple[ec.EllipticCurve, int, hashes.HashAlgorithm]] = {
    "ecdsa-p256-sha256": (ec.SECP256R1(), 32, hashes.SHA256()),
    "ecdsa-p384-sha384": (ec.SECP384R1(), 48, hashes.SHA384()),
}
ecdsa = pytest.mark.parametrize("name", CURVES)


@ecdsa
def test_ecdsa_is_the_librarys_with_the_hash_in_the_name(name: str) -> None:
    curve, _, digest = CURVES[name]
    private_key = ec.generate_private_key(curve)
    scheme = SCHEMES[name]
    private_key.public_key().verify(scheme.signer(private_key)(MESSAGE), MESSAGE, ec.ECDSA(digest))
    assert verifier_of(scheme, private_key)(private_key.sign(MESSAGE, ec.ECDSA(digest)), MESSAGE)
    other = hashes.SHA512()
    assert not verifier_of(scheme, private_key)(private_key.sign(MESSAGE, ec.ECDSA(other)), MESSAGE)


@ecdsa
@pytest.mark.parametrize("first", [0, 2, 3, 5, 6, 7])
def test_ecdsa_keys_are_uncompressed_points(name: str, first: int) -> None:
    curve, size, _ = CURVES[name]
    numbers = ec.generate_private_key(curve).public_key().public_numbers()
    point = bytes([first]) + numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")
    with pytest.raises(ValueError, match="uncompressed"):
        SCHEMES[name].verifier(point)


@ecdsa
def test_ecdsa_keys_are_on_the_curve(name: str) -> None:
    curve, size, _ = CURVES[name]
    point = ec.generate_private_key(curve).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    for bad in (flip(point, 8 * (size + 5)), b"\x04" + bytes(2 * size), b"\x04" + b"\xff" * 2 * size):
        with pytest.raises(ValueError, match="EC key"):
            SCHEMES[name].verifier(bad)


@ecdsa
def test_ecdsa_refuses_degenerate_and_loosely_encoded_signatures(name: str) -> None:
    verifies, signature = verifier_of(SCHEMES[name]), SIGNATURES[name]
    r, s = decode_dss_signature(signature)
    for bad_r, bad_s in ((0, s), (r, 0), (0, 0), (s, r), (r, s + 2**600)):
        assert not verifies(encode_dss_signature(bad_r, bad_s), MESSAGE)
    assert not verifies(bytes.fromhex("30060201ff020101"), MESSAGE)  # r is negative
    assert not verifies(signature + b"\0", MESSAGE)
    assert not verifies(b"\x30\x81" + signature[1:], MESSAGE)
    assert not verifies(r.to_bytes(48, "big") + s.to_bytes(48, "big"), MESSAGE)


# ------------------------------------------------------------------------------------------------ ML-DSA


def test_ml_dsa_is_pure_with_an_empty_context() -> None:
    """FIPS 204 section 5.2: neither a context nor a hash of the message."""
    private_key = MLDSA65PrivateKey.generate()
    verifies = verifier_of(SCHEMES["ml-dsa-65"], private_key)
    assert verifies(private_key.sign(MESSAGE), MESSAGE)
    assert verifies(private_key.sign(MESSAGE, b""), MESSAGE)
    assert not verifies(private_key.sign(MESSAGE, b"context"), MESSAGE)
    assert not verifies(private_key.sign(hashlib.sha512(MESSAGE).digest()), MESSAGE)


def test_ml_dsa_signatures_are_randomised() -> None:
    scheme = SCHEMES["ml-dsa-65"]
    assert signature_of(scheme) != signature_of(scheme)
    assert len(signature_of(scheme)) == 3309
