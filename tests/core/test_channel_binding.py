"""Channel bindings in the hellos: two ends on one channel agree, on two they both see it, and nobody can make them fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    ChannelBinding,
    ChannelBindings,
    Handshake,
    HandshakeError,
    InvalidMessage,
    PeerAborted,
    Role,
    profiles,
)
from nautilus_core.channel_binding import server_end_point
from nautilus_core.steps.channel_binding import said
from nautilus_core.testing import Pair, Tamper, alert_of

from .certificates import KEYS, issue
from .helpers import alice, altered, bob, run, succeed

EXPORTER: Final = ChannelBinding("tls-exporter", b"1" * 32)
OTHER_EXPORTER: Final = ChannelBinding("tls-exporter", b"2" * 32)
END_POINT: Final = ChannelBinding("tls-server-end-point", b"c" * 32)
OTHER_END_POINT: Final = ChannelBinding("tls-server-end-point", b"d" * 48)


def known(*bindings: ChannelBinding, required: bool = True) -> ChannelBindings:
    """What an end knows."""
    return ChannelBindings(bindings, required)


def met(one: ChannelBindings | None, other: ChannelBindings | None, **options: Any) -> Pair:
    """Alice and Bob, who know these bindings."""
    return run(
        Handshake(INITIATOR, alice(), channel_bindings=one),
        Handshake(RESPONDER, bob(), channel_bindings=other),
        **options,
    )


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (known(EXPORTER), known(EXPORTER), "tls-exporter"),
        (known(END_POINT, EXPORTER), known(EXPORTER, END_POINT), "tls-exporter"),
        (known(EXPORTER, END_POINT), known(END_POINT), "tls-server-end-point"),
        (known(EXPORTER, OTHER_END_POINT), known(EXPORTER), "tls-exporter"),
        (known(EXPORTER, required=False), known(END_POINT, required=False), None),
        (known(EXPORTER, required=False), None, None),
        (None, known(EXPORTER, required=False), None),
        (known(required=False), known(EXPORTER, required=False), None),
        (None, None, None),
    ],
)
def test_two_ends_on_one_channel(one: ChannelBindings, other: ChannelBindings, kind: str | None) -> None:
    pair = succeed(met(one, other))
    assert pair.initiator.session.tls_binding == pair.responder.session.tls_binding == kind
    assert ("channel-binding" in pair.initiator.session.extensions) is (kind is not None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (known(EXPORTER), known(OTHER_EXPORTER)),
        (known(END_POINT), known(OTHER_END_POINT)),
        (known(EXPORTER, END_POINT), known(OTHER_EXPORTER, END_POINT)),
        (known(EXPORTER, required=False), known(OTHER_EXPORTER, required=False)),
    ],
)
def test_on_two_channels_both_ends_see_it(one: ChannelBindings, other: ChannelBindings) -> None:
    pair = met(one, other)
    for end in (pair.initiator, pair.responder):
        assert isinstance(end.error, AuthenticationFailed)
        assert end.error.step == "hello-response"
        assert end.error.alert == AlertCode.CHANNEL_BINDING
        assert "somebody between the two ends terminates TLS" in str(end.error)
        assert end.handshake.session is None


@pytest.mark.parametrize(
    ("one", "other", "who"),
    [
        (known(EXPORTER), None, INITIATOR),
        (None, known(EXPORTER), RESPONDER),
        (known(EXPORTER, required=False), known(END_POINT), RESPONDER),
        (known(EXPORTER), known(END_POINT, required=False), INITIATOR),
    ],
)
def test_who_requires_a_binding_goes_without_none(one: ChannelBindings, other: ChannelBindings, who: Role) -> None:
    pair = met(one, other)
    refusing, told = (pair.initiator, pair.responder) if who is INITIATOR else (pair.responder, pair.initiator)
    assert isinstance(refusing.error, AuthenticationFailed)
    assert "does not say which TLS connection" in str(refusing.error)
    assert "load balancer" in str(refusing.error)
    assert alert_of(told) == AlertCode.CHANNEL_BINDING


@pytest.mark.parametrize("role", Role)
def test_who_requires_a_binding_and_has_none_says_why(role: Role) -> None:
    none = ChannelBindings((), missing="Ed25519 has no hash")
    pair = met(none, known(EXPORTER)) if role is INITIATOR else met(known(EXPORTER), none)
    error = (pair.initiator if role is INITIATOR else pair.responder).error
    assert isinstance(error, AuthenticationFailed)
    assert "this end has none; expected a name of the TLS connection below; got Ed25519 has no hash" in str(error)


def test_the_value_never_travels_and_shows_in_no_text() -> None:
    pair = met(known(EXPORTER), known(EXPORTER))
    sent = b"".join(pair.initiator.flights + pair.responder.flights)
    assert EXPORTER.value not in sent
    assert "111" not in repr(known(EXPORTER))


def rewritten(change: Callable[[Role, dict[str, bytes]], object]) -> Tamper:
    """A man in the middle who alters the extensions in both directions."""

    def extensions(role: Role) -> Callable[[list[Any]], object]:
        def rewrite(fields: list[Any]) -> None:
            found = dict(fields[5])
            change(role, found)
            fields[5] = [list(pair) for pair in found.items()]

        return rewrite

    there, back = altered("hello", extensions(INITIATOR)), altered("hello-response", extensions(RESPONDER))
    return lambda role, number, data: (there if role is INITIATOR else back)(role, number, data)


def fit(role: Role, extensions: dict[str, bytes]) -> None:
    """He knows both of his channels, and says to each end what fits there."""
    binding = OTHER_EXPORTER if role is INITIATOR else EXPORTER
    one = [binding.kind, said(binding, role)]
    extensions["channel-binding"] = msgspec.msgpack.encode([one] if role is INITIATOR else one)


def strip(_: Role, extensions: dict[str, bytes]) -> None:
    """He has neither end see it."""
    extensions.pop("channel-binding", None)


@pytest.mark.parametrize("change", [fit, strip])
@pytest.mark.parametrize("required", [True, False])
def test_what_a_man_in_the_middle_alters_is_in_the_transcript(change: Any, required: bool) -> None:
    one, other = known(EXPORTER, required=required), known(OTHER_EXPORTER, required=required)
    pair = met(one, other, tamper=rewritten(change))
    assert not pair.initiator.completed
    assert isinstance(pair.initiator.error, HandshakeError)
    assert not pair.responder.completed


def test_what_one_end_says_cannot_be_said_back_to_it() -> None:
    def reflect(role: Role, extensions: dict[str, bytes]) -> None:
        if role is RESPONDER:
            extensions["channel-binding"] = msgspec.msgpack.encode([EXPORTER.kind, said(EXPORTER, INITIATOR)])

    pair = met(known(EXPORTER), None, tamper=rewritten(reflect))
    assert isinstance(pair.initiator.error, AuthenticationFailed)


@pytest.mark.parametrize("length", [32, 64, 65, 1024])
def test_what_is_said_is_an_hmac_of_rfc_2104_for_a_value_of_any_length(length: int) -> None:
    value = bytes(range(256)) * 4
    mac = HMAC(value[:length], hashes.SHA256())
    mac.update(b"nautilus/1 channel binding\0initiator\0acme")
    assert said(ChannelBinding("acme", value[:length]), INITIATOR) == mac.finalize()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xc1",
        b"\x91" * 2000,
        msgspec.msgpack.encode("text"),
        msgspec.msgpack.encode([["tls-exporter", b"short"]]),
        msgspec.msgpack.encode([["tls-exporter", b"1" * 32], ["tls-exporter", b"1" * 32]]),
        msgspec.msgpack.encode([[f"kind-{number}", b"1" * 32] for number in range(9)]),
        msgspec.msgpack.encode([["", b"1" * 32]]),
    ],
)
@pytest.mark.parametrize("role", Role)
def test_a_malformed_extension_is_an_invalid_message(value: bytes, role: Role) -> None:
    def change(sender: Role, extensions: dict[str, bytes]) -> None:
        if sender is role:
            extensions["channel-binding"] = value

    pair = met(known(EXPORTER), known(EXPORTER), tamper=rewritten(change))
    reader = pair.responder if role is INITIATOR else pair.initiator
    assert isinstance(reader.error, InvalidMessage)


def test_a_binding_that_was_not_offered_is_refused() -> None:
    def change(sender: Role, extensions: dict[str, bytes]) -> None:
        if sender is RESPONDER:
            extensions["channel-binding"] = msgspec.msgpack.encode(["tls-unique", b"1" * 32])

    pair = met(known(EXPORTER), known(EXPORTER), tamper=rewritten(change))
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert "was not offered; expected 'tls-exporter'; got 'tls-unique'" in str(pair.initiator.error)
    assert isinstance(pair.responder.error, PeerAborted)


def test_what_an_end_knows_is_checked() -> None:
    with pytest.raises(ValueError, match="1 to 64 ASCII"):
        ChannelBinding("", b"1")
    with pytest.raises(ValueError, match="1 to 1024 bytes"):
        ChannelBinding("tls-exporter", b"")
    with pytest.raises(ValueError, match="each kind once"):
        known(EXPORTER, OTHER_EXPORTER)
    with pytest.raises(ValueError, match="is a connection's"):
        alice(extensions={"channel-binding": b""})
    noise = profiles.noise("Noise_NN_25519_ChaChaPoly_BLAKE2s")
    with pytest.raises(ValueError, match="no step that carries channel bindings"):
        Handshake(INITIATOR, noise, channel_bindings=known(EXPORTER))


def test_a_transcript_keeps_what_an_end_knows() -> None:
    bindings = ChannelBindings((EXPORTER, END_POINT), required=False, missing="nothing")
    assert ChannelBindings.from_bytes(bindings.to_bytes()) == bindings
    with pytest.raises(ValueError, match="no channel bindings"):
        ChannelBindings.from_bytes(b"\xc1")
    with pytest.raises(ValueError, match="no channel bindings"):
        ChannelBindings.from_bytes(msgspec.msgpack.encode({"known": [{"kind": "", "value": b"1"}]}))


@pytest.mark.parametrize(
    ("key", "digest", "expected"),
    [
        ("ecdsa-p256-sha256", None, "sha256"),
        ("ecdsa-p256-sha256", hashes.SHA384(), "sha384"),
        ("rsa-pss-sha256", hashes.SHA512(), "sha512"),
        ("ed25519", None, None),
        ("ml-dsa-65", None, None),
    ],
)
def test_the_hash_of_a_certificate_is_its_signatures(key: str, digest: Any, expected: str | None) -> None:
    certificate = issue(KEYS[key], digest=digest).certificate.public_bytes(Encoding.DER)
    binding = server_end_point(certificate)
    if expected is None:
        assert binding is None
    else:
        assert binding == ChannelBinding("tls-server-end-point", hashlib.new(expected, certificate).digest())


def test_sha_1_is_replaced() -> None:
    """Signatures with SHA-1 are not made any more: the names of the algorithm in one with SHA-256 are exchanged."""
    certificate = issue(KEYS["rsa-pss-sha256"], digest=hashes.SHA256()).certificate.public_bytes(Encoding.DER)
    sha256_with_rsa, sha1_with_rsa = (bytes.fromhex(f"06092a864886f70d0101{last}") for last in ("0b", "05"))
    assert certificate.count(sha256_with_rsa) == 2
    changed = certificate.replace(sha256_with_rsa, sha1_with_rsa)
    assert server_end_point(changed) == ChannelBinding("tls-server-end-point", hashlib.sha256(changed).digest())


def test_what_is_no_certificate() -> None:
    with pytest.raises(ValueError, match="certificate in DER"):
        server_end_point(b"nothing")
