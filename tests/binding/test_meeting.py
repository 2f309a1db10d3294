"""What strangers can do to a command that waits for a peer: nothing."""

from __future__ import annotations

import resource
import signal
import socket
import time
from pathlib import Path

import pytest

from .processes import free_port
from .transfers import end, start, wait_for


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
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
