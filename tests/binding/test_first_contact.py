"""What two people see whose nodes meet for the first time: the question, who waits for whom, and what is remembered."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .processes import NAUTILUS, PATIENCE
from .test_cli import free_port, read_until

BACKENDS = ["asyncio", "trio"]


@contextmanager
def at_a_terminal(folder: Path, *arguments: str | int) -> Iterator[tuple[int, int]]:
    """The command with a terminal and a configuration of its own, in `folder`: its process id, and the terminal."""
    folder.mkdir(exist_ok=True)
    process, terminal = pty.fork()
    if process == 0:
        os.environ["XDG_CONFIG_HOME"] = str(folder)
        os.execv(sys.executable, [*NAUTILUS, *map(str, arguments)])
    try:
        yield process, terminal
    finally:
        os.close(terminal)


def exit_code(process: int) -> int:
    """How it ended."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def rest(terminal: int, seconds: float = PATIENCE) -> str:
    """What the terminal shows until its process ends."""
    shown = b""
    while select.select([terminal], [], [], seconds)[0]:
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            return shown.decode()
    raise TimeoutError(shown)


def connecting(port: int, *arguments: str) -> subprocess.Popen[bytes]:
    """A `nautilus connect` that trusts whoever it reaches and says nothing."""
    command = [*NAUTILUS, "connect", str(port), "--trust", "anyone", *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_question_that_nobody_answers_ends_with_what_to_do(tmp_path: Path, backend: str) -> None:
    with subprocess.Popen(
        [*NAUTILUS, "listen", "0", "--trust", "anyone", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as listener:
        assert listener.stderr is not None
        port = re.search(r'"port": (\d+)', listener.stderr.readline())
        assert port is not None
        with at_a_terminal(tmp_path, "connect", port[1], "--timeout", 1, "--backend", backend) as (process, terminal):
            shown = rest(terminal)
            assert exit_code(process) == 3
        listener.kill()
    assert "PeerIdentified" not in shown
    said = [line for line in shown.splitlines() if "nobody answered in 1 seconds" in line]
    assert len(said) == 1
    for hint in ("run it again and answer", "--timeout", "--trust pinned:"):
        assert hint in said[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_listener_says_that_its_owner_did_not_answer(tmp_path: Path, backend: str) -> None:
    port = free_port()
    with at_a_terminal(tmp_path, "listen", port, "--timeout", 1, "--backend", backend) as (_, terminal):
        read_until(terminal, b"listening")
        with connecting(port) as peer:
            assert peer.wait(PATIENCE) == 3
        shown = read_until(terminal, b"--trust pinned:").decode()
        assert "nobody answered in 1 seconds" in shown
        assert "PeerIdentified" not in shown


def test_the_help_says_how_long_it_waits() -> None:
    for command in ("listen", "connect", "send", "receive"):
        shown = subprocess.run([*NAUTILUS, command, "--help"], capture_output=True, text=True, check=True).stdout
        assert re.search(r"default:\s+120", shown)
        assert re.search(r"in\s+30\s+is\s+given\s+up", shown)


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_dials_is_told_that_the_other_end_asks(tmp_path: Path, backend: str) -> None:
    port = free_port()
    with at_a_terminal(tmp_path, "listen", port, "--trust", "ask") as (process, terminal):
        read_until(terminal, b"listening")
        with connecting(port, "--backend", backend) as peer:
            assert peer.stderr is not None
            read_until(terminal, b"(yes/no)")
            assert peer.stderr.readline() == b"nautilus: waiting for the peer to accept us\n"
            os.write(terminal, b"yes\n")
            assert b"connected" in peer.stderr.readline()
            read_until(terminal, b"Ctrl-D")
            os.write(terminal, b"\x04")
            assert peer.wait(PATIENCE) == 0
        assert exit_code(process) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_is_not_accepted_in_time_hears_why(tmp_path: Path, backend: str) -> None:
    port = free_port()
    with at_a_terminal(tmp_path, "listen", port, "--trust", "ask") as (_, terminal):
        read_until(terminal, b"listening")
        with connecting(port, "--timeout", "2", "--quiet", "--backend", backend) as peer:
            _, complaint = peer.communicate(timeout=PATIENCE)
            assert peer.returncode == 3
            assert b"has not accepted us in 2 seconds" in complaint
            assert complaint.count(b"\n") == 1
