"""`nautilus bench`: what this machine does in a few seconds: primitives, handshakes, the channel. In memory, on one core.

The numbers are medians over rounds, in each of which every case has a batch of a few milliseconds, in this process, with
the garbage collector on: what an application can expect, and nothing to compare libraries by.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.backends.openssl.backend import backend as openssl
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nautilus_core import (
    DEFAULT_SUITES,
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    Channel,
    Handshake,
    HandshakeCompleted,
    Identity,
    Profile,
    Session,
    profiles,
    trust,
)

from .options import add_command, seconds
from .tables import columns_table, facts_table

_BATCH: Final = 0.003
_LONGEST: Final = 3600
_RECORDS: Final = (64, 1024, 16_384)
_CHANNELS: Final = (
    ("AES-256-GCM", "X25519_AES256GCM_SHA384"),
    ("AES-128-GCM", "X25519_AES128GCM_SHA256"),
    ("ChaCha20-Poly1305", "X25519_CHACHA20POLY1305_SHA256"),
)

_EXAMPLES: Final = """\
  nautilus bench
  nautilus bench --seconds 20                     longer, and so steadier
  nautilus bench --json --quiet                   for a script"""


def add_commands(commands: Any) -> None:
    """Register the command."""
    parser = add_command(commands, "bench", "measure what this machine does", _EXAMPLES, run)
    parser.add_argument("--seconds", type=seconds, default=5.0, help="for all of it, about (default: 5)")


@dataclass(frozen=True, slots=True)
class Case:
    """Something to measure: `call` does it once; `size` is how many bytes that moves, 0 where that is no matter."""

    kind: str
    name: str
    call: Callable[[], object]
    size: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out: the median of so many rounds, in microseconds a call."""

    kind: str
    name: str
    microseconds: float
    per_second: float
    mib_per_second: float | None
    record: int | None
    calls: int
    rounds: int


def run(options: argparse.Namespace) -> int:
    """Measure everything and show the table."""
    if options.seconds > _LONGEST:
        raise ValueError(f"--seconds is at most {_LONGEST:,}")
    cases = [*_primitives(), *_handshakes(), *_channels()]
    start = time.perf_counter()
    with options.output.counter() as progress:
        task = progress.add_task("measuring", total=None)
        results = measure(cases, options.seconds, partial(progress.update, task))
    machine = _machine() | {"seconds": round(time.perf_counter() - start, 1)}
    options.output.picture(*_picture(results, machine), machine=machine, results=[asdict(result) for result in results])
    return 0


def measure(cases: Sequence[Case], seconds: float, show: Callable[..., None] = lambda **_: None) -> list[Measured]:
    """Measure the cases for about so many seconds; `show` is told how many rounds are `completed`, of what `total`."""
    counts = [max(1, int(_BATCH / max(_timed(case.call, 2), 1e-7))) for case in cases]
    rounds = max(3, round(seconds / (_BATCH * len(cases))))
    batches: list[list[float]] = [[] for _ in cases]
    for number in range(rounds):
        show(completed=number, total=rounds)
        for case, count, times in zip(cases, counts, batches, strict=True):
            times.append(_timed(case.call, count))
    show(completed=rounds, total=rounds)
    return [
        _measured(case, statistics.median(times), count * rounds, rounds)
        for case, count, times in zip(cases, counts, batches, strict=True)
    ]


def _measured(case: Case, median: float, calls: int, rounds: int) -> Measured:
    return Measured(
        kind=case.kind,
        name=case.name,
        microseconds=round(median * 1e6, 3),
        per_second=round(1 / median, 1),
        mib_per_second=round(case.size / median / 2**20, 1) if case.size else None,
        record=case.size or None,
        calls=calls,
        rounds=rounds,
    )


