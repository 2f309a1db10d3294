"""`--record`, `--record-secrets` and `--dangerously-log-keys`, in processes."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nautilus_anyio import save_identity, transcript
from nautilus_anyio.cli import main
from nautilus_core import Profile, profiles, trust
from nautilus_core.transcript.lines import Failed

from .helpers import ALICE, BOB
from .processes import NAUTILUS, PATIENCE, eventually, running


def connected(*arguments: str | Path | int, code: int = 0) -> list[dict[str, Any]]:
    """`nautilus connect` with no input; returns its notes."""
    done = subprocess.run(
        [*NAUTILUS, *map(str, arguments), "--json"],
        input="",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


BY_KEY = ("raw-public-key", "x509", "did")
"""What the command takes from peers whose keys it judges."""


def bobs(**arguments: Any) -> Profile:
    return profiles.nautilus(**{"identity": BOB, "trust": trust.anyone(kinds=BY_KEY), **arguments})


@pytest.fixture
def bobs_key(tmp_path: Path) -> Path:
    save_identity(tmp_path / "bob.pem", BOB)
    return tmp_path / "bob.pem"


def test_both_ends_record_with_secrets_and_log_keys(tmp_path: Path, bobs_key: Path) -> None:
    folder, file, keys = tmp_path / "folder", tmp_path / "file", tmp_path / "keys"
    listen = ("listen", 0, "--identity", bobs_key, "--trust", "anyone", "--exec", "cat")
    with running(*listen, "--record", folder, "--record-secrets", "--dangerously-log-keys", keys) as listener:
        dial = ("connect", listener.port, "--trust", f"pinned:{BOB.peer_id}")
        notes = connected(*dial, "--record", file, "--record-secrets")
        assert len([note for note in notes if note.get("transcript") == str(file) and note["secrets"]]) == 1
        assert any("DANGEROUS" in note.get("note", "") for note in notes)
        again = connected(*dial, "--record", file, code=1)[-1]
        assert "a transcript is never written over" in again["error"]
        eventually(lambda: len(list(folder.iterdir())) == 1)
    (theirs,) = folder.iterdir()
    assert transcript.replay(theirs, bobs()).full
    ours = profiles.nautilus(identity=ALICE, trust=trust.pinned(BOB.peer_id, kinds=BY_KEY))
    assert transcript.replay(file, ours).outcome == "completed"
    assert transcript.replay(file, bobs(), other_side=True, tape=theirs).full
    assert all(frame.body is not None for frame in transcript.opened(file, keys))
    assert len(keys.read_text().splitlines()) == 4


def test_a_failure_is_recorded_by_who_listens_for_one_peer(tmp_path: Path, bobs_key: Path) -> None:
    folder = tmp_path / "folder"
    nobody = f"pinned:{BOB.peer_id}"
    with running("listen", 0, "--identity", bobs_key, "--trust", nobody, "--record", folder) as listener:
        connected("connect", listener.port, "--trust", nobody, code=3)
        eventually(lambda: b'"end"' in b"".join(path.read_bytes() for path in folder.iterdir()))
    (file,) = folder.iterdir()
    assert [line.error for line in transcript.read(file).lines if isinstance(line, Failed)] == ["AuthenticationFailed"]
    report = transcript.replay(file, bobs(trust=trust.pinned(BOB.public)))
    assert not report.full
    assert report.outcome == "failed"


def test_an_entrance_of_a_tunnel_records_each_connection(tmp_path: Path, bobs_key: Path) -> None:
    folder = tmp_path / "folder"
    with running("listen", 0, "--identity", bobs_key, "--trust", "anyone", "--exec", "cat") as listener:
        options = ("--trust", f"pinned:{BOB.peer_id}", "--listen", 0, "--record", folder)
        with running("connect", listener.port, *options) as entrance:
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", entrance.port), PATIENCE) as client:
                    client.sendall(b"echo")
                    assert client.recv(4) == b"echo"
            eventually(lambda: len(list(folder.iterdir())) == 2)
    for file in folder.iterdir():
        assert transcript.read(file).header.role.value == "initiator"


@pytest.mark.parametrize("command", ["listen", "connect", "receive"])
def test_secrets_go_with_a_transcript(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "1", "--trust", "anyone", "--record-secrets"]) == 2
    assert "--record-secrets goes with --record PATH" in capsys.readouterr().err


def test_the_help_says_what_it_means(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("listen", "connect", "send", "receive", "demo"):
        assert main([command, "--help"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert text.count("DANGEROUS: whoever has the file can read the session") == 2


def test_the_demonstration_records_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--size", "1", "--record", str(tmp_path / "folder"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["agree"]
    roles = {transcript.read(file).header.role.value for file in (tmp_path / "folder").iterdir()}
    assert roles == {"initiator", "responder"}


def test_a_transfer_is_recorded_and_what_cannot_be_written_is_noted(tmp_path: Path, bobs_key: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(1000))
    inbox, folder = tmp_path / "inbox", tmp_path / "folder"
    inbox.mkdir()
    receive = ("receive", 0, "--identity", bobs_key, "--trust", "anyone", "--directory", inbox, "--keep")
    process = subprocess.Popen(
        [*NAUTILUS, *map(str, receive), "--record", str(folder), "--json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said: dict[str, Any] = {}
        while "port" not in said:
            said = json.loads(process.stderr.readline())
        folder.rmdir()
        folder.touch()
        connected(
            "send", tmp_path / "data", said["port"], "--trust", f"pinned:{BOB.peer_id}", "--record", tmp_path / "sent"
        )
        said = json.loads(process.stderr.readline())
        assert said["note"] == f"a handshake is not recorded in {folder}: Not a directory"
    finally:
        process.kill()
        process.communicate()
    assert (inbox / "data").read_bytes() == bytes(1000)
    assert transcript.read(tmp_path / "sent").whole


@pytest.mark.parametrize(
    "command",
    [("listen", "0", "--exec", "cat"), ("listen", "0"), ("connect", "1", "--listen", "0"), ("receive", "0", "--keep")],
    ids=" ".join,
)
def test_a_key_log_that_cannot_be_written_is_told_at_once(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "missing" / "keys"
    assert main([*command, "--trust", "anyone", "--anonymous", "--dangerously-log-keys", str(keys)]) == 1
    assert capsys.readouterr().err == f"nautilus: {keys}: No such file or directory\n"
