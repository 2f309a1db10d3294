"""Fuzzes every step's message, in the place where it is read: an engine is brought there by a real peer's recording.

Byte 0 chooses which message of which profile and role, byte 1 in how many bytes at a time all comes (0 for at once); the
rest is the message's body, in the frame that it has there. There is no security, so that sealed messages are reached too.
What the step's own codec decodes must come out the same when it was encoded again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec

from fuzz.checks import Finding
from fuzz.insecure import TAG
from fuzz.people import BINDINGS, PROFILES, profile
from fuzz.structure import changed_msgpack
from fuzz.victim import play, provider, recorded
from nautilus_core import HandshakeError, MultiMessageStep, Role

_AGAIN: Final = ("responder-authentication", "initiator-authentication", "suites", "suite")
"""Messages that are not alike in all profiles, and so stand in the table with each of them."""
_WITH_BINDINGS: Final = ("hello", "hello-response")
"""Those that carry the extension `channel-binding` where the channel below has a name."""


@dataclass(frozen=True, slots=True)
class Place:
    """One message of a recording: what comes before it, its body, whether it is sealed, and what comes after."""

    label: str
    role: Role
    profile: str
    step: str
    before: bytes
    body: bytes
    sealed: bool
    after: bytes


@cache
def places() -> tuple[Place, ...]:
    """Every message that an engine reads, once; authentications and suites once for each profile, hellos also with bindings."""
    found: dict[str, Place] = {}
    for name in PROFILES:
        for role in Role:
            frames = recorded(role, name, secure=False)
            for number, frame in enumerate(frames):
                if frame[0] != 0xE1:
                    continue
                (step, *_), sealed = _decoded(frame)
                again = step in _AGAIN or (name in BINDINGS and step in _WITH_BINDINGS)
                label = f"{step}-{name}" if again else step
                if label not in found:
                    body = frame[4 : -len(TAG)] if sealed else frame[4:]
                    before, after = b"".join(frames[:number]), b"".join(frames[number + 1 :])
                    found[label] = Place(label, role, name, step, before, body, sealed, after)
    return tuple(found.values())


def _decoded(frame: bytes) -> tuple[list[Any], bool]:
    try:
        return msgspec.msgpack.decode(frame[4:], type=list[Any]), False
    except msgspec.DecodeError:
        return msgspec.msgpack.decode(frame[4 : -len(TAG)], type=list[Any]), True


@cache
def _codec(place: Place) -> Any:
    for step in profile(place.role, place.profile).make_steps():
        if step.name == place.step:
            return None if isinstance(step, MultiMessageStep) else step
    return None


def one_input(data: bytes) -> None:
    """One input; raises whatever is not a `HandshakeError`."""
    if len(data) < 2:
        return
    place, size, body = places()[data[0] % len(places())], data[1], data[2:]
    step = _codec(place)
    if step is not None:
        _check_codec(step, body)
    sealed = body + TAG if place.sealed else body
    frame = b"\xe1" + len(sealed).to_bytes(3, "big") + sealed
    with provider(secure=False):
        play(place.role, place.profile, place.before + frame + place.after, size=size)


def _check_codec(step: Any, body: bytes) -> None:
    try:
        message = step.decode(body)
    except HandshakeError:
        return
    again = step.encode(message)
    if len(again) > 2 * len(body) + 64:
        raise Finding(f"{len(body)} bytes became a message of {len(again)}")
    if step.decode(again) != message:
        raise Finding(f"{message!r} is not what comes back: {step.decode(again)!r}")


def mutate(data: bytes, choose: random.Random) -> bytes | None:
    """A body with a change inside."""
    changed = changed_msgpack(data[2:], choose) if len(data) > 2 else None
    return None if changed is None else data[:2] + changed


def seeds() -> dict[str, bytes]:
    """Every message as it was recorded."""
    return {place.label: bytes((number, 0)) + place.body for number, place in enumerate(places())}
