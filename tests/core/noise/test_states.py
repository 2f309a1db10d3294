"""`CipherState`, `SymmetricState` and `HandshakeState` by themselves: nonces, rekey, turns, poison, what leaks out."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from nautilus_core import INITIATOR, RESPONDER, InvalidMessage, KeyAgreementFailed, LocalProtocolError, Role
from nautilus_core.noise import CipherState, HandshakeState, NoiseProtocol, RemoteKey, SymmetricState
from nautilus_core.noise.functions import CIPHER_FUNCTIONS, HASH_FUNCTIONS

from .helpers import KEYS, PSKS

KEY = bytes(range(32))
CIPHERS = pytest.mark.parametrize("name", CIPHER_FUNCTIONS)
LAST = 2**64 - 1


def state(name: str = "ChaChaPoly", n: int = 0) -> CipherState:
    """A state whose next nonce is `n`."""
    made = CipherState(CIPHER_FUNCTIONS[name], KEY)
    made._n = n
    return made


def by_hand(name: str, n: int, plaintext: bytes, ad: bytes) -> bytes:
    """Sections 12.3 and 12.4, from the words of the specification."""
    if name == "ChaChaPoly":
        return ChaCha20Poly1305(KEY).encrypt(bytes(4) + n.to_bytes(8, "little"), plaintext, ad)
    return AESGCM(KEY).encrypt(bytes(4) + n.to_bytes(8, "big"), plaintext, ad)


@CIPHERS
@pytest.mark.parametrize("n", [0, 1, 255, 2**32, LAST - 1])
def test_the_nonce_is_the_ciphers_own(name: str, n: int) -> None:
    assert state(name, n).encrypt_with_ad(b"ad", b"plain") == by_hand(name, n, b"plain", b"ad")


def test_without_a_key_nothing_is_encrypted() -> None:
    empty = CipherState(CIPHER_FUNCTIONS["AESGCM"])
    assert not empty.has_key()
    assert empty.encrypt_with_ad(b"ad", b"plain") == b"plain"
    assert empty.decrypt_with_ad(b"ad", b"plain") == b"plain"
    assert empty.n == 0
    with pytest.raises(LocalProtocolError, match="without a key"):
        empty.rekey()


@CIPHERS
def test_the_last_nonce_is_refused(name: str) -> None:
    sender, receiver = state(name, LAST - 1), state(name, LAST - 1)
    assert receiver.decrypt_with_ad(b"", sender.encrypt_with_ad(b"", b"last")) == b"last"
    assert sender.n == receiver.n == LAST
    for _ in range(2):
        with pytest.raises(LocalProtocolError, match="all the messages it may"):
            sender.encrypt_with_ad(b"", b"one more")
        with pytest.raises(InvalidMessage, match="used up its key"):
            receiver.decrypt_with_ad(b"", by_hand(name, LAST, b"one more", b""))
    assert sender.n == receiver.n == LAST


def test_the_last_nonce_is_refused_in_batches() -> None:
    sender = state(n=LAST - 2)
    with pytest.raises(LocalProtocolError, match="all the messages it may"):
        sender.encrypt_all([b"1", b"2", b"3"])
    assert sender.n == LAST - 2
    sealed = sender.encrypt_all([b"1", b"2"])
    assert sender.n == LAST
    receiver = state(n=LAST - 2)
    opened: list[bytes] = []
    with pytest.raises(InvalidMessage, match="used up its key"):
        receiver.decrypt_all([*sealed, sealed[0]], opened)
    assert (opened, receiver.n) == ([b"1", b"2"], LAST)


def test_a_forged_message_moves_no_nonce() -> None:
    sender, receiver = state(), state()
    sealed = sender.encrypt_with_ad(b"ad", b"plain")
    for forged in (sealed[:-1] + bytes((sealed[-1] ^ 1,)), sealed[:15], b"", sealed + b"x"):
        with pytest.raises(InvalidMessage, match="does not decrypt"):
            receiver.decrypt_with_ad(b"ad", forged)
        assert receiver.n == 0
    with pytest.raises(InvalidMessage):
        receiver.decrypt_with_ad(b"another", sealed)
    assert receiver.decrypt_with_ad(b"ad", sealed) == b"plain"
    with pytest.raises(InvalidMessage):
        receiver.decrypt_with_ad(b"ad", sealed)
    assert receiver.n == 1


def test_in_a_batch_what_stands_before_the_forgery_is_kept() -> None:
    sender, receiver = state(), state()
    first, second, third = sender.encrypt_all([b"1", b"2", b"3"])
    opened: list[bytes] = []
    with pytest.raises(InvalidMessage, match="ciphertext number 1"):
        receiver.decrypt_all([first, third, second], opened)
    assert (opened, receiver.n) == ([b"1"], 1)


def test_an_encryption_that_fails_uses_its_nonce_up() -> None:
    sender = state()
    wrong: Any = "no bytes"
    with pytest.raises(TypeError):
        sender.encrypt_with_ad(b"", wrong)
    assert sender.n == 1


@CIPHERS
def test_rekey_is_the_specifications(name: str) -> None:
    """Section 4.2: the first 32 bytes of ENCRYPT(k, maxnonce, zerolen, zeros); n goes on."""
    sender, receiver = state(name), state(name)
    receiver.decrypt_with_ad(b"", sender.encrypt_with_ad(b"", b"before"))
    sender.rekey()
    fresh = CipherState(CIPHER_FUNCTIONS[name], by_hand(name, LAST, bytes(32), b"")[:32])
    fresh._n = 1
    sealed = sender.encrypt_with_ad(b"", b"after")
    assert sealed == fresh.encrypt_with_ad(b"", b"after")
    assert sender.n == 2
    with pytest.raises(InvalidMessage):
        receiver.decrypt_with_ad(b"", sealed)
    receiver.rekey()
    assert receiver.decrypt_with_ad(b"", sealed) == b"after"


def test_a_key_goes_to_messages_in_order_or_to_numbered_ones() -> None:
    used, fresh = state(), state()
    used.encrypt_with_ad(b"", b"x")
    with pytest.raises(LocalProtocolError, match="its nonces would come again"):
        used.numbered()
    numbered = fresh.numbered()
    assert numbered.seal_at(7, b"x") == by_hand("ChaChaPoly", 7, b"x", b"")
    assert not fresh.has_key()
    with pytest.raises(AttributeError):
        used.n = 0  # type: ignore[misc]


def test_a_key_that_was_dropped_lets_nothing_pass_in_the_clear() -> None:
    given_away, forgotten, rested = state(), state(), state()
    given_away.numbered()
    forgotten.forget()
    rested.forget()
    rested.rest()
    for gone in (given_away, forgotten, rested):
        assert not gone.has_key()
        with pytest.raises(LocalProtocolError, match="this key is gone"):
            gone.encrypt_with_ad(b"", b"secret")
        with pytest.raises(LocalProtocolError, match="this key is gone"):
            gone.decrypt_with_ad(b"", b"forged, and long enough for a tag")
        with pytest.raises(LocalProtocolError, match="without a key"):
            gone.rekey()
    after = SymmetricState(NoiseProtocol.parse("Noise_NN_25519_ChaChaPoly_SHA256"))
    after.mix_key(KEY)
    after.split()
    with pytest.raises(LocalProtocolError, match="this key is gone"):
        after.encrypt_and_hash(b"secret")
    given_away.initialize_key(KEY)
    assert given_away.encrypt_with_ad(b"", b"x") == by_hand("ChaChaPoly", 0, b"x", b"")


def test_a_symmetric_state_begins_with_the_name() -> None:
    """Section 5.2: a name of at most HASHLEN bytes is padded, a longer one is hashed."""
    short = SymmetricState(NoiseProtocol.parse("Noise_NN_448_AESGCM_SHA256"))
    assert short.get_handshake_hash() == b"Noise_NN_448_AESGCM_SHA256".ljust(32, b"\0")
    long = "Noise_XXpsk3_25519_ChaChaPoly_SHA256"
    assert SymmetricState(NoiseProtocol.parse(long)).h == HASH_FUNCTIONS["SHA256"].function.digest(long.encode())


# ---------------------------------------------------------------- HandshakeState


def ends(pattern: str = "XX") -> tuple[HandshakeState, HandshakeState]:
    """Both sides of a pattern, with the fixed static keys."""
    protocol = NoiseProtocol.parse(f"Noise_{pattern}_25519_ChaChaPoly_SHA256")

    def side(role: Role) -> HandshakeState:
        own, _, known, _ = protocol.plans[role].needs
        return HandshakeState(
            protocol,
            role,
            s=KEYS["25519"][role] if own else None,
            rs=protocol.dh.remote_key(KEYS["25519"][role.peer].public) if known else None,
            psks=PSKS[: protocol.plans[role].psks],
        )

    return side(INITIATOR), side(RESPONDER)


def test_a_handshake_by_hand() -> None:
    alice, bob = ends()
    assert bob.read_message(alice.write_message(b"in the clear")) == b"in the clear"
    assert alice.remote_static is None
    assert alice.read_message(bob.write_message(b"sealed")) == b"sealed"
    assert alice.remote_static == KEYS["25519"][RESPONDER].public
    assert bob.read_message(alice.write_message()) == b""
    assert bob.remote_static == KEYS["25519"][INITIATOR].public
    assert alice.finished
    assert alice.handshake_hash == bob.handshake_hash
    assert alice.remote_ephemeral != bob.remote_ephemeral
    (sending, _), (receiving, back) = alice.split(), bob.split()
    assert receiving.decrypt_with_ad(b"", sending.encrypt_with_ad(b"", b"hello")) == b"hello"
    assert back.has_key()
    for end in (alice, bob):
        with pytest.raises(LocalProtocolError, match="failed, or was split"):
            end.split()
        with pytest.raises(LocalProtocolError, match="failed, or was split"):
            end.write_message()


def test_out_of_turn() -> None:
    alice, bob = ends()
    with pytest.raises(LocalProtocolError, match="this side is to write message 0, not to read it"):
        alice.read_message(bytes(32))
    with pytest.raises(LocalProtocolError, match="this side is to read message 0, not to write it"):
        bob.write_message()
    with pytest.raises(LocalProtocolError, match="nothing to split yet"):
        alice.split()
    for sender, receiver in ((alice, bob), (bob, alice), (alice, bob)):
        receiver.read_message(sender.write_message())
    with pytest.raises(LocalProtocolError, match="no more messages"):
        bob.write_message()
    assert [cipher.n for cipher in alice.split()] == [0, 0]


def test_a_payload_that_does_not_fit_spoils_nothing() -> None:
    alice, bob = ends()
    with pytest.raises(LocalProtocolError, match="room for 65503"):
        alice.write_message(bytes(65_504))
    assert len(bob.read_message(alice.write_message(bytes(65_503)))) == 65_503


@pytest.mark.parametrize("length", [0, 31, 65_536])
def test_a_message_of_a_wrong_length_poisons(length: int) -> None:
    _, bob = ends()
    with pytest.raises(InvalidMessage, match="too short" if length < 32 else "too long"):
        bob.read_message(bytes(length))
    with pytest.raises(LocalProtocolError, match="failed"):
        bob.read_message(bytes(32))


@pytest.mark.parametrize("pattern", ["XX", "IK", "NNpsk0", "KK", "XXpsk3"])
def test_a_tampered_tag_poisons(pattern: str) -> None:
    alice, bob = ends(pattern)
    message = alice.write_message()
    if pattern.startswith("XX"):
        bob.read_message(message)
        alice, bob, message = bob, alice, bob.write_message()
    with pytest.raises(InvalidMessage, match="does not decrypt"):
        bob.read_message(message[:-1] + bytes((message[-1] ^ 0x80,)))
    for call in (bob.write_message, bob.split, bob.split_keys, lambda: bob.read_message(message)):
        with pytest.raises(LocalProtocolError, match="failed"):
            call()
    assert not bob._symmetric.cipher.has_key()
    assert (bob._s, bob._e, bob._symmetric._ck) == (None, None, b"")


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), bytes.fromhex("ecffffff" + "ff" * 27 + "7f")])
def test_low_order_points_fail_at_every_dh(point: bytes) -> None:
    """As an ephemeral key at `ee`, as a known static key at `es`, as a sent static key at `es`."""
    _, bob = ends("NN")
    bob.read_message(point)
    with pytest.raises(KeyAgreementFailed, match="all-zero secret"):
        bob.write_message()
    protocol = NoiseProtocol.parse("Noise_NK_25519_ChaChaPoly_SHA256")
    alice = HandshakeState(protocol, INITIATOR, rs=RemoteKey(point, protocol.dh.parse(point)))
    with pytest.raises(KeyAgreementFailed, match="all-zero secret"):
        alice.write_message()
    sender, receiver = ends("IN")
    sender._s_public = point
    receiver.read_message(sender.write_message())
    with pytest.raises(KeyAgreementFailed, match="all-zero secret"):
        receiver.write_message()
    with pytest.raises(LocalProtocolError, match="failed"):
        receiver.write_message()


def test_low_order_points_of_448() -> None:
    protocol = NoiseProtocol.parse("Noise_NN_448_AESGCM_SHA512")
    for point in (bytes(56), b"\x01" + bytes(55)):
        bob = HandshakeState(protocol, RESPONDER)
        bob.read_message(point)
        with pytest.raises(KeyAgreementFailed, match="a 448 key of the peer"):
            bob.write_message()


@pytest.mark.parametrize(
    ("pattern", "error", "text"),
    [
        ("NN", KeyAgreementFailed, "our own ephemeral key came back"),
        ("XX", KeyAgreementFailed, "our own ephemeral key came back"),
        ("KK", KeyAgreementFailed, "our own ephemeral key came back"),
        ("NNpsk0", KeyAgreementFailed, "our own ephemeral key came back"),
        ("XXfallback", InvalidMessage, "does not decrypt"),
    ],
)
def test_our_own_message_that_comes_back(pattern: str, error: type[Exception], text: str) -> None:
    """Padded, where the next message is longer than our own."""
    if pattern == "XXfallback":  # Bob's own message in the place of Alice's, which has no e
        protocol = NoiseProtocol.parse(f"Noise_{pattern}_25519_ChaChaPoly_SHA256")
        sender = HandshakeState(
            protocol,
            RESPONDER,
            s=KEYS["25519"][RESPONDER],
            re=protocol.dh.remote_key(KEYS["25519"][INITIATOR].public),
        )
    else:
        sender, _ = ends(pattern)
    message = sender.write_message()
    with pytest.raises(error, match=text):
        sender.read_message(message + bytes(max(0, 96 - len(message))))
    with pytest.raises(LocalProtocolError, match="failed"):
        sender.write_message()


def test_a_kem_key_that_is_none() -> None:
    protocol = NoiseProtocol.parse("Noise_NNhfs_25519+MLKEM768_ChaChaPoly_SHA256")
    bob = HandshakeState(protocol, RESPONDER)
    bob.read_message(KEYS["25519"][INITIATOR].public + b"\xff" * 1184)
    with pytest.raises(KeyAgreementFailed, match="no MLKEM768 encapsulation key"):
        bob.write_message()


@pytest.mark.parametrize("kem", ["MLKEM768", "MLKEM1024"])
@pytest.mark.parametrize("pattern", ["NNhfs", "XXhfs", "IKhfs", "KKhfs", "NKhfs", "XXhfs+psk0", "XXfallback"])
def test_hybrid_handshakes_agree(pattern: str, kem: str) -> None:
    dh = f"25519+{kem}" if "hfs" in pattern else "25519"
    protocol = NoiseProtocol.parse(f"Noise_{pattern}_{dh}_AESGCM_BLAKE2s")
    keys = KEYS["25519"]
    ephemeral = protocol.dh.key_pair(bytes([7]) * 32)
    sides = {}
    for role in Role:
        own_static, own_ephemeral, known, known_ephemeral = protocol.plans[role].needs
        sides[role] = HandshakeState(
            protocol,
            role,
            s=keys[role] if own_static else None,
            e=ephemeral if own_ephemeral else None,
            rs=protocol.dh.remote_key(keys[role.peer].public) if known else None,
            re=protocol.dh.remote_key(ephemeral.public) if known_ephemeral else None,
            psks=PSKS[: protocol.plans[role].psks],
        )
    for message in protocol.pattern.messages:
        sender = sides[message.sender]
        assert sides[message.sender.peer].read_message(sender.write_message(b"payload")) == b"payload"
    assert sides[INITIATOR].handshake_hash == sides[RESPONDER].handshake_hash
    assert sides[INITIATOR].split_keys() == sides[RESPONDER].split_keys()


def test_in_a_psk_handshake_an_ephemeral_key_of_a_pre_message_is_a_key_too() -> None:
    """Section 9.2: MixKey is called where a pre-message has an `e`, so that what comes first is encrypted already."""
    protocol = NoiseProtocol.parse("Noise_Mine_25519_ChaChaPoly_SHA256", "-> e ... <- s, e, ee, es, psk -> psk")
    keys = KEYS["25519"]
    alice = HandshakeState(protocol, INITIATOR, e=keys[INITIATOR], psks=PSKS[:2])
    known = protocol.dh.remote_key(keys[INITIATOR].public)
    bob = HandshakeState(protocol, RESPONDER, s=keys[RESPONDER], re=known, psks=PSKS[:2])
    message = bob.write_message(b"one")
    assert len(message) == protocol.plans[RESPONDER].messages[0].overhead + 3 == 32 + 16 + 32 + 3 + 16
    assert alice.read_message(message) == b"one"
    assert bob.read_message(alice.write_message(b"two")) == b"two"
    assert alice.handshake_hash == bob.handshake_hash


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "the initiator needs its static key (s)"),
        ({"s": KEYS["25519"][INITIATOR], "rs": KEYS["25519"][RESPONDER]}, "does not take the peer's static key (rs)"),
        ({"s": KEYS["25519"][INITIATOR], "e": KEYS["25519"][INITIATOR]}, "does not take its ephemeral key (e)"),
        ({"s": KEYS["25519"][INITIATOR], "psks": [bytes(32)]}, "takes 0 psks, not 1"),
    ],
)
def test_missing_and_superfluous_keys(arguments: dict[str, Any], text: str) -> None:
    protocol = NoiseProtocol.parse("Noise_XX_25519_ChaChaPoly_SHA256")
    with pytest.raises(ValueError) as caught:
        HandshakeState(protocol, INITIATOR, **arguments)
    assert text in str(caught.value)


def test_no_secret_in_any_repr() -> None:
    alice, bob = ends("XXpsk0")
    bob.read_message(alice.write_message())
    shown = repr([alice, alice._symmetric, alice._symmetric.cipher, KEYS["25519"], alice.protocol, bob])
    for secret in (alice._symmetric._ck, alice._symmetric.cipher._key or b"", bytes([0x11]) * 32, PSKS[0]):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
