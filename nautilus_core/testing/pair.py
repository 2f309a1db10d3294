"""`Pair`: both ends of a handshake in memory, over links that lose nothing and take no time. Faulty links live elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from ..errors import PeerAborted
from ..events import Event, HandshakeCompleted, Question, Signal
from ..handshake import Handshake
from ..profile import Profile
from ..role import INITIATOR, RESPONDER, Role
from ..session import Session
from ..state import State

Split: TypeAlias = Callable[[bytes], Iterable[bytes]]
"""Cuts a flight into the pieces in which it is delivered."""

Tamper: TypeAlias = Callable[[Role, int, bytes], bytes]
"""Changes a flight on the way: gets its sender, its number among the sender's (from 0) and its bytes."""


def whole(data: bytes) -> list[bytes]:
    """Deliver a flight in one piece."""
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    """Deliver a flight one byte at a time."""
    return [data[place : place + 1] for place in range(len(data))]


def untouched(sender: Role, number: int, data: bytes) -> bytes:
    """Deliver a flight as it was sent."""
    return data


class End:
    """One end of a `Pair`.

    Attributes:
        handshake: its engine.
        events: what happened, in order.
        flights: what it sent, in order, before any tampering.
        error: what `next_event` raised, or None.
    """

    def __init__(self, handshake: Handshake) -> None:
        self.handshake = handshake
        self.events: list[Event] = []
        self.flights: list[bytes] = []
        self.error: Exception | None = None

    @property
    def session(self) -> Session:
        """Its session; raises what ended the handshake instead, when there is none."""
        if self.handshake.session is None:
            raise self.error or RuntimeError(f"the handshake stands at {self.handshake!r}")
        return self.handshake.session

    @property
    def completed(self) -> bool:
        """Whether it has a session."""
        return self.handshake.state is State.COMPLETED


class Pair:
    """Both ends of a handshake, and the bytes between them; `run` drives them until nothing moves any more.

    Args:
        initiator: the initiator's engine, or a profile to make one from.
        responder: likewise the responder's.
        split: how each flight is cut before it is delivered.
        tamper: changes flights on the way.
        answer: called with each question, to answer it; without it questions stay open.
        close: whether an end that has failed, or that waits when all is quiet, has its stream ended, as a transport would.
    """

    def __init__(
        self,
        initiator: Handshake | Profile,
        responder: Handshake | Profile,
        *,
        split: Split = whole,
        tamper: Tamper = untouched,
        answer: Callable[[Any], None] | None = None,
        close: bool = True,
    ) -> None:
        self.initiator = End(Handshake(INITIATOR, initiator) if isinstance(initiator, Profile) else initiator)
        self.responder = End(Handshake(RESPONDER, responder) if isinstance(responder, Profile) else responder)
        self._split = split
        self._tamper = tamper
        self._answer = answer
        self._close = close

    def run(self) -> Pair:
        """Deliver flights until nothing moves; returns the pair itself."""
        ends = ((self.initiator, self.responder), (self.responder, self.initiator))
        while any([self._step(end, peer) for end, peer in ends]):
            pass
        if self._close:
            for end, peer in ends:
                if end.handshake.state is State.RUNNING:
                    end.handshake.receive_data(b"")
                    self._step(end, peer)
        return self

    def _step(self, end: End, peer: End) -> bool:
        """Let one end run until it blocks, and deliver what it sends; returns whether it sent anything."""
        self._drain(end)
        data = end.handshake.data_to_send()
        if not data:
            return False
        end.flights.append(data)
        for piece in self._split(self._tamper(end.handshake.role, len(end.flights) - 1, data)):
            if piece and peer.handshake.state is not State.FAILED:
                peer.handshake.receive_data(piece)
                if len(piece) < len(data):
                    self._drain(peer)
        return True

    def _drain(self, end: End) -> None:
        while end.error is None and not (end.events and isinstance(end.events[-1], HandshakeCompleted)):
            try:
                event = end.handshake.next_event()
            except Exception as error:  # the pair records whatever came out
                end.error = error
                return
            if isinstance(event, Signal):
                return
            end.events.append(event)
            if isinstance(event, Question) and self._answer is not None:
                self._answer(event)


def alert_of(end: End) -> int:
    """The code of the alert that ended the handshake of `end`; raises what ended it when that was something else."""
    if isinstance(end.error, PeerAborted) and end.error.code is not None:
        return end.error.code
    raise end.error or RuntimeError("the handshake has not failed")
