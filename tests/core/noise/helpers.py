"""What the tests of Noise share: fixed keys, profiles for any pattern, entropy from recordings, and a played protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nautilus_core import INITIATOR, RESPONDER, Entropy, Handshake, Profile, Role, profiles, trust
from nautilus_core.noise import HandshakePattern, KeyPair, NoiseProtocol, handshake_pattern
from nautilus_core.noise.functions import DH_FUNCTIONS
from nautilus_core.noise.patterns import PATTERNS
from nautilus_core.testing import Pair

SUITE: Final = "25519_ChaChaPoly_SHA256"
PSK: Final = b"This is my Austrian perspective!"
PSKS: Final = tuple(bytes([number]) * 32 for number in range(1, 11))

MODIFIED: Final = (
    *(
        "NNpsk0",
        "NNpsk2",
        "NKpsk0",
        "NKpsk2",
        "NXpsk2",
        "XNpsk3",
        "XKpsk3",
        "XXpsk3",
        "KNpsk0",
        "KNpsk2",
        "KKpsk0",
        "KKpsk2",
    ),
    *("KXpsk2", "INpsk1", "INpsk2", "IKpsk1", "IKpsk2", "IXpsk2", "Npsk0", "Kpsk0", "Xpsk1"),
)
"""The psk patterns of section 9.4."""

ALL_NAMED: Final = (*PATTERNS, *MODIFIED)


def _pairs(name: str) -> Mapping[Role, KeyPair]:
    """One fixed key pair for each role."""
    functions = DH_FUNCTIONS[name]
    return {
        INITIATOR: functions.key_pair(bytes([0x11]) * functions.length),
        RESPONDER: functions.key_pair(bytes([0x22]) * functions.length),
    }


KEYS: Final = {name: _pairs(name) for name in DH_FUNCTIONS}


def needed(pattern: HandshakePattern, role: Role, dh: str = "25519") -> dict[str, Any]:
    """The keys, psks and policy that `role` needs in `pattern`, as arguments of `profiles.noise`."""
    arguments: dict[str, Any] = {"psks": PSKS[: pattern.psk_count]}
    if pattern.static_of(role):
        arguments["static"] = KEYS[dh][role].private
    if "s" in pattern.pre_messages[role.peer]:
        arguments["remote_static"] = KEYS[dh][role.peer].public
    elif pattern.sends_static(role.peer):
        arguments["trust"] = trust.anyone()
    return arguments


def profile(pattern: str, role: Role, suite: str = SUITE, **changes: Any) -> Profile:
    """A profile for `role`, with all that the named pattern needs."""
    arguments = {
        **needed(handshake_pattern(pattern), role, suite.split("_", maxsplit=1)[0].split("+", maxsplit=1)[0]),
        **changes,
    }
    return profiles.noise(
        f"Noise_{pattern}_{suite}", **{name: value for name, value in arguments.items() if value is not None}
    )


def pair(pattern: str, suite: str = SUITE, **options: Any) -> Pair:
    """Both ends of a named pattern, run until nothing moves."""
    initiator, responder = profile(pattern, INITIATOR, suite), profile(pattern, RESPONDER, suite)
    return Pair(initiator, responder, **{"close": False, **options}).run()


class FixedEphemeral(Entropy):
    """Gives one ephemeral key, from a vector; None where the side makes none."""

    __slots__ = ("_key",)

    def __init__(self, dh: str, key: bytes | None) -> None:
        self._key: Any = None if key is None else DH_FUNCTIONS[dh].key_pair(key).private

    def ephemeral_key(self, algorithm: str) -> Any:
        """The key."""
        if self._key is None or algorithm not in type(self._key).__name__:
            raise ValueError(f"no {algorithm} key in this vector")
        return self._key


def play(
    name: str,
    payloads: tuple[bytes, ...],
    prologue: bytes,
    keys: Mapping[Role, Mapping[str, Any]],
    ephemerals: Mapping[Role, bytes | None],
) -> tuple[list[bytes], bytes]:
    """Run a protocol through the engine, then send the payloads that are left over as transport messages, in turn.

    Args:
        name: of the protocol.
        payloads: of the handshake messages, then of the transport messages.
        prologue: of both ends.
        keys: arguments of `profiles.noise` for each role.
        ephemerals: each role's ephemeral private key.

    Returns:
        All messages without their prefix, and the handshake hash.
    """
    pattern = NoiseProtocol.parse(name).pattern
    count = len(pattern.messages)
    handshakes = {}
    for role in Role:
        arguments = {"payloads": dict(enumerate(payloads[:count])), "prologue": prologue, **keys[role]}
        if pattern.sends_static(role.peer):
            arguments["trust"] = trust.anyone()
        entropy = FixedEphemeral(name.split("_")[2], ephemerals[role])
        handshakes[role] = Handshake(role, profiles.noise(name, **arguments), entropy=entropy)
    ends = Pair(handshakes[INITIATOR], handshakes[RESPONDER], close=False).run()
    sessions = {INITIATOR: ends.initiator.session, RESPONDER: ends.responder.session}
    flights = {INITIATOR: iter(ends.initiator.flights), RESPONDER: iter(ends.responder.flights)}
    messages = [next(flights[message.sender])[2:] for message in pattern.messages]
    channels = {role: session.channel() for role, session in sessions.items()}
    for number, payload in enumerate(payloads[count:], count):
        sender = INITIATOR if pattern.one_way or number % 2 == 0 else RESPONDER
        channels[sender].send_data(payload)
        sealed = bytes(channels[sender].data_to_send())
        messages.append(sealed[2:])
        channels[sender.peer].receive_data(sealed)
        event: Any = channels[sender.peer].next_event()
        if event.data != payload:
            raise AssertionError(f"{payload!r} came as {event!r}")
    binding = {session.channel_binding for session in sessions.values()}
    if len(binding) != 1:
        raise AssertionError("two handshake hashes")
    return messages, binding.pop()
