"""The table of suites: every name says what is in it."""

from __future__ import annotations

from itertools import product

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from nautilus_core import DEFAULT_SUITES, SUITES, CipherSuite
from nautilus_core.crypto.groups import GROUPS
from nautilus_core.crypto.hashing import SHA256, SHA384
from nautilus_core.crypto.suites import TAG_LENGTH

AEADS = {
    "AES256GCM": (AESGCM, 32, SHA384),
    "AES128GCM": (AESGCM, 16, SHA256),
    "CHACHA20POLY1305": (ChaCha20Poly1305, 32, SHA256),
}

every_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)


def test_there_is_one_for_each_group_and_aead() -> None:
    named = {f"{group}_{aead}_{function}" for group, (aead, (_, _, function)) in product(GROUPS, AEADS.items())}
    assert set(SUITES) == named
    assert len(SUITES) == 12


@every_suite
def test_a_suite_is_what_it_is_called(suite: CipherSuite) -> None:
    group, aead, function = suite.name.split("_")
    new, key_length, expected = AEADS[aead]
    assert str(suite) == suite.name
    assert SUITES[suite.name] is suite
    assert suite.group == group
    assert (suite.aead.name, suite.aead.new, suite.aead.key_length) == (aead, new, key_length)
    assert suite.hash is expected
    assert suite.hash.name == function
    assert len(suite.name) <= 64


@every_suite
def test_an_aead_takes_its_key_and_adds_its_tag(suite: CipherSuite) -> None:
    cipher = suite.aead.new(bytes(suite.aead.key_length))
    assert len(cipher.encrypt(bytes(12), b"message", None)) == len(b"message") + TAG_LENGTH


@every_suite
def test_the_constants_are_those_of_rfc_8446_section_7_3(suite: CipherSuite) -> None:
    key_length = bytes([suite.aead.key_length])
    assert suite.key_info == b"\0" + key_length + b"\x0dnautilus1 key\0\1"
    assert suite.iv_info == b"\0\x0c\x0cnautilus1 iv\0\1"


def test_the_defaults_begin_with_hybrids() -> None:
    assert set(DEFAULT_SUITES) <= set(SUITES)
    assert len(set(DEFAULT_SUITES)) == len(DEFAULT_SUITES)
    hybrid = ["MLKEM" in SUITES[name].group for name in DEFAULT_SUITES]
    assert hybrid == sorted(hybrid, reverse=True)
    assert hybrid[0]
    assert DEFAULT_SUITES[0] == "X25519MLKEM768_AES256GCM_SHA384"
