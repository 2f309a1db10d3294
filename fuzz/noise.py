"""Fuzzes Noise: names, the pattern notation, handshakes in both roles and what comes behind them, datagrams.

The first byte chooses what is fed. Names and patterns may only raise `ValueError`; a pattern that is valid is played between
two ends, which must agree. Engines, channels and datagrams may only raise `HandshakeError`; half of them run with a cipher
that has no security, so that altered messages reach what lies behind the tag.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from fuzz.checks import Finding, check_text
from fuzz.insecure import NullCipher, replaced
from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    Channel,
    DatagramChannel,
    Entropy,
    Handshake,
    HandshakeError,
    PeerClosed,
    Profile,
    Role,
    State,
    profiles,
    trust,
)
from nautilus_core.noise import CipherState, HandshakePattern, NoiseProtocol, handshake_pattern
from nautilus_core.noise.functions import CIPHER_FUNCTIONS, DH_FUNCTIONS
from nautilus_core.testing import Pair

SUITE: Final = "25519_ChaChaPoly_SHA256"
PATTERNS: Final = ("XX", "IK", "NNpsk0", "IX", "KK", "X", "X1X1", "XXpsk3")
_MOST_TOKENS: Final = 24
_MOST_EVENTS: Final = 10_000

_DH: Final = DH_FUNCTIONS["25519"]
KEYS: Final = {INITIATOR: _DH.key_pair(b"\x01" * 32), RESPONDER: _DH.key_pair(b"\x02" * 32)}


class _Fixed(Entropy):
    """The same ephemeral key every time."""

    def __init__(self, role: Role) -> None:
        self._key = _DH.key_pair(bytes((3 + (role is INITIATOR),)) * 32).private

    def ephemeral_key(self, algorithm: str) -> Any:
        return self._key


def _profile(made: HandshakePattern, role: Role, name: str, **more: Any) -> Profile:
    arguments: dict[str, Any] = {"psks": [bytes(32)] * made.psk_count, **more}
    if made.static_of(role):
        arguments["static"] = KEYS[role]
    if "s" in made.pre_messages[role.peer]:
        arguments["remote_static"] = KEYS[role.peer].public
    elif made.sends_static(role.peer):
        arguments["trust"] = trust.anyone(anonymous=True)
    return profiles.noise(name, **arguments)


def _engine(number: int, role: Role) -> Handshake:
    called = PATTERNS[number % len(PATTERNS)]
    more = {"rekey_after": 2, "close_message": True} if number & 8 else {}
    made = _profile(handshake_pattern(called), role, f"Noise_{called}_{SUITE}", **more)
    return Handshake(role, made, entropy=_Fixed(role))


def _name(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        protocol = NoiseProtocol.parse(data.decode("latin-1"))
        if NoiseProtocol.parse(protocol.name) is not protocol:
            raise Finding("a name that is not its protocol's")


def _pattern(data: bytes) -> None:
    text = data.decode("latin-1")
    try:
        pattern = HandshakePattern.parse(text, "Fuzzed")
    except ValueError:
        return
    if HandshakePattern.parse(str(pattern), "Fuzzed") != pattern:
        raise Finding(f"{pattern} is not printed as it is parsed")
    if any("e" in keys for keys in pattern.pre_messages.values()) or pattern.has_kem:
        return
    if sum(len(message.tokens) for message in pattern.messages) > _MOST_TOKENS or pattern.first_sender is RESPONDER:
        return
    name = f"Noise_Fuzzed_{SUITE}"
    ends = [_profile(pattern, role, name, pattern=pattern) for role in Role]
    pair = Pair(ends[0], ends[1], close=False).run()
    if pair.initiator.session.channel_binding != pair.responder.session.channel_binding:
        raise Finding(f"{pattern}: two handshake hashes")


def _drain(channel: Channel) -> None:
    for _ in range(_MOST_EVENTS):
        event = channel.next_event()
        if event is NEED_DATA or isinstance(event, PeerClosed):
            return
    raise Finding("events without end")


def _handshake(data: bytes) -> None:
    """Byte 0: the pattern and options; byte 1: the role and the size of the pieces; the rest is the peer's."""
    if len(data) < 3:
        return
    role = INITIATOR if data[1] & 1 else RESPONDER
    engine = _engine(data[0], role)
    size = data[1] >> 1 or len(data)
    channel: Channel | None = None
    engine.next_event()
    try:
        for piece in [*(data[place : place + size] for place in range(2, len(data), size)), b""]:
            if channel is None:
                engine.receive_data(piece)
                for _ in range(_MOST_EVENTS):
                    engine.data_to_send()
                    if engine.session is not None or engine.next_event() is NEED_DATA:
                        break
                engine.data_to_send()
                if engine.session is not None:
                    channel = engine.session.channel()
                    _drain(channel)
            else:
                channel.receive_data(piece)
                _drain(channel)
                channel.data_to_send()
    except HandshakeError as error:
        check_text(error, [bytes([1]) * 32, bytes([2]) * 32])
        if engine.session is None and engine.data_to_send():
            raise Finding("Noise sends no alerts") from None
        if channel is not None and channel.data_to_send():
            raise Finding("a failed channel sends") from None
        if channel is None and (engine.session is not None or engine.state is not State.FAILED):
            raise Finding(f"{engine!r} after {error!r}") from None
        _check_failed_for_good(channel or engine, error)


