"""What the AnyIO binding costs over loopback, against AnyIO's own TLS with mutual Ed25519 certificates, and plain TCP.

    python -m tests.benchmarks.binding [--json] [--backend asyncio|trio|both] [--rounds N]

Both ends run in one process, in one event loop, on one core: what is counted is the processor time of that process, system
calls included, so it is what a core does for both ends. A ratio is the median over the rounds of (theirs / ours in the same
round), above 1 Nautilus is ahead; all cases run in each round, in an order drawn by lot. Ratios `..._wall` are the same by
the clock, and would show if an end sat and waited. The garbage collector runs as it does in a server.

A handshake is: TCP connect; handshake; the listener closes at once; the dialler reads to that authentic end, which it sees
only if it was accepted, and closes; both streams are closed. Ours is `connect` and `serve`. Theirs is
`anyio.connect_tcp(ssl_context=...)` and `TLSListener`: TLS 1.3 with AES-256-GCM, each end verifies the other's self-signed
certificate, names are not checked, no tickets are made. The group is the standard library's first choice, X25519 before
OpenSSL 3.5. Ours is measured with its default suites, the first of which has X25519MLKEM768, and with X25519 alone.

Throughput is that of one connection: writes of 64 KiB, read at the other end in the size that each way reads best.
"""

from __future__ import annotations

import argparse
import json
import random
import ssl
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import anyio
from anyio import EndOfStream
from anyio.abc import ByteStream, Listener, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSListener
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nautilus_anyio import connect, serve
from nautilus_core import DEFAULT_SUITES, Identity, profiles, trust

from .handshake import handshake, make_profiles
from .tls import self_signed

HOST: Final = "127.0.0.1"
WRITE: Final = bytes(range(256)) * 256
"""64 KiB."""
WRITES: Final = 64
"""How many writes a round of throughput makes."""
HANDSHAKES: Final = 10
"""How many handshakes a round makes, one after the other."""
READING: Final = (16_384, 65_536, 262_144)
"""The sizes that a reader may ask for."""

CLASSIC: Final = "X25519_AES256GCM_SHA384"

Keys: TypeAlias = tuple[Ed25519PrivateKey, Ed25519PrivateKey]
Dial: TypeAlias = Callable[[], Awaitable[ByteStream]]
Handler: TypeAlias = Callable[[ByteStream], Awaitable[None]]
Way: TypeAlias = Callable[[Handler], AbstractAsyncContextManager[Dial]]
"""Listens and serves a handler; gives what connects to it."""

Case: TypeAlias = Callable[[], Awaitable[None]]
Costs: TypeAlias = dict[str, list[tuple[float, float]]]
"""Seconds by the processor and by the clock, of each case in each round."""


# ------------------------------------------------------------------------------------ the ways to connect


def nautilus(keys: Keys, suites: Sequence[str] = DEFAULT_SUITES) -> Way:
    """`connect` and `serve`, with pinned keys."""
    alice, bob = map(Identity, keys)
    dialling, listening = (
        profiles.nautilus(identity=own, trust=trust.pinned(peer.public), suites=suites)
        for own, peer in ((alice, bob), (bob, alice))
    )

    @asynccontextmanager
    async def way(handler: Handler) -> AsyncIterator[Dial]:
        async with _listener() as (listener, port), anyio.create_task_group() as tasks:
            tasks.start_soon(serve, listener, handler, listening)
            yield lambda: connect(HOST, port, dialling)
            tasks.cancel_scope.cancel()

    return way


def tls(keys: Keys) -> Way:
    """`connect_tcp` with a TLS context, and `TLSListener`."""
    client, server = contexts(keys)

    @asynccontextmanager
    async def way(handler: Handler) -> AsyncIterator[Dial]:
        async with _listener() as (listener, port), anyio.create_task_group() as tasks:
            tasks.start_soon(TLSListener(listener, server).serve, handler)
            yield lambda: anyio.connect_tcp(HOST, port, ssl_context=client)
            tasks.cancel_scope.cancel()

    return way


@asynccontextmanager
async def tcp(handler: Handler) -> AsyncIterator[Dial]:
    """Nothing but TCP: the floor."""
    async with _listener() as (listener, port), anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handler)
        yield lambda: anyio.connect_tcp(HOST, port)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _listener() -> AsyncIterator[tuple[Listener[Any], int]]:
    async with await anyio.create_tcp_listener(local_host=HOST) as listener:
        yield listener, listener.extra(SocketAttribute.local_port)


def contexts(keys: Keys) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client and a server; each has a certificate, asks for the other's, and trusts that one alone."""
    own, peer = self_signed(keys[0]), self_signed(keys[1])
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.num_tickets = 0
    client.check_hostname = False
    _credentials(client, keys[0], own, peer)
    _credentials(server, keys[1], peer, own)
    return client, server


def _credentials(
    context: ssl.SSLContext, key: Ed25519PrivateKey, own: x509.Certificate, peer: x509.Certificate
) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=peer.public_bytes(Encoding.DER))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "node.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(secret + own.public_bytes(Encoding.PEM))
        context.load_cert_chain(path)


