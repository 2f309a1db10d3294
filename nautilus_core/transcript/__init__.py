"""Transcripts: record a handshake, read it, replay it. The public names, and nothing else."""

from .lines import FORMAT, VERSION, AnyLine, LineWriter, TranscriptError
from .opened import OpenedFrame, opened
from .reader import Transcript, read
from .recorder import Recorder
from .replay import replay
from .report import ReplayDiverged, ReplayReport
from .tape import RecordingEntropy, ReplayingEntropy

__all__ = [
    "FORMAT",
    "VERSION",
    "AnyLine",
    "LineWriter",
    "OpenedFrame",
    "Recorder",
    "RecordingEntropy",
    "ReplayDiverged",
    "ReplayReport",
    "ReplayingEntropy",
    "Transcript",
    "TranscriptError",
    "opened",
    "read",
    "replay",
]
