"""The commands of the README, as they stand there, in an empty folder."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from .processes import NAUTILUS, free_port

TEXT = (Path(__file__).parents[2] / "README.md").read_text().partition("## The command")[2]
ALONE = [line.partition("#")[0].strip() for line in TEXT.partition("```shell\n")[2].partition("```")[0].splitlines()]
PAIRS = re.findall(r"^\| `(nautilus [^`]*)` \| `(nautilus [^`]*)` \|", TEXT, re.MULTILINE)


def start(line: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """A command of the README, on a port that is free."""
    words = shlex.split(line.replace("7000", str(port)).replace("8001", str(port + 1)))
    assert words[0] == "nautilus"
    return subprocess.Popen(
        [*NAUTILUS, *words[1:]], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_each_command_alone(tmp_path: Path) -> None:
    assert len(ALONE) == 4
    for line in ALONE:
        process = start(line, tmp_path, 0)
        out, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint
        assert out
    assert [file.name for file in tmp_path.iterdir()] == ["node.pem"]


@pytest.mark.parametrize(("here", "there"), PAIRS, ids=[there.split()[1] for _, there in PAIRS])
def test_each_pair(here: str, there: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "notes.txt").write_text("notes")
    port = free_port()
    listener = start(here, tmp_path / "home", port)
    assert listener.stderr is not None
    assert b"listening" in listener.stderr.readline()
    other = start(there, tmp_path / "away", port)
    if "--forward" in here:
        assert other.stderr is not None
        assert f"listening on 127.0.0.1:{port + 1}".encode() in other.stderr.readline()
        processes, said = [other, listener], b""
        for process in processes:
            process.terminate()
        codes = [130, 130]
    elif "inspect" in there:
        out, _ = other.communicate(timeout=60)
        assert b"X25519MLKEM768_AES256GCM_SHA384" in out
        listener.terminate()
        processes, said, codes = [listener], b"", [130]
    else:
        said = b"hello"
        processes, codes = [other, listener], [0, 0]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(said)
        process.stdin.close()
        process.stdin = None  # so that communicate() leaves it alone
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == codes, outputs
    if "send" in there:
        assert (tmp_path / "home" / "notes.txt").read_text() == "notes"
    elif said:
        assert [out for out, _ in outputs] == [b"hello"] * 2


def test_there_are_pairs() -> None:
    assert len(PAIRS) == 4
