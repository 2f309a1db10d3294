"""A whole other protocol on the public step API alone: Noise XX (revision 34) as three raw steps and a profile.

Everything of Noise that it needs stands here, in some sixty lines over `cryptography`; the core gives steps, framing,
engine and session.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Context,
    Entropy,
    Handshake,
    HandshakeError,
    HandshakeStep,
    InvalidMessage,
    KeyAgreementFailed,
    LengthPrefixedStream,
    Limits,
    LocalProtocolError,
    PeerAborted,
    Profile,
    Role,
    Session,
    Stage,
    State,
)
from nautilus_core.testing import Pair, byte_by_byte

from .helpers import run, succeed, waits

# ---------------------------------------------------------------- Noise, sections 5.1 and 5.2

Cipher = Callable[[bytes], ChaCha20Poly1305 | AESGCM]
CIPHERS: Final[dict[str, tuple[Cipher, Any]]] = {"ChaChaPoly": (ChaCha20Poly1305, "little"), "AESGCM": (AESGCM, "big")}


def hkdf(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """Two outputs (section 4.3)."""
    secret = hmac.digest(chaining_key, material, "sha256")
    first = hmac.digest(secret, b"\x01", "sha256")
    return first, hmac.digest(secret, first + b"\x02", "sha256")


class CipherState:
    """Section 5.1."""

    def __init__(self, cipher: str, key: bytes) -> None:
        new, self._order = CIPHERS[cipher]
        self._cipher = new(key)
        self._nonce = 0

    def encrypt(self, data: bytes, plaintext: bytes) -> bytes:
        ciphertext = self._cipher.encrypt(bytes(4) + self._nonce.to_bytes(8, self._order), plaintext, data)
        self._nonce += 1
        return ciphertext

    def decrypt(self, data: bytes, ciphertext: bytes) -> bytes:
        try:
            plaintext = self._cipher.decrypt(bytes(4) + self._nonce.to_bytes(8, self._order), ciphertext, data)
        except (InvalidTag, ValueError) as error:
            raise InvalidMessage("a Noise message does not open", alert=AlertCode.BAD_RECORD_MAC) from error
        self._nonce += 1
        return plaintext


class Noise:
    """SymmetricState (section 5.2) and the variables of HandshakeState (section 5.3), for one side of XX."""

    def __init__(self, cipher: str, static: X25519PrivateKey, prologue: bytes, payloads: tuple[bytes, ...]) -> None:
        name = f"Noise_XX_25519_{cipher}_SHA256".encode()
        self.cipher = cipher
        self.hash = name.ljust(32, b"\0") if len(name) <= 32 else hashlib.sha256(name).digest()
        self.chaining_key = self.hash
        self.key: CipherState | None = None
        self.static = static
        self.ephemeral: X25519PrivateKey | None = None
        self.remote: dict[str, bytes] = {}
        self.payloads = payloads
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.chaining_key, key = hkdf(self.chaining_key, material)
        self.key = CipherState(self.cipher, key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = plaintext if self.key is None else self.key.encrypt(self.hash, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = ciphertext if self.key is None else self.key.decrypt(self.hash, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def mix_dh(self, role: Role, token: str) -> None:
        """`ee`, `es` or `se`: the first letter is the initiator's key, the second the responder's."""
        mine = token[0] if role is INITIATOR else token[1]
        theirs = token[1] if role is INITIATOR else token[0]
        private_key = self.static if mine == "s" else self.ephemeral
        assert private_key is not None
        try:
            self.mix_key(private_key.exchange(X25519PublicKey.from_public_bytes(self.remote[theirs])))
        except ValueError as error:
            raise KeyAgreementFailed("a Noise key of small order") from error

    def split(self) -> tuple[CipherState, CipherState]:
        first, second = hkdf(self.chaining_key, b"")
        return CipherState(self.cipher, first), CipherState(self.cipher, second)


# ---------------------------------------------------------------- its messages as steps, its pattern as a profile


class NoiseMessage(HandshakeStep[bytes]):
    """One message pattern: a raw step; the last one finishes with a session."""

    needs = Stage.NOTHING

    def __init__(self, noise: Noise, number: int, sender: Role, tokens: str) -> None:
        self.name = f"{'->' if sender is INITIATOR else '<-'} {tokens}"
        self.sender = sender
        self.provides = Stage.SESSION if number == 2 else Stage.NOTHING
        self.noise = noise
        self.number = number
        self.tokens = tokens.split(", ")

    def write(self, context: Context) -> bytes:
        noise, message = self.noise, b""
        for token in self.tokens:
            if token == "e":
                noise.ephemeral = context.entropy.ephemeral_key("X25519")
                public = noise.ephemeral.public_key().public_bytes_raw()
                noise.mix_hash(public)
                message += public
            elif token == "s":
                message += noise.encrypt_and_hash(noise.static.public_key().public_bytes_raw())
            else:
                noise.mix_dh(context.role, token)
        return message + noise.encrypt_and_hash(noise.payloads[self.number])

    def read(self, context: Context, message: bytes) -> None:
        noise = self.noise
        for token in self.tokens:
            if token in ("e", "s"):
                length = 48 if token == "s" and noise.key is not None else 32
                if len(message) < length:
                    raise InvalidMessage("a Noise message is too short", expected=f"{length} bytes and more")
                part, message = message[:length], message[length:]
                noise.remote[token] = part if token == "e" else noise.decrypt_and_hash(part)
                if token == "e":
                    noise.mix_hash(part)
            else:
                noise.mix_dh(context.role, token)
        context.publish(noise.decrypt_and_hash(message))

    def commit(self, context: Context) -> None:
        if self.provides is not Stage.SESSION:
            return
        noise = self.noise
        sending, receiving = noise.split() if context.role is INITIATOR else reversed(noise.split())
        context.publish((noise.remote["s"], noise.hash, sending, receiving))
        secret = noise.chaining_key
        context.finish(
            Session(
                role=context.role,
                peer=ANONYMOUS,  # the peer's static key is a result; whether to trust it is the application's
                protocol=None,
                suite=f"25519_{noise.cipher}_SHA256",
                exporter=lambda label, data, length: hkdf(secret, label.encode() + b"\0" + data)[0][:length],
            )
        )


XX = ((INITIATOR, "e"), (RESPONDER, "e, ee, s, es"), (INITIATOR, "s, se"))
LAST = "-> s, se"


def noise_xx(
    static: X25519PrivateKey,
    *,
    cipher: str = "ChaChaPoly",
    prologue: bytes = b"",
    payloads: tuple[bytes, ...] = (b"", b"", b""),
) -> Profile:
    """Noise_XX_25519_<cipher>_SHA256 behind a 2-byte length."""

    def steps() -> list[NoiseMessage]:
        noise = Noise(cipher, static, prologue, payloads)
        return [NoiseMessage(noise, number, sender, tokens) for number, (sender, tokens) in enumerate(XX)]

    return Profile(f"Noise_XX_25519_{cipher}_SHA256", steps, LengthPrefixedStream)


ALICE, BOB = X25519PrivateKey.generate(), X25519PrivateKey.generate()


def public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def results(pair: Pair) -> tuple[Any, Any]:
    return pair.initiator.session.results[LAST], pair.responder.session.results[LAST]


# ---------------------------------------------------------------- tests


@pytest.mark.parametrize("cipher", CIPHERS)
def test_a_noise_handshake_runs_on_the_engine(cipher: str) -> None:
    pair = succeed(run(noise_xx(ALICE, cipher=cipher), noise_xx(BOB, cipher=cipher)))
    assert pair.initiator.session.steps == ("-> e", "<- e, ee, s, es", LAST)
    (their_key, first_hash, sending, receiving), (our_key, second_hash, _, their_receiving) = results(pair)
    assert their_key == public(BOB)
    assert our_key == public(ALICE)
    assert first_hash == second_hash
    assert their_receiving.decrypt(b"", sending.encrypt(b"", b"transport")) == b"transport"
    assert receiving.encrypt(b"", b"") != sending.encrypt(b"", b"")
    assert [len(flight) for flight in pair.initiator.flights] == [2 + 32, 2 + 48 + 16]
    assert [len(flight) for flight in pair.responder.flights] == [2 + 32 + 48 + 16]


def test_its_session_has_keys_but_no_channel_of_ours() -> None:
    session = succeed(run(noise_xx(ALICE), noise_xx(BOB))).initiator.session
    assert session.peer is ANONYMOUS
    assert session.suite == "25519_ChaChaPoly_SHA256"
    with pytest.raises(LocalProtocolError, match="or it has none"):
        session.channel()


def test_payloads_travel_and_are_results() -> None:
    payloads = (b"in the clear", b"sealed", b"sealed too")
    pair = succeed(run(noise_xx(ALICE, payloads=payloads), noise_xx(BOB, payloads=payloads)))
    assert pair.responder.session.results["-> e"] == b"in the clear"
    assert pair.initiator.session.results["<- e, ee, s, es"] == b"sealed"
    assert b"in the clear" in pair.initiator.flights[0]
    assert b"sealed" not in pair.responder.flights[0] + pair.initiator.flights[1]


def test_byte_by_byte_with_transport_messages_behind_it() -> None:
    pair = succeed(run(noise_xx(ALICE), noise_xx(BOB), split=byte_by_byte))
    pair.responder.handshake.receive_data(b"what follows")
    assert pair.responder.handshake.trailing_data == b"what follows"


def test_different_prologues_do_not_complete() -> None:
    pair = run(noise_xx(ALICE, prologue=b"one"), noise_xx(BOB, prologue=b"two"))
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert "a Noise message does not open" in str(pair.initiator.error)
    assert pair.initiator.handshake.state is State.FAILED
    assert pair.initiator.flights[1:] == []  # Noise sends no alerts
    assert waits(pair.responder)
    pair.responder.handshake.receive_data(b"")
    with pytest.raises(PeerAborted):
        pair.responder.handshake.next_event()


def test_every_flipped_bit_is_noticed() -> None:
    profiles = noise_xx(ALICE), noise_xx(BOB)
    whole = succeed(run(*profiles))
    for sender, end in ((INITIATOR, whole.initiator), (RESPONDER, whole.responder)):
        for number, flight in enumerate(end.flights):
            for place in range(len(flight)):

                def tamper(
                    role: Role, count: int, data: bytes, at: tuple[Role, int, int] = (sender, number, place)
                ) -> bytes:
                    if (role, count) != at[:2]:
                        return data
                    return data[: at[2]] + bytes((data[at[2]] ^ 1 << at[2] % 8,)) + data[at[2] + 1 :]

                pair = Pair(*profiles, tamper=tamper).run()
                errors = [end.error for end in (pair.initiator, pair.responder) if end.error is not None]
                assert errors
                assert all(isinstance(error, HandshakeError) for error in errors)
                if pair.initiator.completed and pair.responder.completed:
                    assert results(pair)[0][1] != results(pair)[1][1]
                    raise AssertionError(f"both are content: byte {place} of flight {number} of {sender}")


def test_the_end_of_the_stream_at_every_offset() -> None:
    profiles = noise_xx(ALICE), noise_xx(BOB)
    whole = succeed(run(*profiles))
    for offset in range(len(whole.responder.flights[0])):
        pair = run(*profiles, tamper=lambda role, n, data, cut=offset: data[:cut] if role is RESPONDER else data)
        initiator = pair.initiator.handshake
        initiator.receive_data(b"")
        with pytest.raises(PeerAborted):
            initiator.next_event()


def test_low_order_points_are_a_key_agreement_failure() -> None:
    pair = run(
        noise_xx(ALICE),
        noise_xx(BOB),
        tamper=lambda role, n, data: b"\0\x20" + bytes(32) if (role, n) == (INITIATOR, 0) else data,
    )
    assert isinstance(pair.responder.error, KeyAgreementFailed)


@pytest.mark.parametrize("length", [0, 1, 31])
def test_a_first_message_that_is_too_short(length: int) -> None:
    responder = Handshake(RESPONDER, noise_xx(BOB))
    responder.receive_data(length.to_bytes(2, "big") + bytes(length))
    with pytest.raises(InvalidMessage, match="-> e: a Noise message is too short; expected 32 bytes and more"):
        responder.next_event()
    assert responder.data_to_send() == b""


def test_a_message_over_the_limit_is_refused_on_its_prefix() -> None:
    responder = Handshake(RESPONDER, replace(noise_xx(BOB), limits=Limits(message=4096)))
    responder.receive_data((4097).to_bytes(2, "big"))
    with pytest.raises(InvalidMessage, match="a prefix that announces 4097"):
        responder.next_event()


class Pinned(NoiseMessage):
    """Trust, as an application would add it: by replacing a step with one that looks at the static key."""

    def read(self, context: Context, message: bytes) -> None:
        super().read(context, message)
        if self.noise.remote["s"] != public(ALICE):
            raise AuthenticationFailed("not the key we know")


def test_an_application_pins_a_static_key_with_a_step_of_its_own() -> None:
    def pinned() -> Profile:
        def steps() -> list[NoiseMessage]:
            noise = Noise("ChaChaPoly", BOB, b"", (b"", b"", b""))
            first, second, _ = (NoiseMessage(noise, n, sender, tokens) for n, (sender, tokens) in enumerate(XX))
            return [first, second, Pinned(noise, 2, *XX[2])]

        return Profile("pinned", steps, LengthPrefixedStream)

    succeed(run(noise_xx(ALICE), pinned()))
    pair = run(noise_xx(X25519PrivateKey.generate()), pinned())
    assert isinstance(pair.responder.error, AuthenticationFailed)
    assert pair.responder.handshake.session is None


# ---------------------------------------------------------------- the official vectors, where they are there

VECTORS = Path(__file__).parents[2] / ".." / "shared" / "vectors" / "cacophony.json"


class FixedEphemeral(Entropy):
    """Gives one ephemeral key, from a vector."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = X25519PrivateKey.from_private_bytes(bytes.fromhex(key))

    def ephemeral_key(self, algorithm: str) -> Any:
        assert algorithm == "X25519"
        return self._key


