"""Fuzzes the whole engine, in both roles and in any state, and the channel after it.

Byte 0 chooses the victim's role (bit 0), whether cryptography has any security (bit 1), whether the rest is edits of a real
peer's flights or simply the peer's bytes (bit 2), whether the policy asks the application (bit 3), how questions are answered
(bits 4 and 5), and whether all comes a second time in other pieces (bit 6). Byte 1 is the profile, byte 2 in how many bytes
at a time the peer's come (0 for all at once).

An edit has four bytes: which frame of the real peer's, what to do with it, and two arguments. Frames are decoded and
encoded again, also sealed ones when there is no security, so that edits reach the fields of every message.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fuzz.checks import Finding
from fuzz.insecure import TAG
from fuzz.people import PROFILES
from fuzz.victim import AT_ONCE, LATE, NEVER, REFUSED, Victim, play, provider, record_all, recorded
from nautilus_core import INITIATOR, RESPONDER

NAMES: Final = tuple(PROFILES)
INSECURE: Final = 2
EDITS: Final = 4
ASKS: Final = 8
PIECES: Final = 64

VALUES: Final[list[Any]] = [
    None, True, False, 0, 1, -1, 127, 2**31, 2**63, 2**64 - 1, 1.5, float("nan"),
    "", "x", "x" * 64, "x" * 65, "\0", "hello", "fuzz/1", "initiator", "responder", "anonymous", "raw-public-key", "x509", "did",
    "X25519", "P256", "X25519MLKEM768", "X25519_AES128GCM_SHA256", "ed25519", "rsa-pss-sha256",
    b"", b"\0", bytes(31), bytes(32), bytes(33), bytes(48), bytes(64), bytes(65), b"\xff" * 32, bytes(1184), bytes(1216),
    bytes(5000), [], [[]], [None], ["x"] * 65, [["x", b""]] * 2, [["target", b"\xff"]], [["talk", "initiator", None, True]],
    {}, {"a": 1}, [[[[[[[[]]]]]]]],
]  # fmt: skip
"""What a field becomes."""

EXTRA: Final[list[bytes]] = [
    b"\xe2\x00\x00\x03\x92\x2a\xc0",
    b"\xe2\x00\x00\x05\x92\x2a\xcd\x01\x00",
    b"\xe5\x00\x00\x13\x92\x2a\xc0" + TAG,
    b"\xe4\x00\x00\x18\x91\xa6accept" + TAG,
    b"\xe4\x00\x00\x1d\x92\xaakey-update\xc3" + TAG,
    b"\xe4\x00\x00\x17\x91\xa5close" + TAG,
    b"\xe3\x00\x00\x14data" + TAG,
    b"\xe3\x00\x00\x10" + TAG,
    b"\xe1\x00\x00\x00",
    b"\xe1\x01\x00\x00",
    b"GET / HTTP/1.1\r\n",
]
"""Frames to put in."""


def _put_field(frame: bytes, place: int, value: Any, *, append: bool) -> bytes:
    """The frame with another field, where its body, or its body without a tag, is a MessagePack array."""
    for tag in (b"", frame[-len(TAG) :]):
        body = frame[4 : len(frame) - len(tag)]
        try:
            fields = msgspec.msgpack.decode(body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue
        if not isinstance(fields, list) or not fields:
            continue
        where, rest = place % len(fields), place // 8
        if append:
            fields.append(value)
        elif isinstance(fields[where], list) and fields[where] and rest % 2:
            inner = fields[where]
            inner[rest // 2 % len(inner)] = value
        else:
            fields[where] = value
        new = msgspec.msgpack.encode(fields) + tag
        return frame[:1] + len(new).to_bytes(3, "big") + new
    return frame


def edited(frames: list[bytes], edits: bytes, other: list[bytes]) -> bytes:
    """The real peer's frames after these edits; `other` are frames of its victim, to be reflected."""
    for start in range(0, len(edits) - 3, 4):
        which, what, a, b = edits[start : start + 4]
        if not frames:
            break
        place = which % len(frames)
        frame = frames[place] or b"\xe1\x00\x00\x00"
        match what % 12:
            case 0:
                del frames[place]
            case 1:
                frames.insert(place + a % 3, frame)
            case 2:
                frames[place : place + 2] = reversed(frames[place : place + 2])
            case 3:
                where = (a << 8 | b) % len(frame)
                frames[place] = frame[:where] + bytes((frame[where] ^ (1 << b % 8),)) + frame[where + 1 :]
            case 4:
                body = frame[4 : 4 + a]
                frames[place] = frame[:1] + len(body).to_bytes(3, "big") + body
            case 5:
                frames[place] = bytes((0xE0 + a % 7,)) + frame[1:]
            case 6:
                frames[place] = frame[:2] + bytes((a, b)) + frame[4:]
            case 7 | 8:
                frames[place] = _put_field(frame, a, VALUES[b % len(VALUES)], append=False)
            case 9:
                frames[place] = _put_field(frame, a, VALUES[b % len(VALUES)], append=True)
            case 10:
                source = other if a % 2 else EXTRA
                frames.insert(place, source[b % len(source)])
            case _:
                del frames[place + 1 :]
                frames[place] = frame[: (a << 8 | b) % (len(frame) + 1)]
    return b"".join(frames)


