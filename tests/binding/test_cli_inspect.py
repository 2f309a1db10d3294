"""`nautilus inspect`, against listeners of many kinds: what it finds out, and that it harms nobody."""

from __future__ import annotations

import datetime
import http.server
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nautilus_anyio import SecureStream, connect
from nautilus_anyio.cli import main
from nautilus_anyio.cli.inspect import inspect
from nautilus_anyio.cli.output import Output
from nautilus_anyio.cli.report import Report
from nautilus_anyio.pictures.words import printable
from nautilus_core import (
    ANONYMOUS,
    DEFAULT_SUITES,
    INITIATOR,
    SUITES,
    CustomProtocolStep,
    Identity,
    profiles,
    trust,
)

from .helpers import BOB, initiator, listening, responder

pytestmark = pytest.mark.anyio

NAUTILUS = [sys.executable, "-m", "nautilus_anyio"]


async def look(port: int, *protocols: str, timeout: float = 20.0, patience: float = 0.3) -> Report:
    return await inspect("127.0.0.1", port, protocols, timeout=timeout, patience=patience, output=Output(quiet=True))


class Handled:
    """A handler that counts the sessions that began."""

    def __init__(self) -> None:
        self.sessions = 0

    async def __call__(self, stream: SecureStream) -> None:
        self.sessions += 1
        await stream.send_eof()


# ------------------------------------------------------------------ who speaks nautilus/1


async def test_a_peer_that_pins_keys() -> None:
    handled = Handled()
    async with listening(responder(), handled) as port:
        report = await look(port)
        assert handled.sessions == 0
        async with await connect("127.0.0.1", port, initiator()) as stream:
            assert [data async for data in stream] == []
        assert handled.sessions == 1
    assert report.reachable
    assert report.speaks == "nautilus/1"
    assert not report.speaks_first
    assert report.version == 1
    assert report.suites == list(DEFAULT_SUITES)
    assert report.credential_types == ["raw-public-key"]
    assert report.schemes == ["ed25519"]
    assert report.wants_protocol is False
    assert report.refusal is None
    assert report.key is not None
    assert (report.key.peer_id, report.key.words) == (BOB.peer_id, BOB.public.words)
    assert report.to_anonymous is not None
    assert (report.to_anonymous.code, report.to_anonymous.name) == (49, "ACCESS_DENIED")
    assert report.to_anonymous.authenticated
    assert report.answer_ms is not None
    assert 0 < report.answer_ms < 5000
    assert report.complete
    assert len(report.connections) == 1 + len(DEFAULT_SUITES) + 1


async def test_a_peer_that_accepts_anonymous_ones_is_left_in_peace() -> None:
    handled = Handled()
    async with listening(responder(trust=trust.anyone(anonymous=True)), handled) as port:
        report = await look(port)
        await anyio.sleep(0.05)
    assert handled.sessions == 0
    assert report.credential_types == ["raw-public-key", "anonymous"]
    assert report.to_anonymous is None
    assert report.key is not None
    assert report.complete


async def test_a_peer_that_would_ask_is_not_made_to_ask() -> None:
    asked: list[object] = []
    async with listening(responder(trust=trust.ask(anonymous=True)), answer=asked.append) as port:
        report = await look(port)
    assert asked == []
    assert report.key is not None


@pytest.mark.parametrize("suite", ["P256_AES128GCM_SHA256", "X25519MLKEM768_AES128GCM_SHA256"])
async def test_a_peer_with_one_suite(suite: str) -> None:
    async with listening(responder(suites=[suite])) as port:
        report = await look(port)
    assert report.suites == [suite]
    assert report.key is not None
    assert [made["outcome"] for made in report.connections] == [
        "silence",
        f"selects {suite}, alert 49 ACCESS_DENIED",
        "alert 40 HANDSHAKE_FAILURE",
    ]


async def test_its_order_of_preference_and_all_suites_are_seen() -> None:
    suites = list(SUITES)[::-1]
    async with listening(responder(suites=suites)) as port:
        report = await look(port)
    assert report.suites == suites
    assert report.complete


