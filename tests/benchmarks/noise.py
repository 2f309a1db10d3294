"""What Noise costs: both sides in memory, against the bare cryptography and against two other Python implementations.

    python -m tests.benchmarks.noise [--json] [--rounds N]

`Noise_XX_25519_ChaChaPoly_SHA256` four ways, interleaved call by call with the garbage collector off: the bare calls (see
`noise_floor`), our `HandshakeState` alone, our engine (fresh engines and steps, roles and lists checked, pinned keys, all events
drained, until both ends have their sessions), and the packages `noiseprotocol` and `dissononce`. A ratio is the median over
the rounds of (ours / bare in the same round). IK and NN likewise.

A transport message is encrypted once and decrypted once. The packages' own calls do no more than that, and neither does
`CipherState`. A channel also frames, buffers, and finds the messages in the stream; "framed" is `noiseprotocol` with a framing
such as its users write: the same 2-byte length, a bytearray that collects, and a loop that cuts messages out of it.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import statistics
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nautilus_core import INITIATOR, NEED_DATA, RESPONDER, Handshake, HandshakeCompleted, Profile, Role, profiles
from nautilus_core.noise import HandshakeState, NoiseProtocol
from tests.core.noise.others import Dissononce, NoiseProtocolPackage, Other

from .handshake import interleaved, ratio, timed
from .noise_floor import ik_floor, nn_floor, xx_floor

SUITE: Final = "25519_ChaChaPoly_SHA256"
SIZES: Final = (64, 1024, 16_384, 65_519)
_BATCH: Final = 16
LIMITS: Final = {"XX": 1.18, "IK": 1.15, "NN": 1.25}

COMPARED: Final = (("CipherState", "noiseprotocol"), ("channel", "framed"), ("channel", "noiseprotocol"))
"""Each as a median of the ratios within the rounds."""

ALICE: Final = X25519PrivateKey.generate()
BOB: Final = X25519PrivateKey.generate()


def protocol(pattern: str) -> NoiseProtocol:
    """The protocol that is measured, for one pattern."""
    return NoiseProtocol.parse(f"Noise_{pattern}_{SUITE}")


def make_profiles(pattern: str) -> tuple[Profile, Profile]:
    """Both profiles, with the keys pinned where there are some."""
    name = protocol(pattern).name
    if pattern == "NN":
        return profiles.noise(name), profiles.noise(name)
    return (
        profiles.noise(name, static=ALICE, remote_static=BOB.public_key()),
        profiles.noise(name, static=BOB, remote_static=ALICE.public_key()),
    )


def engine(pattern: str) -> Callable[[], tuple[Handshake, Handshake]]:
    """A complete handshake on the engine."""
    initiator_profile, responder_profile = make_profiles(pattern)

    def run() -> tuple[Handshake, Handshake]:
        initiator, responder = Handshake(INITIATOR, initiator_profile), Handshake(RESPONDER, responder_profile)
        sender, receiver = initiator, responder
        while True:
            while (event := sender.next_event()) is not NEED_DATA:
                if type(event) is HandshakeCompleted:
                    break
            if not (data := sender.data_to_send()):
                return initiator, responder
            receiver.receive_data(data)
            sender, receiver = receiver, sender

    return run


def states(pattern: str) -> Callable[[], tuple[HandshakeState, HandshakeState]]:
    """The same with `HandshakeState` alone, keys parsed before."""
    made = protocol(pattern)
    own = {role: made.dh.key_pair(key) for role, key in ((INITIATOR, ALICE), (RESPONDER, BOB))}
    remote = {role: made.dh.remote_key(own[role.peer].public) for role in Role}

    def side(role: Role) -> dict[str, Any]:
        static, _, known, _ = made.plans[role].needs
        return {"s": own[role] if static else None, "rs": remote[role] if known else None}

    initiator_keys, responder_keys = side(INITIATOR), side(RESPONDER)
    count = len(made.pattern.messages)

    def run() -> tuple[HandshakeState, HandshakeState]:
        initiator = sender = HandshakeState(made, INITIATOR, **initiator_keys)
        responder = receiver = HandshakeState(made, RESPONDER, **responder_keys)
        for _ in range(count):
            receiver.read_message(sender.write_message())
            sender, receiver = receiver, sender
        initiator.split()
        responder.split()
        return initiator, responder

    return run


def other(package: type[NoiseProtocolPackage] | type[Dissononce], pattern: str) -> Callable[[], tuple[Other, Other]]:
    """The same with another package."""
    made = protocol(pattern)
    own = {role: made.dh.key_pair(key) for role, key in ((INITIATOR, ALICE), (RESPONDER, BOB))}
    count = len(made.pattern.messages)

    def run() -> tuple[Other, Other]:
        ends: list[Other] = [package(made.name, role, own[role], own[role.peer].public, (), b"") for role in Role]
        for number in range(count):
            ends[1 - number % 2].read(ends[number % 2].write(b""))
        return ends[0], ends[1]

    return run


class Framed:
    """A `NoiseConnection` as an application uses it over a stream."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def send(self, data: bytes) -> bytes:
        """A message behind its length."""
        sealed: bytes = self._connection.encrypt(data)
        return len(sealed).to_bytes(2, "big") + sealed

    def receive(self, data: bytes) -> list[bytes]:
        """The messages that are whole now."""
        buffer = self._buffer
        buffer += data
        messages = []
        while len(buffer) >= 2:
            end = 2 + int.from_bytes(buffer[:2], "big")
            if len(buffer) < end:
                break
            messages.append(self._connection.decrypt(bytes(buffer[2:end])))
            del buffer[:end]
        return messages


