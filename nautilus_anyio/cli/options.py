"""Options that several commands share: addresses, identities, trust, the backend. No network."""

from __future__ import annotations

import argparse
import getpass
import importlib.util
import os
import re
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network
from math import inf
from pathlib import Path
from typing import Any, Final

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    Anonymous,
    Identity,
    Profile,
    TrustPolicy,
    profiles,
    trust,
)
from nautilus_core.identity.did import DidCredentials

from ..psk_file import load_psks
from ..stores import KnownPeersFile, load_identity, save_identity
from .output import Output, add_output
from .usage import Parser

TIMEOUT: Final = 120.0
"""Seconds for a handshake and whoever answers its questions: SSH's LoginGraceTime."""

REACH_TIMEOUT: Final = 30.0
"""Seconds at most for reaching the machine of a peer or a service, where nobody is asked anything."""


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
    parser: Parser = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.ask_for_command()
    return parser.add_subparsers(title="commands", metavar="COMMAND")


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[IPv6]:PORT`, or `PORT` alone on the loopback address."""
    host, _, port = text.rpartition(":")
    if not re.fullmatch("[0-9]+", port):
        raise argparse.ArgumentTypeError(f"{text!r} is no address: expected HOST:PORT or PORT")
    if len(port.lstrip("0")) > 5 or int(port) > 65_535:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address: a port is 1 to 65535, or 0 for who listens at any that is free"
        )
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:  # where it ends and the port begins cannot be seen
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address: an IPv6 address stands in brackets, as in [::1]:7000"
        )
    return host or "127.0.0.1", int(port)


def peer_address(text: str) -> tuple[str, int]:
    """An `address` where somebody else listens: its port is known."""
    host, port = address(text)
    if port == 0:
        raise argparse.ArgumentTypeError("nobody listens on port 0: expected the port of the other end, 1 to 65535")
    return host, port


def seconds(text: str) -> float:
    """A time that can pass: a number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: expected seconds, more than 0")
    return value


def _network(text: str) -> str:
    """A network, as `10.0.0.0/8`, or one address."""
    try:
        ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}: expected a network, as in 10.0.0.0/8 or fd00::/8") from error
    return text


def add_backend(parser: argparse.ArgumentParser) -> None:
    """`--backend asyncio|trio`."""
    parser.add_argument(
        "--backend",
        type=_backend,
        choices=["asyncio", "trio"],
        default="asyncio",
        help="which event loop (default: asyncio); trio, where it is installed",
    )


def _backend(text: str) -> str:
    if text == "trio" and importlib.util.find_spec("trio") is None:
        raise argparse.ArgumentTypeError("trio is not installed: pip install trio")
    return text


def add_passphrase(parser: argparse.ArgumentParser) -> None:
    """`--passphrase-file`."""
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="the identity's passphrase, on one line")


def add_profile(parser: argparse.ArgumentParser) -> None:
    """The options that make a profile."""
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--identity",
        type=Path,
        metavar="FILE",
        help="private key of `nautilus keygen` (default: identity.pem in ~/.config/nautilus, made at first use)",
    )
    who.add_argument("--anonymous", action="store_true", help="do not say who we are")
    parser.add_argument("--did", action="store_true", help="say who we are by the did:key of the identity")
    add_passphrase(parser)
    parser.add_argument(
        "--trust",
        metavar="POLICY",
        help="whom to trust: pinned:KEY (peer ids, with commas in between), known-peers[:FILE] (ask at the first contact and "
        "remember, as SSH does), ask (each time), anyone, psk[:IDENTITY] (whoever has the pre-shared key, or one of these, with "
        "commas in between), did:METHOD:ID (DIDs, with commas in between), or a file in PEM with the certificates of authorities "
        "(default: psk with --psk-file, else known-peers)",
    )
    parser.add_argument(
        "--psk-file", type=Path, metavar="FILE", help="pre-shared keys, for this user's eyes alone; see docs/binding.md"
    )
    parser.add_argument(
        "--trust-name",
        metavar="NAME",
        help="with authorities: the DNS name or IP address that the peer's certificate must be for (default: the host dialled)",
    )
    parser.add_argument(
        "--did-web-private",
        type=_network,
        action="append",
        default=[],
        metavar="NETWORK",
        help="with did:web: a network that is not public, as 10.0.0.0/8, from whose addresses documents may come too; "
        "repeatable. SSL_CERT_FILE names the authorities of its web servers, where they are not the system's",
    )
    parser.add_argument("--allow-anonymous", action="store_true", help="also accept a peer that does not say who it is")
    parser.add_argument(
        "--protocol", action="append", default=[], metavar="ID", help="application protocol id; repeatable"
    )
    parser.add_argument(
        "--suite", action="append", default=[], metavar="NAME", help="cipher suite; repeatable, best first"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT,
        metavar="SECONDS",
        help=f"for the handshake, with the questions that it asks at both ends (default: {TIMEOUT:.0f}); a peer that is not "
        f"reached in {REACH_TIMEOUT:.0f} is given up in any case",
    )


def check_combinations(options: argparse.Namespace) -> None:
    """Refuse an option that would change nothing, because it goes only with others; `ValueError`."""
    many = ("exec", "forward", "listen", "keep")
    if any(getattr(options, name, None) not in (None, False) for name in many):
        return
    for one in ("max_connections", "grace"):
        if getattr(options, one, None) is not None:
            with_ = " or ".join(f"--{name}" for name in many if hasattr(options, name))
            raise ValueError(f"--{one.replace('_', '-')} goes with {with_}: without it there is one connection")


def profile_from(options: argparse.Namespace, *, name: str | None = None, protocols: tuple[str, ...] = ()) -> Profile:
    """The profile that the options describe; `ValueError` for what they get wrong.

    Args:
        options: of a parser that went through `add_profile`.
        name: what the peer is remembered under; None, as for who listens, for its own peer id.
        protocols: application protocol ids of the command's own, where the user names none.

    `options.own` is the identity from then on, or `ANONYMOUS`: who listens says who it is.
    """
    options.own = _identity(options)
    suites = {"suites": options.suite} if options.suite else {}
    psks = {} if options.psk_file is None else load_psks(options.psk_file).arguments
    profile = profiles.nautilus(
        identity=options.own,
        trust=_trust(options, name),
        protocols=options.protocol or protocols,
        **suites,
        **psks,
    )
    if profile.check is not None:  # at once, and not at the first connection
        try:
            profile.check(RESPONDER if name is None else INITIATOR)
        except ValueError as error:
            if not psks or "pre-shared" not in str(error):
                raise
            raise ValueError(f"--psk-file {options.psk_file}: {error}; `name` in it says whose file it is") from error
    return profile


def _identity(options: argparse.Namespace) -> Identity | Anonymous:
    if options.anonymous:
        if options.did:
            raise ValueError("--anonymous does not go with --did: say who we are, or do not")
        return ANONYMOUS
    path = own_identity(options.output) if options.identity is None else options.identity
    identity = identity_from(path, options.passphrase_file)
    return identity.with_did() if options.did and identity.did is None else identity


def own_identity(output: Output) -> Path:
    """Where the identity of who names none is; it is made once, so that peers know it again."""
    path = configuration() / "identity.pem"
    if path.exists():
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = Identity.generate()
    with suppress(FileExistsError):  # another process was first
        save_identity(path, identity)
        output.note(f"made an identity for this user, {identity.peer_id}, in {path}", peer_id=identity.peer_id)
    return path


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
        except KeyboardInterrupt:
            print(file=sys.stderr)  # behind the prompt
            raise
        except getpass.GetPassWarning as error:
            raise ValueError("there is no terminal to ask for the passphrase on: say --passphrase-file FILE") from error


def identity_from(path: Path, passphrase_file: Path | None) -> Identity:
    """The identity in `path`; asks for its passphrase where it needs one and there is a terminal."""
    passphrase = None if passphrase_file is None else passphrase_in(passphrase_file)
    try:
        return load_identity(path, passphrase)
    except ValueError as error:
        if passphrase is not None or "encrypted" not in str(error):
            raise
        if not somebody_types():
            raise ValueError(f"{error}: say --passphrase-file FILE") from error
    return load_identity(path, passphrase_typed(f"Passphrase of {path}: "))


def somebody_types() -> bool:
    """Whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def configuration() -> Path:
    """Where the command keeps the user's identity and known peers: `nautilus` in XDG_CONFIG_HOME or ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "nautilus"


_POLICIES: Final = (
    "pinned:KEY, known-peers[:FILE], ask, anyone, psk[:IDENTITY], did:METHOD:ID, or a file with certificates"
)
_BY_KEY: Final = ("raw-public-key", "x509", DidCredentials(lambda did: False))
"""Kinds of credential in which a key may come, where the key itself is what is trusted: no DID is looked up for that."""


class _ToldKnownPeers(KnownPeersFile):
    """Notes whom it remembers, and where."""

    def __init__(self, path: Path, output: Output) -> None:
        super().__init__(path)
        self._told = path
        self._output = output

    def remember(self, name: str, peer_id: str) -> None:
        super().remember(name, peer_id)
        self._output.note(f"remembered as {name} in {self._told}", name=name, peer_id=peer_id, file=str(self._told))


def _trust(options: argparse.Namespace, name: str | None) -> TrustPolicy:
    policy: str = options.trust or ("known-peers" if options.psk_file is None else "psk")
    kind, colon, argument = policy.partition(":")
    by_file = policy not in ("known-peers", "anyone", "ask", "psk") and Path(policy).is_file()
    if options.trust_name is not None and not by_file:
        raise ValueError("--trust-name goes with authorities alone: --trust FILE")
    if options.did_web_private and kind != "did":
        raise ValueError("--did-web-private goes with --trust did:... alone: no other policy looks a DID up")
    if colon and not argument and kind in ("pinned", "known-peers"):
        what = "key: say pinned:KEY" if kind == "pinned" else "file: say known-peers:FILE, or known-peers for your own"
        raise ValueError(f"--trust {policy} names no {what}")
    if kind == "pinned" and argument:
        return trust.pinned(*argument.split(","), kinds=_BY_KEY)
    if kind == "known-peers":
        if options.allow_anonymous:
            raise ValueError("--allow-anonymous does not go with known-peers: an anonymous peer cannot be known again")
        path = Path(argument) if argument else configuration() / "known_peers"
        return trust.known_peers(_ToldKnownPeers(path, options.output), name=name, kinds=_BY_KEY)
    if kind == "psk" and bool(argument) == bool(colon):
        if options.psk_file is None:
            raise ValueError("--trust psk goes with --psk-file FILE, which has the keys")
        return trust.psk(*filter(None, argument.split(",")))
    if policy in ("anyone", "ask"):
        whoever = trust.anyone if policy == "anyone" else trust.ask
        return whoever(anonymous=options.allow_anonymous, kinds=_BY_KEY)
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
