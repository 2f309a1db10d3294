"""What two people see whose nodes meet for the first time: the question, who waits for whom, and what is remembered."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nautilus_anyio import save_identity

from .helpers import ALICE, MALLORY
from .processes import NAUTILUS, PATIENCE, free_port
from .test_cli import read_until
from .transfers import end, start, wait_for

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


def lines_of_words(shown: str) -> list[str]:
    """The words of a key, which stand in lines of their own: eight in each, one line below the other."""
    return [line for line in shown.splitlines() if re.fullmatch(r"  [a-z]+( [a-z]+){7}", line)]


@pytest.mark.parametrize("arguments", [("listen", 0), ("receive", 0), ("connect", 1, "--listen", 0)])
def test_who_listens_says_who_it_is(tmp_path: Path, arguments: tuple[str | int, ...]) -> None:
    told = start(tmp_path, *arguments, "--trust", "anyone", "--json")
    said = json.loads(wait_for(told, "listening"))
    told.terminate()
    end(told)
    assert said["peer_id"] == ALICE.peer_id
    assert said["words"] == ALICE.public.words
    assert said["note"].endswith(f", as {ALICE.peer_id}")
    folder = tmp_path / "own"
    (folder / "nautilus").mkdir(parents=True, mode=0o700)
    save_identity(folder / "nautilus" / "identity.pem", ALICE)
    with at_a_terminal(folder, *arguments, "--trust", "anyone") as (process, terminal):
        shown = read_until(terminal, b"our key in words:").decode()
        while len(lines_of_words(shown)) < 2:
            shown += os.read(terminal, 4096).decode()
        assert ALICE.peer_id in shown
        assert " ".join(lines_of_words(shown)).split() == ALICE.public.words.split()
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("more", [(), ("--forward", "1")], ids=["listen", "tunnel"])
def test_a_question_shows_who_asks_from_where_and_what_is_remembered(
    tmp_path: Path, backend: str, more: tuple[str, ...]
) -> None:
    port = free_port()
    with at_a_terminal(tmp_path, "listen", port, *more, "--backend", backend) as (process, terminal):
        read_until(terminal, b"listening")
        with connecting(port) as peer:
            shown = read_until(terminal, b"(yes/no)").decode()
            question = shown[shown.index("The key") :]
            assert re.search(r"^The key of a peer from 127\.0\.0\.1 port \d+ is not known:\r$", question, re.MULTILINE)
            assert ALICE.peer_id in question
            assert ALICE.public.fingerprint.hex() in question
            assert " ".join(lines_of_words(question)).split() == ALICE.public.words.split()
            os.write(terminal, b"yes\n")
            file = tmp_path / "nautilus" / "known_peers"
            said = read_until(terminal, b"known_peers").decode()
            assert f"remembered as {ALICE.peer_id} in {file}" in said
            peer.kill()
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_changed_key_names_the_line_that_stands_against_it(tmp_path: Path, backend: str) -> None:
    listener = start(tmp_path, "listen", 0, "--trust", "anyone", "--json")
    port = json.loads(wait_for(listener, "listening"))["port"]
    peers = tmp_path / "peers"
    peers.write_text(f"# mine\n127.0.0.1:{port} {MALLORY.peer_id}\n")
    peers.chmod(0o600)
    dialling = start(tmp_path, "connect", port, "--trust", f"known-peers:{peers}", "--backend", backend)
    code, _, complaint = end(dialling)
    assert code == 3
    assert complaint.count("\n") == 1
    assert "has another key than before" in complaint
    assert f"offending entry in {peers} line 2: remove it if the key was changed on purpose" in complaint
    assert listener.stderr is not None
    assert "peers" not in listener.stderr.readline()  # the peer is not told where we keep what
    listener.kill()
    listener.communicate()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_question_ends_when_its_peer_goes_away(tmp_path: Path, backend: str, number: int) -> None:
    port = free_port()
    with at_a_terminal(tmp_path, "listen", port, "--trust", "ask", "--backend", backend) as (process, terminal):
        read_until(terminal, b"listening")
        with connecting(port) as peer:
            read_until(terminal, b"(yes/no) ")
            peer.send_signal(number)
            peer.communicate(timeout=PATIENCE)
        shown = read_until(terminal, b"went away before anybody had answered whether it is welcome").decode()
        assert "\r\nThe peer has gone: it does not wait for the answer any more.\r\n" in shown
        with connecting(port) as peer:  # nobody has refused it: it may come again, and is asked about anew
            read_until(terminal, b"(yes/no) ")
            os.write(terminal, b"yes\n")
            shown = read_until(terminal, b"its key in words:").decode()
            assert not re.search(r"connected to .*(?:[a-z]+ ){8}", shown)
            while len(lines_of_words(shown[shown.index("its key in words") :])) < 2:
                shown += os.read(terminal, 4096).decode()
            os.write(terminal, b"\x04")
            assert peer.wait(PATIENCE) == 0
        assert exit_code(process) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_at_a_question_ends_its_line(tmp_path: Path, backend: str) -> None:
    port = free_port()
    with at_a_terminal(tmp_path, "listen", port, "--trust", "ask", "--backend", backend) as (process, terminal):
        read_until(terminal, b"listening")
        with connecting(port) as peer:
            read_until(terminal, b"(yes/no) ")
            os.write(terminal, b"\x03")
            shown = rest(terminal)
            assert exit_code(process) == 130
            assert shown == "^C\r\nIt does not wait for the answer any more.\r\n"
            peer.kill()
