"""Files of pre-shared keys, in TOML, for their owner's eyes alone. What such a key is and does is the core's."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from nautilus_core import PreSharedKey

from .stores import check_private

_MAX_BYTES: Final = 1 << 20
_UNKNOWN_FIELD: Final = re.compile(r"unknown field `.*?`(?= - at `\$\.psk\[\d+\]`$|$)", re.DOTALL)
_PLACE: Final = re.compile(r"\(at [a-z0-9, ]+\)$")
"""What errors say of a file may quote it, and a key could stand in the place of a name: of this nothing is shown."""


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    identity: str
    key: str
    initiator: str
    responder: str
    hash: str = "SHA384"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    psk: list[_Entry]


@dataclass(frozen=True, slots=True)
class PskFile:
    """What a file of pre-shared keys says: the name of this side, and the keys."""

    name: str
    psks: tuple[PreSharedKey, ...]

    @property
    def arguments(self) -> dict[str, Any]:
        """The same as arguments of `profiles.nautilus`."""
        return {"psks": self.psks, "psk_name": self.name}


def load_psks(path: str | os.PathLike[str]) -> PskFile:
    """The pre-shared keys in `path`, as `docs/binding.md` has the format.

    Raises:
        StoreError: there are some, but others can read the file.
        ValueError: this is no such file; says where, and never what stands there as a key.
        OSError: the file cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:  # and not its first part, with some of the keys
        raise ValueError(f"{path}: over {_MAX_BYTES} bytes: this is no file of pre-shared keys")
    try:
        content = msgspec.convert(tomllib.loads(data.decode()), _File)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: this is no text: expected a TOML file of pre-shared keys") from error
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        where = f" {place[0]}" if place else ""
        raise ValueError(f"{path}: this is no TOML{where}") from None  # the cause holds the text, keys and all
    except msgspec.ValidationError as error:
        what = _UNKNOWN_FIELD.sub("unknown field", str(error))
        raise ValueError(
            f"{path}: {what}; expected name, and [[psk]] with identity, key, initiator, responder"
        ) from None
    check_private(path, found, "pre-shared key")
    psks = tuple([_psk(f"{path}: psk {number}", entry) for number, entry in enumerate(content.psk, 1)])
    return PskFile(content.name, psks)


def _psk(where: str, entry: _Entry) -> PreSharedKey:
    try:
        key = bytes.fromhex(entry.key)
    except ValueError:
        raise ValueError(f"{where}: its key is not hexadecimal") from None
    try:
        return PreSharedKey(entry.identity, key, initiator=entry.initiator, responder=entry.responder, hash=entry.hash)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
