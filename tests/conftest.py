"""What the whole suite shares: the two event loops, how long hypothesis may take, and in how many processes it runs."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite(
    "tests.binding", "tests.core"
)  # what helps the tests asserts as well, also under `python -O`

from .record_everything import RecordEverything  # noqa: E402

# Under nohup, or in the background: the processes that tests start must not ignore these as well.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite runs side by side on all cores, unless `-n` says otherwise; what is named runs in this process."""
    if not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput"):
        return
    option = config.option
    looks = option.collectonly or option.showfixtures or option.show_fixtures_per_test
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    if whole and not looks and option.numprocesses is None:
        option.numprocesses = "auto"
    if option.numprocesses and option.dist == "no":
        option.dist = "worksteal"  # a few files have most of the slow tests


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: a good part of the time goes into waiting."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + (cores + 1) // 2


def pytest_configure(config: pytest.Config) -> None:
    """Turn the switch on; and where nobody wants bytecode in the folders, keep it elsewhere, not to compile again each time.

    The tests start hundreds of processes that import all of the project.
    """
    if config.getoption("record_everything"):
        config.pluginmanager.register(RecordEverything())
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None) and "PYTHONPYCACHEPREFIX" not in os.environ:
        bytecode = tempfile.TemporaryDirectory(prefix="bytecode-", ignore_cleanup_errors=True)
        os.environ["PYTHONPYCACHEPREFIX"] = bytecode.name
        config.add_cleanup(bytecode.cleanup)
