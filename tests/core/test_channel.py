"""The secure channel by example: data, acceptance, key updates, both kinds of ending, buffers, misuse."""

from __future__ import annotations

import array
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    Accepted,
    AlertCode,
    DataReceived,
    Handshake,
    HandshakeCompleted,
    HandshakeError,
    InvalidMessage,
    KeyUpdated,
    Limits,
    LocalProtocolError,
    PeerAborted,
    PeerClosed,
    PeerIdentified,
    Role,
    SecureChannel,
    Session,
    Signal,
    trust,
)
from nautilus_core.crypto.traffic_key import RECORDS_PER_KEY
from nautilus_core.testing import Pair

from .channels import CONTROL, SEALED_ALERT, Forger, deliver, end, ends, events, frames, key, outcome, told
from .channels import received as data_of
from .helpers import alice, bob, channels, run, succeed

both_roles = pytest.mark.parametrize("role", [INITIATOR, RESPONDER], ids=["initiator", "responder"])


def seen_from(role: Role, **options: Any) -> tuple[SecureChannel, SecureChannel]:
    """The end with this role, and its peer."""
    initiator, responder = ends(**options)
    return (initiator, responder) if role is INITIATOR else (responder, initiator)


# ------------------------------------------------------------------------------------------------ data


@both_roles
def test_data_goes_through(role: Role) -> None:
    own, peer = seen_from(role)
    own.send_data(b"hello")
    own.send_data(b"world")
    assert deliver(own, peer) == [DataReceived((b"hello", b"world"))]
    assert peer.next_event() is NEED_DATA
    peer.send_data(b"back")
    assert deliver(peer, own) == [DataReceived((b"back",))]


def test_data_received_is_one_or_the_join_of_its_records() -> None:
    payload = b"x" * 100
    assert DataReceived((payload,)).data is payload
    assert DataReceived((b"a", b"b")).data == b"ab"


def test_each_send_is_a_record_of_its_own_and_only_long_data_is_cut() -> None:
    initiator, responder = ends()
    longest = initiator.max_payload
    assert longest == 65_516
    sizes = [1, 2, longest, longest + 1, 3 * longest]
    for size in sizes:
        initiator.send_data(bytes(size))
    wire = initiator.data_to_send()
    cut = [1, 2, longest, longest, 1, longest, longest, longest]
    assert [len(frame) for frame in frames(wire)] == [4 + size + 16 for size in cut]
    responder.receive_data(wire)
    assert responder.next_event() == DataReceived(tuple(bytes(size) for size in cut))


@pytest.mark.parametrize("count", [1, 3, 4, 50])
def test_a_full_frame_fits_a_read_of_64_kib(count: int) -> None:
    initiator, _ = ends()
    for _ in range(count):
        initiator.send_data(bytes(initiator.max_payload))
    assert {len(frame) for frame in frames(initiator.data_to_send())} == {65_536}


@pytest.mark.parametrize("count", [1, 2, 9])
def test_empty_data_is_nothing(count: int) -> None:
    initiator, responder = ends()
    for _ in range(count):
        initiator.send_data(b"")
    assert initiator.data_to_send() == b""
    for _ in range(count):
        initiator.send_data(bytearray())
        initiator.send_data(b"x")
        initiator.send_data(memoryview(b""))
    assert deliver(initiator, responder) == [DataReceived((b"x",) * count)]


def test_data_waits_until_it_is_taken() -> None:
    initiator, responder = ends()
    assert initiator.data_to_send() == b""
    initiator.send_data(b"one")
    first = initiator.data_to_send()
    assert first
    assert initiator.data_to_send() == b""
    initiator.send_data(b"two")
    responder.receive_data(first)
    responder.receive_data(initiator.data_to_send())
    assert responder.next_event() == DataReceived((b"one", b"two"))


@pytest.mark.parametrize("record", [64, 1000, 65_532])
def test_the_record_limit_is_for_both_ends(record: int) -> None:
    initiator, responder = ends(limits=Limits(record=record))
    assert initiator.max_payload == record - 16
    data = bytes(range(256)) * 20
    initiator.send_data(data)
    for number in range(20):
        initiator.send_data(data[:number])
    wire = initiator.data_to_send()
    assert max(len(frame) for frame in frames(wire)) <= record + 4
    responder.receive_data(wire)
    assert data_of(events(responder)) == data + b"".join(data[:number] for number in range(20))


# ------------------------------------------------------------------------------------------------ what is refused


def refused(data: bytes, **options: Any) -> InvalidMessage:
    """The error that the responder makes of `data`; its alert reaches the initiator."""
    initiator, responder = ends(**options)
    responder.receive_data(data)
    found, error = outcome(responder)
    assert not found
    assert isinstance(error, InvalidMessage)
    assert error.step == "channel"
    initiator.receive_data(responder.data_to_send())
    assert told(initiator) == error.alert
    return error


def test_a_record_over_the_limit_is_refused_on_its_header() -> None:
    assert refused(b"\xe3\x00\xff\xfd").alert == AlertCode.RECORD_OVERFLOW
    assert refused(b"\xe3\xff\xff\xff").alert == AlertCode.RECORD_OVERFLOW
    assert refused(b"\xe3\x00\x00\x41", limits=Limits(record=64)).alert == AlertCode.RECORD_OVERFLOW
    assert "announces 1025" in str(refused(b"\xe4\x00\x04\x01"))
    assert "at most 64" in str(refused(b"\xe5\x00\x00\x41"))


