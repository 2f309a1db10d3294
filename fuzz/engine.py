"""The whole engine, in both roles and each state: real flights up to some point, then the input in place of the next one.

An input is: role, how many real flights come before, with or without security, how the rest is cut, then the bytes.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Final

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    CustomProtocolStep,
    Handshake,
    HandshakeCompleted,
    HandshakeError,
    Identity,
    MultiMessageStep,
    Profile,
    Signal,
    State,
    profiles,
    trust,
)
from nautilus_core.channel import SecureChannel
from nautilus_core.events import PeerClosed

from .insecure import NAME, insecure_provider

_IDENTITY: Final = Identity.generate()
_SECURE: Final = ["X25519_AES128GCM_SHA256", "P256_AES128GCM_SHA256"]
MOST_EVENTS: Final = 2000


class _Talk(MultiMessageStep):
    name, sender = "talk", INITIATOR

    def __init__(self) -> None:
        self._written = 0

    def write(self, context: Any) -> bytes:
        self._written += 1
        self.finished = self._written == 2
        return b"last" if self.finished else b"talk"

    def read(self, context: Any, message: bytes) -> None:
        self.finished = message == b"last"


def _custom() -> CustomProtocolStep[bytes]:
    return CustomProtocolStep("custom", RESPONDER, write=lambda _: b"custom", read=lambda *_: None, required=False)


def make_profile(secure: bool) -> Profile:
    """A handshake with custom steps, extensions; an anonymous peer is allowed."""
    return (
        profiles.nautilus(
            identity=_IDENTITY,
            trust=trust.anyone(anonymous=True),
            protocols=["fuzz/1", "fuzz/2"],
            suites=_SECURE if secure else [NAME, *_SECURE],
            target="fuzz",
            extensions={"extension": b"value"},
        )
        .insert_before("initiator-finished", _custom)
        .insert_before("initiator-finished", _Talk)
    )


def _drain(engine: Handshake) -> bytes:
    for _ in range(MOST_EVENTS):
        event = engine.next_event()
        if isinstance(event, Signal | HandshakeCompleted):
            return engine.data_to_send()
    raise AssertionError("the engine does not come to rest")


def _drain_channel(channel: SecureChannel) -> None:
    for _ in range(MOST_EVENTS):
        if isinstance(channel.next_event(), Signal | PeerClosed):
            channel.data_to_send()
            return
    raise AssertionError("the channel does not come to rest")


def _deliver(engine: Handshake, data: bytes, cut: int) -> None:
    size = cut or max(1, len(data))
    channel: SecureChannel | None = None
    for place in range(0, len(data), size):
        piece = data[place : place + size]
        if channel is not None:
            channel.receive_data(piece)
            _drain_channel(channel)
            continue
        engine.receive_data(piece)
        _drain(engine)
        if engine.session is not None:
            channel = engine.session.channel()
            _drain_channel(channel)


def _play(role_is_initiator: bool, real_flights: int, secure: bool) -> tuple[Handshake, list[bytes]]:
    """Two real ends, after so many flights; returns the one under test, and the flights that were sent."""
    profile = make_profile(secure)
    ends = Handshake(INITIATOR, profile), Handshake(RESPONDER, profile)
    tested = ends[0] if role_is_initiator else ends[1]
    flights: list[bytes] = []
    turn = 0
    for _ in range(real_flights):
        flight = _drain(ends[turn]) if ends[turn].state is not State.COMPLETED else b""
        flights.append(flight)
        if not flight or ends[1 - turn].state is State.COMPLETED:
            break
        ends[1 - turn].receive_data(flight)
        turn = 1 - turn
    if tested.state is not State.COMPLETED:
        _drain(tested)
    return tested, flights


def one_input(data: bytes) -> None:
    """Run one input; only a `HandshakeError` may come out of the peer's bytes, and then the engine stays failed."""
    if len(data) < 4:
        return
    secure = bool(data[2] & 1)
    with nullcontext() if secure else insecure_provider():
        engine, _ = _play(bool(data[0] & 1), data[1] % 5, secure)
        if engine.state is State.COMPLETED:
            return
        try:
            _deliver(engine, data[4:], data[3])
        except HandshakeError as error:
            if engine.state is State.FAILED:
                engine.data_to_send()
                try:
                    engine.next_event()
                except HandshakeError as again:
                    if again is not error:
                        raise AssertionError("another error than before") from again
                    if engine.session is not None or engine.data_to_send():
                        raise AssertionError("a failed engine has a session, or something to send") from again
                else:
                    raise AssertionError("a failed engine goes on") from error


def seeds() -> list[bytes]:
    """Each real flight, for the end that receives it, in the state in which it comes."""
    inputs = []
    for secure in (False, True):
        with nullcontext() if secure else insecure_provider():
            _, flights = _play(True, 8, secure)
            for number, flight in enumerate(flights):
                to_initiator = number % 2
                inputs.append(bytes((to_initiator, number, int(secure), 0)) + flight)
                inputs.append(bytes((to_initiator, number, int(secure), 7)) + flight[: len(flight) // 2])
    return inputs
