"""Connections through a proxy with faults: every end completes or gets a typed error, soon, and nothing wrong ever arrives."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import ClosedResourceError, EndOfStream

from nautilus_anyio import ChannelFailed, ConnectionFailure, SecureStream, TransportFailed, connect
from nautilus_core import AlertCode, HandshakeError, HandshakeTimeout, InvalidMessage, PeerAborted
from nautilus_core.testing import DAMAGING, Fault, FaultyLink, draw_faults

from .faulty_proxy import Trouble, faulty_proxy
from .helpers import initiator, listening, responder, secure_pair

SUITES = ["X25519_AES128GCM_SHA256"]
DATA = os.urandom(20_000)
HANDSHAKE = 900
"""About how many bytes each end sends in a handshake."""

WHOLE = 21_000
"""Likewise with the data after it."""

SCHEDULES = 60
PATIENCE = 2.0
"""Seconds for a handshake, and without a byte, after which the application at either end gives up: a channel has no clock."""

GENEROUS = 20.0
"""Likewise where nothing is lost: they wait for nothing but this machine."""

LIMIT = 60.0


@dataclass
class Told:
    """What the listener's applications heard, how its connections ended, and how long both ends wait."""

    patience: float = PATIENCE

    heard: list[bytes] = field(default_factory=list)
    closed: int = 0
    failures: list[ConnectionFailure] = field(default_factory=list)


async def _receive(stream: SecureStream, patience: float) -> bytes:
    with anyio.fail_after(patience):
        return await stream.receive()


async def _echo(told: Told, stream: SecureStream) -> None:
    """Send back all that comes, and remember it."""
    told.heard.append(b"")
    place = len(told.heard) - 1
    while True:
        try:
            data = await _receive(stream, told.patience)
        except EndOfStream:
            break
        told.heard[place] += data
        await stream.send(data)
    await stream.send_eof()
    told.closed += 1


async def _exchange(port: int, patience: float) -> tuple[str, bytes]:
    """Have `DATA` echoed; how that ended, and what came back."""
    back = b""

    async def send(stream: SecureStream) -> None:
        with suppress(ChannelFailed, ClosedResourceError):  # who receives says so
            for start in range(0, len(DATA), 1000):
                await stream.send(DATA[start : start + 1000])
            await stream.send_eof()

    try:
        stream = await connect("127.0.0.1", port, initiator(suites=SUITES), timeout=patience)
    except HandshakeError as error:
        return type(error).__name__, back
    outcome = ""
    async with stream, anyio.create_task_group() as tasks:
        tasks.start_soon(send, stream)
        while not outcome:
            try:
                back += await _receive(stream, patience)
            except EndOfStream:
                outcome = "done"
            except (ChannelFailed, TimeoutError) as error:
                outcome = type(error).__name__
                tasks.cancel_scope.cancel()
    return outcome, back


def trouble_of(seed: int) -> Trouble:
    """What a seed stands for: every fourth damages nothing, every seventh is reset."""
    kinds: Any = {"kinds": ("split", "merge", "delay")} if seed % 4 == 0 else {}
    length = HANDSHAKE if seed % 2 else WHOLE
    links = (
        FaultyLink(draw_faults(f"{seed} there", length, **kinds)),
        FaultyLink(draw_faults(f"{seed} back", length, **kinds)),
    )
    return Trouble(links, seed * 997 % (2 * length) if seed % 4 and seed % 7 == 0 else None)


def is_harmless(trouble: Trouble) -> bool:
    """Whether nothing can happen to the bytes, so that all of them arrive in the end."""
    faults = (fault for link in trouble.links for fault in link.faults)
    return trouble.reset_at is None and not any(fault.kind in DAMAGING for fault in faults)


def open_files() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def run_all(
    troubles: dict[int, Trouble], patience: float = PATIENCE
) -> tuple[dict[int, tuple[str, bytes]], Told]:
    """All of them at once, each through a proxy of its own, to one listener."""
    outcomes: dict[int, tuple[str, bytes]] = {}
    told = Told(patience)

    async def one(seed: int, port: int) -> None:
        async with faulty_proxy(port, lambda: troubles[seed]) as proxy:
            outcomes[seed] = await _exchange(proxy, patience)

    options: dict[str, Any] = {"timeout": patience, "on_error": told.failures.append}
    with anyio.fail_after(LIMIT):
        async with listening(responder(suites=SUITES), partial(_echo, told), **options) as port:
            async with anyio.create_task_group() as tasks:
                for seed in troubles:
                    tasks.start_soon(one, seed, port)
            while told.closed + len(told.failures) < len(troubles):
                await anyio.sleep(0.01)
    return outcomes, told


