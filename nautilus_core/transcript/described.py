"""What a line says of an error, of an answer, of an event: plain values, and no secret but on demand. When, is the recorder's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..errors import HandshakeError, PeerAborted
from ..events import Event, PeerIdentified, Question
from ..identity.credentials import ANONYMOUS_TYPE
from ..identity.peers import VerifiedPeer
from ..role import Role
from .lines import Answered, Completed, Failed

if TYPE_CHECKING:
    from ..session import Session

_OWN_FIELDS: Final = ("pending",)


def answer(question: Question[Any], at: int | None, secrets: bool) -> Answered:
    """The line for the answer to a question that has one."""
    pending = question.pending
    if pending.error is not None:
        error = pending.error
        kind = type(error).__name__
        return Answered(at=at, verdict="rejected", reason=error.message, error=kind, alert=error.alert)
    value = {"bytes": pending.value} if isinstance(pending.value, bytes) else pending.value
    plain = value is None or type(value) in (bool, int, float, str, dict)
    if plain and not isinstance(pending.value, dict) and (secrets or value is None):
        return Answered(at=at, verdict="value", value=value)
    return Answered(at=at, verdict="withheld", reason=type(pending.value).__name__)


def completion(session: Session, at: int | None) -> Completed:
    """The line for what was agreed on, and with whom."""
    peer = session.peer
    verified = peer if isinstance(peer, VerifiedPeer) else None
    return Completed(
        at=at,
        suite=session.suite,
        protocol=session.protocol,
        peer=ANONYMOUS_TYPE if peer is None else peer.peer_id,
        handshake_hash=session.handshake_hash,
        steps=session.steps,
        psk=session.psk,
        identifier=None if verified is None else verified.identifier,
        names=() if verified is None else verified.names,
    )


def failure(error: Exception, at: int | None, *, channel: bool = False) -> Failed:
    """The line for an error."""
    if not isinstance(error, HandshakeError):
        return Failed(at=at, error=type(error).__name__, channel=channel)
    aborted = error if isinstance(error, PeerAborted) else None
    return Failed(
        at=at,
        error=type(error).__name__,
        message=error.message,
        expected=error.expected,
        received=error.received,
        hint=error.hint,
        step=error.step,
        alert=int(error.alert),
        code=None if aborted is None or aborted.code is None else int(aborted.code),
        retry_after=None if aborted is None else aborted.retry_after,
        authenticated=aborted is not None and aborted.authenticated,
        channel=channel,
    )


def values_of(event: Event, secrets: bool) -> dict[str, Any]:
    """The fields of an event that are plain; of one that is not the library's own, only with secrets."""
    if isinstance(event, PeerIdentified):
        return {"peer": event.peer.peer_id, "name": event.name}
    if not secrets and not type(event).__module__.startswith("nautilus_core"):
        return {}
    values: dict[str, Any] = {}
    for field in getattr(event, "__struct_fields__", ()):
        if field not in _OWN_FIELDS:
            values[field] = _plain(getattr(event, field), secrets)
    return values


def _plain(value: Any, secrets: bool) -> Any:
    """A value as JSON has it: bytes as their length, and themselves only with secrets."""
    if isinstance(value, bytes):
        return {"bytes": value, "length": len(value)} if secrets else {"length": len(value)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Role):
        return value.value
    if isinstance(value, (tuple, list)):
        return [_plain(one, secrets) for one in value]
    peer_id = getattr(value, "peer_id", None)
    return peer_id if isinstance(peer_id, str) else {"type": type(value).__name__}
