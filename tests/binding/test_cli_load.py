"""`nautilus listen` for many peers: its limits, how it ends, and what it says it has counted. Real processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import anyio
import pytest

from nautilus_anyio import SecureStream, connect
from nautilus_anyio.cli import main
from nautilus_core import AlertCode, Identity, PeerAborted, profiles, trust

from .processes import PATIENCE, Running, running
from .test_load import Peer, flight

CAT = ("--exec", "cat", "--trust", "anyone")


async def dialled(port: int) -> SecureStream:
    profile = profiles.nautilus(identity=Identity.generate(), trust=trust.anyone())
    return await connect("127.0.0.1", port, profile)


def noted(gate: Running, what: Callable[[str], bool]) -> bool:
    """Whether it notes that, soon."""
    end = time.monotonic() + PATIENCE
    while not any(what(note["note"]) for note in gate.notes):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_who_comes_too_many_is_told_to_come_again() -> None:
    async def one_too_many() -> int | None:
        with Peer(gate.port) as first:
            await first.say(flight())
            assert await first.hear()
            with pytest.raises(PeerAborted) as caught:
                await dialled(gate.port)
        return caught.value.code

    with running("listen", 0, *CAT, "--max-handshakes", 1) as gate:
        assert anyio.run(one_too_many) == AlertCode.BUSY
    last = gate.notes[-1]
    assert last["note"].startswith("2 connections, 0 handshakes completed, ")
    assert (last["accepted"], last["refused"]["busy"]) == (2, 1)


def test_with_a_grace_sessions_end_by_themselves() -> None:
    async def talk() -> None:
        async with await dialled(gate.port) as stream:
            await stream.send(b"before")
            assert await stream.receive() == b"before"
            gate.process.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(noted, gate, lambda note: note.startswith("no more peers; 1 session"))
            await stream.send(b"within")
            assert await stream.receive() == b"within"

    gate = Running("listen", 0, *CAT, "--grace", 30)
    begun = time.monotonic()
    anyio.run(talk)
    assert gate.process.wait(PATIENCE) == 130
    assert time.monotonic() - begun < 20
    gate.end()
    assert gate.notes[-1]["completed"] == 1
    assert gate.notes[-1]["sessions_failed"] == {}


def test_a_second_signal_ends_it_at_once() -> None:
    async def talk() -> None:
        stream = await dialled(gate.port)
        gate.process.send_signal(signal.SIGINT)
        assert await anyio.to_thread.run_sync(noted, gate, lambda note: note.startswith("no more peers"))
        gate.process.send_signal(signal.SIGINT)
        with pytest.raises(anyio.BrokenResourceError):
            await stream.receive()
        await stream.aclose()

    gate = Running("listen", 0, *CAT, "--grace", 300)
    anyio.run(talk)
    assert gate.process.wait(PATIENCE) == 130
    gate.end()


@pytest.mark.parametrize("option", ["--max-connections", "--grace"])
def test_options_for_many_peers_are_not_for_one(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["listen", "1", option, "3"]) == 2
    assert f"{option} goes with --exec or --forward" in capsys.readouterr().err


def test_a_limit_that_is_too_small(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["listen", "0", *CAT, "--max-handshakes", "0"]) == 2
    assert "--max-handshakes is at least 1" in capsys.readouterr().err
