"""`nautilus listen --exec`: a process for each peer, which hears the peer, is heard, and never outlives it."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from nautilus_anyio.cli import exec as exec_
from nautilus_core import Identity

from .processes import NAUTILUS, PATIENCE, Running, alive, eventually, running

BACKENDS = ["asyncio", "trio"]
TRUST = ("--trust", "anyone")


def connecting(port: int, *arguments: str | Path) -> list[str]:
    """The command of a peer."""
    return [*NAUTILUS, "connect", str(port), "--quiet", *TRUST, *map(str, arguments)]


def talk(port: int, said: bytes = b"", *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """A peer that says something and listens to the end."""
    return subprocess.run(connecting(port, *arguments), input=said, capture_output=True, timeout=PATIENCE, check=False)


def python(code: str) -> str:
    """A command line that runs Python."""
    return f"{sys.executable} -c '{code}'"


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_peer_says_goes_through_the_process_and_back(backend: str) -> None:
    said = os.urandom(3_000_000)
    with running("listen", 0, "--exec", "cat", *TRUST, "--backend", backend) as listener:
        before = listener.files()
        peers = [
            subprocess.Popen(connecting(listener.port), stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)
        ]
        for peer in peers:
            assert peer.communicate(said, timeout=PATIENCE)[0] == said
            assert peer.returncode == 0
        eventually(lambda: listener.files() == before)
        assert [note["status"] for note in listener.notes] == [0, 0, 0]
        assert all(note["peer"].startswith("key:") for note in listener.notes)


def test_a_process_knows_its_peer_and_its_status_is_noted(tmp_path: Path) -> None:
    identity = Identity.generate()
    file = tmp_path / "node.pem"
    file.write_bytes(identity.to_pem())
    file.chmod(0o600)
    show = "sh -c 'echo $NAUTILUS_PEER $NAUTILUS_PROTOCOL $NAUTILUS_SUITE $NAUTILUS_ADDRESS; exit 3'"
    suite = "X25519_CHACHA20POLY1305_SHA256"
    protocol = ("--protocol", "acme/date/1")
    with running("listen", 0, "--exec", show, *TRUST, *protocol) as listener:
        done = talk(listener.port, b"", "--identity", file, *protocol, "--suite", suite)
        peer, spoken, agreed, address = done.stdout.decode().split()
        assert (peer, spoken, agreed) == (identity.peer_id, "acme/date/1", suite)
        assert address.startswith("127.0.0.1:")
        assert done.returncode == 0
        eventually(lambda: listener.notes)
        assert listener.notes == [
            {
                "note": f"sh ended with status 3, for {peer}",
                "peer": peer,
                "command": "sh",
                "status": 3,
            }
        ]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_process_that_ends_or_stops_listening_first_is_heard_to_its_end(backend: str) -> None:
    with running("listen", 0, "--exec", "head -c 5", *TRUST, "--backend", backend) as listener:
        done = talk(listener.port, b"hello" + bytes(1_000_000))
        assert done.stdout == b"hello"
        assert done.returncode == 0
        with subprocess.Popen(
            connecting(listener.port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as peer:
            assert peer.stdin is not None
            assert peer.stdout is not None
            assert peer.stderr is not None
            peer.stdin.write(b"hello")
            peer.stdin.flush()
            assert peer.stdout.read() == b"hello"  # its end comes, though our input is still open
            assert peer.wait(PATIENCE) == 4
            assert b"before our input ended" in peer.stderr.read()


def test_a_peer_without_standard_input_or_output() -> None:
    with running("listen", 0, "--exec", "echo heard", *TRUST) as listener:
        shell = f"{shlex.join(connecting(listener.port))} <&-"
        done = subprocess.run(shell, shell=True, capture_output=True, timeout=PATIENCE, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"heard\n", b"")
        done = subprocess.run(f"{shell} >&-", shell=True, capture_output=True, timeout=PATIENCE, check=False)
        assert (done.returncode, done.stderr) == (1, b"nautilus: standard output is closed\n")


def test_a_process_may_close_its_output_and_listen_on(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    code = (
        'import os, pathlib, sys; print("all", flush=True); os.close(1); '
        f'pathlib.Path("{heard}").write_bytes(sys.stdin.buffer.read())'
    )
    with running("listen", 0, "--exec", python(code), *TRUST) as listener:
        with subprocess.Popen(connecting(listener.port), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer:
            assert peer.stdin is not None
            assert peer.stdout is not None
            assert peer.stdout.read() == b"all\n"
            peer.stdin.write(b"and now for the rest")
            peer.stdin.close()
            assert peer.wait(PATIENCE) == 0
        eventually(lambda: heard.read_bytes() == b"and now for the rest")


def test_a_process_that_a_signal_ended_gives_no_clean_end() -> None:
    with running("listen", 0, "--exec", "sh -c 'echo partial; kill -9 $$'", *TRUST) as listener:
        done = talk(listener.port)
        assert done.returncode == 3
        assert done.stdout in (b"", b"partial\n")  # an alert may overtake the reader
        eventually(lambda: len(listener.notes) == 2)
        assert listener.notes[0]["status"] == -signal.SIGKILL
        assert listener.notes[1]["note"].endswith("sh was ended by SIGKILL")


STUBBORN = "sh -c 'trap \"\" TERM; sleep 1000 & echo $$ $!; wait; sleep 1000'"


def two_processes(peer: subprocess.Popen[bytes]) -> list[int]:
    """The ids of a shell and its child, as the shell says them."""
    assert peer.stdout is not None
    return [int(word) for word in peer.stdout.readline().split()]


@pytest.mark.parametrize(("backend", "who"), [("trio", "peer"), ("asyncio", "listener")])
def test_when_the_peer_or_the_listener_goes_all_processes_go(backend: str, who: str) -> None:
    with running("listen", 0, "--exec", STUBBORN, *TRUST, "--backend", backend) as listener:
        with subprocess.Popen(
            connecting(listener.port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as peer:
            processes = two_processes(peer)
            assert all(map(alive, processes))
            if who == "peer":
                peer.kill()
                eventually(lambda: not any(map(alive, processes)))
                eventually(lambda: len(listener.notes) == 2)
                assert listener.notes[0]["status"] == -signal.SIGKILL
            else:
                assert listener.end() == 130
                assert not any(map(alive, processes))
                assert peer.wait(PATIENCE) == 4
            if peer.stdin is not None:
                peer.stdin.close()


def test_what_a_process_left_behind_goes_with_its_peer_too() -> None:
    """The shell has ended; what it started still holds the output, and the connection."""
    with running("listen", 0, "--exec", "sh -c 'sleep 1000 & echo $!'", *TRUST) as listener:
        with subprocess.Popen(
            connecting(listener.port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as peer:
            [sleeper] = two_processes(peer)
            time.sleep(0.1)
            assert alive(sleeper)
            peer.send_signal(signal.SIGINT)
            eventually(lambda: not alive(sleeper))


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("", "needs a command"),
        ("'unclosed", "No closing quotation"),
        ("no-such-program-here", "no program 'no-such-program-here'"),
        ("date; uptime", "no program 'date;'"),
    ],
)
def test_commands_that_cannot_run_are_refused_at_once(command: str, complaint: str) -> None:
    done = subprocess.run(
        [*NAUTILUS, "listen", "0", "--exec", command, *TRUST], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_terminal_that_is_gone_ends_the_processes_too_but_not_under_nohup(tmp_path: Path) -> None:
    command = f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60 2>/dev/null'"
    listener = Running("listen", 0, "--exec", command, *TRUST)
    with subprocess.Popen(
        connecting(listener.port), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as peer:
        eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
        pid = int((tmp_path / "pid").read_text())
        code = listener.end(signal.SIGHUP)
        peer.kill()
    left = alive(pid)
    if left:
        os.killpg(pid, signal.SIGKILL)
    assert (code, left) == (130, False)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which those that we start inherit
    try:
        with running("listen", 0, "--exec", "cat", *TRUST) as deaf:
            deaf.process.send_signal(signal.SIGHUP)
            assert talk(deaf.port, b"hello").stdout == b"hello"
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.anyio
async def test_a_process_that_may_not_be_signalled_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(group: int, number: int) -> None:  # what the system says of a set-uid program that became another user
        raise PermissionError(errno.EPERM, "Operation not permitted")

    process = await anyio.open_process(["sleep", "60"], start_new_session=True)
    try:
        with monkeypatch.context() as patch, anyio.fail_after(PATIENCE):
            patch.setattr(os, "killpg", refuse)
            await exec_._end(process)
            await exec_._let_go(process)
        assert process.returncode is None
        assert alive(process.pid)
    finally:
        process.kill()
        await process.aclose()
    assert process.returncode == -signal.SIGKILL