def test_the_longest_header_is_not_refused() -> None:
    for head in (b"\xe3\x00\xff\xfc", b"\xe4\x00\x04\x00", b"\xe5\x00\x00\x40"):
        _, responder = ends()
        responder.receive_data(head)
        assert responder.next_event() is NEED_DATA


def test_an_empty_data_record_is_an_error() -> None:
    assert refused(Forger().data(b"")).alert == AlertCode.ILLEGAL_PARAMETER
    assert refused(b"\xe3\x00\x00\x00").alert == AlertCode.ILLEGAL_PARAMETER


@pytest.mark.parametrize("head", [b"\xe1\x00\x00\x10", b"\xe2\x00\x00\x03", b"\xe2\x00\x00\x03\x92\x5a\xc0"])
def test_handshake_messages_and_plaintext_alerts_are_no_records(head: bytes) -> None:
    error = refused(head)
    assert error.message == "not a record of the channel"
    assert error.alert == AlertCode.UNEXPECTED_MESSAGE


@pytest.mark.parametrize(("data", "name"), [(b"GET / HT", "HTTP"), (b"SSH-2.0", "SSH"), (b"\x17\x03\x03\x00", "TLS")])
def test_another_protocol_is_named(data: bytes, name: str) -> None:
    assert name in str(refused(data))


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("unknown",),
        ("key-update",),
        ("key-update", 1),
        ("key-update", None),
        (1,),
        ("close"),
        (["close"],),
        ("Close",),
    ],
    ids=repr,
)
def test_malformed_control_records_are_an_error(fields: tuple[Any, ...]) -> None:
    assert refused(Forger().control(*fields)).alert == AlertCode.DECODE_ERROR


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x91", b"\x91" * 900, b"\x91\xa5clos\xff", b"\x91\xa5close\x00"])
def test_control_records_of_no_message_are_an_error(body: bytes) -> None:
    assert refused(Forger().frame(CONTROL, body)).alert == AlertCode.DECODE_ERROR


def test_unknown_trailing_fields_are_ignored() -> None:
    _, responder = ends()
    forger = Forger()
    responder.receive_data(forger.control("key-update", False, "later", 1))
    forger.key = forger.key.updated()
    responder.receive_data(forger.control("close", {"later": 1}))
    assert events(responder) == [KeyUpdated(INITIATOR), PeerClosed()]


@pytest.mark.parametrize(
    "fields", [(), (90,), ("90", None), (-1, None), (65_536, None), (90, -1), (90, 86_401)], ids=repr
)
def test_malformed_alerts_are_an_error(fields: tuple[Any, ...]) -> None:
    assert refused(Forger().alert(*fields)).alert == AlertCode.DECODE_ERROR


# ------------------------------------------------------------------------------------------------ acceptance


def test_the_initiator_is_confirmed_by_the_responders_first_record() -> None:
    initiator, responder = end(INITIATOR), end(RESPONDER)
    assert responder.confirmed
    assert not initiator.confirmed
    responder.accept()
    initiator.receive_data(responder.data_to_send())
    assert not initiator.confirmed
    assert initiator.next_event() == Accepted()
    assert initiator.confirmed
    assert initiator.next_event() is NEED_DATA


def test_data_can_follow_the_acceptance_at_once() -> None:
    initiator, responder = end(INITIATOR), end(RESPONDER)
    responder.accept()
    responder.send_data(b"welcome")
    assert deliver(responder, initiator) == [Accepted(), DataReceived((b"welcome",))]


def test_the_initiator_may_send_before_it_is_accepted() -> None:
    initiator, responder = end(INITIATOR), end(RESPONDER)
    initiator.send_data(b"early")
    initiator.update_keys(ask_peer=True)
    initiator.send_data(b"bird")
    responder.accept()
    assert deliver(initiator, responder) == [
        DataReceived((b"early",)),
        KeyUpdated(INITIATOR),
        DataReceived((b"bird",)),
    ]
    assert deliver(responder, initiator) == [Accepted(), KeyUpdated(RESPONDER)]


def test_a_refusal_is_sealed_under_the_handshake_key() -> None:
    initiator = end(INITIATOR)
    initiator.receive_data(Forger("r_hs").alert(int(AlertCode.ACCESS_DENIED), 7))
    with pytest.raises(PeerAborted, match="trust policy refused us") as caught:
        initiator.next_event()
    assert (caught.value.code, caught.value.retry_after) == (AlertCode.ACCESS_DENIED, 7)
    assert caught.value.authenticated
    assert not initiator.confirmed
    assert initiator.data_to_send() == b""


@pytest.mark.parametrize("sequence", [1, 2])
def test_a_refusal_continues_the_handshakes_numbers(sequence: int) -> None:
    rejection = key("r_hs")
    rejection.sequence = 2
    initiator = SecureChannel(INITIATOR, writing=key("i_ap"), reading=key("r_ap"), rejection=rejection)
    initiator.receive_data(Forger("r_hs", sequence).alert(49, None))
    assert told(initiator) == (49 if sequence == 2 else None)


