"""`serve`: a handshake for each connection of a listener, then the application's handler. Accepting is AnyIO's."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from anyio.abc import ByteStream, Listener, TaskGroup

from nautilus_core import RESPONDER, HandshakeError, LocalProtocolError, Profile

from .connect import Answer, EventHook, handshake
from .stream import SecureStream

Handler: TypeAlias = Callable[[SecureStream], Awaitable[Any]]
ErrorHook: TypeAlias = Callable[[Exception], None]

_log: Final = logging.getLogger("nautilus_anyio")


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
) -> None:
    """Accept connections for ever; make a handshake as responder on each, and hand the secure stream to `handler`.

    A connection that fails, in its handshake or in its handler, is closed, logged and shown to `on_error`; it disturbs
    neither the listener nor the other connections.

    Args:
        listener: an AnyIO listener of byte streams, of `anyio.create_tcp_listener` for one.
        handler: called in a task of its own with each `SecureStream`, which is closed when it returns.
        profile: what the handshakes are made of.
        timeout: seconds for each handshake; None for no limit.
        answer: answers questions.
        on_event: sees each event of every handshake.
        on_error: sees what ended a handshake or a handler.
        task_group: where the connections' tasks run; one of its own by default.
    """

    def report(error: Exception) -> None:
        if on_error is not None:
            try:
                on_error(error)
            except Exception:
                _log.exception("the on_error hook failed")

    async def serve_one(stream: ByteStream) -> None:
        try:
            secure = await handshake(stream, RESPONDER, profile, timeout=timeout, answer=answer, on_event=on_event)
            async with secure:
                await handler(secure)
        except (HandshakeError, LocalProtocolError) as error:
            _log.warning("handshake failed: %s", error)
            report(error)
        except Exception as error:
            _log.exception("connection failed")
            report(error)

    await listener.serve(serve_one, task_group)
