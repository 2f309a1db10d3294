"""The three states in bad hands: points of small order in every pattern, interruptions, garbage; and what is left of a secret."""

from __future__ import annotations

import random
from typing import Any, Final

import pytest

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    Entropy,
    HandshakeError,
    InvalidMessage,
    KeyAgreementFailed,
    LocalProtocolError,
    Role,
)
from nautilus_core.noise import CipherState, HandshakeState, KeyPair, NoiseProtocol, RemoteKey
from nautilus_core.noise.functions import CIPHER_FUNCTIONS, DH_FUNCTIONS

from .helpers import ALL_NAMED, KEYS, PSKS

P_25519: Final = 2**255 - 19
SMALL: Final[dict[str, list[bytes]]] = {
    "25519": [
        *(value.to_bytes(32, "little") for value in (0, 1, P_25519 - 1, P_25519, P_25519 + 1)),
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        (2**255).to_bytes(32, "little"),
    ],
    "448": [
        *((value % 2**448).to_bytes(56, "little") for value in (0, 1, 2**448 - 2**224 - 2, 2**448 - 2**224 - 1)),
    ],
}
"""All points of small order, with encodings that are not canonical, and one with the bit set that is to be ignored."""

HYBRIDS: Final = ("NNhfs", "XXhfs", "IKhfs+psk2")


def state(pattern: str, role: Role, dh: str = "25519", **changes: Any) -> HandshakeState:
    """One side of a pattern, with fixed keys."""
    part = f"{dh}+MLKEM768" if "hfs" in pattern else dh
    protocol = NoiseProtocol.parse(f"Noise_{pattern}_{part}_ChaChaPoly_SHA256")
    own, _, known, _ = protocol.plans[role].needs
    keys: dict[str, Any] = {
        "s": KEYS[dh][role] if own else None,
        "rs": protocol.dh.remote_key(KEYS[dh][role.peer].public) if known else None,
        "psks": PSKS[: protocol.plans[role].psks],
    }
    return HandshakeState(protocol, role, **{**keys, **changes})


def assert_poisoned(one: HandshakeState) -> None:
    """Every call is refused, and no key is left."""
    for call in (one.write_message, one.split, one.split_keys, lambda: one.read_message(bytes(200))):
        with pytest.raises(LocalProtocolError, match="failed, or was split"):
            call()
    assert (one._s, one._e, one._rs, one._re, one._kem_key) == (None,) * 5
    assert (tuple(one._psks), one._symmetric._ck) == ((), b"")
    assert not one._symmetric.cipher.has_key()
    with pytest.raises(LocalProtocolError, match="this key is gone"):
        one._symmetric.cipher.encrypt_with_ad(b"", b"nothing passes in the clear")


class Fixed(Entropy):
    """Makes one public key in the place of ephemeral ones, and DHs that come out as anything."""

    def __init__(self, public: bytes) -> None:
        self.public = public

    def ephemeral_key(self, algorithm: str) -> Any:
        return self

    def public_key(self) -> Any:
        return self

    def public_bytes_raw(self) -> bytes:
        return self.public

    def exchange(self, *keys: Any) -> bytes:
        return bytes(len(self.public))


@pytest.mark.parametrize("dh", DH_FUNCTIONS)
@pytest.mark.parametrize("pattern", ALL_NAMED)
def test_no_pattern_goes_on_with_a_point_of_small_order(pattern: str, dh: str) -> None:
    """All keys of the attacker are that point, also one that the victim was given; she computes on with the zeros."""
    for point in SMALL[dh]:
        key = KeyPair(point, Fixed(point))
        for role in Role:
            protocol = state(pattern, role, dh).protocol
            given = RemoteKey(point, protocol.dh.parse(point)) if protocol.plans[role].needs[2] else None
            own = key if protocol.plans[role.peer].needs[0] else None
            victim = state(pattern, role, dh, rs=given)
            sides = {role: victim, role.peer: state(pattern, role.peer, dh, s=own, entropy=Fixed(point))}
            with pytest.raises(KeyAgreementFailed) as caught:
                for message in protocol.pattern.messages:
                    sides[message.sender.peer].read_message(sides[message.sender].write_message())
            assert isinstance(caught.value.__cause__, ValueError)
            assert_poisoned(victim)


@pytest.mark.parametrize("dh", DH_FUNCTIONS)
def test_a_point_of_small_order_is_refused_while_a_message_is_read(dh: str) -> None:
    """XX: Bob's ephemeral key, at `ee`; NK: Bob's known static key, where Alice would send."""
    for point in SMALL[dh]:
        alice = state("XX", INITIATOR, dh)
        alice.write_message()
        with pytest.raises(KeyAgreementFailed, match=f"a {dh} key of the peer leads to an all-zero secret"):
            alice.read_message(point + bytes(200))
        assert_poisoned(alice)
        parse = DH_FUNCTIONS[dh].parse
        dialer = state("NK", INITIATOR, dh, rs=RemoteKey(point, parse(point)))
        with pytest.raises(KeyAgreementFailed):
            dialer.write_message()
        assert_poisoned(dialer)


class Broken(Entropy):
    """Fails where it is told to: at an ephemeral key, a DH of the static key, a psk or an encapsulation."""

    def __init__(self, at: str, error: BaseException) -> None:
        self.at, self.error = at, error

    def _fail(self, at: str) -> None:
        if at == self.at:
            raise self.error

    def ephemeral_key(self, algorithm: str) -> Any:
        self._fail("ephemeral")
        return super().ephemeral_key(algorithm)

    def exchange(self, private_key: Any, peer: Any) -> bytes:
        self._fail("exchange")
        return super().exchange(private_key, peer)

    def extract(self, function: Any, salt: bytes, secret: bytes) -> bytes:
        self._fail("extract")
        return super().extract(function, salt, secret)

    def encapsulate(self, public_key: Any) -> Any:
        self._fail("encapsulate")
        return super().encapsulate(public_key)