@pytest.mark.parametrize(
    ("make", "alert"),
    [
        (lambda: Forger("r_ap").data(b"data"), AlertCode.UNEXPECTED_MESSAGE),
        (lambda: Forger("r_ap").control("close"), AlertCode.UNEXPECTED_MESSAGE),
        (lambda: Forger("r_ap").control("key-update", False), AlertCode.UNEXPECTED_MESSAGE),
        (lambda: Forger("r_ap").alert(49, None), AlertCode.BAD_RECORD_MAC),
        (lambda: Forger("r_hs").control("accept"), AlertCode.BAD_RECORD_MAC),
        (lambda: Forger("r_hs").data(b"data"), AlertCode.UNEXPECTED_MESSAGE),
        (lambda: Forger("r_ap", 1).control("accept"), AlertCode.BAD_RECORD_MAC),
        (lambda: b"\xe2\x00\x00\x03\x92\x31\xc0", AlertCode.UNEXPECTED_MESSAGE),
    ],
    ids=["data", "close", "key-update", "alert", "accept-r_hs", "data-r_hs", "accept-late", "plaintext-alert"],
)
def test_nothing_but_acceptance_or_refusal_comes_first(make: Callable[[], bytes], alert: int) -> None:
    initiator, responder = end(INITIATOR), end(RESPONDER)
    initiator.receive_data(make())
    with pytest.raises(InvalidMessage) as caught:
        initiator.next_event()
    assert caught.value.alert == alert
    assert not initiator.confirmed
    responder.receive_data(initiator.data_to_send())
    assert told(responder) == alert


def test_after_the_acceptance_no_refusal_is_possible() -> None:
    initiator, _ = ends()
    initiator.receive_data(Forger("r_hs").alert(49, None))
    with pytest.raises(InvalidMessage, match="does not open"):
        initiator.next_event()


def test_a_second_acceptance_is_an_error_and_so_is_the_initiators() -> None:
    initiator, _ = ends()
    initiator.receive_data(Forger("r_ap", 1).control("accept"))
    with pytest.raises(InvalidMessage, match="a second accept"):
        initiator.next_event()
    assert refused(Forger().control("accept")).message == "a second accept"


def test_accepting_is_the_responders_and_happens_once() -> None:
    initiator, responder = ends()
    for channel in (initiator, responder):
        with pytest.raises(LocalProtocolError, match="accepts"):
            channel.accept()


def test_an_end_of_the_stream_instead_of_an_acceptance() -> None:
    initiator = end(INITIATOR)
    initiator.receive_data(b"")
    with pytest.raises(PeerAborted, match="expected accept, or a sealed alert"):
        initiator.next_event()
    assert not initiator.confirmed


# ------------------------------------------------------------------------------------------------ key updates


@both_roles
def test_an_update_changes_one_direction(role: Role) -> None:
    own, peer = seen_from(role)
    own.send_data(b"before")
    own.update_keys()
    own.send_data(b"after")
    assert deliver(own, peer) == [DataReceived((b"before",)), KeyUpdated(role), DataReceived((b"after",))]
    assert peer.data_to_send() == b""
    peer.send_data(b"as ever")
    assert deliver(peer, own) == [DataReceived((b"as ever",))]


def test_an_update_is_the_last_record_under_its_key() -> None:
    initiator, _ = ends()
    old = key("i_ap")
    initiator.update_keys()
    initiator.send_data(b"after")
    update, data = frames(initiator.data_to_send())
    assert old.open(update[4:], update[:4]) == b"\x92\xaakey-update\xc2"
    assert old.updated().open(data[4:], data[:4]) == b"after"


@both_roles
def test_the_peer_answers_a_request(role: Role) -> None:
    own, peer = seen_from(role)
    own.update_keys(ask_peer=True)
    assert deliver(own, peer) == [KeyUpdated(role)]
    assert deliver(peer, own) == [KeyUpdated(role.peer)]
    assert own.data_to_send() == b""  # an answer asks for nothing
    own.send_data(b"ping")
    peer.send_data(b"pong")
    assert data_of(deliver(own, peer)) + data_of(deliver(peer, own)) == b"pingpong"


def test_any_number_of_requests_get_one_answer() -> None:
    initiator, responder = ends()
    for _ in range(5):
        initiator.update_keys(ask_peer=True)
    assert deliver(initiator, responder) == [KeyUpdated(INITIATOR)] * 5
    assert deliver(responder, initiator) == [KeyUpdated(RESPONDER)]


def test_the_answer_comes_before_data() -> None:
    initiator, responder = ends()
    initiator.update_keys(ask_peer=True)
    deliver(initiator, responder)
    responder.send_data(b"data")
    assert deliver(responder, initiator) == [KeyUpdated(RESPONDER), DataReceived((b"data",))]


def test_an_update_of_ones_own_is_an_answer_too() -> None:
    initiator, responder = ends()
    initiator.update_keys(ask_peer=True)
    deliver(initiator, responder)
    responder.update_keys()
    assert deliver(responder, initiator) == [KeyUpdated(RESPONDER)]
    assert responder.data_to_send() == b""


