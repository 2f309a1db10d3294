"""Hashes, HMAC, HKDF-Expand-Label and the running transcript, against the standard library and `cryptography`."""

from __future__ import annotations

import hashlib
import hmac
import struct
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from nautilus_core import SUITES, LocalProtocolError
from nautilus_core.crypto.hashing import HASHES, SHA256, SHA384, HashFunction, TranscriptHash

FOREIGN: dict[str, hashes.HashAlgorithm] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
    "BLAKE2s": hashes.BLAKE2s(32),
    "BLAKE2b": hashes.BLAKE2b(64),
}
STDLIB: dict[str, Any] = {name: getattr(hashlib, name.lower()) for name in FOREIGN}

functions = st.sampled_from(list(HASHES.values()))
every_function = pytest.mark.parametrize("function", HASHES.values(), ids=repr)


def info_of(label: bytes, context: bytes, length: int) -> bytes:
    """The HkdfLabel of RFC 8446 section 7.1, with our prefix."""
    full = b"nautilus1 " + label
    return struct.pack(">HB", length, len(full)) + full + struct.pack(">B", len(context)) + context


def test_only_strong_hashes_exist() -> None:
    assert list(HASHES) == ["SHA256", "SHA384", "SHA512", "BLAKE2s", "BLAKE2b"]
    assert [function.digest_size for function in HASHES.values()] == [32, 48, 64, 32, 64]
    assert {SUITES[name].hash for name in SUITES} == {SHA256, SHA384}


@every_function
def test_a_hash_knows_its_size_and_the_hash_of_nothing(function: HashFunction) -> None:
    new = STDLIB[function.name]
    assert function.digest_size == new().digest_size
    assert function.empty == new().digest()
    assert function.digest(b"abc") == new(b"abc").digest()


def test_hmac_is_that_of_rfc_4231() -> None:
    key = b"\x0b" * 20
    assert SHA256.hmac(key, b"Hi There").hex() == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    assert SHA384.hmac(key, b"Hi There").hex() == (
        "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6"
    )


@given(functions, st.binary(min_size=64, max_size=64), st.binary(max_size=300))
def test_hkdf_equals_that_of_cryptography(function: HashFunction, salt: bytes, material: bytes) -> None:
    size = function.digest_size
    expected = HKDF(FOREIGN[function.name], 2 * size, salt[:size], b"").derive(material)
    assert function.hkdf(salt[:size], material) == (expected[:size], expected[size:])


@given(functions, st.binary(max_size=64), st.binary(max_size=300))
def test_hmac_equals_two_other_implementations(function: HashFunction, key: bytes, message: bytes) -> None:
    """For every key that fits into a block of SHA-256; the protocol's keys are as long as a hash."""
    ours = function.hmac(key, message)
    assert ours == hmac.new(key, message, STDLIB[function.name]).digest()
    other = HMAC(key, FOREIGN[function.name])
    other.update(message)
    assert ours == other.finalize()


@given(
    functions,
    st.binary(min_size=32, max_size=48),
    st.binary(min_size=1, max_size=245),
    st.binary(max_size=255),
    st.one_of(st.integers(1, 120), st.integers(120, 255 * 32)),
)
def test_expand_label_equals_hkdf_expand(
    function: HashFunction, secret: bytes, label: bytes, context: bytes, length: int
) -> None:
    ours = function.expand_label(secret, label, context, length)
    other = HKDFExpand(FOREIGN[function.name], length, info_of(label, context, length)).derive(secret)
    assert ours == other
    assert len(ours) == length


@every_function
@pytest.mark.parametrize("blocks", [1, 2, 3, 254, 255])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_expand_label_at_the_bounds_of_its_blocks(function: HashFunction, blocks: int, more: int) -> None:
    length = blocks * function.digest_size + more
    secret = bytes(range(function.digest_size))
    if length > 255 * function.digest_size:
        with pytest.raises(ValueError, match="larger than"):
            function.expand_label(secret, b"long", b"", length)
        return
    info = info_of(b"long", b"", length)
    output = block = b""
    while len(output) < length:
        block = hmac.new(
            secret, block + info + bytes([len(output) // function.digest_size + 1]), STDLIB[function.name]
        ).digest()
        output += block
    assert function.expand_label(secret, b"long", b"", length) == output[:length]


@given(functions, st.binary(min_size=32, max_size=48), st.binary(max_size=200))
def test_derive_secret_is_expand_label_of_the_hash(function: HashFunction, secret: bytes, messages: bytes) -> None:
    context = function.digest(messages)
    expected = function.expand_label(secret, b"derived", context, function.digest_size)
    assert function.derive_secret(secret, b"derived", context) == expected


@every_function
@pytest.mark.parametrize("length", [12, 16, 32])
def test_a_constant_info_makes_the_same_key(function: HashFunction, length: int) -> None:
    secret = bytes(function.digest_size)
    with_constant = function.hmac(secret, function.label_info(b"key", length))[:length]
    assert with_constant == function.expand_label(secret, b"key", b"", length)


@every_function
def test_labels_contexts_and_lengths_separate(function: HashFunction) -> None:
    secret = bytes(function.digest_size)
    outputs = {
        function.expand_label(secret, label, context, length)[:16]
        for label in (b"key", b"iv", b"ke", b"y")
        for context in (b"", b"\0", b"y")
        for length in (16, 17, 32)
    }
    assert len(outputs) == 36


# ------------------------------------------------------------------------------------------------ the transcript


@given(functions, st.lists(st.binary(max_size=80), max_size=12), st.integers(0, 12))
def test_the_transcript_is_the_hash_of_all_messages_whenever_the_hash_is_selected(
    function: HashFunction, messages: list[bytes], selected_after: int
) -> None:
    selected_after = min(selected_after, len(messages))
    transcript = TranscriptHash()
    for message in messages[:selected_after]:
        transcript.update(message)
    transcript.select(function)
    for number, message in enumerate(messages[selected_after:], selected_after):
        assert transcript.digest() == function.digest(b"".join(messages[:number]))
        transcript.update(message)
    assert transcript.digest() == transcript.digest() == function.digest(b"".join(messages))
    assert transcript.function is function


def test_there_is_no_transcript_hash_before_a_hash_is_selected() -> None:
    transcript = TranscriptHash()
    transcript.update(b"hello")
    assert transcript.function is None
    with pytest.raises(LocalProtocolError, match="no hash until"):
        transcript.digest()


def test_the_hash_is_selected_once() -> None:
    transcript = TranscriptHash()
    transcript.select(SHA256)
    with pytest.raises(LocalProtocolError, match="already selected"):
        transcript.select(SHA384)
    transcript.update(b"abc")
    assert transcript.digest() == SHA256.digest(b"abc")


def test_what_has_entered_the_hash_is_not_kept() -> None:
    transcript = TranscriptHash()
    message = bytes(bytearray(1000))
    before = sys.getrefcount(message)
    transcript.update(message)
    assert sys.getrefcount(message) == before + 1
    transcript.select(SHA256)
    assert sys.getrefcount(message) == before
    with pytest.raises(LocalProtocolError, match="not kept"):
        transcript.content()
