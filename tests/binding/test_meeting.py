"""What strangers can do to a command that waits for a peer: nothing."""

from __future__ import annotations

import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from nautilus_anyio import connect
from nautilus_anyio.cli import main
from nautilus_anyio.cli.transfer.messages import PROTOCOL
from nautilus_core import AlertCode, Identity, PeerAborted, Profile, profiles, trust
from tests.reliability.peers import HOSTILE

from .processes import PATIENCE, Running, eventually, free_port, running
from .test_load import flight
from .transfers import end, start, wait_for

ANYONE = ("--trust", "anyone", "--protocol", PROTOCOL)
BACKENDS = ["asyncio", "trio"]


@contextmanager
def strangers(port: int, *says: bytes) -> Iterator[list[socket.socket]]:
    """Peers that come, say that much, and stay."""
    there = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in says]
    for stranger, said in zip(there, says, strict=True):
        stranger.sendall(said)
    try:
        yield there
    finally:
        for stranger in there:
            stranger.close()


def friend() -> Profile:
    """Of a peer that is waited for."""
    return profiles.nautilus(identity=Identity.generate(), trust=trust.anyone(), protocols=[PROTOCOL])


def talk(port: int) -> None:
    """Be one."""

    async def once() -> None:
        async with await connect("127.0.0.1", port, friend(), timeout=5) as stream:
            await stream.send(b"hello")
            await stream.send_eof()

    anyio.run(once)


@pytest.mark.parametrize("backend", BACKENDS)
def test_strangers_that_come_first_do_not_take_the_only_place(backend: str) -> None:
    waiting = Running("listen", 0, *ANYONE, "--backend", backend)
    try:
        first = flight(friend())
        with strangers(
            waiting.port, *(HOSTILE[kind](first) for kind in ("silent", "garbage", "truncated")), first
        ) as there:
            assert there[1].recv(1)  # it has failed, and is told so
            there[1].close()
            eventually(lambda: any(": hello: " in note["note"] for note in waiting.notes))
            assert there[3].recv(1)  # it is in the middle of its handshake
            talk(waiting.port)
            assert waiting.process.wait(PATIENCE) == 0
            assert there[0].recv(1) == b""  # who was silent is cut, now that somebody has come
    finally:
        waiting.end()
    failed, *_, connected = [note["note"] for note in waiting.notes]
    assert failed.startswith("a connection failed: hello: ")
    assert connected.startswith("connected to ")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_crowd_of_silent_strangers_does_not_take_the_only_place(backend: str) -> None:
    waiting = Running("listen", 0, *ANYONE, "--backend", backend)
    try:
        resource.prlimit(waiting.process.pid, resource.RLIMIT_NOFILE, (40, 40))  # room is made where files run out
        with strangers(waiting.port, *[b""] * 100):
            talk(waiting.port)
            assert waiting.process.wait(PATIENCE) == 0
    finally:
        waiting.end()
    accepting = [note for note in waiting.notes if "could not be accepted" in note["note"]]
    assert [note["note"] for note in accepting] == [
        "a connection could not be accepted: accepting: Too many open files"
    ]
    assert [note["refused"].keys() for note in waiting.notes if "refused" in note] == [{"evicted", "closing"}]


@pytest.mark.parametrize("arguments", [("listen", 0), ("receive", 0), ("receive", 0, "--keep")], ids=lambda it: it[-1])
def test_who_comes_when_as_many_as_may_are_on_their_way_in_is_told_so(arguments: tuple[str, ...]) -> None:
    waiting = Running(*arguments, *ANYONE, "--max-handshakes", 1)
    try:
        with strangers(waiting.port, flight(friend())) as there:
            assert there[0].recv(1)
            with pytest.raises(PeerAborted) as caught:
                talk(waiting.port)
        assert caught.value.code == AlertCode.BUSY
    finally:
        assert waiting.end() == 130
    assert [note["refused"]["busy"] for note in waiting.notes if "refused" in note] == [1]


def test_a_receiver_that_keeps_listening_gives_who_is_there_its_grace(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(64 << 20))
    (tmp_path / "inbox").mkdir()
    with running("receive", 0, "-d", tmp_path / "inbox", *ANYONE, "--keep", "--grace", 30) as receiver:
        sender = start(tmp_path, "send", "large", receiver.port, *ANYONE)
        eventually(lambda: list((tmp_path / "inbox").iterdir()))
    assert end(sender)[0] == 0
    assert (tmp_path / "inbox" / "large").stat().st_size == 64 << 20
    assert [note["completed"] for note in receiver.notes if "completed" in note] == [1]


@pytest.mark.parametrize("option", ["--max-connections", "--grace"])
def test_options_for_many_peers_are_not_for_one(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["receive", "1", option, "3"]) == 2
    assert f"{option} goes with --keep" in capsys.readouterr().err


def test_who_dials_has_no_limits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["receive", "1", "--connect", "--max-handshakes", "3"]) == 2
    assert "--max-handshakes goes with listening, not with --connect" in capsys.readouterr().err


@pytest.mark.parametrize("backend", BACKENDS)
def test_so_many_connections_that_files_run_out_end_nothing(tmp_path: Path, backend: str) -> None:
    (tmp_path / "file").write_text("hello")
    (tmp_path / "inbox").mkdir()
    port = free_port()
    receiver = start(tmp_path, "receive", port, "-d", "inbox", "--trust", "anyone", "--keep", "--backend", backend)
    wait_for(receiver, "listening")
    resource.prlimit(receiver.pid, resource.RLIMIT_NOFILE, (32, 32))
    strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    time.sleep(0.5)
    for stranger in strangers:
        stranger.close()
    code, _, err = end(start(tmp_path, "send", "file", port, "--trust", "anyone"))
    assert code == 0, err
    receiver.send_signal(signal.SIGINT)
    assert end(receiver)[0] == 130
    assert (tmp_path / "inbox" / "file").read_text() == "hello"


def test_a_store_that_cannot_be_read_fails_each_peer_and_ends_nothing(tmp_path: Path) -> None:
    peers = tmp_path / "peers"
    peers.write_text("damaged\n")
    (tmp_path / "file").write_text("hello")
    port = free_port()
    receiver = start(tmp_path, "receive", port, "--trust", f"known-peers:{peers}", "--keep")
    wait_for(receiver, "listening")
    assert end(start(tmp_path, "send", "file", port, "--trust", "anyone"))[0] == 3
    assert receiver.poll() is None
    receiver.send_signal(signal.SIGINT)
    code, _, err = end(receiver)
    assert code == 130
    assert "peers, line 1: expected NAME PEER-ID" in err