def test_requests_that_cross_are_both_answered_and_settle() -> None:
    initiator, responder = ends()
    initiator.update_keys(ask_peer=True)
    responder.update_keys(ask_peer=True)
    crossing = initiator.data_to_send(), responder.data_to_send()
    responder.receive_data(crossing[0])
    initiator.receive_data(crossing[1])
    assert events(initiator) == [KeyUpdated(RESPONDER)]
    assert events(responder) == [KeyUpdated(INITIATOR)]
    assert deliver(initiator, responder) == [KeyUpdated(INITIATOR)]
    assert deliver(responder, initiator) == [KeyUpdated(RESPONDER)]
    assert initiator.data_to_send() == responder.data_to_send() == b""


def test_sixteen_updates_without_data_are_the_most() -> None:
    initiator, responder = ends()
    for _ in range(16):
        initiator.update_keys()
    with pytest.raises(LocalProtocolError, match="16 key updates without data"):
        initiator.update_keys()
    initiator.send_data(b"")
    with pytest.raises(LocalProtocolError, match="16 key updates without data"):
        initiator.update_keys(ask_peer=True)
    initiator.send_data(b"x")
    initiator.update_keys()
    assert len(deliver(initiator, responder)) == 18


def test_a_seventeenth_update_without_data_is_an_error() -> None:
    initiator, responder = ends()
    forger = Forger()
    responder.receive_data(b"".join(forger.update() for _ in range(17)))
    found, error = outcome(responder)
    assert found == [KeyUpdated(INITIATOR)] * 16
    assert isinstance(error, InvalidMessage)
    assert error.alert == AlertCode.UNEXPECTED_MESSAGE
    initiator.receive_data(responder.data_to_send())
    assert told(initiator) == error.alert


def test_data_between_updates_starts_the_count_again() -> None:
    _, responder = ends()
    forger = Forger()
    for _ in range(5):
        responder.receive_data(b"".join([*(forger.update() for _ in range(16)), forger.data(b"x")]))
        assert len(events(responder)) == 17


def test_a_peer_that_only_listens_can_be_asked_for_ever() -> None:
    """Its answers wait for data once they would be too many without any."""
    initiator, responder = ends()
    answers = 0
    for number in range(100):
        initiator.send_data(b"data %d" % number)
        initiator.update_keys(ask_peer=True)
        deliver(initiator, responder)
        answers += len(deliver(responder, initiator))
    assert answers == 16
    responder.send_data(b"at last")
    assert deliver(responder, initiator) == [DataReceived((b"at last",)), KeyUpdated(RESPONDER)]


def test_answers_count_as_updates_without_data() -> None:
    initiator, responder = ends()
    forger = Forger("r_ap", 1)
    for _ in range(16):
        initiator.send_data(b"x")
        initiator.update_keys(ask_peer=True)
        deliver(initiator, responder)
        initiator.receive_data(forger.update())
        assert events(initiator) == [KeyUpdated(RESPONDER)]
    initiator.receive_data(forger.update())
    with pytest.raises(InvalidMessage, match="too many key updates"):
        events(initiator)


@pytest.mark.parametrize("records_per_key", [2, 3, 7])
def test_few_records_to_a_key_force_updates(records_per_key: int) -> None:
    initiator, responder = ends(records_per_key=records_per_key)
    for number in range(20):
        initiator.send_data(b"%d" % number)
    found = deliver(initiator, responder)
    assert data_of(found) == b"".join(b"%d" % number for number in range(20))
    assert found.count(KeyUpdated(INITIATOR)) == (20 - 1) // (records_per_key - 1)
    for event in found:  # one record of each key is the update
        assert not isinstance(event, DataReceived) or len(event.records) <= records_per_key - 1


@pytest.mark.parametrize("bytes_per_key", [1, 10, 25])
def test_few_bytes_to_a_key_force_updates(bytes_per_key: int) -> None:
    initiator, responder = ends(bytes_per_key=bytes_per_key)
    for number in range(12):
        initiator.send_data(b"0123456789" + bytes((number,)) * (number % 3))
    found = deliver(initiator, responder)
    assert data_of(found) == b"".join(b"0123456789" + bytes((number,)) * (number % 3) for number in range(12))
    assert found[0] != KeyUpdated(INITIATOR)  # a key is not thrown away unused
    for event in found:
        assert not isinstance(event, DataReceived) or len(event.data) <= bytes_per_key or len(event.records) == 1


def test_updates_in_the_middle_of_long_data() -> None:
    initiator, responder = ends(limits=Limits(record=64), records_per_key=4)
    data = bytes(range(256)) * 4
    initiator.send_data(data)
    found = deliver(initiator, responder)
    assert data_of(found) == data
    assert KeyUpdated(INITIATOR) in found


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_the_last_counter_value_is_never_used_for_data(count: int) -> None:
    """The last record that a key may seal is its update; a key without one is refused by the peer."""
    writing, reading = key("i_ap"), key("i_ap")
    writing.sequence = reading.sequence = RECORDS_PER_KEY - 2
    sender = SecureChannel(RESPONDER, writing=writing, reading=key("r_ap"))
    receiver = SecureChannel(RESPONDER, writing=key("r_ap"), reading=reading)
    for number in range(count):
        sender.send_data(b"%d" % number)
    found = deliver(sender, receiver)
    assert data_of(found) == b"".join(b"%d" % number for number in range(count))
    assert found.count(KeyUpdated(INITIATOR)) == (1 if count > 1 else 0)
    assert writing.sequence == (RECORDS_PER_KEY if count > 1 else RECORDS_PER_KEY - 1)


