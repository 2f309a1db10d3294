"""Opens what is sealed in a transcript, with a key log: for people who look at it. It checks nothing; `replay` does that."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from .. import alerts, records
from ..crypto.key_log import Keys, handshake_label, read_key_log, traffic_label
from ..crypto.suites import CipherSuite
from ..crypto.traffic_key import TrafficKey
from ..errors import HandshakeError, InvalidMessage
from ..frames import ALERT, CONTROL, DATA, HANDSHAKE, HEADER_LENGTH, SEALED_ALERT
from ..role import Role
from ..steps.cipher_suite import SuiteSelection
from ..steps.hello import Hello
from ..steps.noise_suite import suite_named
from .lines import Frame, Received, Sent, TranscriptError
from .pieces import MESSAGES
from .reader import Transcript

_KINDS: Final = {
    HANDSHAKE: "handshake",
    ALERT: "alert",
    DATA: "data",
    CONTROL: "control",
    SEALED_ALERT: "sealed alert",
}
_DECODERS: Final = {name: msgspec.msgpack.Decoder(message).decode for name, message in MESSAGES.items()}
_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


@dataclass(frozen=True, slots=True)
class OpenedFrame:
    """One frame of `nautilus/1`, as far as it could be opened and decoded.

    Attributes:
        line: of the transcript, from 1: the one whose bytes completed the frame.
        sender: who sent it.
        kind: `handshake`, `alert`, `data`, `control` or `sealed alert`.
        step: whose message it is; None where it is none, or was not accepted.
        size: of the whole frame, in bytes.
        label: of the secret that opened it, as in the key log; None where it was not sealed, or does not open.
        body: what was in it; None where it does not open.
        message: the same decoded: the typed struct of a built-in step or of a control record, a list for a step of the user's,
            the `PeerAborted` that an alert becomes; None for data, and for what is malformed.
    """

    line: int
    sender: Role
    kind: str
    step: str | None
    size: int
    label: str | None
    body: bytes | None
    message: Any


def opened(transcript: Transcript, key_log: Iterable[bytes]) -> Iterator[OpenedFrame]:
    """Every whole frame of a transcript, in order, with what is in it.

    Args:
        transcript: of either side; with secrets or without.
        key_log: the lines of the log, of either side; those of other sessions are passed over.

    Raises:
        TranscriptError: its framing is not `nautilus/1`; it has sealed frames, and the log has no secret of its session.
        ValueError: the key log is damaged.
    """
    if transcript.header.framing != "nautilus/1":
        raise TranscriptError(f"only nautilus/1 has a key log, and this is {transcript.header.framing}")
    return _Opening(transcript, read_key_log(key_log)).frames()


class _Direction:
    """What one side sends: the bytes that are no whole frame yet, the steps whose messages come, the keys."""

    def __init__(self, sender: Role, transcript: Transcript) -> None:
        self.sender = sender
        self.data = bytearray()
        self.messages = deque(line for line in transcript.lines if isinstance(line, Frame) and line.sender is sender)
        self.handshake_key: TrafficKey | None = None
        self.record_key: TrafficKey | None = None
        self.updates = 0

    def take(self) -> Iterator[bytes]:
        """The frames that are whole."""
        while len(self.data) >= HEADER_LENGTH:
            end = HEADER_LENGTH + int.from_bytes(self.data[1:HEADER_LENGTH], "big")
            if len(self.data) < end:
                return
            frame = bytes(self.data[:end])
            del self.data[:end]
            yield frame


class _Opening:
    """Goes through one transcript."""

    def __init__(self, transcript: Transcript, keys: Keys) -> None:
        self._transcript = transcript
        self._keys = keys
        self._directions = {role: _Direction(role, transcript) for role in Role}
        self._random = b""
        self._suite: CipherSuite | None = None
        self._found = False
        self._line = 0

    def frames(self) -> Iterator[OpenedFrame]:
        own = self._transcript.header.role
        for number, line in enumerate(self._transcript.lines, 2):
            self._line = number
            if isinstance(line, (Received, Sent)):
                direction = self._directions[own if isinstance(line, Sent) else own.peer]
                direction.data += line.data
                for frame in direction.take():
                    yield self._frame(direction, frame)

    def _frame(self, direction: _Direction, frame: bytes) -> OpenedFrame:
        kind, head, body = frame[0], frame[:HEADER_LENGTH], frame[HEADER_LENGTH:]
        listed = direction.messages.popleft() if kind == HANDSHAKE and direction.messages else None
        label, content = None, None
        if kind == ALERT or (listed is not None and not listed.sealed):
            content = body
        elif kind in _KINDS:
            label, content = self._open(direction, kind, head, body)
            if label is None and kind == HANDSHAKE and direction.handshake_key is None:
                content = body  # a message that was not accepted, before anything was sealed
        message = None if content is None else self._decoded(direction, kind, content, sealed=label is not None)
        name = _KINDS.get(kind, f"0x{kind:02x}")
        step = None if listed is None else listed.step
        return OpenedFrame(self._line, direction.sender, name, step, len(frame), label, content, message)

    def _open(self, direction: _Direction, kind: int, head: bytes, body: bytes) -> tuple[str | None, bytes | None]:
        """The label of the secret that opens a frame, and what is in it."""
        self._find_keys()
        sender = direction.sender
        tried = []
        if kind != HANDSHAKE:
            tried.append((traffic_label(sender, direction.updates), direction.record_key))
        if kind in (HANDSHAKE, SEALED_ALERT):  # with the latter a responder refuses under either
            tried.append((handshake_label(sender), direction.handshake_key))
        for label, key in tried:
            if key is not None:
                try:
                    return label, key.open(body, head)
                except InvalidMessage:
                    continue
        return None, None

    def _find_keys(self) -> None:
        """At the first frame that may be sealed: make the keys of this session."""
        if self._suite is None or self._found:
            return
        self._found = True
        sealed = any(isinstance(line, Frame) and line.sealed for line in self._transcript.lines)
        for sender, direction in self._directions.items():
            secrets = [
                self._keys.get((label, self._random)) for label in (handshake_label(sender), traffic_label(sender, 0))
            ]
            direction.handshake_key, direction.record_key = [
                None if secret is None else TrafficKey(self._suite, secret) for secret in secrets
            ]
            if sealed and secrets == [None, None]:
                raise TranscriptError(f"the key log has no secret of this session: hello random {self._random.hex()}")

    def _decoded(self, direction: _Direction, kind: int, body: bytes, *, sealed: bool) -> Any:
        try:
            if kind == HANDSHAKE:
                return self._message(body)
            if kind == CONTROL:
                control = records.decode_control(body)
                if isinstance(control, records.KeyUpdate) and direction.record_key is not None:
                    direction.record_key = direction.record_key.updated()
                    direction.updates += 1
                return control
            return None if kind == DATA else alerts.decode(body, authenticated=sealed)
        except (*_ERRORS, HandshakeError):
            return None

    def _message(self, body: bytes) -> Any:
        parts = msgspec.msgpack.decode(body)
        name = parts[0] if isinstance(parts, list) and parts else None
        decode = _DECODERS.get(name) if isinstance(name, str) else None
        message = parts if decode is None else decode(body)
        if isinstance(message, Hello) and not self._random:
            self._random = message.nonce
        elif isinstance(message, SuiteSelection) and self._suite is None:
            self._suite = suite_named(message.suite)
        return message


__all__ = ["OpenedFrame", "opened"]
