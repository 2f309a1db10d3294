"""`responder-finished` and `initiator-finished`: the Finished MACs, and the session they yield."""

from __future__ import annotations

import hmac
from functools import partial
from typing import TYPE_CHECKING, Final

from ..channel import SecureChannel
from ..crypto.key_schedule import KeySchedule, SessionSecrets
from ..datagrams import DatagramChannel
from ..errors import LocalProtocolError, SessionKeyDerivationFailed
from ..limits import Limits
from ..role import INITIATOR, Role, Stage
from ..session import Session
from ..step import Message, MessageStep
from ..stream import HandshakeStream, NautilusStream
from .fields import Mac

if TYPE_CHECKING:
    from ..context import Context


class ResponderFinished(Message, frozen=True, tag="responder-finished"):
    """The responder's MAC over everything before."""

    mac: Mac


class InitiatorFinished(Message, frozen=True, tag="initiator-finished"):
    """The initiator's MAC over everything before."""

    mac: Mac


_INITIATOR_FINISHED: Final = ("initiator-finished", InitiatorFinished, Stage.PEER, Stage.SESSION)
_RESPONDER_FINISHED: Final = ("responder-finished", ResponderFinished, Stage.KEYS, Stage.NOTHING)

Finished = ResponderFinished | InitiatorFinished


class SessionKeyDerivation(MessageStep[Finished]):
    """One side's Finished (RFC 8446 section 4.4.4); the initiator's is the last message and yields the session's keys."""

    built_in = True

    __slots__ = ("_datagrams", "_limits", "message", "name", "needs", "provides", "sender")

    def __init__(self, sender: Role, limits: Limits, *, datagrams: bool = False) -> None:
        self.sender = sender
        if sender is INITIATOR:
            self.name, self.message, self.needs, self.provides = _INITIATOR_FINISHED
        else:
            self.name, self.message, self.needs, self.provides = _RESPONDER_FINISHED
        self._limits = limits
        self._datagrams = datagrams

    def write(self, context: Context) -> Finished:
        """The MAC; with the last one, this end has nothing more against the peer."""
        if self.sender is INITIATOR:
            context.settle()
        return self.message(_schedule(context).finished(self.sender, context.transcript_hash()))

    def read(self, context: Context, message: Finished) -> None:
        """Compare in constant time."""
        expected = _schedule(context).finished(self.sender, context.transcript_hash())
        if not hmac.compare_digest(expected, message.mac):
            raise SessionKeyDerivationFailed(
                "the Finished MAC is wrong",
                expected="the MAC over the handshake as this side saw it",
                received="another",
                hint="somebody altered a message on the way, or the peer's implementation differs",
            )

    def commit(self, context: Context) -> None:
        """After the initiator's: derive the session."""
        if self.sender is INITIATOR:
            self._finish(context)

    def _finish(self, context: Context) -> None:
        if context.suite is None:
            raise LocalProtocolError("no cipher suite is selected")
        role = context.role
        handshake_hash = context.transcript_hash()
        secrets = _schedule(context).session_secrets(handshake_hash, datagrams=self._datagrams)
        context.schedule = None
        limits = self._limits
        first_records = b""
        channel: SecureChannel | None = None
        if role is not INITIATOR:
            writing, reading = secrets.traffic_key(role), secrets.traffic_key(role.peer)
            channel = SecureChannel(role, writing=writing, reading=reading, limits=limits)
            channel.accept()
            first_records = bytes(channel.data_to_send())

        def make_channel(stream: HandshakeStream) -> SecureChannel:
            if channel is not None:
                return channel
            rejection = stream.reading if isinstance(stream, NautilusStream) else None
            writing, reading = secrets.traffic_key(role), secrets.traffic_key(role.peer)
            return SecureChannel(role, writing=writing, reading=reading, rejection=rejection, limits=limits)

        session = Session(
            role=role,
            peer=context.peer,
            protocol=context.protocol,
            suite=context.suite.name,
            exporter=secrets.export,
            channel_maker=make_channel,
            datagram_maker=partial(_make_datagrams, secrets, role) if self._datagrams else None,
            handshake_hash=handshake_hash,
            extensions=context.extensions,
            psk=context.psk,
        )
        context.finish(session, first_records=first_records)


def _make_datagrams(secrets: SessionSecrets, role: Role) -> DatagramChannel:
    return DatagramChannel(writing=secrets.datagram_key(role), reading=secrets.datagram_key(role.peer))


def _schedule(context: Context) -> KeySchedule:
    if context.schedule is None:
        raise LocalProtocolError("no shared secret has been established")
    return context.schedule