@pytest.mark.parametrize("ending", ["close", "abort", "update"])
def test_a_key_at_its_end_can_still_say_goodbye(ending: str) -> None:
    writing, reading = key("i_ap"), key("i_ap")
    writing.sequence = reading.sequence = RECORDS_PER_KEY - 2
    sender = SecureChannel(RESPONDER, writing=writing, reading=key("r_ap"))
    receiver = SecureChannel(RESPONDER, writing=key("r_ap"), reading=reading)
    sender.send_data(b"x")
    assert deliver(sender, receiver) == [DataReceived((b"x",))]
    if ending == "close":
        sender.close()
        assert deliver(sender, receiver) == [PeerClosed()]
    elif ending == "update":
        sender.update_keys()
        assert deliver(sender, receiver) == [KeyUpdated(INITIATOR)]
    else:
        sender.abort("enough")
        receiver.receive_data(sender.data_to_send())
        assert told(receiver) == AlertCode.USER_CANCELED


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_peer_that_does_not_update_in_time_is_refused(count: int) -> None:
    reading, forger = key("i_ap"), Forger("i_ap", RECORDS_PER_KEY - count)
    reading.sequence = RECORDS_PER_KEY - count
    responder = SecureChannel(RESPONDER, writing=key("r_ap"), reading=reading)
    wire = b"".join(forger.data(b"%d" % number) for number in range(count))
    responder.receive_data(wire + b"\xe3\x00\x00\x11" + bytes(17))
    found, error = outcome(responder)
    assert data_of(found) == b"".join(b"%d" % number for number in range(count))
    assert isinstance(error, InvalidMessage)
    assert error.alert == AlertCode.UNEXPECTED_MESSAGE
    assert "did not update" in str(error)
    assert reading.sequence == RECORDS_PER_KEY


@pytest.mark.parametrize(
    "options",
    [{"records_per_key": 1}, {"records_per_key": 2**22 + 1}, {"bytes_per_key": 0}, {"bytes_per_key": 2**37 + 1}],
)
def test_keys_cannot_be_used_longer_than_the_bounds(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"2 to 2\*\*22 records"):
        end(INITIATOR, **options)


# ------------------------------------------------------------------------------------------------ close


@both_roles
def test_a_close_ends_one_direction(role: Role) -> None:
    own, peer = seen_from(role)
    own.send_data(b"last words")
    own.close()
    assert deliver(own, peer) == [DataReceived((b"last words",)), PeerClosed()]
    for number in range(3):
        peer.send_data(b"%d" % number)
        assert deliver(peer, own) == [DataReceived((b"%d" % number,))]
    peer.close()
    assert deliver(peer, own) == [PeerClosed()]
    for channel in (own, peer):
        channel.receive_data(b"")
        assert channel.next_event() == PeerClosed()


def test_the_peers_close_is_told_again_and_again() -> None:
    initiator, responder = ends()
    initiator.close()
    responder.receive_data(initiator.data_to_send())
    assert [responder.next_event() for _ in range(5)] == [PeerClosed()] * 5


def test_nothing_is_sent_after_a_close() -> None:
    initiator, _ = ends()
    initiator.close()
    assert len(frames(initiator.data_to_send())) == 1
    calls: list[Callable[[], None]] = [
        lambda: initiator.send_data(b"x"),
        lambda: initiator.send_data(b""),
        lambda: initiator.update_keys(ask_peer=True),
    ]
    for call in calls:
        with pytest.raises(LocalProtocolError, match="is closed"):
            call()
    initiator.close()
    assert initiator.data_to_send() == b""


def test_a_request_is_not_answered_after_a_close() -> None:
    initiator, responder = ends()
    initiator.update_keys(ask_peer=True)
    deliver(initiator, responder)
    responder.close()
    assert deliver(responder, initiator) == [PeerClosed()]
    initiator.update_keys(ask_peer=True)
    assert deliver(initiator, responder) == [KeyUpdated(INITIATOR)]
    assert responder.data_to_send() == b""


def test_a_request_that_was_read_before_a_close_is_not_answered_after_it() -> None:
    initiator, responder = ends()
    initiator.update_keys(ask_peer=True)
    responder.receive_data(initiator.data_to_send())
    assert responder.next_event() == KeyUpdated(INITIATOR)
    responder.close()
    assert deliver(responder, initiator) == [PeerClosed()]
    assert initiator.next_event() == PeerClosed()


@pytest.mark.parametrize("close_first", [True, False])
def test_nothing_at_all_is_sent_after_a_close_not_even_an_alert(close_first: bool) -> None:
    initiator, responder = ends()
    initiator.close()
    if close_first:
        assert deliver(initiator, responder) == [PeerClosed()]
        initiator.abort("changed my mind")
        assert initiator.data_to_send() == b""
    else:
        initiator.abort("changed my mind")
        assert deliver(initiator, responder) == [PeerClosed()]
    with pytest.raises(HandshakeError, match="changed my mind"):
        initiator.next_event()
    assert responder.next_event() == PeerClosed()


