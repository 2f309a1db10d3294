"""Fuzzes the whole engine, in both roles and in any state, and the channel after it.

The first byte chooses: the victim's role (bit 0), whether cryptography has any security (bit 1), the profile (bits 2 and
3; bit 7 for the fifth), whether the rest is edits of a real peer's flights or simply the peer's bytes (bit 4), how questions
are answered (bits 5 and 6). The second byte is in how many bytes at a time they come (0 for all at once).

An edit has four bytes: which frame of the real peer's, what to do with it, and two arguments. Frames are decoded and
encoded again, also sealed ones when there is no security, so that edits reach the fields of every message.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any, Final

import msgspec

from fuzz.insecure import TAG, FixedEntropy, insecure_provider
from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    NEED_DATA,
    PAUSED,
    RESPONDER,
    Channel,
    Context,
    CustomProtocolStep,
    Handshake,
    HandshakeCompleted,
    HandshakeError,
    Identity,
    MultiMessageStep,
    PeerClosed,
    PeerIdentified,
    Profile,
    Question,
    Role,
    State,
    profiles,
    trust,
)

SECURE_SUITES: Final = ("X25519_AES128GCM_SHA256", "X25519MLKEM768_AES256GCM_SHA384", "P256_AES128GCM_SHA256")
HYBRID_SUITES: Final = ("X25519MLKEM768_AES256GCM_SHA384", "SecP384R1MLKEM1024_AES256GCM_SHA384")
NOISE_SUITES: Final = ("Noise_XX_25519_ChaChaPoly_SHA256", "X25519_AES128GCM_SHA256")
PROFILES: Final = ("plain", "hybrid", "custom", "anonymous", "noise")
RETRIED_SUITES: Final = ("P256_AES128GCM_SHA256", "X25519_CHACHA20POLY1305_SHA256")

MAX_EVENTS: Final = 2000
"""More than any piece can cause: an engine that does not come to rest is a finding."""


class _Talk(MultiMessageStep):
    name = "talk"
    sender = INITIATOR

    def __init__(self) -> None:
        self._left = 3

    def write(self, context: Context) -> bytes:
        self._left -= 1
        self.finished = self._left == 0
        return b"line"

    def read(self, context: Context, message: bytes) -> None:
        self._left -= 1
        self.finished = self._left == 0


class _Quota(Question[int], frozen=True, kw_only=True):
    pass


def _asking() -> CustomProtocolStep[bytes]:
    def read(context: Context, message: bytes) -> Any:
        context.publish((yield from context.ask(_Quota())))

    return CustomProtocolStep("asking", RESPONDER, write=lambda _: b"quota", read=read)


IDENTITIES: Final = {INITIATOR: Identity.generate(), RESPONDER: Identity.generate("ecdsa-p256-sha256")}


@cache
def profile(role: Role, number: int, asks: bool = False) -> Profile:
    """One of five profiles: plain, hybrid, with a retry and custom steps, anonymous, a Noise protocol as a suite."""
    policy = trust.ask(anonymous=number == 3) if asks else trust.anyone(anonymous=number == 3)
    identity = ANONYMOUS if number == 3 else IDENTITIES[role]
    suites = (SECURE_SUITES, HYBRID_SUITES, RETRIED_SUITES, SECURE_SUITES, NOISE_SUITES)[number]
    if number == 2 and role is RESPONDER:
        suites = suites[::-1]
    made = profiles.nautilus(
        identity=identity,
        trust=policy,
        suites=suites,
        protocols=["fuzz/2", "fuzz/1"] if number == 2 else (),
        target="fuzz.example" if number == 2 and role is INITIATOR else None,
        extensions={"color": b"blue"} if number == 2 else {},
        noise_static=bytes([1 + (role is INITIATOR)]) * 32 if number == 4 else None,
    )
    if number == 2:
        made = made.insert_before("initiator-finished", _Talk).insert_before("initiator-finished", _asking)
    return made


def split_frames(data: bytes | bytearray) -> list[bytes]:
    """Cut what travels into frames."""
    frames: list[bytes] = []
    while data:
        size = 4 + int.from_bytes(data[1:4], "big")
        frames.append(bytes(data[:size]))
        data = data[size:]
    return frames


def _answer(question: Any) -> None:
    if isinstance(question, PeerIdentified):
        question.accept()
    else:
        question.answer(7)


def _drain(handshake: Handshake) -> None:
    while not isinstance(event := handshake.next_event(), HandshakeCompleted) and event is not NEED_DATA:
        if isinstance(event, Question):
            _answer(event)


_recorded: dict[tuple[Role, int, bool], list[bytes]] = {}


def recorded(victim: Role, number: int, *, secure: bool) -> list[bytes]:
    """The frames that a real peer sends to `victim`: a whole handshake and some records. Made once."""
    wanted = (victim, number, secure)
    if wanted not in _recorded:
        ends = {
            role: Handshake(role, profile(role, number), entropy=FixedEntropy(role)) for role in (INITIATOR, RESPONDER)
        }
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
        for role in ends:
            _recorded[role.peer, number, secure] = split_frames(sent[role])
    return list(_recorded[wanted])


@cache
def record_all() -> None:
    """Make every recording, before any other draw from the entropy."""
    for role in (INITIATOR, RESPONDER):
        for number in range(len(PROFILES)):
            recorded(role, number, secure=True)
            with insecure_provider():
                recorded(role, number, secure=False)


# ------------------------------------------------------------------------------------------------ edits

VALUES: Final[list[Any]] = [
    None, True, False, 0, 1, -1, 127, 2**31, 2**63, 2**64 - 1, 1.5, float("nan"),
    "", "x", "x" * 64, "x" * 65, "\0", "hello", "fuzz/1", "initiator", "responder", "anonymous", "raw-public-key",
    "X25519", "P256", "X25519MLKEM768", "X25519_AES128GCM_SHA256", "ed25519", "rsa-pss-sha256",
    b"", b"\0", bytes(31), bytes(32), bytes(33), bytes(48), bytes(64), bytes(65), b"\xff" * 32, bytes(1184), bytes(1216),
    bytes(5000), [], [[]], [None], ["x"] * 65, [["x", b""]] * 2, [["target", b"\xff"]], [["talk", "initiator", None, True]],
    {}, {"a": 1}, [[[[[[[[]]]]]]]],
]  # fmt: skip
"""What a field becomes."""

EXTRA: Final[list[bytes]] = [
    b"\xe2\x00\x00\x03\x92\x2a\xc0",
    b"\xe2\x00\x00\x05\x92\x2a\xcd\x01\x00",
    b"\xe5\x00\x00\x13\x92\x2a\xc0" + TAG,
    b"\xe4\x00\x00\x18\x91\xa6accept" + TAG,
    b"\xe4\x00\x00\x1d\x92\xaakey-update\xc3" + TAG,
    b"\xe4\x00\x00\x17\x91\xa5close" + TAG,
    b"\xe3\x00\x00\x14data" + TAG,
    b"\xe3\x00\x00\x10" + TAG,
    b"\xe1\x00\x00\x00",
    b"\xe1\x01\x00\x00",
    b"GET / HTTP/1.1\r\n",
]
"""Frames to put in."""


def _put_field(frame: bytes, place: int, value: Any, *, append: bool) -> bytes:
    """The frame with another field, where its body, or its body without a tag, is a MessagePack array."""
    for tag in (b"", frame[-len(TAG) :]):
        body = frame[4 : len(frame) - len(tag)]
        try:
            fields = msgspec.msgpack.decode(body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue
        if not isinstance(fields, list) or not fields:
            continue
        where, rest = place % len(fields), place // 8
        if append:
            fields.append(value)
        elif isinstance(fields[where], list) and fields[where] and rest % 2:
            inner = fields[where]
            inner[rest // 2 % len(inner)] = value
        else:
            fields[where] = value
        new = msgspec.msgpack.encode(fields) + tag
        return frame[:1] + len(new).to_bytes(3, "big") + new
    return frame


def edited(frames: list[bytes], edits: bytes, other: list[bytes]) -> bytes:
    """The real peer's frames after these edits; `other` are frames of its victim, to be reflected."""
    for start in range(0, len(edits) - 3, 4):
        which, what, a, b = edits[start : start + 4]
        if not frames:
            break
        place = which % len(frames)
        frame = frames[place] or b"\xe1\x00\x00\x00"
        match what % 12:
            case 0:
                del frames[place]
            case 1:
                frames.insert(place + a % 3, frame)
            case 2:
                frames[place : place + 2] = reversed(frames[place : place + 2])
            case 3:
                where = (a << 8 | b) % len(frame)
                frames[place] = frame[:where] + bytes((frame[where] ^ (1 << b % 8),)) + frame[where + 1 :]
            case 4:
                body = frame[4 : 4 + a]
                frames[place] = frame[:1] + len(body).to_bytes(3, "big") + body
            case 5:
                frames[place] = bytes((0xE0 + a % 7,)) + frame[1:]
            case 6:
                frames[place] = frame[:2] + bytes((a, b)) + frame[4:]
            case 7 | 8:
                frames[place] = _put_field(frame, a, VALUES[b % len(VALUES)], append=False)
            case 9:
                frames[place] = _put_field(frame, a, VALUES[b % len(VALUES)], append=True)
            case 10:
                source = other if a % 2 else EXTRA
                frames.insert(place, source[b % len(source)])
            case _:
                del frames[place + 1 :]
                frames[place] = frame[: (a << 8 | b) % (len(frame) + 1)]
    return b"".join(frames)


