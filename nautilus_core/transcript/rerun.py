"""The recorded input, once more, into an engine that may do better than the one that was recorded. It compares nothing."""

from __future__ import annotations

from typing import Any

from ..crypto.entropy import Entropy
from ..errors import HandshakeError
from ..events import Question, Signal
from ..handshake import Handshake
from ..profile import Profile
from ..session import Session
from .lines import Answered, Received, TranscriptError
from .reader import Transcript, read
from .replay import Answer, Source, give_answer, tape_of
from .tape import ReplayingEntropy


class _TapeFirst(ReplayingEntropy):
    """Gives what stands on the tape as long as that is what is drawn; after that, fresh randomness."""

    __slots__ = ("_fresh", "_left")

    def __init__(self, tape: list[tuple[str, Any]]) -> None:
        self._left = [kind for kind, _ in reversed(tape)]
        super().__init__(tape)
        self._fresh = Entropy()

    def _has(self, kind: str) -> bool:
        if self._left[-1:] != [kind]:
            self._left.clear()
            return False
        self._left.pop()
        return True

    def random_bytes(self, length: int) -> bytes:
        return super().random_bytes(length) if self._has("random") else self._fresh.random_bytes(length)

    def ephemeral_key(self, algorithm: str) -> Any:
        return super().ephemeral_key(algorithm) if self._has(algorithm) else self._fresh.ephemeral_key(algorithm)

    def encapsulate(self, public_key: Any) -> tuple[bytes, bytes]:
        return super().encapsulate(public_key) if self._has("encapsulation") else self._fresh.encapsulate(public_key)

    def sign(self, key: Any, message: bytes) -> bytes:
        return super().sign(key, message) if self._has("signature") else self._fresh.sign(key, message)

    def exchange(self, key: Any, public_key: Any) -> bytes:
        return super().exchange(key, public_key) if self._has("exchange") else self._fresh.exchange(key, public_key)

    def extract(self, function: Any, salt: bytes, psk: bytes) -> bytes:
        return (
            super().extract(function, salt, psk)
            if self._has("extraction")
            else self._fresh.extract(function, salt, psk)
        )

    def tls(self, end: Any, received: bytes) -> Any:
        return super().tls(end, received) if self._has("tls") else self._fresh.tls(end, received)


def rerun(source: Source, profile: Profile, *, answer: Answer | None = None) -> Session:
    """Give a fresh engine what the peer had sent, with the recorded secrets: does the handshake complete with `profile`?

    For a test of a failure that is being fixed: it fails with the recorded error, or another one, until it is. That the
    application gave up, refused, or that the time had passed, is left out. What the peer itself said cannot change.

    Args:
        source: a transcript with secrets, or the bytes of one, in pieces.
        profile: of the side that recorded. Where it now goes further than it did, its private keys are used.
        answer: answers all questions; without it, questions are answered as they were, and accepted where they were refused.

    Raises:
        HandshakeError: it still fails, and how.
        TranscriptError: the transcript cannot be read, holds no secrets, or has not all that the peer would have to say.
    """
    transcript = source if isinstance(source, Transcript) else read(source)
    header = transcript.header
    if not header.secrets:
        raise TranscriptError("it has no secrets: an engine cannot read on without the keys that were used")
    tape = _TapeFirst(tape_of(transcript))
    handshake = Handshake(
        header.role, profile, entropy=tape, wall_time=header.wall_time, channel_bindings=header.bindings
    )
    answers = [line for line in transcript.lines if isinstance(line, Answered)]
    pump = _Pump(handshake, tape, answers, answer)
    pump.run()
    for line in transcript.lines:
        if isinstance(line, Received) and not line.channel and handshake.session is None:
            handshake.receive_data(line.data)
            pump.run()
    if handshake.session is None:
        raise TranscriptError("the handshake went on, but the peer's next messages are not in the transcript")
    return handshake.session


class _Pump:
    """Runs an engine until it needs bytes; answers what it asks."""

    def __init__(
        self, handshake: Handshake, tape: ReplayingEntropy, answers: list[Answered], answer: Answer | None
    ) -> None:
        self._handshake = handshake
        self._tape = tape
        self._answers = iter(answers)
        self._answer = answer
        self._question: Question[Any] | None = None

    def run(self) -> None:
        while self._handshake.session is None:
            try:
                event = self._handshake.next_event()
            except HandshakeError:
                self._handshake.data_to_send()
                raise
            except ValueError as error:  # a user's step may raise one as well
                if self._tape.problem is None:
                    raise
                raise TranscriptError(f"its secrets are not those of this handshake: {self._tape.problem}") from error
            if event is Signal.NEED_DATA:
                self._handshake.data_to_send()
                return
            if event is Signal.PAUSED:
                self._give()
            elif isinstance(event, Question):
                self._question = event

    def _give(self) -> None:
        question, self._question = self._question, None
        if question is None:
            raise TranscriptError("the engine waits for an answer, and has asked nothing")
        recorded = next(self._answers, None)
        if self._answer is not None:
            self._answer(question)
        elif recorded is not None and recorded.verdict == "value":
            give_answer(question, recorded)
        elif recorded is None or recorded.verdict == "rejected":
            question.pending.give(None)
        else:
            raise TranscriptError(f"the answer to {type(question).__name__} is not in the transcript: give answer=")