def test_a_failure_after_a_close_sends_nothing() -> None:
    initiator, responder = ends()
    initiator.send_data(b"kept")
    initiator.close()
    initiator.receive_data(b"\xe3\x00\x00\x11" + bytes(17))
    with pytest.raises(InvalidMessage):
        initiator.next_event()
    assert deliver(initiator, responder) == [DataReceived((b"kept",)), PeerClosed()]


@pytest.mark.parametrize(
    "make",
    [
        lambda forger: forger.data(b"more"),
        lambda forger: forger.control("close"),
        lambda forger: forger.control("key-update", False),
        lambda forger: forger.alert(90, None),
        lambda forger: b"\xe3",
        lambda forger: b"\xe3\x00\x00",
        lambda forger: b"\x00" * 9,
    ],
    ids=["data", "close", "key-update", "alert", "byte", "piece", "noise"],
)
@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
def test_anything_after_a_close_is_an_error(make: Callable[[Forger], bytes], together: bool) -> None:
    initiator, responder = ends()
    forger = Forger()
    close = forger.control("close")
    more = make(forger)
    if together:
        responder.receive_data(close + more)
        assert responder.next_event() == PeerClosed()
    else:
        responder.receive_data(close)
        assert responder.next_event() == PeerClosed()
        assert responder.next_event() == PeerClosed()
        responder.receive_data(more)
    with pytest.raises(InvalidMessage, match="after the close") as caught:
        responder.next_event()
    assert caught.value.alert == AlertCode.UNEXPECTED_MESSAGE
    initiator.receive_data(responder.data_to_send())
    assert told(initiator) == AlertCode.UNEXPECTED_MESSAGE


# ------------------------------------------------------------------------------------------------ abort and failure


@both_roles
@pytest.mark.parametrize(
    ("options", "code", "retry_after"),
    [
        ({}, AlertCode.USER_CANCELED, None),
        ({"code": AlertCode.BUSY, "retry_after": 30}, AlertCode.BUSY, 30),
        ({"code": 256}, 256, None),
        ({"code": 65_535, "retry_after": 86_400}, 65_535, 86_400),
    ],
    ids=["default", "busy", "first-code", "last-code"],
)
def test_an_abort_tells_the_peer(role: Role, options: dict[str, int], code: int, retry_after: int | None) -> None:
    own, peer = seen_from(role)
    own.abort("the disk is full", **options)
    peer.receive_data(own.data_to_send())
    with pytest.raises(PeerAborted) as caught:
        peer.next_event()
    assert (caught.value.code, caught.value.retry_after) == (code, retry_after)
    assert caught.value.authenticated
    assert "disk" not in str(caught.value)
    assert peer.data_to_send() == b""  # an alert is not answered
    with pytest.raises(HandshakeError, match="the disk is full"):
        own.next_event()


def test_an_abort_drops_what_was_not_taken() -> None:
    initiator, responder = ends()
    initiator.send_data(b"dropped")
    initiator.abort("enough")
    assert [frame[0] for frame in frames(initiator.data_to_send())] == [SEALED_ALERT]
    responder.send_data(b"too late")
    responder.data_to_send()


def test_an_abort_follows_what_was_sealed_before_it() -> None:
    initiator, responder = ends()
    initiator.send_data(b"sealed by the update")
    initiator.update_keys()
    initiator.abort("enough")
    responder.receive_data(initiator.data_to_send())
    found, error = outcome(responder)
    assert found == [DataReceived((b"sealed by the update",)), KeyUpdated(INITIATOR)]
    assert isinstance(error, PeerAborted)
    assert error.code == AlertCode.USER_CANCELED


def test_what_is_received_after_an_abort_is_not_looked_at() -> None:
    initiator, responder = ends()
    responder.send_data(b"unread")
    initiator.receive_data(responder.data_to_send())
    initiator.abort("enough")
    with pytest.raises(HandshakeError, match="enough"):
        initiator.next_event()


@pytest.mark.parametrize(
    "options",
    [{"code": 255}, {"code": 65_536}, {"code": AlertCode.BAD_RECORD_MAC}, {"retry_after": -1}, {"retry_after": 86_401}],
)
def test_an_abort_with_wrong_arguments_aborts_nothing(options: dict[str, int]) -> None:
    initiator, responder = ends()
    with pytest.raises(ValueError, match=r"alert|retry_after"):
        initiator.abort("enough", **options)
    initiator.send_data(b"still here")
    assert deliver(initiator, responder) == [DataReceived((b"still here",))]


def failed_by_a_forgery(channel: SecureChannel) -> None:
    channel.receive_data(b"\xe3\x00\x00\x11" + bytes(17))
    with pytest.raises(InvalidMessage):
        channel.next_event()


def failed_by_the_application(channel: SecureChannel) -> None:
    channel.abort("enough")


def failed_by_truncation(channel: SecureChannel) -> None:
    channel.receive_data(b"")
    with pytest.raises(PeerAborted):
        channel.next_event()


def failed_by_the_peer(channel: SecureChannel) -> None:
    channel.receive_data(Forger().alert(80, None))
    with pytest.raises(PeerAborted):
        channel.next_event()


