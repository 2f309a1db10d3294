"""`profile show`, `bench` and `demo`: what they print, for people and for programs, and where nobody wants colours."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nautilus_anyio.cli import main

NAUTILUS = [sys.executable, "-m", "nautilus_anyio"]

OWN = """
from nautilus_core import INITIATOR, RESPONDER, ANONYMOUS, CustomProtocolStep, MultiMessageStep, profiles, trust

class Challenge(MultiMessageStep):
    name, sender = "challenge", INITIATOR
    facts = {"payload": "[2], \\x1b5"}
    def write(self, context): ...
    def read(self, context, message): ...

def quota():
    return CustomProtocolStep(
        "quota;#1", RESPONDER, write=lambda _: b"", read=lambda *_: None, protocol_id="acme/1", required=False
    )

def make():
    base = profiles.nautilus(identity=ANONYMOUS, trust=trust.anyone(), protocols=["acme/1"])
    return base.insert_before("initiator-finished", quota).insert_before("initiator-finished", Challenge)

made = make()
number = 3
def broken(): raise RuntimeError("no such luck")
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with profiles in the current folder; its name, which no other test has imported."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Standard output of `nautilus profile show`, which succeeds."""
    assert main(["profile", "show", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(show(capsys, "--json", *arguments))
    return shown


@pytest.mark.parametrize("width", ["80", "120"])
def test_the_table_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    lines = show(capsys).splitlines()
    assert lines[0] == "nautilus/1"
    assert max(map(len, lines)) <= int(width)
    row = next(line.split() for line in lines if "responder-authentication" in line)
    assert row[:7] == ["6", "responder-authentication", "responder", "←", "2", "yes", "keys"]
    assert ("credential, scheme, signature" in "\n".join(lines)) == (width == "120")
    assert "sealed       from step 6, responder-authentication, on" in "\n".join(lines)
    assert "1 until the initiator can send data (2 if it waits to be accepted)" in "\n".join(lines)
    assert not any("…" in line for line in lines)


def test_options_change_it(capsys: pytest.CaptureFixture[str]) -> None:
    shown = as_json(
        capsys, "--suite", "P256_AES128GCM_SHA256", "--protocol", "acme/1", "--protocol", "acme/2", "--anonymous"
    )
    assert shown["offers"]["suites"] == ["P256_AES128GCM_SHA256"]
    assert shown["offers"]["protocols"] == ["acme/1", "acme/2"]
    assert shown["offers"]["identity"] == ["anonymous"]
    assert shown["round_trips"] == {"initiator": 1.0, "responder": 1.5, "initiator_accepted": 2.0}
    assert [flight["sender"] for flight in shown["flights"]] == ["initiator", "responder", "initiator"]
    assert shown["steps"][5] == {
        "position": 5,
        "name": "responder-key-share",
        "sender": "responder",
        "flight": 2,
        "sealed": False,
        "needs": "nothing",
        "provides": "keys",
        "required": True,
        "protocol_id": None,
        "several": False,
        "may_insert": [],
        "fields": ["group", "public"],
        "facts": {},
    }
    assert shown["limits"]["handshake"] == 262_144


@pytest.mark.parametrize("attribute", ["make", "made"])
def test_a_profile_of_ones_own(capsys: pytest.CaptureFixture[str], own: str, attribute: str) -> None:
    shown = as_json(capsys, "--profile", f"{own}:{attribute}")
    assert [step["name"] for step in shown["steps"]][9:11] == ["quota;#1", "challenge"]
    assert shown["at_least"]
    assert shown["steps"][10]["facts"] == {"payload": "[2], \x1b5"}
    table = show(capsys, "--profile", f"{own}:{attribute}")
    assert "payload" in table
    assert "[2], " in table
    assert "quota;#1: with acme/1 only, where both ends have it" in table
    assert "challenge: several messages, turn by turn" in table
    assert "at least 5" in table
    assert max(map(len, table.splitlines())) <= 80


def test_the_diagram(capsys: pytest.CaptureFixture[str], own: str) -> None:
    plain = show(capsys, "--mermaid").splitlines()
    assert plain[0] == "sequenceDiagram"
    assert plain[3:13] == [
        "    I->>R: hello",
        "    I->>R: suites",
        "    I->>R: initiator-key-share",
        "    R->>I: hello-response",
        "    R->>I: suite",
        "    Note over I,R: initiator-key-share-retry may come in here",
        "    R->>I: responder-key-share",
        "    Note over I,R: encrypted from here on",
        "    R->>I: responder-authentication",
        "    R->>I: responder-finished",
    ]
    assert "    R->>I: accept" in plain
    diagram = show(capsys, "--mermaid", "--profile", f"{own}:make")
    assert "    R->>I: quota#59;#35;1 (with acme/1 only, where both ends have it)" in diagram
    assert as_json(capsys, "--mermaid")["mermaid"].splitlines() == plain


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("{own}:number", "expected a nautilus_core.Profile, or a function that makes one; got a int"),
        ("{own}:broken", "RuntimeError: no such luck"),
        ("{own}:nothing", "has no attribute 'nothing'"),
        ("no_such_module:made", "ModuleNotFoundError"),
        ("{own}", "expected MODULE:NAME"),
        (":made", "expected MODULE:NAME"),
        ("..:made", "--profile ..:made"),
    ],
)
def test_what_is_no_profile_is_refused_on_one_line(
    capsys: pytest.CaptureFixture[str], own: str, path: str, complaint: str
) -> None:
    assert main(["profile", "show", "--profile", path.format(own=own)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert complaint in captured.err
    assert captured.err.count("\n") == 1


def test_a_profile_of_ones_own_goes_without_options_of_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "show", "--profile", "a:b", "--anonymous"]) == 2
    assert "--profile and --noise each go alone" in capsys.readouterr().err