# ------------------------------------------------------------------------------------------------ one run


def _pieces(data: bytes, size: int) -> list[bytes]:
    step = size or max(len(data), 1)
    return [data[start : start + step] for start in range(0, len(data), step)]


class Victim:
    """An engine, and then its channel, that is fed until it has failed or all is said."""

    def __init__(self, handshake: Handshake, answers: int) -> None:
        self.handshake = handshake
        self.answers = answers
        self.channel: Channel | None = None
        self.error: HandshakeError | None = None
        self.closed = False
        self.events = 0

    def feed(self, data: bytes) -> bool:
        """Give it bytes and let it run; whether it goes on. Everything but a `HandshakeError` gets out of here."""
        self.events = 0
        try:
            (self.channel or self.handshake).receive_data(data)
            if self.channel is None:
                self._run_engine()
            if self.channel is not None:
                self._run_channel(self.channel)
        except HandshakeError as error:
            self.error = error
            self._check_failure(error)
            return False
        return True

    def _count(self) -> None:
        self.events += 1
        if self.events > MAX_EVENTS:
            raise RuntimeError("no end to the events")

    def _run_engine(self) -> None:
        while (event := self.handshake.next_event()) is not NEED_DATA:
            self._count()
            self.handshake.data_to_send()
            if event is PAUSED:
                return
            if isinstance(event, PeerIdentified) and self.answers == 1:
                event.reject("fuzzed")
            elif isinstance(event, Question) and self.answers != 2:
                _answer(event)
            elif isinstance(event, HandshakeCompleted):
                session = event.session
                if len(session.channel_binding) != 32 or session.peer is None:
                    raise RuntimeError("a session without a binding or a peer")
                self.channel = session.channel()
                return

    def _run_channel(self, channel: Channel) -> None:
        while (event := channel.next_event()) is not NEED_DATA:
            self._count()
            if isinstance(event, PeerClosed):
                self.closed = True
                break
        channel.send_data(b"our own")
        channel.data_to_send()

    def _check_failure(self, error: HandshakeError) -> None:
        """It has failed for good: the same error again, no session, nothing to send after the alert."""
        if not error.step:
            raise RuntimeError(f"an error that does not say where: {error!r}") from error
        owner = self.channel or self.handshake
        owner.data_to_send()
        if owner.data_to_send():
            raise RuntimeError("something to send after the alert")
        if self.channel is None and (self.handshake.session is not None or self.handshake.state is not State.FAILED):
            raise RuntimeError(f"{self.handshake!r} after {error!r}")
        try:
            owner.next_event()
        except HandshakeError as again:
            if again is not error:
                raise RuntimeError(f"{again!r} after {error!r}") from again
        else:
            raise RuntimeError(f"an event after {error!r}")