@pytest.mark.parametrize(
    "failed", [failed_by_a_forgery, failed_by_the_application, failed_by_truncation, failed_by_the_peer]
)
def test_after_a_failure_every_call_raises_and_there_are_no_keys(failed: Callable[[SecureChannel], None]) -> None:
    _, responder = ends()
    responder.send_data(b"not taken")
    failed(responder)
    with pytest.raises(HandshakeError) as first:
        responder.next_event()
    calls: list[Callable[[], object]] = [
        responder.next_event,
        lambda: responder.receive_data(b"x"),
        lambda: responder.receive_data(b""),
        lambda: responder.send_data(b"x"),
        responder.update_keys,
        responder.close,
        lambda: responder.abort("again"),
    ]
    for call in calls:
        with pytest.raises(HandshakeError) as again:
            call()
        assert again.value is first.value
    assert [frame[0] for frame in frames(responder.data_to_send())] in ([SEALED_ALERT], [])
    assert responder.data_to_send() == b""
    assert not hasattr(responder, "_reading")
    assert not hasattr(responder._writer, "_key")


@pytest.mark.parametrize("failed", [failed_by_a_forgery, failed_by_the_application, failed_by_truncation])
def test_an_initiator_that_fails_before_it_is_accepted_has_no_key(failed: Callable[[SecureChannel], None]) -> None:
    initiator = end(INITIATOR)
    failed(initiator)
    assert initiator._rejection is None
    assert not hasattr(initiator, "_reading")
    assert not hasattr(initiator._writer, "_key")


@pytest.mark.parametrize("count", [1, 2])
def test_the_keys_of_a_failed_channel_are_gone_from_memory(count: int) -> None:
    """Also those that the frames of the error, which the caller may keep, would hold."""
    reading, writing = key("i_ap"), key("r_ap")
    alone = sys.getrefcount(reading)
    responder = SecureChannel(RESPONDER, writing=writing, reading=reading)
    assert sys.getrefcount(reading) > alone
    responder.receive_data((b"\xe3\x00\x00\x11" + bytes(17)) * count)
    with pytest.raises(InvalidMessage) as caught:
        responder.next_event()
    assert caught.value.__cause__ is not None
    assert sys.getrefcount(reading) == sys.getrefcount(writing) == alone


def test_an_error_that_is_raised_again_and_again_does_not_grow() -> None:
    _, responder = ends()
    responder.abort("enough")
    lengths = set()
    for _ in range(5):
        with pytest.raises(HandshakeError) as caught:
            responder.next_event()
        lengths.add(len(traceback.extract_tb(caught.value.__traceback__)))
    assert len(lengths) == 1


def test_an_end_of_the_stream_without_a_close_is_a_truncation() -> None:
    initiator, responder = ends()
    initiator.send_data(b"data")
    responder.receive_data(initiator.data_to_send())
    responder.receive_data(b"")
    assert responder.next_event() == DataReceived((b"data",))
    with pytest.raises(PeerAborted, match="data may be missing") as caught:
        responder.next_event()
    assert caught.value.code is None
    initiator.receive_data(responder.data_to_send())
    assert told(initiator) == AlertCode.TRUNCATED


def test_nothing_is_received_after_the_end_of_the_stream() -> None:
    _, responder = ends()
    responder.receive_data(b"")
    for data in (b"x", b""):
        with pytest.raises(LocalProtocolError, match="after the end"):
            responder.receive_data(data)


# ------------------------------------------------------------------------------------------------ buffers


def buffers() -> list[tuple[str, Any, bytes]]:
    """Kinds of buffers, and the bytes in them, in order."""
    text = bytes(range(200))
    words = array.array("I", [1, 2**31, 3])
    return [
        ("bytes", text, text),
        ("bytearray", bytearray(text), text),
        ("view", memoryview(text), text),
        ("slice", memoryview(text)[5:90], text[5:90]),
        ("every-second", memoryview(text)[::2], text[::2]),
        ("backwards", memoryview(text)[::-1], text[::-1]),
        ("words", memoryview(words), words.tobytes()),
        ("every-second-word", memoryview(words)[::2], words[::2].tobytes()),
        ("table", memoryview(text).cast("B", shape=[20, 10]), text),
        ("long", memoryview(text * 1000)[::-1], (text * 1000)[::-1]),
        ("long-words", memoryview(array.array("Q", range(20_000))), array.array("Q", range(20_000)).tobytes()),
        ("empty", memoryview(b""), b""),
        ("empty-table", memoryview(bytearray()).cast("B"), b""),
    ]


@pytest.mark.parametrize(("data", "expected"), [pytest.param(*rest, id=name) for name, *rest in buffers()])
def test_any_buffer_can_be_sent(data: Any, expected: bytes) -> None:
    initiator, responder = ends()
    initiator.send_data(data)
    assert data_of(deliver(initiator, responder)) == expected


def as_array(data: bytes) -> array.array[int]:
    return array.array("B", data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, as_array])
def test_any_buffer_can_be_received(kind: Callable[[bytes], Any]) -> None:
    initiator, responder = ends()
    initiator.send_data(b"data")
    initiator.close()
    responder.receive_data(kind(bytes(initiator.data_to_send())))
    responder.receive_data(kind(b""))
    assert events(responder) == [DataReceived((b"data",)), PeerClosed()]


