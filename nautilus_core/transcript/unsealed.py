"""What both ends put on the wire, and what was sealed in it: by the secrets in the transcript, or by a key log."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from ..errors import PeerAborted, alert_meaning
from ..frames import HEADER_LENGTH
from ..role import Role
from .lines import TranscriptError
from .opened import OpenedFrame, opened
from .pieces import MESSAGES, Piece, elements, pieces_of
from .reader import Transcript
from .unsealing import handshake_key_log


def unsealed(transcript: Transcript, key_log: Iterable[bytes] | None = None) -> list[Piece]:
    """The pieces of a transcript of `nautilus/1`, with what is `inside` of those that were sealed.

    Args:
        transcript: of either side.
        key_log: the lines of a log; by default the secrets in the transcript, which open the handshake and not its channel.

    Raises:
        TranscriptError: it holds no secrets and there is no log, or they do not open it.
        ValueError: the key log is damaged.
    """
    pieces = pieces_of(transcript)
    if key_log is None:
        if not transcript.header.secrets:
            raise TranscriptError("the transcript holds no secrets: what was sealed opens with a key log alone")
        key_log = handshake_key_log(transcript, _in_the_clear(pieces))
        nautilus = transcript.header.framing == "nautilus/1"
        if nautilus and not key_log and any(piece.sealed and piece.step is not None for piece in pieces):
            raise TranscriptError(
                "the secrets in the transcript do not open it: only suites of nautilus/1 are opened here"
            )
    waiting: dict[Role, deque[OpenedFrame]] = {role: deque() for role in Role}
    for frame in opened(transcript, key_log):
        waiting[frame.sender].append(frame)
    return [_opened(piece, waiting[piece.sender]) for piece in pieces]


def _in_the_clear(pieces: Iterable[Piece]) -> list[tuple[bytes, Any]]:
    found: list[tuple[bytes, Any]] = []
    for piece in pieces:
        if piece.kind == "message" and piece.step is not None and not piece.sealed:
            message = None
            if piece.step in MESSAGES and piece.fields:  # it has been decoded once
                message = msgspec.msgpack.decode(piece.data[HEADER_LENGTH:], type=MESSAGES[piece.step])
            found.append((piece.data, message))
    return found


def _opened(piece: Piece, frames: deque[OpenedFrame]) -> Piece:
    """The piece with what its frame holds; frames come in the order of the pieces, unless a stranger has made the transcript."""
    if piece.kind == "rest" or not frames or frames[0].size != len(piece.data):
        return piece
    frame = frames.popleft()
    if frame.label is None or frame.body is None:
        return piece
    return replace(piece, inside=frame.body, fields=_fields(frame))


def _fields(frame: OpenedFrame) -> Mapping[str, Any]:
    message: Any = frame.message
    if isinstance(message, PeerAborted):
        code = message.code or 0
        fields = {"code": code, "meaning": alert_meaning(code)}
        return fields if message.retry_after is None else fields | {"retry_after": message.retry_after}
    if isinstance(message, msgspec.Struct):
        fields = {name: getattr(message, name) for name in message.__struct_fields__}
        return fields if frame.kind == "handshake" else {"says": message.__struct_config__.tag, **fields}
    return elements(message) if isinstance(message, list) else {"data": frame.body}