def one_input(data: bytes) -> None:
    """One input; raises whatever is not a `HandshakeError`."""
    if len(data) < 3:
        return
    record_all()
    choice, name, size, peer = data[0], NAMES[data[1] % len(NAMES)], data[2], data[3:]
    role, secure = (RESPONDER if choice & 1 else INITIATOR), not choice & INSECURE
    if choice & EDITS:
        peer = edited(recorded(role, name, secure=secure), peer, recorded(role.peer, name, secure=secure))
    elif choice & ASKS and not size:
        size = 64  # or nothing would come while a question is open
    with provider(secure=secure):
        victim = play(role, name, peer, size=size, answers=choice >> 4 & 3, asks=bool(choice & ASKS))
        if choice & PIECES:
            _same_in_pieces(victim, role, name, peer, choice)


def _same_in_pieces(victim: Victim, role: Any, name: str, peer: bytes, choice: int) -> None:
    """However the bytes are cut, the outcome is the same: what ends the handshake, or that it completes."""
    if choice >> 4 & 3 in (NEVER, LATE):
        return
    other = play(role, name, peer, size=5, answers=choice >> 4 & 3, asks=bool(choice & ASKS))
    outcomes = [
        (
            one.handshake.state,
            one.channel is None,
            one.closed,
            None if one.error is None else (type(one.error), one.error.step),
        )
        for one in (victim, other)
    ]
    if outcomes[0] != outcomes[1]:
        raise Finding(f"in pieces: {outcomes}; {victim.error!r}, {other.error!r}")


_WAYS: Final = {
    "secure": (EDITS | PIECES, 7, 2, 3, 0, 9),
    "asked": (INSECURE | EDITS | ASKS | AT_ONCE << 4, 50),
    "refused": (INSECURE | EDITS | ASKS | REFUSED << 4, 0),
    "unanswered": (INSECURE | EDITS | ASKS | NEVER << 4, 0),
    "late": (INSECURE | EDITS | ASKS | LATE << 4, 200),
}
"""Of each profile and role: the choices of byte 0, the size of the pieces, and edits."""
_LONGEST_SEED: Final = 3000


def seeds() -> dict[str, bytes]:
    """Inputs that get somewhere, by name."""
    made: dict[str, bytes] = {}
    for number, name in enumerate(NAMES):
        edits = range(12) if name in ("psk", "custom") else (7, 8)
        ways = _WAYS | {f"edit-{what}": (INSECURE | EDITS, 0, what, what, what + 3, what + 5) for what in edits}
        for role, bit in ((INITIATOR, 0), (RESPONDER, 1)):
            for way, (choice, size, *rest) in ways.items():
                made[f"{role.value}-{name}-{way}"] = bytes((choice | bit, number, size, *rest))
            frames = b"".join(recorded(role, name, secure=False))
            if len(frames) < _LONGEST_SEED:
                made[f"{role.value}-{name}-raw"] = bytes((INSECURE | bit, number, 0)) + frames
    return made
