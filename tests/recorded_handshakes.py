"""One handshake that is recorded in memory and replayed with its own profile: what `--record-everything` does, without pytest.

The one seam is `Handshake.__init__`, which gets a recorder where nobody has given one. Nothing in the package knows of this.
"""

from __future__ import annotations

import copy
import copyreg
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from fuzz import noise as fuzzed_noise
from fuzz.insecure import NullCipher, insecure_provider
from nautilus_core import Event, Handshake, HandshakeStep, Profile, Question, Role
from nautilus_core.crypto.suites import AES_128_GCM
from nautilus_core.noise.functions import CIPHER_FUNCTIONS
from nautilus_core.transcript import AnyLine, Recorder, ReplayDiverged, Transcript, TranscriptError, read, replay
from nautilus_core.transcript.lines import Answered, Failed, Frame, Sent

IDLE: Final = "idle: nothing was sent, and no message or error came of what was received"
EQUAL: Final = "replayed byte-equal"
PARTLY: Final = "too long, byte-equal as far as they go"


class _Kept(Recorder):
    """Keeps the questions too: a test's answer may be a value that no transcript has."""

    __slots__ = ("_at_first", "questions")

    def __init__(self, file: list[bytes], begin: Callable[[], None]) -> None:
        super().__init__(file.append, clock=time.monotonic, dangerously_record_secrets=True, whole_channel=True)
        self.questions: list[Question[Any]] = []
        self._at_first = begin

    def _line(self, line: AnyLine) -> None:
        if self._header is not None:
            self._at_first()
        super()._line(line)

    def happened(self, event: Event, *, channel: bool = False) -> None:
        if isinstance(event, Question):
            self.questions.append(event)
        super().happened(event, channel=channel)


class Recording:
    """One handshake that is recorded.

    Args:
        profile: its own.
        snapshot: whether its steps are copied before they have run.
    """

    def __init__(self, profile: Profile, *, snapshot: bool) -> None:
        self.profile = profile
        self.file: list[bytes] = []
        self.recorder = _Kept(self.file, self._begin)
        self._snapshot = snapshot
        self._engine: Handshake | None = None
        self._provider: Callable[[], AbstractContextManager[None]] = _provider()

    def belongs_to(self, engine: Handshake) -> None:
        """The engine is made."""
        self._engine = engine
        if self._snapshot:
            self._copy_steps(engine)

    def _begin(self) -> None:
        """The first line: a list that was edited on the handshake itself is no profile's."""
        engine, self._engine = self._engine, None
        if engine is not None and engine.steps.outline.descriptions != self.profile.outline.descriptions:
            self._copy_steps(engine)

    def _copy_steps(self, engine: Handshake) -> None:
        steps: Sequence[HandshakeStep[Any]] = copy.deepcopy(list(engine.steps))
        old = self.profile
        self.profile = Profile(old.name, lambda: steps, old.stream, old.limits, old.offers, old.check)

    def transcript(self) -> Transcript | None:
        """What was recorded; None where nothing came of it. Raises what stopped the recorder."""
        self.recorder.close()
        error = self.recorder.error
        if error is not None and not isinstance(error, TranscriptError):
            raise error
        if not self.file:
            return None
        transcript = read(self.file, cut_off=error is not None)
        return transcript if any(isinstance(line, (Sent, Frame, Failed)) for line in transcript.lines) else None

    def replay(self, transcript: Transcript) -> None:
        """Replay in full; raises `ReplayDiverged`, or whatever else went wrong."""
        answers = [line for line in transcript.lines if isinstance(line, Answered)]
        pairs = zip(self.recorder.questions, answers, strict=False)
        withheld = iter([question for question, line in pairs if line.verdict == "withheld"])
        with self._provider():
            report = replay(
                transcript, self.profile, answer=lambda question: question.answer(next(withheld).pending.value)
            )
        sent = _bytes_sent(transcript.lines)
        if not report.full or report.sent != sent:
            raise ReplayDiverged(f"a replay in full, of {sent} bytes", str(report), line=1)


def _provider() -> Callable[[], AbstractContextManager[None]]:
    """What the fuzz harnesses have put in the place of the ciphers at this moment, to be put there again."""
    if _is_null(AES_128_GCM.new):
        return insecure_provider
    return fuzzed_noise._insecure if _is_null(CIPHER_FUNCTIONS["ChaChaPoly"].new) else nullcontext


def _is_null(cipher: object) -> bool:
    return cipher is NullCipher


def _bytes_sent(lines: Sequence[AnyLine]) -> int:
    return sum(len(line.data) for line in lines if isinstance(line, Sent))


def outcome(recording: Recording) -> str:
    """Replay one; says what became of it, and raises whatever went wrong."""
    transcript = recording.transcript()
    if transcript is None:
        return IDLE
    recording.replay(transcript)
    return EQUAL if transcript.whole else PARTLY


KNOWN: Final = "not replayed: the peer was asked about, and is in the file of known peers by then"


def report(recordings: Sequence[Recording], path: Path, who: str) -> None:
    """Replay what a process has recorded, and write down how that went."""
    counts: Counter[str] = Counter(recorded=len(recordings))
    problems = []
    for recording in recordings:
        try:
            counts[outcome(recording)] += 1
        except Exception as error:
            if b'"PeerIdentified"' in b"".join(recording.file) and "PeerIdentified" in str(error):
                counts[KNOWN] += 1
            else:
                problems.append(f"{who}: {type(error).__name__}: {error}")
    new = path.with_suffix(".part")
    new.write_text(json.dumps({"counts": counts, "problems": problems}), "utf-8")
    new.replace(path)


class Seam:
    """Stands where each handshake gets its recorder.

    Args:
        begin: called for each that has none, with its profile; gives its recording, or None to leave it alone.
    """

    def __init__(self, begin: Callable[[Profile], Recording | None]) -> None:
        copyreg.pickle(MappingProxyType, lambda proxy: (MappingProxyType, (dict(proxy),)))
        self._make: Any = Handshake.__init__
        make = self._make

        def init(engine: Handshake, role: Role, profile: Profile, **options: Any) -> None:
            recording = begin(profile) if options.get("recorder") is None else None
            if recording is None:
                make(engine, role, profile, **options)
            else:
                make(engine, role, profile, **{**options, "recorder": recording.recorder})
                recording.belongs_to(engine)

        Handshake.__init__ = init  # type: ignore[method-assign, assignment]

    def leave(self) -> None:
        """Give the place back."""
        Handshake.__init__ = self._make  # type: ignore[method-assign]
