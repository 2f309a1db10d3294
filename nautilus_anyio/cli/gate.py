"""Where peers come in: the commands that listen, for one peer or for many. The limits hold for both.

What is asked and told in a handshake is `meeting`'s, who may have a place `nautilus_anyio.admission`'s.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable

from anyio import CancelScope, aclose_forcefully, create_task_group
from anyio.abc import ByteStream

from nautilus_core import RESPONDER, Profile

from ..counters import Refusal
from ..reception import ConnectionFailure, Handler, Reception
from ..stream import SecureStream
from .failures import FailureNotes
from .limits import limits_from, note_counters
from .meeting import Meeting, say_listening
from .output import Output
from .serving import Place, at_signal, bound_from, listening, quieten_log


async def first_peer(options: argparse.Namespace, profile: Profile) -> SecureStream:
    """Listen at the command's address until a handshake completes; then nobody else is let in.

    Who is silent, slow or no friend does not take the place of one who is: such failures are noted, and the limits are those
    for many peers.

    Args:
        options: of a parser with `address`, `add_profile` and `add_recording`; perhaps `add_limits`.
        profile: what the handshakes are made of.

    Raises:
        OSError: it cannot listen there.
    """
    gate = _Gate(options, profile)
    found: list[SecureStream] = []

    async def serve_one(raw: ByteStream) -> None:
        stream = await gate.reception.admit(raw, gate.meeting.welcome)
        if stream is None:
            return
        if found:  # both have completed in the same moment
            await stream.aclose()
            return
        found.append(stream)
        gate.close()

    try:
        await gate.open(serve_one)
    except BaseException:
        for stream in found:  # a signal came in the same moment
            await aclose_forcefully(stream)
        raise
    finally:
        counters = gate.reception.counters()
        if counters.refused.keys() - {Refusal.CLOSING}:
            note_counters(gate.output, counters)
    return found[0]


async def serve_peers(options: argparse.Namespace, profile: Profile, handler: Handler, what: str) -> None:
    """Listen at the command's address, and hand each peer to `handler`, for ever; failures are noted, and disturb nobody.

    A signal ends it: at once, or with `--grace` when who is there has gone, or the time is over.

    Args:
        options: of a parser with `address`, `add_profile`, `add_recording`, `add_bound` and `add_limits`.
        profile: what the handshakes are made of.
        handler: called with each secure stream, which is closed when it returns.
        what: what happens to peers, for the note that says where we listen.

    Raises:
        OSError: it cannot listen there.
    """
    gate = _Gate(options, profile)
    reception = gate.reception

    async def serve_one(raw: ByteStream) -> None:
        await reception.receive(raw, gate.meeting.welcome, handler)

    async def end() -> None:
        gate.close(cut=False)
        sessions = reception.counters().sessions
        gate.output.note(f"no more peers; {sessions} sessions have {options.grace:g} seconds to end", sessions=sessions)
        await reception.drain(options.grace)

    try:
        with at_signal(end if options.grace else None):
            await gate.open(serve_one, f", {what}")
    finally:
        note_counters(gate.output, reception.counters())


class _Gate:
    """Where one command lets peers in.

    Args:
        options: its options.
        profile: what the handshakes are made of.

    Attributes:
        output: where it says what happens.
        meeting: makes the handshakes.
        reception: sees to the limits.
    """

    def __init__(self, options: argparse.Namespace, profile: Profile) -> None:
        self.output: Output = options.output
        self.meeting = Meeting(options, profile, RESPONDER, each=True)
        self._options = options
        self._bound = bound_from(options)
        limits = limits_from(options, self._bound)
        inside_tls = self.meeting.inside_tls
        self.reception = Reception(
            self.meeting.profile, limits, options.timeout, self._failed, lambda _: None, inside_tls=inside_tls
        )
        self._accepting = CancelScope()
        self._cut = False
        self._notes: FailureNotes | None = None
        quieten_log()

    async def open(self, serve_one: Callable[[ByteStream], Awaitable[None]], what: str = "") -> None:
        """Listen, and run `serve_one` with each connection, until it is closed; `what` is said of it."""
        place = Place(*self._options.address)
        async with listening(place, self._bound, self.output, self.reception.make_room) as (listener, where):
            say_listening(self._options, f"{where.host} port {where.port}{what}", host=where.host, port=where.port)
            async with create_task_group() as tasks:
                self._notes = FailureNotes(self.output, tasks)
                with self._accepting:
                    await listener.serve(serve_one, tasks)
                await listener.aclose()
                if self._cut:
                    tasks.cancel_scope.cancel()

    def close(self, *, cut: bool = True) -> None:
        """Accept no more; `cut` who is on the way in, or leave them to the reception. `open` returns when all have gone."""
        self._cut = cut
        self._accepting.cancel()

    def _failed(self, failure: ConnectionFailure) -> None:
        if self._notes is not None:
            self._notes.note(f"a connection failed: {failure.error}", failure.remote, **failure.fields)
