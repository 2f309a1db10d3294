"""`--tls` of `nautilus connect` and `nautilus listen`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from nautilus_anyio import connect
from nautilus_anyio.cli.tls import add_tls, tls_from
from nautilus_core import INITIATOR, RESPONDER, Role

from .certified import CA, CERTIFICATE, CLIENT_CERTIFICATE, STRANGER
from .helpers import initiator, listening, responder
from .processes import PATIENCE, free_port
from .test_cli import run, start_listener
from .transfers import end, start, wait_for

TRUST = ("--trust", "anyone")
LISTEN = (*TRUST, "--tls", "--tls-cert")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """`server.pem`, `client.pem`, `ca.pem` and `stranger.pem`."""
    CERTIFICATE.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    CLIENT_CERTIFICATE.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    STRANGER.cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    return tmp_path


def talked(port: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`nautilus connect --tls`, to its end."""
    return run("connect", str(port), *TRUST, "--tls", *arguments, "--json")


def notes(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    """What it has said on standard error."""
    return [json.loads(line) for line in done.stderr.splitlines()]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_both_ends_say_what_binds_them(files: Path, backend: str) -> None:
    port = free_port()
    with start_listener(
        port, *LISTEN, files / "server.pem", "--backend", backend, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as peer:
        done = talked(port, "--tls-ca", files / "ca.pem", "--backend", backend)
        assert done.returncode == 0, done.stderr
        assert peer.wait(PATIENCE) == 0
        assert peer.stderr is not None
        assert b"inside TLSv1.3, bound to it by tls-exporter" in peer.stderr.read()
    (connected,) = [note for note in notes(done) if "suite" in note]
    assert (connected["tls"], connected["tls_binding"]) == ("TLSv1.3", "tls-exporter")


def test_a_certificate_at_both_ends(files: Path) -> None:
    port = free_port()
    arguments = (*LISTEN, files / "server.pem", "--tls-ca", files / "ca.pem", "--tls-binding", "off")
    with start_listener(port, *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as peer:
        without = talked(port, "--tls-ca", files / "ca.pem", "--tls-binding", "off")
        assert "alert certificate_required (116)" in without.stderr
        strange = talked(port, "--tls-ca", files / "stranger.pem")
        assert "the peer's TLS certificate is refused: self-signed certificate in certificate chain" in strange.stderr
        other = talked(port, "--tls-ca", files / "ca.pem", "--tls-name", "elsewhere.example")
        assert "it is not for 'elsewhere.example'" in other.stderr
        both = ("--tls-ca", files / "ca.pem", "--tls-cert", files / "client.pem", "--tls-name", "gateway.example")
        done = talked(port, *both, "--tls-binding", "offered")
        assert done.returncode == 0, done.stderr
        assert peer.wait(PATIENCE) == 0
        assert peer.stderr is not None
        assert b"inside TLSv1.3, and not bound to it" in peer.stderr.read()
    (connected,) = [note for note in notes(done) if "suite" in note]
    assert connected["tls_binding"] is None


@pytest.mark.parametrize(
    ("role", "arguments", "said"),
    [
        (RESPONDER, ("--tls",), "--tls needs --tls-cert FILE where we listen"),
        (RESPONDER, ("--tls-cert", "x"), "--tls-cert goes with --tls"),
        (None, ("--tls", "--tls-cert", "server.pem", "--tls-name", "x"), "--tls-name is for who dials"),
        (INITIATOR, ("--tls-name", "x"), "--tls-name goes with --tls"),
        (INITIATOR, ("--tls-upgrade",), "--tls-upgrade goes with --tls"),
        (INITIATOR, ("--tls", "--tls-key", "x"), "--tls-key goes with --tls-cert"),
        (RESPONDER, ("--tls", "--tls-cert", "missing.pem"), "missing.pem"),
        (RESPONDER, ("--tls", "--tls-cert", "ca.pem"), "the key that fits, in PEM"),
        (INITIATOR, ("--tls", "--tls-cert", "server.pem", "--tls-key", "ca.pem"), "the key that fits, in PEM"),
    ],
)
def test_what_does_not_go_together(
    files: Path, monkeypatch: pytest.MonkeyPatch, role: Role | None, arguments: tuple[str, ...], said: str
) -> None:
    """With no role, of a command that could dial as well, and listens."""
    monkeypatch.chdir(files)
    parser = argparse.ArgumentParser()
    add_tls(parser, listens=None if role is None else role is RESPONDER)
    options = parser.parse_args(arguments)
    options.address = ("127.0.0.1", 1)
    with pytest.raises((ValueError, OSError), match=said):
        tls_from(options, role or RESPONDER)


@pytest.mark.parametrize("sender_listens", [False, True])
def test_files_go_inside_tls_whoever_listens(files: Path, sender_listens: bool) -> None:
    (files / "file").write_bytes(b"inside" * 50_000)
    port = free_port()
    tls = (*TRUST, "--tls", "--json")
    there, here = (*tls, "--tls-cert", "server.pem"), (*tls, "--tls-ca", "ca.pem")
    if sender_listens:
        listener = start(files, "send", "file", port, "--listen", *there)
        wait_for(listener, "listening")
        dialler = start(files, "receive", port, "--connect", "--output", "got", *here)
    else:
        listener = start(files, "receive", port, "--output", "got", *there)
        wait_for(listener, "listening")
        dialler = start(files, "send", "file", port, *here)
    for process in (dialler, listener):
        code, _, said = end(process)
        assert code == 0, said
        (connected,) = [note for note in map(json.loads, said.splitlines()) if "suite" in note]
        assert (connected["tls"], connected["tls_binding"]) == ("TLSv1.3", "tls-exporter")
    assert (files / "got").read_bytes() == b"inside" * 50_000


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("arguments", [(), ("--exec", "cat")], ids=["netcat", "exec"])
def test_an_upgrade_where_both_ends_want_it(files: Path, both: bool, arguments: tuple[str, ...]) -> None:
    port = free_port()
    upgrade: tuple[str | Path, ...] = (*LISTEN, files / "server.pem", "--tls-upgrade", *arguments)
    with start_listener(port, *upgrade, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as peer:
        tls = ("--tls", "--tls-ca", str(files / "ca.pem"), "--tls-upgrade") if both else ()
        done = run("connect", str(port), *TRUST, *tls, "--json")
        assert done.returncode == 0, done.stderr
        peer.terminate()
        peer.wait(PATIENCE)
    (connected,) = [note for note in notes(done) if "suite" in note]
    found = connected.get("tls"), connected.get("tls_binding")
    assert found == (("TLSv1.3", "tls-exporter") if both else (None, None))


def test_the_command_says_so_on_one_line() -> None:
    done = run("listen", "0", *TRUST, "--tls")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "nautilus: --tls needs --tls-cert FILE where we listen: a server of TLS has a certificate"
    ]


def test_a_peer_without_tls(files: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        done = talked(port, "--tls-ca", files / "ca.pem", "--timeout", "0.3")
    assert "TLS has taken too long" in done.stderr


@pytest.mark.anyio
async def test_without_pyopenssl_it_is_the_standard_librarys(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "OpenSSL" else find(name))
    dials, listens = argparse.ArgumentParser(), argparse.ArgumentParser()
    add_tls(dials, listens=False)
    add_tls(listens, listens=True)
    wanted = dials.parse_args(["--tls", "--tls-ca", str(files / "ca.pem")])
    wanted.address = ("127.0.0.1", 0)
    here = tls_from(wanted, INITIATOR)
    there = tls_from(listens.parse_args(["--tls", "--tls-cert", str(files / "server.pem")]), RESPONDER)
    assert here is not None
    assert there is not None
    assert isinstance(here.context, ssl.SSLContext)
    async with (
        listening(responder(), tls=there) as port,
        await connect("127.0.0.1", port, initiator(), tls=here) as stream,
    ):
        assert stream.session.tls_binding == "tls-server-end-point"
