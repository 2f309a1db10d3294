"""`handshake_pair`: both ends in memory, and what happened kept for the report. Nothing is recorded to files here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nautilus_core.handshake import Handshake
from nautilus_core.profiles import Profile
from nautilus_core.role import Role
from nautilus_core.testing import Pair, Split, Tamper, untouched, whole
from nautilus_core.transcript import Recorder

from .items import Looks, so_far


class HandshakePair:
    """Makes pairs; see the fixture `handshake_pair`."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._pairs = 0

    def __call__(
        self,
        initiator: Profile | Handshake,
        responder: Profile | Handshake | None = None,
        *,
        answer: Callable[[Any], None] | None = None,
        split: Split = whole,
        tamper: Tamper = untouched,
        close: bool = True,
    ) -> Pair:
        """Run both ends until nothing moves.

        Args:
            initiator: its profile, or its engine.
            responder: likewise; the initiator's profile by default.
            answer: called with each question; without it a question stays open.
            split: how each flight is cut before it is delivered.
            tamper: changes flights on the way.
            close: whether an end that waits when all is quiet has its stream ended, as a transport would.

        Raises:
            TypeError: there is one engine for two ends.
            ValueError: a profile cannot play its role.
        """
        if responder is None:
            if isinstance(initiator, Handshake):
                raise TypeError("an engine is one end: handshake_pair(initiator, responder)")
            responder = initiator
        self._pairs += 1
        ends = [self._end(role, end) for role, end in zip(Role, (initiator, responder), strict=True)]
        return Pair(ends[0], ends[1], answer=answer, split=split, tamper=tamper, close=close).run()

    def _end(self, role: Role, end: Profile | Handshake) -> Handshake:
        if isinstance(end, Handshake):
            return end
        file: list[bytes] = []
        self._looks.add(f"pair {self._pairs}, {role.value}", partial(so_far, file))
        return Handshake(role, end, recorder=Recorder(file.append, whole_channel=True))