@pytest.mark.parametrize("error", [OSError("the token was pulled out"), KeyboardInterrupt(), KeyAgreementFailed("x")])
@pytest.mark.parametrize("at", ["ephemeral", "exchange", "extract"])
@pytest.mark.parametrize("role", Role)
def test_whatever_ends_a_message_half_way_poisons(role: Role, at: str, error: BaseException) -> None:
    """Also what is no error of ours, in writing and in reading."""
    sides = {INITIATOR: state("KKpsk0", INITIATOR), RESPONDER: state("KKpsk0", RESPONDER)}
    victim = sides[role] = state("KKpsk0", role, entropy=Broken(at, error))
    with pytest.raises(type(error)):
        for message in victim.protocol.pattern.messages:
            sides[message.sender.peer].read_message(sides[message.sender].write_message())
    assert_poisoned(victim)


def test_an_encapsulation_that_fails_poisons() -> None:
    alice, bob = state("NNhfs", INITIATOR), state("NNhfs", RESPONDER, entropy=Broken("encapsulate", OSError("no")))
    bob.read_message(alice.write_message())
    with pytest.raises(OSError, match="no"):
        bob.write_message()
    assert_poisoned(bob)


@pytest.mark.parametrize("pattern", ["XXpsk3", "NNpsk0", "NNhfs", "K"])
def test_whoever_has_split_has_no_key_left(pattern: str) -> None:
    for take in ("split", "split_keys"):
        sides = {role: state(pattern, role) for role in Role}
        for message in sides[INITIATOR].protocol.pattern.messages:
            sides[message.sender.peer].read_message(sides[message.sender].write_message())
        for side in sides.values():
            getattr(side, take)()
            assert_poisoned(side)


@pytest.mark.parametrize("pattern", [*ALL_NAMED, *HYBRIDS])
def test_garbage_of_any_length_is_an_error_of_ours(pattern: str) -> None:
    """In the place of each message: noise, and the true message cut, lengthened, and with noise behind its first key."""
    source = random.Random(pattern)
    messages = state(pattern, INITIATOR).protocol.pattern.messages
    for number, message in enumerate(messages):
        for kind in range(8):
            sides = {role: state(pattern, role) for role in Role}
            for before in messages[:number]:
                sides[before.sender.peer].read_message(sides[before.sender].write_message(b"payload"))
            victim, true = sides[message.sender.peer], sides[message.sender].write_message(b"payload")
            plan = victim._plan
            assert plan is not None
            garbage = (
                b"",
                source.randbytes(source.randrange(1, plan.overhead)) if plan.overhead > 1 else b"",
                source.randbytes(plan.overhead),
                true[: plan.overhead - 1],
                true[:32] + source.randbytes(65_535 - 32),
                source.randbytes(65_536),
                true + b"x",
                true[:-1],
            )[kind]
            if not plan.has_key and plan.overhead <= len(garbage) <= 65_535:
                victim.read_message(garbage)  # any key is one, and any payload
                continue
            with pytest.raises(HandshakeError):
                victim.read_message(garbage)
            assert_poisoned(victim)


@pytest.mark.parametrize("name", CIPHER_FUNCTIONS)
def test_a_cipher_of_datagrams_raises_our_error(name: str) -> None:
    numbered = CipherState(CIPHER_FUNCTIONS[name], bytes(32)).numbered()
    sealed = numbered.seal_at(3, b"payload")
    assert numbered.open_at(3, sealed) == b"payload"
    for n, forged in ((4, sealed), (3, sealed[:-1]), (3, sealed[:15]), (3, b""), (3, sealed + b"x")):
        with pytest.raises(InvalidMessage, match=f"ciphertext number {n} under its key"):
            numbered.open_at(n, forged)


def test_a_batch_that_fails_uses_all_its_nonces_up() -> None:
    """The first of it were encrypted: other plaintexts under their nonces would give the key stream away."""
    cipher = CipherState(CIPHER_FUNCTIONS["AESGCM"], bytes(32))
    wrong: Any = "no bytes"
    with pytest.raises(TypeError):
        cipher.encrypt_all([b"one", wrong, b"three"])
    assert cipher.n == 3


@pytest.mark.parametrize(
    ("psks", "text"),
    [((), "takes 1 psks, not 0"), ((PSKS[0], PSKS[1]), "takes 1 psks, not 2"), ((b"short",), "a psk has 32 bytes")],
)
def test_a_state_counts_and_measures_its_psks(psks: tuple[bytes, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        state("NNpsk0", INITIATOR, psks=psks)


def test_no_error_says_a_secret() -> None:
    """Of a failure in mid-handshake: text, hint, representation, and the chain of causes."""
    alice, bob = state("XXpsk0", INITIATOR), state("XXpsk0", RESPONDER)
    bob.read_message(alice.write_message())
    answer = bytearray(bob.write_message(b"the payload is a secret"))
    secrets = [bob._symmetric._ck, bob._symmetric.cipher._key or b"", *PSKS[:1], bytes([0x22]) * 32, b"the payload is"]
    answer[-1] ^= 1
    with pytest.raises(InvalidMessage) as caught:
        alice.read_message(bytes(answer))
    error: BaseException | None = caught.value
    while error is not None:
        shown = f"{error} {error!r} {error.args}"
        for secret in secrets:
            assert secret.hex() not in shown
            assert repr(secret)[2:-1] not in shown
        error = error.__cause__ or error.__context__
    assert "private" not in repr(KeyPair(bytes(32), "a private handle"))
    assert "handle" not in repr(KeyPair(bytes(32), "a private handle"))
