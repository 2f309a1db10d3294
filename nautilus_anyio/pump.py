"""The pump between an engine and a stream, from the first byte to the acceptance. How the stream was got is no matter here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any, NoReturn, TypeAlias

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream

from nautilus_core import (
    PAUSED,
    Accepted,
    AlertCode,
    Channel,
    ChannelBindings,
    Event,
    Handshake,
    HandshakeCompleted,
    HandshakeError,
    HandshakeTimeout,
    LocalProtocolError,
    Question,
    Session,
    Signal,
    State,
    TransportUpgrade,
    UpgradeToTls,
)

from .errors import ChannelFailed, TransportFailed, cause_in_words
from .farewell import LINGER, last_words
from .key_log import KeyLogFile
from .stream import SecureStream
from .tls import Tls
from .transcript import Record

Answer: TypeAlias = Callable[[Any], Awaitable[None] | None]
"""Answers a question of a step or a policy: `question.accept()`, `.answer(value)` or `.reject(reason)`; may be async."""

EventHook: TypeAlias = Callable[[Event], None]
"""Sees each event as it happens."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `connect`, `handshake` and `serve` are asked for, on its way to the handshake; each of them says what it means."""

    timeout: float | None
    answer: Answer | None
    on_event: EventHook | None
    record: Record | None
    key_log: KeyLogFile | None
    wait_for_accept: bool = True
    tls: Tls | None = None
    channel_bindings: ChannelBindings | None = None


class Pump:
    """Moves bytes between an engine and a stream until the handshake is done.

    Args:
        stream: which it does not close but after an alert.
        engine: the handshake.
        options: how it is made.
        at_close: for the secure stream, to call when it is closed.
    """

    def __init__(
        self, stream: ByteStream, engine: Handshake, options: Options, at_close: Callable[[], None] | None
    ) -> None:
        self._stream = stream
        self._engine = engine
        self._options = options
        self._at_close = at_close
        self._channel: Channel | None = None

    async def run(self) -> SecureStream:
        """The whole handshake, and the initiator's wait for the acceptance.

        Raises:
            HandshakeError: it failed; the peer has been told.
            ChannelFailed: the peer refused us after the last message, or the stream broke while we waited.
        """
        session = await self._session()
        channel = self._channel = session.channel()
        secure = SecureStream(self._stream, session, channel, at_close=self._at_close)
        if self._options.wait_for_accept and not secure.confirmed:
            await secure.wait_accepted()
            self._show(Accepted())
        return secure

    async def _session(self) -> Session:
        try:
            return await self._until_there_is_a_session()
        except (TransportFailed, ChannelFailed):  # there is nothing left to say it on
            raise
        except Exception as error:
            if self._engine.state not in (State.COMPLETED, State.FAILED):  # a hook of the application raised
                self.give_up(error)
                await last_words(self._stream, self._engine.data_to_send())
            raise

    async def _until_there_is_a_session(self) -> Session:
        asked = ""
        while True:
            event = await self._next_event()
            if isinstance(event, Signal):
                if event is PAUSED:
                    raise LocalProtocolError(
                        f"answer= left {asked} unanswered; expected a call of its answer(...), accept() or reject(...)"
                    )
                self._engine.receive_data(await self._receive())
                continue
            self._show(event)
            if isinstance(event, Question):
                asked = type(event).__name__
                await self._ask(event)
            elif isinstance(event, HandshakeCompleted):
                return event.session

    async def fail_by_time(self) -> NoReturn:
        """The deadline has passed: tell the peer, and raise what the engine makes of it.

        The peer is waited for no longer than a silent one at any close: it has had its time.
        """
        engine = self._engine
        if engine.session is not None:
            error = self._too_late_at_the_end()
            self.give_up(error)
            await last_words(self._stream, b"" if self._channel is None else self._channel.data_to_send(), LINGER)
            raise error
        engine.handle_timeout(inf)  # the cancel scope has said that it has passed
        try:
            while True:
                engine.next_event()
        except Exception:
            await last_words(self._stream, engine.data_to_send(), LINGER)
            raise

    def _too_late_at_the_end(self) -> HandshakeTimeout:
        """The engine is done; what is missing is the peer's acceptance, or that it takes what we have sent last."""
        if self._channel is None:
            return HandshakeTimeout(
                "the peer has not taken our last message in time",
                hint="it does not read, or the connection is stuck",
                step=self._where(),
            )
        return HandshakeTimeout(
            "the responder has not accepted us in time",
            expected="the peer's message accept",
            received="nothing in time",
            hint="its owner may still be asked whether we are welcome",
            step="accept",
        )

    def give_up(self, error: BaseException) -> None:
        """What ends the handshake is no failure of the engine or its channel: it becomes one, so that a transcript has it."""
        if isinstance(error, HandshakeError):
            reason, code = error.message, AlertCode.USER_CANCELED
        elif isinstance(error, Exception):
            reason, code = "the application failed", AlertCode.INTERNAL_ERROR
        else:
            reason, code = "cancelled", AlertCode.USER_CANCELED
        with suppress(HandshakeError, LocalProtocolError):  # it has failed already
            if self._channel is not None:
                self._channel.abort(reason, code=code)
                self._channel.next_event()
            elif self._engine.state not in (State.COMPLETED, State.FAILED):
                self._engine.abort(reason, code=code)

    def _show(self, event: Event) -> None:
        if self._options.on_event is not None:
            self._options.on_event(event)

    async def _next_event(self) -> Event | Signal:
        try:
            event = self._engine.next_event()
        except Exception:
            await last_words(self._stream, self._engine.data_to_send())
            raise
        data = self._engine.data_to_send()
        if data:
            # where the peer has closed already, it may have sent an alert: reading finds it, or the end of the stream
            with suppress(BrokenResourceError, ClosedResourceError, OSError):
                await self._stream.send(data)
        return event

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive()
        except EndOfStream:
            return b""
        except ChannelFailed:  # TLS below has failed, and says how
            raise
        except (BrokenResourceError, ClosedResourceError, OSError) as error:
            raise TransportFailed(
                "the connection broke in the middle of the handshake",
                received=cause_in_words(error),
                step=self._where(),
            ) from error

    async def _ask(self, question: Question[Any]) -> None:
        if isinstance(question, TransportUpgrade):
            await self._upgrade(question)
            return
        answer = self._options.answer
        if answer is None:
            raise LocalProtocolError(f"{type(question).__name__} was asked, but there is no answer=")
        answering = answer(question)
        if answering is None:
            return
        if not isinstance(answering, Awaitable):
            raise LocalProtocolError(
                f"answer= returned {type(answering).__name__}; expected None, after a call of the question's answer(...)"
            )
        await answering

    async def _upgrade(self, question: TransportUpgrade) -> None:
        """Go on inside TLS. What was read is with the engine, which has nothing of it left; all that comes now is TLS's."""
        tls = self._options.tls
        if tls is None or not tls.upgrade:
            raise LocalProtocolError(f"{UpgradeToTls.name} was agreed on, but there is no tls=Tls(..., upgrade=True)")
        self._stream, bindings = await tls.wrap(self._stream, self._engine.role)
        question.secured(bindings or ChannelBindings(required=False))

    def _where(self) -> str:
        return self._engine.steps.current.name