def test_bench_measures_all_kinds_in_the_time_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--seconds", "0.2", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    measured = json.loads(captured.out)
    assert measured["machine"]["seconds"] < 5
    results = measured["results"]
    assert {result["kind"] for result in results} == {"primitive", "handshake", "channel"}
    for result in results:
        assert result["microseconds"] > 0
        assert result["rounds"] >= 3
        assert result["per_second"] == pytest.approx(1e6 / result["microseconds"], rel=0.01)
        if result["kind"] == "channel":
            bandwidth = result["record"] / 2**20 * result["per_second"]
            assert result["mib_per_second"] == pytest.approx(bandwidth, rel=0.05, abs=0.06)  # it has one decimal
        else:
            assert result["mib_per_second"] is None
    hybrid = next(result for result in results if result["name"] == "X25519MLKEM768_AES256GCM_SHA384")
    verify = next(result for result in results if result["name"] == "Ed25519 verify")
    assert hybrid["microseconds"] > 2 * verify["microseconds"]


@pytest.mark.parametrize("width", ["80", "120"])
def test_benchs_table_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert main(["bench", "--seconds", "0.01"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= int(width)
    for heading in ("primitive", "handshake, both ends", "channel, MiB/s in records of", "machine"):
        assert any(line.startswith(heading) for line in lines)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_bench_wants_some_seconds(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    assert main(["bench", "--seconds", seconds]) == 2
    assert "is no time: expected seconds, more than 0" in capsys.readouterr().err


def test_demo_gives_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--size", "1", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("\n") == 1
    result = json.loads(captured.out)
    assert result["agree"] is True
    assert result["bytes"] == 1 << 20
    assert result["sent_sha256"] == result["received_sha256"]
    assert result["handshake"]["flights"] == 3
    assert result["suite"] == "X25519MLKEM768_AES256GCM_SHA384"


def test_a_quiet_demo_says_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--size", "1", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert len(captured.out.splitlines()) == 2
    assert "both sides agree" in captured.out


def on_a_terminal(*arguments: str, **variables: str) -> bytes:
    """All that the command writes to a terminal, which is its standard output and standard error."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI", "TERM")}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "80", **variables}
    command = subprocess.Popen([*NAUTILUS, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65_536):
            shown += data
    except OSError:  # Linux's way to say that nobody has the terminal open any more
        pass
    finally:
        os.close(ours)
        command.wait(timeout=30)
    return shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--size", "1"],
        ["profile", "show"],
        ["bench", "--seconds", "0.01"],
        ["inspect", "127.0.0.1:1"],
        ["connect", "127.0.0.1:1", "--trust", "anyone"],
        ["bench", "--help"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_with_no_color_there_is_no_escape_sequence(arguments: list[str]) -> None:
    shown = on_a_terminal(*arguments, NO_COLOR="1")
    assert len(shown) > 50
    assert b"\x1b" not in shown


def test_without_it_there_are_colours_and_bars() -> None:
    assert b"\x1b[" in on_a_terminal("profile", "show")
    assert "━".encode() in on_a_terminal("bench", "--seconds", "0.01")
    assert "━".encode() not in on_a_terminal("bench", "--seconds", "0.01", "--quiet")


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("Noise_XX_25519_ChaChaPoly_SHA256", ["<- e, ee, s, es", "2", "1"]),
        ("Noise_IKpsk2_448_AESGCM_BLAKE2b", ["-> e, es, s, ss", "1", "2"]),
        ("Noise_XXfallback_25519_AESGCM_SHA512", ["<- e, ee, s, es", "2", "1"]),
        ("Noise_N_25519_AESGCM_SHA256", ["-> e, es", "0", "2"]),
    ],
)
def test_a_noise_protocol_shows_what_its_payloads_are_worth(
    name: str, row: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", "show", "--noise", name, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["profile"] == name
    rows = [[step["name"], step["facts"]["source"], step["facts"]["destination"]] for step in told["steps"]]
    assert row in rows


def test_a_wrong_noise_name_says_what_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "show", "--noise", "Noise_XX_25519_ROT13_SHA256"]) == 2
    assert "use one of ChaChaPoly, AESGCM" in capsys.readouterr().err