async def test_its_protocols_are_found_among_those_that_are_offered() -> None:
    async with listening(responder(protocols=["acme/1", "acme/2"])) as port:
        blind = await look(port)
        some = await look(port, "other/1", "acme/2", "acme/1")
        wrong = await look(port, "other/1")
    for report in (blind, wrong):
        assert report.wants_protocol
        assert report.refusal is not None
        assert report.refusal.name == "NO_APPLICATION_PROTOCOL"
        assert report.speaks == "nautilus/1"
        assert report.key is None
    assert some.protocols == ["acme/1", "acme/2"]
    assert some.protocol == "acme/1"
    assert some.suites == list(DEFAULT_SUITES)
    assert some.complete


async def test_a_peer_without_protocols_is_seen_although_some_are_offered() -> None:
    async with listening(responder()) as port:
        report = await look(port, "acme/1")
    assert report.wants_protocol is False
    assert report.protocols == []
    assert report.key is not None


async def test_an_anonymous_peer_and_the_schemes_that_another_wants() -> None:
    async with listening(profiles.nautilus(identity=ANONYMOUS, trust=trust.anyone())) as port:
        report = await look(port)
    assert report.anonymous
    assert report.key is None
    p256 = Identity.generate("ecdsa-p256-sha256")
    async with listening(responder(identity=p256, trust=trust.pinned(p256.public))) as port:
        report = await look(port)
    assert not report.anonymous
    assert report.schemes == ["ecdsa-p256-sha256"]
    assert report.key is not None
    assert report.key.scheme == "ecdsa-p256-sha256"


async def test_a_peer_with_a_step_of_its_own() -> None:
    def ticket() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep("ticket", INITIATOR, write=lambda _: b"", read=lambda *_: None)

    async with listening(responder().insert_before("initiator-finished", ticket)) as port:
        report = await look(port)
    assert report.speaks == "nautilus/1"
    assert report.refusal is not None
    assert report.refusal.name == "STEP_LIST_MISMATCH"
    assert len(report.connections) == 2


# ------------------------------------------------------------------ who does not


@asynccontextmanager
async def answering(handle: Callable[[ByteStream], Awaitable[None]]) -> AsyncIterator[int]:
    """A TCP listener that does what `handle` does with each connection, and then closes it; gives its port."""

    async def handle_and_close(stream: ByteStream) -> None:
        async with stream:
            try:
                await handle(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle_and_close)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


async def say_nothing(stream: ByteStream) -> None:
    while True:
        await stream.receive()


async def close_at_once(stream: ByteStream) -> None:
    pass


async def greet_as_ssh(stream: ByteStream) -> None:
    await stream.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    await stream.receive()


async def greet_badly(stream: ByteStream) -> None:
    await stream.receive()
    await stream.send(b"\x1b[31m[bold]owned\x9b\r\nmore")


async def begin_and_stall(stream: ByteStream) -> None:
    await stream.receive()
    await stream.send(b"\xe1\x00\x10\x00")
    await say_nothing(stream)


async def only_version_two(stream: ByteStream) -> None:
    await stream.receive()
    await stream.send(b"\xe2\x00\x00\x03\x92\x46\xc0")  # the alert [70, nil]


async def refuse(stream: ByteStream) -> None:
    await stream.receive()
    await stream.send(b"\xe2\x00\x00\x05\x92\xcd\x03\x84\x05")  # the alert [900, 5]


async def test_a_silent_peer() -> None:
    async with answering(say_nothing) as port:
        report = await look(port, patience=0.1)
    assert report.reachable
    assert report.speaks is None
    assert [made["outcome"] for made in report.connections] == ["silence"] * 4
    assert [made["sent"] for made in report.connections[2:]] == ["an HTTP request", "a TLS hello"]


async def test_time_is_bounded() -> None:
    async with answering(say_nothing) as port:
        with anyio.fail_after(20):
            report = await look(port, timeout=0.3, patience=60.0)
    assert not report.complete
    assert len(report.connections) <= 2


async def test_a_peer_that_closes_without_a_word() -> None:
    async with answering(close_at_once) as port:
        report = await look(port)
    assert report.speaks is None
    assert {made["outcome"] for made in report.connections} == {"closes without a word"}


async def test_a_peer_that_speaks_first() -> None:
    async with answering(greet_as_ssh) as port:
        report = await look(port)
    assert (report.speaks, report.speaks_first) == ("SSH", True)
    assert len(report.connections) == 1


async def test_a_peer_cannot_steer_the_terminal() -> None:
    async with answering(greet_badly) as port:
        report = await look(port)
    assert report.speaks is None
    outcomes = [made["outcome"] for made in report.connections[1:]]
    assert outcomes == ["speaks something else: \\x1b[31m[bold]owned\\x9b"] * 3
    assert printable("a\x1b[31mb\n\u202e" + "x" * 300, most=8) == "a\\x1b[31mb\\n..."


