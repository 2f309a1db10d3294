"""The ordered list of steps of one handshake: edits, and the validation that follows each. Running it is the engine's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from .errors import LocalProtocolError
from .role import Stage
from .step import HandshakeStep, StepDescription, check_definition

AnyStep: TypeAlias = HandshakeStep[Any]

_NOTHING: Final = Stage.NOTHING
_SESSION: Final = Stage.SESSION

_STAGE_WORDS = {
    Stage.NOTHING: "nothing",
    Stage.KEYS: "keys",
    Stage.PEER: "both identities",
    Stage.SESSION: "the session",
}


@dataclass(frozen=True, slots=True)
class Outline:
    """What a validated list of steps is, without the steps.

    Attributes:
        descriptions: what each of them is.
        names: their names.
        negotiable: those of the descriptions that stand after the step that negotiates, so what both ends compare.
        bound: whether one of these runs with one application protocol only.
    """

    descriptions: tuple[StepDescription, ...]
    names: tuple[str, ...]
    negotiable: tuple[StepDescription, ...]
    bound: bool

    @classmethod
    def of(cls, steps: Sequence[AnyStep]) -> Outline:
        """Of `steps`; raises as `validate`, and so does not exist of a list that is not valid."""
        validate(steps)
        descriptions = tuple(
            [StepDescription(step.name, step.sender, step.protocol_id, step.required) for step in steps]
        )
        start = next((position + 1 for position, step in enumerate(steps) if step.negotiates), len(steps))
        negotiable = descriptions[start:]
        bound = any(description.protocol_id is not None for description in negotiable)
        return cls(descriptions, tuple([step.name for step in steps]), negotiable, bound)


class StepList:
    """The steps of one handshake, in order. Both ends hold the same list: it is the protocol.

    Editable before the handshake starts, and ahead of the running step in a step's `commit`. Every edit is validated as
    a whole; one that would make an invalid list changes nothing and raises `LocalProtocolError` with positions.

    Attributes:
        cursor: the engine's: the position of the running step, from 0; -1 before the start.
        editable: the engine's: before the start, and in a commit.
        ordered: the steps as a sequence, which follows all edits.
        outline: what they are.

    Args:
        steps: fresh steps, in order.
        outline: of a list that was validated before, as a profile's was. Where `steps` are those steps again, there is
            nothing to validate anew.
    """

    __slots__ = ("_steps", "cursor", "editable", "ordered", "outline")

    def __init__(self, steps: Iterable[AnyStep], outline: Outline | None = None) -> None:
        self._steps: list[AnyStep] = list(steps)
        self.ordered: Sequence[AnyStep] = self._steps
        self.cursor = -1
        self.editable = True
        if outline is None or outline.names != tuple([step.name for step in self._steps]):
            outline = Outline.of(self._steps)
        self.outline = outline

    def __iter__(self) -> Iterator[AnyStep]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)

    def __contains__(self, step: object) -> bool:
        return any(step in (own, own.name) for own in self._steps)

    def __getitem__(self, name: str) -> AnyStep:
        return self._steps[self.index(name)]

    def __repr__(self) -> str:
        return f"StepList({', '.join(self.names)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all steps, in order."""
        return self.outline.names

    def index(self, step: AnyStep | str) -> int:
        """The position, from 0, of a step given by itself or by name; `LocalProtocolError` when it is not in the list."""
        name = step if isinstance(step, str) else step.name
        names = self.outline.names
        if name in names:
            position = names.index(name)
            if step is name or step is self._steps[position]:
                return position
        raise LocalProtocolError(f"no step {name!r} in the list {list(names)}")

    def after(self, step: AnyStep | str) -> Sequence[AnyStep]:
        """The steps that stand after `step`."""
        return self._steps[self.index(step) + 1 :]

    @property
    def ahead(self) -> Sequence[AnyStep]:
        """The steps that stand after the running one."""
        return self._steps[self.cursor + 1 :]

    def append(self, step: AnyStep) -> None:
        """Add `step` at the end."""
        self._apply([*self._steps, step], step)

    def insert_before(self, anchor: AnyStep | str, step: AnyStep) -> None:
        """Put `step` right before `anchor`, which is ahead of the running step."""
        self._insert(self.index(anchor), step)

    def insert_after(self, anchor: AnyStep | str, step: AnyStep) -> None:
        """Put `step` right after `anchor`, which is the running step or ahead of it."""
        self._insert(self.index(anchor) + 1, step)

    def remove(self, step: AnyStep | str) -> None:
        """Take a step out that is ahead of the running one and not built in."""
        position = self._ahead(self.index(step))
        refuse_removal(self._steps[position])
        self._apply(self._steps[:position] + self._steps[position + 1 :])

    def replace(self, old: AnyStep | str, new: AnyStep) -> None:
        """Put `new` in the place of `old`; a built-in step's successor keeps its name, sender and what it provides."""
        position = self._ahead(self.index(old))
        refuse_replacement(self._steps[position], new)
        self._apply([*self._steps[:position], new, *self._steps[position + 1 :]], new)

    def replace_block(self, old: Sequence[str], new: Sequence[AnyStep]) -> None:
        """Put `new` in the place of the first of the steps named `old`, and take the others out; in a built-in step's commit.

        So what a built-in step has negotiated can stand for other built-in steps. Raises as the other edits.
        """
        places = [self._ahead(self.index(name)) for name in old]
        if not self.current.built_in:
            raise LocalProtocolError(f"step {self.current.name!r} is not built in: it replaces no block")
        for step in new:
            check_definition(step)
        kept = [step for position, step in enumerate(self._steps) if position not in places]
        kept[places[0] : places[0]] = new
        self._apply(kept)

    def skip(self) -> None:
        """The engine's: take out the step at the cursor, which does not run with the negotiated protocol."""
        del self._steps[self.cursor]
        self.outline = Outline.of(self._steps)

    @property
    def current(self) -> AnyStep:
        """The running step; the first before the start, the last after the end."""
        return self._steps[min(max(self.cursor, 0), len(self._steps) - 1)]

    def _insert(self, position: int, step: AnyStep) -> None:
        self._ahead(position)
        self._apply([*self._steps[:position], step, *self._steps[position:]], step)

    def _ahead(self, position: int) -> int:
        if position <= self.cursor:
            raise LocalProtocolError(f"only what stands after the running step {self.current.name!r} can be edited")
        return position

    def _apply(self, steps: list[AnyStep], added: AnyStep | None = None) -> None:
        if not self.editable:
            raise LocalProtocolError("the list is edited before the handshake starts, or in a step's commit")
        if added is not None:
            check_definition(added)
        self.outline = Outline.of(steps)
        self._steps[:] = steps


