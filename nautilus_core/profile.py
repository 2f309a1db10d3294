"""`Profile`: functions that make the steps and the stream of a handshake, and its limits, with the edits of its list.

Which profiles there are stands in `profiles`. Nothing here knows a built-in step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from .errors import LocalProtocolError
from .limits import DEFAULT_LIMITS, Limits
from .role import Role
from .step import HandshakeStep, check_definition
from .steplist import AnyStep, Outline, refuse_removal, refuse_replacement
from .stream import HandshakeStream, NautilusStream

StepFactory: TypeAlias = Callable[[], AnyStep | list[AnyStep] | tuple[AnyStep, ...]]
"""Makes a fresh step, or several that share an argument, for one handshake."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a handshake is made of: functions that make its steps and its stream, and its limits.

    Args:
        name: of the profile, for people and logs.
        steps: makes the fresh steps of one handshake, in order.
        stream: makes the stream, which frames, from the limits.
        limits: how much a peer may send.
        offers: what this side can do and accepts, as pairs of a heading and names, best first; for people: nothing is
            negotiated from it.
        check: raises `ValueError` where this profile cannot play a role; None when it can play both.

    Attributes:
        outline: what the steps are, of a list that was validated.

    The edits return a new profile and take functions, because no step object ever serves two handshakes; the functions are
    called a few times at once, to check the list, and once in each handshake, where they must make the same steps again.
    """

    name: str
    steps: Callable[[], Sequence[AnyStep]]
    stream: Callable[[Limits], HandshakeStream] = NautilusStream
    limits: Limits = DEFAULT_LIMITS
    offers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    check: Callable[[Role], None] | None = None
    _added: tuple[StepFactory, ...] = ()
    _order: tuple[int, ...] | None = None
    """Which of the steps made, by number, stand in the list; None for all that `steps` makes."""
    outline: Outline = field(init=False)

    def __post_init__(self) -> None:
        steps = self.make_steps()
        for step in steps:
            check_definition(step)
        object.__setattr__(self, "outline", Outline.of(steps))

    def make_stream(self) -> HandshakeStream:
        """A fresh stream for one handshake."""
        return self.stream(self.limits)

    def make_steps(self) -> Sequence[AnyStep]:
        """Fresh steps for one handshake, in order."""
        if self._order is None:
            return self.steps()
        made = self._make_all()
        return [made[number] for number in self._order]

    def insert_before(self, anchor: str, factory: StepFactory) -> Profile:
        """A profile with the step or steps of `factory` right before `anchor`.

        Raises:
            LocalProtocolError: no such anchor, or the steps cannot stand there.
        """
        position = self._position(anchor)
        return self._edit(position, position, factory)

    def insert_after(self, anchor: str, factory: StepFactory) -> Profile:
        """A profile with the step or steps of `factory` right after `anchor`; raises as `insert_before`."""
        position = self._position(anchor) + 1
        return self._edit(position, position, factory)

    def remove(self, name: str) -> Profile:
        """A profile without the step `name`, which is not built in."""
        position = self._position(name)
        refuse_removal(self.make_steps()[position])
        return self._edit(position, position + 1)

    def replace(self, name: str, factory: StepFactory) -> Profile:
        """A profile with the step or steps of `factory` in the place of `name`.

        A built-in step's successor keeps its name, its sender and what it provides.
        """
        position = self._position(name)
        old, new = self.make_steps()[position], made_by(factory)
        if not new:
            refuse_removal(old)
        for step in new:
            refuse_replacement(old, step)
        return self._edit(position, position + 1, factory)

    def _make_all(self) -> list[AnyStep]:
        made = list(self.steps())
        for factory in self._added:
            new = factory()
            if isinstance(new, (list, tuple)):
                made.extend(new)
            else:
                made.append(new)
        return made

    def _edit(self, start: int, end: int, factory: StepFactory | None = None) -> Profile:
        """The list with the steps of `factory` in the place of those from `start` to `end`."""
        made = len(self._make_all())
        order = tuple(range(made)) if self._order is None else self._order
        added, new = self._added, 0
        if factory is not None:
            added, new = (*added, factory), len(_made_afresh(factory))
        return replace(self, _added=added, _order=(*order[:start], *range(made, made + new), *order[end:]))

    def _position(self, name: str) -> int:
        names = self.outline.names
        if name not in names:
            raise LocalProtocolError(f"no step {name!r} in {list(names)}")
        return names.index(name)


def made_by(factory: StepFactory) -> Sequence[AnyStep]:
    """The steps of one call of `factory`."""
    made: object = factory() if callable(factory) else None
    steps: Sequence[AnyStep] = made if isinstance(made, (list, tuple)) else (made,)
    for step in steps:
        if not isinstance(step, HandshakeStep):
            got = f"one that made {step!r}" if callable(factory) else repr(factory)
            raise LocalProtocolError(
                f"expected a function that makes a fresh step, or several; got {got} "
                "(hint: a class, or lambda: MyStep(...); each handshake needs steps of its own)"
            )
    return steps


def _made_afresh(factory: StepFactory) -> Sequence[AnyStep]:
    first, second = made_by(factory), made_by(factory)
    if len(first) != len(second) or any(one is other for one in first for other in second):
        raise LocalProtocolError("the function must make new steps at each call: no step serves two handshakes")
    return second
