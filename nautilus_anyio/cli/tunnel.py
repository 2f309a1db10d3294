"""A secure tunnel for an existing service: `nautilus listen --forward` beside it, `nautilus connect --listen` far away.

Each connection to the far side is a secure connection of its own, and one to the service. Bytes are carried by `piping`.
"""

from __future__ import annotations

import argparse

from anyio import aclose_forcefully
from anyio.abc import SocketStream

from nautilus_core import HandshakeError, LocalProtocolError, Profile

from ..connect import connect
from ..stream import SecureStream
from .options import answering, profile_from
from .piping import BROKEN, pipe, reset_at_close, why
from .recording import recording_from
from .serving import Place, bound_from, keep_alive, listening, run_until_signal, serve_peers


def forward(options: argparse.Namespace) -> int:
    """`nautilus listen ADDRESS --forward PLACE`."""
    return run_until_signal(_forward, options, profile_from(options), backend=options.backend)


async def _forward(options: argparse.Namespace, profile: Profile) -> int:
    service: Place = options.forward

    async def handle(secure: SecureStream) -> None:
        try:
            local = await service.dial(options.timeout)
            keep_alive(local)
            await pipe(secure, local)
        except BROKEN as error:
            raise ConnectionError(f"{secure.session.peer.peer_id}: {why(error, 'the service')}") from error

    await serve_peers(options, profile, handle, f"for {service}")
    return 0


def enter(options: argparse.Namespace) -> int:
    """`nautilus connect ADDRESS --listen PLACE`."""
    host, port = options.address
    profile = profile_from(options, name=f"{host}:{port}")
    return run_until_signal(_enter, options, profile, backend=options.backend)


async def _enter(options: argparse.Namespace, profile: Profile) -> int:
    host, port = options.address
    bound = bound_from(options)
    answer = answering()
    recorded = recording_from(options, each=True)

    async def secured(local: SocketStream) -> SecureStream:
        try:
            return await connect(host, port, profile, timeout=options.timeout, answer=answer, **recorded)
        except BaseException:
            reset_at_close(local)
            await aclose_forcefully(local)
            raise

    async def handle(local: SocketStream) -> None:
        try:
            async with await secured(local) as secure:
                keep_alive(secure)
                await pipe(secure, local)
        except (HandshakeError, LocalProtocolError, *BROKEN) as error:
            options.output.note(f"a connection failed: {why(error, 'the client')}", kind=type(error).__name__)

    async with listening(options.listen, bound, options.output) as (listener, where):
        options.output.note(f"listening on {where}, for {host} port {port}", host=where.host, port=where.port)
        await listener.serve(handle)
    return 0
