"""What both ends put on the wire, cut into messages, alerts and records, and decoded where not sealed. Checks nothing.

A transcript is input from anywhere: whatever it holds, it can be cut into pieces; what is no message is one of kind `rest`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import msgspec

from .. import alerts
from ..errors import HandshakeError, alert_meaning
from ..frames import ALERT, CONTROL, DATA, HANDSHAKE, HEADER_LENGTH, SEALED_ALERT
from ..role import Role
from ..steps.authentication import InitiatorProof, ResponderProof
from ..steps.cipher_suite import SuiteOffer, SuiteSelection
from ..steps.hello import Hello, HelloSelection
from ..steps.key_agreement import InitiatorShare, ResponderShare, RetriedShare
from ..steps.psk import PskBinders, PskOffer, PskSelection
from ..steps.session_keys import InitiatorFinished, ResponderFinished
from .lines import MAX_LINES, Frame, Header, Received, Sent
from .reader import Transcript

MESSAGES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        str(message.__struct_config__.tag): message
        for message in (
            Hello,
            SuiteOffer,
            InitiatorShare,
            PskOffer,
            PskBinders,
            HelloSelection,
            SuiteSelection,
            PskSelection,
            ResponderShare,
            RetriedShare,
            ResponderProof,
            ResponderFinished,
            InitiatorProof,
            InitiatorFinished,
        )
    }
)
_KINDS: Final[Mapping[int, str]] = MappingProxyType(
    {HANDSHAKE: "message", ALERT: "alert", SEALED_ALERT: "sealed alert", CONTROL: "control record", DATA: "data record"}
)
_NOISE_KEYS: Final[Mapping[str, int]] = MappingProxyType({"25519": 32, "448": 56})
_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, TypeError)
_NO_FIELDS: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one sender that belong together.

    Attributes:
        kind: `message`, `alert`, `sealed alert`, `control record`, `data record`, `record` of another protocol, or `rest`.
        sender: who sent it.
        step: of a message that was accepted, its step's name; else None.
        line: the number of the transcript's line at which it was accepted; where it was not, that of its last byte, and not
            before the messages that were.
        flight: in which it began, from 1; 0 for a message whose bytes are not there.
        at: microseconds at that line; None without a clock.
        offset: of its first byte in that flight.
        data: its bytes, header included.
        sealed: whether it was encrypted.
        fields: what it says, by name, where that can be read; else empty.
        inside: what was sealed in it, where it was opened; see `unsealed`.
    """

    kind: str
    sender: Role
    step: str | None
    line: int
    flight: int
    at: int | None
    offset: int
    data: bytes
    sealed: bool
    fields: Mapping[str, Any]
    inside: bytes | None = None


class _Wire:
    """All that one end sent, with the lines in which it stands."""

    def __init__(self, transcript: Transcript, sender: Role) -> None:
        kind = Sent if sender is transcript.header.role else Received
        self.sender = sender
        self.position = 0
        self.last = 0
        """The line of the last message that was accepted."""
        self._starts: list[int] = []
        self._places: list[tuple[int, int, int | None, int]] = []
        data = bytearray()
        begun: dict[int, int] = {}
        for number, line in enumerate(transcript.lines, 2):
            if isinstance(line, kind) and line.data:
                begin = begun.setdefault(line.flight, len(data))
                self._starts.append(len(data))
                self._places.append((number, line.flight, line.at, begin))
                data += line.data
        self._data = bytes(data)

    def left(self) -> memoryview:
        return memoryview(self._data)[self.position :]

    def take(self, size: int) -> bytes:
        """The next bytes; fewer where there are no more."""
        taken = self._data[self.position : self.position + max(size, 0)]
        self.position += len(taken)
        return taken

    def place(self, offset: int) -> tuple[int, int, int | None, int]:
        """Of the byte `offset`: line, flight, time, and where its flight begins."""
        found = bisect_right(self._starts, offset) - 1
        return self._places[found] if 0 <= offset < len(self._data) else (0, 0, None, 0)