def _check_failed_for_good(failed: Channel | Handshake, error: HandshakeError) -> None:
    try:
        failed.next_event()
    except HandshakeError as again:
        if again is not error:
            raise Finding(f"{again!r} after {error!r}") from None
    else:
        raise Finding(f"an event after {error!r}")


def _datagrams(data: bytes) -> None:
    """Datagrams of a 1-byte length; those that open must have a new number."""
    functions = CIPHER_FUNCTIONS["ChaChaPoly"]
    channel = DatagramChannel(writing=None, reading=CipherState(functions, bytes(32)).numbered(), window=8)
    opened: set[bytes] = set()
    while data:
        length, datagram, data = data[0], data[1 : 1 + data[0]], data[1 + data[0] :]
        with contextlib.suppress(HandshakeError):
            channel.open(datagram[:length])
            if datagram[:8] in opened:
                raise Finding("a datagram opened twice")
            opened.add(datagram[:8])


TARGETS: Final[list[Callable[[bytes], None]]] = [_name, _pattern, _handshake, _handshake, _datagrams]


@contextlib.contextmanager
def _insecure() -> Iterator[None]:
    with replaced(CIPHER_FUNCTIONS["ChaChaPoly"], "new", NullCipher):
        yield


def one_input(data: bytes) -> None:
    """One input; raises whatever is not allowed."""
    if not data:
        return
    number = data[0] % len(TARGETS)
    with _insecure() if number >= 3 else contextlib.nullcontext():
        TARGETS[number](data[1:])


def _recorded(number: int, role: Role) -> bytes:
    """What the peer of `role` sends in a whole handshake, and a little data behind it."""
    pair = Pair(_engine(number, INITIATOR), _engine(number, RESPONDER), close=False).run()
    peer = pair.responder if role is INITIATOR else pair.initiator
    sent = b"".join(peer.flights)
    channel = peer.session.channel()
    with contextlib.suppress(Exception):  # in a one-way pattern one of them does not send
        for data in (b"one", b"two" * 100, b"three"):
            channel.send_data(data)
    channel.close()
    return sent + bytes(channel.data_to_send())


def seeds() -> dict[str, bytes]:
    """Inputs that get somewhere, by name."""
    made = {
        "name": b"\0Noise_XXpsk3_25519_ChaChaPoly_SHA256",
        "name-hfs": b"\0Noise_XXhfs+psk0_25519+MLKEM768_AESGCM_BLAKE2b",
        "name-fallback": b"\0Noise_XXfallback_448_AESGCM_SHA512",
    }
    for called in ("XX", "IKpsk1+psk2", "X1X1", "Kpsk0", "XXfallback", "NNhfs"):
        made[f"pattern-{called}"] = b"\x01" + str(handshake_pattern(called)).encode()
    for number in range(2 * len(PATTERNS)):
        for role in Role:
            options = bytes((number, (role is INITIATOR) + 2 * (number % 3) * 20))
            made[f"handshake-{number}-{role.value}"] = b"\x02" + options + _recorded(number, role)
            with _insecure():
                made[f"insecure-{number}-{role.value}"] = b"\x03" + options + _recorded(number, role)
    with _insecure():
        sender = DatagramChannel(
            writing=CipherState(CIPHER_FUNCTIONS["ChaChaPoly"], bytes(32)).numbered(), reading=None
        )
        sent = [sender.seal(b"%d" % number) for number in range(12)]
    order = (0, 3, 1, 2, 2, 11, 4, 10, 3)
    made["datagrams"] = b"\x04" + b"".join(bytes((len(sent[number]),)) + sent[number] for number in order)
    return made
