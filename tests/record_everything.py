"""`pytest --record-everything`: every handshake that a test makes in this process is recorded, and replayed after the test.

Recorded with secrets and the whole channel, in memory; replayed with the handshake's own profile, while the fixtures of the
test still stand. What comes out differently fails the test. The one seam is `Handshake.__init__`, which gets a recorder where
the test has given none. Nothing in the package knows of this.
"""

from __future__ import annotations

import copy
import copyreg
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, Final

import pytest

from fuzz import noise as fuzzed_noise
from fuzz.insecure import NullCipher, insecure_provider
from nautilus_core import Event, Handshake, HandshakeStep, Profile, Question, Role
from nautilus_core.crypto.suites import AES_128_GCM
from nautilus_core.noise.functions import CIPHER_FUNCTIONS
from nautilus_core.transcript import AnyLine, Recorder, ReplayDiverged, Transcript, TranscriptError, read, replay
from nautilus_core.transcript.lines import Answered, Failed, Frame, Sent

_TYPES: Final = "asks for the type of what a recorder wraps"
NOT_RECORDED: Final[dict[str, str]] = {
    "core/test_handshake.py::test_a_session_has_one_channel": f"{_TYPES}: the channel",
    "core/test_handshake.py::test_a_step_sees_its_handshake_through_the_context": f"{_TYPES}: the entropy",
    "core/test_identity.py::test_no_secret_in_any_repr": "looks for secrets inside of a channel that a recorder wraps",
}
"""Tests that run without recorders, and why."""

NOT_REPLAYED: Final[dict[str, str]] = {
    "core/test_events_questions.py::test_one_question_object_is_asked_once": "its step asks an object that was asked before",
    "core/test_handshake.py::test_an_interrupt_goes_through_and_poisons_the_handshake": "its step interrupts the replay too",
    "binding/test_stores.py::test_trust_on_first_use_over_a_connection": "the file of known peers is another one by then",
    "core/noise/test_profile.py::test_a_peer_that_changed_its_key_in_the_meantime": "the store changes in the middle",
    "core/test_trust_timing.py::test_of_two_first_contacts_at_once_only_one_is_remembered": "the store changes in the middle",
}
"""Tests of whose recordings one cannot replay, and why. A test all of whose recordings do replay must not stand here."""

CHANGED_BEFORE: Final = ("core/test_trust.py::test_first_contact_asks_and_is_remembered_when_it_is_accepted",)
"""Tests after which a store that a profile asks is another one: they replay with a copy from before the first message."""


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


def _listed(table: Iterable[str], name: str) -> str | None:
    """The entry of the table that stands for a test."""
    return next((entry for entry in table if name.removeprefix("tests/").startswith(entry)), None)


class RecordEverything:
    """The plugin: what it records belongs to the test that runs."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.listed: Counter[str] = Counter()
        self._test = ""
        self._recordings: list[Recording] | None = None
        self._make: Any = Handshake.__init__

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        """Stand where each handshake gets its recorder."""
        copyreg.pickle(MappingProxyType, lambda proxy: (MappingProxyType, (dict(proxy),)))
        make = self._make

        def init(engine: Handshake, role: Role, profile: Profile, **options: Any) -> None:
            if self._recordings is None or options.get("recorder") is not None:
                make(engine, role, profile, **options)
            elif (entry := _listed(NOT_RECORDED, self._test)) is not None:
                self.listed[f"not recorded: {entry} ({NOT_RECORDED[entry]})"] += 1
                make(engine, role, profile, **options)
            else:
                recording = Recording(profile, snapshot=_listed(CHANGED_BEFORE, self._test) is not None)
                make(engine, role, profile, **options, recorder=recording.recorder)
                recording.belongs_to(engine)
                self._recordings.append(recording)

        Handshake.__init__ = init  # type: ignore[method-assign, assignment]

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        """Give the place back."""
        Handshake.__init__ = self._make  # type: ignore[method-assign]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Run the test, then replay all that it has recorded."""
        self._test = item.nodeid
        recordings: list[Recording] = []
        self._recordings = recordings
        try:
            result = yield
        finally:
            self._recordings = None
        self._check(item.nodeid, recordings)
        return result

    def _check(self, name: str, recordings: list[Recording]) -> None:
        entry = _listed(NOT_REPLAYED, name)
        problems = [problem for recording in recordings if (problem := self._problem(recording)) is not None]
        if entry is not None:
            if not problems:
                pytest.fail("all recordings of this test replay: it must not be listed as one that does not")
            self.listed[f"not replayed: {entry} ({NOT_REPLAYED[entry]})"] += len(problems)
        elif problems:
            first = f"{type(problems[0]).__name__}: {problems[0]}"
            pytest.fail(f"{len(problems)} of {len(recordings)} recordings do not replay: {first}")

    def _problem(self, recording: Recording) -> BaseException | None:
        """Replay one; what went wrong, or None."""
        self.counts["recorded"] += 1
        try:
            transcript = recording.transcript()
            if transcript is None:
                self.counts["idle: nothing was sent, and no message or error came of what was received"] += 1
                return None
            recording.replay(transcript)
        except BaseException as error:  # each is one more that does not replay; a step may raise anything, Ctrl-C too
            return error
        self.counts["replayed byte-equal" if transcript.whole else "too long, byte-equal as far as they go"] += 1
        return None

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """How many were recorded, replayed, and listed as neither."""
        terminalreporter.section("every handshake was recorded and replayed")
        for what, count in (self.counts + self.listed).items():
            terminalreporter.write_line(f"{count:7} {what}")
