"""For tests of handshakes: both ends in memory, randomness that can be played again, and links with faults.

Nothing here is used when a handshake runs for real; nothing here touches a network or a clock: time is simulated, and what is
drawn by lot comes from a seed.
"""

from __future__ import annotations

from ..transcript.tape import RecordingEntropy, ReplayingEntropy
from .faults import DAMAGING, KINDS, Fault, FaultyLink, Kind, draw_faults
from .faulty_end import FaultyEnd
from .faulty_pair import FaultyPair, PromiseBroken
from .pair import End, Pair, Split, Tamper, alert_of, byte_by_byte, untouched, whole
from .promises import broken_promises

__all__ = [
    "DAMAGING",
    "KINDS",
    "End",
    "Fault",
    "FaultyEnd",
    "FaultyLink",
    "FaultyPair",
    "Kind",
    "Pair",
    "PromiseBroken",
    "RecordingEntropy",
    "ReplayingEntropy",
    "Split",
    "Tamper",
    "alert_of",
    "broken_promises",
    "byte_by_byte",
    "draw_faults",
    "untouched",
    "whole",
]
