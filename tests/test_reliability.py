"""Small versions of the measures of load, and how their report is kept."""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from .reliability import __main__ as command
from .reliability import crowd, flood
from .reliability.__main__ import PARTS, put
from .reliability.section import Section, some

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@BACKENDS
def test_a_crowd_half_of_it_hostile(backend: str) -> None:
    """Every honest peer completes and exchanges data; no task and no socket is left behind."""
    found = anyio.run(crowd.crowd, backend, 240)
    assert (found.honest, found.completed, found.exchanged, found.errors) == (120, 120, 120, {})
    assert found.left_behind == (0, 0)
    assert found.exit_code == 0
    counters = found.closed["counters"]
    warm = 50
    assert counters["accepted"] == 240 + warm
    assert counters["completed"] == 120 + warm
    assert counters["half_open"] == counters["in_progress"] == counters["sessions"] == 0
    assert sum(counters["failed"].values()) + sum(counters["refused"].values()) == 120
    assert counters["failed"]["InvalidMessage"] == 40  # garbage, and oversized


@pytest.mark.parametrize(("sends", "backend"), [("a hello", "asyncio"), ("nothing", "trio")])
def test_a_flood_of_half_open_handshakes(backend: str, sends: str) -> None:
    """The listener has less room than the flood would fill, and honest clients from elsewhere complete in time."""

    async def small() -> flood.Flood:
        limits: dict[str, Any] = {"handshakes": 20, "half_open": 50, "patience": 30.0}
        return await flood.flood(backend, sends, "another address", rate=200, seconds=1, pace=12, **limits)

    found = anyio.run(small)
    assert found.errors == {}
    assert found.clients == found.in_time == 10
    full = "evicted" if sends == "nothing" else "busy"
    assert found.counters["refused"][full] > 20


def test_each_part_has_its_place_in_the_report() -> None:
    report = put(put("# Title\n", "crowd", "## One\n"), "flood", "## Two\n")
    again = put(report, "crowd", "## Three\n")
    assert again.index("## Three") < again.index("## Two")
    assert "## One" not in again
    assert again.count("Made by `python -m tests.reliability crowd") == 1
    assert put(again, "crowd", "## One\n") == report
    with pytest.raises(ValueError, match="no <!-- crowd: end -->"):
        put("<!-- crowd: begin -->\n", "crowd", "## One\n")


def test_a_new_part_stands_in_the_order_of_the_report() -> None:
    report = put(put("# Title\n", "kills", "## Last\n") + "\n## By hand\n", "faults", "## Second\n")
    report = put(report, "crowd", "## First\n")
    places = [report.index(heading) for heading in ("# Title", "## First", "## Second", "## Last", "## By hand")]
    assert places == sorted(places)


@pytest.mark.parametrize("name", PARTS)
def test_every_part_can_be_run(name: str) -> None:
    run = import_module(f".reliability.{name}", __package__).run
    parameters = inspect.signature(run).parameters.values()
    assert all(parameter.default is not parameter.empty for parameter in parameters)
    assert inspect.get_annotations(run, eval_str=True)["return"] is Section


def test_what_is_in_the_report_is_in_places_of_its_parts() -> None:
    """Each marker in the repository's report is one that the command writes, in its order."""
    report = (Path(__file__).parents[1] / "docs/reliability.md").read_text("utf-8")
    begun, ended = re.findall("<!-- (.*): begin -->", report), re.findall("<!-- (.*): end -->", report)
    assert begun == ended == [name for name in PARTS if name in begun]
    assert {"faults", "kills"} <= set(begun)


def test_sections_of_load() -> None:
    assert crowd.section([]).startswith("## A crowd")
    assert flood.section([], {"trio": (0.0001, 0.001)}).endswith("| trio | 100 | 1000 | 0.10 |")


def test_a_part_that_found_problems_makes_the_command_fail_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def sound() -> Section:
        return Section("## Sound")

    def unsound() -> Section:
        return Section("## Unsound", some(3, "promises broken") + some(0, "tasks left behind"))

    parts = {"sound": sound, "unsound": unsound}
    monkeypatch.setattr(command, "PARTS", tuple(parts))
    for name, run in parts.items():
        part = ModuleType(name)
        vars(part)["run"] = run
        monkeypatch.setitem(sys.modules, f"{command.__package__}.{name}", part)
    assert command.main(["sound"]) == 0
    assert capsys.readouterr().err == ""
    assert command.main([]) == 1
    said = capsys.readouterr()
    assert said.err == "unsound: 3 promises broken\n"
    assert said.out == "## Sound\n\n## Unsound\n\n"
    report = tmp_path / "report.md"
    assert command.main(["--write", str(report)]) == 1
    assert "## Unsound" in report.read_text("utf-8")  # what was measured is kept all the same


def test_problems_of_load() -> None:
    there, later = {"tasks": 1, "files": 5}, {"tasks": 2, "files": 5}
    honest = crowd.Crowd("trio", honest=2, completed=2, exchanged=2, before=there, after=there, exit_code=0)
    assert honest.problems == ()
    found = crowd.Crowd("trio", honest=2, completed=1, exchanged=0, before=there, after=later, exit_code=1).problems
    assert found == (
        "trio: 1 honest peers did not complete",
        "trio: 1 honest peers got no data back",
        "trio: 1 tasks left behind",
        "trio: the listener ended with 1",
    )
    slow: dict[str, Any] = {"times": [0.1, 3.0], "errors": {"TimeoutError": 1}}
    assert flood.Flood("trio", "a hello", "another address", **slow).problems == (
        "trio, a hello from another address: 2 honest clients not within 2 s",
    )
    assert flood.Flood("trio", "a hello", "the clients' own address", **slow).problems == ()
