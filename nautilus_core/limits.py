"""How much a peer may send. Only the numbers live here; the stream and the channel enforce them."""

from __future__ import annotations

from dataclasses import dataclass

MAX_RECORD: int = 65_532


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a handshake and its channel.

    Args:
        message: the body of one handshake frame, in bytes, sealed or not; at least 4096.
        handshake: all handshake frames that are received, in bytes.
        messages: the number of handshake messages of both directions together; only steps of several messages reach it.
        record: the ciphertext of one channel record, in bytes, 64 to 65,532. This end sends and accepts no longer ones, so
            both ends must have the same.
        held: what the responder holds, in bytes, of data that comes before it has decided.

    Raises:
        ValueError: for a number that no handshake could live with.
    """

    message: int = 65_536
    handshake: int = 262_144
    messages: int = 256
    record: int = MAX_RECORD
    held: int = 262_144

    def __post_init__(self) -> None:
        if not 4096 <= self.message < 2**24:
            raise ValueError("limits: message is 4096 to 16,777,215 bytes")
        if not 64 <= self.record <= MAX_RECORD:
            raise ValueError(f"limits: record is 64 to {MAX_RECORD} bytes")
        if self.handshake < self.message or self.messages < 1 or self.held < 0:
            raise ValueError("limits: handshake is at least message, messages at least 1, held at least 0")


DEFAULT_LIMITS = Limits()
