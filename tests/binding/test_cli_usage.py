"""Wrong usage: one line, or one object for programs, and exit code 2; nothing wrong is taken without a word."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from nautilus_anyio.cli import main

from .processes import NAUTILUS


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["connect"], "required: [HOST:]PORT; see nautilus connect --help"),
        (["conect", "1"], "invalid choice: 'conect'"),
        (["connect", "1", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["connect", "1", "--timeout", "soon"], "'soon' is no time: expected seconds, more than 0"),
        (["connect", "host:70000"], "a port is a number up to 65535"),
        (["connect", "host:http"], "expected HOST:PORT or PORT"),
        (["connect", "::1:7000"], "an IPv6 address stands in brackets"),
        (["identity"], "required: COMMAND; see nautilus identity --help"),
        (["inspect", "1", "--patience", "nan"], "'nan' is no time"),
        (["bench", "--seconds", "1e9"], "--seconds is at most 3600"),
        (["connect", "1", "--anonymous", "--identity", "x.pem"], "--anonymous does not go with --identity"),
        (["connect", "1", "--trust", "known-peers:"], "no trust policy 'known-peers:'"),
        (["connect", "1", "--trust", "pinned:"], "no trust policy 'pinned:'"),
        (["connect", "1", "--max-connections", "3"], "--max-connections goes with --listen"),
        (["listen", "1", "--max-connections", "3"], "--max-connections goes with --exec or --forward"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("nautilus: ")
    assert said.err.count("\n") == 1
    assert words in said.err
    if len(arguments) > 1:
        assert main([*arguments, "--json"]) == 2
        error = json.loads(capsys.readouterr().err)
        assert error["exit_code"] == 2
        assert words in error["error"]


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "examples:" in said.err


def test_the_version_is_the_projects(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"nautilus {project['version']}\n"


def test_a_path_that_is_no_utf_8_is_valid_json_for_every_reader(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path / "ke") + b"\xff.pem")
    shown = subprocess.run(
        [*NAUTILUS, "identity", "show", path, "--json"], capture_output=True, timeout=60, check=False
    )
    error = json.loads(shown.stderr)["error"]
    assert "/ke" in error
    error.encode("utf-8")