# ----------------------------------------------------------------------------------------------- the cases


@asynccontextmanager
async def handshakes(way: Way) -> AsyncIterator[Case]:
    """Makes `HANDSHAKES` of them, and returns when both ends of all are closed."""
    closed = 0
    all_closed = anyio.Event()

    async def hang_up(stream: ByteStream) -> None:
        nonlocal closed
        await stream.aclose()
        closed += 1
        if closed == HANDSHAKES:
            all_closed.set()

    async with way(hang_up) as dial:

        async def run() -> None:
            nonlocal closed, all_closed
            closed, all_closed = 0, anyio.Event()
            for _ in range(HANDSHAKES):
                stream = await dial()
                with suppress(EndOfStream):
                    raise RuntimeError(f"{await stream.receive()!r}, which nobody sent")
                await stream.aclose()
            await all_closed.wait()

        yield run


@asynccontextmanager
async def writes(way: Way, reading: int) -> AsyncIterator[Case]:
    """Makes `WRITES` writes of 64 KiB, and returns when all has been read, in pieces of at most `reading` bytes."""
    left = 0
    all_read = anyio.Event()

    async def swallow(stream: ByteStream) -> None:
        nonlocal left
        async with stream:
            with suppress(EndOfStream):
                while True:
                    data = await stream.receive(reading)
                    left -= len(data)
                    if not left:
                        all_read.set()

    async with way(swallow) as dial, await dial() as stream:

        async def run() -> None:
            nonlocal left, all_read
            left, all_read = WRITES * len(WRITE), anyio.Event()
            for _ in range(WRITES):
                await stream.send(WRITE)
            await all_read.wait()

        yield run


def in_memory(function: Callable[[], Any]) -> Case:
    """Makes `HANDSHAKES` without a network."""

    async def run() -> None:
        for _ in range(HANDSHAKES):
            function()

    return run


def tls_in_memory(keys: Keys) -> Callable[[], None]:
    """One TLS handshake through memory BIOs, driven in the shortest way."""
    client_context, server_context = contexts(keys)

    def run() -> None:
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context.wrap_bio(to_client, to_server)
        server = server_context.wrap_bio(to_server, to_client, server_side=True)
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
        client.do_handshake()
        server.do_handshake()

    return run


# ----------------------------------------------------------------------------------------------- measuring


