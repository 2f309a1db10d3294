"""Options that several commands share: addresses, identities, trust, the backend. They ask the terminal; no network."""

from __future__ import annotations

import argparse
import getpass
import importlib.util
import io
import os
import select
import sys
import termios
import warnings
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.from_thread

from nautilus_core import ANONYMOUS, Anonymous, Identity, PeerIdentified, Profile, TrustPolicy, profiles, trust
from nautilus_core.identity.did import DidCredentials

from .. import resolve
from ..connect import Answer
from ..stores import KnownPeersFile, load_identity, save_identity
from .output import Output, add_output
from .resolving import Documents


def add_command(
    commands: Any, name: str, what: str, examples: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Register a command: `what` it does in a few words, `examples` as lines that can be typed, what runs it."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_output(parser)
    parser.set_defaults(run=run)
    return parser


def add_group(commands: Any, name: str, what: str, examples: str) -> Any:
    """Register a command that has commands of its own; returns where they are registered."""
    parser = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser.add_subparsers(title="commands", required=True, dest="command", metavar="COMMAND")


_LAST_PORT: Final = 65_535


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[IPv6]:PORT`, or `PORT` alone on the loopback address."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no address: expected HOST:PORT or PORT")
    if int(port) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: a port is a number up to {_LAST_PORT}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:  # where it ends and the port begins cannot be seen
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address: an IPv6 address stands in brackets, as in [::1]:7000"
        )
    return host or "127.0.0.1", int(port)


def seconds(text: str) -> float:
    """A time that can pass: a number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: expected seconds, more than 0")
    return value


def add_backend(parser: argparse.ArgumentParser) -> None:
    """`--backend asyncio|trio`."""
    backends = ["asyncio", "trio"] if importlib.util.find_spec("trio") else ["asyncio"]
    parser.add_argument("--backend", choices=backends, default="asyncio", help="which event loop (default: asyncio)")


def add_passphrase(parser: argparse.ArgumentParser) -> None:
    """`--passphrase-file`."""
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="the identity's passphrase, on one line")


def add_profile(parser: argparse.ArgumentParser) -> None:
    """The options that make a profile."""
    parser.add_argument(
        "--identity",
        type=Path,
        metavar="FILE",
        help="private key of `nautilus keygen` (default: identity.pem in ~/.config/nautilus, made at first use)",
    )
    parser.add_argument("--anonymous", action="store_true", help="do not say who we are")
    parser.add_argument("--did", action="store_true", help="say who we are by the did:key of the identity")
    add_passphrase(parser)
    parser.add_argument(
        "--trust",
        metavar="POLICY",
        default="known-peers",
        help="whom to trust: pinned:KEY (peer ids, with commas in between), known-peers[:FILE] (ask at the first contact and "
        "remember, as SSH does), ask (each time), anyone, did:METHOD:ID (DIDs, with commas in between), or a file in PEM with "
        "the certificates of authorities "
        "(default: known-peers)",
    )
    parser.add_argument(
        "--trust-name",
        metavar="NAME",
        help="with authorities: the DNS name or IP address that the peer's certificate must be for (default: the host dialled)",
    )
    parser.add_argument("--allow-anonymous", action="store_true", help="also accept a peer that does not say who it is")
    parser.add_argument(
        "--protocol", action="append", default=[], metavar="ID", help="application protocol id; repeatable"
    )
    parser.add_argument(
        "--suite", action="append", default=[], metavar="NAME", help="cipher suite; repeatable, best first"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=30.0, metavar="SECONDS", help="for the handshake (default: 30)"
    )


def profile_from(options: argparse.Namespace, *, name: str | None = None, protocols: tuple[str, ...] = ()) -> Profile:
    """The profile that the options describe; `ValueError` for what they get wrong, or name twice.

    Args:
        options: of a parser that went through `add_profile`.
        name: what the peer is remembered under; None, as for who listens, for its own peer id.
        protocols: application protocol ids of the command's own, where the user names none.
    """
    suites = {"suites": options.suite} if options.suite else {}
    return profiles.nautilus(
        identity=_identity(options),
        trust=_trust(options, name),
        protocols=options.protocol or protocols,
        **suites,
    )


def _identity(options: argparse.Namespace) -> Identity | Anonymous:
    if options.anonymous:
        if options.identity is not None:
            raise ValueError("--anonymous does not go with --identity: say who we are, or do not")
        if options.did:
            raise ValueError("--anonymous does not go with --did: say who we are, or do not")
        return ANONYMOUS
    path = options.identity
    if path is None:
        path = configuration() / "identity.pem"
        _make_identity(path, options.output)
    identity = identity_from(path, options.passphrase_file)
    return identity.with_did() if options.did and identity.did is None else identity


def _make_identity(path: Path, output: Output) -> None:
    """The identity of who names none, made once, so that peers know it again."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = Identity.generate()
    with suppress(FileExistsError):  # another process was first
        save_identity(path, identity)
        output.note(f"made an identity for this user, {identity.peer_id}, in {path}", peer_id=identity.peer_id)


_LONGEST_PASSPHRASE: Final = 65_536  # bytes


def passphrase_in(path: Path) -> bytes:
    """The first line of a file."""
    with path.open("rb") as file:
        return file.readline(_LONGEST_PASSPHRASE).rstrip(b"\r\n")


def passphrase_typed(prompt: str) -> bytes:
    """A passphrase from the terminal; `ValueError` where there is none: it would be read in the open."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(prompt).encode()
        except getpass.GetPassWarning as error:
            raise ValueError("there is no terminal to ask for the passphrase on: say --passphrase-file FILE") from error


def identity_from(path: Path, passphrase_file: Path | None) -> Identity:
    """The identity in `path`; asks for its passphrase where it needs one and there is a terminal."""
    passphrase = None if passphrase_file is None else passphrase_in(passphrase_file)
    try:
        return load_identity(path, passphrase)
    except ValueError as error:
        if passphrase is not None or "encrypted" not in str(error) or not somebody_types():
            raise
    return load_identity(path, passphrase_typed(f"Passphrase of {path}: "))


def somebody_types() -> bool:
    """Whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def configuration() -> Path:
    """Where the command keeps the user's identity and known peers: `nautilus` in XDG_CONFIG_HOME or ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "nautilus"


_LOOK_UP: Final = 100  # milliseconds
_POLICIES: Final = (
    "pinned:KEY, known-peers[:FILE], ask, anyone, did:METHOD:ID, or a file with the certificates of authorities"
)
_BY_KEY: Final = ("raw-public-key", "x509", DidCredentials(lambda did: False))
"""Kinds of credential in which a key may come, where the key itself is what is trusted: no DID is looked up for that."""


def _trust(options: argparse.Namespace, name: str | None) -> TrustPolicy:
    policy: str = options.trust
    kind, colon, argument = policy.partition(":")
    by_file = policy not in ("known-peers", "anyone", "ask") and Path(policy).is_file()
    if options.trust_name is not None and not by_file:
        raise ValueError("--trust-name goes with authorities alone: --trust FILE")
    if kind == "pinned" and argument:
        return trust.pinned(*argument.split(","), kinds=_BY_KEY)
    if kind == "known-peers" and bool(argument) == bool(colon):
        if options.allow_anonymous:
            raise ValueError("--allow-anonymous does not go with known-peers: an anonymous peer cannot be known again")
        store = KnownPeersFile(argument or configuration() / "known_peers")
        return trust.known_peers(store, name=name, kinds=_BY_KEY)
    if policy == "anyone":
        return trust.anyone(anonymous=options.allow_anonymous, kinds=_BY_KEY)
    if policy == "ask":
        return trust.ask(anonymous=options.allow_anonymous, kinds=_BY_KEY)
    if kind == "did":
        if options.allow_anonymous:
            raise ValueError("--allow-anonymous does not go with a DID: an anonymous peer has none")
        return trust.dids(*policy.split(","))
    if by_file:
        return _authorities(Path(policy), options, name)
    raise ValueError(f"no trust policy {policy!r}: use {_POLICIES}")


def _authorities(path: Path, options: argparse.Namespace, name: str | None) -> TrustPolicy:
    """The authorities in a file, for the name that was dialled or asked for."""
    if options.allow_anonymous:
        raise ValueError("--allow-anonymous does not go with authorities: an anonymous peer has no certificate")
    dialled = None if name is None else name.rpartition(":")[0]
    try:
        return trust.authorities(path.read_bytes(), name=options.trust_name or dialled)
    except ValueError as error:
        raise ValueError(f"--trust {path}: {error}") from error


def answering() -> Answer:
    """Looks up DID documents, and asks on the terminal, one question at a time: a "yes" is meant for the peer that is shown last.

    Who waits with the same question, as the connections of one tunnel do at a first contact, gets the same answer.
    """
    asking = anyio.Lock()
    last: tuple[object, float, str | None] = (None, -inf, None)

    async def answer(question: Any) -> None:
        nonlocal last
        if not isinstance(question, PeerIdentified):
            question.reject(f"the command cannot answer a {type(question).__name__}")
            return
        key = (question.name, question.peer.peer_id)
        came_at = anyio.current_time()
        async with asking:
            asked, answered_at, refusal = last
            if asked != key or answered_at < came_at:
                refusal = await anyio.to_thread.run_sync(ask_on_terminal, question)
                last = (key, anyio.current_time(), refusal)
        if refusal is None:
            question.accept()
        else:
            question.reject(refusal)

    return resolve.answering(Documents(), answer)


def ask_on_terminal(question: PeerIdentified) -> str | None:
    """Ask whoever sits at the terminal whether a peer is welcome, as SSH does at a first contact; in a worker thread.

    Returns:
        None for a yes, else why the peer is refused.
    """
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return (
            f"there is no terminal to ask on; ask its owner whether {question.peer.peer_id} is its key, then say "
            "--trust pinned:KEY"
        )
    with io.TextIOWrapper(io.FileIO(descriptor, "w+"), write_through=True) as terminal:
        termios.tcflush(descriptor, termios.TCIFLUSH)  # an answer typed before the question is none
        where = "" if question.name in (None, question.peer.peer_id) else f" of {question.name}"
        terminal.write(f"The key{where} is not known:  {question.peer.peer_id}\n")
        if not isinstance(question.peer, Anonymous):
            terminal.write(f"in hex    {question.peer.public_key.fingerprint.hex()}\n")
            terminal.write(f"in words  {question.peer.public_key.words}\n")
        terminal.write("Do you trust it? (yes/no) ")
        typed = select.poll()
        typed.register(descriptor, select.POLLIN)
        try:
            while not typed.poll(_LOOK_UP):
                anyio.from_thread.check_cancelled()
        except BaseException:
            terminal.write("\nIt does not wait for the answer any more.\n")
            raise
        answer = terminal.readline().strip().lower()
    return None if answer in ("yes", "y") else "refused at the terminal"
