"""The lines of a transcript as `transcript show` has them: what each says, decoded, with its bytes beside it. Pure."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

import msgspec

from nautilus_core.transcript import AnyLine, Piece, Transcript
from nautilus_core.transcript.lines import (
    Aborted,
    Answered,
    Asked,
    Called,
    Completed,
    Drawn,
    End,
    Failed,
    Frame,
    Happened,
    Header,
    Received,
    Sent,
    Skipped,
)
from nautilus_core.transcript.redaction import public_line

from ...pictures.words import field_text, printable, shown_time

_ROW: Final = 16
_HEX: Final = 4 + 2 + 3 * _ROW
_SIDE_BY_SIDE: Final = 100
"""Columns of a terminal from which on bytes stand beside what they mean."""
_MOST_BYTES: Final = 128
_MOST_LETTERS: Final = 300
_INDENT: Final = 6

StyledLine = tuple[str, str]
"""A line of text, and a style in the words of `rich`."""


def shown(transcript: Transcript, found: Sequence[Piece], width: int, *, full: bool) -> Iterator[StyledLine]:
    """The transcript, line by line.

    Args:
        transcript: it may hold secrets: they are not shown.
        found: its pieces, opened perhaps.
        width: columns of the terminal.
        full: whether long messages and values are shown to their end.
    """
    for number, line, pieces in _with_pieces(transcript, found):
        kind = type(line).__struct_config__.tag
        time = "" if line.at is None else f"+{shown_time(line.at)}"
        style = "bold red" if isinstance(line, Failed) else "bold green" if isinstance(line, Completed) else "bold"
        words = printable(_words(line), None if full else 1_000)
        yield f"{number:>5} {time:>10}  {kind:<9} {words}".rstrip(), style
        for piece in pieces:
            if piece.step is None:
                sealed = "" if piece.sealed else ", in the clear"
                what = f"{piece.kind} from the {piece.sender.value}, {len(piece.data):,} bytes{sealed}"
                yield f"{'':>{_INDENT}}{what}", "yellow"
            yield from _body(piece, width, full)


def shown_as_json(transcript: Transcript, found: Sequence[Piece]) -> Iterator[dict[str, Any]]:
    """The same for programs: an object for each line, with all bytes, in hex."""
    for number, line, pieces in _with_pieces(transcript, found):
        said = msgspec.to_builtins(public_line(line))
        said.pop("data", None)
        if isinstance(line, Drawn):
            said = {"kind": "draw", "what": line.what, "secret": True}
        if isinstance(line, (Received, Sent)):
            said["size"] = len(line.data)
        if isinstance(line, Completed):
            said["handshake_hash"] = line.handshake_hash.hex()
        told = [
            {
                "kind": piece.kind,
                "step": piece.step,
                "sender": piece.sender.value,
                "flight": piece.flight,
                "offset": piece.offset,
                "sealed": piece.sealed,
                "fields": {name: _plain(value) for name, value in piece.fields.items()},
                "hex": piece.data.hex(),
                **({} if piece.inside is None else {"inside": piece.inside.hex()}),
            }
            for piece in pieces
        ]
        yield {"line": number, **said, **({"pieces": told} if told else {})}


def _with_pieces(transcript: Transcript, found: Sequence[Piece]) -> Iterator[tuple[int, AnyLine, list[Piece]]]:
    pieces: dict[int, list[Piece]] = defaultdict(list)
    for piece in found:
        pieces[piece.line].append(piece)
    for number, line in enumerate((transcript.header, *transcript.lines), 1):
        yield number, line, pieces.get(number, [])


def _words(line: AnyLine) -> str:
    """What a line says, but for its bytes."""
    match line:
        case Header():
            secrets = "with secrets" if line.secrets else "without secrets"
            text = f"{line.profile}, the {line.role.value}'s view, {secrets}, {line.framing} frames, {line.library}"
        case Received() | Sent():
            end = "" if line.data else ": the end of its stream"
            channel = ", channel" if line.channel else ""
            text = f"flight {line.flight}, {len(line.data):,} bytes{channel}{end}"
        case Frame():
            sealed = "sealed" if line.sealed else "in the clear"
            text = f"{line.step} from the {line.sender.value}, {line.size:,} bytes, {sealed}"
        case Skipped():
            text = f"{line.step}: {line.reason}"
        case Drawn():
            text = f"{line.what}: a secret of {len(line.data):,} bytes" + (f", {line.error}" if line.error else "")
        case Completed():
            named = [*(() if line.identifier is None else (line.identifier,)), *line.names]
            peer = f"{line.peer} ({', '.join(named)})" if named else line.peer
            text = f"{line.suite}, peer {peer}, protocol {line.protocol or 'none'}"
            text += "" if line.psk is None else f", pre-shared key {line.psk}"
        case End():
            text = f"{line.outcome}: {line.received:,} bytes in, {line.sent:,} bytes out"
        case _:
            text = _rare_words(line)
    return text


def _rare_words(line: AnyLine) -> str:
    public = public_line(line)
    match public:
        case Happened():
            text = f"{public.event} {_values(public.values)}"
        case Asked():
            text = f"{public.question} {_values(public.values)}"
        case Answered():
            text = " ".join(filter(None, (public.verdict, public.reason)))
        case Called():
            text = f"{public.what}, {public.size:,} bytes" if public.what == "send" else public.what
        case Aborted():
            text = f"{public.reason}, code {public.code}"
        case Failed():
            fields = ("step", "message", "expected", "received", "hint", "alert", "code")
            known = {name: getattr(public, name) for name in fields if getattr(public, name) is not None}
            text = f"{public.error} {_values(known)}"
        case _:
            text = ""
    return text


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {field_text(value)}" for name, value in values.items())


# ------------------------------------------------------------------ a message


def _body(piece: Piece, width: int, full: bool) -> Iterator[StyledLine]:
    """Its fields to the left and its bytes to the right, or one below the other where there is no room."""
    beside = width >= _SIDE_BY_SIDE
    room = max(30, width - _INDENT - (_HEX + 3 if beside else 0))
    fields = list(_fields(piece, room, full))
    rows = _hex(piece.data if piece.inside is None else piece.inside, full)
    indent = " " * _INDENT
    if beside:
        for left, right in zip_longest(fields, rows, fillvalue=""):
            yield f"{indent}{left:<{room}}   {right}".rstrip(), "green" if piece.sealed else "cyan"
    else:
        yield from ((f"{indent}{left}", "cyan") for left in fields)
        yield from ((f"{indent}{row}", "dim") for row in rows)


def _fields(piece: Piece, room: int, full: bool) -> Iterator[str]:
    if piece.inside is not None:
        yield f"sealed in {len(piece.data):,} bytes, opened:"
    elif piece.sealed:
        yield "sealed: it can be read by the two ends alone"
    for name, value in piece.fields.items():
        text = printable(f"{name}: {field_text(value)}", None if full else _MOST_LETTERS)
        yield from textwrap.wrap(text, room, subsequent_indent="  ")
    if not piece.sealed and not piece.fields and piece.data:
        yield "raw bytes"


def _hex(data: bytes, full: bool) -> list[str]:
    end = len(data) if full else min(len(data), _MOST_BYTES)
    rows = [f"{start:04x}  {data[start : min(start + _ROW, end)].hex(' ')}" for start in range(0, end, _ROW)]
    return rows if end == len(data) else [*rows, f"{len(data) - end:,} bytes more: --full"]


def _plain(value: Any) -> Any:
    """A decoded value as JSON has it: bytes in hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    fields = getattr(value, "__struct_fields__", None)
    if fields is not None:
        return {name: _plain(getattr(value, name)) for name in fields}
    value = getattr(value, "value", value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
