"""What a step is: the abstract step with raw bytes, steps with typed messages, steps of several messages, steps from
functions. The steps of `nautilus/1` live in `steps`; running them is the engine's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator, Mapping
from functools import cache
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeAlias, TypeVar, cast

import msgspec

from .errors import AlertCode, InvalidMessage, LocalProtocolError
from .events import Question
from .role import Role, Stage

if TYPE_CHECKING:
    from .context import Context

M = TypeVar("M")
S = TypeVar("S", bound=msgspec.Struct)

Writing: TypeAlias = M | Generator[Question[Any], Any, M]
"""What `write` returns: the message, or a generator that asks and then returns it."""
Reading: TypeAlias = Generator[Question[Any], Any, None] | None
"""What `read` returns: nothing, or a generator that asks."""

MAX_NAME_LENGTH: Final = 64

_NO_FACTS: Final[Mapping[str, str]] = MappingProxyType({})

_ENCODER: Final = msgspec.msgpack.Encoder()
_encode: Final = _ENCODER.encode


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The base of a typed message: a MessagePack array that begins with the step's name.

    `class Ticket(Message, frozen=True, tag="fleet-ticket"): tenant: str; mac: bytes`. Put lengths and counts into the
    types (`Annotated[bytes, msgspec.Meta(max_length=32)]`): they are checked before `read` sees the message.
    """


class StepDescription(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a step is, as far as a peer must know: so it travels in a hello."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
    sender: Role
    protocol_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_LENGTH)] | None
    required: bool


class _Envelope(msgspec.Struct, frozen=True, array_like=True):
    name: str


class _Raw(msgspec.Struct, frozen=True, array_like=True):
    name: str
    data: bytes


class _RawPart(msgspec.Struct, frozen=True, array_like=True):
    name: str
    last: bool
    data: bytes


@cache
def _decoder(message: Any) -> Callable[[bytes], Any]:
    return msgspec.msgpack.Decoder(message).decode


_decode_envelope: Final = msgspec.msgpack.Decoder(_Envelope).decode
_decode_raw: Final = msgspec.msgpack.Decoder(_Raw).decode
_decode_part: Final = msgspec.msgpack.Decoder(_RawPart).decode

_DECODE_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


def malformed(step: str, body: bytes, error: Exception | None = None) -> InvalidMessage:
    """The error for a `body` that is not a message of `step`: another step's, or none at all."""
    try:
        name = _decode_envelope(body).name
    except _DECODE_ERRORS:
        return InvalidMessage(
            "malformed message",
            expected=f"the message {step!r} as a MessagePack array",
            received=f"{len(body)} bytes that are none",
        )
    if name != step:
        return InvalidMessage(
            "unexpected message",
            expected=f"the message {step!r}",
            received=f"the message {name[:MAX_NAME_LENGTH]!r}",
            hint="the peer runs another list of steps, or a message was repeated, dropped or reordered",
            alert=AlertCode.UNEXPECTED_MESSAGE,
        )
    return InvalidMessage("malformed message", received=None if error is None else str(error))


