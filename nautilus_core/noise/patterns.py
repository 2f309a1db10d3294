"""Handshake patterns (sections 7 and 18.1): the notation, its parser, and all named patterns as data in that notation.

Modifiers are in `modifiers`, the rules that a pattern must keep in `validity`. Nothing here processes a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ..role import INITIATOR, RESPONDER, Role
from .validity import ARROWS, DH_TOKENS, InvalidPattern, MessagePattern, check_validity, is_one_way

ONE_WAY: Final = ("N", "K", "X")
"""Section 7.4: one message from the sender, and no way back."""

FUNDAMENTAL: Final = ("NN", "NK", "NX", "KN", "KK", "KX", "XN", "XK", "XX", "IN", "IK", "IX")
"""Section 7.5."""

DEFERRED: Final = (
    *(
        "NK1",
        "NX1",
        "X1N",
        "X1K",
        "XK1",
        "X1K1",
        "X1X",
        "XX1",
        "X1X1",
        "K1N",
        "K1K",
        "KK1",
        "K1K1",
        "K1X",
        "KX1",
        "K1X1",
    ),
    *("I1N", "I1K", "IK1", "I1K1", "I1X", "IX1", "I1X1"),
)
"""Section 18.1: authentication is put off to the next message."""

PATTERNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "N": "<- s ... -> e, es",
        "K": "-> s <- s ... -> e, es, ss",
        "X": "<- s ... -> e, es, s, ss",
        "NN": "-> e <- e, ee",
        "NK": "<- s ... -> e, es <- e, ee",
        "NX": "-> e <- e, ee, s, es",
        "KN": "-> s ... -> e <- e, ee, se",
        "KK": "-> s <- s ... -> e, es, ss <- e, ee, se",
        "KX": "-> s ... -> e <- e, ee, se, s, es",
        "XN": "-> e <- e, ee -> s, se",
        "XK": "<- s ... -> e, es <- e, ee -> s, se",
        "XX": "-> e <- e, ee, s, es -> s, se",
        "IN": "-> e, s <- e, ee, se",
        "IK": "<- s ... -> e, es, s, ss <- e, ee, se",
        "IX": "-> e, s <- e, ee, se, s, es",
        "NK1": "<- s ... -> e <- e, ee, es",
        "NX1": "-> e <- e, ee, s -> es",
        "X1N": "-> e <- e, ee -> s <- se",
        "X1K": "<- s ... -> e, es <- e, ee -> s <- se",
        "XK1": "<- s ... -> e <- e, ee, es -> s, se",
        "X1K1": "<- s ... -> e <- e, ee, es -> s <- se",
        "X1X": "-> e <- e, ee, s, es -> s <- se",
        "XX1": "-> e <- e, ee, s -> es, s, se",
        "X1X1": "-> e <- e, ee, s -> es, s <- se",
        "K1N": "-> s ... -> e <- e, ee -> se",
        "K1K": "-> s <- s ... -> e, es <- e, ee -> se",
        "KK1": "-> s <- s ... -> e <- e, ee, se, es",
        "K1K1": "-> s <- s ... -> e <- e, ee, es -> se",
        "K1X": "-> s ... -> e <- e, ee, s, es -> se",
        "KX1": "-> s ... -> e <- e, ee, se, s -> es",
        "K1X1": "-> s ... -> e <- e, ee, s -> se, es",
        "I1N": "-> e, s <- e, ee -> se",
        "I1K": "<- s ... -> e, es, s <- e, ee -> se",
        "IK1": "<- s ... -> e, s <- e, ee, se, es",
        "I1K1": "<- s ... -> e, s <- e, ee, es -> se",
        "I1X": "-> e, s <- e, ee, s, es -> se",
        "IX1": "-> e, s <- e, ee, se, s -> es",
        "I1X1": "-> e, s <- e, ee, s -> se, es",
    }
)
"""Every named pattern by its name; in the notation, where a line break and a space are the same."""

_PRE_MESSAGES: Final = ((), ("e",), ("s",), ("e", "s"))


@dataclass(frozen=True, slots=True)
class HandshakePattern:
    """A handshake pattern: pre-messages, then messages that alternate (section 7.1).

    `INITIATOR` is the left side, who sends `->`: Alice. Where Bob sends first (section 7.2), as after `fallback`, his messages
    still point left, and the first letter of a DH token is still Alice's key.

    Args:
        name: as in a protocol name, with its modifiers.
        pre_messages: what each side knows of the other before, by role: `()`, `("e",)`, `("s",)` or `("e", "s")`.
        messages: the message patterns, in order.

    Raises:
        InvalidPattern: for a pattern that breaks a rule of section 7.3 or 9.3; it names rule, message and token.
    """

    name: str
    pre_messages: Mapping[Role, tuple[str, ...]]
    messages: tuple[MessagePattern, ...]

    def __post_init__(self) -> None:
        for role, tokens in self.pre_messages.items():
            if tokens not in _PRE_MESSAGES:
                raise InvalidPattern("7.1", f"a pre-message is e, s, or e, s: {ARROWS[role]} {', '.join(tokens)}")
        check_validity(self.pre_messages, self.messages)

    @classmethod
    def parse(cls, notation: str, name: str = "") -> HandshakePattern:
        """The pattern that `notation` describes: pre-messages and `...` where there are some, then messages.

        Each message is an arrow and its tokens: `-> e, es`. Spaces and line breaks are the same.

        Raises:
            InvalidPattern: for what is no pattern, or breaks a rule.
        """
        before, dots, after = notation.partition("...")
        pre_messages: dict[Role, tuple[str, ...]] = {INITIATOR: (), RESPONDER: ()}
        for role, tokens in _lines(before) if dots else ():
            if pre_messages[role]:
                raise InvalidPattern("7.1", f"two pre-messages of one side: {ARROWS[role]}")
            pre_messages[role] = tokens
        messages = tuple(MessagePattern(role, tokens) for role, tokens in _lines(after if dots else before))
        return cls(name, MappingProxyType(pre_messages), messages)

    @property
    def first_sender(self) -> Role:
        """Who sends the first message; the specification's initiator, whose keys come first out of `Split()`."""
        return self.messages[0].sender

    @property
    def one_way(self) -> bool:
        """Whether there is one message, after which only its sender sends (section 7.4)."""
        return is_one_way(self.pre_messages, self.messages)

    @property
    def has_psk(self) -> bool:
        """Whether it mixes in pre-shared keys, which makes every `e` a key as well (section 9.2)."""
        return any("psk" in message.tokens for message in self.messages)

    @property
    def has_kem(self) -> bool:
        """Whether it has hybrid forward secrecy."""
        return any("e1" in message.tokens for message in self.messages)

    @property
    def psk_count(self) -> int:
        """How many pre-shared keys it takes, in the order of their tokens."""
        return sum(message.tokens.count("psk") for message in self.messages)

    def static_of(self, role: Role) -> bool:
        """Whether `role` has a static key: known before, or sent."""
        return "s" in self.pre_messages[role] or self.sends_static(role)

    def sends_static(self, role: Role) -> bool:
        """Whether `role` sends its static key in a message."""
        return any(message.sender is role and "s" in message.tokens for message in self.messages)

    def __str__(self) -> str:
        lines = [f"{ARROWS[role]} {', '.join(tokens)}" for role, tokens in self.pre_messages.items() if tokens]
        return "\n".join([*lines, *(["..."] if lines else []), *map(str, self.messages)])


