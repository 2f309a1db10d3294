"""Fixtures that the whole suite shares: the two event loops, and how long hypothesis may take."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("nautilus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nautilus")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every `anyio` test runs on both."""
    backend: str = request.param
    return backend