def pieces_of(transcript: Transcript) -> list[Piece]:
    """All that went over the wire, in the order of the lines where it was accepted or came to its end."""
    wires = {role: _Wire(transcript, role) for role in Role}
    framing = transcript.header.framing
    pieces: list[Piece] = []
    for number, line in enumerate(transcript.lines, 2):
        if isinstance(line, Frame):
            wire = wires[line.sender]
            begin = wire.position
            data = wire.take(line.size)
            _, flight, _, start = wire.place(begin)
            fields = _NO_FIELDS if line.sealed else _decoded(line.step, data, transcript.header)
            pieces.append(
                Piece(
                    kind="message",
                    sender=line.sender,
                    step=line.step,
                    line=number,
                    flight=flight,
                    at=line.at,
                    offset=begin - start,
                    data=data,
                    sealed=line.sealed,
                    fields=fields,
                )
            )
            wire.last = number
    for wire in wires.values():
        pieces.extend(_rest(wire, framing))
    return sorted(pieces, key=lambda piece: piece.line)


def _rest(wire: _Wire, framing: str) -> Iterator[Piece]:
    """What follows the last message that was accepted."""
    number = 0
    while left := wire.left():
        number += 1
        size, kind = len(left), "rest"
        if number > MAX_LINES:  # nobody looks at more; an empty record takes four bytes
            pass
        elif framing == "nautilus/1" and len(left) >= HEADER_LENGTH and left[0] in _KINDS:
            size, kind = HEADER_LENGTH + int.from_bytes(left[1:HEADER_LENGTH], "big"), _KINDS[left[0]]
        elif framing == "length-prefixed" and len(left) >= 2:
            size, kind = 2 + int.from_bytes(left[:2], "big"), "record"
        if size > len(left):
            size, kind = len(left), "rest"
        begin = wire.position
        data = wire.take(size)
        _, flight, _, start = wire.place(begin)
        line, _, at, _ = wire.place(wire.position - 1)
        yield Piece(
            kind=kind,
            sender=wire.sender,
            step=None,
            line=max(line, wire.last),
            flight=flight,
            at=at,
            offset=begin - start,
            data=data,
            sealed=kind not in ("message", "alert", "rest"),
            fields=_alert(data) if kind == "alert" else _NO_FIELDS,
        )


def _decoded(step: str, data: bytes, header: Header) -> Mapping[str, Any]:
    """The fields of a message that is not sealed; of a step that is not the library's, the elements of its array."""
    if header.framing == "length-prefixed":
        return _noise(step, data[2:], header.profile)
    if header.framing != "nautilus/1":
        return _NO_FIELDS
    body = data[HEADER_LENGTH:]
    try:
        if step in MESSAGES:
            message = msgspec.msgpack.decode(body, type=MESSAGES[step])
            return {name: getattr(message, name) for name in message.__struct_fields__}
        found = msgspec.msgpack.decode(body, type=list[Any])
    except _ERRORS:
        return _NO_FIELDS
    return elements(found)


def elements(found: list[Any]) -> Mapping[str, Any]:
    """The elements of a message's array by their places, but for its name."""
    return {f"[{place}]": _shallow(element) for place, element in enumerate(found) if place}


def _shallow(value: Any, depth: int = 6) -> Any:
    """A value of the user's without what is nested too deep to be shown."""
    if not isinstance(value, (list, dict)):
        return value
    if depth == 0:
        return "..."
    if isinstance(value, dict):
        return {str(name)[:64]: _shallow(inner, depth - 1) for name, inner in value.items()}
    return [_shallow(one, depth - 1) for one in value]


def _noise(step: str, body: bytes, profile: str) -> Mapping[str, Any]:
    """The public keys and the payload of a Noise message in the clear, whose step is named after its tokens."""
    arrow, _, tokens = step.partition(" ")
    size = next((size for name, size in _NOISE_KEYS.items() if f"_{name}_" in profile), 0)
    if not size or arrow not in ("->", "<-"):
        return _NO_FIELDS
    fields: dict[str, Any] = {}
    for token in tokens.split(", "):
        if token in ("e", "s"):
            fields[token], body = body[:size], body[size:]
    return fields | {"payload": body}


def _alert(data: bytes) -> Mapping[str, Any]:
    try:
        error = alerts.decode(data[HEADER_LENGTH:], authenticated=False)
    except HandshakeError:
        return _NO_FIELDS
    code = error.code or 0
    fields: dict[str, Any] = {"code": code, "meaning": alert_meaning(code)}
    if error.retry_after is not None:
        fields["retry_after"] = error.retry_after
    return fields
