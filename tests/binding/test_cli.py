"""The command, as a person runs it: real processes, real sockets, real files."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from nautilus_anyio.cli import main
from nautilus_core import Identity

from .processes import free_port

NAUTILUS = [sys.executable, "-m", "nautilus_anyio"]


def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [*NAUTILUS, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


def start_listener(port: int, *arguments: str | Path, **files: object) -> subprocess.Popen[bytes]:
    """`nautilus listen` in a process of its own, once it says that it listens."""
    command = [*NAUTILUS, "listen", str(port), *map(str, arguments)]
    process: subprocess.Popen[bytes] = subprocess.Popen(command, stderr=subprocess.PIPE, **files)  # type: ignore[call-overload]
    for line in process.stderr or ():
        if b"listening" in line:
            return process
    raise RuntimeError("the listener did not start")


def test_who_names_no_identity_can_look_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    first, again = run("identity", "show"), run("identity", "show")
    assert first.returncode == 0
    assert "made an identity for this user" in first.stderr
    assert (again.stdout, again.stderr) == (first.stdout, "")
    assert run("identity", "show", tmp_path / "nautilus" / "identity.pem").stdout == first.stdout


@pytest.mark.parametrize("scheme", ["ed25519", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "ml-dsa-65"])
def test_keygen_writes_a_private_file_and_shows_the_fingerprint(tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "identity.pem"
    done = run("keygen", file, "--scheme", scheme)
    identity = Identity.from_pem(file.read_bytes())
    peer_id, *words = done.stdout.splitlines()[:3]
    assert (peer_id, " ".join(words)) == (identity.peer_id, identity.public.words)
    assert identity.public.fingerprint.hex() in done.stdout
    assert run("identity", "show", file).stdout == done.stdout
    told = json.loads(run("identity", "show", file, "--json").stdout)
    assert told["peer_id"] == identity.peer_id
    assert bytes.fromhex(told["public_key"]) == identity.public.data
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert identity.scheme == scheme


def test_keygen_never_overwrites(tmp_path: Path) -> None:
    file = tmp_path / "identity.pem"
    file.write_text("precious")
    done = run("keygen", file)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert file.read_text() == "precious"


def test_keygen_with_a_passphrase(tmp_path: Path) -> None:
    file, secret = tmp_path / "identity.pem", tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    assert run("keygen", file, "--passphrase-file", secret).returncode == 0
    assert b"ENCRYPTED" in file.read_bytes()
    assert Identity.from_pem(file.read_bytes(), b"correct horse").scheme == "ed25519"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_listen_and_connect_carry_files_both_ways(tmp_path: Path, backend: str) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_bytes(os.urandom(5_000_000))
    theirs.write_bytes(os.urandom(3_000_000))
    node, gateway = tmp_path / "node.pem", tmp_path / "gateway.pem"
    node_id, gateway_id = (run("keygen", file).stdout.split()[0] for file in (node, gateway))
    port = free_port()
    got_here, got_there = tmp_path / "got-here", tmp_path / "got-there"
    with theirs.open("rb") as source, got_there.open("wb") as sink:
        listener = start_listener(
            port, "--identity", gateway, "--trust", f"pinned:{node_id}", "--backend", backend, stdin=source, stdout=sink
        )
        with ours.open("rb") as source_here, got_here.open("wb") as sink_here:
            command = [*NAUTILUS, "connect", f"127.0.0.1:{port}", "--identity", node, "--backend", backend]
            done = subprocess.run(
                [*map(str, command), "--trust", f"pinned:{gateway_id}"],
                stdin=source_here,
                stdout=sink_here,
                stderr=subprocess.PIPE,
                timeout=60,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        assert listener.wait(timeout=30) == 0
        if listener.stderr is not None:
            listener.stderr.close()
    assert hashlib.sha256(got_there.read_bytes()).digest() == hashlib.sha256(ours.read_bytes()).digest()
    assert hashlib.sha256(got_here.read_bytes()).digest() == hashlib.sha256(theirs.read_bytes()).digest()


def test_a_listener_that_is_killed_leaves_no_clean_end(tmp_path: Path) -> None:
    port = free_port()
    listener = start_listener(port, "--trust", "anyone", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    command = [*NAUTILUS, "connect", f"127.0.0.1:{port}", "--trust", "anyone"]
    connected = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert connected.stderr is not None
    assert b"connected" in connected.stderr.readline()
    listener.kill()
    listener.communicate()
    _, complaint = connected.communicate(timeout=30)
    assert connected.returncode == 4
    assert b"Traceback" not in complaint
    assert complaint.count(b"\n") == 1


def test_the_wrong_key_is_refused_on_one_line(tmp_path: Path) -> None:
    stranger = Identity.generate().peer_id
    port = free_port()
    listener = start_listener(port, "--trust", "anyone", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    done = run("connect", f"127.0.0.1:{port}", "--trust", f"pinned:{stranger}")
    listener.kill()
    listener.communicate()
    assert done.returncode == 3
    assert "not a pinned one" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["connect", "127.0.0.1:1", "--trust", "anyone"], 4, "no connection to 127.0.0.1 port 1"),
        (["connect", "127.0.0.1:1", "--trust", "nobody"], 2, "no trust policy 'nobody'"),
        (["connect", "127.0.0.1:1", "--trust", "pinned:key:short"], 2, "is no peer id"),
        (["connect", "127.0.0.1:1", "--suite", "ROT13"], 2, "no suite 'ROT13'"),
        (["connect", "127.0.0.1:1", "--identity", "/nonexistent"], 1, "No such file"),
        (["connect", "somewhere"], 2, "is no address: expected HOST:PORT or PORT"),
        (["connect", "host:65536"], 2, "'host:65536' is no address: a port is 1 to 65535, or 0"),
        (["connect", "host:" + "9" * 5000], 2, "a port is 1 to 65535"),
        (["connect", "host:-1"], 2, "is no address"),
        (["connect", "host:\u0667"], 2, "is no address"),
        (["inspect", "host:0"], 2, "nobody listens on port 0: expected the port of the other end, 1 to 65535"),
        (["send", __file__, "host:0"], 2, "nobody listens on port 0"),
        (["connect", "1", "--anonymous", "--identity", "x"], 2, "not allowed with argument"),
        (["connect", "1", "--trust", "known-peers:"], 2, "--trust known-peers: names no file: say known-peers:FILE"),
        (["connect", "1", "--trust", "pinned:"], 2, "--trust pinned: names no key: say pinned:KEY"),
        (["listen", "1", "--max-connections", "3"], 2, "goes with --exec or --forward"),
        (["connect", "1", "--max-connections", "3"], 2, "goes with --listen"),
        (["connect", "1", "--nonsense"], 2, "unrecognized arguments: --nonsense; try nautilus connect --help"),
        (["keygen"], 2, "required: file; try nautilus keygen --help"),
        (["frobnicate"], 2, "'frobnicate'"),
        (["inspect", "1", "--timeout", "nan"], 2, "'nan' is no time: expected seconds, more than 0"),
        (["inspect", "1", "--patience", "inf"], 2, "'inf' is no time"),
        (["bench", "--seconds", "4000"], 2, "at most 3,600"),
        (["connect", "::1"], 2, "stands in brackets"),
        (["connect", "fe80::1:7000"], 2, "stands in brackets"),
        (["connect", "[::1"], 2, "stands in brackets"),
    ],
)
def test_mistakes_are_named_on_one_line(
    arguments: list[str], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("nautilus")
    assert complaint in err
    for words in (["--json", *arguments[1:]], [*arguments[1:], "--json"]):
        assert main([arguments[0], *words]) == code
        out, err = capsys.readouterr()
        assert out == ""
        told = json.loads(err)
        assert told["exit_code"] == code
        assert complaint in told["error"]


@pytest.mark.parametrize("group", [[], ["identity"], ["profile"]])
def test_without_a_command_there_is_the_help(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(group) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(" ".join(["usage: nautilus", *group]))
    assert "examples:" in err


def test_the_version_is_that_of_the_package() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"nautilus {metadata.version('nautilus-handshake')}\n",
        "",
    )


def test_trio_is_asked_for_where_it_is_missing() -> None:
    code = "import sys; sys.modules['trio'] = None; from nautilus_anyio.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "connect", "1", "--backend"]
    done = subprocess.run([*command, "trio"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "trio is not installed: pip install trio; try" in done.stderr
    asyncio = [*command, "asyncio", "--trust", "anyone"]
    assert subprocess.run(asyncio, capture_output=True, timeout=30, check=False).returncode == 4


@pytest.mark.parametrize("last_word", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_peer_that_hangs_up_is_a_lost_connection_and_one_that_talks_otherwise_is_not(last_word: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [*NAUTILUS, "connect", str(server.getsockname()[1]), "--trust", "anyone"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(last_word)
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == (3 if last_word else 4)
    assert complaint.count("\n") == 1


def test_only_of_a_key_is_it_said_that_others_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("root:x:0:0::/root:/bin/sh\n")
    file.chmod(0o644)
    done = run("identity", "show", file)
    assert done.returncode == 2
    assert done.stderr == f"nautilus: {file}: this is no PKCS#8 private key\n"
    file.write_bytes(Identity.generate().to_pem(None))
    done = run("identity", "show", file)
    assert done.returncode == 1
    assert f"chmod 600 {file}" in done.stderr


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_demo_draws_the_ladder_and_both_checksums_agree(backend: str) -> None:
    done = run("demo", "--size", "2", "--backend", backend)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for step in ("hello", "suite", "responder-key-share", "responder-authentication", "initiator-finished", "accept"):
        assert f" {step} " in done.stdout
    assert done.stdout.index("responder-key-share") < done.stdout.index("encrypted from here on")
    assert re.search(r"flight 1: 3 messages, [\d,]+ B, [\d.]+ ms", done.stdout)
    digests = re.findall(r"sha256 ([0-9a-f]{64})", done.stdout)
    assert len(digests) == 2
    assert digests[0] == digests[1]
    assert "both sides agree" in done.stdout


def read_until(descriptor: int, wanted: bytes, seconds: float = 20.0) -> bytes:
    """What the terminal shows, through `wanted`."""
    shown = b""
    end = time.monotonic() + seconds
    while wanted not in shown:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise TimeoutError(shown)
        shown += os.read(descriptor, 4096)
    return shown


@pytest.mark.parametrize("answer", [b"yes\n", b"no\n"])
def test_a_first_contact_is_asked_about_on_the_terminal_and_ctrl_c_ends_it(answer: bytes) -> None:
    port = free_port()
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [*NAUTILUS, "listen", str(port)])
    try:
        read_until(terminal, b"listening")
        command = [*NAUTILUS, "connect", f"127.0.0.1:{port}", "--trust", "anyone"]
        connecting = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        asked = read_until(terminal, b"(yes/no)")
        assert b"key:" in asked
        assert b"in words" in asked
        os.write(terminal, answer)
        accepted = answer == b"yes\n"
        read_until(terminal, b"connected to" if accepted else b"refused at the terminal")
        if accepted:
            connecting.send_signal(signal.SIGINT)
            connecting.wait(timeout=20)  # before its input ends, which would be a clean close
        connecting.communicate(timeout=20)
        assert connecting.returncode == (130 if accepted else 3)
        os.kill(process, signal.SIGINT)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) in (130, 4)
    finally:
        os.close(terminal)


def test_ctrl_c_and_a_dead_peer_end_it_while_standard_input_stays_open() -> None:
    port = free_port()
    listener = start_listener(port, "--trust", "anyone", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    command = [*NAUTILUS, "connect", f"127.0.0.1:{port}", "--trust", "anyone"]
    connected = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert connected.stderr is not None
    assert b"connected" in connected.stderr.readline()
    connected.send_signal(signal.SIGINT)
    assert connected.wait(timeout=20) == 130
    assert listener.wait(timeout=20) == 4
    connected.communicate()
    listener.communicate()


def test_who_names_no_identity_gets_one_and_keeps_it(own_configuration: Path) -> None:
    file = own_configuration / "nautilus" / "identity.pem"
    file.unlink()
    port = free_port()
    seen = []
    for _ in range(2):
        listener = start_listener(port, "--trust", "anyone", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        done = run("connect", f"127.0.0.1:{port}", "--trust", "known-peers", "--json")
        listener.kill()
        listener.communicate()
        seen.append(done)
    assert [done.returncode for done in seen] == [3, 3]  # there is no terminal to ask on
    assert all("there is no terminal to ask on" in done.stderr for done in seen)
    key = re.findall(r"whether (key:\w+)", seen[0].stderr + seen[1].stderr)
    assert len(set(key)) == 1
    assert json.loads(run("identity", "show", file, "--json").stdout)["peer_id"] == key[0]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
