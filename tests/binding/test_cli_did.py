"""The command and DIDs: identities that present one, and whom `--trust did:...` trusts."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from nautilus_anyio import load_identity
from nautilus_core.identity.multikey import encode_multikey

from .processes import free_port
from .test_cli import NAUTILUS, run, start_listener


def did_of(file: Path) -> str:
    """As a script would ask."""
    said: str = json.loads(run("identity", "show", file, "--json").stdout)["did"]
    return said


def test_keygen_with_a_did(tmp_path: Path) -> None:
    file = tmp_path / "node.pem"
    done = run("keygen", file, "--did-key")
    assert done.returncode == 0, done.stderr
    me = load_identity(file)
    assert me.did is not None
    assert me.did.startswith("did:key:z6Mk")
    assert f"did          {me.did}\npresents     the DID\n" in done.stdout
    assert run("identity", "show", file).stdout == done.stdout
    assert did_of(file) == me.did

    assert run("keygen", tmp_path / "plain.pem").returncode == 0
    plain = run("identity", "show", tmp_path / "plain.pem").stdout
    assert "did          did:key:z6Mk" in plain
    assert "presents     the key" in plain
    assert load_identity(tmp_path / "plain.pem").credential_type == "raw-public-key"

    assert run("keygen", tmp_path / "big.pem", "--did-key", "--scheme", "ml-dsa-65").returncode == 0
    assert "--json has it" in run("identity", "show", tmp_path / "big.pem").stdout
    assert len(did_of(tmp_path / "big.pem")) > 2000

    done = run("keygen", tmp_path / "other.pem", "--did-key", "--x509-self-signed")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done


def said(*arguments: str | Path | int, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """`nautilus connect`, which says a word."""
    command = [*NAUTILUS, "connect", *map(str, arguments)]
    return subprocess.run(command, input=b"hello", capture_output=True, timeout=60, check=False, env=env)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_command_trusts_dids(tmp_path: Path, backend: str) -> None:
    gateway, node = tmp_path / "gateway.pem", tmp_path / "node.pem"
    run("keygen", gateway, "--did-key")
    run("keygen", node)
    port, here = free_port(), ("--backend", backend)
    listener = start_listener(
        port, "--identity", gateway, "--trust", did_of(node), *here, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    with listener:
        wrong = said(port, "--identity", node, "--did", "--trust", did_of(node), *here)
        assert wrong.returncode == 3
        assert b"the peer's DID is not trusted" in wrong.stderr
        listener.terminate()
    listener = start_listener(
        port, "--identity", gateway, "--trust", did_of(node), *here, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    with listener:
        done = said(port, "--identity", node, "--did", "--trust", did_of(gateway), *here)
        assert done.returncode == 0, done.stderr
        assert f"which is {did_of(gateway)}".encode() in done.stderr
        assert listener.communicate(timeout=30)[0] == b"hello"


def test_the_command_looks_up_what_it_trusts(tmp_path: Path) -> None:
    """On an address that is not public nothing is looked up, and a key alone is trusted in no DID that has to be."""
    web, port = "did:web:localhost%3A1", free_port()
    file = tmp_path / "gateway.pem"
    run("keygen", file)
    pem = file.read_bytes()
    file.write_bytes(b"DID: " + web.encode() + b"\n" + pem)
    for policy, why in ((web, b"could not be resolved: localhost has the address"), ("anyone", b"is not trusted")):
        listener = start_listener(
            port, "--identity", file, "--trust", "anyone", stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        with listener:
            done = said(port, "--trust", policy)
            assert done.returncode == 3, done.stderr
            assert why in done.stderr
            listener.terminate()


@contextmanager
def web_server(folder: Path) -> Iterator[tuple[int, dict[str, bytes]]]:
    """An HTTPS server on loopback: its port, and its pages by path, to be filled in. `folder` has the authority's certificate."""
    pages: dict[str, bytes] = {}

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            self.send_response(404 if page is None else 200)
            self.end_headers()
            self.wfile.write(page or b"")

        def log_message(self, *_: object) -> None:
            pass

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], pages
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_did_web_of_a_private_network(tmp_path: Path, backend: str) -> None:
    file, port = tmp_path / "gateway.pem", free_port()
    run("keygen", file)
    with web_server(tmp_path) as (server, pages):
        web = f"did:web:localhost%3A{server}"
        key = load_identity(file).public
        method = {"id": "#one", "type": "Multikey", "controller": web, "publicKeyMultibase": encode_multikey(key)}
        document = {"id": web, "verificationMethod": [method], "authentication": ["#one"]}
        pages["/.well-known/did.json"] = json.dumps(document).encode()
        file.write_bytes(b"DID: " + web.encode() + b"\n" + file.read_bytes())
        here = ("--trust", web, "--backend", backend)
        environment = os.environ | {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        for options, code, shown in (
            ((), 3, b"not public: --did-web-private NETWORK allows one that is yours"),
            (("--did-web-private", "127.0.0.0/8", "--did-web-private", "::1"), 0, f", which is {web},".encode()),
        ):
            listener = start_listener(
                port, "--identity", file, "--trust", "anyone", stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
            )
            with listener:
                done = said(port, *here, *options, env=environment)
                assert done.returncode == code, done.stderr
                assert shown in done.stderr
                listener.terminate()
                assert listener.communicate(timeout=30)[0] == (b"hello" if code == 0 else b"")
        assert b"certificate is not trusted" in refused_by(port, file, *here, "--did-web-private", "127.0.0.0/8")


def refused_by(port: int, file: Path, *options: str) -> bytes:
    """What `nautilus connect` says of a listener with the identity in `file`, which it refuses."""
    listener = start_listener(
        port, "--identity", file, "--trust", "anyone", stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    with listener:
        done = said(port, *options)
        assert done.returncode == 3, done.stderr
        listener.terminate()
    return done.stderr


def test_what_the_command_refuses() -> None:
    for options, why in (
        (["--trust", "anyone", "--did-web-private", "10.0.0.0/8"], "goes with --trust did:... alone"),
        (["--trust", "did:web:a.example", "--did-web-private", "10/33"], "expected a network"),
        (["--trust", "did:web"], "no DID"),
        (["--trust", "did:web:a.example#key-1"], "leave out #key-1"),
        (["--trust", "did:web:a.example", "--allow-anonymous"], "does not go with a DID"),
        (["--trust", "anyone", "--did"], "does not go with --did"),
    ):
        done = run("connect", "7", "--anonymous", *options)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
        assert why in done.stderr
