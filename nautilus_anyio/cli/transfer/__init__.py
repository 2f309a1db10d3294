"""`nautilus send` and `nautilus receive`: files over a secure stream, resumed where they were interrupted.

The command line and who dials live here; the protocol is in `messages`, its two sides in `send` and `receive`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from nautilus_core import AlertCode, HandshakeError, PeerAborted, Profile

from ...errors import ChannelFailed, TransportFailed
from ...stream import SecureStream
from ..gate import first_peer, serve_peers
from ..limits import add_limits
from ..meeting import dial
from ..options import add_backend, add_command, add_profile, address, profile_from
from ..output import Output, interrupted
from ..recording import add_recording
from ..retrying import add_retry, check_retry
from ..serving import add_bound, run_until_signal
from ..tls import add_tls
from .files import Destination, Source
from .messages import PROTOCOL, SameRole
from .receive import Receiver
from .report import Bars, Reporter
from .send import Sender
from .wire import Wire

_SEND_EXAMPLES: Final = """\
  nautilus send disk.img host:7000                            to `nautilus receive 0.0.0.0:7000` on host
  nautilus send *.jpg host:7000 --identity node.pem --trust pinned:key:...
  nautilus send disk.img 0.0.0.0:7000 --listen                to `nautilus receive host:7000 --connect`
  nautilus send disk.img host:7000 --tls --tls-ca ca.pem      inside TLS
  while nautilus send disk.img host:7000; [ $? = 4 ]; do sleep 9; done    again until the connection holds

What was interrupted goes on where it stopped when both commands are run again; what is there already is not sent twice."""

_RECEIVE_EXAMPLES: Final = """\
  nautilus receive 7000                                       from this machine, into this folder
  nautilus receive 0.0.0.0:7000 --directory inbox --keep      from anywhere, until Ctrl-C
  nautilus receive 0.0.0.0:7000 --output disk.img --force     under a name of our own
  nautilus receive host:7000 --connect                        from `nautilus send disk.img 0.0.0.0:7000 --listen`
  nautilus receive 7000 --tls --tls-cert server.pem           inside TLS, bound to its connection

