"""Fuzzes files: pre-shared keys in TOML, known peers, the key log, identities and certificates in PEM.

Those that are read by path stand in memory's own file system, where there is one. Byte 0 chooses the
file; the rest is what stands in it. Only the documented errors may come out, and none shows a key.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from fuzz.checks import Finding, check_text
from fuzz.people import DID, IDENTITIES, KEYS, SECRETS, certificates
from nautilus_anyio import KnownPeersFile
from nautilus_anyio.psk_file import load_psks
from nautilus_anyio.stores import StoreError
from nautilus_core import INITIATOR, RESPONDER, Identity
from nautilus_core.crypto.key_log import read_key_log
from nautilus_core.identity.x509 import certificates_in, names_in

_MEMORY: Final = Path("/dev/shm")  # a disk would be most of what an execution costs
_KEY: Final = KEYS[INITIATOR]
_SECRET: Final = bytes(range(0x60, 0x80))


@cache
def _file() -> Path:
    made = tempfile.mkdtemp(prefix="nautilus-fuzz-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None)
    return Path(made) / "file"


def _write(data: bytes) -> Path:
    path = _file()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    return path


def _psks(data: bytes) -> None:
    try:
        found = load_psks(_write(data))
    except ValueError as error:
        check_text(error, [_SECRET])
        if repr(_SECRET.hex()[8:40])[1:-1] in str(error):
            raise Finding(f"an error that shows a part of a key: {error}") from error
        return
    for psk in found.psks:
        if not 16 <= len(psk.key) <= 1024 or psk.key.hex() in repr(psk):
            raise Finding(f"{psk!r}")


def _known_peers(data: bytes) -> None:
    known = KnownPeersFile(_write(data))
    me, other = (IDENTITIES[role].peer_id for role in (INITIATOR, RESPONDER))
    try:
        before = known.entries()
        for name, peer_id in before[:5]:
            if peer_id not in known.lookup(name) or not known.where(name):
                raise Finding(f"{name!r} has no {peer_id}")
        named = bool(before and before[0][0])
        name = before[0][0] if named else "a new name\u00e9 #%"
        known.remember(name, me)
        known.remember(name, other)
        after = known.entries()
    except StoreError as error:
        check_text(error, ())
        if _file().read_bytes() != data:
            raise Finding("a file that is refused was changed") from error
        return
    if after[: len(before)] != before or not {me, other} <= known.lookup(name):
        raise Finding(f"{before} became {after}")


def _key_log(data: bytes) -> None:
    try:
        for (label, _), secret in read_key_log(data.split(b"\n")).items():
            if not label.startswith("NAUTILUS_") or not isinstance(secret, bytes):
                raise Finding(f"{label!r} in a key log")
    except ValueError as error:
        check_text(error, [_SECRET])


def _pem(data: bytes) -> None:
    """Identities and authorities: a whole one, or `ValueError`."""
    for parse in (Identity.from_pem, lambda pem: [names_in(one) for one in certificates_in(pem)]):
        try:
            parse(data)
        except ValueError as error:
            check_text(error, [_SECRET, SECRETS[INITIATOR]])


FILES: Final[list[Callable[[bytes], None]]] = [_psks, _known_peers, _key_log, _pem]


def one_input(data: bytes) -> None:
    """One input; raises whatever is not documented."""
    if data:
        FILES[data[0] % len(FILES)](data[1:])


def mutate(data: bytes, choose: random.Random) -> bytes | None:
    """Lines swapped, doubled, or left out."""
    if not data:
        return None
    lines = data[1:].split(b"\n")
    place, other = choose.randrange(len(lines)), choose.randrange(len(lines))
    match choose.randrange(3):
        case 0:
            lines[place], lines[other] = lines[other], lines[place]
        case 1:
            lines.insert(place, lines[other])
        case _:
            del lines[place]
    return data[:1] + b"\n".join(lines)


def seeds() -> dict[str, bytes]:
    """One file of each sort, whole, and some that are wrong."""
    entry = f'identity = "link"\nkey = "{_SECRET.hex()}"\ninitiator = "a"\nresponder = "b"\n'
    psks = f'name = "a"\n[[psk]]\n{entry}[[psk]]\n{entry}hash = "SHA256"\n'
    peer = IDENTITIES[INITIATOR].peer_id
    known = f"# a comment\n\nhost.example:7000 {peer}\n[::1]:7000 {peer} 2030-06-01\nwith%20space {peer} 2030-06-01 5dc2ad92\n"
    log = f"# a log\nCLIENT_RANDOM 00 11\nNAUTILUS_I_TRAFFIC_SECRET_0 {bytes(32).hex()} {_SECRET.hex()}\n"
    pem = b"".join(certificates()[name].public_bytes(Encoding.PEM) for name in ("initiator", "middle"))
    key = Identity(_KEY).to_pem()
    return {
        "pem": b"\x03" + key + pem,
        "pem-other": b"\x03" + key,
        "pem-did": b"\x03" + Identity(_KEY).with_did(DID).to_pem(),
        "psks": b"\0" + psks.encode(),
        "psks-short": b"\0" + psks.replace(_SECRET.hex(), "00").encode(),
        "psks-not-hexadecimal": b"\0" + psks.replace("60", "xy").encode(),
        "psks-no-toml": b"\0" + psks.replace("[[psk]]", "[[psk").encode(),
        "known-peers": b"\x01" + known.encode(),
        "known-peers-no-check": b"\x01" + known.replace(" 5dc2ad92", "").encode(),
        "known-peers-empty": b"\x01",
        "key-log": b"\x02" + log.encode(),
        "key-log-damaged": b"\x02" + log.replace("6061", "xyz").encode(),
    }