async def interleaved(cases: dict[str, Case], rounds: int) -> Costs:
    """What each case takes in each round; a round runs all, in an order drawn by lot, which would matter otherwise."""
    results: Costs = {name: [] for name in cases}
    for warming in (True, False):
        for _ in range(3 if warming else rounds):
            for name in random.sample(list(cases), len(cases)):
                cpu, wall = time.process_time(), time.perf_counter()
                await cases[name]()
                if not warming:
                    results[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return results


def ratio(results: Costs, mine: str, other: str = "tls", *, clock: int = 0) -> float:
    """The median over the rounds of another case's time to ours."""
    return statistics.median(b[clock] / a[clock] for a, b in zip(results[mine], results[other], strict=True))


def median(results: Costs, name: str) -> float:
    """Seconds of processor time."""
    return statistics.median(cpu for cpu, _ in results[name])


async def best_reading(ways: dict[str, Way]) -> dict[str, int]:
    """The size that each reads best with."""
    best = {}
    for name, way in ways.items():
        async with AsyncExitStack() as stack:
            cases = {str(size): await stack.enter_async_context(writes(way, size)) for size in READING}
            results = await interleaved(cases, 20)
        best[name] = min(READING, key=lambda size: median(results, str(size)))
    return best


async def check_cipher(way: Way) -> None:
    """TLS is what was meant: version, cipher, and no session to be taken up again."""

    async def hang_up(stream: ByteStream) -> None:
        await stream.aclose()

    async with way(hang_up) as dial, await dial() as stream:
        cipher = stream.extra(TLSAttribute.cipher)
        if cipher[:2] != ("TLS_AES_256_GCM_SHA384", "TLSv1.3") or stream.extra(TLSAttribute.ssl_object).session_reused:
            raise RuntimeError(f"TLS chose {cipher}")


async def measure_handshakes(keys: Keys, rounds: int) -> dict[str, float]:
    """Handshakes, and what they are made of."""
    ways: dict[str, Way] = {
        "default": nautilus(keys),
        "x25519": nautilus(keys, [CLASSIC]),
        "tls": tls(keys),
        "tcp": tcp,
    }
    profiles_made = make_profiles(keys)
    async with AsyncExitStack() as stack:
        cases = {name: await stack.enter_async_context(handshakes(way)) for name, way in ways.items()}
        cases["default in memory"] = in_memory(lambda: handshake(*profiles_made))
        cases["tls in memory"] = in_memory(tls_in_memory(keys))
        results = await interleaved(cases, rounds)
    us = {name: median(results, name) / HANDSHAKES * 1e6 for name in cases}
    return {
        "handshakes_ratio_to_tls": ratio(results, "default"),
        "handshakes_ratio_to_tls_x25519": ratio(results, "x25519"),
        "handshakes_ratio_to_tls_wall": ratio(results, "default", clock=1),
        "handshakes_ratio_to_tls_x25519_wall": ratio(results, "x25519", clock=1),
        **{f"handshakes_per_second_and_core_{name}": 1e6 / us[name] for name in ways},
        "us_tcp_connect_and_close": us["tcp"],
        "us_in_memory": us["default in memory"],
        "us_in_memory_tls": us["tls in memory"],
        "us_rest": us["default"] - us["tcp"] - us["default in memory"],
        "us_rest_tls": us["tls"] - us["tcp"] - us["tls in memory"],
    }


async def measure_throughput(keys: Keys, rounds: int) -> dict[str, float]:
    """Writes of 64 KiB."""
    ways: dict[str, Way] = {"nautilus": nautilus(keys), "tls": tls(keys), "tcp": tcp}
    reading = await best_reading(ways)
    async with AsyncExitStack() as stack:
        cases = {name: await stack.enter_async_context(writes(way, reading[name])) for name, way in ways.items()}
        results = await interleaved(cases, rounds)
    size = WRITES * len(WRITE) / 2**20
    return {
        "throughput_ratio_to_tls": ratio(results, "nautilus"),
        "throughput_ratio_to_tls_wall": ratio(results, "nautilus", clock=1),
        "throughput_ratio_to_tcp": ratio(results, "nautilus", "tcp"),
        **{f"MiB_per_second_and_core_{name}": size / median(results, name) for name in ways},
        **{f"reads_{name}": size for name, size in reading.items()},
    }


async def measure(rounds: int) -> dict[str, float]:
    """Run all cases in this event loop; the ratios come first."""
    keys = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    await check_cipher(tls(keys))
    results = {**await measure_handshakes(keys, rounds), **await measure_throughput(keys, rounds)}
    return {name: results[name] for name in LABELS}


LABELS: Final = {
    "handshakes_ratio_to_tls": "handshakes, default suite (X25519MLKEM768), to TLS 1.3 (above 1: faster)",
    "handshakes_ratio_to_tls_x25519": "handshakes, X25519 alone, to TLS 1.3",
    "throughput_ratio_to_tls": "64 KiB writes, AES-256-GCM: throughput to TLS 1.3 (above 1: faster)",
    "throughput_ratio_to_tcp": "64 KiB writes: the part of plain TCP's throughput that is left",
    "handshakes_ratio_to_tls_wall": "handshakes, default suite, by the clock",
    "handshakes_ratio_to_tls_x25519_wall": "handshakes, X25519 alone, by the clock",
    "throughput_ratio_to_tls_wall": "64 KiB writes, by the clock",
    "handshakes_per_second_and_core_default": "Nautilus, default suite: handshakes a second, both ends on one core",
    "handshakes_per_second_and_core_x25519": "Nautilus, X25519 alone: the same",
    "handshakes_per_second_and_core_tls": "AnyIO's TLS: the same",
    "handshakes_per_second_and_core_tcp": "plain TCP, connect and close: the same",
    "us_tcp_connect_and_close": "of a handshake: plain TCP, connect and close (us)",
    "us_in_memory": "of a handshake: Nautilus, default suite, without a network (us)",
    "us_in_memory_tls": "of a handshake: TLS, without a network (us)",
    "us_rest": "of a handshake: Nautilus, what is left: flights, event loop, close (us)",
    "us_rest_tls": "of a handshake: TLS, what is left (us)",
    "MiB_per_second_and_core_nautilus": "Nautilus: throughput, both ends on one core (MiB/s)",
    "MiB_per_second_and_core_tls": "AnyIO's TLS: the same",
    "MiB_per_second_and_core_tcp": "plain TCP: the same",
    "reads_nautilus": "Nautilus reads best (bytes)",
    "reads_tls": "TLS reads best (bytes)",
    "reads_tcp": "plain TCP reads best (bytes)",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--backend", choices=("asyncio", "trio", "both"), default="both", help="(default: both)")
    parser.add_argument("--rounds", type=int, default=100, help="rounds of each comparison (default: 100)")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds is at least 1")
    backends = ("asyncio", "trio") if options.backend == "both" else (options.backend,)
    results = {backend: anyio.run(measure, options.rounds, backend=backend) for backend in backends}
    if options.json:
        by_name = {name: {backend: results[backend][name] for backend in backends} for name in LABELS}
        print(json.dumps({**by_name, "openssl_of_tls": ssl.OPENSSL_VERSION, "meaning": LABELS}))
        return
    print(f"{'':<74}" + "".join(f"{backend:>12}" for backend in backends))
    for name, label in LABELS.items():
        print(f"{label:<74}" + "".join(f"{results[backend][name]:>12.3f}" for backend in backends))
    print(f"TLS is that of {ssl.OPENSSL_VERSION}")


if __name__ == "__main__":
    main()
