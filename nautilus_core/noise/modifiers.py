"""Pattern modifiers (section 8.1): `psk0` to `psk9` (section 9.4), `fallback` (section 10.2), and `hfs`, which is experimental.

`hfs` is the draft "KEM-based Hybrid Forward Secrecy for Noise", revision 1: a KEM key `e1` and a ciphertext `ekem1`. Where the
text and the table of that draft differ (KK), the text holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from .patterns import PATTERNS, HandshakePattern
from .validity import DH_TOKENS, InvalidPattern, MessagePattern

MODIFIERS: Final = ("fallback", "hfs", *(f"psk{number}" for number in range(10)))
"""Each may stand once; they are applied from left to right, and written in alphabetical order."""

_NAME: Final = re.compile(r"([A-Z][A-Z0-9]*)(.*)", re.DOTALL)


def split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """The pattern's own name, and its modifiers: `("XX", ("fallback", "psk0"))` for `XXfallback+psk0`.

    Raises:
        ValueError: an unknown pattern or modifier, one twice, or not in order.
    """
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in PATTERNS:
        raise ValueError(f"no handshake pattern {name!r}; use one of {', '.join(PATTERNS)}")
    modifiers = tuple(match[2].split("+")) if match[2] else ()
    for modifier in modifiers:
        if modifier not in MODIFIERS:
            raise ValueError(f"no modifier {modifier!r} in {name!r}; use fallback, hfs, psk0 to psk9, joined by +")
    if list(modifiers) != sorted(set(modifiers)):
        ordered = match[1] + "+".join(sorted(set(modifiers)))
        raise ValueError(f"modifiers stand once, in alphabetical order (section 8.1): {ordered}, not {name}")
    return match[1], modifiers


@lru_cache(maxsize=256)
def handshake_pattern(name: str) -> HandshakePattern:
    """The named pattern with its modifiers: `XX`, `IKpsk2`, `NNpsk0+psk2`, `XXfallback`, `XXhfs+psk3`.

    Raises:
        ValueError: no such pattern or modifier, or modifiers that are not in alphabetical order; says what there is.
        InvalidPattern: the modified pattern breaks a rule.
    """
    base, modifiers = split_name(name)
    return apply(HandshakePattern.parse(PATTERNS[base], base), modifiers)


def apply(pattern: HandshakePattern, modifiers: Iterable[str]) -> HandshakePattern:
    """`pattern` with `modifiers`, one after the other."""
    names: list[str] = []
    base = pattern.name
    for modifier in modifiers:
        names.append(modifier)
        name = base + "+".join(names)
        if modifier == "fallback":
            pattern = _fallback(pattern, name)
        elif modifier == "hfs":
            pattern = _hfs(pattern, name)
        else:
            pattern = _psk(pattern, name, int(modifier.removeprefix("psk")))
    return pattern


def _psk(pattern: HandshakePattern, name: str, number: int) -> HandshakePattern:
    """Section 9.4: `psk0` at the beginning of the first message, `psk1` at the end of the first, `psk2` of the second ..."""
    messages = list(pattern.messages)
    if number > len(messages):
        raise InvalidPattern("9.4", f"psk{number} needs {number} messages, {pattern.name} has {len(messages)}")
    index = max(number - 1, 0)
    old = messages[index]
    tokens = ("psk", *old.tokens) if number == 0 else (*old.tokens, "psk")
    messages[index] = MessagePattern(old.sender, tokens)
    return HandshakePattern(name, pattern.pre_messages, tuple(messages))


def _fallback(pattern: HandshakePattern, name: str) -> HandshakePattern:
    """Section 10.2: Alice's first message becomes a pre-message, and Bob sends first."""
    first, *rest = pattern.messages
    if first.tokens not in (("e",), ("s",), ("e", "s")) or pattern.pre_messages[first.sender]:
        raise InvalidPattern("10.2", "fallback needs a first message of e, s, or e, s, which becomes a pre-message", 0)
    pre_messages = MappingProxyType({**pattern.pre_messages, first.sender: first.tokens})
    return HandshakePattern(name, pre_messages, tuple(rest))


def _hfs(pattern: HandshakePattern, name: str) -> HandshakePattern:
    """`e1` after the first `e`, or after the DH that follows it in the same message; `ekem1` after the first `ee`."""
    messages = list(pattern.messages)
    first = next((index for index, message in enumerate(messages) if "e" in message.tokens), None)
    ee = next((index for index, message in enumerate(messages) if "ee" in message.tokens), None)
    if first is None or ee is None or messages[first].sender is messages[ee].sender:
        raise InvalidPattern("hfs", "needs an e of one side, and an ee in a later message of the other")
    tokens = messages[first].tokens
    after = next((place for place, token in enumerate(tokens) if token in DH_TOKENS), tokens.index("e"))
    messages[first] = MessagePattern(messages[first].sender, (*tokens[: after + 1], "e1", *tokens[after + 1 :]))
    tokens = messages[ee].tokens
    after = tokens.index("ee") + 1
    messages[ee] = MessagePattern(messages[ee].sender, (*tokens[:after], "ekem1", *tokens[after:]))
    return HandshakePattern(name, pattern.pre_messages, tuple(messages))
