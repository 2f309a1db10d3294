"""Fixtures that the whole suite shares: the two event loops, and how long hypothesis may take."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite(
    "tests.binding", "tests.core"
)  # what helps the tests asserts as well, also under `python -O`

from .record_everything import RecordEverything  # noqa: E402

if (
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
):  # under nohup: the processes that tests start must not ignore it as well
    signal.signal(signal.SIGHUP, lambda *_: None)

pytest_plugins = ["pytester"]  # for tests/plugin; pytest takes it from here alone

settings.register_profile("nautilus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nautilus")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every `anyio` test runs on both."""
    backend: str = request.param
    return backend


def pytest_addoption(parser: pytest.Parser) -> None:
    """The switch that records every handshake of the suite and replays it."""
    parser.addoption(
        "--record-everything",
        action="store_true",
        help="record every handshake of the tests, and replay each after its test, byte for byte",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Turn it on."""
    if config.getoption("record_everything"):
        config.pluginmanager.register(RecordEverything())
