"""Changes to what is structured: a value in MessagePack or JSON is decoded, changed somewhere inside, and encoded again.

A fuzzer that only flips bytes seldom gets past a decoder. Harnesses offer these changes as their `mutate`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import msgspec

INTERESTING: Final[list[Any]] = [
    None, True, False, 0, 1, -1, 127, 65_536, 2**31, 2**63, 2**64 - 1, -(2**63), 1.5, 1e308,
    "", "x", "x" * 64, "x" * 65, "x" * 300, "\0", "\u202e", "\x1b[2J", "é" * 40, "hello", "initiator", "responder", "anonymous",
    "raw-public-key", "x509", "did", "ed25519", "X25519", "nautilus/1", "did:key:z6Mk", "did:web:fuzz.example", "#key-1", "z6Mk",
    "SHA256", "2030-06-01T12:00:00Z", "AA==", [], {}, [[]], {"a": 1}, [[[[[[[[]]]]]]]], ["x"] * 70,
]  # fmt: skip
"""What a value becomes."""

_BYTES: Final[list[Any]] = [
    b"",
    b"\0",
    bytes(31),
    bytes(32),
    b"\xff" * 32,
    bytes(33),
    bytes(48),
    bytes(64),
    bytes(1184),
]

_ARRAYS: Final = [bytes((0x90 + count,)) for count in range(16)]
"""How a short array begins in MessagePack."""

_Change = Callable[[Any, random.Random], Any]


def change(value: Any, choose: random.Random, *, binary: bool) -> Any:
    """`value` with one change somewhere inside; `binary` where its format has bytes."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if inner and choose.random() < 0.8:
        return _change_inside(value, choose, binary)
    if isinstance(value, str) and value and choose.random() < 0.6:
        place = choose.randrange(len(value))
        letter = choose.choice((value[choose.randrange(len(value))], chr(choose.randrange(32, 127)), "\x7f", "é", ""))
        return value[:place] + letter + value[place + choose.choice((0, 1, 1, 4)) :]
    if isinstance(value, bytes) and value[:1] in _ARRAYS and choose.random() < 0.8:  # an extension's value, perhaps
        inside = changed_msgpack(value, choose)
        if inside is not None:
            return inside
    if isinstance(value, bytes) and value and choose.random() < 0.6:
        place = choose.randrange(len(value))
        return (
            value[:place] + choose.randbytes(choose.choice((0, 1, 1, 2))) + value[place + choose.choice((0, 1, 1, 4)) :]
        )
    if isinstance(value, int) and choose.random() < 0.6:
        return int(value) + choose.choice((-1, 1, 256, -256))
    return choose.choice(INTERESTING + _BYTES if binary else INTERESTING)


def _change_inside(value: Any, choose: random.Random, binary: bool) -> Any:
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = choose.choice(keys)
    what = choose.randrange(8)
    if isinstance(value, dict):
        if what == 0:
            del value[key]
        elif what == 1:
            value[change(key, choose, binary=False) if isinstance(key, str) else key] = value[choose.choice(keys)]
        else:
            value[key] = change(value[key], choose, binary=binary)
        return {str(name): inner for name, inner in value.items()}
    if what == 0:
        del value[key]
    elif what == 1:
        value.insert(key, value[choose.choice(keys)])
    elif what == 2:
        value.append(choose.choice(INTERESTING + _BYTES if binary else INTERESTING))
    else:
        value[key] = change(value[key], choose, binary=binary)
    return value


def changed_msgpack(data: bytes, choose: random.Random) -> bytes | None:
    """MessagePack with a change inside; None for what is none."""
    try:
        return msgspec.msgpack.encode(change(msgspec.msgpack.decode(data), choose, binary=True))
    except (msgspec.MsgspecError, ValueError, RecursionError, TypeError, OverflowError):
        return None


def changed_json(data: bytes, choose: random.Random) -> bytes | None:
    """JSON with a change inside; None for what is none."""
    try:
        return msgspec.json.encode(change(msgspec.json.decode(data), choose, binary=False))
    except (msgspec.MsgspecError, ValueError, RecursionError, TypeError, OverflowError):
        return None