def one_input(data: bytes) -> None:
    """One input; raises whatever is not a `HandshakeError`."""
    if len(data) < 2:
        return
    record_all()
    choice, size, rest = data[0], data[1], data[2:]
    role, number = (RESPONDER if choice & 1 else INITIATOR), 4 if choice & 0x80 else choice >> 2 & 3
    with nullcontext() if not choice & 2 else insecure_provider():
        secure, peer = not choice & 2, rest
        if choice & 16:
            peer = edited(recorded(role, number, secure=secure), rest, recorded(role.peer, number, secure=secure))
        play(role, number, peer, size=size, answers=choice >> 5 & 3)


def play(role: Role, number: int, peer: bytes, *, size: int = 0, answers: int = 0) -> Victim:
    """Feed all of `peer` and the end of its stream to a fresh victim."""
    victim = Victim(Handshake(role, profile(role, number, answers > 0), entropy=FixedEntropy(role)), answers)
    if role is INITIATOR:
        victim.handshake.next_event()
        victim.handshake.data_to_send()
    if all(victim.feed(piece) for piece in _pieces(peer, size)):
        victim.feed(b"")
    return victim


def seeds() -> dict[str, bytes]:
    """Inputs that get somewhere, by name."""
    made: dict[str, bytes] = {}
    for role, bit in ((INITIATOR, 0), (RESPONDER, 1)):
        for number, name in enumerate(PROFILES):
            choice = bit | (0x80 if number == 4 else number << 2)
            with insecure_provider():
                frames = recorded(role, number, secure=False)
            made[f"{role.value}-{name}-raw"] = bytes((choice | 2, 0)) + b"".join(frames)
            for what in range(12):
                made[f"{role.value}-{name}-edit-{what}"] = bytes((choice | 18, 0, what, what, what + 3, what + 5))
            made[f"{role.value}-{name}-secure"] = bytes((choice | 16, 7, 2, 3, 0, 9))
            made[f"{role.value}-{name}-asked"] = bytes((choice | 18 | 96, 50))
            made[f"{role.value}-{name}-refused"] = bytes((choice | 18 | 32, 0))
            made[f"{role.value}-{name}-unanswered"] = bytes((choice | 18 | 64, 0))
    return made
