"""What the tests of the channel share: two ends made from fixed keys, and the delivery of bytes between them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    SUITES,
    Accepted,
    AlertCode,
    Channel,
    DataReceived,
    Event,
    HandshakeError,
    PeerAborted,
    PeerClosed,
    Role,
    SecureChannel,
    Signal,
)
from nautilus_core.crypto.traffic_key import TrafficKey

SUITE: Final = SUITES["X25519_AES128GCM_SHA256"]

DATA: Final = 0xE3
CONTROL: Final = 0xE4
SEALED_ALERT: Final = 0xE5


def key(name: str) -> TrafficKey:
    """The first traffic key of this name: `i_ap`, `r_ap` or `r_hs`."""
    return TrafficKey(SUITE, name.encode().ljust(32, b"."))


def end(role: Role, **options: Any) -> SecureChannel:
    """One end. The responder has not accepted, and the initiator is not confirmed."""
    if role is INITIATOR:
        return SecureChannel(role, writing=key("i_ap"), reading=key("r_ap"), rejection=key("r_hs"), **options)
    return SecureChannel(role, writing=key("r_ap"), reading=key("i_ap"), **options)


def ends(**options: Any) -> tuple[SecureChannel, SecureChannel]:
    """Both ends, accepted and confirmed."""
    initiator, responder = end(INITIATOR, **options), end(RESPONDER, **options)
    responder.accept()
    if deliver(responder, initiator) != [Accepted()]:
        raise RuntimeError("the acceptance did not arrive")
    return initiator, responder


class Forger:
    """Seals whatever it is told to, as an end that keeps to no rule: `key` is that end's traffic key."""

    def __init__(self, name: str = "i_ap", sequence: int = 0) -> None:
        self.key = key(name)
        self.key.sequence = sequence

    def frame(self, kind: int, body: bytes) -> bytes:
        """A sealed frame."""
        head = bytes((kind,)) + (len(body) + 16).to_bytes(3, "big")
        return head + self.key.seal(body, head)

    def data(self, payload: bytes) -> bytes:
        """A data record, which may be empty."""
        return self.frame(DATA, payload)

    def control(self, *fields: Any) -> bytes:
        """A control record with these fields."""
        return self.frame(CONTROL, msgspec.msgpack.encode(fields))

    def update(self, *, reply: bool = False) -> bytes:
        """A key update, made."""
        frame = self.control("key-update", reply)
        self.key = self.key.updated()
        return frame

    def alert(self, *fields: Any) -> bytes:
        """A sealed alert."""
        return self.frame(SEALED_ALERT, msgspec.msgpack.encode(fields))


def events(channel: Channel) -> list[Event]:
    """All events up to `NEED_DATA`, or through the first `PeerClosed`."""
    found: list[Event] = []
    while not isinstance(event := channel.next_event(), Signal):
        found.append(event)
        if isinstance(event, PeerClosed):
            break
    return found


def deliver(sender: Channel, receiver: Channel) -> list[Event]:
    """Move all that `sender` has to say; what `receiver` makes of it."""
    data = sender.data_to_send()
    if data:
        receiver.receive_data(data)
    return events(receiver)


def received(found: list[Event]) -> bytes:
    """The data in these events, as one."""
    return b"".join(event.data for event in found if isinstance(event, DataReceived))


def outcome(channel: Channel) -> tuple[list[Event], HandshakeError | None]:
    """All events, and the error that came after them, if one did."""
    found: list[Event] = []
    try:
        while not isinstance(event := channel.next_event(), Signal):
            found.append(event)
            if isinstance(event, PeerClosed):
                channel.next_event()  # the same again, or the error that something follows the close
                break
    except HandshakeError as error:
        return found, error
    return found, None


def frames(data: bytes | bytearray) -> list[bytes]:
    """Cut what travels into frames."""
    cut: list[bytes] = []
    while data:
        size = 4 + int.from_bytes(data[1:4], "big")
        cut.append(bytes(data[:size]))
        data = data[size:]
    return cut


def told(channel: Channel) -> AlertCode | int | None:
    """The code of the alert that ended the channel, or None when something else did."""
    _, error = outcome(channel)
    return error.code if isinstance(error, PeerAborted) else None
