"""What a step sees, and all that it sees. The engine makes one `Context` for each handshake; no step logic lives here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .crypto.entropy import Entropy
from .crypto.hashing import HASHES, TranscriptHash
from .crypto.key_log import KeyLog
from .crypto.key_schedule import KeySchedule
from .crypto.suites import CipherSuite
from .errors import AlertCode, InvalidMessage, LocalProtocolError
from .events import Event, Question
from .identity.peers import Peer, VerifiedPeer
from .role import Role
from .session import Session
from .steplist import StepList

if TYPE_CHECKING:
    from .channel_binding import ChannelBindings
    from .stream import HandshakeStream

A = TypeVar("A")

_NO_EXTENSIONS: Final[Mapping[str, bytes]] = MappingProxyType({})


class Context:
    """A step's view of its handshake.

    Attributes:
        role: which end this is.
        entropy: randomness and private-key operations; a step uses no other.
        wall_time: the caller's date and time, for certificates; None when the caller gave none.
        steps: the list. What lies ahead can be edited, in `commit` only, alike on both sides.
        protocol: the negotiated application protocol id; None before, and when there is none.
        suite: the negotiated cipher suite; None before.
        psk: the identity of the pre-shared key that was agreed on; None before, and where there is none.
        peer: the verified peer or `ANONYMOUS`; None before its authentication is committed.
        judged: the verified peer from the moment in which the trust policy is asked about it; None before, and for `ANONYMOUS`.
        extensions: what the peer said in the extensions that both sides know.
        tls_binding: how both ends are bound to one TLS connection below, `tls-exporter` or `tls-server-end-point`; None before
            `hello-response` is committed, and where they are not.
        channel_bindings: what this end knows of the channel below; None for nothing.
        key_log: where traffic secrets are logged; None, as a rule, for nowhere.
        transcript_hash: call it for the hash of all messages so far: before this one in `write` and `read`, through it in
            `commit`; `LocalProtocolError` before a hash is selected.
        schedule: the key schedule, once a shared secret is established; None before, and after the session's keys are.
    """

    __slots__ = (
        "_early_secret",
        "_events",
        "_first_records",
        "_published",
        "_stream",
        "_transcript",
        "_unasked",
        "_when_complete",
        "channel_bindings",
        "entropy",
        "extensions",
        "judged",
        "key_log",
        "peer",
        "protocol",
        "psk",
        "role",
        "schedule",
        "session",
        "steps",
        "suite",
        "tls_binding",
        "transcript_hash",
        "wall_time",
    )

    def __init__(
        self,
        role: Role,
        steps: StepList,
        stream: HandshakeStream,
        transcript: TranscriptHash,
        events: list[Event],
        entropy: Entropy,
        wall_time: datetime | None,
        key_log: KeyLog | None = None,
    ) -> None:
        self.role = role
        self.steps = steps
        self.entropy = entropy
        self.wall_time = wall_time
        self.key_log = key_log
        self.protocol: str | None = None
        self.suite: CipherSuite | None = None
        self.psk: str | None = None
        self.peer: Peer | None = None
        self.judged: VerifiedPeer | None = None
        self.extensions = _NO_EXTENSIONS
        self.channel_bindings: ChannelBindings | None = None
        self.tls_binding: str | None = None
        self.schedule: KeySchedule | None = None
        self.session: Session | None = None
        self._stream = stream
        self._transcript = transcript
        self.transcript_hash: Callable[[], bytes] = transcript.digest
        self._events = events
        self._published: dict[str, Any] = {}
        self._when_complete: list[Callable[[], None]] = []
        self._first_records = b""
        self._early_secret = b""
        self._unasked: tuple[str, ...] = ()

    def transcript_content(self) -> bytes:
        """All messages so far, framed, as they enter the hash; `LocalProtocolError` once a hash is selected."""
        return self._transcript.content()

    def select_hash(self, name: str) -> None:
        """Fix the transcript's hash, one of `HASHES`, in `commit`, once."""
        if not self.steps.editable:
            raise _only_in_commit("select_hash")
        if name not in HASHES:
            raise ValueError(f"no hash {name!r}; use one of {', '.join(HASHES)}")
        self._transcript.select(HASHES[name])

    def use_psk(self, identity: str, early_secret: bytes) -> None:
        """Hand over what was extracted from a pre-shared key, in `commit`, once, before `establish`, into which it goes."""
        if not self.steps.editable:
            raise _only_in_commit("use_psk")
        if self.schedule is not None or self.psk is not None:
            raise LocalProtocolError("a pre-shared key is agreed on once, before a shared secret is established")
        self.psk, self._early_secret = identity, early_secret

    def establish(self, shared_secret: bytes) -> None:
        """Hand over the shared secret of a key agreement, in `commit`, after a suite is selected.

        Everything that follows, in both directions, is sealed under keys derived from it (RFC 8446 section 7.1).
        """
        if not self.steps.editable:
            raise _only_in_commit("establish")
        if self.suite is None:
            raise LocalProtocolError("establish() before a cipher suite is selected")
        if self.schedule is not None:
            raise LocalProtocolError("a shared secret was already established")
        transcript_hash, early_secret = self._transcript.digest(), self._early_secret
        schedule = KeySchedule(self.suite, shared_secret, transcript_hash, self.key_log, early_secret)
        self._early_secret = b""
        self._stream.protect(schedule.handshake_key(self.role), schedule.handshake_key(self.role.peer))
        self.schedule = schedule

    def finish(self, session: Session, *, first_records: bytes = b"") -> None:
        """End the handshake with `session`, in the last step's `commit`; `first_records` leave after its message."""
        if not self.steps.editable:
            raise _only_in_commit("finish")
        if self.session is not None or self.steps.cursor != len(self.steps) - 1:
            raise LocalProtocolError("only the step that provides the session finishes the handshake, once")
        session.results = MappingProxyType(self._published)
        session.steps = self.steps.names
        session.tls_binding = self.tls_binding
        self.session = session
        self._first_records = first_records

    def complete(self) -> Session:
        """The engine's, after the last commit: do what waited for it, and let the session have the stream."""
        session = self.session
        if session is None:
            raise LocalProtocolError("the last step did not finish the handshake with a session")
        if self._when_complete or self._unasked:
            self.settle()
        self._stream.hand_over(session, self._first_records)
        return session

    def settle(self) -> None:
        """Do what waited for the end, now: for the last message's sender, before it leaves. Who refuses then can still say so."""
        if self._unasked:
            raise LocalProtocolError(
                f"step {self._unasked[0]!r} has made a question and not asked it "
                "(hint: answer = yield from context.ask(...))"
            )
        actions, self._when_complete = self._when_complete, []
        for action in actions:
            action()

    def when_complete(self, action: Callable[[], None]) -> None:
        """Have `action` called once all has been verified: for what outlives the handshake and must not outrun it.

        On the end that sends the last message, that is before it is sent.
        """
        self._when_complete.append(action)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Where the block raises, nothing of what it gave to `when_complete` will be done."""
        before = len(self._when_complete)
        try:
            yield
        except BaseException:
            del self._when_complete[before:]
            raise

    def ask(self, question: Question[A]) -> Generator[Question[Any], Any, A]:
        """Ask the application, from a `write` or `read` that is a generator: `answer = yield from context.ask(...)`.

        Without the `yield from` nobody is asked, and the handshake ends in a `LocalProtocolError`, not in a session.
        """
        self._unasked += (self.steps.current.name,)
        return self._asking(question)

    def _asking(self, question: Question[A]) -> Generator[Question[Any], Any, A]:
        self._unasked = self._unasked[:-1]
        answer: A = yield question
        return answer

    def check_nothing_received(self, where: str) -> None:
        """For a step that changes what carries the bytes: `InvalidMessage` where received bytes wait to be read."""
        if self._stream.buffered:
            raise InvalidMessage(
                f"bytes came before {where}",
                expected="none until it is done",
                received=f"{self._stream.buffered} bytes in the clear",
                hint="somebody has added them, to have them count as if they had come after it; or the peer has given up",
                alert=AlertCode.UNEXPECTED_MESSAGE,
            )

    def check_nothing_to_send(self, where: str) -> None:
        """Likewise `LocalProtocolError` where bytes still wait to be sent."""
        if self._stream.unsent:
            raise LocalProtocolError(f"send what data_to_send() has before {where}, not after it")

    def emit(self, event: Event) -> None:
        """Tell the application of something that happened."""
        self._events.append(event)

    def publish(self, value: Any) -> None:
        """Leave `value` as this step's result: `session.results[step.name]`."""
        self._published[self.steps.current.name] = value

    def forget(self) -> None:
        """The engine's, after a failure: there are no keys and there is no session."""
        self.schedule = None
        self.session = None
        self.peer = self.judged = None
        self._early_secret = b""


def _only_in_commit(what: str) -> LocalProtocolError:
    return LocalProtocolError(f"{what}() is for a step's commit, where both ends hold the same transcript")
