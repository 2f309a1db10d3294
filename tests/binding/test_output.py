"""What reaches the terminal, and what must not."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from nautilus_anyio.cli import main
from nautilus_anyio.cli.output import Output, json_line
from nautilus_anyio.cli.screen import Throughput
from nautilus_anyio.cli.tables import amount
from nautilus_anyio.cli.transfer.report import Bars, Reporter
from nautilus_anyio.pictures.words import printable

from .processes import NAUTILUS, free_port
from .test_cli import start_listener

ROOT = Path(__file__).parents[2]


def test_a_file_name_in_an_error_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", str(tmp_path / "\x1b[2Jx\x9b\u202e"), "1"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("nautilus: ")
    assert error.endswith("\\x1b[2Jx\\x9b\\u202e: No such file or directory\n")


@pytest.mark.parametrize("name", ["a[b]c", "x\\[/foo]", "[/x]", "[red]", "plain\\"])
def test_a_file_name_is_no_markup_in_a_bar(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    screen = io.StringIO()
    output = Output()
    output._errors = Console(file=screen, force_terminal=True, highlight=False, width=100)
    reporter = Reporter(output, Bars(output))
    reporter.begin("sending", name, 0, 10)
    reporter.end()
    assert f"sending {name}" in screen.getvalue()


def test_what_utf8_cannot_hold_is_escaped_in_json_and_on_the_terminal() -> None:
    line = json_line({"file": "a\udcff", "all": ["\ud800", ("\u00e9", 1)], "in": {"x": "\udc41"}})
    told = json.loads(line)
    assert told == {"file": "a\\xff", "all": ["\\ud800", ["\u00e9", 1]], "in": {"x": "\\udc41"}}
    assert printable("a\udcff\x1b") == "a\\xff\\x1b"


def test_a_terminal_that_knows_no_arrows_gets_no_traceback() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*NAUTILUS, "profile", "show"], env=environment, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0
    assert done.stderr == b""
    assert b"hello" in done.stdout


@pytest.mark.parametrize("arguments", [["profile", "show"], ["completion", "bash"], ["profile", "show", "--json"]])
def test_a_standard_output_that_takes_no_more_is_named(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*NAUTILUS, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "standard output: No space left on device" in done.stderr


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3,072.0 GiB")],
)
def test_amounts_are_in_powers_of_1024(count: int, words: str) -> None:
    assert amount(count) == words


def test_notes_never_take_the_place_of_data_when_standard_error_is_closed(tmp_path: Path) -> None:
    port = free_port()
    listener = start_listener(port, "--trust", "anyone", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    command = [*NAUTILUS, "connect", f"127.0.0.1:{port}", "--trust", "anyone"]
    with (tmp_path / "got").open("wb") as got:
        code = subprocess.Popen(
            ["sh", "-c", 'exec "$@" 2>&-', "sh", *command], stdin=subprocess.DEVNULL, stdout=got
        ).wait(timeout=30)
    listener.communicate(timeout=30)
    assert code == 0
    assert (tmp_path / "got").read_bytes() == b""


def test_a_bars_speed_is_in_the_units_of_its_sizes() -> None:
    now = 0.0
    with Progress(get_time=lambda: now, disable=True, auto_refresh=False) as progress:
        bar = progress.add_task("sending", total=40 << 20)
        column = Throughput()
        assert column.render(progress.tasks[0]).plain == ""
        for _ in range(3):
            now += 1.0
            progress.advance(bar, 10 << 20)
        assert column.render(progress.tasks[0]).plain == "10.0 MiB/s"


@pytest.mark.parametrize(
    "arguments",
    [
        ["profile", "show"],
        ["profile", "show", "--json"],
        ["profile", "show", "--ladder"],
        ["transcript", "show", "tests/transcripts/recorded/default.initiator.jsonl"],
        ["transcript", "diagram", "tests/transcripts/recorded/default.initiator.jsonl"],
    ],
)
def test_a_picture_that_nobody_reads_any_more_is_no_failure(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        done = subprocess.run(
            [*NAUTILUS, *arguments], stdout=nobody, stderr=subprocess.PIPE, cwd=ROOT, timeout=30, check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")
