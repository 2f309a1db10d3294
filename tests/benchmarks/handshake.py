"""What a handshake costs: both sides, in memory, against the bare cryptography that it needs and against TLS 1.3.

    python -m tests.benchmarks.handshake [--json] [--rounds N]

Everything is measured in one process, interleaved call by call with the garbage collector off (as `timeit` has it), and
quoted as a ratio: the median over the rounds of (ours / bare in the same round). A complete handshake is: fresh engines and
steps, lists validated, all events drained, until the initiator's channel has opened the responder's acceptance. How much of
it is Python's own share depends on how the interpreter was built (an optimised build is a good deal faster).
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    CustomProtocolStep,
    Handshake,
    HandshakeCompleted,
    Identity,
    Profile,
    Session,
    StepCompleted,
    profiles,
    trust,
)
from nautilus_core.testing import Pair, byte_by_byte

from .floor import make_floor
from .tls import make_tls

PROTOCOL: Final = "acme/1"
NOTHING: Final[Mapping[str, Callable[[], None]]] = MappingProxyType({})


def make_profiles(keys: tuple[Ed25519PrivateKey, Ed25519PrivateKey], extra: int = 0) -> tuple[Profile, Profile]:
    """The default handshake with pinned Ed25519 keys, and `extra` custom steps of 16 bytes each."""
    alice, bob = map(Identity, keys)
    made: list[Profile] = []
    for own, peer in ((alice, bob), (bob, alice)):
        profile = profiles.nautilus(identity=own, trust=trust.pinned(peer.public), protocols=[PROTOCOL])
        for number in range(extra):
            profile = profile.insert_before("initiator-finished", _custom_step(number))
        made.append(profile)
    return made[0], made[1]


def _custom_step(number: int) -> Callable[[], CustomProtocolStep[bytes]]:
    name = f"custom-{number}"
    return lambda: CustomProtocolStep(name, INITIATOR, write=lambda _: bytes(16), read=lambda *_: None)


def handshake(initiator_profile: Profile, responder_profile: Profile) -> Session:
    """One complete handshake, driven in the shortest way."""
    return drive(Handshake(INITIATOR, initiator_profile), Handshake(RESPONDER, responder_profile))


def drive(initiator: Handshake, responder: Handshake) -> Session:
    """Two fresh engines to the end, in the fewest calls."""
    while initiator.next_event() is not NEED_DATA:
        pass
    responder.receive_data(initiator.data_to_send())
    while responder.next_event() is not NEED_DATA:
        pass
    initiator.receive_data(responder.data_to_send())
    while type(initiated := initiator.next_event()) is not HandshakeCompleted:
        pass
    responder.receive_data(initiator.data_to_send())
    while type(responded := responder.next_event()) is not HandshakeCompleted:
        pass
    channel = initiated.session.channel()
    responded.session.channel()
    channel.receive_data(responder.data_to_send())
    channel.next_event()
    if not channel.confirmed:
        raise RuntimeError("the responder did not accept")
    return initiated.session


def sizes(initiator_profile: Profile, responder_profile: Profile) -> tuple[int, int, int, int, int]:
    """The bytes hashed before the keys, and the lengths of the four sealed messages: what the floor works on."""
    events = Pair(initiator_profile, responder_profile).run().initiator.events
    messages = [event for event in events if isinstance(event, StepCompleted)]
    first, second, third, fourth = (message.size - 20 for message in messages if message.sealed)
    return sum(message.size for message in messages if not message.sealed), first, second, third, fourth


def _nothing() -> None:
    """What most cases need before they run."""


def timed(function: Callable[[], Any], count: int = 1) -> float:
    """Microseconds for one call, over `count` calls."""
    start = time.perf_counter()
    for _ in range(count):
        function()
    return (time.perf_counter() - start) / count * 1e6


def interleaved(
    cases: dict[str, Callable[[], Any]], rounds: int, prepare: Mapping[str, Callable[[], None]] = NOTHING
) -> dict[str, list[float]]:
    """Microseconds of each case in each round; within a round the cases run one after the other.

    `prepare` is called before a case of that name, and not timed.
    """
    for name, function in cases.items():
        for _ in range(5):
            prepare.get(name, _nothing)()
            function()
    results: dict[str, list[float]] = {name: [] for name in cases}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, function in cases.items():
                prepare.get(name, _nothing)()
                results[name].append(timed(function))
    finally:
        gc.enable()
    return results


def ratio(results: dict[str, list[float]], name: str, to: str = "bare") -> float:
    """The median over the rounds of one case's time to another's."""
    return statistics.median(mine / other for mine, other in zip(results[name], results[to], strict=True))


def feeding(length: int) -> float:
    """Microseconds a byte for an unfinished message of `length` bytes that comes byte by byte, looked at after each."""
    keys = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    responder = Handshake(RESPONDER, make_profiles(keys)[1])
    responder.receive_data(b"\xe1" + (length + 1).to_bytes(3, "big"))
    byte = b"\x00"

    def feed() -> None:
        responder.receive_data(byte)
        responder.next_event()

    return timed(feed, length)


def memory_in_progress(count: int = 1000) -> float:
    """KiB for each responder that has answered the first flight and waits for the last."""
    keys = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    initiator_profile, responder_profile = make_profiles(keys)
    initiator = Handshake(INITIATOR, initiator_profile)
    initiator.next_event()
    flight = initiator.data_to_send()
    gc.collect()
    tracemalloc.start()
    waiting = []
    for _ in range(count):
        responder = Handshake(RESPONDER, responder_profile)
        responder.receive_data(flight)
        while responder.next_event() is not NEED_DATA:
            pass
        responder.data_to_send()
        waiting.append(responder)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / count / 1024


def measure(rounds: int) -> dict[str, Any]:
    """Run all cases; every ratio is to the bare calls unless its name says otherwise."""
    keys = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    plain, eight, many = (make_profiles(keys, extra) for extra in (0, 8, 64))
    tls, group = make_tls(*keys)
    main = interleaved({"bare": make_floor(keys, sizes(*plain)), "nautilus": lambda: handshake(*plain)}, rounds)
    against_tls = interleaved({"nautilus": lambda: handshake(*plain), "tls": tls}, rounds)
    steps = interleaved(
        {"0": lambda: handshake(*plain), "8": lambda: handshake(*eight), "64": lambda: handshake(*many)}, rounds
    )
    per_step = {
        extra: statistics.median(
            (more - none) / int(extra) for more, none in zip(steps[extra], steps["0"], strict=True)
        )
        for extra in ("8", "64")
    }
    by_byte = interleaved(
        {"whole": lambda: Pair(*plain).run(), "byte by byte": lambda: Pair(*plain, split=byte_by_byte).run()},
        rounds // 4,
    )
    return {
        "ratio_to_bare": ratio(main, "nautilus"),
        "ratio_to_bare_best_round": min(main["nautilus"]) / min(main["bare"]),
        "bare_us": statistics.median(main["bare"]),
        "nautilus_us": statistics.median(main["nautilus"]),
        "tls_group": group,
        "ratio_to_tls": ratio(against_tls, "nautilus", "tls"),
        "us_per_custom_step_of_8": per_step["8"],
        "us_per_custom_step_of_64": per_step["64"],
        "byte_by_byte_to_whole": ratio(by_byte, "byte by byte", "whole"),
        "us_per_byte_of_16_KiB": feeding(16_384),
        "us_per_byte_of_64_KiB": feeding(65_000),
        "KiB_per_handshake_in_progress": memory_in_progress(),
    }


LABELS: Final = {
    "ratio_to_bare": "complete handshake, to the bare calls (ratio; at most 1.25)",
    "ratio_to_bare_best_round": "the same, best round to best round",
    "bare_us": "bare calls (us, median)",
    "nautilus_us": "complete handshake (us, median)",
    "tls_group": "TLS 1.3 group",
    "ratio_to_tls": "complete handshake, to TLS 1.3 through memory BIOs (ratio; below 1)",
    "us_per_custom_step_of_8": "each of 8 extra steps, both sides (us; at most 8)",
    "us_per_custom_step_of_64": "each of 64 extra steps, both sides (us; at most 8)",
    "byte_by_byte_to_whole": "fed byte by byte, to whole flights (ratio)",
    "us_per_byte_of_16_KiB": "a message of 16 KiB byte by byte (us a byte)",
    "us_per_byte_of_64_KiB": "a message of 64 KiB byte by byte (us a byte; the same: linear)",
    "KiB_per_handshake_in_progress": "memory of each of 1,000 responders in mid-handshake (KiB of Python objects)",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--rounds", type=int, default=600, help="rounds of each comparison (default: 600)")
    options = parser.parse_args()
    results = measure(options.rounds)
    if options.json:
        print(json.dumps(results))
        return
    for name, label in LABELS.items():
        value = results[name]
        print(f"{label:<82} {value:>14.3f}" if isinstance(value, float) else f"{label:<82} {value:>14}")


if __name__ == "__main__":
    main()
