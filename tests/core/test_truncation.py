"""The end of the stream at every byte offset, in both roles: a typed error in bounded steps."""

from __future__ import annotations

import pytest

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    Event,
    Handshake,
    HandshakeCompleted,
    HandshakeError,
    PeerAborted,
    Profile,
    Role,
    Signal,
    State,
)
from nautilus_core.testing import Pair

from .helpers import Talk, alice, bob, both, frames, run, succeed

PROFILES = {
    "plain": both(),
    "retry": (
        alice(suites=("X25519_AES128GCM_SHA256", "P256_AES128GCM_SHA256")),
        bob(suites=("P256_AES128GCM_SHA256",)),
    ),
    "talk": both(lambda profile: profile.insert_before("initiator-finished", lambda: Talk(length=4))),
}


def cut_off(profiles: tuple[Profile, Profile], victim: Role, offset: int) -> Handshake:
    """Run a handshake in which `victim` receives `offset` bytes and then the end of the stream."""
    received = 0
    pair = Pair(*profiles, close=False)

    def tamper(sender: Role, number: int, data: bytes) -> bytes:
        nonlocal received
        if sender is victim:
            return data
        data = data[: max(offset - received, 0)]
        received += len(data)
        return data

    pair = Pair(*profiles, tamper=tamper, close=False).run()
    end = pair.initiator if victim is INITIATOR else pair.responder
    assert end.error is None, end.error
    return end.handshake


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("victim", Role)
def test_the_end_of_the_stream_at_every_offset(name: str, victim: Role) -> None:
    profiles = PROFILES[name]
    whole = succeed(run(*profiles))
    sender = whole.responder if victim is INITIATOR else whole.initiator
    flights = sender.flights[:-1] if victim is INITIATOR else sender.flights  # the last is the acceptance
    for offset in range(sum(map(len, flights))):
        handshake = cut_off(profiles, victim, offset)
        handshake.receive_data(b"")
        with pytest.raises(PeerAborted) as caught:
            bounded(handshake)
        error = caught.value
        assert error.code is None
        assert error.retryable
        assert error.step in whole.initiator.session.steps
        assert handshake.state is State.FAILED
        alert = frames(handshake.data_to_send())[-1]
        assert alert[0] in (0xE2, 0xE5)


def bounded(handshake: Handshake) -> list[Event]:
    """At most 40 events, until a signal; the engine must not go on for ever."""
    events: list[Event] = []
    for _ in range(40):
        event = handshake.next_event()
        if isinstance(event, Signal):
            raise TypeError(f"{event!r} after the end of the stream")
        events.append(event)
        if isinstance(event, HandshakeCompleted):
            return events
    raise RuntimeError("it goes on and on")


@pytest.mark.parametrize("victim", Role)
def test_an_end_right_after_the_last_message_is_the_channels(victim: Role) -> None:
    profiles = both()
    whole = succeed(run(*profiles))
    sender = whole.responder if victim is INITIATOR else whole.initiator
    flights = sender.flights[:-1] if victim is INITIATOR else sender.flights
    handshake = cut_off(profiles, victim, sum(map(len, flights)))
    assert handshake.state is State.COMPLETED
    handshake.receive_data(b"")
    assert handshake.session is not None
    channel = handshake.session.channel()
    with pytest.raises(PeerAborted, match="without a close"):
        channel.next_event()


def test_an_acceptance_cut_off_at_every_offset_is_none() -> None:
    profiles = both()
    first, acceptance = succeed(run(*profiles)).responder.flights
    for offset in range(len(acceptance)):
        handshake = cut_off(profiles, INITIATOR, len(first) + offset)
        handshake.receive_data(b"")
        assert handshake.session is not None
        channel = handshake.session.channel()
        with pytest.raises(HandshakeError, match="without a close"):
            channel.next_event()
        assert not channel.confirmed


def test_the_events_before_the_end_are_still_handed_out() -> None:
    """The error comes last, after what happened before it."""
    initiator = Handshake(INITIATOR, alice())
    while not isinstance(initiator.next_event(), Signal):
        pass
    responder = Handshake(RESPONDER, bob())
    responder.receive_data(initiator.data_to_send())
    responder.receive_data(b"")
    steps = [getattr(responder.next_event(), "step", None) for _ in range(8)]
    assert steps[-1] == "responder-finished"
    with pytest.raises(PeerAborted, match="initiator-authentication"):
        responder.next_event()