async def test_an_alert_of_an_application() -> None:
    async with answering(refuse) as port:
        report = await look(port)
    assert report.speaks == "nautilus/1"
    assert report.refusal is not None
    assert (report.refusal.code, report.refusal.retry_after) == (900, 5)
    assert not report.refusal.authenticated
    assert "application code 900" in str(report.refusal)


async def test_a_peer_of_another_version() -> None:
    async with answering(only_version_two) as port:
        report = await look(port)
    assert report.speaks == "another version of nautilus"
    assert report.refusal is not None
    assert report.refusal.name == "PROTOCOL_VERSION"


async def test_a_peer_that_begins_and_stalls() -> None:
    async with answering(begin_and_stall) as port:
        report = await look(port, patience=0.1)
    assert report.speaks is None
    assert "the deadline has passed" in report.connections[1]["outcome"]


class Quiet(http.server.BaseHTTPRequestHandler):
    """Answers what the standard library answers, and logs nothing."""

    def log_message(self, *_: Any) -> None:
        return None


@contextmanager
def http_server() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


async def test_an_http_server() -> None:
    with http_server() as port:
        report = await look(port)
    assert report.speaks == "HTTP"
    assert report.complete


def certificate(folder: Path) -> ssl.SSLContext:
    """A TLS server's context, with a certificate of its own making."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(30))
    pem = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
    path = folder / "node.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_a_tls_server(tmp_path: Path) -> None:
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = TLSListener(tcp, certificate(tmp_path), standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, say_nothing)
        report = await look(tcp.extra(SocketAttribute.local_port))
        tasks.cancel_scope.cancel()
    assert report.speaks == "TLS"


async def test_nobody_is_there() -> None:
    async with answering(say_nothing) as port:
        pass
    report = await look(port)
    assert not report.reachable
    assert report.reason == "Connection refused"
    assert report.speaks is None


async def test_a_name_that_does_not_exist() -> None:
    report = await inspect("nowhere.invalid", 1, (), timeout=10.0, patience=5.0, output=Output(quiet=True))
    assert not report.reachable
    assert report.reason


# ------------------------------------------------------------------ the command


def test_the_command_says_what_it_found_and_the_listener_goes_on(tmp_path: Path) -> None:
    """A listener for one peer still waits for it after it was inspected."""
    listen = [*NAUTILUS, "listen", "0", "--trust", "anyone", "--allow-anonymous", "--json"]
    listener = subprocess.Popen(listen, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert listener.stderr is not None
    port = next(said["port"] for said in map(json.loads, listener.stderr) if "port" in said)
    done = [
        subprocess.run(
            [*NAUTILUS, "inspect", f"127.0.0.1:{port}", "--patience", "1", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for arguments in (["--json"], [])
    ]
    connecting = subprocess.run(
        [*NAUTILUS, "connect", f"127.0.0.1:{port}", "--trust", "anyone"],
        input=b"hello",
        capture_output=True,
        timeout=60,
        check=False,
    )
    output, complaints = listener.communicate(timeout=60)
    assert connecting.returncode == listener.returncode == 0, complaints
    assert output == b"hello"
    found = json.loads(done[0].stdout)
    assert found["speaks"] == "nautilus/1"
    assert found["suites"] == list(DEFAULT_SUITES)
    assert len(found["connections"]) == len(DEFAULT_SUITES) + 2
    for run in done:
        assert (run.returncode, run.stderr) == (0, "")
    assert found["key"]["peer_id"] in done[1].stdout
    assert "welcome, so it says (not tried)" in done[1].stdout
    assert max(map(len, done[1].stdout.splitlines())) <= 80


def test_exit_codes_and_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "127.0.0.1:1"]) == 4
    assert "no: Connection refused" in capsys.readouterr().out
    with http_server() as port:
        assert main(["inspect", f"127.0.0.1:{port}", "--patience", "0.3", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["speaks"] == "HTTP"
    assert main(["inspect", "127.0.0.1:1", "--patience", "0"]) == 2
    assert main(["inspect", "127.0.0.1:1", "--protocol", "x" * 65]) == 2
    assert capsys.readouterr().err.count("\n") == 2
