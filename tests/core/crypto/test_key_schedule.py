"""The key schedule against RFC 8446 section 7.1 written out with the standard library; what is forgotten, and when."""

from __future__ import annotations

import hashlib
import hmac
import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nautilus_core import INITIATOR, RESPONDER, SUITES, CipherSuite, LocalProtocolError, Role
from nautilus_core.crypto.key_schedule import KeySchedule, SessionSecrets

suites = st.sampled_from(sorted(SUITES.values(), key=str))
roles = st.sampled_from([INITIATOR, RESPONDER])
SUITE = SUITES["X25519_CHACHA20POLY1305_SHA256"]


class Reference:
    """RFC 8446 section 7.1, without a pre-shared key."""

    def __init__(self, suite: CipherSuite, shared_secret: bytes, transcript_hash: bytes) -> None:
        self.name = suite.hash.name.lower()
        self.size = hashlib.new(self.name).digest_size
        zeros = bytes(self.size)
        early = self.mac(zeros, zeros)
        self.secret = self.mac(self.derive(early, b"derived", self.nothing()), shared_secret)
        self.traffic = {
            role: self.derive(self.secret, role.value[:1].encode() + b" hs traffic", transcript_hash)
            for role in (INITIATOR, RESPONDER)
        }

    def nothing(self) -> bytes:
        return hashlib.new(self.name).digest()

    def mac(self, key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, self.name).digest()

    def expand_label(self, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        full = b"nautilus1 " + label
        info = struct.pack(">HB", length, len(full)) + full + struct.pack(">B", len(context)) + context
        output = block = b""
        number = 0
        while len(output) < length:
            number += 1
            block = self.mac(secret, block + info + bytes([number]))
            output += block
        return output[:length]

    def derive(self, secret: bytes, label: bytes, transcript_hash: bytes) -> bytes:
        return self.expand_label(secret, label, transcript_hash, self.size)

    def finished(self, role: Role, transcript_hash: bytes) -> bytes:
        return self.mac(self.expand_label(self.traffic[role], b"finished", b"", self.size), transcript_hash)

    def master(self) -> bytes:
        return self.mac(self.derive(self.secret, b"derived", self.nothing()), bytes(self.size))

    def export(self, transcript_hash: bytes, label: str, context: bytes, length: int) -> bytes:
        exporter = self.derive(self.master(), b"exp master", transcript_hash)
        secret = self.derive(exporter, label.encode(), self.nothing())
        return self.expand_label(secret, b"exporter", hashlib.new(self.name, context).digest(), length)


def secrets_of(suite: CipherSuite) -> SessionSecrets:
    """Some session's secrets."""
    return KeySchedule(suite, b"shared", suite.hash.digest(b"a")).session_secrets(suite.hash.digest(b"b"))


@given(suites, st.binary(max_size=100), st.binary(max_size=9), st.binary(max_size=9), roles)
def test_finished_macs_are_those_of_the_rfc(
    suite: CipherSuite, shared_secret: bytes, early: bytes, late: bytes, role: Role
) -> None:
    schedule = KeySchedule(suite, shared_secret, suite.hash.digest(early))
    reference = Reference(suite, shared_secret, suite.hash.digest(early))
    mac = schedule.finished(role, suite.hash.digest(late))
    assert mac == reference.finished(role, suite.hash.digest(late))
    assert mac != schedule.finished(role.peer, suite.hash.digest(late))


@given(suites, st.binary(max_size=100), roles)
def test_traffic_keys_are_those_of_the_rfc(suite: CipherSuite, shared_secret: bytes, role: Role) -> None:
    early, late = suite.hash.digest(b"early"), suite.hash.digest(b"late")
    schedule = KeySchedule(suite, shared_secret, early)
    reference = Reference(suite, shared_secret, early)
    key = schedule.handshake_key(role)
    secrets = schedule.session_secrets(late)
    label = role.value[:1].encode() + b" ap traffic"
    for ours, secret in (
        (key, reference.traffic[role]),
        (secrets.traffic_key(role), reference.derive(reference.master(), label, late)),
    ):
        cipher = suite.aead.new(reference.expand_label(secret, b"key", b"", suite.aead.key_length))
        iv = reference.expand_label(secret, b"iv", b"", 12)
        assert ours.seal(b"message", b"head") == cipher.encrypt(iv, b"message", b"head")


@given(suites, st.text(min_size=1, max_size=60), st.binary(max_size=300), st.integers(1, 255 * 32))
def test_the_exporter_is_that_of_the_rfc(suite: CipherSuite, label: str, context: bytes, length: int) -> None:
    late = suite.hash.digest(b"b")
    reference = Reference(suite, b"shared", suite.hash.digest(b"a"))
    assert secrets_of(suite).export(label, context, length) == reference.export(late, label, context, length)


@pytest.mark.parametrize("suite", [SUITE, SUITES["X25519_AES256GCM_SHA384"]], ids=str)
def test_the_exporter_at_its_bounds(suite: CipherSuite) -> None:
    secrets, longest = secrets_of(suite), 255 * suite.hash.digest_size
    assert len(secrets.export("l", b"", 1)) == 1
    assert len(secrets.export("l" * 245, b"", longest)) == longest
    for label, length in (("", 32), ("l" * 246, 32), ("é" * 123, 32), ("l", 0), ("l", -1), ("l", longest + 1)):
        with pytest.raises(ValueError, match="exporter"):
            secrets.export(label, b"", length)


def test_exports_differ_by_label_context_and_length() -> None:
    secrets = secrets_of(SUITE)
    outputs = {
        secrets.export(label, context, length)[:16]
        for label in ("a", "b", "a\0")
        for context in (b"", b"\0", b"b")
        for length in (16, 32, 64)
    }
    assert len(outputs) == 27


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_another_secret_or_transcript_gives_other_keys(one: bytes, other: bytes) -> None:
    assume(one != other)
    mac = KeySchedule(SUITE, one, bytes(32)).finished(INITIATOR, bytes(32))
    assert mac != KeySchedule(SUITE, other, bytes(32)).finished(INITIATOR, bytes(32))
    assert mac != KeySchedule(SUITE, one, bytes(31) + b"\1").finished(INITIATOR, bytes(32))


def test_the_handshakes_secrets_are_forgotten_once_the_sessions_are_derived() -> None:
    schedule = KeySchedule(SUITE, b"shared", bytes(32))
    schedule.session_secrets(bytes(32))
    for call in (
        lambda: schedule.session_secrets(bytes(32)),
        lambda: schedule.handshake_key(INITIATOR),
        lambda: schedule.finished(RESPONDER, bytes(32)),
    ):
        with pytest.raises(LocalProtocolError, match="secrets were taken"):
            call()


def test_a_first_session_key_is_taken_once_and_its_secret_forgotten() -> None:
    """Else a key update would not protect what came before it (RFC 8446 section 7.2)."""
    secrets = secrets_of(SUITE)
    for role in (INITIATOR, RESPONDER):
        secrets.traffic_key(role)
        with pytest.raises(LocalProtocolError, match="secrets were taken"):
            secrets.traffic_key(role)
    assert len(secrets.export("still", b"", 32)) == 32


def test_no_secret_is_shown() -> None:
    schedule = KeySchedule(SUITE, b"shared", bytes(32))
    assert repr(schedule) == f"KeySchedule({SUITE.name})"
    assert repr(schedule.session_secrets(bytes(32))) == f"SessionSecrets({SUITE.name})"
