"""Nobody's own configuration is touched by a test."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from .helpers import ALICE

PEM: Final = ALICE.to_pem()


@pytest.fixture(autouse=True)
def own_configuration(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder that goes with the test, also for the processes that it starts; there is an identity in it."""
    folder = tmp_path_factory.mktemp("configuration")
    (folder / "nautilus").mkdir(mode=0o700)
    identity = folder / "nautilus" / "identity.pem"
    identity.touch(mode=0o600)
    identity.write_bytes(PEM)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    return folder
