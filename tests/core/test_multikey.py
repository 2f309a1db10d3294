"""Keys as text: the vectors of the did:key specification, there and back, and whatever is no key."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_core import Identity, PublicKey
from nautilus_core.crypto.signatures import SCHEMES
from nautilus_core.identity.multikey import (
    MalformedKey,
    UnsupportedKey,
    decode_multibase,
    decode_multikey,
    encode_multibase,
    encode_multikey,
    key_in_jwk,
)

ED25519 = [
    (0, "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"),
    (1, "z6MkjchhfUsD6mmvni8mCdXHw216Xrm9bQe2mBH1P5RDjVJG"),
    (2, "z6MknGc3ocHs3zdPiJbnaaqDi58NGb4pk1Sp9WxWufuXSdxf"),
]
"""Of the specification's test-vectors/ed25519-x25519.json: the seed of the private key, and the key."""

CURVES = [
    (
        "zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169",
        "P-256",
        "fyNYMN0976ci7xqiSdag3buk-ZCwgXU4kz9XNkBlNUI",
        "hW2ojTNfH7Jbi8--CJUo3OCbH3y5n91g-IMA9MLMbTU",
    ),
    (
        "zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv",
        "P-256",
        "igrFmi0whuihKnj9R3Om1SoMph72wUGeFaBbzG2vzns",
        "efsX5b10x8yjyrj4ny3pGfLcY7Xby1KzgqOdqnsrJIM",
    ),
    (
        "z82Lm1MpAkeJcix9K8TMiLd5NMAhnwkjjCBeWHXyu3U4oT2MVJJKXkcVBgjGhnLBn2Kaau9",
        "P-384",
        "lInTxl8fjLKp_UCrxI0WDklahi-7-_6JbtiHjiRvMvhedhKVdHBfi2HCY8t_QJyc",
        "y6N1IC-2mXxHreETBW7K3mBcw0qGr3CWHCs-yl09yCQRLcyfGv7XhqAngHOu51Zv",
    ),
    (
        "z82LkvCwHNreneWpsgPEbV3gu1C6NFJEBg4srfJ5gdxEsMGRJUz2sG9FE42shbn2xkZJh54",
        "P-384",
        "CA-iNoHDg1lL8pvX3d1uvExzVfCz7Rn6tW781Ub8K5MrDf2IMPyL0RTDiaLHC1JT",
        "Kpnrn8DkXUD3ge4mFxi-DKr0DYO2KuJdwNBrhzLRtfMa3WFMZBiPKUPfJj8dYNl_",
    ),
]
"""Of the specification's test-vectors/nist-curves.json."""

OTHERS = {
    "X25519": "z6LSg8zQom395jKLrGiBNruB9MM6V8PWuf2FpEy4uRFiqQBR",
    "secp256k1": "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
    "P-521": "z2J9gaYxrKVpdoG9A4gRnmpnRCcxU6agDtFVVBVdn1JedouoZN7SzcyREXXzWgt3gGiwpoHq7K68X4m32D8HgzG8wv3sY5j7",
}


