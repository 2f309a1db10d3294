"""Small versions of the measures of load, and how their report is kept."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import pytest

from .reliability import crowd, flood
from .reliability.__main__ import PARTS, put

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
    assert inspect.get_annotations(run, eval_str=True)["return"] is str


def test_what_is_in_the_report_is_in_places_of_its_parts() -> None:
    """Each marker in the repository's report is one that the command writes, in its order."""
    report = (Path(__file__).parents[1] / "docs/reliability.md").read_text("utf-8")
    begun, ended = re.findall("<!-- (.*): begin -->", report), re.findall("<!-- (.*): end -->", report)
    assert begun == ended == [name for name in PARTS if name in begun]
    assert {"faults", "kills"} <= set(begun)


def test_sections_of_load() -> None:
    assert crowd.section([]).startswith("## A crowd")
    assert flood.section([], {"trio": (0.0001, 0.001)}).endswith("| trio | 100 | 1000 | 0.10 |")
