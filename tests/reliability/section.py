"""What a part of the measures comes to: its section of the report, and what should not be. Nothing is measured here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One part's result.

    Attributes:
        text: in Markdown, with its heading.
        problems: what went wrong, a few words each; where there is any, the command's exit code is 1.
    """

    text: str
    problems: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 where there is a problem, else 0."""
        return 1 if self.problems else 0


def some(number: int, what: str) -> tuple[str, ...]:
    """A problem for so many of them; none for none."""
    return (f"{number:,} {what}",) if number else ()
