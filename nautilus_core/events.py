"""What the engine and the channel tell the application: events, the two signals, and questions. Nothing here acts."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

import msgspec

from .errors import AuthenticationFailed, HandshakeError, LocalProtocolError
from .role import Role

if TYPE_CHECKING:
    from .identity.identities import Anonymous
    from .identity.keys import PublicKey
    from .identity.peers import ClaimedPeer, VerifiedPeer
    from .session import Session

A = TypeVar("A")


class Signal(Enum):
    """Why `next_event` has no event: it needs bytes from the peer, or an answer from the application."""

    NEED_DATA = "need data"
    PAUSED = "paused"

    def __repr__(self) -> str:
        return self.name


NEED_DATA: Final = Signal.NEED_DATA
PAUSED: Final = Signal.PAUSED


class Event(msgspec.Struct, frozen=True):
    """Something that happened. A step's own events are subclasses, or any other frozen struct."""


class StepCompleted(Event, frozen=True, gc=False):
    """A message of a step went out or came in, and was accepted.

    Attributes:
        step: its name.
        sender: who sent the message.
        size: of the frame on the wire, in bytes.
        sealed: whether it was encrypted.
    """

    step: str
    sender: Role
    size: int
    sealed: bool


class StepSkipped(Event, frozen=True):
    """An optional step will not run; `reason` says why."""

    step: str
    reason: str


class HandshakeCompleted(Event, frozen=True):
    """The last event of a handshake: here is what it was for."""

    session: Session


class Accepted(Event, frozen=True):
    """On the initiator's channel: the responder has accepted us; the channel is `confirmed`."""


class DataReceived(Event, frozen=True, gc=False):
    """Application data came in, authentic and in order.

    Attributes:
        records: the payload of each record, in the order of sending: `bytes` of their own, made by the decryption and
            never written to again.
    """

    records: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        """All payloads as one; no copy is made when there is only one."""
        return self.records[0] if len(self.records) == 1 else b"".join(self.records)


class KeyUpdated(Event, frozen=True):
    """`sender` has changed to its next traffic key."""

    sender: Role


class PeerClosed(Event, frozen=True):
    """The peer has said that it will send no more. What we send still reaches it.

    Attributes:
        authenticated: whether it has said so under its key. Where a protocol has no close of its own, as plain Noise has none,
            the end of the stream stands for it, which anybody on the way can bring about: count what must be whole.
    """

    authenticated: bool = True


class Answer:
    """The place where a question's answer is left for the engine."""

    __slots__ = ("_open", "_withdrawn", "error", "given", "value")

    def __init__(self) -> None:
        self._open = False
        self._withdrawn = False
        self.given = False
        self.value: Any = None
        self.error: HandshakeError | None = None

    def ask(self) -> None:
        """The engine hands the question out; it can be answered from now on, once."""
        if self._open or self.given:
            raise LocalProtocolError("a question can be asked only once: make a new one")
        self._open = True

    def give(self, value: Any, error: HandshakeError | None = None) -> None:
        """The application's answer. Once the handshake has ended it changes nothing."""
        if self._withdrawn:
            return  # the handshake ended first, by the peer or by time: next_event says why
        if not self._open:
            raise LocalProtocolError(
                "this question was already answered" if self.given else "this question was not asked"
            )
        self._open = False
        self.value = value
        self.error = error
        self.given = True  # the last: an engine that looks meanwhile, in another thread, must not take a no for a yes

    def withdraw(self) -> None:
        """The handshake has ended: there is nobody left to answer to."""
        self._open = False
        self._withdrawn = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answer)

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "<answered>" if self.given else "<open>"


class Question(Event, Generic[A], frozen=True, kw_only=True):
    """Something that a step must know before it goes on. The engine is `PAUSED` until it is answered.

    Subclass it with fields of your own (`class NewTenant(Question[int], frozen=True): tenant: str`), ask it with
    `answer = yield from context.ask(NewTenant(name))`.
    """

    takes_no_data: ClassVar[str] = ""
    """Where no bytes from the peer may come while it is open, what is being done then; else empty."""

    pending: Answer = msgspec.field(default_factory=Answer)

    def answer(self, value: A) -> None:
        """Answer it. `LocalProtocolError` when it was answered before, or not asked."""
        self.pending.give(value)

    def reject(self, reason: str, *, alert: int | None = None) -> None:
        """Refuse: the step fails with `AuthenticationFailed` and the peer gets `alert` (default: access denied)."""
        self.pending.give(None, AuthenticationFailed(f"refused by the application: {reason}", alert=alert))


class PeerIdentified(Question[None], frozen=True, kw_only=True):
    """The peer has proved who it is: is it welcome?

    Attributes:
        peer: the verified peer, or `ANONYMOUS`; in a Noise pattern in which it proves its key later, a `ClaimedPeer`.
        name: what it was looked up under, where the policy has names (`known_peers`); None elsewhere.
    """

    peer: VerifiedPeer | Anonymous | ClaimedPeer
    name: str | None = None

    def accept(self) -> None:
        """The peer is welcome."""
        self.pending.give(None)

    def answer(self, value: None = None) -> None:
        """The same; `LocalProtocolError` for any value: `False` would be taken for a yes."""
        if value is not None:
            raise LocalProtocolError(
                f"a PeerIdentified takes no {type(value).__name__}: say accept(), or reject(reason)"
            )
        self.accept()


class SignatureNeeded(Question[bytes], frozen=True, kw_only=True):
    """This side's private key lives elsewhere: what is its signature? `answer(signature)`.

    It is verified before it is sent.

    Attributes:
        public_key: whose private key is to sign.
        scheme: how, by name: `ed25519` or another of the signature schemes.
        content: what to sign, as it is: the scheme hashes it where it does. It begins with 64 spaces and a fixed text that
            names this protocol and the role, so that it is no message of another protocol.
    """

    public_key: PublicKey
    scheme: str
    content: bytes

    def reject(self, reason: str, *, alert: int | None = None) -> None:
        """There is no signature: the handshake fails with `HandshakeError`; the peer gets `alert` (default: internal error)."""
        self.pending.give(None, HandshakeError(f"there is no signature of this side: {reason}", alert=alert))
