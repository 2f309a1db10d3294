"""What a replay comes to: a report of what was checked, or the first difference. Nothing is checked here."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import one_line
from ..role import Role

_LONGEST = 1000
"""Characters of what was recorded and of what was replayed, in an error's text; the attributes have all."""


class ReplayDiverged(Exception):
    """The replay does something else than what was recorded.

    Attributes:
        expected: what was recorded, at the first difference.
        got: what the replay made of it.
        line: of the transcript, from 1.
        flight: in which flight, from 1; 0 before the first.
        step: in which step's message; None outside of one.
        byte: which byte of the flight, from 0; None where no byte differs.
    """

    def __init__(
        self, expected: str, got: str, *, line: int, flight: int = 0, step: str | None = None, byte: int | None = None
    ) -> None:
        where = f"line {line}, flight {flight}"
        if step is not None:
            where += f", step {step!r}"
        if byte is not None:
            where += f", byte {byte}"
        super().__init__(one_line(f"{where}: recorded {_cut(expected)}; replayed {_cut(got)}"))
        self.expected = expected
        self.got = got
        self.line = line
        self.flight = flight
        self.step = step
        self.byte = byte


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay has checked.

    Attributes:
        role: of the side whose view was replayed.
        profile: its name.
        outcome: `completed`, `failed` or `open`.
        full: whether an engine did it all again, byte for byte; else the public part was checked.
        received: bytes that were fed to it.
        sent: bytes that were compared.
        messages: how many messages were compared.
        events: how many other events were.
        checked: what was checked, in words.
        not_checked: what could not be.
    """

    role: Role
    profile: str
    outcome: str
    full: bool
    received: int
    sent: int
    messages: int
    events: int
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.profile} as {self.role.value}, {self.outcome}: checked " + "; ".join(self.checked)
        return one_line(text + "".join(f"; not checked: {what}" for what in self.not_checked))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
