"""`nautilus send` and `nautilus receive` as people and scripts run them: real processes, real files, real signals."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from nautilus_core import Identity

from .processes import free_port
from .transfer_soak import Soak
from .transfers import MIB, NAUTILUS, end, start, wait_for

BACKENDS = ["asyncio", "trio"]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def receive(folder: Path, *arguments: str | Path | int) -> tuple[subprocess.Popen[str], int]:
    """A receiver that listens, and its port."""
    port = free_port()
    process = start(folder, "receive", port, "--directory", "inbox", *arguments)
    wait_for(process, "listening")
    return process, port


def sparse(path: Path, size: int) -> None:
    """A file of zeros that costs nothing."""
    with path.open("wb") as file:
        file.truncate(size)


def wait_until_some_has_come(part: Path) -> None:
    limit = time.monotonic() + 20
    while not part.exists() or part.stat().st_size < MIB:
        if time.monotonic() > limit:
            raise TimeoutError(part)
        time.sleep(0.002)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_transfer_killed_at_random_is_resumed_until_it_is_done(tmp_path: Path, backend: str) -> None:
    soak = Soak(tmp_path, size=64, kills=3, seed=7, backend=backend)
    soak.run()
    assert sum(soak.killed.values()) == 3
    assert min(soak.killed.values()) == 1
    assert soak.attempts > 3
    assert any(at > 0 for at in soak.resumed_at)
    assert 20 * MIB < min(soak.peak.values()) <= max(soak.peak.values()) < 100 * MIB


def test_both_ends_report_the_same_file_to_a_script(tmp_path: Path, inbox: Path) -> None:
    data = os.urandom(3 * MIB)
    (tmp_path / "file").write_bytes(data)
    for name in ("node", "gateway"):
        identity = Identity.generate()
        (tmp_path / f"{name}.pem").write_bytes(identity.to_pem(None))
        (tmp_path / f"{name}.pem").chmod(0o600)
        (tmp_path / name).write_text(identity.peer_id)
    gateway = ("--identity", "gateway.pem", "--trust", f"pinned:{(tmp_path / 'node').read_text()}")
    receiver, port = receive(tmp_path, "--json", *gateway)
    node = ("--identity", "node.pem", "--trust", f"pinned:{(tmp_path / 'gateway').read_text()}")
    code, out, err = end(start(tmp_path, "send", "file", port, "--json", *node))
    assert code == 0, err
    sent = json.loads(out)
    code, out, err = end(receiver)
    assert code == 0, err
    received = json.loads(out)
    assert (sent["verb"], sent["file"]) == ("sent", "file")
    assert (received["verb"], received["file"]) == ("received", "inbox/file")
    for key, value in (("bytes", 3 * MIB), ("sha256", hashlib.sha256(data).hexdigest()), ("resumed_from", 0)):
        assert sent[key] == received[key] == value
    assert sent["bytes_per_second"] > 0
    assert all(json.loads(line) for line in err.splitlines())
    assert (inbox / "file").read_bytes() == data


def test_the_sender_can_listen_and_quiet_is_quiet(tmp_path: Path) -> None:
    data = os.urandom(100_000)
    (tmp_path / "file").write_bytes(data)
    port = free_port()
    sender = start(tmp_path, "send", "file", port, "--listen", "--trust", "anyone")
    wait_for(sender, "listening")
    receiver = start(tmp_path, "receive", port, "--connect", "--trust", "anyone", "-q", "--output", "mine")
    code, out, err = end(receiver)
    assert (code, err) == (0, "")
    assert out.startswith("received mine  97.7 KiB in ")
    assert f"sha256 {hashlib.sha256(data).hexdigest()}" in out
    assert end(sender)[0] == 0
    assert (tmp_path / "mine").read_bytes() == data


def test_a_receiver_that_keeps_on_serves_the_next_after_a_failure_until_ctrl_c(tmp_path: Path, inbox: Path) -> None:
    for name in (".hidden", "first", "second"):
        (tmp_path / name).write_text(name)
    receiver, port = receive(tmp_path, "--keep", "--trust", "anyone")
    senders = [start(tmp_path, "send", name, port, "--trust", "anyone") for name in (".hidden", "first", "second")]
    code, _, err = end(senders[0])
    assert code == 1
    assert "does not take that file name" in err.splitlines()[-1]
    assert [end(sender)[0] for sender in senders[1:]] == [0, 0]
    receiver.send_signal(signal.SIGINT)
    code, out, err = end(receiver)
    assert code == 130
    assert out.count("received inbox/") == 2
    assert "refused the file name '.hidden'" in err
    assert sorted(path.name for path in inbox.iterdir()) == ["first", "second"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("victim", ["sender", "receiver"])
def test_ctrl_c_keeps_the_part_and_the_other_end_says_what_now(
    tmp_path: Path, inbox: Path, victim: str, backend: str
) -> None:
    sparse(tmp_path / "file", 1024 * MIB)
    common = ("--trust", "anyone", "--backend", backend)
    receiver, port = receive(tmp_path, *common)
    sender = start(tmp_path, "send", "file", port, *common)
    wait_until_some_has_come(inbox / ".file.part")
    (sender if victim == "sender" else receiver).send_signal(signal.SIGINT)
    ended = {"sender": end(sender), "receiver": end(receiver)}
    for name, (code, out, err) in ended.items():
        last = err.splitlines()[-1]
        assert out == ""
        if name == victim:
            assert code == 130
            assert "interrupted after" in last
        else:
            assert code == 4
            assert "the connection was lost after" in last
        assert "of 1,073,741,824 bytes of file" in last
        assert "start the transfer again: it goes on from there" in last
    assert [path.name for path in inbox.iterdir()] == [".file.part"]


def test_ctrl_c_before_a_peer_comes(tmp_path: Path, inbox: Path) -> None:
    receiver, _ = receive(tmp_path, "--trust", "anyone")
    receiver.send_signal(signal.SIGINT)
    code, out, err = end(receiver)
    assert (code, out) == (130, "")
    assert err.count("\n") == 1
    assert err == "nautilus: interrupted while listening\n"  # there is nothing that could go on
    assert list(inbox.iterdir()) == []


def test_a_full_disk_stops_both_and_the_next_attempt_goes_on(tmp_path: Path, inbox: Path) -> None:
    sparse(tmp_path / "file", 24 * MIB)
    receiver, port = receive(tmp_path, "--trust", "anyone")
    resource.prlimit(receiver.pid, resource.RLIMIT_FSIZE, (8 * MIB, 8 * MIB))
    code, out, err = end(start(tmp_path, "send", "file", port, "--trust", "anyone"))
    assert (code, out) == (1, "")
    assert "could not write the file, as when its disk is full" in err.splitlines()[-1]
    code, out, err = end(receiver)
    assert (code, out) == (1, "")
    assert "cannot write inbox/.file.part: File too large; make room, then start the transfer again" in err
    assert [path.name for path in inbox.iterdir()] == [".file.part"]
    assert (inbox / ".file.part").stat().st_size == 8 * MIB
    receiver, port = receive(tmp_path, "--trust", "anyone")
    code, out, err = end(start(tmp_path, "send", "file", port, "--trust", "anyone"))
    assert code == 0, err
    assert "resumed at 8.0 MiB" in out
    assert end(receiver)[0] == 0
    assert (inbox / "file").stat().st_size == 24 * MIB


@pytest.mark.parametrize("role", ["send", "receive"])
def test_two_of_the_same_kind_are_told_what_to_run_instead(tmp_path: Path, inbox: Path, role: str) -> None:
    (tmp_path / "file").write_text("x")
    port = free_port()
    words: list[str | int] = ["send", "file", port] if role == "send" else ["receive", port]
    other = {"send": "receive", "receive": "send FILE"}[role]
    flag = " --connect" if role == "send" else ""
    listener = start(tmp_path, *words, "--trust", "anyone", *(["--listen"] if role == "send" else []))
    wait_for(listener, "listening")
    dialler = start(tmp_path, *words, "--trust", "anyone", *(["--connect"] if role == "receive" else []))
    for process, place, host in ((listener, "there", "HOST"), (dialler, "here", "127.0.0.1")):
        code, out, err = end(process)
        assert (code, out) == (1, "")
        wanted = f"the other end {role}s, too; run {place} instead: nautilus {other} {host}:{port}{flag}"
        assert err.splitlines()[-1] == f"nautilus: {wanted}"
    assert list(inbox.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_like_ctrl_c(tmp_path: Path, inbox: Path, number: int) -> None:
    sparse(tmp_path / "file", 1024 * MIB)
    receiver, port = receive(tmp_path, "--trust", "anyone")
    sender = start(tmp_path, "send", "file", port, "--trust", "anyone")
    wait_until_some_has_come(inbox / ".file.part")
    receiver.send_signal(number)
    code, _, err = end(receiver)
    assert code == 130
    assert "interrupted after" in err.splitlines()[-1]
    assert end(sender)[0] == 4


def test_a_name_that_is_no_utf8_gives_json_that_every_parser_reads(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"in\xff")
    folder.mkdir()
    (tmp_path / "file").write_text("x")
    port = free_port()
    receiver = start(tmp_path, "receive", port, "--output", folder / "file", "--trust", "anyone", "--json")
    wait_for(receiver, "listening")
    assert end(start(tmp_path, "send", "file", port, "--trust", "anyone"))[0] == 0
    code, out, _ = end(receiver)
    assert code == 0
    told = json.loads(out)
    told["file"].encode()  # no lone surrogates
    assert told["file"].endswith("in\\xff/file")


def test_a_receiver_whose_notes_nobody_reads_goes_on(tmp_path: Path, inbox: Path) -> None:
    (tmp_path / "file").write_text("hello")
    receiver, port = receive(tmp_path, "--trust", "anyone")
    assert receiver.stderr is not None
    receiver.stderr.close()
    assert end(start(tmp_path, "send", "file", port, "--trust", "anyone"))[0] == 0
    assert receiver.wait(timeout=20) == 0
    assert receiver.stdout is not None
    receiver.stdout.close()
    assert (inbox / "file").read_text() == "hello"


def test_who_transfers_no_files_is_named_and_what_would(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    port = free_port()
    listener = start(tmp_path, "listen", port, "--trust", "anyone")
    wait_for(listener, "listening")
    code, out, err = end(start(tmp_path, "send", "file", port, "--trust", "anyone"))
    listener.kill()
    listener.communicate()
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert f"who listens at 127.0.0.1 port {port} transfers no files" in err
    assert "`nautilus receive`" in err


def test_a_receiver_that_is_not_trusted_gets_nothing(tmp_path: Path, inbox: Path) -> None:
    (tmp_path / "file").write_text("secret")
    receiver, port = receive(tmp_path, "--trust", "anyone")
    code, out, err = end(start(tmp_path, "send", "file", port, "--trust", f"pinned:{Identity.generate().peer_id}"))
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "not a pinned one" in err
    code, _, err = end(start(tmp_path, "send", "file", port))
    assert code == 3
    assert "no terminal to ask on" in err
    receiver.send_signal(signal.SIGINT)
    assert end(receiver)[0] == 130
    assert list(inbox.iterdir()) == []
    assert not (tmp_path / "config").exists()


def test_a_bar_is_drawn_on_a_terminal(tmp_path: Path, inbox: Path) -> None:
    sparse(tmp_path / "file", 40 * MIB)
    receiver, port = receive(tmp_path, "--trust", "anyone")
    screen, terminal = pty.openpty()
    command = [*NAUTILUS, "send", str(tmp_path / "file"), str(port), "--trust", "anyone"]
    sender = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal, env=os.environ | {"TERM": "xterm"})
    os.close(terminal)
    drawn = b""
    try:
        while data := os.read(screen, 65_536):
            drawn += data
    except OSError:  # Linux's way to say that the other end is closed
        pass
    finally:
        os.close(screen)
    assert sender.wait(timeout=20) == 0
    assert end(receiver)[0] == 0
    assert b"confirming file" in drawn
    assert b"40.0/40.0 MiB" in drawn
    assert not re.search(rb"\d [kMG]B", drawn)  # of one family of units there is only one
    assert drawn.rstrip().endswith(b"\x1b[2K")  # the bar is gone: the result, on standard output, says all
    assert drawn.count(b"\x1b[?25l") == drawn.count(b"\x1b[?25h") > 0  # the cursor is back
    assert (inbox / "file").stat().st_size == 40 * MIB


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["send", "nothing", "1"], 1, "No such file"),
        (["send", "inbox", "1"], 2, "no regular file"),
        (["send", "file", "127.0.0.1:1", "--trust", "anyone"], 4, "no connection to 127.0.0.1 port 1"),
        (["send", "file", "somewhere"], 2, "is no address"),
        (["send", "7000"], 2, "required: [HOST:]PORT"),
        (["receive", "7000", "--max-size", "much"], 2, "'much' is no size"),
        (["receive", "7000", "--directory", "nowhere"], 2, "nowhere is no folder"),
        (["receive", "7000", "--output", "inbox"], 2, "is a folder: say --directory"),
        (["receive", "7000", "--output", "x", "--directory", "inbox"], 2, "not allowed with"),
        (["receive", "7000", "--connect", "--keep"], 2, "--keep goes with listening"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, inbox: Path, arguments: list[str], code: int, complaint: str) -> None:
    (tmp_path / "file").write_text("x")
    ended, out, err = end(start(tmp_path, *arguments))
    assert (ended, out) == (code, "")
    assert complaint in err.splitlines()[-1]
    assert list(inbox.iterdir()) == []


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = end(start(tmp_path, "receive", port, "--trust", "anyone"))
    assert code == 1
    assert f"127.0.0.1:{port}: cannot listen there: Address already in use; choose another port" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["send", "receive"])
def test_the_help_teaches_by_example(tmp_path: Path, command: str) -> None:
    code, out, _ = end(start(tmp_path, command, "--help"))
    assert code == 0
    assert f"  nautilus {command} " in out