def _lines(text: str) -> list[tuple[Role, tuple[str, ...]]]:
    """The messages of `text`: each an arrow and tokens separated by commas."""
    words = text.replace(",", " , ").split()
    lines: list[tuple[Role, list[str]]] = []
    comma = True
    for word in words:
        role = next((role for role, arrow in ARROWS.items() if arrow == word), None)
        if role is not None:
            if lines and lines[-1][1] and comma:
                raise InvalidPattern("7.1", f"a comma with no token after it, before {word!r}")
            lines.append((role, []))
            comma = True
        elif not lines:
            raise InvalidPattern("7.1", f"a message begins with -> or <-: {word!r}")
        elif word == ",":
            if comma:
                raise InvalidPattern("7.1", "a comma with no token before it", len(lines) - 1)
            comma = True
        elif not comma:
            raise InvalidPattern("7.1", "tokens are separated by commas", len(lines) - 1, word)
        else:
            lines[-1][1].append(word)
            comma = False
    if lines and lines[-1][1] and comma:
        raise InvalidPattern("7.1", "a comma with no token after it", len(lines) - 1)
    return [(role, tuple(tokens)) for role, tokens in lines]


__all__ = [
    "DEFERRED",
    "DH_TOKENS",
    "FUNDAMENTAL",
    "ONE_WAY",
    "PATTERNS",
    "HandshakePattern",
    "MessagePattern",
]
