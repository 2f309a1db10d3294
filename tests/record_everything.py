"""`pytest --record-everything`: every handshake that a test makes is recorded, and replayed after the test.

Recorded with secrets and the whole channel, in memory; replayed with the handshake's own profile, while the fixtures of the
test still stand. What comes out differently fails the test. Python processes that a test starts do the same at their end
(`recorded_processes`), and say how it went in files of a folder, which are added up here. Where the tests run side by side
(`pytest-xdist`), each worker does that for its own, and hands its sums over to the process that tells them at the end.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from nautilus_core import Profile

from .recorded_handshakes import Recording, Seam, outcome

PROCESSES: Final = Path(__file__).parent / "recorded_processes"
REPORTS: Final = "NAUTILUS_TESTS_REPORTS"

_SUMS: Final = "record_everything"
_INTERRUPTS: Final = "its step interrupts the replay too"
_REMEMBERED: Final = "the file of known peers is another one by then"
_TYPES: Final = "asks for the type of what a recorder wraps"
NOT_RECORDED: Final[dict[str, str]] = {
    "core/test_handshake.py::test_a_session_has_one_channel": f"{_TYPES}: the channel",
    "core/test_handshake.py::test_a_step_sees_its_handshake_through_the_context": f"{_TYPES}: the entropy",
    "core/test_identity.py::test_no_secret_in_any_repr": "looks for secrets inside of a channel that a recorder wraps",
    "core/test_engine_attacks.py::test_what_counts_nonces_is_not_copied": "looks at the keys of a channel that a recorder wraps",
    "core/test_engine_attacks.py::test_a_handshake_that_its_own_step_ends": "its step calls the test's engine in a replay too",
    "test_documents.py::test_a_piece_of_a_document_runs_as_it_stands[guide: session.channel_binding]": f"{_TYPES}: the channel",
    "test_fuzz.py::test_seeds_and_a_few_mutants_come_through": "looks at the buffer of a channel that a recorder wraps",
    "binding/test_tunnel.py::test_a_client_that_does_not_read_stops_the_service": "bounds the memory that a process uses",
    "binding/test_cli_transfer.py::test_a_transfer_killed_at_random": "bounds the memory that its processes use",
}
"""Tests that run without recorders, and why."""

NOT_REPLAYED: Final[dict[str, str]] = {
    "core/test_events_questions.py::test_one_question_object_is_asked_once": "its step asks an object that was asked before",
    "core/test_tls_step.py::test_a_profile_without_a_context_cannot_run": "nothing is drawn without a context",
    "test_documents.py::test_a_piece_of_a_document_runs_as_it_stands[binding: acme/known_peers]": _REMEMBERED,
    "core/test_psk.py::test_a_value_without_its_key_makes_no_handshake": "nothing is drawn from a key that is not there",
    "core/test_credential_attacks.py::test_who_signs_with_what_was_not_negotiated_after_all": "it changes the liar's profile",
    "core/test_engine_attacks.py::test_a_question_whose_clean_up_fails_leaves_no_key_and_tells_the_peer[Interrupt]": _INTERRUPTS,
    "core/test_handshake.py::test_an_interrupt_goes_through_and_poisons_the_handshake": _INTERRUPTS,
    "binding/test_stores.py::test_trust_on_first_use_over_a_connection": _REMEMBERED,
    "core/noise/test_profile.py::test_a_peer_that_changed_its_key_in_the_meantime": "the store changes in the middle",
    "core/test_trust_timing.py::test_of_two_first_contacts_at_once_only_one_is_remembered": "the store changes in the middle",
}
"""Tests of whose recordings one cannot replay, and why. A test all of whose recordings do replay must not stand here."""

CHANGED_BEFORE: Final = ("core/test_trust.py::test_first_contact_asks_and_is_remembered_when_it_is_accepted",)
"""Tests after which a store that a profile asks is another one: they replay with a copy from before the first message."""


def _listed(table: Iterable[str], name: str) -> str | None:
    """The entry of the table that stands for a test."""
    return next((entry for entry in table if name.removeprefix("tests/").startswith(entry)), None)


class RecordEverything:
    """The plugin: what it records belongs to the test that runs."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.listed: Counter[str] = Counter()
        self.problems: list[str] = []
        self._test = ""
        self._recordings: list[Recording] | None = None
        self._seam: Seam | None = None
        self._reports = tempfile.TemporaryDirectory()

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        """Begin, here and in the processes that are started."""
        self._seam = Seam(self._begin)
        os.environ[REPORTS] = self._reports.name
        paths = [str(PROCESSES), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))

    def _begin(self, profile: Profile) -> Recording | None:
        if self._recordings is None:
            return None
        entry = _listed(NOT_RECORDED, self._test)
        if entry is not None:
            self.listed[f"not recorded: {entry} ({NOT_RECORDED[entry]})"] += 1
            return None
        recording = Recording(profile, snapshot=_listed(CHANGED_BEFORE, self._test) is not None)
        self._recordings.append(recording)
        return recording

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Give the place back, and add up what the processes have said."""
        if self._seam is not None:
            self._seam.leave()
        for path in Path(self._reports.name).glob("*.json"):
            report = json.loads(path.read_text("utf-8"))
            self.counts.update({f"{what} (in processes)": count for what, count in report["counts"].items()})
            self.problems += report["problems"]
        self._reports.cleanup()
        told = getattr(session.config, "workeroutput", None)
        if told is not None:
            told[_SUMS] = {"counts": dict(self.counts), "listed": dict(self.listed), "problems": self.problems}
        elif self.problems:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker has ended: add up what it has found. One that crashed has told nothing, and failed the tests."""
        told = getattr(node, "workeroutput", {}).get(_SUMS)
        if told is not None:
            self.counts.update(told["counts"])
            self.listed.update(told["listed"])
            self.problems += told["problems"]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Run the test, then replay all that it has recorded."""
        self._test = item.nodeid
        recordings: list[Recording] = []
        self._recordings = recordings
        reports = os.environ.pop(REPORTS)
        if _listed(NOT_RECORDED, self._test) is None:
            os.environ[REPORTS] = reports
        try:
            result = yield
        finally:
            self._recordings = None
            os.environ[REPORTS] = reports
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
            self.counts[outcome(recording)] += 1
        except BaseException as error:  # each is one more that does not replay; a step may raise anything, Ctrl-C too
            return error
        return None

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """How many were recorded, replayed, and listed as neither."""
        terminalreporter.section("every handshake was recorded and replayed")
        for what, count in (self.counts + self.listed).items():
            terminalreporter.write_line(f"{count:7} {what}")
        for problem in self.problems:
            terminalreporter.write_line(f"does not replay, in a process: {problem}", red=True)
