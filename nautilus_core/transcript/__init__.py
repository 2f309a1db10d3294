"""Transcripts: record a handshake, read it, replay it. The public names, and nothing else."""

from .difference import Difference, first_difference
from .ladder import Arrow, FlightEnd, Ladder, Mark, Party, Rung, Tone, ladder_of, ladder_of_profile
from .lines import FORMAT, VERSION, AnyLine, LineWriter, TranscriptError
from .opened import OpenedFrame, opened
from .pieces import Piece, pieces_of
from .reader import Transcript, read
from .rebuilt import profile_of
from .recorder import Recorder
from .redaction import redact, to_bytes
from .replay import replay
from .report import ReplayDiverged, ReplayReport
from .rerun import rerun
from .tape import RecordingEntropy, ReplayingEntropy
from .unsealed import unsealed

__all__ = [
    "FORMAT",
    "VERSION",
    "AnyLine",
    "Arrow",
    "Difference",
    "FlightEnd",
    "Ladder",
    "LineWriter",
    "Mark",
    "OpenedFrame",
    "Party",
    "Piece",
    "Recorder",
    "RecordingEntropy",
    "ReplayDiverged",
    "ReplayReport",
    "ReplayingEntropy",
    "Rung",
    "Tone",
    "Transcript",
    "TranscriptError",
    "first_difference",
    "ladder_of",
    "ladder_of_profile",
    "opened",
    "pieces_of",
    "profile_of",
    "read",
    "redact",
    "replay",
    "rerun",
    "to_bytes",
    "unsealed",
]