A file appears under its name when it is whole and its SHA-256 is right; until then it is .NAME.part, which a next attempt
goes on from. Delete that file to give up."""

_AGAIN: Final = "start the transfer again: it goes on from there"
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def add_commands(commands: Any) -> None:
    """Register both commands."""
    what = "send files to a peer that receives; resumes, and compares checksums"
    parser = add_command(commands, "send", what, _SEND_EXAMPLES, _send)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="what to send: regular files")
    parser.add_argument("address", type=address, metavar="[HOST:]PORT", help="where the receiver listens")
    parser.add_argument(
        "--listen", action="store_true", help="listen there for a receiver instead, which says --connect"
    )
    add_retry(parser)
    add_profile(parser)
    add_tls(parser, listens=None)
    add_recording(parser)
    add_backend(parser)
    what = "receive the files that a peer sends; resumes, and compares checksums"
    parser = add_command(commands, "receive", what, _RECEIVE_EXAMPLES, _receive)
    parser.add_argument("address", type=address, metavar="[HOST:]PORT", help="where to listen for a sender")
    parser.add_argument("--connect", action="store_true", help="connect there instead, to a sender that says --listen")
    add_retry(parser)
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--directory", "-d", type=Path, default=Path(), metavar="DIR", help="where files go (default: this folder)"
    )
    target.add_argument(
        "--output", "-o", type=Path, dest="file", metavar="FILE", help="one file, whatever the sender calls it"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there already")
    parser.add_argument(
        "--max-size",
        type=_size,
        metavar="SIZE",
        help="take no file over it, as 500M or 10G, MiB and GiB (default: what the disk holds)",
    )
    parser.add_argument("--keep", action="store_true", help="go on listening after the first sender, until Ctrl-C")
    add_bound(parser)
    add_limits(parser)
    add_profile(parser)
    add_tls(parser, listens=None)
    add_recording(parser)
    add_backend(parser)


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d{1,15})([KMGT]?)(?:i?B)?", text, re.IGNORECASE | re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: expected bytes, or a number with K, M, G or T")
    return int(found[1]) * _UNITS[found[2].upper()]


def _send(options: argparse.Namespace) -> int:
    for path in options.files:  # mistakes are told before anybody is called
        with closing(Source(path)):
            pass
    reporter = Reporter(options.output, Bars(options.output))

    instead = _instead("receive", options.address, dials=not options.listen)

    async def run(profile: Profile) -> None:
        stream = await (first_peer if options.listen else _call)(options, profile)
        await _session(stream, reporter, lambda wire: Sender(wire, options.files, reporter).run(), instead)

    return _run(options, run, reporter, dials=not options.listen)


def _receive(options: argparse.Namespace) -> int:
    if options.keep and options.connect:
        raise ValueError("--keep goes with listening, not with --connect")
    for name in ("max_handshakes", "max_handshakes_per_address"):
        if options.connect and getattr(options, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} goes with listening, not with --connect")
    destination = _destination(options)
    bars = Bars(options.output)
    reporter = Reporter(options.output, bars)
    instead = _instead("send FILE", options.address, dials=options.connect)

    async def serve(stream: SecureStream, reporter: Reporter = reporter) -> None:
        await _session(stream, reporter, lambda wire: Receiver(wire, destination, reporter).run(), instead)

    async def serve_one_of_many(stream: SecureStream) -> None:
        try:
            await serve(stream, Reporter(options.output, bars))
        except (HandshakeError, ChannelFailed, OSError) as error:
            options.output.error(str(error), error, 0)

    async def run(profile: Profile) -> None:
        if options.keep:
            await serve_peers(options, profile, serve_one_of_many, "for files")
        else:
            await serve(await (_call if options.connect else first_peer)(options, profile))

    return _run(options, run, reporter, dials=options.connect)


def _instead(other: str, where: tuple[str, int], *, dials: bool) -> str:
    """What to run where both ends do the same: who dials does the `other`, and still dials."""
    host, port = where
    host = f"[{host}]" if ":" in host else host
    place, at = ("here", f"{host}:{port}") if dials else ("there", f"HOST:{port}")
    return f"run {place} instead: nautilus {other} {at}{' --connect' if other == 'receive' else ''}"


def _destination(options: argparse.Namespace) -> Destination:
    folder = options.directory if options.file is None else options.file.parent
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: make it first")
    if options.file is not None and (options.file.is_dir() or not options.file.name):
        raise ValueError(f"{options.file} is a folder: say --directory for it")
    return Destination(options.directory, options.file, options.force, options.max_size)


def _run(
    options: argparse.Namespace, run: Callable[[Profile], Awaitable[None]], reporter: Reporter, *, dials: bool
) -> int:
    check_retry(options, dials=dials)
    host, port = options.address
    if dials and not port:
        raise ValueError("nobody listens on port 0: expected the port of the other end, 1 to 65535")
    profile = profile_from(options, name=f"{host}:{port}" if dials else None, protocols=(PROTOCOL,))

    async def run_to_the_end() -> int:
        await run(profile)
        return 0

    try:
        return run_until_signal(run_to_the_end, backend=options.backend)
    except BaseException as error:
        if interrupted(error):
            began = reporter.name or dials
            options.output.note(f"interrupted {reporter.where()}; {_AGAIN}" if began else "interrupted while listening")
        raise


async def _call(options: argparse.Namespace, profile: Profile) -> SecureStream:
    """Dial; what answers and transfers no files is told so in words that help."""
    try:
        return await dial(options, profile)
    except PeerAborted as error:
        if error.code != AlertCode.NO_APPLICATION_PROTOCOL:
            raise
        host, port = options.address
        raise PeerAborted(
            f"who listens at {host} port {port} transfers no files, or not with these --protocol ids",
            code=error.code,
            hint="it takes `nautilus receive`, or `nautilus send --listen`, there",
        ) from error


async def _session(
    stream: SecureStream, reporter: Reporter, run: Callable[[Wire], Awaitable[None]], instead: str
) -> None:
    """One side of the protocol over `stream`; what ends it says how far it got, and what now."""
    output: Output = reporter.output
    output.connected(stream)
    try:
        async with stream:
            await run(Wire(stream))
    except ChannelFailed as failed:
        if not failed.error.retryable:
            raise
        raise TransportFailed(
            f"the connection was lost {reporter.where()}",
            hint=_AGAIN,
        ) from failed
    except SameRole as same:
        raise SameRole(f"{same}; {instead}") from None
    finally:
        reporter.end()
