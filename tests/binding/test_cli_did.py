"""The command and DIDs: identities that present one, and whom `--trust did:...` trusts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from nautilus_anyio import load_identity

from .test_cli import NAUTILUS, free_port, run, start_listener


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
    assert "presents" not in plain
    assert load_identity(tmp_path / "plain.pem").credential_type == "raw-public-key"

    assert run("keygen", tmp_path / "big.pem", "--did-key", "--scheme", "ml-dsa-65").returncode == 0
    assert "--json has it" in run("identity", "show", tmp_path / "big.pem").stdout
    assert len(did_of(tmp_path / "big.pem")) > 2000

    done = run("keygen", tmp_path / "other.pem", "--did-key", "--x509-self-signed")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done


def said(*arguments: str | Path | int) -> subprocess.CompletedProcess[bytes]:
    """`nautilus connect`, which says a word."""
    command = [*NAUTILUS, "connect", *map(str, arguments)]
    return subprocess.run(command, input=b"hello", capture_output=True, timeout=60, check=False)


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


def test_what_the_command_refuses() -> None:
    for options, why in (
        (["--trust", "did:web"], "no DID"),
        (["--trust", "did:web:a.example#key-1"], "leave out #key-1"),
        (["--trust", "did:web:a.example", "--allow-anonymous"], "does not go with a DID"),
        (["--trust", "anyone", "--did"], "does not go with --did"),
    ):
        done = run("connect", "7", "--anonymous", *options)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
        assert why in done.stderr
