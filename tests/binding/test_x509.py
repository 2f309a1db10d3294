"""X.509 over real sockets: authorities on both sides, both event loops, and the command."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from nautilus_anyio import SecureStream, connect, load_identity, save_identity
from nautilus_core import AuthenticationFailed, Identity, PeerAborted, profiles, trust

from ..core.certificates import authority, identity
from .helpers import listening
from .processes import free_port
from .test_cli import NAUTILUS, run, start_listener

AUTHORITY = trustme.CA()
ELSEWHERE = trustme.CA()
ROOTS = AUTHORITY.cert_pem.bytes()


def issued(*names: str, by: trustme.CA = AUTHORITY) -> Identity:
    made = by.issue_cert(*names)
    return Identity.from_pem(
        made.private_key_pem.bytes(), certificates=b"".join(blob.bytes() for blob in made.cert_chain_pems)
    )


GATEWAY = issued("127.0.0.1", "localhost")
NODE = issued("node.example")


@pytest.mark.anyio
async def test_both_ends_are_certified_over_tcp() -> None:
    met: list[Any] = []

    async def greet(stream: SecureStream) -> None:
        met.append(stream.session.peer)
        await stream.send(b"hello")

    theirs = profiles.nautilus(identity=GATEWAY, trust=trust.authorities(ROOTS))
    async with listening(theirs, greet) as port:
        ours = profiles.nautilus(identity=NODE, trust=trust.authorities(ROOTS, name="127.0.0.1"))
        async with await connect("127.0.0.1", port, ours) as stream:
            assert await stream.receive() == b"hello"
            peer: Any = stream.session.peer
            assert set(peer.names) == {"127.0.0.1", "localhost"}
            assert stream.session.valid_until is not None
            stream.session.revalidate(datetime.now(UTC))
        assert met[0].names == ("node.example",)


@pytest.mark.anyio
async def test_who_is_not_certified_is_refused_over_tcp() -> None:
    async with listening(profiles.nautilus(identity=GATEWAY, trust=trust.authorities(ROOTS))) as port:
        wrong = profiles.nautilus(identity=NODE, trust=trust.authorities(ROOTS, name="gateway.example"))
        with pytest.raises(AuthenticationFailed, match="another name"):
            await connect("127.0.0.1", port, wrong)
        unknown = profiles.nautilus(
            identity=issued("node.example", by=ELSEWHERE), trust=trust.authorities(ROOTS, name="127.0.0.1")
        )
        with pytest.raises(PeerAborted, match="its trust policy refused us"):
            await connect("127.0.0.1", port, unknown)


def test_keygen_with_a_certificate(tmp_path: Path) -> None:
    file = tmp_path / "node.pem"
    done = run("keygen", file, "--x509-self-signed", "--name", "node.example", "--name", "10.0.0.7")
    assert done.returncode == 0, done.stderr
    assert "names      node.example, 10.0.0.7" in done.stdout
    me = load_identity(file)
    assert me.credential_type == "x509"
    assert run("identity", "show", file).stdout == done.stdout
    (certificate,) = json.loads(run("identity", "show", file, "--json").stdout)["certificates"]
    assert certificate["names"] == ["node.example", "10.0.0.7"]
    assert certificate["pem"].encode() in file.read_bytes()
    for wrong in (
        ["--name", "node.example"],
        ["--scheme", "rsa-pss-sha256"],
        ["--x509-self-signed", "--name", "no\u00efde"],
    ):
        done = run("keygen", tmp_path / "other.pem", *wrong)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
        assert not (tmp_path / "other.pem").exists()


def said(*arguments: str | Path | int) -> subprocess.CompletedProcess[bytes]:
    """`nautilus connect`, which says a word."""
    command = [*NAUTILUS, "connect", *map(str, arguments)]
    return subprocess.run(command, input=b"hello", capture_output=True, timeout=60, check=False)


def test_what_a_certificate_says_does_not_steer_the_terminal(tmp_path: Path) -> None:
    made = authority(subject="evil\n\x1b[2J")
    path = tmp_path / "identity.pem"
    save_identity(path, identity(made.issue(uris=["https://\x1b[31m"])))
    shown = run("identity", "show", path)
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout
    assert "evil\\n\\x1b[2J" in shown.stdout


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_command_trusts_authorities(tmp_path: Path, backend: str) -> None:
    for name, me in (("gateway", GATEWAY), ("node", NODE)):
        (tmp_path / name).write_bytes(me.to_pem())
        (tmp_path / name).chmod(0o600)
    (tmp_path / "ca.pem").write_bytes(ROOTS)
    trusted = ("--trust", tmp_path / "ca.pem", "--backend", backend)
    port = free_port()
    listener = start_listener(
        port, "--identity", tmp_path / "gateway", *trusted, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    with listener:
        wrong = said(port, "--identity", tmp_path / "node", *trusted, "--trust-name", "gateway.example")
        assert wrong.returncode == 3
        assert b"expected gateway.example; got" in wrong.stderr
        listener.terminate()
    listener = start_listener(
        port, "--identity", tmp_path / "gateway", *trusted, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    with listener:
        done = said(f"127.0.0.1:{port}", "--identity", tmp_path / "node", *trusted)
        assert done.returncode == 0, done.stderr
        assert b"certified as" in done.stderr
        assert listener.communicate(timeout=30)[0] == b"hello"


def test_what_the_command_refuses(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(ROOTS)
    (tmp_path / "empty.pem").write_bytes(b"")
    for options, why in (
        (["--trust", tmp_path / "empty.pem"], "no certificates in PEM"),
        (["--trust", tmp_path / "none.pem"], "no trust policy"),
        (["--trust", tmp_path / "ca.pem", "--allow-anonymous"], "does not go with authorities"),
        (["--trust", tmp_path / "ca.pem", "--trust-name", "a b"], "no DNS name and no IP address"),
        (["--trust", "anyone", "--trust-name", "a"], "goes with authorities alone"),
    ):
        done = run("connect", "7", "--anonymous", *options)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
        assert why in done.stderr
