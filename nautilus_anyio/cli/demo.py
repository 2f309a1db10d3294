"""`nautilus demo`: both ends on loopback, for real: the ladder as it happens, then data with a checksum on both sides."""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from functools import partial
from typing import Any, Final

import anyio
from anyio.abc import SocketAttribute
from rich.console import Console

from nautilus_core import Identity, Profile, profiles, trust

from ..connect import connect
from ..listen import serve
from ..stream import SecureStream
from .ladder import LiveLadder
from .options import add_backend, add_command
from .output import Output
from .recording import Recorded, add_recording, recording_from
from .serving import run_until_signal
from .tables import facts_table

_BLOCK: Final = 1 << 20
_PROTOCOL: Final = "nautilus/demo/1"


_EXAMPLES: Final = """\
  nautilus demo
  nautilus demo --json                            one object instead of the drawing
  nautilus demo --size 1 --record transcripts --record-secrets    both sides, to look at and to replay
  nautilus demo --size 1024 --suite X25519_CHACHA20POLY1305_SHA256"""


def add_commands(commands: Any) -> None:
    """Register the command."""
    what = "both ends on this machine: watch a handshake, then move data and compare checksums"
    parser = add_command(commands, "demo", what, _EXAMPLES, run)
    parser.add_argument("--size", type=int, default=64, metavar="MIB", help="how much data (default: 64 MiB)")
    parser.add_argument(
        "--suite", action="append", default=[], metavar="NAME", help="cipher suite; repeatable, best first"
    )
    add_recording(parser)
    add_backend(parser)


def run(options: argparse.Namespace) -> int:
    """Run the demonstration; the exit code says whether the checksums agree."""
    if options.size < 1:
        raise ValueError("--size is at least 1")
    return run_until_signal(_demo, options, backend=options.backend)


async def _demo(options: argparse.Namespace) -> int:
    output: Output = options.output
    console = output.console
    console.quiet = output.quiet or output.as_json
    initiator, responder = Identity.generate(), Identity.generate()
    both = (("initiator", initiator.public), ("responder", responder.public))
    console.print(facts_table((name, f"{key.peer_id}\n{key.words}") for name, key in both))
    console.print()
    suites: dict[str, Any] = {"suites": options.suite} if options.suite else {}
    ours = profiles.nautilus(
        identity=initiator, trust=trust.pinned(responder.public), protocols=[_PROTOCOL], target="demo", **suites
    )
    theirs = profiles.nautilus(
        identity=responder, trust=trust.pinned(initiator.public), protocols=[_PROTOCOL], **suites
    )
    recorded = recording_from(options, each=True)
    return await _run_both(output, ours, theirs, options.size * _BLOCK, recorded)


async def _run_both(output: Output, ours: Profile, theirs: Profile, size: int, recorded: Recorded) -> int:
    console = output.console
    responder_side = _Responder()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(serve, listener, responder_side.handle, theirs, **recorded))
        ladder = LiveLadder(console)
        async with await connect("127.0.0.1", port, ours, on_event=ladder, **recorded) as stream:
            ladder.finish()
            _describe(console, stream)
            digest, seconds = await _send(output, stream, size)
            answer = b""
            async for data in stream:
                answer += data
        tasks.cancel_scope.cancel()
    same_binding = responder_side.channel_binding == stream.session.channel_binding
    agree = answer == digest and same_binding
    console.print(f"sent     sha256 {digest.hex()}", soft_wrap=True)
    console.print(f"received sha256 {answer.hex()}", soft_wrap=True)
    console.quiet = False
    output.picture(
        f"{size / _BLOCK:.0f} MiB in {seconds:.2f} s: {size / _BLOCK / seconds:,.0f} MiB/s, sealed and opened",
        "[bold green]both sides agree[/]" if agree else "[bold red]the two sides differ[/]",
        agree=agree,
        bytes=size,
        seconds=round(seconds, 6),
        sent_sha256=digest.hex(),
        received_sha256=answer.hex(),
        handshake=ladder.summary(),
        suite=stream.session.suite,
        protocol=stream.session.protocol,
        peer=stream.session.peer.peer_id,
        channel_binding=stream.session.channel_binding.hex(),
    )
    return 0 if agree else 1


def _describe(console: Console, stream: SecureStream) -> None:
    session = stream.session
    console.print()
    console.print(f"suite           {session.suite}")
    console.print(f"protocol        {session.protocol}")
    console.print(f"peer            {session.peer.peer_id}", soft_wrap=True)
    console.print(f"channel binding {session.channel_binding.hex()}", soft_wrap=True)
    console.print()


async def _send(output: Output, stream: SecureStream, size: int) -> tuple[bytes, float]:
    """Send `size` random bytes and end the direction; returns their SHA-256 and the seconds that it took."""
    checksum = hashlib.sha256()
    block = os.urandom(_BLOCK)
    start = time.perf_counter()
    with output.progress() as progress:
        task = progress.add_task("sending", total=size)
        for number in range(size // _BLOCK):
            data = number.to_bytes(8, "big") + block[8:]
            checksum.update(data)
            await stream.send(data)
            progress.advance(task, len(data))
        await stream.send_eof()
    return checksum.digest(), time.perf_counter() - start


class _Responder:
    """The responder's application: it hashes all that it gets and answers with the digest."""

    channel_binding = b""

    async def handle(self, stream: SecureStream) -> None:
        self.channel_binding = stream.session.channel_binding
        checksum = hashlib.sha256()
        async for data in stream:
            checksum.update(data)
        await stream.send(checksum.digest())
        await stream.send_eof()
