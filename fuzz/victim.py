"""An engine, and then its channel, that is fed what a peer sends; and the recordings of what real peers send to it.

It checks what must be so after every piece: bounded buffers, events that come to an end, and after a failure nothing but
the alert, the same error for ever, no session and no keys.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any, Final

from fuzz.checks import Finding, check_text
from fuzz.insecure import FixedEntropy, insecure_provider
from fuzz.people import BINDINGS, NOW, PROFILES, PSK, SECRETS, answer, profile
from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    PAUSED,
    RESPONDER,
    Channel,
    Handshake,
    HandshakeCompleted,
    HandshakeError,
    PeerClosed,
    Question,
    Role,
    State,
)
from nautilus_core.limits import DEFAULT_LIMITS

MAX_EVENTS: Final = 2000
"""More than any piece can cause: an engine that does not come to rest is a finding."""

AT_ONCE, REFUSED, NEVER, LATE = range(4)
"""How questions are answered: with the next piece, when late."""

_SECRETS: Final = (PSK, *SECRETS.values())
_MOST_BUFFERED: Final = max(DEFAULT_LIMITS.message, DEFAULT_LIMITS.record) + 4


def split_frames(data: bytes | bytearray) -> list[bytes]:
    """Cut what travels into frames."""
    frames: list[bytes] = []
    while data:
        size = 4 + int.from_bytes(data[1:4], "big")
        frames.append(bytes(data[:size]))
        data = data[size:]
    return frames


def engine(role: Role, name: str, *, asks: bool = False) -> Handshake:
    """A fresh end of a handshake whose every draw is fixed."""
    made = profile(role, name, asks)
    return Handshake(role, made, entropy=FixedEntropy(role), wall_time=NOW, channel_bindings=BINDINGS.get(name))


def _drain(handshake: Handshake) -> None:
    while not isinstance(event := handshake.next_event(), HandshakeCompleted) and event is not NEED_DATA:
        if isinstance(event, Question):
            answer(event, handshake.role)


@cache
def _recorded(name: str, secure: bool) -> dict[Role, list[bytes]]:
    ends = {role: engine(role, name) for role in (INITIATOR, RESPONDER)}
    sent: dict[Role, bytes] = {INITIATOR: b"", RESPONDER: b""}
    while any(handshake.state is not State.COMPLETED for handshake in ends.values()):
        for role, handshake in ends.items():
            if handshake.state is not State.COMPLETED:
                _drain(handshake)
            data = handshake.data_to_send()
            sent[role] += data
            if data and ends[role.peer].state is not State.COMPLETED:
                ends[role.peer].receive_data(data)
    for role, handshake in ends.items():
        if handshake.session is not None:
            channel = handshake.session.channel()
            for payload in (b"one", b"two", bytes(300)):
                channel.send_data(payload)
            channel.update_keys(ask_peer=True)
            channel.send_data(b"three")
            channel.close()
            sent[role] += channel.data_to_send()
    return {role.peer: split_frames(data) for role, data in sent.items()}


def recorded(victim: Role, name: str, *, secure: bool) -> list[bytes]:
    """The frames that a real peer sends to `victim`: a whole handshake and some records. Made once."""
    with provider(secure=secure):
        return list(_recorded(name, secure)[victim])


def provider(*, secure: bool) -> Any:
    """A context in which cryptography is real, or has no security."""
    return nullcontext() if secure else insecure_provider()


@cache
def record_all() -> None:
    """Make every recording, so that no input pays for it."""
    for name in PROFILES:
        for secure in (True, False):
            recorded(INITIATOR, name, secure=secure)


class Victim:
    """An engine, and then its channel, that is fed until it has failed or all is said."""

    def __init__(self, role: Role, name: str, answers: int = AT_ONCE, *, asks: bool = False) -> None:
        self.handshake = engine(role, name, asks=asks)
        self.answers = answers
        self.channel: Channel | None = None
        self.error: HandshakeError | None = None
        self.closed = False
        self.events = 0
        self._late: list[Any] = []
        if role is INITIATOR:
            self.handshake.next_event()
            self.handshake.data_to_send()

    def feed(self, data: bytes) -> bool:
        """Give it bytes and let it run; whether it goes on. Everything but a `HandshakeError` gets out of here."""
        self.events = 0
        for question in self._late:
            answer(question, self.handshake.role)
        self._late.clear()
        try:
            (self.channel or self.handshake).receive_data(data)
            if self.channel is None:
                self._run_engine()
            if self.channel is not None:
                self._run_channel(self.channel)
            self._check_buffers(len(data))
        except HandshakeError as error:
            self.error = error
            self._check_failure(error)
            return False
        return True

    def _count(self) -> None:
        self.events += 1
        if self.events > MAX_EVENTS:
            raise Finding("no end to the events")

    def _run_engine(self) -> None:
        while (event := self.handshake.next_event()) is not NEED_DATA:
            self._count()
            self.handshake.data_to_send()
            if event is PAUSED:
                return
            if isinstance(event, Question):
                self._asked(event)
            elif isinstance(event, HandshakeCompleted):
                session = event.session
                if len(session.channel_binding) != 32 or session.peer is None:
                    raise Finding("a session without a binding or a peer")
                self.channel = session.channel()
                return

    def _asked(self, question: Any) -> None:
        if self.answers in (AT_ONCE, REFUSED):
            answer(question, self.handshake.role, favourably=self.answers == AT_ONCE)
        elif self.answers == LATE:
            self._late.append(question)

    def _run_channel(self, channel: Channel) -> None:
        while (event := channel.next_event()) is not NEED_DATA:
            self._count()
            if isinstance(event, PeerClosed):
                self.closed = True
                break
        channel.send_data(b"our own")
        channel.data_to_send()

    def _check_buffers(self, piece: int) -> None:
        state, most = self.handshake.state, _MOST_BUFFERED
        holder: Any = self.channel
        if self.closed:  # nobody asks the channel for more
            return
        buffered = len(self.handshake._stream.peek()) if holder is None else len(holder._received)
        if holder is None and state is State.PAUSED:
            most = DEFAULT_LIMITS.held
        if buffered > most + piece:
            raise Finding(f"{buffered} bytes are held in the state {state.name}")

    def _check_failure(self, error: HandshakeError) -> None:
        """It has failed for good: the same error again, no session, nothing to send after the alert."""
        if not error.step:
            raise Finding(f"an error that does not say where: {error!r}") from error
        check_text(error, _SECRETS)
        handshake, owner = self.handshake, self.channel or self.handshake
        alert = owner.data_to_send()
        if self.channel is None and len(alert) > 64:
            raise Finding(f"{len(alert)} bytes to send after a failure: more than an alert") from error
        if owner.data_to_send():
            raise Finding("something to send after the alert") from error
        if self.channel is None:
            if handshake.session is not None or handshake.state is not State.FAILED:
                raise Finding(f"{handshake!r} after {error!r}") from error
            if handshake._stream.peek() or getattr(handshake._stream, "reading", None) is not None:
                raise Finding("a failed handshake holds bytes or keys") from error
        for again in (owner.next_event, lambda: owner.receive_data(b"more")):
            try:
                again()
            except HandshakeError as same:
                if same is not error:
                    raise Finding(f"{same!r} after {error!r}") from same
            else:
                if again == owner.next_event:
                    raise Finding(f"an event after {error!r}") from error
        if owner.data_to_send():
            raise Finding("a failed end sends again") from error


def pieces(data: bytes, size: int) -> list[bytes]:
    """Cut into pieces of `size` bytes; one piece for 0."""
    step = size or max(len(data), 1)
    return [data[start : start + step] for start in range(0, len(data), step)]


def play(role: Role, name: str, peer: bytes, *, size: int = 0, answers: int = AT_ONCE, asks: bool = False) -> Victim:
    """Feed all of `peer` and the end of its stream to a fresh victim."""
    victim = Victim(role, name, answers, asks=asks)
    if all(victim.feed(piece) for piece in pieces(peer, size)):
        victim.feed(b"")
    return victim
