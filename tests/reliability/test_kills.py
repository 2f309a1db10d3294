"""The short form of the long run that kills processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import kills

TIMES = 6


def test_a_process_killed_at_any_moment(tmp_path: Path, anyio_backend: str) -> None:
    killing = kills.Killing(tmp_path, seed=2)
    assert list(killing.run(TIMES, (anyio_backend,))) == list(range(1, TIMES + 1))
    result = killing.result
    assert not result.problems
    assert sum(result.kills.values()) == TIMES
    assert len(result.seconds) > TIMES / 2
    assert {victim for victim, _ in result.kills} == {"client", "listener"}
    assert {survivor for survivor, _ in result.outcomes} == {"client", "listener"}
    assert result.known > TIMES


def test_what_must_not_be_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "TYPED", set())
    killing = kills.Killing(tmp_path, seed=2)
    assert list(killing.run(3, ("asyncio",))) == [1, 2, 3]
    assert killing.result.problems
    assert "got" in killing.result.problems[0]
