"""The channel against whoever stands in between: altered, cut, injected, repeated, reordered, dropped and mixed records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    Accepted,
    AlertCode,
    DataReceived,
    Event,
    HandshakeError,
    InvalidMessage,
    KeyUpdated,
    PeerAborted,
    PeerClosed,
    SecureChannel,
)

from .channels import Forger, deliver, end, ends, events, frames, key, outcome, told


def conversation() -> tuple[list[bytes], list[list[Event]]]:
    """The frames of one direction, of every kind, and what each means."""
    initiator, _ = ends()
    initiator.send_data(b"first")
    initiator.send_data(b"second")
    initiator.update_keys()
    initiator.send_data(b"under the next key")
    initiator.update_keys(ask_peer=True)
    for number in range(5):
        initiator.send_data(b"%05d" % number)
    initiator.close()
    meaning: list[list[Event]] = [
        [DataReceived((b"first",))],
        [DataReceived((b"second",))],
        [KeyUpdated(INITIATOR)],
        [DataReceived((b"under the next key",))],
        [KeyUpdated(INITIATOR)],
    ]
    for number in range(5):
        meaning.append([DataReceived((b"%05d" % number,))])  # noqa: PERF401  # the list is of events of any kind
    meaning.append([PeerClosed()])
    return frames(initiator.data_to_send()), meaning


FRAMES, MEANING = conversation()


def merged(found: list[Event]) -> list[Event]:
    """Neighbouring data events as one: how many there are depends on how much came at once."""
    result: list[Event] = []
    for event in found:
        if isinstance(event, DataReceived) and result and isinstance(result[-1], DataReceived):
            result[-1] = DataReceived((*result[-1].records, *event.records))
        else:
            result.append(event)
    return result


def meaning_of(count: int) -> list[Event]:
    """What the first `count` frames mean."""
    return merged([event for part in MEANING[:count] for event in part])


def fails(wire: bytes, good: int) -> HandshakeError:
    """Give `wire` to a responder: it understands the first `good` frames, then fails and tells its peer."""
    initiator, responder = ends()
    responder.receive_data(wire)
    found, error = outcome(responder)
    assert merged(found) == meaning_of(good)
    assert isinstance(error, InvalidMessage)
    initiator.receive_data(responder.data_to_send())
    assert told(initiator) == error.alert
    return error


def give(channel: SecureChannel, data: bytes) -> None:
    """Hand over `data`, where there is any: nothing would be the end of the stream."""
    if data:
        channel.receive_data(data)


def test_the_conversation_itself_is_fine() -> None:
    _, responder = ends()
    responder.receive_data(b"".join(FRAMES))
    assert merged(events(responder)) == meaning_of(len(FRAMES))


@pytest.mark.parametrize("number", range(len(FRAMES)))
def test_every_bit_of_every_record_counts(number: int) -> None:
    """A flipped bit is an error; what came before is delivered first, nothing of the bad record or after it is."""
    before, frame, after = FRAMES[:number], FRAMES[number], FRAMES[number + 1 :]
    for bit in range(8 * len(frame)):
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << bit % 8
        wire = b"".join([*before, altered, *after])
        _, responder = ends()
        responder.receive_data(wire)
        found, error = outcome(responder)
        if error is None:  # the header announces more than came: only the end of the stream tells
            assert 8 <= bit < 32
            responder.receive_data(b"")
            _, error = outcome(responder)
        assert merged(found) == meaning_of(number)
        assert isinstance(error, (InvalidMessage, PeerAborted))
        assert not isinstance(error, PeerAborted) or error.code is None


@pytest.mark.parametrize("number", [0, 1, 2, 3, 6, 10])
def test_a_forged_record_moves_no_sequence_number(number: int) -> None:
    reading = key("i_ap")
    responder = SecureChannel(RESPONDER, writing=key("r_ap"), reading=reading)
    frame = bytearray(FRAMES[number])
    frame[-1] ^= 1
    responder.receive_data(b"".join([*FRAMES[:number], frame]))
    _, error = outcome(responder)
    assert isinstance(error, InvalidMessage)
    assert error.alert == AlertCode.BAD_RECORD_MAC
    assert reading.sequence == min(number, 3)  # the first key seals two data records and an update


def test_the_alert_after_a_forgery_is_readable() -> None:
    frame = bytearray(FRAMES[1])
    frame[4] ^= 1
    assert fails(FRAMES[0] + frame, 1).alert == AlertCode.BAD_RECORD_MAC


@pytest.mark.parametrize("number", range(len(FRAMES)))
def test_a_repeated_record_is_an_error(number: int) -> None:
    wire = b"".join([*FRAMES[: number + 1], FRAMES[number], *FRAMES[number + 1 :]])
    fails(wire, number + 1)


@pytest.mark.parametrize("number", range(len(FRAMES) - 1))
def test_a_dropped_record_is_an_error(number: int) -> None:
    fails(b"".join([*FRAMES[:number], *FRAMES[number + 1 :]]), number)


@pytest.mark.parametrize("number", range(len(FRAMES) - 1))
def test_records_in_another_order_are_an_error(number: int) -> None:
    first, second = FRAMES[number : number + 2]
    fails(b"".join([*FRAMES[:number], second, first, *FRAMES[number + 2 :]]), number)


def test_dropping_the_end_is_a_truncation() -> None:
    for count in range(len(FRAMES)):
        _, responder = ends()
        give(responder, b"".join(FRAMES[:count]))
        responder.receive_data(b"")
        found, error = outcome(responder)
        assert merged(found) == meaning_of(count)
        assert isinstance(error, PeerAborted)
        assert error.code is None


def test_an_end_of_the_stream_at_every_place_is_a_truncation() -> None:
    wire = b"".join(FRAMES)
    borders = [len(b"".join(FRAMES[:count])) for count in range(len(FRAMES) + 1)]
    for length in range(len(wire)):
        initiator, responder = ends()
        give(responder, wire[:length])
        responder.receive_data(b"")
        found, error = outcome(responder)
        assert merged(found) == meaning_of(sum(border <= length for border in borders) - 1)
        assert isinstance(error, PeerAborted)
        assert error.alert == AlertCode.TRUNCATED
        assert error.step == "channel"
        initiator.receive_data(responder.data_to_send())
        assert told(initiator) == AlertCode.TRUNCATED


@given(st.integers(0, len(FRAMES) - 1), st.binary(min_size=1, max_size=80))
def test_injected_bytes_are_an_error(number: int, noise: bytes) -> None:
    wire = b"".join([*FRAMES[:number], noise, *FRAMES[number:]])
    _, responder = ends()
    responder.receive_data(wire)
    found, error = outcome(responder)
    if error is None:
        responder.receive_data(b"")
        _, error = outcome(responder)
    assert isinstance(error, HandshakeError)
    assert merged(found) == meaning_of(number)


def test_ones_own_records_reflected_are_an_error() -> None:
    for frame in FRAMES:
        initiator, _ = ends()
        initiator.receive_data(frame)
        with pytest.raises(InvalidMessage, match="does not open"):
            initiator.next_event()


def test_the_acceptance_reflected_is_an_error() -> None:
    _, responder = ends()
    responder.receive_data(Forger("r_ap").control("accept"))
    with pytest.raises(InvalidMessage, match="does not open"):
        responder.next_event()


def test_records_of_another_session_are_an_error() -> None:
    initiator = end(INITIATOR)
    initiator.receive_data(Forger("r_ap of another").control("accept"))
    with pytest.raises(InvalidMessage, match="does not open"):
        initiator.next_event()
    assert not initiator.confirmed


def test_a_record_that_claims_another_type_is_an_error() -> None:
    """The header is authenticated: data cannot be turned into control, nor control into an alert."""
    for kind, other in ((0xE3, 0xE4), (0xE4, 0xE3), (0xE4, 0xE5), (0xE5, 0xE4)):
        frame = Forger().frame(kind, b"\x91\xa5close")
        _, responder = ends()
        responder.receive_data(bytes((other,)) + frame[1:])
        with pytest.raises(InvalidMessage, match="does not open"):
            responder.next_event()


def test_an_old_key_opens_nothing_after_its_update() -> None:
    _, responder = ends()
    forger, old = Forger(), Forger("i_ap", 1)
    responder.receive_data(forger.update() + old.data(b"under the old key"))
    found, error = outcome(responder)
    assert found == [KeyUpdated(INITIATOR)]
    assert isinstance(error, InvalidMessage)


def test_a_forged_alert_ends_nothing_quietly() -> None:
    """Somebody in between can break the connection, but cannot make it look like the peer's alert."""
    _, responder = ends()
    frame = bytearray(Forger().alert(90, None))
    frame[-1] ^= 1
    responder.receive_data(frame)
    with pytest.raises(InvalidMessage, match="does not open"):
        responder.next_event()


