"""`hello` and `hello-response`: wire version, application protocol, nonces, the steps that will run, extensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from msgspec import Meta

from ..errors import AlertCode, InvalidMessage, NegotiationFailed
from ..events import StepSkipped
from ..role import INITIATOR, RESPONDER, Stage
from ..step import Message, MessageStep
from .channel_binding import CHANNEL_BINDING, BindingExchange
from .fields import GREASE_BYTES, MAX_OFFERS, Nonce, Offer, Offers, check_distinct, check_lengths, grease, listed
from .step_agreement import SAME_PROFILE, StepDescriptions, agree_on_steps, check_selected_steps, mismatch

if TYPE_CHECKING:
    from ..context import Context
    from ..steplist import Outline

WIRE_VERSION: Final = 1
TARGET: Final = "target"
MAX_EXTENSION_BYTES: Final = 16_384

_GREASE_VERSIONS: Final = tuple(nibble << 12 | 0xA00 | nibble << 4 | 0xA for nibble in range(16))
"""RFC 8701 section 2: versions that nobody will ever have."""


Extensions: TypeAlias = Annotated[
    tuple[tuple[Offer, Annotated[bytes, Meta(max_length=MAX_EXTENSION_BYTES)]], ...], Meta(max_length=MAX_OFFERS)
]


class Hello(Message, frozen=True, tag="hello"):
    """What the initiator can do and wants."""

    versions: Annotated[tuple[Annotated[int, Meta(ge=0, le=65_535)], ...], Meta(min_length=1, max_length=16)]
    protocols: Offers
    nonce: Nonce
    steps: StepDescriptions
    extensions: Extensions


class HelloSelection(Message, frozen=True, tag="hello-response"):
    """What the responder selected."""

    version: int
    protocol: Offer | None
    nonce: Nonce
    steps: StepDescriptions
    extensions: Extensions


@dataclass(frozen=True, slots=True)
class HelloOptions:
    """What a side says and wants in a hello: the same in all handshakes of a profile.

    Args:
        protocols: application protocol ids, in order of preference.
        extensions: what this side says, by extension; the responder answers those alone that the initiator offered.
        target: whom the initiator wants, or None.
        needed: steps after `hello-response` that an initiator's list must have, because it has spoken of them by then.

    Attributes:
        said: the extensions, as they travel.
        wanted: the target, likewise.
        answers: what a responder answers to each extension that it knows.
    """

    protocols: tuple[str, ...]
    extensions: Mapping[str, bytes]
    target: str | None
    needed: tuple[str, ...] = ()
    said: tuple[tuple[str, bytes], ...] = field(init=False)
    wanted: tuple[tuple[str, bytes], ...] = field(init=False)
    answers: Mapping[str, bytes] = field(init=False)

    def __post_init__(self) -> None:
        wanted = () if self.target is None else ((TARGET, self.target.encode()),)
        object.__setattr__(self, "said", tuple(self.extensions.items()))
        object.__setattr__(self, "wanted", wanted)
        object.__setattr__(self, "answers", MappingProxyType({**self.extensions, TARGET: b""}))


class HelloExchange:
    """What the two steps of one handshake share: the initiator's hello, once it is sent or read, its list then, the binding."""

    __slots__ = ("binding", "hello", "offered", "options")

    def __init__(self, options: HelloOptions) -> None:
        self.options = options
        self.binding: BindingExchange | None = None
        self.hello: Hello | None = None
        self.offered: Outline | None = None


class NodeHello(MessageStep[Hello]):
    """The initiator introduces itself."""

    name, sender, message = "hello", INITIATOR, Hello
    needs, built_in = Stage.NOTHING, True

    __slots__ = ("_exchange",)

    def __init__(self, exchange: HelloExchange) -> None:
        self._exchange = exchange

    def write(self, context: Context) -> Hello:
        """Offer everything, and a little that nobody knows."""
        exchange = self._exchange
        randomness = context.entropy.random_bytes(32 + 2 * GREASE_BYTES + 1)
        options = exchange.options
        protocols = options.protocols
        if protocols:
            protocols = (*protocols, grease(randomness[32 : 32 + GREASE_BYTES]))
        unknown = grease(randomness[32 + GREASE_BYTES : -1])
        extensions = (*options.said, (unknown, b""), *options.wanted)
        if context.channel_bindings is not None:
            exchange.binding = BindingExchange(context.channel_bindings)
            extensions = (*extensions, (CHANNEL_BINDING, exchange.binding.offer()))
        exchange.offered = context.steps.outline
        exchange.hello = Hello(
            (WIRE_VERSION, _GREASE_VERSIONS[randomness[-1] & 15]),
            protocols,
            randomness[:32],
            exchange.offered.negotiable,
            extensions,
        )
        return exchange.hello

    def read(self, context: Context, message: Hello) -> None:
        """Check what every version shares; the rest is answered in `hello-response`."""
        if WIRE_VERSION not in message.versions:
            raise NegotiationFailed(
                "no wire version in common",
                expected=str(WIRE_VERSION),
                received=", ".join(map(str, message.versions)),
                hint="one of the two ends is too old",
                alert=AlertCode.PROTOCOL_VERSION,
            )
        names = [name for name, _ in message.extensions]
        check_distinct(names, "extensions")
        check_lengths([*message.protocols, *names])
        for needed in self._exchange.options.needed:
            if needed not in [step.name for step in message.steps]:  # waiting for what it says of it would be for ever
                raise mismatch(
                    f"the peer has no step {needed!r}, which is required here",
                    expected=repr(needed),
                    received=listed([step.name for step in message.steps], 32),
                    hint=SAME_PROFILE,
                )
        if context.channel_bindings is not None:
            binding = self._exchange.binding = BindingExchange(context.channel_bindings)
            binding.take_offer(dict(message.extensions).get(CHANNEL_BINDING))
        self._exchange.hello = message

    def commit(self, context: Context) -> None:
        """Tell a key log which session this is."""
        if context.key_log is not None and self._exchange.hello is not None:
            context.key_log.hello_random = self._exchange.hello.nonce


