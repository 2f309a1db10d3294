"""A secure tunnel for an existing service: `nautilus listen --forward` beside it, `nautilus connect --listen` far away.

Each connection to the far side is a secure connection of its own, and one to the service. Bytes are carried by `piping`.
"""

from __future__ import annotations

import argparse
from typing import Final

from anyio import aclose_forcefully
from anyio.abc import SocketStream

from nautilus_core import INITIATOR, HandshakeError, LocalProtocolError, PeerAborted, Profile

from ..errors import ChannelFailed
from ..sockets import notice_dead_peers, reset_at_close
from ..stream import SecureStream
from .gate import serve_peers
from .meeting import Meeting, say_listening
from .options import REACH_TIMEOUT, profile_from
from .piping import BROKEN, pipe, why
from .serving import Place, bound_from, listening, run_until_signal

NO_SERVICE: Final = 502
"""What the exit tells the entrance when it cannot reach the service: an application's alert code, HTTP's for the same."""


def forward(options: argparse.Namespace) -> int:
    """`nautilus listen ADDRESS --forward PLACE`."""
    return run_until_signal(_forward, options, profile_from(options), backend=options.backend)


async def _forward(options: argparse.Namespace, profile: Profile) -> int:
    service: Place = options.forward

    async def handle(secure: SecureStream) -> None:
        try:
            local = await _dial(service, secure, min(options.timeout, REACH_TIMEOUT))
            notice_dead_peers(local)
            await pipe(secure, local)
        except BROKEN as error:
            raise ConnectionError(f"{secure.session.peer.peer_id}: {why(error, 'the service')}") from error

    await serve_peers(options, profile, handle, f"for {service}")
    return 0


async def _dial(service: Place, secure: SecureStream, seconds: float) -> SocketStream:
    """Connect to the service; where that fails, the entrance is told so, and `ConnectionError` is raised."""
    try:
        return await service.dial(seconds)
    except ConnectionError:
        await secure.abort("there is no connection to the service", code=NO_SERVICE)
        raise


def enter(options: argparse.Namespace) -> int:
    """`nautilus connect ADDRESS --listen PLACE`."""
    host, port = options.address
    profile = profile_from(options, name=f"{host}:{port}")
    return run_until_signal(_enter, options, profile, backend=options.backend)


async def _enter(options: argparse.Namespace, profile: Profile) -> int:
    host, port = options.address
    bound = bound_from(options)
    meeting = Meeting(options, profile, INITIATOR, each=True)

    async def secured(local: SocketStream) -> SecureStream:
        try:
            return await meeting.dial()
        except BaseException:
            reset_at_close(local)
            await aclose_forcefully(local)
            raise

    async def handle(local: SocketStream) -> None:
        try:
            async with await secured(local) as secure:
                notice_dead_peers(secure)
                await pipe(secure, local)
        except (HandshakeError, LocalProtocolError, *BROKEN) as error:
            options.output.note(f"a connection failed: {_what_happened(error)}", kind=type(error).__name__)

    async with listening(options.listen, bound, options.output) as (listener, where):
        say_listening(options, f"{where}, for {host} port {port}", host=where.host, port=where.port)
        await listener.serve(handle)
    return 0


def _what_happened(error: Exception) -> str:
    """What ended a connection, as the entrance says it."""
    cause = error.error if isinstance(error, ChannelFailed) else None
    if isinstance(cause, PeerAborted) and cause.code == NO_SERVICE:
        return (
            "the other end of the tunnel has no connection to its service: see whether it runs, and what is noted there"
        )
    return why(error, "the client")
