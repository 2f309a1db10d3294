"""Any flipped bit, in any byte of any flight and in either role, never leaves two ends with different views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    Accepted,
    AlertCode,
    AuthenticationFailed,
    Context,
    HandshakeError,
    InvalidMessage,
    PeerAborted,
    Profile,
    Role,
    SessionKeyDerivation,
    SessionKeyDerivationFailed,
    Stage,
    State,
    trust,
)
from nautilus_core.testing import End, Pair, Tamper, alert_of

from .helpers import MALLORY, alice, altered, bob, both, frame, frames, note, packed, put, run, succeed

P256 = "P256_AES128GCM_SHA256"
X25519 = "X25519_AES128GCM_SHA256"


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 1 << bit,)) + data[place + 1 :]


def flip(sender: Role, number: int, place: int, bit: int) -> Tamper:
    """Flips one bit of one flight."""
    return lambda role, count, data: flipped(data, place, bit) if (role, count) == (sender, number) else data


def confirmed(end: End) -> bool:
    """Whether an initiator has a session and knows that the responder has one too."""
    if not end.completed:
        return False
    channel = end.session.channel()
    try:
        while isinstance(channel.next_event(), Accepted):
            pass
    except HandshakeError:
        assert not channel.confirmed
        return False
    return channel.confirmed


def check(profiles: tuple[Profile, Profile], sender: Role, number: int, place: int, bit: int, acceptance: int) -> None:
    """Flip a bit: typed errors alone, no two views of one handshake, nobody left waiting."""
    pair = Pair(*profiles, tamper=flip(sender, number, place, bit)).run()
    where = f"bit {bit} of byte {place} of flight {number} of the {sender.value}"
    for end in (pair.initiator, pair.responder):
        assert end.error is None or isinstance(end.error, HandshakeError), f"{where}: {end.error!r}"
        assert end.handshake.state in (State.COMPLETED, State.FAILED), f"{where}: {end.handshake!r}"
    assert not confirmed(pair.initiator), f"{where}: the initiator is content"
    assert pair.responder.completed is ((sender, number) == (RESPONDER, acceptance)), f"{where}: the responder"


def flights(pair: Pair) -> Iterator[tuple[Role, int, bytes]]:
    """The flights of a pair, by sender and number."""
    for end in (pair.initiator, pair.responder):
        for number, flight in enumerate(end.flights):
            yield end.handshake.role, number, flight


def with_note(profile: Profile) -> Profile:
    return profile.insert_before("initiator-finished", note("note", RESPONDER)).insert_before(
        "suite", note("early", RESPONDER, needs=Stage.NOTHING)
    )


@pytest.mark.parametrize("bit", range(8))
def test_every_bit_of_every_byte_of_every_flight(bit: int) -> None:
    flip_each_byte(both(), lambda place: bit)


@pytest.mark.parametrize(
    "profiles",
    [
        pytest.param((alice(suites=(X25519, P256)), bob(suites=(P256,))), id="retry"),
        pytest.param((alice(identity=ANONYMOUS), bob(trust=trust.anyone(anonymous=True))), id="anonymous"),
        pytest.param(both(with_note, protocols=("a", "b"), extensions={"colour": b"red"}), id="custom"),
    ],
)
def test_one_bit_of_every_byte_of_every_flight(profiles: tuple[Profile, Profile]) -> None:
    flip_each_byte(profiles, lambda place: place % 8)


def flip_each_byte(profiles: tuple[Profile, Profile], bit: Callable[[int], int]) -> None:
    unaltered = succeed(run(*profiles))
    acceptance = len(unaltered.responder.flights) - 1
    for sender, number, flight in flights(unaltered):
        for place in range(len(flight)):
            check(profiles, sender, number, place, bit(place), acceptance)


def test_an_altered_last_flight_leaves_an_initiator_whose_channel_says_so() -> None:
    profiles = both()
    length = len(succeed(run(*profiles)).initiator.flights[1])
    for place in range(length):
        pair = Pair(*profiles, tamper=flip(INITIATOR, 1, place, place % 8)).run()
        assert isinstance(pair.responder.error, HandshakeError)
        assert pair.initiator.completed
        channel = pair.initiator.session.channel()
        with pytest.raises(HandshakeError):
            channel.next_event()
        assert not channel.confirmed


def test_an_altered_acceptance_is_none() -> None:
    profiles = both()
    for place in range(len(succeed(run(*profiles)).responder.flights[1])):
        pair = Pair(*profiles, tamper=flip(RESPONDER, 1, place, place % 8)).run()
        assert pair.responder.completed
        channel = pair.initiator.session.channel()
        with pytest.raises(HandshakeError):
            channel.next_event()
        assert not channel.confirmed


# ---------------------------------------------------------------- what the two ends say about it


def test_an_altered_first_flight_shows_when_the_first_sealed_message_does_not_open() -> None:
    pair = run(*both(), tamper=altered("hello", put(3, bytes(32))))
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert "responder-authentication: a sealed message does not open" in str(pair.initiator.error)
    assert alert_of(pair.responder) == AlertCode.BAD_RECORD_MAC


def test_a_sealed_message_that_was_altered_does_not_open() -> None:
    length = len(succeed(run(*both())).responder.flights[0])
    pair = run(*both(), tamper=flip(RESPONDER, 0, length - 1, 0))
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert pair.initiator.error.step == "responder-finished"
    assert pair.initiator.error.alert == AlertCode.BAD_RECORD_MAC
    assert alert_of(pair.responder) == AlertCode.BAD_RECORD_MAC


def test_removing_the_strong_suites_from_the_offer_is_noticed() -> None:
    weak = "P256_AES128GCM_SHA256"
    suites = ("X25519_AES256GCM_SHA384", weak)

    def strip(fields: list[list[str]]) -> None:
        fields[1] = [weak]

    pair = run(alice(suites=suites), bob(suites=suites), tamper=altered("suites", strip))
    assert not pair.initiator.completed
    assert not pair.responder.completed
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert alert_of(pair.responder) == AlertCode.BAD_RECORD_MAC


def test_taking_an_optional_step_out_of_the_offer_is_noticed() -> None:
    def strip(fields: list[list[list[object]]]) -> None:
        fields[4] = [step for step in fields[4] if step[0] != "note"]

    profiles = both(lambda profile: profile.insert_before("initiator-finished", note(required=False)))
    pair = run(*profiles, tamper=altered("hello", strip))
    assert not pair.initiator.completed
    assert not pair.responder.completed


def test_an_alert_from_somebody_on_the_way_ends_the_handshake_but_not_with_authority() -> None:
    pair = run(*both(), tamper=lambda role, number, data: packed([49, 80_000], 0xE2) if role is RESPONDER else data)
    assert alert_of(pair.initiator) == AlertCode.ACCESS_DENIED
    assert "not authenticated" in str(pair.initiator.error)
    assert getattr(pair.initiator.error, "retry_after", None) == 60


def test_a_plaintext_alert_after_a_sealed_message_is_not_believed() -> None:
    def inject(role: Role, number: int, data: bytes) -> bytes:
        if role is INITIATOR:
            return data
        *first, last = frames(data)
        return b"".join(first) + packed([49, None], 0xE2) + last

    pair = run(*both(), tamper=inject)
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert "a plaintext alert after sealed messages" in str(pair.initiator.error)


def test_a_sealed_alert_before_there_are_keys_is_refused() -> None:
    pair = run(*both(), tamper=lambda role, number, data: packed([49, None], 0xE5) if role is RESPONDER else data)
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert "a sealed alert before there are keys" in str(pair.initiator.error)


@pytest.mark.parametrize("body", [b"", b"\x90", b"\x91\x31", b"\x92\xa1x\xc0", b"\x92\xcd\xff\xff\xa0", b"\xff" * 64])
def test_a_malformed_alert_is_an_error_of_its_own(body: bytes) -> None:
    pair = run(*both(), tamper=lambda role, number, data: frame(body, 0xE2) if role is RESPONDER else data)
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert "malformed alert" in str(pair.initiator.error)


def test_an_alert_over_the_limit_is_refused_on_its_header() -> None:
    pair = run(*both(), tamper=lambda role, number, data: b"\xe2\x00\x00\x41" if role is RESPONDER else data)
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert "an alert over the limit" in str(pair.initiator.error)


def test_the_wrong_key_is_refused_on_this_side_and_told_to_the_other() -> None:
    pair = run(alice(trust=trust.pinned(MALLORY.public)), bob())
    assert isinstance(pair.initiator.error, AuthenticationFailed)
    assert "not a pinned one" in str(pair.initiator.error)
    assert alert_of(pair.responder) == AlertCode.ACCESS_DENIED


class LyingFinished(SessionKeyDerivation):
    """Writes a Finished MAC with one bit flipped."""

    def write(self, context: Context) -> Any:
        message = super().write(context)
        return type(message)(flipped(message.mac, 0, 0))


def lying(profile: Profile, role: Role) -> Profile:
    return profile.replace(f"{role.value}-finished", lambda: LyingFinished(role, profile.limits))


def test_a_wrong_finished_of_the_responder_is_refused_and_told() -> None:
    pair = run(alice(), lying(bob(), RESPONDER))
    assert isinstance(pair.initiator.error, SessionKeyDerivationFailed)
    assert alert_of(pair.responder) == AlertCode.BAD_FINISHED


def test_a_wrong_finished_of_the_initiator_is_refused_and_told() -> None:
    pair = run(lying(alice(), INITIATOR), bob())
    assert isinstance(pair.responder.error, SessionKeyDerivationFailed)
    with pytest.raises(PeerAborted) as told:
        pair.initiator.session.channel().next_event()
    assert told.value.code == AlertCode.BAD_FINISHED
    assert told.value.authenticated
