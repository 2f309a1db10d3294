"""The longest time for which one handshake holds the event loop, for each default suite.

    python -m tests.benchmarks.loop [--json] [--rounds N]

The binding gives the loop a turn whenever it sends or waits. Between two turns there is one stretch of the engine: from the
bytes of the peer's flight to the bytes of the own one. Here each stretch of both ends is timed as the binding runs it, by the
thread's processor time, with the garbage collector on, as in a server. A listener's tasks that are ready together run one
after the other, so that who waits for its turn waits for as many stretches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nautilus_core import (
    DEFAULT_SUITES,
    INITIATOR,
    RESPONDER,
    Handshake,
    HandshakeCompleted,
    Identity,
    Profile,
    Signal,
    profiles,
    trust,
)

STRETCHES: Final = (
    "initiator: the first flight",
    "responder: its flight",
    "initiator: its second flight",
    "responder: the end",
)


def _sides(suite: str) -> tuple[Profile, Profile]:
    alice, bob = Identity(Ed25519PrivateKey.generate()), Identity(Ed25519PrivateKey.generate())
    pairs = ((alice, bob), (bob, alice))
    one, other = [
        profiles.nautilus(identity=own, trust=trust.pinned(peer.public), suites=[suite]) for own, peer in pairs
    ]
    return one, other


def _stretch(engine: Handshake, data: bytes) -> bytes:
    """From what has come in to what goes out."""
    if data:
        engine.receive_data(data)
    while not isinstance(event := engine.next_event(), Signal):
        if isinstance(event, HandshakeCompleted):
            event.session.channel()
            break
    return bytes(engine.data_to_send())


def stretches(sides: tuple[Profile, Profile]) -> list[float]:
    """Microseconds of each stretch of one handshake, in the order of `STRETCHES`."""
    taken: list[float] = []

    def timed(run: Callable[[], Any]) -> Any:
        start = time.thread_time()
        result = run()
        taken.append((time.thread_time() - start) * 1e6)
        return result

    def begun() -> tuple[Handshake, bytes]:
        engine = Handshake(INITIATOR, sides[0])
        return engine, _stretch(engine, b"")

    def answered() -> tuple[Handshake, bytes]:
        engine = Handshake(RESPONDER, sides[1])
        return engine, _stretch(engine, hello)

    initiator, hello = timed(begun)
    responder, flight = timed(answered)
    last = timed(lambda: _stretch(initiator, flight))
    timed(lambda: _stretch(responder, last))
    if responder.session is None:
        raise RuntimeError("the handshake is not complete")
    return taken


def measure(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """For each suite and stretch: the median and what 99 of 100 stay below, in microseconds."""
    sides = {suite: _sides(suite) for suite in DEFAULT_SUITES}
    times: dict[str, list[list[float]]] = {suite: [] for suite in sides}
    for _ in range(rounds):
        for suite, pair in sides.items():
            times[suite].append(stretches(pair))
    return {
        suite: {
            name: {"median": statistics.median(column), "percentile_99": sorted(column)[int(len(column) * 0.99)]}
            for name, column in zip(STRETCHES, zip(*rows, strict=True), strict=True)
        }
        for suite, rows in times.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Print a table, or one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.loop", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--rounds", type=int, default=500, help="handshakes of each suite (default: 500)")
    options = parser.parse_args(arguments)
    found = measure(options.rounds)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'microseconds that one handshake holds the loop':48} {'median':>8} {'99 %':>8}")
    for suite, rows in found.items():
        print(suite)
        for name, value in rows.items():
            print(f"  {name:46} {value['median']:8.0f} {value['percentile_99']:8.0f}")


if __name__ == "__main__":
    main()
