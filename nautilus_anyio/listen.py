"""`SecureListener` and `serve`: a handshake for each connection of a listener, then the application's handler.

Accepting is AnyIO's, judging the peer the profile's; what fails here fails for its own connection alone.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from anyio import create_task_group, sleep
from anyio.abc import ByteStream, Listener, SocketAttribute, TaskGroup

from nautilus_core import RESPONDER, HandshakeError, LocalProtocolError, Profile

from .connect import Answer, EventHook, Options, handshake_over
from .errors import ChannelFailed
from .key_log import FilePath, log_to
from .stream import SecureStream
from .tls import AnyTls, as_tls
from .transcript import Record, as_recording, prepare_folder

Handler: TypeAlias = Callable[[SecureStream], Awaitable[Any]]

_log: Final = logging.getLogger("nautilus_anyio")

_ACCEPT_PAUSE: Final = 0.1
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED})
"""Why accepting one connection can fail without a fault of the listener: the process or the system has too much open."""


def _passing_errno(error: BaseException | None) -> int | None:
    """The errno of `error` where it passes by itself; looks into the groups and causes that AnyIO puts around it."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            numbers = [_passing_errno(inner) for inner in error.exceptions]
            return None if None in numbers else numbers[0]
        if isinstance(error, OSError) and error.errno in _PASSING:
            return error.errno
        error = error.__cause__
    return None


@dataclass(frozen=True, slots=True)
class ConnectionFailure:
    """What ended one connection of a listener.

    Attributes:
        error: the error; a `HandshakeError` or `ChannelFailed` where the peer or the stream below was the cause.
        phase: `handshake` or `handler`.
        remote: the peer's address, as the stream below knows it; None where it has none.
        peer_id: who it was, where that was proved; None in the handshake.
    """

    error: Exception
    phase: str
    remote: Any
    peer_id: str | None

    @property
    def fields(self) -> dict[str, Any]:
        """The same for structured logs: plain values, nothing secret."""
        error = self.error.error if isinstance(self.error, ChannelFailed) else self.error
        fields: dict[str, Any] = {
            "phase": self.phase,
            "remote": self.remote,
            "peer_id": self.peer_id,
            "kind": type(error).__name__,
        }
        if isinstance(error, HandshakeError):
            fields |= {"step": error.step, "alert": error.alert, "retryable": error.retryable}
        return fields


ErrorHook: TypeAlias = Callable[[ConnectionFailure], None]


class SecureListener(Listener[SecureStream]):
    """A listener of secure streams over any AnyIO listener of byte streams: TCP, several addresses, Unix sockets.

    A connection that fails, in its handshake or in its handler, is closed, logged (`nautilus_anyio`, with the fields of
    `ConnectionFailure` as the record's `nautilus`) and shown to `on_error`; it disturbs neither the listener nor the other
    connections.

    Args:
        listener: the listener below, which belongs to this one from then on.
        profile: what the handshakes are made of.
        timeout: seconds for each handshake; None for no limit.
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
        answer: Answer | None = None,
        on_event: EventHook | None = None,
        on_error: ErrorHook | None = None,
        record: Record | None = None,
        key_log: FilePath | None = None,
        tls: AnyTls | None = None,
    ) -> None:
        if record is not None:
            record = replace(as_recording(record), each=True)
            prepare_folder(record.path)
        self._listener = listener
        self._profile = profile
        self._options = Options(timeout, answer, on_event, record, log_to(key_log), tls=as_tls(tls, RESPONDER, profile))
        self._on_error = on_error

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the listener below."""
        return self._listener.extra_attributes

    async def serve(self, handler: Handler, task_group: TaskGroup | None = None) -> None:
        """Accept connections for ever; make a handshake as responder on each, and hand the secure stream to `handler`.

        Args:
            handler: called in a task of its own with each `SecureStream`, which is closed when it returns.
            task_group: where the connections' tasks run; one of its own by default, which ends with `serve`.
        """

        async def serve_one(stream: ByteStream) -> None:
            await self._serve_one(stream, handler)

        if task_group is not None:
            await accept_all(self._listener, serve_one, task_group)
            return
        async with create_task_group() as tasks:
            await accept_all(self._listener, serve_one, tasks)

    async def aclose(self) -> None:
        """Accept no more. Connections that are there go on, in their own tasks."""
        await self._listener.aclose()

    async def _serve_one(self, stream: ByteStream, handler: Handler) -> None:
        remote = stream.extra(SocketAttribute.remote_address, None)
        phase, peer = "handshake", None
        try:
            secure = await handshake_over(stream, RESPONDER, self._profile, self._options)
            phase, peer = "handler", secure.session.peer
            async with secure:
                await handler(secure)
        except Exception as error:  # whatever it is, it is this connection's alone
            self._report(ConnectionFailure(error, phase, remote, None if peer is None else peer.peer_id))

    def _report(self, failure: ConnectionFailure) -> None:
        error = failure.error
        expected = isinstance(error, HandshakeError | LocalProtocolError | ChannelFailed)
        _log.log(
            logging.WARNING if expected else logging.ERROR,
            "%s failed: %s",
            failure.phase,
            error,
            exc_info=None if expected else error,
            extra={"nautilus": failure.fields},
        )
        if self._on_error is not None:
            try:
                self._on_error(failure)
            except Exception:
                _log.exception("the on_error hook failed")


async def accept_all(
    listener: Listener[ByteStream], serve_one: Callable[[ByteStream], Awaitable[None]], tasks: TaskGroup
) -> None:
    """Accept connections for ever, also when one cannot be for a while, and run `serve_one` in `tasks` with each."""
    while True:
        try:
            return await listener.serve(serve_one, tasks)
        except Exception as error:
            number = _passing_errno(error)
            if number is None:
                raise
            _log.warning("accepting a connection failed: %s", os.strerror(number))
            await sleep(_ACCEPT_PAUSE)  # until connections have ended


async def serve(
    listener: Listener[ByteStream],
    handler: Handler,
    profile: Profile,
    *,
    timeout: float | None = 30.0,
    answer: Answer | None = None,
    on_event: EventHook | None = None,
    on_error: ErrorHook | None = None,
    task_group: TaskGroup | None = None,
    record: Record | None = None,
    key_log: FilePath | None = None,
    tls: AnyTls | None = None,
) -> None:
    """Serve secure streams for ever: `SecureListener(listener, profile, ...).serve(handler, task_group)` in one call.

    `listener` is left open when this is cancelled: it belongs to whoever made it.
    """
    secure = SecureListener(
        listener,
        profile,
        timeout=timeout,
        answer=answer,
        on_event=on_event,
        on_error=on_error,
        record=record,
        key_log=key_log,
        tls=tls,
    )
    await secure.serve(handler, task_group)
