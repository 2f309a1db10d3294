"""How a list of steps lies on the wire, before it runs: its flights, what is sealed, its round trips. Pure; runs nothing.

For whoever draws or explains a list: a table, a ladder of a handshake that has not happened, a transcript's frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .role import Role, Stage
from .step import HandshakeStep
from .steplist import AnyStep


@dataclass(frozen=True, slots=True)
class PlacedStep:
    """One step in its place.

    Attributes:
        position: in the list, from 0.
        name: of the step.
        sender: who writes; of a step of several messages, who writes first.
        flight: in which flight its first message leaves, from 1.
        sealed: whether its messages are encrypted.
        needs: what must be established before it.
        provides: what is established once it is committed, and was not before; `Stage.NOTHING` for nothing new.
        required: whether the handshake fails where it cannot run.
        protocol_id: the only application protocol it runs with; None for any.
        several: whether it may have several messages, turn by turn.
        may_insert: names of steps that its commit may add to the list.
        fields: what its message holds, by name; empty for raw bytes.
        facts: what else there is to know of it, by heading.
    """

    position: int
    name: str
    sender: Role
    flight: int
    sealed: bool
    needs: Stage
    provides: Stage
    required: bool
    protocol_id: str | None
    several: bool
    may_insert: tuple[str, ...]
    fields: tuple[str, ...]
    facts: Mapping[str, str]

    @property
    def conditional(self) -> bool:
        """Whether there are handshakes of this list in which it does not run."""
        return not self.required or self.protocol_id is not None


@dataclass(frozen=True, slots=True)
class Layout:
    """A list of steps as it lies on the wire, where all of them run and none is added.

    Attributes:
        steps: in order.
        flights: the sender of each flight, in order: steps side by side with one sender leave together.
    """

    steps: tuple[PlacedStep, ...]
    flights: tuple[Role, ...]

    @property
    def sealed_from(self) -> int | None:
        """The position of the first sealed step; None where none is."""
        return next((step.position for step in self.steps if step.sealed), None)

    @property
    def at_least(self) -> bool:
        """Whether there may be more flights than are counted: a step of several messages counts as one."""
        return any(step.several for step in self.steps)

    def in_flight(self, number: int) -> tuple[PlacedStep, ...]:
        """The steps of a flight, which are counted from 1."""
        return tuple(step for step in self.steps if step.flight == number)

    def round_trips(self, role: Role) -> float:
        """After how many round trips, from the moment of the first message, `role` can send data: half a one a flight.

        The end that sends the last flight can send data right behind it, the other once it has come in.
        """
        flights = len(self.flights)
        return (flights - 1 if self.flights[-1:] == (role,) else flights) / 2


def lay_out(steps: Iterable[AnyStep]) -> Layout:
    """The layout of `steps`: of `profile.make_steps()`, or of a handshake's list."""
    placed: list[PlacedStep] = []
    flights: list[Role] = []
    stage = Stage.NOTHING
    for position, step in enumerate(steps):
        if flights[-1:] != [step.sender]:
            flights.append(step.sender)
        before, stage = stage, max(stage, step.provides)
        placed.append(
            PlacedStep(
                position=position,
                name=step.name,
                sender=step.sender,
                flight=len(flights),
                sealed=before >= Stage.KEYS or step.seals,
                needs=step.needs,
                provides=stage if stage > before else Stage.NOTHING,
                required=step.required,
                protocol_id=step.protocol_id,
                several=step.multi_message,
                may_insert=step.inserts,
                fields=_fields(step),
                facts=step.facts,
            )
        )
    return Layout(tuple(placed), tuple(flights))


def _fields(step: HandshakeStep[object]) -> tuple[str, ...]:
    message = getattr(step, "message", None)
    return () if message is None else tuple(message.__struct_fields__)
