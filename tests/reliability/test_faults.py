"""The short form of the long run over faulty links."""

from __future__ import annotations

import pytest

from nautilus_core.testing import KINDS, FaultyPair

from . import faults
from .scenarios import SCENARIOS, Scenario

SCHEDULES = 2500


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_each_handshake_is_what_its_name_says(scenario: Scenario) -> None:
    pair, directions = faults.reference(scenario)
    assert pair.completed is ("never" not in scenario.name)
    assert all(marks[0] == 0 and marks[-1] <= length for length, marks in directions)
    if pair.completed:
        assert [end.outcome for end in pair.ends] == ["closed", "closed"]


def test_some_thousands_of_schedules() -> None:
    tally = faults.run_some(range(SCHEDULES))
    assert not tally.failures
    assert sum(tally.ends.values()) == SCHEDULES
    assert {scenario for scenario, _ in tally.ends} == {scenario.name for scenario in SCENARIOS}
    assert set(tally.happened) == set(KINDS)
    assert tally.closed > SCHEDULES / 10
    assert tally.steps < 100


def test_a_seed_stands_for_one_schedule() -> None:
    first, again = (faults.links_of(77, faults.scenario_of(77)) for _ in range(2))
    assert [link.faults for link in first] == [link.faults for link in again]
    assert isinstance(faults.run_one(77), FaultyPair)


def test_the_section_says_what_was_run(capsys: pytest.CaptureFixture[str]) -> None:
    made = faults.run(100, processes=1, first=5)
    section = made.text
    assert made.exit_code == 0
    assert "`python -m tests.reliability.faults --schedules 100 --first 5`" in section
    assert "| all | 100 |" in section
    assert section.rstrip().endswith("|")
    assert not capsys.readouterr().out