def transport(size: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds for a message of `size` bytes, encrypted by one end and decrypted by the other."""
    payload = bytes(size)
    cases: dict[str, Callable[[], Any]] = {}
    pair = engine("XX")()
    channels = [end.session.channel() for end in pair if end.session is not None]

    def through_channels() -> None:
        channels[0].send_data(payload)
        channels[1].receive_data(channels[0].data_to_send())
        channels[1].next_event()

    def batch_through_channels() -> None:
        for _ in range(_BATCH):
            channels[0].send_data(payload)
        channels[1].receive_data(channels[0].data_to_send())
        channels[1].next_event()

    cases["channel"] = through_channels
    cases["batch"] = batch_through_channels
    made = protocol("XX")
    keys = made.dh.key_pair(ALICE), made.dh.key_pair(BOB)
    ends = HandshakeState(made, INITIATOR, s=keys[0]), HandshakeState(made, RESPONDER, s=keys[1])
    for number in range(3):
        ends[1 - number % 2].read_message(ends[number % 2].write_message())
    (sending, _), (receiving, _) = ends[0].split(), ends[1].split()
    cases["CipherState"] = lambda: receiving.decrypt_with_ad(b"", sending.encrypt_with_ad(b"", payload))
    theirs: Any = [end._connection for end in other(NoiseProtocolPackage, "XX")()]  # type: ignore[attr-defined]
    cases["noiseprotocol"] = lambda: theirs[1].decrypt(theirs[0].encrypt(payload))
    framed = [Framed(end._connection) for end in other(NoiseProtocolPackage, "XX")()]  # type: ignore[attr-defined]
    cases["framed"] = lambda: framed[1].receive(framed[0].send(payload))
    ciphers: Any = [end._ciphers[0] for end in other(Dissononce, "XX")()]  # type: ignore[attr-defined]
    cases["dissononce"] = lambda: ciphers[1].decrypt_with_ad(b"", ciphers[0].encrypt_with_ad(b"", payload))
    count = max(1, 20_000 // size)
    for function in cases.values():
        timed(function, 20)
    results: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, function in cases.items():
            results[name].append(timed(function, count) / (_BATCH if name == "batch" else 1))
    return results


def resident() -> int:
    """The process's resident memory, in bytes; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096
    except OSError:
        return 0


def memory(count: int = 2000) -> tuple[float, float]:
    """KiB for each pair in mid-handshake (the second message is read, the third not written): Python objects; resident."""
    initiator_profile, responder_profile = make_profiles("XX")

    def half() -> tuple[Handshake, Handshake]:
        initiator, responder = Handshake(INITIATOR, initiator_profile), Handshake(RESPONDER, responder_profile)
        initiator.next_event()
        responder.receive_data(initiator.data_to_send())
        while initiator.next_event() is not NEED_DATA:
            pass
        while responder.next_event() is not NEED_DATA:
            pass
        responder.data_to_send()
        return initiator, responder

    kept = [half() for _ in range(100)]
    gc.collect()
    before = resident()
    kept += [half() for _ in range(count)]
    by_system = (resident() - before) / count / 1024
    kept.clear()
    gc.collect()
    tracemalloc.start()
    kept += [half() for _ in range(count)]
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / count / 1024, by_system


def measure(rounds: int) -> dict[str, Any]:
    """Run all cases."""
    objects, by_system = memory()  # first, before there is freed memory to use again
    results: dict[str, Any] = {}
    floors = {"XX": xx_floor(ALICE, BOB), "IK": ik_floor(ALICE, BOB), "NN": nn_floor()}
    for pattern, floor in floors.items():
        two = interleaved({"bare": floor, "engine": engine(pattern)}, rounds)
        all_ways = interleaved(
            {
                "bare": floor,
                "HandshakeState": states(pattern),
                "noiseprotocol": other(NoiseProtocolPackage, pattern),
                "dissononce": other(Dissononce, pattern),
            },
            rounds,
        )
        best = min(two["engine"]) / min(two["bare"])
        key = "ratio_to_bare" if pattern == "XX" else f"{pattern}_ratio_to_bare"
        results |= {key: ratio(two, "engine"), f"{key}_best_round": best}
        results[f"{pattern}_bare_us"] = statistics.median(two["bare"])
        results[f"{pattern}_engine_us"] = statistics.median(two["engine"])
        for name in ("HandshakeState", "noiseprotocol", "dissononce"):
            results[f"{pattern}_{name}"] = ratio(all_ways, name)
        results[f"{pattern}_HandshakeState_best_round"] = min(all_ways["HandshakeState"]) / min(all_ways["bare"])
    for size in SIZES:
        measured = transport(size, max(rounds // 4, 20))
        for name, times in measured.items():
            results[f"{size}_{name}_us"] = statistics.median(times)
        for ours, against in COMPARED:
            pairs = zip(measured[ours], measured[against], strict=True)
            results[f"{size}_{ours}_to_{against}"] = statistics.median(one / two for one, two in pairs)
    return results | {"KiB_per_pair": objects, "KiB_per_pair_resident": by_system}


def table(results: dict[str, Any]) -> str:
    """The results for people."""
    head = f"{'handshake, both sides':<28}{'bare us':>10}{'engine':>9}{'best':>8}{'state':>8}"
    lines = [head + f"{'noiseprotocol':>15}{'dissononce':>12}"]
    for pattern, limit in LIMITS.items():
        key = "ratio_to_bare" if pattern == "XX" else f"{pattern}_ratio_to_bare"
        lines.append(
            f"{pattern + f' (engine at most {limit})':<28}{results[f'{pattern}_bare_us']:>10.1f}{results[key]:>9.3f}"
            f"{results[key + '_best_round']:>8.3f}{results[f'{pattern}_HandshakeState']:>8.3f}"
            f"{results[f'{pattern}_noiseprotocol']:>15.2f}{results[f'{pattern}_dissononce']:>12.2f}"
        )
    lines.append("")
    head = f"{'a message, us':<14}{'CipherState':>12}{'noiseprotocol':>15}{'dissononce':>12}"
    lines.append(head + f"{'channel':>9}{'16 at once':>12}{'framed noiseprotocol':>22}")
    cells = [
        ("CipherState", 12),
        ("noiseprotocol", 15),
        ("dissononce", 12),
        ("channel", 9),
        ("batch", 12),
        ("framed", 22),
    ]
    for size in SIZES:
        row = "".join(f"{results[f'{size}_{name}_us']:>{width}.2f}" for name, width in cells)
        lines.append(f"{f'{size:,} bytes':<14}{row}")
    for ours, against in COMPARED:
        ratios = ", ".join(f"{results[f'{size}_{ours}_to_{against}']:.3f}" for size in SIZES)
        lines.append(f"{ours} to {against}: {ratios}")
    lines.append("")
    lines.append(f"memory of a pair in mid-handshake: {results['KiB_per_pair']:.2f} KiB of Python objects, ")
    lines[-1] += f"{results['KiB_per_pair_resident']:.2f} KiB resident (at most 6 KB)"
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--rounds", type=int, default=1000, help="rounds of each comparison (default: 1000)")
    options = parser.parse_args()
    logging.disable()
    results = measure(options.rounds)
    print(json.dumps(results) if options.json else table(results))


if __name__ == "__main__":
    main()