@pytest.mark.parametrize("wrong", ["text", 5, None, [1, 2], 1.5])
def test_what_is_no_buffer_is_refused_and_harms_nothing(wrong: Any) -> None:
    initiator, responder = ends()
    for call in (initiator.send_data, responder.receive_data):
        with pytest.raises(TypeError):
            call(wrong)
    initiator.send_data(b"fine")
    assert deliver(initiator, responder) == [DataReceived((b"fine",))]


@pytest.mark.parametrize("size", [10, 5000, 70_000, 200_000])
def test_a_buffer_can_be_changed_once_it_was_given(size: int) -> None:
    initiator, responder = ends()
    buffer = bytearray(b"a" * size)
    view = memoryview(buffer)
    initiator.send_data(buffer)
    initiator.send_data(view[: size // 2])
    view[:] = b"b" * size
    wire = bytearray(initiator.data_to_send())
    responder.receive_data(wire)
    wire[:] = bytes(len(wire))
    assert data_of(events(responder)) == b"a" * (size + size // 2)


@pytest.mark.parametrize("size", [10, 65_516, 70_000, 300_000])
def test_what_comes_out_belongs_to_the_caller(size: int) -> None:
    initiator, responder = ends()
    initiator.send_data(b"a" * size)
    first = initiator.data_to_send()
    kept = bytes(first)
    if isinstance(first, bytearray):
        first[:] = bytes(len(first))
        first += b"more"
    initiator.send_data(b"b" * size)
    second = initiator.data_to_send()
    responder.receive_data(kept)
    event = responder.next_event()
    responder.receive_data(second)
    assert isinstance(event, DataReceived)
    assert all(type(record) is bytes for record in event.records)
    assert data_of([event]) == b"a" * size
    assert data_of(events(responder)) == b"b" * size


# ------------------------------------------------------------------------------------------------ with the engine


def session_of(handshake: Handshake) -> Session:
    """Let it run to its end."""
    while not isinstance(event := handshake.next_event(), HandshakeCompleted):
        assert not isinstance(event, Signal)
    return event.session


def test_a_session_has_one_channel_with_its_own_keys() -> None:
    pair = succeed(run(alice(), bob()))
    initiator, responder = channels(pair)
    assert initiator.next_event() == Accepted()
    for ended in (pair.initiator, pair.responder):
        with pytest.raises(LocalProtocolError, match="were taken already"):
            ended.session.channel()
    initiator.send_data(b"hello")
    assert deliver(initiator, responder) == [DataReceived((b"hello",))]


def test_data_before_the_responders_decision_is_held_and_read_after_it() -> None:
    questions: list[PeerIdentified] = []
    pair = Pair(alice(), bob(trust=trust.ask()), answer=questions.append, close=False).run()
    channel = pair.initiator.session.channel()
    channel.send_data(b"may I?")
    channel.send_data(b"please")
    responder = pair.responder.handshake
    responder.receive_data(bytes(channel.data_to_send()))
    assert channel.next_event() is NEED_DATA
    assert not channel.confirmed
    questions[0].accept()
    receiver = session_of(responder).channel()
    assert events(receiver) == [DataReceived((b"may I?", b"please"))]
    channel.receive_data(responder.data_to_send())
    assert channel.next_event() == Accepted()


def test_data_before_a_refusal_is_dropped() -> None:
    questions: list[PeerIdentified] = []
    pair = Pair(alice(), bob(trust=trust.ask()), answer=questions.append, close=False).run()
    channel = pair.initiator.session.channel()
    channel.send_data(b"may I?")
    responder = pair.responder.handshake
    responder.receive_data(bytes(channel.data_to_send()))
    questions[0].reject("not today")
    with pytest.raises(HandshakeError, match="not today"):
        responder.next_event()
    assert responder.session is None
    assert responder.trailing_data == b""
    channel.receive_data(responder.data_to_send())
    assert told(channel) == AlertCode.ACCESS_DENIED
    assert not channel.confirmed


@pytest.mark.parametrize("cut", [1, 20, 60, 200])
def test_bytes_after_the_last_handshake_frame_are_not_lost(cut: int) -> None:
    pair = Pair(alice(), bob(), close=False)
    initiator, responder = pair.initiator.handshake, pair.responder.handshake
    initiator.next_event()
    responder.receive_data(initiator.data_to_send())
    responder.next_event()
    initiator.receive_data(responder.data_to_send())
    sender = session_of(initiator).channel()
    sender.send_data(b"early data")
    sender.update_keys()
    sender.close()
    wire = initiator.data_to_send() + sender.data_to_send()
    for start in range(0, len(wire), cut):
        responder.receive_data(wire[start : start + cut])
    responder.receive_data(b"")
    receiver = session_of(responder).channel()
    assert events(receiver) == [DataReceived((b"early data",)), KeyUpdated(INITIATOR), PeerClosed()]


def test_the_channel_says_no_more_than_its_role() -> None:
    initiator, responder = ends()
    assert repr(initiator) == "SecureChannel(INITIATOR, confirmed=True)"
    assert repr(responder) == "SecureChannel(RESPONDER, confirmed=True)"
