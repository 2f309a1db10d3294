"""Nobody's own configuration is touched by a test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration folder that goes with the test, also for the processes that it starts."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
