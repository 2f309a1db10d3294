"""How two ends meet: the handshakes of a command, with what is asked and told about them. Where peers come in is `gate`'s."""

from __future__ import annotations

import argparse
from typing import Final

import anyio
from anyio.abc import ByteStream

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    AlertCode,
    Anonymous,
    Event,
    HandshakeCompleted,
    HandshakeTimeout,
    Identity,
    PeerAborted,
    Profile,
    Role,
)

from ..connect import handshake, reach
from ..pump import EventHook
from ..resolve import answering
from ..stream import SecureStream
from .asking import Questions
from .options import REACH_TIMEOUT
from .output import Output
from .recording import recording_from
from .resolving import Documents
from .retrying import dial_again
from .tls import tls_from

_PATIENCE: Final = 1.0
"""Seconds after which a peer that has not accepted us yet is likely to ask its owner."""

_ASKED: Final = "run it again and answer"
_ASKED_BY_PEER: Final = "when it comes again, answer"
_MORE_TIME: Final = ", or say a longer --timeout SECONDS, or --trust pinned:KEY once its owner has told you the key"


class Meeting:
    """The handshakes of one command, which share what is asked and told at the terminal.

    Args:
        options: of a parser with `address`, `add_profile` and `add_recording`; perhaps `add_tls`.
        profile: what the handshakes are made of.
        role: which end this is in them.
        each: whether there may be many handshakes, each with a transcript of its own.

    Attributes:
        profile: the same.
    """

    def __init__(self, options: argparse.Namespace, profile: Profile, role: Role, *, each: bool = False) -> None:
        self._options = options
        self.profile = profile
        self._questions = Questions()
        self._documents = Documents(options.did_web_private)
        self._role = role
        self._tls = tls_from(options, role)
        self._recorded = recording_from(options, each=each)
        self._told_that_we_wait = False

    @property
    def inside_tls(self) -> bool:
        """Whether TLS comes first."""
        return self._tls is not None

    async def dial(self) -> SecureStream:
        """Connect to the address in the options, again where they say so; raises what `nautilus_anyio.connect` does."""
        return await dial_again(self._options, self._dial_once)

    async def _dial_once(self, limit: float) -> SecureStream:
        deadline = anyio.current_time() + limit
        host, port = self._options.address
        raw, _ = await reach(host, port, min(limit, REACH_TIMEOUT))
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:

            def see(event: Event) -> None:
                if isinstance(event, HandshakeCompleted):
                    tasks.start_soon(self._say_that_we_wait)

            try:
                stream = await self._shake_hands(raw, (limit, deadline), on_event=see)
            except Exception as error:  # raised below: a group would hide what it is
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            if isinstance(failure, PeerAborted):
                self._add_hint(failure)
            raise failure
        return stream

    def _add_hint(self, error: PeerAborted) -> None:
        """Say what is likely to be behind a refusal of the peer, which itself says little."""
        with_psk = self._options.psk_file is not None
        match error.code, error.step:
            case AlertCode.NO_APPLICATION_PROTOCOL, _:
                hint = (
                    "`nautilus inspect HOST:PORT --protocol ID` says whether the peer speaks one"
                    if self._options.protocol
                    else "the peer speaks some, and we named none: `nautilus send` is for who receives files, else --protocol ID"
                )
            case AlertCode.DECRYPT_ERROR, "hello-response" if with_psk:
                hint = "the peer does not know our pre-shared key, or has another one of this name, or has other names in it"
            case AlertCode.STEP_LIST_MISMATCH, _ if with_psk:
                hint = "the peer has no pre-shared keys: leave out --psk-file, or give it --psk-file too"
            case AlertCode.STEP_LIST_MISMATCH, _:
                hint = "the peer may want a pre-shared key: --psk-file FILE"
            case _:
                return
        error.hint = hint if error.hint is None else f"{hint}; {error.hint}"

    async def _say_that_we_wait(self) -> None:
        """When it takes a while: the peer's owner is being asked, and whoever sits here could call them."""
        await anyio.sleep(_PATIENCE)
        if not self._told_that_we_wait:
            self._told_that_we_wait = True  # once, where many connections wait for one answer
            self._options.output.note("waiting for the peer to accept us")

    async def welcome(self, raw: ByteStream, seconds: float | None = None) -> SecureStream:
        """The handshake with a peer that has come, within what `--timeout` says or so many seconds.

        Raises what `nautilus_anyio.handshake` does.
        """
        limit: float = self._options.timeout
        left = limit if seconds is None else seconds
        return await self._shake_hands(raw, (limit, anyio.current_time() + left))

    async def _shake_hands(
        self, raw: ByteStream, time: tuple[float, float], on_event: EventHook | None = None
    ) -> SecureStream:
        """Where a question was open when the time was over, the error says what to do about it.

        `time` is how many seconds there were in all, and when they are over.
        """
        limit, deadline = time
        asking = self._questions.of(raw, came=self._role is RESPONDER)
        try:
            return await handshake(
                raw,
                self._role,
                self.profile,
                timeout=deadline - anyio.current_time(),
                answer=answering(self._documents, asking),
                on_event=on_event,
                tls=self._tls,
                **self._recorded,
            )
        except HandshakeTimeout as error:
            waited = f"{round(limit, 2):g} seconds"
            if error.step == "accept":
                raise HandshakeTimeout(
                    f"the peer has not accepted us in {waited}",
                    hint="its owner was asked, and has not answered: call them, then run it again",
                    step=error.step,
                    waited_for=error.waited_for,
                ) from error
            if asking.open is None:
                raise
            raise HandshakeTimeout(
                f"nobody answered in {waited} whether {asking.open} is welcome",
                hint=(_ASKED if self._role is INITIATOR else _ASKED_BY_PEER) + _MORE_TIME,
                step=error.step,
                waited_for=error.waited_for,
                question=error.question,
            ) from error


def say_listening(options: argparse.Namespace, where: str, **fields: object) -> None:
    """Note where we listen, and who we are: the other end's owner compares it with what they are asked.

    Args:
        options: of a parser that went through `add_profile`, after `profile_from`.
        where: in words.
        fields: the same for programs.
    """
    own: Identity | Anonymous = options.own
    output: Output = options.output
    if isinstance(own, Anonymous):
        output.note(f"listening on {where}, as nobody in particular", **fields, peer_id=own.peer_id)
        return
    key = own.public
    output.note(f"listening on {where}, as {own.peer_id}", **fields, peer_id=own.peer_id, words=key.words)
    output.words("our", key)


async def dial(options: argparse.Namespace, profile: Profile) -> SecureStream:
    """Connect to the address in `options`; raises what `connect` does."""
    return await Meeting(options, profile, INITIATOR, each=options.retry is not None).dial()
