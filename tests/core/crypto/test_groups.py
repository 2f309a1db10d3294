"""Groups: lengths, agreement, the order of the hybrids, and what a hostile share can be."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from nautilus_core import Entropy, KeyAgreementFailed
from nautilus_core.crypto.groups import GROUPS, Group
from nautilus_core.testing import RecordingEntropy, ReplayingEntropy

SIZES = {
    "X25519": (32, 32, 32),
    "P256": (65, 65, 32),
    "X25519MLKEM768": (1184 + 32, 1088 + 32, 32 + 32),
    "SecP384R1MLKEM1024": (97 + 1568, 97 + 1568, 48 + 32),
}

ENTROPY = Entropy()
every_group = pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)

X25519 = GROUPS["X25519"]
P256 = GROUPS["P256"]
HYBRID_768 = GROUPS["X25519MLKEM768"]
HYBRID_1024 = GROUPS["SecP384R1MLKEM1024"]

P = 2**255 - 19
LOW_ORDER_U = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
)
"""Every u below 2^255 of a point of small order on Curve25519 or its twist, in canonical form or not."""

LOW_ORDER_POINTS = [(u | sign << 255).to_bytes(32, "little") for u in LOW_ORDER_U for sign in (0, 1)]


def x25519_ladder(scalar: int, u: int) -> int:
    """RFC 7748 section 5, in integers: what the list above is checked with. The scalar is not clamped."""
    x1, x2, z2, x3, z3 = u % P, 1, 0, u % P, 1
    for bit in reversed(range(255)):
        if scalar >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb = d * a, c * b
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = a * a * b * b % P, (a * a - b * b) * (a * a + 121665 * (a * a - b * b)) % P
        if scalar >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return x2 * pow(z2, P - 2, P) % P


def flip(data: bytes, place: int, bit: int = 0) -> bytes:
    """`data` with one bit changed."""
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    return bytes(changed)


# ------------------------------------------------------------------------------------------------ every group


def test_the_groups_are_these() -> None:
    assert list(GROUPS) == ["X25519MLKEM768", "SecP384R1MLKEM1024", "X25519", "P256"]
    for name, group in GROUPS.items():
        assert group.name == name
        assert (group.share_length, group.response_length) == SIZES[name][:2]


@every_group
def test_both_ends_agree(group: Group[Any]) -> None:
    private_key, share = group.generate(ENTROPY)
    secret, response = group.encapsulate(ENTROPY, share)
    assert (len(share), len(response), len(secret)) == SIZES[group.name]
    assert group.decapsulate(private_key, response) == secret


@every_group
def test_every_handshake_has_a_secret_of_its_own(group: Group[Any]) -> None:
    _, share = group.generate(ENTROPY)
    first, second = group.encapsulate(ENTROPY, share), group.encapsulate(ENTROPY, share)
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert group.generate(ENTROPY)[1] != share


@every_group
def test_what_was_drawn_gives_the_same_shares_again(group: Group[Any]) -> None:
    initiator, responder = RecordingEntropy(), RecordingEntropy()
    private_key, share = group.generate(initiator)
    secret, response = group.encapsulate(responder, share)
    assert group.generate(ReplayingEntropy(initiator.tape))[1] == share
    assert group.encapsulate(ReplayingEntropy(responder.tape), share) == (secret, response)
    assert group.decapsulate(private_key, response) == secret


@every_group
@pytest.mark.parametrize("more", [-1000, -1, 1, 1000])
def test_a_share_of_another_length_is_refused_before_anything_is_drawn(group: Group[Any], more: int) -> None:
    entropy = RecordingEntropy()
    private_key, share = group.generate(ENTROPY)
    _, response = group.encapsulate(ENTROPY, share)
    wrong_share = (share + bytes(1000))[: max(0, len(share) + more)]
    wrong_response = (response + bytes(1000))[: max(0, len(response) + more)]
    for call in (
        lambda: group.check_share(wrong_share),
        lambda: group.encapsulate(entropy, wrong_share),
        lambda: group.check_response(wrong_response),
        lambda: group.decapsulate(private_key, wrong_response),
    ):
        with pytest.raises(KeyAgreementFailed, match="wrong length"):
            call()
    assert entropy.tape == []


@every_group
@given(data=st.data())
def test_no_share_raises_anything_else(group: Group[Any], data: st.DataObject) -> None:
    share = data.draw(st.binary(min_size=32, max_size=32)) * (group.share_length // 32 + 1)
    try:
        secret, response = group.encapsulate(ENTROPY, share[: group.share_length])
    except KeyAgreementFailed:
        return
    assert (len(secret), len(response)) == (SIZES[group.name][2], group.response_length)


# ------------------------------------------------------------------------------------------------ X25519


def test_x25519_is_that_of_rfc_7748() -> None:
    alice = X25519PrivateKey.from_private_bytes(
        bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    )
    bob_public = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    assert X25519.decapsulate(alice, bob_public).hex() == (
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    )


@pytest.mark.parametrize("u", LOW_ORDER_U)
def test_the_listed_points_have_small_order(u: int) -> None:
    assert x25519_ladder(8, u) == 0


@pytest.mark.parametrize("point", LOW_ORDER_POINTS, ids=bytes.hex)
@pytest.mark.parametrize("name", ["X25519", "X25519MLKEM768"])
def test_low_order_points_are_refused_in_both_roles(name: str, point: bytes) -> None:
    group: Group[Any] = GROUPS[name]
    private_key, share = group.generate(ENTROPY)
    _, response = group.encapsulate(ENTROPY, share)
    with pytest.raises(KeyAgreementFailed, match="all-zero secret"):
        group.encapsulate(ENTROPY, share[:-32] + point)
    with pytest.raises(KeyAgreementFailed, match="all-zero secret"):
        group.decapsulate(private_key, response[:-32] + point)


def test_an_all_zero_secret_is_refused_whatever_led_to_it() -> None:
    """2^255 - 19 + k for every k that fits: not one of them gives zeros without being refused."""
    for k in range(19):
        share = (P + k).to_bytes(32, "little")
        try:
            secret, _ = X25519.encapsulate(ENTROPY, share)
        except KeyAgreementFailed:
            assert k in (0, 1)
        else:
            assert secret != bytes(32)
            assert k > 1


# ------------------------------------------------------------------------------------------------ NIST curves

NIST = [("P256", ec.SECP256R1(), 32), ("SecP384R1MLKEM1024", ec.SECP384R1(), 48)]
nist = pytest.mark.parametrize(("name", "curve", "size"), NIST, ids=["P256", "P384"])


def _refused(group: Group[Any], point: bytes, message: str) -> None:
    """`point`, in the place of the first part of both shares, is refused."""
    private_key, share = group.generate(ENTROPY)
    _, response = group.encapsulate(ENTROPY, share)
    with pytest.raises(KeyAgreementFailed, match=message):
        group.encapsulate(ENTROPY, point + share[len(point) :])
    with pytest.raises(KeyAgreementFailed, match=message):
        group.decapsulate(private_key, point + response[len(point) :])


@nist
@pytest.mark.parametrize("place", [1, 20, -1])
def test_points_off_the_curve_are_refused(name: str, curve: ec.EllipticCurve, size: int, place: int) -> None:
    point = ec.generate_private_key(curve).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    _refused(GROUPS[name], flip(point, place), "no point")


@nist
@pytest.mark.parametrize("first", [0, 2, 3, 5, 6, 7, 255])
def test_other_forms_of_points_are_refused(name: str, curve: ec.EllipticCurve, size: int, first: int) -> None:
    """Compressed (2, 3), hybrid (6, 7) and infinity (0), padded to the right length."""
    numbers = ec.generate_private_key(curve).public_key().public_numbers()
    x, y = numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")
    if first in (6, 7) and numbers.y % 2 != first % 2:
        first ^= 1
    _refused(GROUPS[name], bytes([first]) + x + y, "no point")
    _refused(GROUPS[name], bytes([first]) + x + bytes(size), "no point")
    _refused(GROUPS[name], bytes([first]) + bytes(2 * size), "no point")


@nist
def test_coordinates_over_the_modulus_are_refused(name: str, curve: ec.EllipticCurve, size: int) -> None:
    _refused(GROUPS[name], b"\x04" + b"\xff" * 2 * size, "no point")
    _refused(GROUPS[name], b"\x04" + bytes(2 * size), "no point")


@pytest.mark.parametrize("length", [1, 33])
def test_short_forms_of_points_have_the_wrong_length(length: int) -> None:
    with pytest.raises(KeyAgreementFailed, match="wrong length"):
        P256.encapsulate(ENTROPY, b"\x02" * length)


# ------------------------------------------------------------------------------------------------ ML-KEM

KEMS = [("X25519MLKEM768", 0, 1184, 1088), ("SecP384R1MLKEM1024", 97, 1568, 1568)]
kems = pytest.mark.parametrize(("name", "start", "key_length", "ciphertext_length"), KEMS, ids=["768", "1024"])


@kems
@pytest.mark.parametrize("place", [0, 382, 700])
def test_an_encapsulation_key_over_the_modulus_is_refused(
    name: str, start: int, key_length: int, ciphertext_length: int, place: int
) -> None:
    """FIPS 203 section 7.2: each coefficient, 12 bits of it, is below 3329."""
    group: Group[Any] = GROUPS[name]
    _, share = group.generate(ENTROPY)
    invalid = bytearray(share)
    invalid[start + place : start + place + 2] = b"\xff\xff"
    with pytest.raises(KeyAgreementFailed, match="no MLKEM"):
        group.encapsulate(ENTROPY, bytes(invalid))


@kems
@pytest.mark.parametrize("place", [0, 500, -1])
def test_an_altered_ciphertext_gives_another_secret_and_no_error(
    name: str, start: int, key_length: int, ciphertext_length: int, place: int
) -> None:
    """Implicit rejection (FIPS 203 section 6.3): it is Finished that fails then, and tells an attacker nothing more."""
    group: Group[Any] = GROUPS[name]
    private_key, share = group.generate(ENTROPY)
    secret, response = group.encapsulate(ENTROPY, share)
    altered = bytearray(response)
    altered[start + place % ciphertext_length] ^= 1
    other = group.decapsulate(private_key, bytes(altered))
    assert len(other) == len(secret)
    assert other != secret
    kept = slice(32, 64) if name == "X25519MLKEM768" else slice(48)
    assert other[kept] == secret[kept]
    assert group.decapsulate(private_key, bytes(altered)) == other


@kems
def test_an_altered_encapsulation_key_gives_another_secret(
    name: str, start: int, key_length: int, ciphertext_length: int
) -> None:
    group: Group[Any] = GROUPS[name]
    private_key, share = group.generate(ENTROPY)
    secret, response = group.encapsulate(ENTROPY, flip(share, start + key_length - 1))
    assert group.decapsulate(private_key, response) != secret


# ------------------------------------------------------------------------------------------------ the hybrids' order


def test_x25519mlkem768_puts_ml_kem_first_everywhere() -> None:
    initiator, responder = RecordingEntropy(), RecordingEntropy()
    _, share = HYBRID_768.generate(initiator)
    secret, response = HYBRID_768.encapsulate(responder, share)
    keys = dict(initiator.tape)
    kem: MLKEM768PrivateKey = keys["MLKEM768"]
    curve: X25519PrivateKey = keys["X25519"]
    assert share == kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    theirs: X25519PrivateKey = dict(responder.tape)["X25519"]
    assert response[1088:] == theirs.public_key().public_bytes_raw()
    assert secret == kem.decapsulate(response[:1088]) + theirs.exchange(curve.public_key())


def test_secp384r1mlkem1024_puts_the_curve_first_everywhere() -> None:
    initiator, responder = RecordingEntropy(), RecordingEntropy()
    _, share = HYBRID_1024.generate(initiator)
    secret, response = HYBRID_1024.encapsulate(responder, share)
    keys = dict(initiator.tape)
    kem: MLKEM1024PrivateKey = keys["MLKEM1024"]
    curve: ec.EllipticCurvePrivateKey = keys["P384"]
    point = curve.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert share == point + kem.public_key().public_bytes_raw()
    theirs: ec.EllipticCurvePrivateKey = dict(responder.tape)["P384"]
    assert response[:97] == theirs.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert secret == theirs.exchange(ec.ECDH(), curve.public_key()) + kem.decapsulate(response[97:])


def test_an_ecdh_secret_is_the_x_coordinate_with_all_its_zeros() -> None:
    """32 bytes even where x begins with zeros (RFC 8446 section 7.4.2): a key for which it does."""
    base = ec.derive_private_key(1, ec.SECP256R1())
    share = base.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    for scalar in range(2, 4000):
        private_key = ec.derive_private_key(scalar, ec.SECP256R1())
        if private_key.public_key().public_numbers().x < 2**248:
            break
    secret = P256.decapsulate(private_key, share)
    assert secret == private_key.public_key().public_numbers().x.to_bytes(32, "big")
    assert secret[0] == 0


def test_x25519_through_the_library_is_x25519_through_the_group() -> None:
    private_key, share = X25519.generate(ENTROPY)
    other = X25519PrivateKey.generate()
    assert isinstance(private_key, X25519PrivateKey)
    assert X25519.decapsulate(private_key, other.public_key().public_bytes_raw()) == other.exchange(
        X25519PublicKey.from_public_bytes(share)
    )
