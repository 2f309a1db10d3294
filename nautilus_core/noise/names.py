"""Protocol names (section 8), read and built, and what is fixed by a name: the functions, and each side's plan.

A plan is a message pattern as one side sees it: its tokens as numbers, and how long a message is at least. It is made once
for a protocol, so that processing a message decides nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeVar

from ..role import Role
from .functions import (
    CIPHER_FUNCTIONS,
    DH_FUNCTIONS,
    HASH_FUNCTIONS,
    KEM_FUNCTIONS,
    TAG_LENGTH,
    CipherFunctions,
    DHFunctions,
    HashFunctions,
    KemFunctions,
)
from .modifiers import handshake_pattern
from .patterns import HandshakePattern
from .properties import Properties, handshake_properties, transport_properties
from .validity import DH_TOKENS, keys_of

MAX_NAME_LENGTH: Final = 255

SEND_E: Final = 0
SEND_S: Final = 1
DH_EE: Final = 2
DH_ES: Final = 3
"""Own ephemeral key, the peer's static key."""
DH_SE: Final = 4
"""Own static key, the peer's ephemeral key."""
DH_SS: Final = 5
PSK: Final = 6
KEM_KEY: Final = 7
KEM_CIPHERTEXT: Final = 8

_OPERATIONS: Final[Mapping[str, int]] = {
    "e": SEND_E,
    "s": SEND_S,
    "psk": PSK,
    "e1": KEM_KEY,
    "ekem1": KEM_CIPHERTEXT,
}
_DH_OPERATIONS: Final = {("e", "e"): DH_EE, ("e", "s"): DH_ES, ("s", "e"): DH_SE, ("s", "s"): DH_SS}

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class MessagePlan:
    """One message as one side sees it.

    Attributes:
        sends: whether this side writes it.
        operations: its tokens, as numbers, each with the bytes that it takes in the message.
        tokens: the same as they are written.
        overhead: its length with an empty payload, in bytes.
        has_key: whether its payload is encrypted.
    """

    sends: bool
    operations: tuple[tuple[int, int], ...]
    tokens: tuple[str, ...]
    overhead: int
    has_key: bool