def _timed(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


# ------------------------------------------------------------------ the cases


def _primitives() -> list[Case]:
    x25519, mlkem = X25519PrivateKey.generate(), MLKEM768PrivateKey.generate()
    other, mlkem_public = X25519PrivateKey.generate().public_key(), mlkem.public_key()
    _, ciphertext = mlkem_public.encapsulate()
    cases = [
        ("X25519 key pair", X25519PrivateKey.generate),
        ("X25519 exchange", lambda: x25519.exchange(other)),
        ("ML-KEM-768 key pair", MLKEM768PrivateKey.generate),
        ("ML-KEM-768 encapsulate", mlkem_public.encapsulate),
        ("ML-KEM-768 decapsulate", lambda: mlkem.decapsulate(ciphertext)),
    ]
    for label, scheme in (("Ed25519", "ed25519"), ("ECDSA P-256", "ecdsa-p256-sha256"), ("ML-DSA-65", "ml-dsa-65")):
        cases += _signature(label, Identity.generate(scheme))
    return [Case("primitive", name, call) for name, call in cases]


def _signature(label: str, identity: Identity) -> list[tuple[str, Callable[[], object]]]:
    message = bytes(200)
    signature, public = identity.sign(message), identity.public
    return [
        (f"{label} sign", lambda: identity.sign(message)),
        (f"{label} verify", lambda: public.verify(signature, message)),
    ]


def _handshakes() -> list[Case]:
    def case(suite: str) -> Case:
        pair = _pair(suite)
        return Case("handshake", suite, lambda: handshake(*pair))

    return [case(suite) for suite in DEFAULT_SUITES]


def _pair(suite: str) -> tuple[Profile, Profile]:
    one, other = Identity.generate(), Identity.generate()
    return (
        profiles.nautilus(identity=one, trust=trust.pinned(other.public), suites=[suite]),
        profiles.nautilus(identity=other, trust=trust.pinned(one.public), suites=[suite]),
    )


def handshake(ours: Profile, theirs: Profile) -> tuple[Channel, Channel]:
    """A complete handshake of both ends in memory, through the responder's acceptance; their channels."""
    initiator, responder = Handshake(INITIATOR, ours), Handshake(RESPONDER, theirs)
    _advance(initiator)
    responder.receive_data(initiator.data_to_send())
    _advance(responder)
    initiator.receive_data(responder.data_to_send())
    here = _advance(initiator)
    responder.receive_data(initiator.data_to_send())
    there = _advance(responder)
    if here is None or there is None:
        raise RuntimeError("the two ends of the benchmark do not agree")
    sender, receiver = here.channel(), there.channel()
    sender.receive_data(responder.data_to_send())
    while not sender.confirmed:
        sender.next_event()
    return sender, receiver


def _advance(end: Handshake) -> Session | None:
    while (event := end.next_event()) is not NEED_DATA:
        if isinstance(event, HandshakeCompleted):
            return event.session
    return None


def _channels() -> list[Case]:
    cases: list[Case] = []
    for label, suite in _CHANNELS:
        sender, receiver = handshake(*_pair(suite))
        sizes = (*_RECORDS, sender.max_payload)
        cases += [Case("channel", label, _mover(sender, receiver, bytes(size)), size) for size in sizes]
    return cases


def _mover(sender: Channel, receiver: Channel, payload: bytes) -> Callable[[], object]:
    def move() -> None:
        sender.send_data(payload)
        receiver.receive_data(sender.data_to_send())
        while receiver.next_event() is not NEED_DATA:
            pass

    return move


# ------------------------------------------------------------------ the table


def _picture(results: list[Measured], machine: dict[str, Any]) -> list[Any]:
    primitives = columns_table("primitive", "us", "a second", numbers=("us", "a second"))
    handshakes = columns_table("handshake, both ends", "us", "a second and core", numbers=("us", "a second and core"))
    for result in results:
        if result.kind != "channel":
            table = primitives if result.kind == "primitive" else handshakes
            table.add_row(result.name, f"{result.microseconds:,.1f}", f"{result.per_second:,.0f}")
    sizes = list(dict.fromkeys(result.record for result in results if result.record is not None))
    headings = [f"{size:,} B" for size in sizes]
    channel = columns_table("channel, MiB/s in records of", *headings, numbers=headings)
    for label, _ in _CHANNELS:
        row = [result.mib_per_second or 0 for result in results if result.kind == "channel" and result.name == label]
        channel.add_row(label, *(f"{value:,.1f}" if value < 10 else f"{value:,.0f}" for value in row))
    facts = facts_table(
        [
            ("machine", f"{machine['processor']}, {machine['cores']} cores"),
            ("with", f"Python {machine['python']}, {machine['openssl']}"),
            ("measured", f"in memory, on one core, for {machine['seconds']} s; medians of {results[0].rounds} rounds"),
            ("handshake", "both ends, Ed25519 keys pinned, through acceptance: two machines share the work"),
            ("channel", "sealed by one end and opened by the other, both on that core"),
        ]
    )
    return [primitives, "", handshakes, "", channel, "", facts]


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "openssl": openssl.openssl_version_text(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
