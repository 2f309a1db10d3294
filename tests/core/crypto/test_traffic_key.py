"""Traffic keys against bare AEADs: nonces, forgeries, the last number, the successor."""

from __future__ import annotations

import hmac
import struct
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from nautilus_core import SUITES, AlertCode, CipherSuite, InvalidMessage, LocalProtocolError
from nautilus_core.crypto.traffic_key import RECORDS_PER_KEY, TrafficKey

SUITE_OF = {
    "AES256GCM": SUITES["X25519_AES256GCM_SHA384"],
    "AES128GCM": SUITES["X25519_AES128GCM_SHA256"],
    "CHACHA20POLY1305": SUITES["X25519_CHACHA20POLY1305_SHA256"],
}
KEY_LENGTHS = {"AES256GCM": 32, "AES128GCM": 16, "CHACHA20POLY1305": 32}

every_aead = pytest.mark.parametrize("suite", SUITE_OF.values(), ids=SUITE_OF)
suites = st.sampled_from(list(SUITE_OF.values()))


def secret_for(suite: CipherSuite, number: int = 0) -> bytes:
    """A traffic secret."""
    return bytes([number]) * suite.hash.digest_size


def expand_label(suite: CipherSuite, secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label without a context, of one block, by the standard library."""
    full = b"nautilus1 " + label
    info = struct.pack(">HB", length, len(full)) + full + b"\0\1"
    return hmac.new(secret, info, suite.hash.name.lower()).digest()[:length]


class Bare:
    """The same key, by the AEAD alone."""

    def __init__(self, suite: CipherSuite, secret: bytes) -> None:
        new = ChaCha20Poly1305 if suite.aead.name == "CHACHA20POLY1305" else AESGCM
        self.cipher = new(expand_label(suite, secret, b"key", KEY_LENGTHS[suite.aead.name]))
        self.iv = expand_label(suite, secret, b"iv", 12)

    def nonce(self, sequence: int) -> bytes:
        return bytes(a ^ b for a, b in zip(self.iv, bytes(4) + struct.pack(">Q", sequence), strict=True))

    def seal(self, sequence: int, plaintext: bytes, header: bytes) -> bytes:
        return self.cipher.encrypt(self.nonce(sequence), plaintext, header)


class Spy:
    """In the place of a cipher: keeps the nonces."""

    def __init__(self, cipher: Any) -> None:
        self.cipher = cipher
        self.nonces: list[bytes] = []

    def encrypt(self, nonce: bytes, data: bytes, header: bytes) -> bytes:
        self.nonces.append(nonce)
        sealed: bytes = self.cipher.encrypt(nonce, data, header)
        return sealed

    def encrypt_into(self, nonce: bytes, data: bytes, header: bytes, buffer: memoryview) -> None:
        self.nonces.append(nonce)
        self.cipher.encrypt_into(nonce, data, header, buffer)


def spied(key: TrafficKey) -> Spy:
    """Put a spy into `key`."""
    spy = Spy(key._cipher)
    key._cipher = spy  # type: ignore[assignment]
    return spy


@given(
    suites,
    st.binary(min_size=48, max_size=48),
    st.lists(st.tuples(st.binary(max_size=90), st.binary(max_size=9)), max_size=6),
)
def test_what_is_sealed_is_what_the_bare_aead_seals(
    suite: CipherSuite, secret: bytes, messages: list[tuple[bytes, bytes]]
) -> None:
    secret = secret[: suite.hash.digest_size]
    writing, reading, bare = TrafficKey(suite, secret), TrafficKey(suite, secret), Bare(suite, secret)
    for number, (plaintext, header) in enumerate(messages):
        sealed = writing.seal(plaintext, header)
        assert sealed == bare.seal(number, plaintext, header)
        assert reading.open(sealed, header) == plaintext
        assert writing.sequence == reading.sequence == number + 1


@every_aead
@pytest.mark.parametrize("length", [0, 1, 5000])
def test_sealing_into_a_buffer_is_the_same(suite: CipherSuite, length: int) -> None:
    one, other = TrafficKey(suite, secret_for(suite)), TrafficKey(suite, secret_for(suite))
    plaintext = bytes(range(256)) * 20
    buffer = bytearray(length + 16)
    for _ in range(3):
        other.seal_into(memoryview(plaintext)[:length], b"head", memoryview(buffer))
        assert bytes(buffer) == one.seal(plaintext[:length], b"head")
    assert one.sequence == other.sequence == 3


@every_aead
@pytest.mark.parametrize("length", [0, 1, 5000])
def test_many_at_once_are_sealed_and_opened_as_one_by_one(suite: CipherSuite, length: int) -> None:
    one, many, reading = (TrafficKey(suite, secret_for(suite)) for _ in range(3))
    plaintexts = [bytes([number]) * length for number in range(5)]
    headers = [b"head%d" % number for number in range(5)]
    sealed = many.seal_all([plaintexts[0], memoryview(plaintexts[1]), *plaintexts[2:]], headers)
    assert sealed == [one.seal(plaintext, header) for plaintext, header in zip(plaintexts, headers, strict=True)]
    opened: list[bytes] = [b"before"]
    reading.open_all(sealed, headers, opened)
    assert opened == [b"before", *plaintexts]
    assert one.sequence == many.sequence == reading.sequence == 5


@every_aead
@pytest.mark.parametrize("bad", range(5))
def test_many_at_once_are_opened_up_to_the_first_forgery(suite: CipherSuite, bad: int) -> None:
    writing, reading = TrafficKey(suite, secret_for(suite)), TrafficKey(suite, secret_for(suite))
    headers = [b""] * 5
    sealed = writing.seal_all([b"%d" % number for number in range(5)], headers)
    forged = [*sealed[:bad], bytes(17), *sealed[bad + 1 :]]
    opened: list[bytes] = []
    with pytest.raises(InvalidMessage, match=f"number {bad} ") as caught:
        reading.open_all(forged, headers, opened)
    assert isinstance(caught.value.__cause__, InvalidTag)
    assert opened == [b"%d" % number for number in range(bad)]
    assert reading.sequence == bad
    reading.open_all(sealed[bad:], headers[bad:], opened)
    assert opened == [b"0", b"1", b"2", b"3", b"4"]


@every_aead
@pytest.mark.parametrize("sequence", [1, 255, 256, 2**16, RECORDS_PER_KEY - 1])
def test_the_nonce_is_the_iv_xor_the_sequence_number(suite: CipherSuite, sequence: int) -> None:
    """RFC 8446 section 5.3."""
    key, bare = TrafficKey(suite, secret_for(suite, 7)), Bare(suite, secret_for(suite, 7))
    key.sequence = sequence
    assert key.seal(b"message", b"head") == bare.seal(sequence, b"message", b"head")


@every_aead
def test_no_nonce_is_used_twice_whichever_way_is_sealed(suite: CipherSuite) -> None:
    key = TrafficKey(suite, secret_for(suite))
    spy = spied(key)
    for number in range(600):
        if number % 3:
            key.seal(b"x", b"")
        else:
            key.seal_all([b"x", b"x"], [b"", b""])
            key.seal_into(memoryview(b"x"), b"", memoryview(bytearray(17)))
    assert len(set(spy.nonces)) == len(spy.nonces) == 1000


@every_aead
def test_a_nonce_is_spent_even_when_sealing_fails(suite: CipherSuite) -> None:
    key = TrafficKey(suite, secret_for(suite))
    spy = spied(key)
    no_bytes: Any = None
    with pytest.raises(TypeError):
        key.seal(no_bytes, b"")
    with pytest.raises(TypeError):
        key.seal_all([b"x", no_bytes, b"x"], [b"", b"", b""])
    with pytest.raises(ValueError, match="buffer"):
        key.seal_into(memoryview(b"x"), b"", memoryview(bytearray(3)))
    key.seal(b"x", b"")
    assert len(set(spy.nonces)) == len(spy.nonces) == 5
    assert key.sequence == 6


# ------------------------------------------------------------------------------------------------ forgeries


@given(suites, st.integers(0, 10_000), st.booleans())
def test_forged_data_moves_nothing(suite: CipherSuite, bit: int, in_header: bool) -> None:
    writing, reading = TrafficKey(suite, secret_for(suite)), TrafficKey(suite, secret_for(suite))
    header = b"head"
    reading.open(writing.seal(b"first", header), header)
    sealed = writing.seal(b"second", header)
    target = bytearray(header if in_header else sealed)
    target[bit // 8 % len(target)] ^= 1 << bit % 8
    forged = (sealed, bytes(target)) if in_header else (bytes(target), header)
    for _ in range(3):
        with pytest.raises(InvalidMessage) as caught:
            reading.open(*forged)
        assert caught.value.alert == AlertCode.BAD_RECORD_MAC
        assert isinstance(caught.value.__cause__, InvalidTag)
        assert reading.sequence == 1
    assert reading.open(sealed, header) == b"second"


@every_aead
@pytest.mark.parametrize("length", range(18))
def test_what_is_too_short_for_a_tag_is_refused(suite: CipherSuite, length: int) -> None:
    reading = TrafficKey(suite, secret_for(suite))
    with pytest.raises(InvalidMessage, match="does not open"):
        reading.open(bytes(length), b"head")
    assert reading.sequence == 0


@every_aead
def test_replayed_skipped_and_reordered_messages_do_not_open(suite: CipherSuite) -> None:
    writing, reading = TrafficKey(suite, secret_for(suite)), TrafficKey(suite, secret_for(suite))
    first, second, third = [writing.seal(b"same", b"") for _ in range(3)]
    assert len({first, second, third}) == 3
    for out_of_order in (second, third):
        with pytest.raises(InvalidMessage):
            reading.open(out_of_order, b"")
    reading.open(first, b"")
    for out_of_order in (first, third):
        with pytest.raises(InvalidMessage):
            reading.open(out_of_order, b"")
    assert reading.open(second, b"") == b"same"


@every_aead
def test_another_secret_opens_nothing(suite: CipherSuite) -> None:
    sealed = TrafficKey(suite, secret_for(suite, 1)).seal(b"message", b"")
    with pytest.raises(InvalidMessage):
        TrafficKey(suite, secret_for(suite, 2)).open(sealed, b"")


# ------------------------------------------------------------------------------------------------ the last number


def test_the_bound_is_that_of_the_document() -> None:
    assert RECORDS_PER_KEY == 2**22


@every_aead
def test_the_last_number_is_sealed_and_the_one_after_it_refused(suite: CipherSuite) -> None:
    writing, reading = TrafficKey(suite, secret_for(suite)), TrafficKey(suite, secret_for(suite))
    spy = spied(writing)
    writing.sequence = reading.sequence = RECORDS_PER_KEY - 1
    last = writing.seal(b"last", b"")
    assert reading.open(last, b"") == b"last"
    with pytest.raises(LocalProtocolError, match="must be updated"):
        writing.seal(b"one more", b"")
    with pytest.raises(LocalProtocolError, match="must be updated"):
        writing.seal_all([b"one more"], [b""])
    with pytest.raises(LocalProtocolError, match="must be updated"):
        writing.seal_into(memoryview(b"one more"), b"", memoryview(bytearray(24)))
    assert len(spy.nonces) == 1
    for forged in (last, Bare(suite, secret_for(suite)).seal(RECORDS_PER_KEY, b"one more", b"")):
        with pytest.raises(InvalidMessage, match="did not update") as caught:
            reading.open(forged, b"")
        assert caught.value.alert == AlertCode.UNEXPECTED_MESSAGE
        with pytest.raises(InvalidMessage, match="did not update"):
            reading.open_all([forged], [b""], [])
    assert writing.sequence == reading.sequence == RECORDS_PER_KEY


@every_aead
def test_of_many_at_once_none_is_sealed_past_the_last_number_and_those_before_it_are_opened(suite: CipherSuite) -> None:
    writing, reading = TrafficKey(suite, secret_for(suite)), TrafficKey(suite, secret_for(suite))
    spy = spied(writing)
    writing.sequence = reading.sequence = RECORDS_PER_KEY - 2
    with pytest.raises(LocalProtocolError, match="must be updated"):
        writing.seal_all([b"1", b"2", b"3"], [b"", b"", b""])
    assert not spy.nonces
    sealed = writing.seal_all([b"1", b"2"], [b"", b""])
    opened: list[bytes] = []
    with pytest.raises(InvalidMessage, match="did not update"):
        reading.open_all([*sealed, bytes(17)], [b"", b"", b""], opened)
    assert opened == [b"1", b"2"]
    assert writing.sequence == reading.sequence == RECORDS_PER_KEY


# ------------------------------------------------------------------------------------------------ the successor


@every_aead
def test_the_next_key_is_that_of_rfc_8446_section_7_2(suite: CipherSuite) -> None:
    key, secret = TrafficKey(suite, secret_for(suite)), secret_for(suite)
    key.sequence = 99
    for _ in range(3):
        key = key.updated()
        secret = expand_label(suite, secret, b"traffic upd", suite.hash.digest_size)
        assert key.sequence == 0
        assert key.seal(b"message", b"head") == Bare(suite, secret).seal(0, b"message", b"head")


@every_aead
def test_the_next_key_opens_nothing_of_the_one_before(suite: CipherSuite) -> None:
    writing, reading = TrafficKey(suite, secret_for(suite)), TrafficKey(suite, secret_for(suite)).updated()
    with pytest.raises(InvalidMessage):
        reading.open(writing.seal(b"message", b""), b"")
    assert reading.open(writing.updated().seal(b"message", b""), b"") == b"message"


@every_aead
def test_no_key_is_shown(suite: CipherSuite) -> None:
    assert repr(TrafficKey(suite, secret_for(suite))) == f"TrafficKey({suite.name}, sequence=0)"
