"""What reaches the terminal, and what must not."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from nautilus_anyio.cli import main
from nautilus_anyio.cli.output import Output
from nautilus_anyio.cli.transfer.report import Bars, Reporter

from .processes import NAUTILUS
from .test_cli import free_port, start_listener


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
