"""A step's `write` or `read` in the middle: what it has asked, and how it goes on. When it goes on, the engine decides."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from .errors import HandshakeTimeout, LocalProtocolError
from .events import Question


class Suspended:
    """A generator that `write` or `read` has returned.

    Args:
        generator: it.
        incoming: the message that is being read, as the transcript has it, and its size in bytes; None where one is being
            written, and nothing, (), where the step stands between two messages.

    Attributes:
        question: what it waits for, from its first question on.
        result: what it has returned, once it has ended.
    """

    __slots__ = ("generator", "incoming", "question", "result")

    def __init__(
        self, generator: Generator[Question[Any], Any, Any], incoming: tuple[bytes, int] | tuple[()] | None
    ) -> None:
        self.generator = generator
        self.incoming = incoming
        self.question: Question[Any] | None = None
        self.result: Any = None

    @property
    def open_question(self) -> Question[Any] | None:
        """The question that has no answer yet."""
        question = self.question
        return None if question is None or question.pending.given else question

    def go_on(self) -> Question[Any] | None:
        """Give it the answer that it waits for, if it does. What it asks next; None where it has ended.

        Raises:
            LocalProtocolError: it yields what is no question, or a question that was asked before.
            Exception: what the step raises.
        """
        question, self.question = self.question, None
        try:
            if question is None:
                asked = next(self.generator)
            elif question.pending.error is None:
                asked = self.generator.send(question.pending.value)
            else:
                asked = self.generator.throw(question.pending.error)
        except StopIteration as stop:
            self.result = stop.value
            return None
        if not isinstance(asked, Question):
            raise LocalProtocolError(f"a step's generator yields questions, not {type(asked).__name__}")
        asked.pending.ask()
        self.question = asked
        return asked

    def withdraw(self) -> None:
        """The handshake has failed: nobody needs the answer any more."""
        if self.question is not None:
            self.question.pending.withdraw()

    def close(self) -> None:
        """Let the step clean up."""
        with suppress(Exception):  # which must not hide the failure
            self.generator.close()

    def too_late(self) -> HandshakeTimeout:
        """That the application has let the deadline pass: with its answer, or after it."""
        name = type(self.question).__name__
        if self.open_question is None:
            return HandshakeTimeout.of_application(f"next_event after its answer to {name}")
        return HandshakeTimeout.of_application(f"answer to {name}", name)
