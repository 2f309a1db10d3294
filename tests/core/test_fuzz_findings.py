"""What fuzzing and its preparation found, each as a test. Inputs are written out, so that they say what they are."""

from __future__ import annotations

import pytest

from nautilus_core import NEED_DATA, RESPONDER, DataReceived, Handshake, StepCompleted
from nautilus_core.buffer import ReceiveBuffer

from .channels import ends, frames
from .helpers import alice, bob, run

# A piece of less than a header that came together with a whole frame was put behind the bytes that came after it.


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_piece_of_a_header_behind_a_frame_stays_in_front_of_what_follows(length: int) -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"frame")
    buffer.feed(b"next"[:length])
    buffer.position = 5
    assert buffer.lacks(4)
    buffer.feed(b"next"[length:])
    assert not buffer.lacks(4)
    assert buffer.data[buffer.position :] == b"next"


@pytest.mark.parametrize("length", [1, 2, 3])
def test_on_the_channel_two_pieces_before_a_look_at_them(length: int) -> None:
    initiator, responder = ends()
    initiator.send_data(b"first")
    initiator.send_data(b"second")
    first, second = frames(initiator.data_to_send())
    responder.receive_data(first)
    responder.receive_data(second[:length])
    assert responder.next_event() == DataReceived((b"first",))
    assert responder.next_event() is NEED_DATA
    responder.receive_data(second[length:])
    assert responder.next_event() == DataReceived((b"second",))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_in_the_handshake_two_pieces_before_a_look_at_them(length: int) -> None:
    flights = run(alice(), bob()).initiator.flights
    first, *rest = frames(flights[0])
    remaining = b"".join(rest)
    responder = Handshake(RESPONDER, bob())
    responder.receive_data(first)
    responder.receive_data(remaining[:length])
    while responder.next_event() is not NEED_DATA:
        pass
    responder.receive_data(remaining[length:])
    read = [event.step for event in iter(responder.next_event, NEED_DATA) if isinstance(event, StepCompleted)]
    assert read[:2] == ["suites", "initiator-key-share"]
    assert responder.data_to_send()
