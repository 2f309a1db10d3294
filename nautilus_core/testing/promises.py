"""What holds of two ends that ran over faulty links, whatever the links did. How they ran is `faulty_pair`'s.

- Both ends end: their handshake is complete or has failed, their channel is closed or has failed, always by a `HandshakeError`.
- Who has received the last message of the handshake has a peer with a session. Its sender may have one alone: that message, or
  what should have followed, was lost.
- Two sessions agree on everything, and on what two ends agree on that have links without faults.
- What comes out of a channel is a beginning of what the peer said, and all of it once the peer's close has come.
- Where nothing was lost or changed, both ends complete, and all arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from ..errors import HandshakeError
from ..events import StepCompleted
from ..role import Role
from ..state import State
from .faults import FaultyLink
from .faulty_end import FaultyEnd

_MUCH: Final = 15_000
"""Milliseconds of delays, all together, that are too few to let a handshake time out."""


class HasRun(Protocol):
    """Two ends that have run: a `FaultyPair`."""

    @property
    def ends(self) -> tuple[FaultyEnd, FaultyEnd]:
        """The initiator and the responder."""

    @property
    def links(self) -> Sequence[FaultyLink]:
        """From the initiator to the responder, and back."""

    @property
    def completed(self) -> bool:
        """Whether both ends have a session."""


def broken_promises(pair: HasRun, like: HasRun | None = None) -> list[str]:
    """What does not hold of a pair that has run, in words; `FaultyPair.verify` says more."""
    broken = [f"{end.role.value}: {problem}" for end in pair.ends for problem in _of_an_end(end)]
    if pair.completed:
        broken += _of_two_views(pair)
    for end, peer in zip(pair.ends, pair.ends[::-1], strict=True):
        if end.session is not None and peer.session is None and _last_sender(end) is peer.role:
            broken.append(f"{end.role.value}: has a session, but its peer, who sent the last message, has none")
        said = b"".join(peer.words)
        if not said.startswith(end.heard):
            broken.append(f"{end.role.value}: heard what the peer never said: {end.heard!r}")
        if end.peer_closed is not None and end.peer_closed.authenticated and end.heard != said:
            broken.append(f"{end.role.value}: was told that this is all, but it is not: {end.heard!r}")
    if like is not None:
        broken += _of_a_reference(pair, like)
    return broken


def _of_an_end(end: FaultyEnd) -> list[str]:
    broken = []
    state = end.handshake.state
    if not end.over:
        broken.append(f"stands still in {end.handshake!r}")
    if state not in {State.COMPLETED, State.FAILED}:
        broken.append(f"its handshake ended in {state.name}")
    if (state is State.COMPLETED) is not (end.session is not None):
        broken.append(f"{state.name}, but its session is {end.session!r}")
    if end.error is not None and not isinstance(end.error, HandshakeError):
        broken.append(f"ended with {end.error!r}, which is no HandshakeError")
    if isinstance(end.error, HandshakeError) and end.channel is not None and end.error.step != "channel":
        broken.append(f"an error of the channel that says {end.error.step!r}")
    return broken


def _last_sender(end: FaultyEnd) -> Role | None:
    """Who sent the last message of the handshake, as `end` saw it."""
    return next((event.sender for _, _, event in reversed(end.story) if isinstance(event, StepCompleted)), None)


def _of_two_views(pair: HasRun) -> list[str]:
    one, other = (view(end) for end in pair.ends)
    return [f"two views of {name}: {one[name]!r} and {other[name]!r}" for name in one if one[name] != other[name]]


def view(end: FaultyEnd) -> dict[str, Any]:
    """What must be the same at both ends of a session, by name."""
    session = end.session
    if session is None:
        return {}
    return {
        "protocol": session.protocol,
        "suite": session.suite,
        "steps": session.steps,
        "psk": session.psk,
        "handshake_hash": session.handshake_hash,
        "channel_binding": session.channel_binding,
        "extensions": set(session.extensions),
    }


def _of_a_reference(pair: HasRun, like: HasRun) -> list[str]:
    broken = []
    for end, model in zip(pair.ends, like.ends, strict=True):
        if end.session is None or model.session is None:
            continue
        for name in ("protocol", "suite", "steps", "psk", "extensions", "results", "peer"):
            was, expected = getattr(end.session, name), getattr(model.session, name)
            if name in {"extensions", "results"}:
                was, expected = set(was), set(expected)
            if was != expected:
                broken.append(f"{end.role.value}: {name} is {was!r}, and {expected!r} without faults")
    if not any(link.damaged for link in pair.links) and not _late(pair) and like.completed:
        broken += [
            f"{end.role.value}: {end.outcome}, heard {len(end.heard)} bytes, but nothing was lost"
            for end, model in zip(pair.ends, like.ends, strict=True)
            if end.outcome != "closed" or end.heard != model.heard
        ]
    return broken


def _late(pair: HasRun) -> bool:
    """Whether time alone can have been the fault."""
    faults = [fault for link in pair.links for fault in link.happened]
    return sum(fault.amount for fault in faults if fault.kind in {"delay", "merge"}) >= _MUCH