@pytest.mark.anyio
async def test_whatever_happens_on_the_way() -> None:
    files, running = open_files(), len(anyio.get_running_tasks())
    troubles = {seed: trouble_of(seed) for seed in range(SCHEDULES)}
    harmless = {seed: trouble for seed, trouble in troubles.items() if is_harmless(trouble)}
    outcomes: dict[int, tuple[str, bytes]] = {}
    listeners: list[Told] = []

    async def run(some: dict[int, Trouble], patience: float) -> None:
        ended, told = await run_all(some, patience)
        outcomes.update(ended)
        listeners.append(told)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, harmless, GENEROUS)
        tasks.start_soon(run, {seed: trouble for seed, trouble in troubles.items() if seed not in harmless}, PATIENCE)
    for seed, (outcome, back) in outcomes.items():
        assert DATA.startswith(back), seed
        assert (back == DATA) or outcome != "done", seed
        if seed in harmless:
            assert outcome == "done", (seed, outcome, troubles[seed])
    assert len(outcomes) == SCHEDULES
    assert all(DATA.startswith(heard) for told in listeners for heard in told.heard)
    for failure in (failure for told in listeners for failure in told.failures):
        assert isinstance(failure.error, HandshakeError | ChannelFailed | TimeoutError), failure
    counts = Counter(outcome for outcome, _ in outcomes.values())
    assert counts["done"] > SCHEDULES / 4
    assert {"ChannelFailed", "PeerAborted", "HandshakeTimeout"} <= set(counts)
    with anyio.fail_after(20):  # asyncio closes a little later
        while len(anyio.get_running_tasks()) > running or open_files() > files:
            await anyio.sleep(0.01)


HANDSHAKE_FAILS = {
    "silent": ([Fault("truncate", 300)], None, {"HandshakeTimeout"}, HandshakeTimeout),
    "closed": ([Fault("close", 300)], None, {"PeerAborted"}, PeerAborted),
    "reset": ([], 300, {"PeerAborted", "TransportFailed"}, TransportFailed),
    "changed": ([Fault("corrupt", 300, 1)], None, {"PeerAborted"}, HandshakeError),
}


@pytest.mark.anyio
@pytest.mark.parametrize("case", HANDSHAKE_FAILS)
async def test_a_handshake_that_is_disturbed(case: str) -> None:
    faults, reset_at, client, server = HANDSHAKE_FAILS[case]
    trouble = Trouble((FaultyLink(faults), FaultyLink()), reset_at)
    outcomes, told = await run_all({0: trouble}, 0.5 if case == "silent" else PATIENCE)
    assert outcomes[0][0] in client
    assert outcomes[0][1] == b""
    assert [isinstance(failure.error, server) for failure in told.failures] == [True]
    assert not told.heard


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["drop", "duplicate", "reorder", "corrupt", "close"])
async def test_data_that_is_damaged_ends_the_channel_at_both_ends(kind: Any) -> None:
    outcomes, told = await run_all({0: Trouble((FaultyLink([Fault(kind, 5000, 100)]), FaultyLink()))})
    outcome, back = outcomes[0]
    assert outcome == "ChannelFailed"
    assert DATA.startswith(back)
    assert DATA.startswith(told.heard[0])
    assert len(told.heard[0]) < 5000
    assert [type(failure.error) for failure in told.failures] == [ChannelFailed]


@pytest.mark.anyio
@pytest.mark.parametrize("call", ["send", "update_keys", "send_eof"])
async def test_what_came_with_the_last_data_may_have_ended_the_channel_before_something_is_sent(call: str) -> None:
    """The data is good, the record after it is not: the channel has failed, and nobody has heard of it yet."""
    initiating, responding, _, below = await secure_pair()
    await responding.send(b"good")
    await below.send(bytes((0xE3, 0, 0, 32)) + bytes(32))
    await anyio.sleep(0.05)  # so that both arrive at once
    assert await initiating.receive() == b"good"
    calls = {
        "send": lambda: initiating.send(b"answer"),
        "update_keys": initiating.update_keys,
        "send_eof": initiating.send_eof,
    }
    async with anyio.create_task_group() as tasks:
        told: list[HandshakeError] = []

        async def listen() -> None:
            with pytest.raises(ChannelFailed) as caught:
                await responding.receive()
            told.append(caught.value.error)
            await responding.aclose()

        tasks.start_soon(listen)
        with pytest.raises(ChannelFailed) as caught:
            await calls[call]()
    assert isinstance(caught.value.error, InvalidMessage)
    assert [error.code for error in told if isinstance(error, PeerAborted)] == [AlertCode.BAD_RECORD_MAC]
    with pytest.raises(ChannelFailed):
        await initiating.receive()
    await initiating.aclose()