@pytest.mark.parametrize(("seed", "multikey"), ED25519)
def test_ed25519_vectors(seed: int, multikey: str) -> None:
    key = Identity(Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big"))).public
    assert decode_multikey(multikey) == key
    assert encode_multikey(key) == multikey


@pytest.mark.parametrize(("multikey", "curve", "x", "y"), CURVES)
def test_curve_vectors(multikey: str, curve: str, x: str, y: str) -> None:
    key = key_in_jwk({"kty": "EC", "crv": curve, "x": x, "y": y})
    assert decode_multikey(multikey) == key
    assert encode_multikey(key) == multikey
    assert key.scheme == {"P-256": "ecdsa-p256-sha256", "P-384": "ecdsa-p384-sha384"}[curve]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_keys_of_each_scheme_come_back(scheme: str) -> None:
    key = Identity.generate(scheme).public
    assert decode_multikey(encode_multikey(key)) == key


@pytest.mark.parametrize("kind", OTHERS)
def test_keys_of_other_types_are_not_used(kind: str) -> None:
    with pytest.raises(UnsupportedKey, match="unsupported type"):
        decode_multikey(OTHERS[kind])


def test_a_key_that_agrees_on_keys_has_no_multikey() -> None:
    with pytest.raises(UnsupportedKey, match="noise-static-25519"):
        encode_multikey(PublicKey("noise-static-25519", bytes(32)))


@pytest.mark.parametrize("text", ["", "z", "m6Mk", "z0", "zI", "zl", "z ", "zé", "Z6Mk", "z" + "2" * 3072])
def test_malformed_multibase(text: str) -> None:
    with pytest.raises(ValueError):
        decode_multikey(text)
    if text != "z":
        with pytest.raises(MalformedKey, match="multibase"):
            decode_multibase(text)


def test_a_weak_key_is_refused() -> None:
    small_order = bytes.fromhex("01" + "00" * 31)
    with pytest.raises(ValueError, match="small order"):
        decode_multikey(encode_multibase(b"\xed\x01" + small_order))
    with pytest.raises(ValueError, match="small order"):
        key_in_jwk({"kty": "OKP", "crv": "Ed25519", "x": "AQ" + "A" * 41})


def test_a_point_is_on_its_curve_and_compressed() -> None:
    multikey, curve, x, _ = CURVES[0]
    data = decode_multibase(multikey)
    with pytest.raises(MalformedKey, match="compressed"):
        decode_multikey(encode_multibase(data[:2] + b"\x05" + data[3:]))
    with pytest.raises(ValueError):
        decode_multikey(encode_multibase(data + b"\0"))
    with pytest.raises(ValueError):
        decode_multikey(encode_multibase(data[:2] + b"\x02" + b"\xff" * 32))
    with pytest.raises(ValueError):
        key_in_jwk({"kty": "EC", "crv": curve, "x": x, "y": x})


@pytest.mark.parametrize("x", [None, 5, "", "AAA=", "A", "AAAA", "A" * 43 + "é", "_" * 43])
def test_malformed_jwk(x: Any) -> None:
    with pytest.raises(ValueError):
        key_in_jwk({"kty": "OKP", "crv": "Ed25519", "x": x})


def test_a_private_jwk_proves_nothing() -> None:
    with pytest.raises(ValueError, match="private part"):
        key_in_jwk({"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "d": "A" * 43})


@pytest.mark.parametrize("jwk", [{}, {"kty": "RSA", "n": "AQAB"}, {"kty": "OKP", "crv": "X25519"}, {"kty": ["EC"]}])
def test_jwks_of_other_types_are_not_used(jwk: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedKey, match="unsupported type"):
        key_in_jwk(jwk)


def p256() -> dict[str, str]:
    _, curve, x, y = CURVES[0]
    return {"kty": "EC", "crv": curve, "x": x, "y": y}


def test_the_coordinates_of_a_jwk_have_one_division() -> None:
    """Else one key had several forms: RFC 7518 section 6.2.1.2 wants each coordinate in full length."""
    jwk = p256()
    both = b64decode(jwk["x"]) + b64decode(jwk["y"])
    for place in (0, 1, 31, 33, 64):
        moved = jwk | {"x": b64encode(both[:place]), "y": b64encode(both[place:])}
        with pytest.raises(MalformedKey, match="32 bytes"):
            key_in_jwk(moved)
    with pytest.raises(MalformedKey):
        key_in_jwk(jwk | {"crv": "P-384"})


@pytest.mark.parametrize(
    "said",
    [
        {"use": "enc"},
        {"use": None},
        {"key_ops": ["encrypt"]},
        {"key_ops": []},
        {"key_ops": "verify"},
        {"key_ops": ["sign"]},
        {"alg": "ES384"},
        {"alg": "ECDH-ES"},
        {"alg": ["ES256"]},
    ],
)
def test_a_jwk_for_another_use_signs_nothing(said: dict[str, Any]) -> None:
    """RFC 7517 sections 4.2 to 4.4."""
    with pytest.raises(ValueError, match="for another use"):
        key_in_jwk(p256() | said)


def test_a_jwk_may_say_that_it_is_for_signatures() -> None:
    said = {"use": "sig", "key_ops": ["verify"], "alg": "ES256", "kid": "key-1"}
    assert key_in_jwk(p256() | said) == key_in_jwk(p256())
    ed25519 = {"kty": "OKP", "crv": "Ed25519", "x": b64encode(Identity.generate().public.data)}
    for alg in ("EdDSA", "Ed25519"):
        assert key_in_jwk(ed25519 | {"alg": alg}) == key_in_jwk(ed25519)
    key = Identity.generate("ml-dsa-65").public
    assert key_in_jwk({"kty": "AKP", "alg": "ML-DSA-65", "pub": b64encode(key.data)}) == key


def test_a_base64url_text_has_one_form() -> None:
    """The bits after the last byte are zeros, and nothing is padded: one key is one text."""
    key = Identity.generate().public
    text = b64encode(key.data)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    place = letters.index(text[-1])
    assert place % 4 == 0
    for other in (text[:-1] + letters[place + 1], text[:-1] + letters[place + 3], text + "=", text + "\n", " " + text):
        with pytest.raises(MalformedKey, match="base64url"):
            key_in_jwk({"kty": "OKP", "crv": "Ed25519", "x": other})


def b64encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def b64decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_one_key_has_one_multibase() -> None:
    """No second spelling of a `did:key`: no other base, no zeros before, no longer varint, no uncompressed point."""
    name = ED25519[0][1]
    data = decode_multibase(name)
    for other in (
        "z1" + name[1:],
        name + "1",
        "f" + data.hex(),
        encode_multibase(b"\xed\x81\x00" + data[2:]),
        encode_multibase(data + b"\0"),
    ):
        with pytest.raises(ValueError):
            decode_multikey(other)


@given(st.binary(max_size=80))
def test_multibase_comes_back(data: bytes) -> None:
    assert decode_multibase(encode_multibase(data)) == data


@settings(max_examples=200)
@given(st.one_of(st.text(max_size=60), st.text("z16MkDnaeLQ3sh8", max_size=60)))
def test_garbage_is_a_value_error(text: str) -> None:
    try:
        key = decode_multikey(text)
    except ValueError:
        return
    assert encode_multikey(key) == text
