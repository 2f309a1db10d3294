"""`upgrade-to-tls` in the engine: both ends pause, nothing that came before the switch survives it, the binding holds."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pytest

from nautilus_core import (
    INITIATOR,
    PAUSED,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    ChannelBinding,
    ChannelBindings,
    Handshake,
    HandshakeCompleted,
    InvalidMessage,
    LocalProtocolError,
    NegotiationFailed,
    Profile,
    Signal,
    StepSkipped,
    TransportUpgrade,
    UpgradeToTls,
)
from nautilus_core.testing import Pair

from .helpers import alice, altered, bob, frames, packed, run, succeed

HERE: Final = ChannelBindings((ChannelBinding("tls-exporter", b"1" * 32),))
THERE: Final = ChannelBindings((ChannelBinding("tls-exporter", b"2" * 32),))
OFF: Final = ChannelBindings((), required=False)


def upgraded(profile: Profile, *, required: bool = False) -> Profile:
    """The profile with the step."""
    return profile.insert_after("hello-response", partial(UpgradeToTls, required=required))


def engines() -> tuple[Handshake, Handshake]:
    """Alice's and Bob's, with the step."""
    return Handshake(INITIATOR, upgraded(alice())), Handshake(RESPONDER, upgraded(bob()))


def question_of(engine: Handshake) -> TransportUpgrade:
    """Run it until it asks."""
    while not isinstance(event := engine.next_event(), TransportUpgrade):
        assert not isinstance(event, Signal)
    assert engine.next_event() is PAUSED
    return event


def at_the_switch(one: Handshake, other: Handshake) -> tuple[TransportUpgrade, TransportUpgrade]:
    """Both have asked."""
    while one.next_event() is not Signal.NEED_DATA:
        pass
    other.receive_data(one.data_to_send())
    theirs = question_of(other)
    one.receive_data(other.data_to_send())
    return question_of(one), theirs


def switched(mine: ChannelBindings = HERE, theirs: ChannelBindings = HERE) -> Pair:
    """Both ends, after TLS with these bindings."""
    one, other = engines()
    here, there = at_the_switch(one, other)
    here.secured(mine)
    there.secured(theirs)
    return run(one, other)


def test_both_ends_go_on_inside_tls_and_are_bound_to_it() -> None:
    pair = succeed(switched())
    for end in (pair.initiator, pair.responder):
        assert end.session.tls_binding == "tls-exporter"
        assert "upgrade-to-tls" in end.session.steps


def test_the_initiator_is_the_client() -> None:
    here, there = at_the_switch(*engines())
    assert (here.client, there.client) == (True, False)


def test_without_a_binding_it_says_so() -> None:
    pair = succeed(switched(OFF, OFF))
    assert pair.initiator.session.tls_binding is None


@pytest.mark.parametrize(("mine", "theirs"), [(HERE, THERE), (HERE, OFF), (OFF, HERE)])
def test_another_connection_is_found_out(mine: ChannelBindings, theirs: ChannelBindings) -> None:
    pair = switched(mine, theirs)
    errors = [pair.initiator.error, pair.responder.error]
    assert all(error is not None for error in errors)
    assert any(isinstance(error, AuthenticationFailed) for error in errors)
    if mine is HERE and theirs is THERE:
        assert all("terminates TLS" in str(error) for error in errors)


@pytest.mark.parametrize(
    "added", [b"\xe1", packed(["suite", "X25519_AES128GCM_SHA256", ["ed25519"], ["raw-public-key"]]), b"\x16\x03\x01"]
)
def test_what_came_in_the_clear_with_go_does_not_survive_the_switch(added: bytes) -> None:
    one, other = engines()
    while one.next_event() is not Signal.NEED_DATA:
        pass
    other.receive_data(one.data_to_send())
    question_of(other)
    one.receive_data(other.data_to_send() + added)
    with pytest.raises(InvalidMessage, match="bytes came before the switch to TLS; .* in the clear") as caught:
        while True:
            one.next_event()
    assert caught.value.alert == AlertCode.UNEXPECTED_MESSAGE


def test_what_came_in_the_clear_with_the_first_flight_does_not_either() -> None:
    one, other = engines()
    while one.next_event() is not Signal.NEED_DATA:
        pass
    other.receive_data(one.data_to_send() + packed(["upgrade-to-tls", False, b""]))
    with pytest.raises(InvalidMessage, match="bytes came before the switch to TLS"):
        while True:
            other.next_event()


def test_nor_does_what_is_fed_while_tls_is_made() -> None:
    one, other = engines()
    here, there = at_the_switch(one, other)
    one.receive_data(b"\x16\x03\x03")
    with pytest.raises(InvalidMessage, match="bytes came before the switch to TLS; .* got 3 bytes in the clear"):
        one.next_event()
    here.secured(HERE)  # which changes nothing any more
    assert other.next_event() is PAUSED
    there.secured(HERE)


def test_what_waits_to_be_sent_goes_before_the_switch() -> None:
    one, other = engines()
    while one.next_event() is not Signal.NEED_DATA:
        pass
    other.receive_data(one.data_to_send())
    question_of(other).secured(HERE)
    with pytest.raises(LocalProtocolError, match="send what data_to_send"):
        other.next_event()


@pytest.mark.parametrize("at", [INITIATOR, RESPONDER])
def test_where_one_end_has_it_alone_it_is_skipped_and_reported(at: Any) -> None:
    one, other = (upgraded(alice()), bob()) if at is INITIATOR else (alice(), upgraded(bob()))
    pair = succeed(run(one, other))
    end = pair.initiator if at is INITIATOR else pair.responder
    assert StepSkipped("upgrade-to-tls", "the peer does not have it") in end.events
    assert end.session.tls_binding is None


@pytest.mark.parametrize("at", [INITIATOR, RESPONDER])
def test_where_it_is_required_there_is_no_handshake_without_it(at: Any) -> None:
    one, other = (
        (upgraded(alice(), required=True), bob()) if at is INITIATOR else (alice(), upgraded(bob(), required=True))
    )
    pair = run(one, other)
    assert any(isinstance(end.error, NegotiationFailed) for end in (pair.initiator, pair.responder))
    assert not any(end.completed for end in (pair.initiator, pair.responder))


def test_who_strips_the_step_from_the_hellos_is_found_out() -> None:
    def strip(fields: list[Any]) -> None:
        fields[4] = [step for step in fields[4] if step[0] != "upgrade-to-tls"]

    pair = run(upgraded(alice()), upgraded(bob()), tamper=altered("hello", strip))
    assert not pair.initiator.completed
    assert not pair.responder.completed


def test_who_refuses_the_switch_ends_the_handshake() -> None:
    one, other = engines()
    here, _ = at_the_switch(one, other)
    here.reject("there is no certificate")
    pair = run(one, other)
    assert isinstance(pair.initiator.error, AuthenticationFailed)


def test_go_says_nothing_else() -> None:
    one, other = engines()
    while one.next_event() is not Signal.NEED_DATA:
        pass
    other.receive_data(one.data_to_send())
    question_of(other)
    first, _ = frames(other.data_to_send())
    one.receive_data(first + packed(["upgrade-to-tls", False, b"more"]))
    with pytest.raises(InvalidMessage, match="malformed upgrade"):
        while not isinstance(one.next_event(), HandshakeCompleted):
            pass
