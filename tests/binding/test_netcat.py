"""`nautilus connect` and `listen` for one peer: at a terminal, in a pipe, with half-close."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .processes import NAUTILUS, PATIENCE, free_port
from .test_cli import read_until, start_listener

TRUST = ("--trust", "anyone")
BACKENDS = ["asyncio", "trio"]


@contextmanager
def at_a_terminal(*arguments: str) -> Iterator[tuple[int, int]]:
    """The command with a terminal as its input and output: its process id, and the terminal."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [*NAUTILUS, *arguments])
    try:
        yield process, terminal
    finally:
        os.close(terminal)


def exit_code(process: int) -> int:
    """How it ended."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@contextmanager
def listener(backend: str = "asyncio") -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A `nautilus listen`, and its port."""
    port = free_port()
    process = start_listener(port, *TRUST, "--backend", backend, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        try:
            yield str(port), process
        finally:
            process.kill()


@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_d_ends_what_the_terminal_says_and_the_other_direction_goes_on(backend: str) -> None:
    with (
        listener() as (port, peer),
        at_a_terminal("connect", port, *TRUST, "--backend", backend) as (process, terminal),
    ):
        assert peer.stdin is not None
        assert peer.stdout is not None
        read_until(terminal, b"connected")
        os.write(terminal, b"hello\n\x04")
        assert peer.stdout.read() == b"hello\n"  # the end has come
        for word in (b"still", b"talking"):
            peer.stdin.write(word + b"\n")
            peer.stdin.flush()
            read_until(terminal, word)
        peer.stdin.close()
        assert exit_code(process) == 0
        assert peer.wait(PATIENCE) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_peer_that_has_said_all_can_still_be_talked_to_until_it_closes(backend: str) -> None:
    with (
        listener() as (port, peer),
        at_a_terminal("connect", port, *TRUST, "--backend", backend) as (process, terminal),
    ):
        assert peer.stdin is not None
        assert peer.stdout is not None
        peer.stdin.close()
        read_until(terminal, b"Ctrl-D ends what we say")
        os.write(terminal, b"thank you\n")
        assert peer.stdout.readline() == b"thank you\n"
        peer.kill()
        assert exit_code(process) == 0


def until_the_words_are_there(terminal: int) -> bytes:
    """What is shown up to the last of a key's words, in two lines."""
    shown = read_until(terminal, b"in words:")
    while shown.partition(b"in words:")[2].count(b"\r\n") < 3:
        shown += os.read(terminal, 4096)
    return shown


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["typed", "SIGTERM"])
def test_ctrl_c_ends_it(backend: str, how: str) -> None:
    with (
        listener() as (port, peer),
        at_a_terminal("connect", port, *TRUST, "--backend", backend) as (process, terminal),
    ):
        until_the_words_are_there(terminal)  # else the terminal writes ^C in the middle of them
        if how == "typed":
            os.write(terminal, b"\x03")
        else:
            os.kill(process, signal.SIGTERM)
        shown = b""
        with pytest.raises(OSError, match="Input/output"):
            while True:
                shown += os.read(terminal, 4096)
        assert exit_code(process) == 130
        assert b"Traceback" not in shown
        assert not shown.endswith(b"^C")  # the shell's prompt begins on a line of its own
        assert (b"^C\r\n" in shown) is (how == "typed")
        assert peer.wait(PATIENCE) == 4  # what it got may not be all


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("arguments", [("receive", "0"), ("send", __file__, "0", "--listen")], ids=["receive", "send"])
def test_ctrl_c_ends_its_line_in_transfers_too(backend: str, arguments: tuple[str, ...]) -> None:
    with at_a_terminal(*arguments, *TRUST, "--backend", backend) as (process, terminal):
        shown = until_the_words_are_there(terminal)
        os.write(terminal, b"\x03")
        with pytest.raises(OSError, match="Input/output"):
            while True:
                shown += os.read(terminal, 4096)
        assert exit_code(process) == 130
        assert b"^C\r\nnautilus: interrupted while listening" in shown


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("what", ["inspect", "demo"])
def test_ctrl_c_ends_the_line_of_what_is_being_looked_at(backend: str, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        arguments = (
            ["inspect", f"127.0.0.1:{silent.getsockname()[1]}"] if what == "inspect" else ["demo", "--size", "9999"]
        )
        with at_a_terminal(*arguments, "--backend", backend) as (process, terminal):
            if what == "inspect":
                silent.accept()[0].close()
            read_until(terminal, b"probing" if what == "inspect" else b"sending")
            os.write(terminal, b"\x03")
            shown = b""
            with pytest.raises(OSError, match="Input/output"):
                while True:
                    shown += os.read(terminal, 65_536)
            assert exit_code(process) == 130
            assert b"Traceback" not in shown
            assert b"^C\r\n" in shown


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_question_ends_with_its_handshake_and_the_next_one_gets_the_answer(backend: str) -> None:
    port = str(free_port())
    arguments = ("listen", port, "--trust", "ask", "--timeout", "1", "--backend", backend)
    with at_a_terminal(*arguments) as (process, terminal):
        read_until(terminal, b"listening")
        command = [*NAUTILUS, "connect", port, "--quiet", *TRUST]
        late = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
        assert late.returncode == 3
        assert b"(yes/no)" in read_until(terminal, b"does not wait for the answer any more")
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as connected:
            read_until(terminal, b"(yes/no)")
            os.write(terminal, b"yes\n")
            read_until(terminal, b"Ctrl-D ends what we say")
            os.write(terminal, b"\x04")
            assert connected.wait(PATIENCE) == 0
        assert exit_code(process) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_reads_a_pipe_may_stop_and_it_ends_quietly(backend: str) -> None:
    with listener() as (port, peer):
        assert peer.stdin is not None
        command = [*NAUTILUS, "connect", port, "--quiet", *TRUST, "--backend", backend]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
            assert done.stdout is not None
            assert done.stderr is not None
            peer.stdin.write(b"first\n")
            peer.stdin.flush()
            assert done.stdout.readline() == b"first\n"
            done.stdout.close()
            peer.stdin.write(b"second\n")
            peer.stdin.flush()
            assert done.wait(PATIENCE) == 141
            assert done.stderr.read() == b""


def test_the_peers_end_is_passed_on_though_our_own_input_goes_on() -> None:
    with listener() as (port, peer):
        assert peer.stdin is not None
        assert peer.stdout is not None
        command = [*NAUTILUS, "connect", port, "--quiet", *TRUST]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as connected:
            assert connected.stdin is not None
            assert connected.stdout is not None
            peer.stdin.write(b"that is all")
            peer.stdin.close()
            assert connected.stdout.read() == b"that is all"
            connected.stdin.write(b"understood")
            connected.stdin.close()
            assert peer.stdout.read() == b"understood"
            assert connected.wait(PATIENCE) == 0
        assert peer.wait(PATIENCE) == 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("said_all", [True, False], ids=["nothing-to-say", "still-talking"])
@pytest.mark.parametrize("loser", ["listen", "connect"])
def test_who_loses_the_data_makes_the_other_end_fail(loser: str, said_all: bool, backend: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(1000))
    port = free_port()
    with Path("/dev/full").open("wb") as full, (tmp_path / "data").open("rb") as data:
        files = {
            "lost": {"stdin": subprocess.DEVNULL if said_all else subprocess.PIPE, "stdout": full},
            "sent": {"stdin": data, "stdout": subprocess.DEVNULL},
        }
        here, there = ("lost", "sent") if loser == "listen" else ("sent", "lost")
        listening = start_listener(port, *TRUST, "--backend", backend, **files[here])
        command = [*NAUTILUS, "connect", str(port), *TRUST, "--backend", backend]
        connected: subprocess.Popen[bytes] = subprocess.Popen(command, stderr=subprocess.PIPE, **files[there])  # type: ignore[call-overload]
        losing, sending = (listening, connected) if loser == "listen" else (connected, listening)
        assert losing.wait(PATIENCE) == 1
        assert sending.wait(PATIENCE) in ((3, 4) if said_all else (3,))  # who has said all can tell by a reset alone
        for process in (losing, sending):
            _, complaint = process.communicate()
            assert b"Traceback" not in complaint
            assert (b"No space left" in complaint) is (process is losing)
