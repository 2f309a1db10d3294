"""What the tests of the engine share: two identities, fast profiles, steps to insert, and a look at frames."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final

import msgspec

from nautilus_core import (
    INITIATOR,
    Channel,
    Context,
    CustomProtocolStep,
    Handshake,
    HandshakeCompleted,
    Identity,
    MultiMessageStep,
    Profile,
    Question,
    Role,
    Signal,
    Stage,
    State,
    profiles,
    trust,
)
from nautilus_core.testing import End, Pair, Tamper

ALICE: Final = Identity.generate()
"""Who initiates."""
BOB: Final = Identity.generate()
"""Who responds."""
MALLORY: Final = Identity.generate()
"""Whom nobody trusts."""

FAST: Final = ("X25519_AES128GCM_SHA256",)

BUILT_IN: Final = (
    "hello",
    "suites",
    "initiator-key-share",
    "hello-response",
    "suite",
    "responder-key-share",
    "responder-authentication",
    "responder-finished",
    "initiator-authentication",
    "initiator-finished",
)
"""The steps of `nautilus/1`, in order."""

HEADER: Final = 4
SEALED_FROM: Final = BUILT_IN.index("responder-authentication")

Edit = Callable[[Profile], Profile]


def alice(**options: Any) -> Profile:
    """Alice's profile: the fast suite, and trust in Bob's key alone, unless `options` say otherwise."""
    return profiles.nautilus(**{"identity": ALICE, "trust": trust.pinned(BOB.public), "suites": FAST, **options})


def bob(**options: Any) -> Profile:
    """Bob's profile: the fast suite, and trust in Alice's key alone, unless `options` say otherwise."""
    return profiles.nautilus(**{"identity": BOB, "trust": trust.pinned(ALICE.public), "suites": FAST, **options})


def unedited(profile: Profile) -> Profile:
    """A profile as it is."""
    return profile


def both(edit: Edit = unedited, **options: Any) -> tuple[Profile, Profile]:
    """The profiles of Alice and Bob with the same `options` and the same `edit`."""
    return edit(alice(**options)), edit(bob(**options))


def run(initiator: Profile | Handshake, responder: Profile | Handshake, **options: Any) -> Pair:
    """Drive two ends until nothing moves; without closing streams, so that ends that wait for each other stay visible."""
    return Pair(initiator, responder, **{"close": False, **options}).run()


def agreed(pair: Pair) -> bool:
    """Whether both ends have completed; then they must have the same view of everything."""
    first, second = pair.initiator, pair.responder
    if not (first.completed and second.completed):
        return False
    one, other = first.session, second.session
    return (
        one.channel_binding == other.channel_binding
        and one.steps == other.steps
        and one.protocol == other.protocol
        and one.suite == other.suite
        and set(one.extensions) == set(other.extensions)
    )


def succeed(pair: Pair) -> Pair:
    """The same pair, both of whose ends have completed with the same view; raises what ended one of them instead."""
    one, other = pair.initiator.session, pair.responder.session
    if not agreed(pair):
        raise AssertionError(f"two views of one handshake: {one} {one.steps}, {other} {other.steps}")
    return pair


def waits(end: End) -> bool:
    """Whether an end has neither completed nor failed."""
    return end.handshake.state not in (State.COMPLETED, State.FAILED)


def note(
    name: str = "note",
    sender: Role = INITIATOR,
    *,
    text: bytes | None = None,
    commit: Callable[[Context], None] | None = None,
    protocol_id: str | None = None,
    required: bool = True,
    needs: Stage = Stage.PEER,
) -> Callable[[], CustomProtocolStep[bytes]]:
    """A function that makes a step of raw bytes, which publishes what it sent or received."""
    data = b"a note from the " + sender.value.encode() if text is None else text

    def write(context: Context) -> bytes:
        context.publish(data)
        return data

    def read(context: Context, message: bytes) -> None:
        context.publish(message)

    return lambda: CustomProtocolStep(
        name,
        sender,
        write=write,
        read=read,
        commit=commit,
        protocol_id=protocol_id,
        required=required,
        needs=needs,
    )


class Talk(MultiMessageStep):
    """A step of `length` messages, from both sides in turn."""

    def __init__(self, name: str = "talk", sender: Role = INITIATOR, *, length: int = 3, required: bool = True) -> None:
        self.name = name
        self.sender = sender
        self.required = required
        self.length = length
        self.said: list[bytes] = []
        self.commits = 0

    def _heard(self, message: bytes) -> bytes:
        self.said.append(message)
        self.finished = len(self.said) == self.length
        return message

    def write(self, context: Context) -> bytes:
        """The next message."""
        return self._heard(b"line %d" % len(self.said))

    def read(self, context: Context, message: bytes) -> None:
        """The peer's."""
        self._heard(message)

    def commit(self, context: Context) -> None:
        """Once, after the last."""
        self.commits += 1
        context.publish(tuple(self.said))