class HelloResponse(MessageStep[HelloSelection]):
    """The responder selects; from here on both ends have the same list of steps."""

    name, sender, message = "hello-response", RESPONDER, HelloSelection
    needs, built_in, negotiates, binds = Stage.NOTHING, True, True, True

    __slots__ = ("_exchange", "_selection")

    def __init__(self, exchange: HelloExchange) -> None:
        self._exchange = exchange
        self._selection: HelloSelection | None = None

    def write(self, context: Context) -> HelloSelection:
        """Select protocol and steps; answer the extensions that this side knows."""
        exchange = self._exchange
        hello = exchange.hello
        if hello is None:
            raise InvalidMessage("no hello to respond to", alert=AlertCode.UNEXPECTED_MESSAGE)
        protocol = self._select_protocol(hello.protocols)
        steps = agree_on_steps(context.steps.outline, hello.steps, protocol)
        answers = exchange.options.answers
        extensions = tuple([(name, answers[name]) for name, _ in hello.extensions if name in answers])
        if exchange.binding is not None and (bound := exchange.binding.answer()) is not None:
            extensions = (*extensions, (CHANNEL_BINDING, bound))
        nonce = context.entropy.random_bytes(32)
        self._selection = HelloSelection(WIRE_VERSION, protocol, nonce, steps, extensions)
        return self._selection

    def read(self, context: Context, message: HelloSelection) -> None:
        """Check that everything selected was offered, and that the steps fit."""
        hello, offered = self._exchange.hello, self._exchange.offered
        if hello is None or offered is None:
            raise InvalidMessage("a response to no hello", alert=AlertCode.UNEXPECTED_MESSAGE)
        if message.version != WIRE_VERSION:
            raise _not_offered("version", str(message.version), [str(WIRE_VERSION)])
        own = self._exchange.options.protocols
        if message.protocol not in (own or (None,)):
            raise _not_offered("protocol", repr(message.protocol), own)
        if message.nonce == hello.nonce:
            raise InvalidMessage(
                "our own nonce came back",
                hint="this side's messages are reflected to it",
                alert=AlertCode.ILLEGAL_PARAMETER,
            )
        if message.extensions:
            self._check_extensions([name for name, _ in message.extensions])
        if self._exchange.binding is not None:
            self._exchange.binding.take_answer(dict(message.extensions).get(CHANNEL_BINDING))
        check_selected_steps(offered, message.steps, message.protocol)
        self._selection = message

    def commit(self, context: Context) -> None:
        """Settle protocol and extensions; take out the steps that will not run."""
        hello, selection = self._exchange.hello, self._selection
        if hello is None or selection is None:
            raise InvalidMessage("no hello and response to commit", alert=AlertCode.UNEXPECTED_MESSAGE)
        if self._exchange.binding is not None:
            context.tls_binding = self._exchange.binding.settle()
        context.protocol = selection.protocol
        if selection.extensions:
            agreed = dict(selection.extensions)
            if context.role is RESPONDER:
                agreed = {name: value for name, value in hello.extensions if name in agreed}
            context.extensions = MappingProxyType(agreed)
        if len(selection.steps) != len(context.steps.outline.negotiable):
            self._remove_others(context, {offer.name for offer in selection.steps})

    def _check_extensions(self, answered: Sequence[str]) -> None:
        options = self._exchange.options
        offered = [name for name, _ in (*options.said, *options.wanted)]
        if self._exchange.binding is not None:
            offered.append(CHANNEL_BINDING)
        check_distinct(answered, "extensions")
        for name in answered:
            if name not in offered:
                raise _not_offered("extension", repr(name), sorted(offered))

    def _remove_others(self, context: Context, running: set[str]) -> None:
        for step in context.steps.ahead:
            if step.name in running:
                continue
            if step.required:
                raise mismatch(
                    f"the required step {step.name!r} came into the list after it was offered",
                    expected=listed(sorted(running), 32),
                    received=repr(step.name),
                )
            fits = step.protocol_id in (None, context.protocol)
            reason = "the peer does not have it" if fits else f"it runs with {step.protocol_id!r} only"
            context.steps.remove(step)
            context.emit(StepSkipped(step.name, reason))

    def _select_protocol(self, offered: Sequence[str]) -> str | None:
        own = self._exchange.options.protocols
        for protocol in own:
            if protocol in offered:
                return protocol
        if not own and not offered:
            return None
        raise NegotiationFailed(
            "no application protocol in common",
            expected=f"one of {listed(own)}" if own else "no application protocol at all",
            received=listed(offered),
            hint="both ends name their protocols, or neither does" if not own or not offered else None,
            alert=AlertCode.NO_APPLICATION_PROTOCOL,
        )


def _not_offered(what: str, selected: str, offered: Sequence[str]) -> InvalidMessage:
    return InvalidMessage(
        f"the responder selected a {what} that was not offered",
        expected=listed(offered),
        received=selected,
        alert=AlertCode.ILLEGAL_PARAMETER,
    )
