"""`nautilus transcript`: on good files and on bad ones, in processes of its own; the tests that it writes are run."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import pytest

from nautilus_anyio.cli import main
from nautilus_core import Identity, Profile, profiles, trust
from nautilus_core.transcript import Transcript, read, to_bytes
from nautilus_core.transcript.lines import Drawn

from ..core.helpers import both
from ..core.transcript.recording import Recorded
from .processes import NAUTILUS
from .test_stores import limited_files

GATEWAY: Final = Identity.generate()
DEVICE: Final = Identity.generate()

OWN: Final = """
from nautilus_core import Identity, profiles, trust

TRUSTED = {trusted!r}

def make_profile():
    identity = Identity.from_pem({pem!r}, None)
    return profiles.nautilus(identity=identity, trust=trust.pinned(TRUSTED))

made = make_profile()
"""


def gateway(peer: str) -> Profile:
    return profiles.nautilus(identity=GATEWAY, trust=trust.pinned(peer))


def device() -> Profile:
    return profiles.nautilus(identity=DEVICE, trust=trust.pinned(GATEWAY.peer_id))


def saved(path: Path, file: list[bytes]) -> Path:
    path.write_bytes(b"".join(file))
    return path


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """A failure in the field, with the secrets: the gateway pinned the wrong key. `acme.py` beside it makes its profile."""
    wrong = Identity.generate().peer_id
    (tmp_path / "acme.py").write_text(OWN.format(trusted=wrong, pem=GATEWAY.to_pem()))
    return saved(tmp_path / "field-1.jsonl", Recorded(device(), gateway(wrong)).files[1])


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return saved(tmp_path / "good.jsonl", Recorded(*both(protocols=["acme/1"]), secrets=False).files[0])


def nautilus(*arguments: str | Path, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `nautilus transcript ...` as a process; it ends with `code`."""
    command = [*NAUTILUS, "transcript", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> str:
    """Standard output of the same, in this process."""
    assert main(["transcript", *map(str, arguments)]) == code
    return capsys.readouterr().out


def complaint_of(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int) -> str:
    """What it complains of, on one line."""
    assert main(["transcript", *map(str, arguments)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


# ------------------------------------------------------------------ looking


@pytest.mark.parametrize("by", ["--open", "--key-log"])
def test_show_opens_what_was_sealed(tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str) -> None:
    recorded = Recorded(*both(), secrets=by == "--open")
    file, log = saved(tmp_path / "one.jsonl", recorded.files[0]), tmp_path / "log"
    log.write_bytes(b"".join(recorded.key_logs[0]))
    options = [by] if by == "--open" else [by, log]
    assert "credential_type" not in run(capsys, "show", file).partition("responder-authentication from")[2]
    shown = run(capsys, "show", file, *options).partition("responder-authentication from")[2]
    assert re.search(r"sealed in 169 bytes, opened:.*credential_type: raw-public-key", shown, re.DOTALL)
    objects = [json.loads(line) for line in run(capsys, "show", file, "--json", *options).splitlines()]
    pieces = {piece["step"]: piece for one in objects for piece in one.get("pieces", ())}
    assert pieces["responder-authentication"]["fields"]["scheme"] == "ed25519"
    assert bytes.fromhex(pieces["responder-authentication"]["inside"]).startswith(b"\x95\xb8responder-authentication")
    assert "inside" not in pieces["hello"]
    for one in objects:
        assert one["kind"] != "draw" or set(one) <= {"line", "kind", "what", "secret"}


def test_show_says_what_it_cannot_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path / "public.jsonl", Recorded(*both(), secrets=False).files[0])
    assert main(["transcript", "show", str(file), "--open"]) == 2
    assert "holds no secrets: what was sealed opens with a key log alone" in capsys.readouterr().err
    log = tmp_path / "log"
    log.write_bytes(b"".join(Recorded(*both()).key_logs[0]))
    assert main(["transcript", "show", str(file), "--key-log", str(log)]) == 2
    assert "no secret of this session" in capsys.readouterr().err


@pytest.mark.parametrize("width", ["80", "130"])
def test_show_decodes_what_is_in_the_clear(
    good: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    shown = run(capsys, "show", good)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= int(width)
    assert any(re.match(r" +2 +frame +hello from the initiator, \d+ bytes, in the clear", line) for line in lines)
    assert "protocols: acme/1, grease-" in shown
    assert "sealed: it can be read by the two ends alone" in shown
    assert "0000  e1 00 0" in shown
    assert "bytes more: --full" in shown
    assert ("0000  e1 00 0" in next(line for line in lines if "versions: 1" in line)) == (width == "130")
    assert "bytes more" not in run(capsys, "show", good, "--full")


def test_show_as_json_has_all_bytes(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in run(capsys, "show", good, "--json").splitlines()]
    transcript = read([good.read_bytes()])
    assert [line["line"] for line in lines] == list(range(1, len(transcript.lines) + 2))
    hello = next(line for line in lines if line.get("step") == "hello")["pieces"][0]
    assert (hello["flight"], hello["sealed"], hello["fields"]["protocols"][0]) == (1, False, "acme/1")
    total = sum(len(piece["hex"]) // 2 for line in lines for piece in line.get("pieces", ()))
    assert total == lines[-1]["received"] + lines[-1]["sent"]


def test_show_never_shows_a_secret(field: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secrets = [
        line.data for line in read([field.read_bytes()]).lines if isinstance(line, Drawn) and line.what != "random"
    ]
    assert secrets
    shown = run(capsys, "show", field, "--full") + run(capsys, "show", field, "--json")
    keys = [secret for secret in secrets if len(secret) == 32]
    assert not any(key.hex() in shown or key.hex(" ") in shown for key in keys)
    assert ": a secret of " in shown


def test_diagram_in_all_forms(field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "diagram", field)
    assert "AuthenticationFailed" in text
    assert "encrypted from here on" in text
    assert run(capsys, "diagram", field, "--mermaid").startswith("sequenceDiagram\n")
    told = json.loads(run(capsys, "diagram", field, "--json"))
    assert told["outcome"] == "failed"
    assert "\n".join(told["ladder"]) in text
    page, drawing = tmp_path / "page.html", tmp_path / "drawing.svg"
    assert run(capsys, "diagram", field, "--html", page) == ""
    assert run(capsys, "diagram", field, "--svg", drawing) == ""
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert "<script" not in page.read_text("utf-8")
    assert drawing.read_text("utf-8").startswith("<svg ")


def test_diff_explains_and_its_exit_code_says_it(good: Path, tmp_path: Path) -> None:
    other = saved(tmp_path / "other.jsonl", Recorded(*both(protocols=["acme/2"]), secrets=False).files[0])
    assert nautilus("diff", good, good, folder=tmp_path).stdout == "no difference, times aside\n"
    told = nautilus("diff", good, other, folder=tmp_path, code=1).stdout
    assert "flight 1, step 'hello', byte " in told
    assert "the message says something else" in told
    found = json.loads(nautilus("diff", good, other, "--json", folder=tmp_path, code=1).stdout)
    assert (found["different"], found["step"], found["flight"]) == (True, "hello", 1)
    assert found["field"].startswith(("versions", "protocols"))


def test_profile_show_as_a_ladder_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "plan.html"
    assert main(["profile", "show", "--html", str(page)]) == 0
    assert "not run" in page.read_text("utf-8")
    assert main(["profile", "show", "--ladder", "--noise", "Noise_XX_25519_ChaChaPoly_SHA256"]) == 0
    assert "── -> s, se ──" in capsys.readouterr().out


# ------------------------------------------------------------------ redact and check


def test_redact_never_overwrites_and_is_the_owners_alone(field: Path, tmp_path: Path) -> None:
    out = tmp_path / "public.jsonl"
    nautilus("redact", field, out, "--names", folder=tmp_path)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    written = out.read_bytes()
    assert not read([written]).header.secrets
    assert DEVICE.peer_id.encode() not in written
    assert "public part" in nautilus("check", out, folder=tmp_path).stdout
    complaint = nautilus("redact", field, out, folder=tmp_path, code=1).stderr
    assert "File exists" in complaint
    assert complaint.count("\n") == 1
    assert out.read_bytes() == written


def test_a_full_disk_leaves_no_half_of_a_transcript(
    field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "public.jsonl"
    with limited_files(100):
        assert main(["transcript", "redact", str(field), str(out)]) == 1
    assert "File too large" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("profile", ["acme:make_profile", "acme:made"])
def test_check_replays_all_with_secrets_and_a_profile(field: Path, tmp_path: Path, profile: str) -> None:
    told = json.loads(nautilus("check", field, "--profile", profile, "--json", folder=tmp_path).stdout)
    assert (told["full"], told["outcome"]) == (True, "failed")
    assert any("equal one by one" in what for what in told["checked"])
    assert json.loads(nautilus("check", field, "--json", folder=tmp_path).stdout)["full"], "it shows enough by itself"


def test_check_says_where_it_diverges(field: Path, tmp_path: Path) -> None:
    (tmp_path / "mended.py").write_text(OWN.format(trusted=DEVICE.peer_id, pem=GATEWAY.to_pem()))
    complaint = nautilus("check", field, "--profile", "mended:made", folder=tmp_path, code=1).stderr
    assert re.match(r"nautilus: line \d+, flight \d", complaint)
    assert complaint.count("\n") == 1


def test_a_profile_that_the_header_cannot_make_is_asked_for(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transcript = read([good.read_bytes()])
    header = msgspec.structs.replace(transcript.header, profile="acme/3")
    good.write_bytes(to_bytes(Transcript(header, transcript.lines)))
    assert "say which with --profile MODULE:NAME" in complaint_of(capsys, "check", good, code=2)


# ------------------------------------------------------------------ to-test


def pytest_in(folder: Path, *tests: Path) -> subprocess.CompletedProcess[str]:
    """Run tests that were written, alone, as their owner would."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        *map(str, tests),
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_test_of_what_was_recorded_passes(field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    full, public = tests / "test_full.py", tests / "test_public.py"
    said = nautilus("to-test", field, full, "--profile", "acme:make_profile", folder=tmp_path).stderr
    assert "it passes now" in said
    assert (tests / "field-1.jsonl").read_bytes() == field.read_bytes()
    other = shutil.copy(field, tmp_path / "other.jsonl")
    redacted = shutil.move(other, tmp_path / "secret.jsonl")
    run(capsys, "redact", redacted, other)
    run(capsys, "to-test", other, public)
    assert not read([(tests / "other.jsonl").read_bytes()]).header.secrets, "a test that needs no secrets has none"
    assert "2 passed" in pytest_in(tmp_path, full, public).stdout


def test_a_field_failure_is_a_test_that_fails_until_it_is_mended(field: Path, tmp_path: Path) -> None:
    test = tmp_path / "test_field.py"
    arguments = ("to-test", field, test, "--profile", "acme:make_profile", "--expect", "completed")
    said = nautilus(*arguments, folder=tmp_path).stderr
    assert "it fails now" in said
    assert read([field.read_bytes()]).header.secrets
    done = pytest_in(tmp_path, test)
    assert "1 failed" in done.stdout
    assert "AuthenticationFailed" in done.stdout
    (tmp_path / "acme.py").write_text(OWN.format(trusted=DEVICE.peer_id, pem=GATEWAY.to_pem()))
    assert "1 passed" in pytest_in(tmp_path, test).stdout


def test_without_a_profile_the_test_has_what_the_transcript_shows(
    field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again, gone = tmp_path / "tests" / "test_again.py", tmp_path / "more" / "test_gone.py"
    for test, expect in ((again, "recorded"), (gone, "completed")):
        test.parent.mkdir()
        run(capsys, "to-test", field, test, "--expect", expect)
    assert "report.full is True" in again.read_text()
    assert "1 passed" in pytest_in(tmp_path, again).stdout
    done = pytest_in(tmp_path, gone)
    assert "1 failed" in done.stdout
    assert "AuthenticationFailed" in done.stdout
    mended, count = re.subn(r"trust\.pinned\(.*\)", "trust.anyone()", gone.read_text())
    assert count == 1
    gone.write_text(mended)
    assert "1 passed" in pytest_in(tmp_path, gone).stdout


def test_a_changed_transcript_fails_its_test(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = tmp_path / "tests" / "test_good.py"
    test.parent.mkdir()
    run(capsys, "to-test", good, test)
    other = Recorded(*both(lambda profile: profile, protocols=["acme/1"]), secrets=False).files[1]
    saved(test.parent / "good.jsonl", other[:-1])
    assert "1 failed" in pytest_in(tmp_path, test).stdout


def test_nothing_is_overwritten_and_nothing_strange_is_written(
    field: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "test_there.py"
    there.write_text("mine")
    assert "it exists already" in complaint_of(capsys, "to-test", field, there, code=1)
    assert there.read_text() == "mine"
    assert "ends in .py" in complaint_of(capsys, "to-test", field, "test.txt", code=2)
    run(capsys, "redact", field, "public.jsonl")
    needs = complaint_of(capsys, "to-test", "public.jsonl", "test_x.py", "--expect", "completed", code=2)
    assert "needs a transcript with secrets" in needs
    elsewhere = tmp_path / "tests"
    elsewhere.mkdir()
    (elsewhere / field.name).write_text("another")
    assert "File exists" in complaint_of(capsys, "to-test", field, "tests/test_x.py", code=1)
    assert not (elsewhere / "test_x.py").exists()


def test_hostile_names_do_not_get_into_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = Recorded(*both(), secrets=False).files[0]
    transcript = read(file)
    end = msgspec.structs.replace(transcript.lines[-1], outcome='"\n"""\nraise SystemExit\n')
    name = 'it\'s "quoted" {x}\n.jsonl'
    (tmp_path / name).write_bytes(to_bytes(Transcript(transcript.header, (*transcript.lines[:-1], end))))
    run(capsys, "to-test", tmp_path / name, tmp_path / "test_odd.py")
    said = pytest_in(tmp_path, tmp_path / "test_odd.py").stdout
    assert "1 failed" in said, "it is run, and the replay finds that this was never the outcome"
    assert "ReplayDiverged" in said


# ------------------------------------------------------------------ what is no transcript


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def without_end(data: bytes) -> bytes:
    return b"".join(data.splitlines(keepends=True)[:-1])


def tampered(data: bytes) -> bytes:
    return data.replace(b'"step":"suites"', b'"step":"suitez"', 1)


def newer(data: bytes) -> bytes:
    return data.replace(b'"version":1', b'"version":2', 1)


def enormous(data: bytes) -> bytes:
    return data + b" " * 1_100_000


BAD: Final[list[tuple[Callable[[bytes], bytes], str]]] = [
    (truncated, r"line \d+: .*cut off.*--cut-off"),
    (without_end, r"line \d+: .*cut off.*--cut-off"),
    (tampered, r"line \d+: its check is wrong"),
    (newer, r"line 1: written in version 2"),
    (enormous, r"line \d+: "),
    (lambda _: b"\x7fELF", r"line 1: "),
    (lambda _: b"not one\n", r"line 1: this is no transcript of Nautilus"),
    (lambda _: b"", r"it is empty"),
]
VERBS: Final = ["show", "diagram", "diff", "redact", "check", "to-test"]


@pytest.mark.parametrize(("change", "complaint"), BAD, ids=[change.__name__ for change, _ in BAD])
def test_a_bad_file_is_one_line_with_its_number(
    good: Path, tmp_path: Path, change: Callable[[bytes], bytes], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good.write_bytes(change(good.read_bytes()))
    for verb in VERBS:
        outputs: dict[str, list[str | Path]] = {"redact": ["out"], "to-test": ["test_out.py"], "diff": [good]}
        more = outputs.get(verb, [])
        assert re.search(complaint, complaint_of(capsys, verb, good, *more, code=2))
    assert [path.name for path in tmp_path.iterdir()] == ["good.jsonl"]


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path, complaint in (("missing.jsonl", "No such file"), (str(tmp_path), "Is a directory")):
        said = nautilus("show", path, folder=tmp_path, code=1).stderr
        assert complaint in said
        assert said.count("\n") == 1


def test_what_was_cut_off_can_be_looked_at(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good.write_bytes(without_end(good.read_bytes()))
    assert "cut off" in run(capsys, "diagram", good, "--cut-off")
    assert "hello" in run(capsys, "show", good, "--cut-off")
    assert "its end: it is cut off" in run(capsys, "check", good, "--cut-off")
