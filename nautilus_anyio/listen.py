"""`SecureListener` and `serve`: a handshake for each connection of a listener, then the application's handler.

Accepting is AnyIO's, judging the peer the profile's, what becomes of a connection `reception`'s; what fails here fails for
its own connection alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from math import inf
from typing import Any, Final, TypeAlias

from anyio import CancelScope, ClosedResourceError, create_task_group, current_time, sleep
from anyio.abc import ByteStream, Listener, TaskGroup

from nautilus_core import RESPONDER, HandshakeError, LocalProtocolError, Profile

from .admission import DEFAULT_LISTENER_LIMITS, ListenerLimits
from .connect import handshake_over
from .counters import Counters, Refusal
from .errors import ChannelFailed
from .key_log import FilePath, log_to
from .pump import Answer, EventHook, Options
from .reception import ConnectionFailure, Handler, Reception
from .sockets import OUT_OF_FILES, passing_errno
from .stream import SecureStream
from .tls import AnyTls, as_tls
from .transcript import Record, as_recording, prepare_folder

_log: Final = logging.getLogger("nautilus_anyio")

_ACCEPT_PAUSE: Final = 0.1
_CLOSE_PAUSE: Final = 0.01
_TELL_EACH: Final = 10.0
"""Seconds between two warnings that connections are refused, or cannot be accepted: there may be thousands a second."""


def _only_closed(error: Exception) -> bool:
    """Whether a listener says nothing but that it is closed; where it has several parts, each of them says so."""
    if isinstance(error, ExceptionGroup):
        return error.split(ClosedResourceError)[1] is None
    return isinstance(error, ClosedResourceError)


ErrorHook: TypeAlias = Callable[[ConnectionFailure], None]


class SecureListener(Listener[SecureStream]):
    """A listener of secure streams over any AnyIO listener of byte streams: TCP, several addresses, Unix sockets.

    A connection that fails, in its handshake or in its handler, is closed, logged (`nautilus_anyio`, with the fields of
    `ConnectionFailure` as the record's `nautilus`) and shown to `on_error`; it disturbs neither the listener nor the other
    connections.

    There are limits to how much peers can ask of it: see `ListenerLimits`. Who is refused is counted, and told `busy` where the
    protocol has such a word; that is no failure of a connection.

    Args:
        listener: the listener below, which belongs to this one from then on.
        profile: what the handshakes are made of.
        timeout: seconds for each connection from accepting to the end of its handshake; None for no limit.
        limits: how many handshakes at once, and how long a peer may be silent.
        answer: answers questions.
        on_event: sees each event of every handshake.
        on_error: sees what ended a handshake or a handler.
        record: a folder that gets a transcript of each handshake, or a `transcript.Recording` with one; it is made where it
            is missing.
        key_log: a file that gets each traffic secret. DANGEROUS: whoever has it can read the sessions.
        tls: makes each handshake inside TLS: a context of `ssl` or pyOpenSSL, or a `Tls`, which says more.

    Raises:
        OSError: the folder cannot be made, or the key log cannot be written.
        ValueError: `tls` cannot do what it says: it does not know its own certificate, for one.
    """

    def __init__(
        self,
        listener: Listener[ByteStream],
        profile: Profile,
        *,
        timeout: float | None = 30.0,
        limits: ListenerLimits = DEFAULT_LISTENER_LIMITS,
        answer: Answer | None = None,
        on_event: EventHook | None = None,
        on_error: ErrorHook | None = None,
        record: Record | None = None,
        key_log: FilePath | None = None,
        tls: AnyTls | None = None,
    ) -> None:
        if not isinstance(limits, ListenerLimits):
            raise TypeError(f"limits= takes ListenerLimits(...), not {limits!r}")
        if record is not None:
            record = replace(as_recording(record), each=True)
            prepare_folder(record.path)
        self._listener = listener
        self._profile = profile
        below = as_tls(tls, RESPONDER, profile)
        self._options = Options(timeout, answer, on_event, record, log_to(key_log), tls=below)
        self._on_error = on_error
        inside_tls = below is not None and not below.upgrade
        self._reception = Reception(profile, limits, timeout, self._report, self._note_refusal, inside_tls=inside_tls)
        self._closed = False
        self._accepting: list[CancelScope] = []
        self._told = -inf

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the listener below."""
        return self._listener.extra_attributes

    @property
    def counters(self) -> Counters:
        """What it has counted up to now; a snapshot, which does not change."""
        return self._reception.counters()

    async def serve(self, handler: Handler, task_group: TaskGroup | None = None) -> None:
        """Accept connections until `aclose`; make a handshake as responder on each, and hand the secure stream to `handler`.

        Args:
            handler: called in a task of its own with each `SecureStream`, which is closed when it returns.
            task_group: where the connections' tasks run; one of its own by default, which ends with `serve`.
        """

        async def serve_one(stream: ByteStream) -> None:
            await self._reception.receive(stream, self._shake_hands, handler)

        if task_group is not None:
            await self._accept(serve_one, task_group)
            return
        async with create_task_group() as tasks:
            await self._accept(serve_one, tasks)

    async def aclose(self, grace: float | None = None) -> None:
        """Accept no more; who has not sent a first message yet is cut. `serve` returns then.

        Args:
            grace: seconds within which handshakes in progress, and handlers, are to end. Then they are cancelled, which cuts
                their connections; when this returns, there is none left. None to leave them alone: they go on, in their own
                tasks. Not for a handler to call: it would wait for itself.
        """
        self._closed = True
        try:
            await self._listener.aclose()
        finally:
            for scope in self._accepting:
                scope.cancel()
        if grace is None:
            self._reception.close()
        else:
            await self._reception.drain(grace)

    async def _accept(self, serve_one: Callable[[ByteStream], Awaitable[None]], tasks: TaskGroup) -> None:
        with CancelScope() as scope:
            self._accepting.append(scope)
            try:
                await _accept_all(self._listener, serve_one, tasks, self._reception.make_room)
            except Exception as error:
                if not (self._closed and _only_closed(error)):
                    raise
            finally:
                self._accepting.remove(scope)

    async def _shake_hands(self, stream: ByteStream, seconds: float | None) -> SecureStream:
        return await handshake_over(stream, RESPONDER, self._profile, replace(self._options, timeout=seconds))

    def _note_refusal(self, reason: Refusal) -> None:
        now = current_time()
        if now - self._told >= _TELL_EACH:
            self._told = now
            _log.warning("connections are refused: %s", reason.value, extra={"nautilus": {"refusal": reason.value}})

    def _report(self, failure: ConnectionFailure) -> None:
        error = failure.error
        expected = isinstance(error, HandshakeError | LocalProtocolError | ChannelFailed)
        _log.log(
            logging.WARNING if expected else logging.ERROR,
            "%s",
            failure,
            exc_info=None if expected else error,
            extra={"nautilus": failure.fields},
        )
        if self._on_error is not None:
            try:
                self._on_error(failure)
            except Exception:
                _log.exception("the on_error hook failed")


async def _accept_all(
    listener: Listener[ByteStream],
    serve_one: Callable[[ByteStream], Awaitable[None]],
    tasks: TaskGroup,
    make_room: Callable[[], bool] = lambda: False,
) -> None:
    """Accept connections for ever, also when one cannot be for a while, and run `serve_one` in `tasks` with each.

    Args:
        listener: accepts.
        serve_one: gets each connection.
        tasks: where it runs.
        make_room: called when there are no files left; gives some up, and says whether it could.
    """
    told = -inf
    while True:
        try:
            return await listener.serve(serve_one, tasks)
        except Exception as error:
            number = passing_errno(error)
            if number is None:
                raise
            if current_time() - told >= _TELL_EACH:
                told = current_time()
                _log.warning("accepting a connection failed: %s", os.strerror(number))
            made_room = number in OUT_OF_FILES and make_room()
            await sleep(_CLOSE_PAUSE if made_room else _ACCEPT_PAUSE)  # until connections have ended


async def serve(
    listener: Listener[ByteStream],
    handler: Handler,
    profile: Profile,
    *,
    timeout: float | None = 30.0,
    limits: ListenerLimits = DEFAULT_LISTENER_LIMITS,
    answer: Answer | None = None,
    on_event: EventHook | None = None,
    on_error: ErrorHook | None = None,
    task_group: TaskGroup | None = None,
    record: Record | None = None,
    key_log: FilePath | None = None,
    tls: AnyTls | None = None,
) -> None:
    """Serve secure streams for ever: `SecureListener(listener, profile, ...).serve(handler, task_group)` in one call.

    `listener` is left open when this is cancelled: it belongs to whoever made it. To drain, and to read the counters, make
    the `SecureListener` yourself.
    """
    secure = SecureListener(
        listener,
        profile,
        timeout=timeout,
        limits=limits,
        answer=answer,
        on_event=on_event,
        on_error=on_error,
        record=record,
        key_log=key_log,
        tls=tls,
    )
    await secure.serve(handler, task_group)