@pytest.mark.parametrize("cipher", CIPHERS)
def test_the_official_vectors(cipher: str) -> None:
    if not VECTORS.is_file():
        pytest.skip("the official Noise vectors are not beside this project")
    name = f"Noise_XX_25519_{cipher}_SHA256"
    (vector,) = [one for one in json.loads(VECTORS.read_text("utf-8"))["vectors"] if one["protocol_name"] == name]
    messages = vector["messages"]
    payloads = tuple(bytes.fromhex(message["payload"]) for message in messages[:3])

    def end(role: Role, prefix: str) -> Handshake:
        static = X25519PrivateKey.from_private_bytes(bytes.fromhex(vector[f"{prefix}_static"]))
        prologue = bytes.fromhex(vector[f"{prefix}_prologue"])
        profile = noise_xx(static, cipher=cipher, prologue=prologue, payloads=payloads)
        return Handshake(role, profile, entropy=FixedEphemeral(vector[f"{prefix}_ephemeral"]))

    pair = succeed(run(end(INITIATOR, "init"), end(RESPONDER, "resp")))
    sent = [pair.initiator.flights[0], pair.responder.flights[0], pair.initiator.flights[1]]
    assert [flight[2:].hex() for flight in sent] == [message["ciphertext"] for message in messages[:3]]
    (_, first_hash, *initiator), (_, second_hash, *responder) = results(pair)
    assert first_hash.hex() == second_hash.hex() == vector["handshake_hash"]
    for number, message in enumerate(messages[3:]):
        sending = responder[0] if number % 2 == 0 else initiator[0]
        assert sending.encrypt(b"", bytes.fromhex(message["payload"])).hex() == message["ciphertext"]
