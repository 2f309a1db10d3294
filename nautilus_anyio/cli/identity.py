"""`nautilus keygen` and `nautilus identity show`: make an identity, and show what peers know it by."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from nautilus_core import Identity
from nautilus_core.crypto.signatures import CERTIFIED_SCHEMES, SCHEMES, scheme_named
from nautilus_core.identity.credentials import RAW_PUBLIC_KEY
from nautilus_core.identity.did import DID, did_key
from nautilus_core.identity.self_signed import self_signed
from nautilus_core.identity.x509 import X509, certificates_in, names_in

from ..pictures.words import printable
from ..psk_file import PskFile, load_psks
from ..stores import save_identity
from .asking import words_in_lines
from .options import (
    add_command,
    add_group,
    add_passphrase,
    identity_from,
    own_identity,
    passphrase_in,
    passphrase_typed,
)
from .output import Output

_KEYGEN_EXAMPLES: Final = """\
  nautilus keygen node.pem                        an Ed25519 key
  nautilus keygen node.pem --scheme ml-dsa-65     a post-quantum one
  nautilus keygen node.pem --passphrase           encrypted; asks for the passphrase
  nautilus keygen node.pem --did-key              presents its did:key
  nautilus keygen node.pem --x509-self-signed --name node.example    with a certificate"""

_SHOW_EXAMPLES: Final = """\
  nautilus identity show                          who we are where no --identity is given
  nautilus identity show node.pem                 what to pin: --trust pinned:key:...
  nautilus identity show node.pem --json          for a script
  nautilus identity show ca.pem                   the certificates of an authority
  nautilus identity show office.toml              which pre-shared keys there are"""


_LONGEST_DID: Final = 200  # characters
_LONGEST_LOOK: Final = 1 << 20  # bytes of a file that say what it is
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_PSKS: Final = re.compile(rb"^\s*\[\[\s*psk\s*\]\]", re.MULTILINE)
_PRESENTED: Final = {RAW_PUBLIC_KEY: "the key", DID: "the DID", X509: "the certificate"}
_CLOCKS_DIFFER: Final = timedelta(hours=1)
"""So much earlier a certificate is valid, for peers whose clock is slow."""


def add_commands(commands: Any) -> None:
    """Register both."""
    parser = add_command(commands, "keygen", "make an identity: a private signing key", _KEYGEN_EXAMPLES, keygen)
    parser.add_argument("file", type=Path, help="where to keep it; must not exist")
    parser.add_argument(
        "--scheme", choices=list(CERTIFIED_SCHEMES), default="ed25519", help="signature scheme (default: ed25519)"
    )
    parser.add_argument("--did-key", action="store_true", help="an identity that says who it is by its did:key")
    parser.add_argument(
        "--x509-self-signed", action="store_true", help="with an X.509 certificate, self-signed, valid for a year"
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="DNS name or IP address for the certificate; repeatable",
    )
    protection = parser.add_mutually_exclusive_group()
    protection.add_argument("--passphrase", action="store_true", help="ask for a passphrase and encrypt the key")
    protection.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="encrypt with the passphrase in this file"
    )
    verbs = add_group(commands, "identity", "look at an identity", _SHOW_EXAMPLES)
    parser = add_command(verbs, "show", "show what peers know an identity by", _SHOW_EXAMPLES, show)
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        help="private key of `nautilus keygen` (default: this user's, made at first use); also certificates in PEM, or "
        "pre-shared keys",
    )
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
    identity = _generate(options)
    save_identity(options.file, identity, passphrase)
    describe(options.output, identity)
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


def _generate(options: argparse.Namespace) -> Identity:
    if options.did_key and options.x509_self_signed:
        raise ValueError("--did-key does not go with --x509-self-signed: an identity presents a DID or a certificate")
    if options.x509_self_signed:
        key = scheme_named(options.scheme).generate()
        begins = datetime.now(UTC) - _CLOCKS_DIFFER
        return Identity.with_certificates(key, [self_signed(key, options.name, now=begins)])
    if options.name:
        raise ValueError("--name goes with --x509-self-signed: a key alone has no name")
    if options.scheme not in SCHEMES:
        raise ValueError(f"a {options.scheme} key needs a certificate: add --x509-self-signed")
    identity = Identity.generate(options.scheme)
    return identity.with_did() if options.did_key else identity


def show(options: argparse.Namespace) -> int:
    """Show the public side of a file: a private key with what it presents, certificates alone, or pre-shared keys."""
    path = own_identity(options.output) if options.file is None else options.file
    with path.open("rb") as file:
        beginning = file.read(_LONGEST_LOOK)
    if beginning.lstrip().startswith(_CERTIFICATE) and b" PRIVATE KEY-----" not in beginning:
        describe_certificates(options.output, certificates_in(path.read_bytes()))
    elif _PSKS.search(beginning):
        describe_psks(options.output, load_psks(path))
    else:
        describe(options.output, identity_from(path, options.passphrase_file))
    return 0


def describe(output: Output, identity: Identity) -> None:
    """The peer id, the fingerprint in words and in hex, the scheme and the key; what it presents to a peer."""
    key = identity.public
    text = (
        f"{key.peer_id}\n{words_in_lines(key, '')}\n"
        f"scheme       {key.scheme}\nfingerprint  {key.fingerprint.hex()}\npublic key   {shown(key.data)}"
    )
    did = identity.did or (did_key(key) if key.scheme in SCHEMES else None)
    if did is not None:
        text += f"\ndid          {did if len(did) <= _LONGEST_DID else 'of such a key is long: --json has it'}"
    text += f"\npresents     {_PRESENTED[identity.credential_type]}"
    certificates = [_said_by(certificate) for certificate in identity.certificates]
    text += "".join(f"\n{_in_lines(said)}" for said in certificates)
    output.result(
        text,
        peer_id=key.peer_id,
        words=key.words,
        scheme=key.scheme,
        fingerprint=key.fingerprint.hex(),
        public_key=key.data.hex(),
        presents=identity.credential_type,
        **({} if did is None else {"did": did, "presents_did": identity.did is not None}),
        **({"certificates": certificates} if certificates else {}),
    )


def describe_certificates(output: Output, certificates: Sequence[Certificate]) -> None:
    """Those of an authority, or of a peer: what `--trust FILE` would go by."""
    said = [_said_by(certificate) for certificate in certificates]
    output.result("\n".join(map(_in_lines, said)), certificates=said)


def describe_psks(output: Output, found: PskFile) -> None:
    """Whose pre-shared keys there are, and what for; never the keys."""
    text = f"name         {printable(found.name)}"
    for psk in found.psks:
        names = [printable(name) for name in (psk.identity, psk.initiator, psk.responder)]
        text += "\npre-shared   {}, with which {} dials {}, for suites with {}".format(*names, psk.hash)
    psks = [{name: getattr(psk, name) for name in ("identity", "initiator", "responder", "hash")} for psk in found.psks]
    output.result(text, name=found.name, psks=psks)


def _in_lines(said: Mapping[str, Any]) -> str:
    """A certificate for people."""
    names = printable(", ".join(said["names"])) or "none"
    subject, issuer = printable(said["subject"]), printable(said["issuer"])
    return (
        f"certificate  {subject}\n  issued by  {issuer}\n  names      {names}\n"
        f"  valid      {said['valid_from']} to {said['valid_until']}\n  SHA-256    {said['sha256']}"
    )


def _said_by(certificate: Certificate) -> dict[str, Any]:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "names": names_in(certificate),
        "valid_from": certificate.not_valid_before_utc.isoformat(),
        "valid_until": certificate.not_valid_after_utc.isoformat(),
        "sha256": certificate.fingerprint(SHA256()).hex(),
        "pem": certificate.public_bytes(Encoding.PEM).decode(),
    }


def shown(data: bytes, most: int = 100) -> str:
    """A public key in hex; of a long one only the beginning."""
    return data.hex() if len(data) <= most else f"{data[:32].hex()}... ({len(data)} bytes; --json has all)"