class HandshakeStep(ABC, Generic[M]):
    """One message in one direction: its sender writes it, its peer reads it, then both commit it.

    Subclass it for a message of raw bytes, `MessageStep` for a typed one. No step object serves two handshakes.

    Attributes:
        name: unique in its list; at most 64 ASCII characters.
        sender: who writes.
        protocol_id: the only application protocol it runs with; None for any.
        required: whether the handshake fails where it cannot run.
        needs: what must be established before it: `Stage.PEER` by default.
        provides: what is established once it is committed; built-in steps only, as a rule.
        negotiates: whether application protocol and optional steps are settled once it is committed.
        built_in: whether it belongs to its profile for good and cannot be removed.
        finished: whether the step is done after the message just written or read.
        multi_message: whether there may be more than one: see `MultiMessageStep`.
        inserts: names of the built-in steps that its commit may add: no other step can have them.
        facts: what else there is to know of it, by heading, for people: a table of the list has a column for each.
        binds: whether it carries the channel bindings of a `Handshake`.
        seals: whether the step encrypts its message by itself, as Noise does.
        last_words: after its failure, what the peer still gets as its message, before the alert.
    """

    __slots__ = ()  # so that the built-in steps, which are made for every handshake, can do without a __dict__

    name: str
    sender: Role
    protocol_id: str | None = None
    required: bool = True
    needs: Stage = Stage.PEER
    provides: Stage = Stage.NOTHING
    negotiates: bool = False
    built_in: bool = False
    finished: bool = True
    multi_message: bool = False
    inserts: tuple[str, ...] = ()
    facts: Mapping[str, str] = _NO_FACTS
    binds: bool = False
    seals: bool = False
    last_words: bytes = b""

    @abstractmethod
    def write(self, context: Context) -> Writing[M]:
        """The message to send, or a generator that may ask before it returns one."""

    @abstractmethod
    def read(self, context: Context, message: M) -> Reading:
        """Check the peer's message, raising `HandshakeError` when it will not do; a generator may ask."""

    def commit(self, context: Context) -> None:  # most steps have nothing to commit
        """Both ends, once the message is in the transcript: derive keys, edit what lies ahead. Keep it deterministic."""

    def forget(self) -> None:  # most steps keep no secret
        """The handshake has failed: drop what is secret."""

    def check_finished(self) -> None:  # for steps of several messages
        """Called after `read`, where both ends must agree on whether that was the last message."""

    def between(self, context: Context) -> Reading:  # likewise
        """Called between two messages of the step: a generator may ask before the next one is written or read."""
        return None

    def encode(self, message: M) -> bytes:
        """The message's body on the wire: `[name, bin]`."""
        return _encode((self.name, raw_bytes(self, message)))

    def decode(self, body: bytes) -> M:
        """The reverse of `encode`; raises `InvalidMessage` and nothing else."""
        try:
            raw = _decode_raw(body)
        except _DECODE_ERRORS as error:
            raise malformed(self.name, body, error) from error
        if raw.name != self.name:
            raise malformed(self.name, body)
        return cast("M", raw.data)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} from {self.sender.value}>"


def raw_bytes(step: HandshakeStep[Any], message: object) -> bytes:
    """`message` when it is bytes, as a step without a message type must write."""
    if not isinstance(message, bytes):
        raise LocalProtocolError(f"step {step.name!r} must write bytes, not {type(message).__name__}")
    return message


def _encode_checked(step: HandshakeStep[Any], kind: Any, message: object) -> bytes:
    """A message of a user's step: what the peer would refuse as malformed must not leave."""
    if not isinstance(message, kind):
        raise LocalProtocolError(f"step {step.name!r} must write a {kind.__name__}, not {type(message).__name__}")
    body = _encode(message)
    try:
        _decoder(kind)(body)
    except _DECODE_ERRORS as error:
        raise LocalProtocolError(
            f"step {step.name!r} wrote a {kind.__name__} that its own types do not allow: {error}"
        ) from error
    return body


class MultiMessageStep(HandshakeStep[bytes]):
    """A step of several messages of raw bytes: the sender turns after each, until one of them is the last.

    `write` and `read` set `self.finished = True` at the same message on both ends. It commits once, after the last.
    """

    finished = False
    multi_message = True
    _peer_finished: bool | None = None

    def encode(self, message: bytes) -> bytes:
        """`[name, last, bin]`."""
        return _encode((self.name, self.finished, raw_bytes(self, message)))

    def decode(self, body: bytes) -> bytes:
        """The reverse; whether it is the last is kept until `check_finished`."""
        try:
            part = _decode_part(body)
        except _DECODE_ERRORS as error:
            raise malformed(self.name, body, error) from error
        if part.name != self.name:
            raise malformed(self.name, body)
        self._peer_finished = part.last
        return part.data

    def check_finished(self) -> None:
        """After `read`: both ends must agree on whether that was the last message, where the framing says so."""
        if self._peer_finished is not None and self.finished != self._peer_finished:
            words = {True: "the step's last message", False: "a message with more to come"}
            raise InvalidMessage(
                "the two ends disagree on where the step ends",
                expected=words[self.finished],
                received=words[self._peer_finished],
                alert=AlertCode.UNEXPECTED_MESSAGE,
            )


class MessageStep(HandshakeStep[S]):
    """A step whose message is a typed struct: what most steps are.

    Attributes:
        message: a subclass of `Message` whose tag is the step's name.
    """

    __slots__ = ()

    message: type[S]

    def encode(self, message: S) -> bytes:
        """The struct as a MessagePack array whose first element is the step's name.

        Raises:
            LocalProtocolError: it is no such struct, or breaks the constraints of its types.
        """
        return _encode(message) if self.built_in else _encode_checked(self, self.message, message)

    def decode(self, body: bytes) -> S:
        """The reverse; the constraints of the struct's types are checked here."""
        try:
            message: S = _decoder(self.message)(body)
        except _DECODE_ERRORS as error:
            raise malformed(self.name, body, error) from error
        return message


