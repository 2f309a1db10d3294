"""What a listener notes of connections that fail: not one note for each of many; and what the other end is told."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest

from nautilus_anyio.cli.failures import FailureNotes
from nautilus_anyio.cli.output import Output

from .processes import eventually, free_port, running
from .test_cli import run, start_listener

TRUST = ("--trust", "anyone")


class Heard(Output):
    """Keeps the notes."""

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__(as_json=as_json)
        self.notes: list[str] = []

    def note(self, text: str, **_: Any) -> None:
        self.notes.append(text)


@pytest.mark.anyio
async def test_the_first_is_noted_at_once_and_the_others_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nautilus_anyio.cli.failures._TOGETHER", 0.1)
    heard = Heard()
    async with anyio.create_task_group() as tasks:
        failures = FailureNotes(heard, tasks)
        failures.note("first", ("10.0.0.7", 1))
        assert heard.notes == ["first"]
        failures.note("elsewhere", ("10.0.0.8", 1))
        for number in range(7):
            failures.note(f"more {number}", ("10.0.0.7", 2 + number))
        failures.note("the same there", ("10.0.0.8", 2))
        assert heard.notes == ["first", "elsewhere"]
    assert sorted(heard.notes[2:]) == [
        "7 more connections from 10.0.0.7 failed, the last one so: more 6",
        "the same there",
    ]
    async with anyio.create_task_group() as tasks:
        FailureNotes(heard, tasks).note("and again", ("10.0.0.7", 1))
    assert heard.notes[4:] == ["and again"]


@pytest.mark.anyio
async def test_what_waits_is_noted_at_the_end() -> None:
    heard = Heard()
    async with anyio.create_task_group() as tasks:
        failures = FailureNotes(heard, tasks)
        for text in ("first", "second"):
            failures.note(text, ("::1", 1, 0, 0))
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert heard.notes == ["first", "second"]


@pytest.mark.anyio
async def test_what_has_no_host_and_what_a_program_reads_is_noted_each_time() -> None:
    heard, read = Heard(), Heard(as_json=True)
    async with anyio.create_task_group() as tasks:
        for text in ("one", "two"):
            FailureNotes(heard, tasks).note(text, "/run/socket")
            FailureNotes(read, tasks).note(text, ("10.0.0.7", 1))
        many = FailureNotes(heard, tasks)
        for number in range(300):  # there is a bound on what it remembers
            many.note(f"{number}", (f"10.0.{number}.1", 1))
        many.note("again", ("10.0.299.1", 2))
        tasks.cancel_scope.cancel()
    assert read.notes == heard.notes[:2] == ["one", "two"]
    assert heard.notes[2:] == [str(number) for number in range(300)] + ["again"]


@pytest.mark.parametrize("more", [(), ("--forward", "1")], ids=["listen", "tunnel"])
def test_an_inspection_is_two_notes(more: tuple[str, ...]) -> None:
    port = free_port()
    with start_listener(port, *TRUST, *more, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as listener:
        assert run("inspect", f"127.0.0.1:{port}").returncode == 0
        assert listener.stderr is not None
        first, then = listener.stderr.readline(), listener.stderr.readline()
        assert b"more connections from" not in first
        assert b"more connections from 127.0.0.1 failed, the last one so: " in then
        listener.terminate()
        rest = listener.stderr.read().splitlines()
        assert [b"0 handshakes completed" in line for line in rest] == (
            [True] if more else []
        )  # what a tunnel has counted


def test_a_program_reads_of_each_connection() -> None:
    with running("listen", "0", *TRUST, "--forward", "1") as listener:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", listener.port)) as peer:
                peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
                peer.recv(100)
        eventually(lambda: len(listener.notes) >= 3)


@pytest.mark.parametrize("command", [("connect",), ("connect", "--listen", "0")], ids=["netcat", "tunnel"])
def test_nobody_listens_on_port_0(command: tuple[str, ...]) -> None:
    done = run(*command, "127.0.0.1:0", *TRUST)
    assert done.returncode == 2
    assert "nobody listens on port 0" in done.stderr
    done = run("listen", "0", "--forward", "0", *TRUST)
    assert done.returncode == 2
    assert "no service listens on port 0" in done.stderr


def test_who_reaches_a_receiver_hears_what_is_for_it(tmp_path: Path) -> None:
    with running("receive", "0", *TRUST, "--directory", tmp_path, "--keep") as receiver:
        done = run("connect", f"127.0.0.1:{receiver.port}", *TRUST)
        assert done.returncode == 3
        assert "no application protocol in common (hint: the peer speaks some, and we named none: `nautilus send`" in (
            done.stderr
        )
        done = run("connect", f"127.0.0.1:{receiver.port}", *TRUST, "--protocol", "acme/1")
        assert "(hint: `nautilus inspect HOST:PORT --protocol ID` says whether the peer speaks one" in done.stderr


def test_who_has_another_pre_shared_key_hears_what_may_be_wrong(tmp_path: Path) -> None:
    files = {}
    for name, key in (("node", "11" * 32), ("gateway", "22" * 32)):
        file = files[name] = tmp_path / f"{name}.toml"
        file.write_text(
            f'name = "{name}"\n[[psk]]\nidentity = "office"\nkey = "{key}"\ninitiator = "node"\nresponder = "gateway"\n'
        )
        file.chmod(0o600)
    with running("listen", "0", "--psk-file", files["gateway"], "--forward", "1") as listener:
        for options, hint in (
            (("--psk-file", files["node"]), "(hint: the peer does not know our pre-shared key, or has another one"),
            (TRUST, "(hint: the peer may want a pre-shared key: --psk-file FILE"),
        ):
            done = run("connect", f"127.0.0.1:{listener.port}", *options)
            assert done.returncode == 3
            assert hint in done.stderr
    with running("listen", "0", *TRUST, "--forward", "1") as listener:
        done = run("connect", f"127.0.0.1:{listener.port}", "--psk-file", files["node"])
        assert "(hint: the peer has no pre-shared keys: leave out --psk-file" in done.stderr


def test_identity_show_of_every_kind(tmp_path: Path) -> None:
    shown = {}
    for kind, options in (
        ("the key", ()),
        ("the DID", ("--did-key",)),
        ("the certificate", ("--x509-self-signed", "--name", "gateway.example", "--name", "10.0.0.7")),
    ):
        file = tmp_path / f"{kind}.pem"
        made = run("keygen", file, *options)
        shown[kind] = run("identity", "show", file).stdout
        assert made.stdout == shown[kind]
        assert f"presents     {kind}\n" in shown[kind]
        assert len(shown[kind].splitlines()[1].split()) == 8
    block = shown["the certificate"][shown["the certificate"].index("certificate  ") :]
    assert "names      gateway.example, 10.0.0.7" in block
    pem = (tmp_path / "the certificate.pem").read_text()
    alone = tmp_path / "ca.pem"
    alone.write_text(pem[pem.index("-----BEGIN CERTIFICATE") :])
    assert run("identity", "show", alone).stdout == block
    assert json.loads(run("identity", "show", alone, "--json").stdout)["certificates"][0]["names"] == [
        "gateway.example",
        "10.0.0.7",
    ]


def test_identity_show_of_pre_shared_keys_shows_no_key(tmp_path: Path) -> None:
    file = tmp_path / "office.toml"
    file.write_text(
        f'name = "node"\n[[psk]]\nidentity = "office"\nkey = "{"c0ffee" * 8}"\ninitiator = "node"\nresponder = "gateway"\n'
    )
    file.chmod(0o600)
    done = run("identity", "show", file)
    assert (
        done.stdout == "name         node\npre-shared   office, with which node dials gateway, for suites with SHA384\n"
    )
    told = run("identity", "show", file, "--json").stdout
    assert json.loads(told) == {
        "name": "node",
        "psks": [{"identity": "office", "initiator": "node", "responder": "gateway", "hash": "SHA384"}],
    }
    assert "c0ffee" not in done.stdout + told


def test_a_name_that_is_none_gets_no_certificate(tmp_path: Path) -> None:
    done = run("keygen", tmp_path / "node.pem", "--x509-self-signed", "--name", "no name")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "is no DNS name and no IP address" in done.stderr
    assert not (tmp_path / "node.pem").exists()
