"""A transcript without what nobody else may have: its secrets, and on demand its names. The bytes of the wire stay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final
from zlib import crc32

import msgspec

from ..role import Role
from ..steps.hello import TARGET
from .lines import (
    Aborted,
    Answered,
    AnyLine,
    Asked,
    Called,
    Completed,
    Drawn,
    End,
    Failed,
    Happened,
    LineWriter,
    Received,
    Sent,
    Skipped,
)
from .pieces import pieces_of
from .reader import Transcript

WITHHELD: Final = "withheld"

_PUBLIC: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "PeerIdentified": frozenset({"peer", "name"}),
        "ResolveIdentity": frozenset({"did"}),
        "SignatureNeeded": frozenset({"public_key", "scheme", "content"}),
        "DataReceived": frozenset({"records"}),
        "KeyUpdated": frozenset({"sender"}),
        "PeerClosed": frozenset({"authenticated"}),
    }
)
"""The fields of the library's own events, which every transcript shows. All others come only with secrets."""

_ADDRESSES: Final = re.compile(
    r"key:[a-z2-7]{52}|did:\S+|(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?|\[?(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}\]?(?::\d+)?"
    r"|\b(?:CN|OU|O|L|ST|C|DC)=[^,;]+|[\w-]+(?:\.[\w-]+)+(?::\d+)?|\w[\w.-]*:\d+"
)
"""What looks like a peer id, a DID, an address, a subject of a certificate, or the name of a machine."""
_encode: Final = msgspec.msgpack.encode
_ABOUT_PSKS: Final = ("psk-offer", "psk-binders", "psk")


def redact(transcript: Transcript, *, names: bool = False) -> Transcript:
    """The transcript as if it had been recorded without secrets: it reads, shows and replays publicly.

    Args:
        transcript: it is not changed.
        names: whether who talked is taken out as well: peer ids, names and addresses in texts and questions, the target in the
            hello, the identities of pre-shared keys. What a step, an extension or a Noise message of the user's says in the
            clear stays.
    """
    header = msgspec.structs.replace(transcript.header, secrets=False)
    lines: Iterable[AnyLine] = [public_line(line) for line in transcript.lines if not isinstance(line, Drawn)]
    result = Transcript(header, tuple(lines), transcript.whole)
    return _without_names(result) if names else result


def to_bytes(transcript: Transcript) -> bytes:
    """The bytes of a transcript's file, with new checks.

    Raises:
        TranscriptError: it is longer than a reader takes in.
    """
    data: list[bytes] = []
    put = LineWriter(data.append)
    for line in (transcript.header, *transcript.lines):
        put(line)
    return b"".join(data)


