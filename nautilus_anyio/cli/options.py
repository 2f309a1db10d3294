"""Options that several commands share: addresses, identities, trust, the backend. They ask the terminal; no network."""

from __future__ import annotations

import argparse
import getpass
import importlib.util
import io
import os
import sys
import termios
from pathlib import Path
from typing import Any

from nautilus_core import ANONYMOUS, Anonymous, Identity, PeerIdentified, Profile, TrustPolicy, profiles, trust


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[IPv6]:PORT`, or `PORT` alone on the loopback address."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: expected HOST:PORT or PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def add_backend(parser: argparse.ArgumentParser) -> None:
    """`--backend asyncio|trio`."""
    backends = ["asyncio", "trio"] if importlib.util.find_spec("trio") else ["asyncio"]
    parser.add_argument("--backend", choices=backends, default="asyncio", help="which event loop (default: asyncio)")


def add_profile(parser: argparse.ArgumentParser) -> None:
    """The options that make a profile."""
    parser.add_argument(
        "--identity", type=Path, metavar="FILE", help="private key of `nautilus keygen` (default: a new one)"
    )
    parser.add_argument("--anonymous", action="store_true", help="do not say who we are")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="the identity's passphrase, on one line")
    parser.add_argument(
        "--trust",
        metavar="POLICY",
        default="ask",
        help="whom to trust: pinned:KEY (a peer id, repeatable with commas), anyone, or ask (default: ask on the terminal)",
    )
    parser.add_argument("--allow-anonymous", action="store_true", help="also accept a peer that does not say who it is")
    parser.add_argument(
        "--protocol", action="append", default=[], metavar="ID", help="application protocol id; repeatable"
    )
    parser.add_argument(
        "--suite", action="append", default=[], metavar="NAME", help="cipher suite; repeatable, best first"
    )
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="for the handshake (default: 30)"
    )


def profile_from(options: argparse.Namespace) -> Profile:
    """The profile that the options describe; `ValueError` for what they get wrong."""
    suites = {"suites": options.suite} if options.suite else {}
    return profiles.nautilus(identity=_identity(options), trust=_trust(options), protocols=options.protocol, **suites)


def _identity(options: argparse.Namespace) -> Identity | Anonymous:
    if options.anonymous:
        return ANONYMOUS
    if options.identity is None:
        return Identity.generate()
    return load_identity(options.identity, options.passphrase_file)


def load_identity(path: Path, passphrase_file: Path | None) -> Identity:
    """The identity in `path`; asks for its passphrase where it needs one and there is a terminal."""
    data = path.read_bytes()
    passphrase = passphrase_file.read_bytes().rstrip(b"\r\n") if passphrase_file is not None else None
    try:
        return Identity.from_pem(data, passphrase)
    except ValueError as error:
        if passphrase is not None or "encrypted" not in str(error) or not sys.stdin.isatty():
            raise ValueError(f"{path}: {error}") from error
    return Identity.from_pem(data, getpass.getpass(f"Passphrase of {path}: ").encode())


def _trust(options: argparse.Namespace) -> TrustPolicy:
    policy: str = options.trust
    if policy.startswith("pinned:"):
        return trust.pinned(*policy.removeprefix("pinned:").split(","))
    if policy == "anyone":
        return trust.anyone(anonymous=options.allow_anonymous)
    if policy == "ask":
        return trust.ask(anonymous=options.allow_anonymous)
    raise ValueError(f"no trust policy {policy!r}: use pinned:KEY, anyone or ask")


def ask_on_terminal(question: Any) -> None:
    """Answer `PeerIdentified` by asking whoever sits at the terminal, as SSH does at a first contact."""
    if not isinstance(question, PeerIdentified):
        question.reject(f"the command cannot answer a {type(question).__name__}")
        return
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        question.reject("there is no terminal to ask on; say --trust pinned:KEY or --trust anyone")
        return
    with io.TextIOWrapper(io.FileIO(descriptor, "w+"), write_through=True) as terminal:
        termios.tcflush(descriptor, termios.TCIFLUSH)  # an answer typed before the question is none
        terminal.write(f"The peer's key is  {question.peer.peer_id}\n")
        if not isinstance(question.peer, Anonymous):
            terminal.write(f"in words           {question.peer.public_key.words}\n")
        terminal.write("Do you trust it? (yes/no) ")
        answer = terminal.readline().strip().lower()
    if answer in ("yes", "y"):
        question.accept()
    else:
        question.reject("refused at the terminal")
