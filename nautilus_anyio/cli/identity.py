"""`nautilus keygen` and `nautilus identity show`: make an identity, and show what peers know it by."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from nautilus_core import Identity, PublicKey
from nautilus_core.crypto.signatures import SCHEMES

from ..stores import save_identity
from .options import add_command, add_group, add_passphrase, identity_from, passphrase_in, passphrase_typed
from .output import Output

_KEYGEN_EXAMPLES: Final = """\
  nautilus keygen node.pem                        an Ed25519 key
  nautilus keygen node.pem --scheme ml-dsa-65     a post-quantum one
  nautilus keygen node.pem --passphrase           encrypted; asks for the passphrase"""

_SHOW_EXAMPLES: Final = """\
  nautilus identity show node.pem                 what to pin: --trust pinned:key:...
  nautilus identity show node.pem --json          for a script"""


def add_commands(commands: Any) -> None:
    """Register both."""
    parser = add_command(commands, "keygen", "make an identity: a private signing key", _KEYGEN_EXAMPLES, keygen)
    parser.add_argument("file", type=Path, help="where to keep it; must not exist")
    parser.add_argument(
        "--scheme", choices=list(SCHEMES), default="ed25519", help="signature scheme (default: ed25519)"
    )
    protection = parser.add_mutually_exclusive_group()
    protection.add_argument("--passphrase", action="store_true", help="ask for a passphrase and encrypt the key")
    protection.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="encrypt with the passphrase in this file"
    )
    verbs = add_group(commands, "identity", "look at an identity", _SHOW_EXAMPLES)
    parser = add_command(verbs, "show", "show what peers know an identity by", _SHOW_EXAMPLES, show)
    parser.add_argument("file", type=Path, help="private key of `nautilus keygen`")
    add_passphrase(parser)


def keygen(options: argparse.Namespace) -> int:
    """Make the key, write it, show what peers know it by."""
    passphrase: bytes | None = None
    if options.passphrase_file is not None:
        passphrase = passphrase_in(options.passphrase_file)
    elif options.passphrase:
        passphrase = _passphrase_for(options)
    if passphrase == b"":
        raise ValueError("the passphrase is empty")
    identity = Identity.generate(options.scheme)
    save_identity(options.file, identity, passphrase)
    describe(options.output, identity.public)
    return 0


def _passphrase_for(options: argparse.Namespace) -> bytes:
    """Typed twice, at the terminal."""
    try:
        passphrase = passphrase_typed("Passphrase: ")
        again = passphrase_typed("Again: ")
    except KeyboardInterrupt:
        options.output.note("interrupted; no key was made")
        raise
    if again != passphrase:
        raise ValueError("the two passphrases differ")
    return passphrase


def show(options: argparse.Namespace) -> int:
    """Show the public side of a private key file."""
    describe(options.output, identity_from(options.file, options.passphrase_file).public)
    return 0


def describe(output: Output, key: PublicKey) -> None:
    """The peer id, the fingerprint in words and in hex, the scheme and the key."""
    text = (
        f"{key.peer_id}\n{key.words}\n"
        f"scheme       {key.scheme}\nfingerprint  {key.fingerprint.hex()}\npublic key   {shown(key.data)}"
    )
    output.result(
        text,
        peer_id=key.peer_id,
        words=key.words,
        scheme=key.scheme,
        fingerprint=key.fingerprint.hex(),
        public_key=key.data.hex(),
    )


def shown(data: bytes, most: int = 100) -> str:
    """A public key in hex; of a long one only the beginning."""
    return data.hex() if len(data) <= most else f"{data[:32].hex()}... ({len(data)} bytes; --json has all)"
