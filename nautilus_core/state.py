"""Where a handshake can stand, and where it can go from there. The engine alone moves."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final


class State(Enum):
    """Where a handshake stands."""

    NEW = "new"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"

    __hash__ = object.__hash__  # members are singletons: enum's own hash is a call in Python


MOVES: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        State.NEW: frozenset({State.RUNNING, State.FAILED}),
        State.RUNNING: frozenset({State.PAUSED, State.COMPLETED, State.FAILED}),
        State.PAUSED: frozenset({State.RUNNING, State.FAILED}),
        State.COMPLETED: frozenset(),
        State.FAILED: frozenset(),
    }
)
"""Every legal move from state to state; it is the same for both roles."""