def public_values(event: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of the recorded fields of an event, what is there without secrets."""
    known = _PUBLIC.get(event, frozenset())
    return {name: _lengths(value) for name, value in values.items() if name in known}


def _lengths(value: Any) -> Any:
    """Bytes as their length alone."""
    if isinstance(value, Mapping):
        return {name: inner for name, inner in value.items() if name in ("length", "type")}
    return [_lengths(one) for one in value] if isinstance(value, (list, tuple)) else value


def public_line(line: AnyLine) -> AnyLine:
    """A line as it would be without secrets; a draw has none, and is the caller's to leave out."""
    match line:
        case Happened():
            return msgspec.structs.replace(line, values=public_values(line.event, line.values))
        case Asked():
            return msgspec.structs.replace(line, values=public_values(line.question, line.values))
        case Answered() if line.verdict == "value" and line.value is not None:
            kind = "bytes" if isinstance(line.value, dict) else type(line.value).__name__
            return msgspec.structs.replace(line, verdict=WITHHELD, value=None, reason=kind)
        case Called():
            return msgspec.structs.replace(line, data=None)
        case _:
            return line


# ------------------------------------------------------------------ names


def _without_names(transcript: Transcript) -> Transcript:
    clear = list(_names_in_the_clear(transcript))
    known = {name for line in transcript.lines for name in _names(line)}
    known |= {name.decode(errors="replace") for _, _, name in clear}
    shorter_last = sorted(known, key=len, reverse=True)
    lines = [_anonymous(line, shorter_last) for line in transcript.lines]
    for sender, begin, name in clear:
        _overwrite(transcript, lines, sender, begin, len(name))
    return Transcript(transcript.header, with_sums(lines), transcript.whole)


def with_sums(lines: Iterable[AnyLine]) -> tuple[AnyLine, ...]:
    """Lines whose last one, if it is one, says how many bytes the others hold, and their checks."""
    lines = tuple(lines)
    if not lines or not isinstance(lines[-1], End):
        return lines
    came, went = (b"".join([line.data for line in lines if isinstance(line, kind)]) for kind in (Received, Sent))
    end = msgspec.structs.replace(
        lines[-1], received=len(came), sent=len(went), received_check=crc32(came), sent_check=crc32(went)
    )
    return (*lines[:-1], end)


def _names(line: AnyLine) -> list[str]:
    """Whom a line names."""
    if isinstance(line, Completed):
        named = [line.peer, line.identifier, line.psk, *line.names]
        return [name for name in named if name and name != "anonymous"]
    if isinstance(line, Asked) and line.question in ("PeerIdentified", "ResolveIdentity"):
        return [name for name in line.values.values() if isinstance(name, str) and name and name != "anonymous"]
    return []


def _anonymous(line: AnyLine, names: list[str]) -> AnyLine:
    if isinstance(line, Completed):
        peer = line.peer if line.peer == "anonymous" else WITHHELD
        psk, identifier = (None if name is None else WITHHELD for name in (line.psk, line.identifier))
        return msgspec.structs.replace(
            line, peer=peer, psk=psk, identifier=identifier, names=(WITHHELD,) * len(line.names)
        )
    if isinstance(line, Asked):
        return msgspec.structs.replace(line, values={name: WITHHELD for name, value in line.values.items() if value})
    if isinstance(line, (Failed, Aborted, Answered, Skipped)):
        texts = [name for name in ("message", "expected", "received", "hint", "reason") if hasattr(line, name)]
        changed: dict[str, Any] = {name: _scrubbed(getattr(line, name), names) for name in texts}
        if isinstance(line, Failed) and line.step in _ABOUT_PSKS:  # it names keys and nodes in words of their own
            changed |= {name: WITHHELD for name in ("expected", "received") if changed[name] is not None}
        return msgspec.structs.replace(line, **changed)
    return line


def _scrubbed(text: str | None, names: list[str]) -> str | None:
    if text is None:
        return None
    for name in names:
        text = text.replace(name, WITHHELD)
    return _ADDRESSES.sub(WITHHELD, text)


def _names_in_the_clear(transcript: Transcript) -> Iterator[tuple[Role, int, bytes]]:
    """Whom the initiator wants, and which pre-shared keys it has: the sender, where among its bytes each stands, and itself."""
    before = dict.fromkeys(Role, 0)
    for piece in pieces_of(transcript):
        said: list[tuple[bytes, int, bytes]] = []
        if piece.step == "hello":
            target = dict(piece.fields.get("extensions", ())).get(TARGET)
            said = [(encoded := _encode((TARGET, target)), len(encoded) - len(target), target)] if target else []
        elif piece.step == "psk-offer":
            names = [(_encode(psk), _encode(psk[0]), psk[0].encode()) for psk in piece.fields.get("psks", ())]
            said = [(encoded, 1 + len(name) - len(plain), plain) for encoded, name, plain in names]
        for encoded, skipped, name in said:
            found = piece.data.find(encoded)
            begin = piece.data.find(name) if found < 0 else found + skipped  # a peer may encode otherwise than we do
            yield piece.sender, before[piece.sender] + begin, name
        before[piece.sender] += len(piece.data)


def _overwrite(transcript: Transcript, lines: list[AnyLine], sender: Role, begin: int, size: int) -> None:
    """Put `size` letters over what `sender` sent from its byte `begin` on."""
    kind = Sent if sender is transcript.header.role else Received
    for number, line in enumerate(lines):
        if isinstance(line, kind):
            data = bytearray(line.data)
            for place in range(max(begin, 0), min(begin + size, len(data))):
                data[place] = ord("x")
            lines[number] = msgspec.structs.replace(line, data=bytes(data))
            begin -= len(data)