class Welcome(Question[int], frozen=True, kw_only=True):
    """A question of the tests' own."""

    tenant: str


def asking(name: str = "question", sender: Role = INITIATOR, *, asker: Role | None = None) -> Callable[[], Any]:
    """A function that makes a step one of whose ends (`asker`, the reader by default) asks `Welcome`."""
    asker = asker or sender.peer

    def write(context: Context) -> bytes | Generator[Question[Any], Any, bytes]:
        return ask_then_write(context) if asker is sender else b"tenant"

    def ask_then_write(context: Context) -> Generator[Question[Any], Any, bytes]:
        answer = yield from context.ask(Welcome(tenant="acme"))
        context.publish(answer)
        return b"tenant"

    def read(context: Context, message: bytes) -> Generator[Question[Any], Any, None] | None:
        return ask(context, message) if asker is not sender else None

    def ask(context: Context, message: bytes) -> Generator[Question[Any], Any, None]:
        answer = yield from context.ask(Welcome(tenant=message.decode()))
        context.publish(answer)

    return lambda: CustomProtocolStep[bytes](name, sender, write=write, read=read)


def frames(flight: bytes) -> list[bytes]:
    """The frames of `nautilus/1` in a flight, headers and all."""
    found = []
    while flight:
        end = HEADER + int.from_bytes(flight[1:HEADER], "big")
        found.append(flight[:end])
        flight = flight[end:]
    return found


def frame(body: bytes, kind: int = 0xE1) -> bytes:
    """One frame of `nautilus/1`."""
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def packed(message: Any, kind: int = 0xE1) -> bytes:
    """One frame with a MessagePack body."""
    return frame(msgspec.msgpack.encode(message), kind)


def altered(name: str, change: Callable[[list[Any]], object], sender: Role | None = None) -> Tamper:
    """A `tamper` that decodes the plaintext message `name`, lets `change` alter its fields, and encodes it again."""

    def tamper(role: Role, number: int, data: bytes) -> bytes:
        if sender is not None and role is not sender:
            return data
        new = []
        for one in frames(data):
            try:
                fields = msgspec.msgpack.decode(one[HEADER:])
            except (msgspec.DecodeError, ValueError):  # a sealed one
                fields = None
            if one[0] == 0xE1 and isinstance(fields, list) and fields[0] == name:
                change(fields)
                one = packed(fields)  # noqa: PLW2901
            new.append(one)
        return b"".join(new)

    return tamper


def put(index: int, value: Any) -> Callable[[list[Any]], object]:
    """A change for `altered`: the field `index` (0 is the name) becomes `value`."""

    def change(fields: list[Any]) -> None:
        fields[index] = value

    return change


def begun(role: Role = INITIATOR, **options: Any) -> Handshake:
    """A handshake that waits for its peer's first message."""
    handshake = Handshake(role, alice(**options) if role is INITIATOR else bob(**options))
    while not isinstance(handshake.next_event(), Signal):
        pass
    return handshake


def drain(handshake: Handshake) -> list[Any]:
    """All events up to the next signal, or up to completion."""
    events: list[Any] = []
    while not isinstance(event := handshake.next_event(), Signal):
        events.append(event)
        if isinstance(event, HandshakeCompleted):
            break
    return events


def channels(pair: Pair) -> tuple[Channel, Channel]:
    """Both channels of a completed pair."""
    return pair.initiator.session.channel(), pair.responder.session.channel()
