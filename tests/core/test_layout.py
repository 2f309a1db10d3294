"""How lists of steps lie on the wire: flights, sealing, round trips, before anything runs; and that it runs so."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import pytest

from nautilus_core import (
    ANONYMOUS,
    DEFAULT_SUITES,
    INITIATOR,
    RESPONDER,
    Context,
    CustomProtocolStep,
    Handshake,
    HandshakeStep,
    Identity,
    MultiMessageStep,
    Profile,
    Role,
    Session,
    Stage,
    StepCompleted,
    lay_out,
    profiles,
    trust,
)
from nautilus_core.testing import Pair

ALICE, BOB = Identity.generate(), Identity.generate()


def nautilus(own: Identity = ALICE, peer: Identity = BOB) -> Profile:
    return profiles.nautilus(identity=own, trust=trust.pinned(peer.public), protocols=["acme/1"])


def custom(name: str, sender: Role, **arguments: object) -> Callable[[], CustomProtocolStep[bytes]]:
    return lambda: CustomProtocolStep(
        name,
        sender,
        write=lambda _: b"",
        read=lambda *_: None,
        **arguments,  # type: ignore[arg-type]
    )


class Challenge(MultiMessageStep):
    """Of several messages."""

    name, sender = "challenge", RESPONDER

    def write(self, context: Context) -> bytes:
        self.finished = True
        return b""

    def read(self, context: Context, message: bytes) -> None:
        self.finished = True


class Plain(HandshakeStep[bytes]):
    """A step of a list that is not ours: the last one yields the session, nothing is sealed."""

    facts = MappingProxyType({"payload": "2, 5"})
    needs = Stage.NOTHING

    def __init__(self, name: str, sender: Role, provides: Stage = Stage.NOTHING) -> None:
        self.name, self.sender, self.provides = name, sender, provides

    def write(self, context: Context) -> bytes:
        return b""

    def read(self, context: Context, message: bytes) -> None:
        return None

    def commit(self, context: Context) -> None:
        if self.provides is Stage.SESSION:
            exporter = lambda *_: bytes(32)  # noqa: E731
            context.finish(Session(role=context.role, peer=ANONYMOUS, protocol=None, suite="", exporter=exporter))


def test_the_default_handshake() -> None:
    layout = lay_out(nautilus().make_steps())
    assert layout.flights == (INITIATOR, RESPONDER, INITIATOR)
    assert [step.name for step in layout.in_flight(1)] == ["hello", "suites", "initiator-key-share"]
    assert [step.name for step in layout.in_flight(3)] == ["initiator-authentication", "initiator-finished"]
    assert layout.in_flight(4) == ()
    assert layout.sealed_from == 6
    assert [step.position for step in layout.steps if step.sealed] == [6, 7, 8, 9]
    assert layout.round_trips(INITIATOR) == 1
    assert layout.round_trips(RESPONDER) == 1.5
    assert not layout.at_least
    provided = {step.name: step.provides for step in layout.steps if step.provides}
    assert provided == {
        "responder-key-share": Stage.KEYS,
        "initiator-authentication": Stage.PEER,
        "initiator-finished": Stage.SESSION,
    }
    assert {step.name: step.may_insert for step in layout.steps if step.may_insert} == {
        "suite": ("initiator-key-share-retry",)
    }
    assert layout.steps[4].fields == ("suite", "schemes", "credential_types")
    assert not any(step.conditional or step.facts for step in layout.steps)


def test_it_runs_as_it_is_laid_out() -> None:
    ours, theirs = nautilus(), nautilus(BOB, ALICE)
    for where, factory in (
        ("initiator-finished", custom("quota", RESPONDER)),
        ("responder-finished", custom("greeting", RESPONDER, needs=Stage.KEYS)),
    ):
        ours, theirs = ours.insert_before(where, factory), theirs.insert_before(where, factory)
    layout = lay_out(ours.make_steps())
    events = Pair(ours, theirs).run().initiator.events
    ran = [(event.step, event.sender, event.sealed) for event in events if isinstance(event, StepCompleted)]
    assert ran == [(step.name, step.sender, step.sealed) for step in layout.steps]
    senders = [sender for _, sender, _ in ran]
    runs = [sender for number, sender in enumerate(senders) if number == 0 or sender is not senders[number - 1]]
    assert tuple(runs) == layout.flights == (INITIATOR, RESPONDER, INITIATOR, RESPONDER, INITIATOR)


def test_steps_side_by_side_cost_no_flight_and_others_do() -> None:
    base = nautilus()
    beside = lay_out(base.insert_before("initiator-finished", custom("ticket", INITIATOR)).make_steps())
    across = lay_out(base.insert_before("initiator-finished", custom("quota", RESPONDER)).make_steps())
    assert beside.round_trips(INITIATOR) == 1
    assert across.round_trips(INITIATOR) == 2
    assert across.round_trips(RESPONDER) == 2.5


def test_what_may_not_run_and_what_may_take_longer_is_said() -> None:
    profile = nautilus()
    for factory in (
        custom("optional", INITIATOR, required=False),
        custom("bound", INITIATOR, protocol_id="acme/1"),
        Challenge,
    ):
        profile = profile.insert_before("initiator-finished", factory)
    layout = lay_out(profile.make_steps())
    assert [step.name for step in layout.steps if step.conditional] == ["optional", "bound"]
    assert [step.name for step in layout.steps if step.several] == ["challenge"]
    assert layout.at_least


@pytest.mark.parametrize(
    ("senders", "initiator", "responder"),
    [
        ((INITIATOR,), 0, 0.5),
        ((INITIATOR, RESPONDER), 1, 0.5),
        ((INITIATOR, RESPONDER, INITIATOR), 1, 1.5),
        ((INITIATOR, INITIATOR, RESPONDER, RESPONDER), 1, 0.5),
    ],
)
def test_a_list_of_another_kind(senders: tuple[Role, ...], initiator: float, responder: float) -> None:
    def make_steps() -> list[Plain]:
        last = len(senders) - 1
        stages = [Stage.SESSION if number == last else Stage.NOTHING for number in range(last + 1)]
        return [Plain(f"message-{n}", sender, stages[n]) for n, sender in enumerate(senders)]

    layout = lay_out(Profile("plain", make_steps).make_steps())
    assert layout.sealed_from is None
    assert layout.round_trips(INITIATOR) == initiator
    assert layout.round_trips(RESPONDER) == responder
    assert all(step.facts == {"payload": "2, 5"} and step.fields == () for step in layout.steps)


def test_a_running_handshakes_list_and_an_empty_one_can_be_laid_out() -> None:
    assert lay_out(Handshake(INITIATOR, nautilus()).steps) == lay_out(nautilus().make_steps())
    empty = lay_out([])
    assert empty.flights == ()
    assert empty.steps == ()
    assert empty.round_trips(INITIATOR) == 0


def test_the_default_profile_says_what_it_offers() -> None:
    assert dict(nautilus().offers) == {
        "suites": DEFAULT_SUITES,
        "protocols": ("acme/1",),
        "identity": ("raw-public-key", "ed25519"),
        "accepts": ("raw-public-key",),
        "schemes": ("ed25519",),
    }
    anonymous = profiles.nautilus(identity=ANONYMOUS, trust=trust.anyone(anonymous=True))
    assert dict(anonymous.offers)["identity"] == ("anonymous",)
    assert dict(anonymous.offers)["accepts"] == ("raw-public-key", "anonymous")
    assert nautilus().insert_before("initiator-finished", custom("x", INITIATOR)).offers == nautilus().offers