class CustomProtocolStep(HandshakeStep[M]):
    """A user's step from functions, with raw bytes or a message type.

    Args:
        name: unique in the list.
        sender: who writes.
        write: makes the message; may be a generator that asks.
        read: checks it, raising a `HandshakeError`; may be a generator that asks.
        commit: both ends, once the message is in the transcript.
        message: a subclass of `Message` whose tag is `name`, or None for raw bytes.
        protocol_id: the only application protocol it runs with.
        required: whether the handshake fails where it cannot run.
        needs: what must be established before it.
    """

    def __init__(
        self,
        name: str,
        sender: Role,
        *,
        write: Callable[[Context], Writing[M]],
        read: Callable[[Context, M], Reading],
        commit: Callable[[Context], None] | None = None,
        message: type[M] | None = None,
        protocol_id: str | None = None,
        required: bool = True,
        needs: Stage = Stage.PEER,
    ) -> None:
        self.name = name
        self.sender = sender
        self.protocol_id = protocol_id
        self.required = required
        self.needs = needs
        self.message: Any = None if message is bytes else message
        self._decode = None if self.message is None else _decoder(self.message)  # type: ignore[arg-type]  # hashable
        self._write = write
        self._read = read
        self._commit = commit

    def write(self, context: Context) -> Writing[M]:
        """Call the step's `write` function."""
        return self._write(context)

    def read(self, context: Context, message: M) -> Reading:
        """Call the step's `read` function."""
        return self._read(context, message)

    def commit(self, context: Context) -> None:
        """Call the step's `commit` function, where there is one."""
        if self._commit is not None:
            self._commit(context)

    def encode(self, message: M) -> bytes:
        """As a typed or a raw message, whichever the step has."""
        return super().encode(message) if self.message is None else _encode_checked(self, self.message, message)

    def decode(self, body: bytes) -> M:
        """The reverse of `encode`."""
        if self._decode is None:
            return super().decode(body)
        try:
            message: M = self._decode(body)
        except _DECODE_ERRORS as error:
            raise malformed(self.name, body, error) from error
        return message


def check_definition(step: HandshakeStep[Any]) -> None:
    """Raise `LocalProtocolError` unless `step` is well defined: a good name, a sender, a message type that fits."""
    name = getattr(step, "name", None)
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH or not name.isascii():
        raise LocalProtocolError(
            f"a step's name has 1 to {MAX_NAME_LENGTH} ASCII characters: {step.__class__.__name__}"
        )
    if not isinstance(getattr(step, "sender", None), Role):
        raise LocalProtocolError(f"step {name!r} needs a sender, INITIATOR or RESPONDER")
    if not step.built_in:
        _check_functions(step)
    if (step.provides > Stage.NOTHING or step.built_in) and not step.required:
        raise LocalProtocolError(
            f"step {name!r} belongs to the protocol, or provides something, and so must be required"
        )
    protocol_id = step.protocol_id
    if protocol_id is not None and not 0 < len(protocol_id.encode()) <= MAX_NAME_LENGTH:
        raise LocalProtocolError(f"the protocol id of step {name!r} has 1 to {MAX_NAME_LENGTH} bytes")
    message = getattr(step, "message", None)
    if message is None:
        if isinstance(step, MessageStep):
            raise LocalProtocolError(f"step {name!r} needs a message type")
        return
    config = getattr(message, "__struct_config__", None)
    if config is None or not config.array_like or config.tag != name:
        raise LocalProtocolError(f"the message of step {name!r} must be a Message with tag={name!r}")


def _check_functions(step: HandshakeStep[Any]) -> None:
    """Refuse what would be called and never run: a function that is async, and a `commit` that is a generator."""
    for name in ("write", "read", "commit", "between"):
        for function in (getattr(step, name), getattr(step, f"_{name}", None)):
            if iscoroutinefunction(function) or isasyncgenfunction(function):
                raise LocalProtocolError(
                    f"{name} of step {step.name!r} is async; expected a plain function, or a generator "
                    "(hint: a step does no I/O; it asks the application: answer = yield from context.ask(...))"
                )
            if name == "commit" and isgeneratorfunction(function):
                raise LocalProtocolError(f"commit of step {step.name!r} is a generator: only write and read can ask")


def not_a_reading(step: HandshakeStep[Any], returned: object) -> LocalProtocolError:
    """The error for what `read` has returned, which is neither None nor a generator: a no must not pass for a yes."""
    if isinstance(returned, Coroutine):
        returned.close()
    return LocalProtocolError(
        f"read of step {step.name!r} returned {type(returned).__name__}; expected None, or a generator that asks "
        "(hint: raise a HandshakeError to refuse the message)"
    )
