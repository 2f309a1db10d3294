"""The two ends of a handshake and how far it has come. Only these two enums live here, so that every room can use them."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final


class Role(Enum):
    """Which end this is: the initiator sends the first message."""

    INITIATOR = "initiator"
    RESPONDER = "responder"

    peer: Role

    __hash__ = object.__hash__  # members are singletons: enum's own hash is a Python call in every look-up

    def __repr__(self) -> str:
        return self.name


Role.INITIATOR.peer = Role.RESPONDER
Role.RESPONDER.peer = Role.INITIATOR

INITIATOR: Final = Role.INITIATOR
RESPONDER: Final = Role.RESPONDER


class Stage(IntEnum):
    """What a handshake has established by a position in its list of steps.

    A step says what it `needs` and, rarely, what it `provides`; the list is validated from these alone.
    """

    NOTHING = 0
    KEYS = 1
    """Messages are sealed under keys that both ends hold; nobody has proved who they are."""
    PEER = 2
    """Each end has verified the other's credential, or has accepted that it is anonymous."""
    SESSION = 3
    """The session's keys exist: nothing comes after."""
