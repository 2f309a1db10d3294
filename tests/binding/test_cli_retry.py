"""`--retry` and `--retry-timeout`, in processes: what is noted, what comes of it, and which commands have them."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from nautilus_anyio.cli import main
from nautilus_core import trust

from .helpers import ALICE, BOB, MALLORY, responder
from .moods import closing, listening_in, refusing, serving, silent
from .processes import NAUTILUS, PATIENCE, running

pytestmark = pytest.mark.anyio

BOBS = ("--trust", f"pinned:{BOB.peer_id}")
BY_KEY = ("raw-public-key", "x509", "did")
"""What the command takes from peers whose keys it judges."""

takes_alice = serving(responder(trust=trust.pinned(ALICE.public, kinds=BY_KEY)))


async def nautilus(backend: str, *arguments: str | Path | int) -> tuple[int, list[dict[str, Any]]]:
    """The command without input: its exit code, and all that it said on standard error, which is JSON throughout."""
    command = [*NAUTILUS, *map(str, arguments), "--json", "--backend", backend]
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(command, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


@pytest.fixture
def nobodys_port() -> Iterator[int]:
    """A port where a connection is refused."""
    with socket.socket() as claimed:
        claimed.bind(("127.0.0.1", 0))
        yield claimed.getsockname()[1]


async def test_it_is_told_what_failed_and_when_it_goes_on(anyio_backend: str, tmp_path: Path) -> None:
    folder = tmp_path / "transcripts"
    async with listening_in(refusing(retry_after=0), takes_alice) as listener:
        arguments = ("connect", listener.port, *BOBS, "--retry", 3, "--record", folder)
        code, said = await nautilus(anyio_backend, *arguments)
        assert code == 0
        assert listener.connections == 2
    recorded, failed, connected = said
    assert recorded["note"] == f"each handshake is recorded in the folder {folder}"
    assert failed["note"].startswith(
        f"attempt 2 of 3 in {failed['wait']:.1f} s: hello-response: the peer gave up: it is busy"
    )
    assert 0.2 <= failed["wait"] <= 0.7
    assert (failed["attempt"], failed["attempts"], failed["kind"]) == (2, 3, "PeerAborted")
    assert connected["peer"] == BOB.peer_id
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("what", "anyio_backend"),
    [(("connect",), "trio"), (("send", __file__), "asyncio"), (("receive", "--connect"), "asyncio")],
    ids=["connect", "send", "receive"],
)
async def test_where_nobody_listens_the_last_error_says_how_often_it_was_tried(
    anyio_backend: str, nobodys_port: int, what: tuple[str, ...]
) -> None:
    code, (failed, error) = await nautilus(anyio_backend, *what, nobodys_port, *BOBS, "--retry", 2)
    assert code == 4
    words = f"connect: no connection to 127.0.0.1 port {nobodys_port}; got Connection refused"
    assert failed["note"].endswith(f" s: {words}")
    assert failed["kind"] == error["kind"] == "TransportFailed"
    assert error["error"] == f"{words}; the last of 2 attempts"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_it_is_said_in_one_line_to_people(anyio_backend: str, nobodys_port: int) -> None:
    command = [*NAUTILUS, "connect", str(nobodys_port), *BOBS, "--retry", "2", "--backend", anyio_backend]
    done = await anyio.run_process(command, stdin=subprocess.DEVNULL, check=False)
    note, error = done.stderr.decode().splitlines()
    assert note.startswith("nautilus: attempt 2 of 2 in 0.")
    assert note.endswith("Connection refused")
    assert error.endswith("Connection refused; the last of 2 attempts")
    assert done.stdout == b""


async def test_a_peer_that_we_do_not_want_is_called_once(anyio_backend: str) -> None:
    stranger = responder(identity=MALLORY, trust=trust.anyone(kinds=BY_KEY))
    async with listening_in(serving(stranger)) as listener:
        code, (error,) = await nautilus(anyio_backend, "connect", listener.port, *BOBS, "--retry", 5)
        assert listener.connections == 1
    assert code == 3
    assert error["kind"] == "AuthenticationFailed"
    assert "attempts" not in error["error"]


async def test_the_time_for_all_attempts(anyio_backend: str) -> None:
    async with listening_in(silent) as listener:
        arguments = ("connect", listener.port, *BOBS, "--timeout", "0.2", "--retry", 1000, "--retry-timeout", "1.5")
        began = anyio.current_time()
        code, said = await nautilus(anyio_backend, *arguments)
        assert anyio.current_time() - began < 10
        assert listener.connections == len(said) < 6
    assert code == 3
    assert said[-1]["kind"] == "HandshakeTimeout"


async def test_the_entrance_of_a_tunnel_tries_again_for_each_client(anyio_backend: str) -> None:
    async with listening_in(closing, takes_alice) as listener:

        def echoed() -> tuple[bytes, list[dict[str, Any]]]:
            arguments = ("connect", listener.port, "--listen", 0, *BOBS, "--retry", 3, "--backend", anyio_backend)
            with running(*arguments) as entrance:
                with socket.create_connection(("127.0.0.1", entrance.port), PATIENCE) as client:
                    client.sendall(b"through")
                    client.shutdown(socket.SHUT_WR)
                    return client.recv(100), entrance.notes

        data, notes = await anyio.to_thread.run_sync(echoed)
    assert data == b"through"
    assert [note["attempt"] for note in notes if "attempt" in note] == [2]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["connect", "1", "--retry", "0"], "'0' is no number of attempts: expected 1 or more, the first included"),
        (["connect", "1", "--retry", "1.5"], "'1.5' is no number of attempts"),
        (["connect", "1", "--retry", "9" * 10], "is no number of attempts"),
        (["connect", "1", "--retry", "2", "--retry-timeout", "0"], "'0' is no time"),
        (["connect", "1", "--retry-timeout", "2"], "--retry-timeout goes with --retry ATTEMPTS"),
        (["connect", "1", "--listen", "0", "--retry-timeout", "2"], "--retry-timeout goes with --retry ATTEMPTS"),
        (["send", __file__, "1", "--listen", "--retry", "2"], "--retry goes with dialling, and we listen"),
        (["receive", "1", "--retry", "2"], "--retry goes with dialling, and we listen"),
        (["listen", "1", "--retry", "2"], "unrecognized arguments: --retry 2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_makes_no_sense_is_refused(
    arguments: list[str], complaint: str, anyio_backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await anyio.to_thread.run_sync(main, arguments) == 2
    assert complaint in capsys.readouterr().err