def test_a_forged_acceptance_does_not_confirm() -> None:
    frame = Forger("r_ap").control("accept")
    for bit in range(8 * len(frame)):
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << bit % 8
        initiator = end(INITIATOR)
        initiator.receive_data(altered)
        _, error = outcome(initiator)
        if error is None:
            initiator.receive_data(b"")
            _, error = outcome(initiator)
        assert isinstance(error, HandshakeError)
        assert not initiator.confirmed


def test_what_came_before_the_bad_record_is_delivered_together() -> None:
    initiator, responder = ends()
    for number in range(50):
        initiator.send_data(b"%d" % number)
    wire = bytearray(initiator.data_to_send())
    cut = frames(wire)
    wire[sum(map(len, cut[:30])) + 10] ^= 1
    responder.receive_data(wire)
    found, error = outcome(responder)
    assert found == [DataReceived(tuple(b"%d" % number for number in range(30)))]
    assert isinstance(error, InvalidMessage)
    assert "number 30 " in str(error)


def test_acceptance_and_data_survive_in_front_of_a_forgery() -> None:
    initiator, responder = end(INITIATOR), SecureChannel(RESPONDER, writing=key("r_ap"), reading=key("i_ap"))
    responder.accept()
    responder.send_data(b"good")
    initiator.receive_data(bytes(responder.data_to_send()) + b"\xe3\x00\x00\x20" + bytes(32))
    found, error = outcome(initiator)
    assert found == [Accepted(), DataReceived((b"good",))]
    assert isinstance(error, InvalidMessage)
    responder.receive_data(initiator.data_to_send())
    assert told(responder) == AlertCode.BAD_RECORD_MAC


def test_a_broken_direction_breaks_both() -> None:
    initiator, responder = ends()
    responder.receive_data(b"\xe3\x00\x00\x20" + bytes(32))
    with pytest.raises(InvalidMessage):
        responder.next_event()
    with pytest.raises(InvalidMessage):
        responder.send_data(b"as if nothing had happened")
    with pytest.raises(PeerAborted):
        deliver(responder, initiator)