@dataclass(frozen=True, slots=True)
class RolePlan:
    """A protocol as one side sees it.

    Attributes:
        messages: in order.
        needs: whether it needs its static key, its ephemeral key, the peer's static and the peer's ephemeral key beforehand.
        psks: how many pre-shared keys it needs.
        pre_messages: which keys enter the handshake hash beforehand: whether it is its own, and `e` or `s`.
    """

    messages: tuple[MessagePlan, ...]
    needs: tuple[bool, bool, bool, bool]
    psks: int
    pre_messages: tuple[tuple[bool, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class NoiseProtocol:
    """A concrete Noise protocol: a handshake pattern and its functions.

    Attributes:
        name: the protocol name.
        kem: with `hfs` alone; else None.
        initial_hash: h and ck after `InitializeSymmetric` (section 5.2).
        plans: each side's view of it.
        properties: of each message's payload (section 7.7).
        transport_properties: of each direction's payloads afterwards.
    """

    name: str
    pattern: HandshakePattern
    dh: DHFunctions
    cipher: CipherFunctions
    hash: HashFunctions
    kem: KemFunctions | None = None
    initial_hash: bytes = field(init=False, repr=False)
    plans: Mapping[Role, RolePlan] = field(init=False, repr=False)
    properties: tuple[Properties, ...] = field(init=False, repr=False)
    transport_properties: tuple[Properties, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        name = self.name.encode()
        length = self.hash.length
        initial = name.ljust(length, b"\0") if len(name) <= length else self.hash.function.digest(name)
        object.__setattr__(self, "initial_hash", initial)
        object.__setattr__(self, "plans", MappingProxyType({role: self._plan(role) for role in Role}))
        object.__setattr__(self, "properties", handshake_properties(self.pattern))
        object.__setattr__(self, "transport_properties", transport_properties(self.pattern))

    @classmethod
    def parse(cls, name: str, pattern: HandshakePattern | str | None = None) -> NoiseProtocol:
        """The protocol called `name`: `Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s`.

        Args:
            name: at most 255 bytes.
            pattern: for a pattern of your own, the pattern or its notation; the name's second part is what it is called.

        Raises:
            ValueError: which says what is wrong with the name, and what is allowed there; or it is another pattern's.
            InvalidPattern: the pattern breaks a rule.
        """
        if pattern is None:
            return _named(name)
        second = _split(name)[1]
        if isinstance(pattern, str):
            pattern = HandshakePattern.parse(pattern, second)
        elif pattern.name != second:
            raise ValueError(f"the pattern is called {pattern.name!r}, the protocol name says {second!r}")
        _check_not_taken(pattern)
        return _build(name, pattern)

    @classmethod
    def build(cls, pattern: HandshakePattern | str, dh: str, cipher: str, hash: str) -> NoiseProtocol:  # noqa: A002
        """The protocol of these parts; `dh` may be `25519+MLKEM768`. Raises as `parse`."""
        called = pattern if isinstance(pattern, str) else pattern.name
        name = f"Noise_{called}_{dh}_{cipher}_{hash}"
        return cls.parse(name, None if isinstance(pattern, str) else pattern)

    def _plan(self, role: Role) -> RolePlan:
        pattern = self.pattern
        own, peers = pattern.pre_messages[role], pattern.pre_messages[role.peer]
        needs = (pattern.static_of(role), "e" in own, "s" in peers, "e" in peers)
        before = [(side is role, token) for side, tokens in pattern.pre_messages.items() for token in tokens]
        return RolePlan(self._message_plans(role), needs, pattern.psk_count, tuple(before))

    def _message_plans(self, role: Role) -> tuple[MessagePlan, ...]:
        plans = []
        has_key = self.pattern.has_psk and any("e" in keys for keys in self.pattern.pre_messages.values())
        for message in self.pattern.messages:
            operations: list[tuple[int, int]] = []
            for token in message.tokens:
                if token in DH_TOKENS:
                    operations.append((_DH_OPERATIONS[keys_of(token, role)], 0))
                    has_key = True
                    continue
                length = self._length(token) + (TAG_LENGTH if has_key and token in _ENCRYPTED else 0)
                operations.append((_OPERATIONS[token], length))
                has_key = has_key or token in ("psk", "ekem1") or (token == "e" and self.pattern.has_psk)  # noqa: S105
            overhead = sum(length for _, length in operations) + (TAG_LENGTH if has_key else 0)
            plans.append(MessagePlan(message.sender is role, tuple(operations), message.tokens, overhead, has_key))
        return tuple(plans)

    def _length(self, token: str) -> int:
        if token in ("e", "s"):
            return self.dh.length
        if token == "psk" or self.kem is None:  # noqa: S105
            return 0
        return self.kem.key_length if token == "e1" else self.kem.ciphertext_length  # noqa: S105

    def __str__(self) -> str:
        return self.name


_ENCRYPTED: Final = ("s", "e1", "ekem1")


def _check_not_taken(pattern: HandshakePattern) -> None:
    """A name stands for one set of operations, whatever its keys are used with (section 14)."""
    try:
        known = handshake_pattern(pattern.name)
    except ValueError:
        return
    if (known.pre_messages, known.messages) != (pattern.pre_messages, pattern.messages):
        raise ValueError(
            f"{pattern.name!r} is the name of another pattern (section 14): {' '.join(str(known).split())}"
        )


def _split(name: str) -> list[str]:
    parts = name.split("_")
    if len(parts) != 5 or parts[0] != "Noise":
        raise ValueError(f"a Noise protocol name is Noise_PATTERN_DH_CIPHER_HASH, not {name!r}")
    if len(name.encode()) > MAX_NAME_LENGTH:
        raise ValueError(f"a Noise protocol name has at most {MAX_NAME_LENGTH} bytes, not {len(name.encode())}")
    if not all(part.isascii() and part.replace("/", "").replace("+", "").isalnum() for part in parts):
        raise ValueError(f"the parts of a Noise protocol name are letters, digits, / and + (section 8): {name!r}")
    return parts


def _choose(what: str, name: str, choices: Mapping[str, F]) -> F:
    if name not in choices:
        raise ValueError(f"no {what} {name!r}; use one of {', '.join(choices)}")
    return choices[name]


@lru_cache(maxsize=512)
def _named(name: str) -> NoiseProtocol:
    return _build(name, handshake_pattern(_split(name)[1]))


def _build(name: str, pattern: HandshakePattern) -> NoiseProtocol:
    _, _, dh_name, cipher, hash_name = _split(name)
    dh, plus, kem_name = dh_name.partition("+")
    if pattern.has_kem and not plus:
        kems = ", ".join(KEM_FUNCTIONS)
        raise ValueError(f"with hfs the DH part names a KEM too: {dh}+{next(iter(KEM_FUNCTIONS))} (use one of {kems})")
    if plus and not pattern.has_kem:
        raise ValueError(f"{dh_name!r} names a KEM, but the pattern {pattern.name!r} has none: add the modifier hfs")
    return NoiseProtocol(
        name,
        pattern,
        _choose("DH function", dh, DH_FUNCTIONS),
        _choose("cipher", cipher, CIPHER_FUNCTIONS),
        _choose("hash", hash_name, HASH_FUNCTIONS),
        _choose("KEM", kem_name, KEM_FUNCTIONS) if plus else None,
    )