def refuse_removal(step: AnyStep) -> None:
    """Raise `LocalProtocolError` when `step` belongs to its profile for good."""
    if step.built_in:
        raise LocalProtocolError(f"step {step.name!r} belongs to the protocol and cannot be removed")


def refuse_replacement(old: AnyStep, new: AnyStep) -> None:
    """Raise `LocalProtocolError` when `old` is built in and `new` does not stand for the same."""
    if not old.built_in:
        return
    if not (new.required and new.built_in) or (new.name, new.sender, new.provides, new.negotiates) != (
        old.name,
        old.sender,
        old.provides,
        old.negotiates,
    ):
        raise LocalProtocolError(
            f"step {old.name!r} belongs to the protocol: what replaces it is so too (built_in), and keeps its name, "
            f"its sender ({old.sender.value}) and what it provides ({_STAGE_WORDS[old.provides]})"
        )


def validate(steps: Sequence[AnyStep]) -> None:
    """Check names and positions of a whole list.

    Raises:
        LocalProtocolError: two steps of one name, or of one that a step may add later; a step that needs what is not
            established before it; an optional or protocol-bound step before protocols are negotiated, or one there that
            could leave two ends with different lists waiting for each other; anything after, or no, step that yields the
            session.
    """
    stage = _NOTHING
    negotiated = False
    for position, step in enumerate(steps):
        if step.needs > stage:
            raise _misplaced(steps, position, stage)
        provides = step.provides
        if provides > stage:
            stage = provides
            if stage is _SESSION and step is not steps[-1]:
                raise _after_the_session(steps, position + 1)
        if negotiated:
            continue
        if step.negotiates:
            negotiated = True
            _check_opening(steps, position)
        elif step.protocol_id is not None or not step.required:
            raise LocalProtocolError(
                f"position {position}, step {step.name!r}: an optional or protocol-bound step must stand after the step "
                f"that negotiates protocols, in {_numbered(steps)}"
            )
    taken: set[str] = set()
    reserved = {name for step in steps for name in step.inserts}
    for position, step in enumerate(steps):
        if step.name in taken or (step.name in reserved and not step.built_in):
            raise LocalProtocolError(f"position {position}: the name {step.name!r} is taken, in {_numbered(steps)}")
        taken.add(step.name)
    if not steps or steps[-1].provides is not _SESSION:
        raise LocalProtocolError(f"the last step must yield the session, in {_numbered(steps)}")


def _check_opening(steps: Sequence[AnyStep], position: int) -> None:
    """Before the ends have compared their lists, one of them alone speaks, and a built-in message is its last.

    So ends with different lists find an unexpected message there, and never wait for each other.
    """
    speaker = steps[position].sender.peer
    built_in = False
    for place, step in enumerate(steps[:position]):
        if step.sender is not speaker:
            raise LocalProtocolError(
                f"position {place}, step {step.name!r}: comes from the {step.sender.value}, but before "
                f"{steps[position].name!r} only the {speaker.value} speaks, in {_numbered(steps)}"
            )
        built_in = built_in or step.built_in
    if built_in and not steps[position - 1].built_in:
        raise LocalProtocolError(
            f"position {position - 1}, step {steps[position - 1].name!r}: cannot stand right before "
            f"{steps[position].name!r}: an end that does not have it would be waited for for ever, in {_numbered(steps)}"
        )


def _after_the_session(steps: Sequence[AnyStep], position: int) -> LocalProtocolError:
    return LocalProtocolError(
        f"position {position}, step {steps[position].name!r}: nothing can stand after the step that yields the session, "
        f"in {_numbered(steps)}"
    )


def _misplaced(steps: Sequence[AnyStep], position: int, stage: Stage) -> LocalProtocolError:
    step = steps[position]
    where = f"position {position}, step {step.name!r}"
    providers = [f"{i} {s.name!r}" for i, s in enumerate(steps) if s.provides >= step.needs]
    remedy = f"; it must stand after position {providers[0]}" if providers else ""
    return LocalProtocolError(
        f"{where}: needs {_STAGE_WORDS[step.needs]}, but {_STAGE_WORDS[stage]} is all that is established there{remedy}, "
        f"in {_numbered(steps)}"
    )


def _numbered(steps: Sequence[AnyStep]) -> str:
    return ", ".join(f"{position} {step.name}" for position, step in enumerate(steps))
