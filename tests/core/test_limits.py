"""Each limit to the byte and to the message: what just fits, and what just does not."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from nautilus_core import PAUSED, RESPONDER, HandshakeError, Limits, LocalProtocolError, Stage

from .helpers import BUILT_IN, Talk, agreed, asking, both, note, run


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, False)])
def test_exactly_the_limit_is_held(more: int, fits: bool) -> None:
    initiating, responding = both(
        lambda profile: profile.insert_before("initiator-finished", asking()), limits=Limits(held=1000)
    )
    pair = run(initiating, responding)
    responder = pair.responder.handshake
    held = len(responder._stream.peek())
    responder.receive_data(bytes(1000 - held + more))
    if fits:
        assert responder.next_event() is PAUSED
    else:
        with pytest.raises(HandshakeError, match="too much before it was accepted"):
            responder.next_event()


@pytest.mark.parametrize(("more", "fits"), [(0, True), (-1, False)])
def test_exactly_the_limit_of_messages_is_used(more: int, fits: bool) -> None:
    limits = Limits(messages=len(BUILT_IN) + 5 + more)
    pair = run(
        *both(lambda profile: profile.insert_before("initiator-finished", lambda: Talk(length=5)), limits=limits)
    )
    assert agreed(pair) is fits


def test_exactly_the_limit_of_bytes_is_read() -> None:
    profiles = both(lambda profile: profile.insert_before("initiator-finished", note(text=bytes(4000))))
    length = sum(map(len, run(*profiles).initiator.flights))
    for limit, fits in ((length, True), (length - 1, False)):
        limits = Limits(message=4096, handshake=limit)
        pair = run(profiles[0], dataclasses.replace(profiles[1], limits=limits))
        assert agreed(pair) is fits
        assert fits or "longer than its limit" in str(pair.responder.error)


@pytest.mark.parametrize(("needs", "overhead"), [(Stage.NOTHING, 0), (Stage.KEYS, 16)])
def test_a_message_of_exactly_the_limit_is_sent_and_read(needs: Stage, overhead: int) -> None:
    anchor = "suite" if needs is Stage.NOTHING else "responder-authentication"
    room = 4096 - overhead - len(msgspec.msgpack.encode(("note", bytes(4000)))) + 4000
    for length, fits in ((room, True), (room + 1, False)):
        make = note(sender=RESPONDER, text=bytes(length), needs=needs)
        pair = run(*both(lambda profile, make=make: profile.insert_before(anchor, make), limits=Limits(message=4096)))  # type: ignore[misc]
        assert agreed(pair) is fits
        assert fits or isinstance(pair.responder.error, LocalProtocolError)
