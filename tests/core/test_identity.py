"""Identities and public keys: making, naming, saving, loading; what is refused; no secret in any repr."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    Anonymous,
    Context,
    Handshake,
    Identity,
    LocalProtocolError,
    Presented,
    PublicKey,
    Session,
    VerifiedPeer,
)
from nautilus_core.crypto.signatures import SCHEMES
from nautilus_core.identity.keys import check_peer_id
from nautilus_core.identity.peers import verify_possession
from nautilus_core.identity.words import words

from .helpers import ALICE, BOB, both, channels, note, run, succeed

EVERY = {scheme: Identity.generate(scheme) for scheme in SCHEMES}
LENGTHS = {"ed25519": 32, "ecdsa-p256-sha256": 65, "ecdsa-p384-sha384": 97, "ml-dsa-65": 1952}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_identity_signs_and_its_public_key_verifies(scheme: str) -> None:
    identity = Identity.generate(scheme)
    assert identity.scheme == identity.public.scheme == scheme
    assert identity.credential == identity.public.data
    assert len(identity.credential) == LENGTHS[scheme]
    signature = identity.sign(b"message")
    assert identity.public.verify(signature, b"message")
    assert not identity.public.verify(signature, b"another message")
    assert not identity.public.verify(b"", b"message")
    assert not identity.public.verify(signature[:-1] + bytes((signature[-1] ^ 1,)), b"message")
    assert not EVERY[scheme].public.verify(signature, b"message")


def test_the_default_scheme_is_ed25519() -> None:
    assert Identity.generate().scheme == "ed25519"


@pytest.mark.parametrize("scheme", ["", "rsa-pss-sha1", "Ed25519"])
def test_an_unknown_scheme_is_refused(scheme: str) -> None:
    with pytest.raises(ValueError, match="no signature scheme"):
        Identity.generate(scheme)
    with pytest.raises(ValueError, match="no signature scheme"):
        PublicKey(scheme, bytes(32))


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_peer_id_is_the_whole_fingerprint(scheme: str) -> None:
    public = EVERY[scheme].public
    context = b"nautilus public key\0" + scheme.encode() + b"\0"
    assert public.fingerprint == hashlib.sha256(context + public.data).digest()
    assert EVERY[scheme].peer_id == public.peer_id
    assert public.peer_id.startswith("key:")
    assert len(public.peer_id) == 4 + 52
    assert check_peer_id(public.peer_id) == public.peer_id


def test_the_scheme_is_in_the_peer_id() -> None:
    """The same bytes under another scheme are somebody else."""
    point = EVERY["ecdsa-p256-sha256"].public.data
    assert len({PublicKey("ecdsa-p256-sha256", point).peer_id, ALICE.peer_id, BOB.peer_id}) == 3


@pytest.mark.parametrize(
    "text", ["", "key:", "key:" + "a" * 51, "key:" + "a" * 53, "a" * 56, "key:" + "A" * 52, "key:" + "1" * 52]
)
def test_what_is_no_peer_id(text: str) -> None:
    with pytest.raises(ValueError, match="is no peer id"):
        check_peer_id(text)


def test_fingerprint_words_are_sixteen_alternating_words() -> None:
    spoken = ALICE.public.words.split()
    assert len(spoken) == 16
    assert ALICE.public.words == words(ALICE.public.fingerprint[:16])
    assert ALICE.public.words != BOB.public.words
    even = {words(bytes((byte,))).strip() for byte in range(256)}
    odd = {words(bytes((0, byte))).split()[1] for byte in range(256)}
    assert len(even) == len(odd) == 256
    assert not even & odd


def test_public_keys_are_values() -> None:
    assert PublicKey("ed25519", ALICE.public.data) == ALICE.public
    assert hash(PublicKey("ed25519", ALICE.public.data)) == hash(ALICE.public)
    assert ALICE.public != BOB.public
    with pytest.raises(AttributeError):
        ALICE.public.data = b""  # type: ignore[misc]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("change", [-1, 1, -1000])
def test_a_public_key_of_the_wrong_length_is_refused(scheme: str, change: int) -> None:
    data = EVERY[scheme].public.data
    with pytest.raises(ValueError, match="public key has"):
        PublicKey(scheme, (data + bytes(max(change, 0)))[: len(data) + change] if change != -1000 else b"")


@pytest.mark.parametrize("scheme", ["ecdsa-p256-sha256", "ecdsa-p384-sha384"])
def test_points_off_the_curve_and_compressed_points_are_refused(scheme: str) -> None:
    length = LENGTHS[scheme]
    for data in (
        b"\x04" + bytes(length - 1),
        b"\x02" + EVERY[scheme].public.data[1:],
        b"\x04" + b"\xff" * (length - 1),
    ):
        with pytest.raises(ValueError, match=r".+"):
            PublicKey(scheme, data)


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_bytes_are_a_usable_key_or_a_value_error(scheme: str, data: st.DataObject) -> None:
    raw = data.draw(st.binary(min_size=LENGTHS[scheme], max_size=LENGTHS[scheme]))
    try:
        key = PublicKey(scheme, raw)
    except ValueError:
        return
    assert not key.verify(b"no signature", b"message")


# ---------------------------------------------------------------- small-order points, by plain arithmetic

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493
Point = tuple[int, int]


def add(one: Point, other: Point) -> Point:
    """The Edwards addition law, which is complete on this curve."""
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def times(factor: int, point: Point) -> Point:
    result = (0, 1)
    while factor:
        if factor & 1:
            result = add(result, point)
        point = add(point, point)
        factor >>= 1
    return result


def x_of(y: int) -> int | None:
    """One of the two roots of x*x = (y*y - 1) / (d*y*y + 1), or None."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square:
        root = root * pow(2, (P - 1) // 4, P) % P
    return root if root * root % P == square else None


def torsion() -> set[Point]:
    """The eight points whose order divides 8: the multiples by the large prime of any point with a full torsion part."""
    for y in range(2, 100):
        x = x_of(y)
        if x is None:
            continue
        generator = times(ORDER, (x, y))
        points = {times(factor, generator) for factor in range(8)}
        if len(points) == 8:
            return points
    raise AssertionError("no generator of the torsion found")


def encodings(point: Point) -> set[bytes]:
    """All 32-byte strings that a lenient decoder would take for `point`: both signs of a zero x, y with p added."""
    x, y = point
    signs = {x & 1} if x else {0, 1}
    ys = {y} | ({y + P} if y + P < 2**255 else set())
    return {(value | sign << 255).to_bytes(32, "little") for value in ys for sign in signs}


def test_the_arithmetic_of_this_test_is_that_of_the_curve() -> None:
    y = 4 * pow(5, -1, P) % P
    x = x_of(y)
    assert x is not None
    base = (x if x % 2 == 0 else P - x, y)
    assert times(ORDER, base) == (0, 1)
    assert times(8, base) != (0, 1)


def test_small_order_ed25519_keys_are_refused() -> None:
    points = torsion()
    assert len(points) == 8
    assert all(times(8, point) == (0, 1) for point in points)
    refused = set().union(*(encodings(point) for point in points))
    assert len(refused) >= 8 + 2
    for data in refused:
        with pytest.raises(ValueError, match=r"small order|canonical"):
            PublicKey("ed25519", data)


def test_a_small_order_key_would_verify_one_signature_over_anything() -> None:
    """Why they are refused: without the check OpenSSL accepts this forgery, made without any private key."""
    neutral = (1).to_bytes(32, "little")
    forgery = neutral + bytes(32)
    key = ed25519.Ed25519PublicKey.from_public_bytes(neutral)
    key.verify(forgery, b"anything")
    key.verify(forgery, b"anything else")


def test_non_canonical_ed25519_keys_are_refused() -> None:
    for y in range(P, 2**255):
        for sign in (0, 1 << 255):
            with pytest.raises(ValueError, match="canonical"):
                PublicKey("ed25519", (y | sign).to_bytes(32, "little"))


def test_other_keys_are_not_refused_by_mistake() -> None:
    for _ in range(100):
        public = Identity.generate().public
        assert PublicKey("ed25519", public.data) == public


# ---------------------------------------------------------------- saving and loading


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_save_and_load(scheme: str, passphrase: bytes | None) -> None:
    identity = EVERY[scheme]
    pem = identity.to_pem(passphrase)
    begin = b"-----BEGIN ENCRYPTED PRIVATE KEY-----" if passphrase else b"-----BEGIN PRIVATE KEY-----"
    assert pem.startswith(begin)
    again = Identity.from_pem(pem, passphrase)
    assert again.public == identity.public
    assert identity.public.verify(again.sign(b"x"), b"x")


PEM = ALICE.to_pem()
SEALED = ALICE.to_pem(b"correct horse")


@pytest.mark.parametrize(
    ("data", "passphrase", "text"),
    [
        (SEALED, b"battery staple", "the passphrase is wrong, or"),
        (SEALED, None, "is encrypted: a passphrase is needed"),
        (PEM, b"superfluous", "is not encrypted: no passphrase is needed"),
        (b"", None, "no PKCS#8 private key"),
        (b"garbage", None, "no PKCS#8 private key"),
        (b"\x30\x82", None, "no PKCS#8 private key"),
        (b"-----BEGIN PRIVATE KEY-----\n", None, "no PKCS#8 private key"),
        (PEM[:60], None, "no PKCS#8 private key"),
        (PEM.replace(b"PRIVATE", b"PUBLIC"), None, "no PKCS#8 private key"),
    ],
    ids=[
        "wrong",
        "missing",
        "superfluous",
        "nothing",
        "garbage",
        "cut DER",
        "a label alone",
        "cut PEM",
        "a public key",
    ],
)
def test_what_cannot_be_loaded_is_a_value_error(data: bytes, passphrase: bytes | None, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        Identity.from_pem(data, passphrase)
    assert "battery" not in str(caught.value)


def test_der_is_loaded_too() -> None:
    private_key = ed25519.Ed25519PrivateKey.generate()
    der = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert Identity.from_pem(der).public.data == private_key.public_key().public_bytes_raw()
    sealed = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    assert Identity.from_pem(sealed, b"x").public.data == private_key.public_key().public_bytes_raw()


FOREIGN: dict[str, Any] = {
    "x25519": x25519.X25519PrivateKey.generate(),
    "ed448": ed448.Ed448PrivateKey.generate(),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "dsa": dsa.generate_private_key(2048),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_keys_of_a_foreign_kind_are_refused(kind: str) -> None:
    key = FOREIGN[kind]
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="no signature scheme here uses a"):
        Identity.from_pem(pem)
    with pytest.raises(ValueError, match="no signature scheme here uses a"):
        Identity(key)


def test_a_public_key_is_no_private_key() -> None:
    pem = (
        ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(ValueError, match="no PKCS#8 private key"):
        Identity.from_pem(pem)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_identity_without_its_private_key_is_known_but_signs_nothing(scheme: str) -> None:
    identity = Identity.public_only(EVERY[scheme].public)
    whole = EVERY[scheme]
    assert (identity.peer_id, identity.scheme, identity.credential) == (whole.peer_id, whole.scheme, whole.credential)
    with pytest.raises(LocalProtocolError, match="has no private key"):
        identity.sign(b"x")
    with pytest.raises(LocalProtocolError, match="has no private key"):
        identity.to_pem()


def test_a_noise_static_key_is_no_identity() -> None:
    with pytest.raises(ValueError, match="no signature scheme 'noise-static-25519'"):
        Identity.public_only(PublicKey("noise-static-25519", bytes(32)))


# ---------------------------------------------------------------- being verified is a value


def test_nobody_can_make_a_verified_peer_by_hand() -> None:
    for proof in (None, object(), True, ALICE.public):
        with pytest.raises(TypeError, match="only the verification"):
            VerifiedPeer(proof, "raw-public-key", ALICE.public)


def test_a_verified_peer_does_not_change() -> None:
    peer = succeed(run(*both())).initiator.session.peer
    assert isinstance(peer, VerifiedPeer)
    with pytest.raises(AttributeError, match="does not change"):
        peer.public_key = ALICE.public
    assert peer.public_key == BOB.public


def test_verification_makes_one_and_compares_by_key() -> None:
    signature = ALICE.sign(b"content")
    presented = Presented((ALICE.public,))
    peer = verify_possession("raw-public-key", presented, signature, b"content")
    again = verify_possession("raw-public-key", presented, signature, b"content")
    assert peer == again
    assert hash(peer) == hash(again)
    assert peer != BOB.public
    assert peer.peer_id == ALICE.peer_id


@pytest.mark.parametrize("peer", [None, ALICE.public, "anonymous", ALICE])
def test_a_session_cannot_be_made_without_a_peer(peer: Any) -> None:
    with pytest.raises(LocalProtocolError, match="needs a verified peer, or says that it is anonymous"):
        Session(role=INITIATOR, peer=peer, protocol=None, suite="x", exporter=lambda label, context, length: b"")


def test_a_session_with_keys_alone_has_no_channel() -> None:
    session = Session(
        role=INITIATOR, peer=ANONYMOUS, protocol=None, suite="x", exporter=lambda label, context, length: bytes(length)
    )
    assert session.channel_binding == bytes(32)
    with pytest.raises(LocalProtocolError, match="or it has none"):
        session.channel()


def test_anonymous_is_no_identity_to_sign_with() -> None:
    assert ANONYMOUS.credential_type == "anonymous"
    assert ANONYMOUS.peer_id == "anonymous"
    assert not hasattr(ANONYMOUS, "sign")
    assert repr(Anonymous()) == "ANONYMOUS"


# ---------------------------------------------------------------- no secret in any repr


def secrets_of(identity: Identity) -> list[bytes]:
    private_key: Any = identity._private_key
    return [private_key.private_bytes_raw()]


def test_no_secret_in_any_repr() -> None:
    seen: list[str] = []

    def look(context: Context) -> None:
        seen.extend((repr(context), repr(context.schedule), repr(context.steps), repr(context.peer)))
        schedule: Any = context.schedule
        hidden.extend((schedule._secret, schedule._initiator, schedule._responder))

    hidden = [*secrets_of(ALICE), *secrets_of(BOB)]
    pair = succeed(run(*both(lambda profile: profile.insert_before("initiator-finished", note(commit=look)))))
    session = pair.initiator.session
    shown: list[object] = [
        ALICE,
        ALICE.public,
        session,
        session.peer,
        Handshake(RESPONDER, both()[1]),
        pair.initiator.events,
    ]
    maker: Any = session._channel_maker
    cells = [cell.cell_contents for cell in maker.__closure__]
    initiator, responder = channels(pair)
    shown += [initiator, responder, *cells]
    ends: tuple[Any, ...] = (initiator, responder)
    for channel in ends:
        for key in (channel._writer._key, channel._reading):
            hidden.append(key._secret)
            shown.append(key)
    everything = "".join([*map(repr, shown), *map(str, shown), *seen])
    assert len(hidden) >= 10
    for secret in hidden:
        assert len(secret) >= 32
        assert secret.hex() not in everything
        assert repr(secret)[2:-1] not in everything
        assert repr(list(secret))[1:-1] not in everything


def test_reprs_say_what_they_are_of() -> None:
    assert repr(ALICE) == f"Identity(ed25519, {ALICE.peer_id})"
    assert repr(ALICE.public) == f"PublicKey(ed25519, {ALICE.peer_id})"
    session = succeed(run(*both())).initiator.session
    assert (
        repr(session)
        == f"Session(INITIATOR, X25519_AES128GCM_SHA256, protocol=None, peer=VerifiedPeer(ed25519, {BOB.peer_id}))"
    )
