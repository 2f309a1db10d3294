"""`nautilus keygen`: make an identity and keep it in a file that only its owner can read."""

from __future__ import annotations

import argparse
import getpass
import os
from pathlib import Path
from typing import Any

from nautilus_core import Identity
from nautilus_core.crypto.signatures import SCHEMES


def add_command(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "keygen", help="make an identity", description="Make an identity: a private signing key."
    )
    parser.add_argument("file", type=Path, help="where to keep it; must not exist")
    parser.add_argument(
        "--scheme", choices=list(SCHEMES), default="ed25519", help="signature scheme (default: ed25519)"
    )
    protection = parser.add_mutually_exclusive_group()
    protection.add_argument("--passphrase", action="store_true", help="ask for a passphrase and encrypt the key")
    protection.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="encrypt with the passphrase in this file"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make the key, write it, show what peers know it by."""
    passphrase: bytes | None = None
    if options.passphrase_file is not None:
        passphrase = options.passphrase_file.read_bytes().rstrip(b"\r\n")
    elif options.passphrase:
        passphrase = getpass.getpass("Passphrase: ").encode()
        if getpass.getpass("Again: ").encode() != passphrase:
            raise ValueError("the two passphrases differ")
    if passphrase == b"":
        raise ValueError("the passphrase is empty")
    identity = Identity.generate(options.scheme)
    write_private(options.file, identity.to_pem(passphrase))
    print(identity.peer_id)
    print(identity.public.words)
    return 0


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read; `FileExistsError` when there is one already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
