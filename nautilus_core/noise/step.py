"""Noise messages as steps of the engine: one for each message pattern, with its payload hook. Framing is the stream's."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..datagrams import DatagramChannel
from ..errors import AuthenticationFailed, LocalProtocolError
from ..events import Question
from ..identity.identities import ANONYMOUS, Anonymous
from ..identity.keys import PublicKey
from ..identity.peers import ClaimedPeer, Peer, VerifiedPeer, verify_key_agreement
from ..identity.policy import settle
from ..role import Stage
from ..session import Session
from ..step import MAX_NAME_LENGTH, HandshakeStep, Reading, Writing, raw_bytes
from .channel import NoiseChannel
from .handshake_state import HandshakeState
from .payloads import NoiseView, PayloadHook
from .properties import Properties
from .settings import NoiseSettings

if TYPE_CHECKING:
    from ..context import Context
    from ..stream import HandshakeStream
    from .symmetric import CipherState

_NOTHING: Final = Stage.NOTHING
_SESSION: Final = Stage.SESSION

Answering: TypeAlias = Generator[Question[Any], Any, None]


class NoiseExchange:
    """What the steps of one handshake share: the `HandshakeState`, and what is known of the peer.

    Attributes:
        peer: whom the trust policy has accepted.
        judgement: the number of the message in which it decides; -1 for none.
    """

    __slots__ = ("_prologue", "judgement", "peer", "settings", "state")

    def __init__(self, settings: NoiseSettings, prologue: bytes) -> None:
        self.settings = settings
        self._prologue = prologue
        self.state: HandshakeState | None = None
        self.judgement = -1
        self.peer: Peer | ClaimedPeer | None = None

    def begin(self, context: Context) -> HandshakeState:
        """At the first message: now the role is known."""
        settings = self.settings
        judgement = settings.judgements[context.role]
        if judgement is not None:
            self.judgement = judgement.index
        self.state = settings.state(context.role, context.entropy, self._prologue)
        return self.state

    def judge(self, context: Context, state: HandshakeState, source: int) -> Reading:
        """Decide on the peer, whose static key is proved if `source` is 1 or 2."""
        settings = self.settings
        data = state.remote_static
        judgement = settings.judgements[context.role]
        if data is None or judgement is None or judgement.anonymous:
            self.peer = ANONYMOUS
            if settings.trust is None:
                return None
            return settle(settings.trust.authorize(ANONYMOUS, context), ANONYMOUS, self._admit)
        kind, policy, key = settings.credential_type, settings.trust, settings.pinned
        if key is not None and key.data != data:
            raise AuthenticationFailed(
                "the peer's static key is not the one that was given",
                expected=key.peer_id,
                received=PublicKey(kind, data).peer_id,
                hint="the peer has another key than you were given, or you reached somebody else",
            )
        if key is None:
            key = (None if policy is None else policy.known_key(kind, data)) or PublicKey(kind, data)
        if source:
            self.peer = context.judged = verify_key_agreement(kind, key, source)
        else:
            self.peer = ClaimedPeer(kind, key)
        return None if policy is None else settle(policy.authorize(self.peer, context), self.peer, self._admit)

    def _admit(self, peer: VerifiedPeer) -> None:
        self.peer = peer

    def admit(self, context: Context) -> None:
        """In the commit of the message in which the peer was accepted."""
        peer, policy = self.peer, self.settings.trust
        if isinstance(peer, (VerifiedPeer, Anonymous)):
            context.peer = peer
            if policy is not None:
                context.when_complete(partial(policy.remember, peer, context))

    def forget(self) -> None:
        """Drop the keys."""
        if self.state is not None:
            self.state.forget()


class NoiseMessage(HandshakeStep[bytes]):
    """One message pattern, `-> e, es`. `message_types` makes a class of each, once for a profile; a step is one of these.

    Attributes:
        index: its number, from 0.
        properties: the security properties of its payload (section 7.7).
        settings: of its profile.
        hook: takes its payload; bytes are sent as they are.
    """

    built_in = True
    needs = _NOTHING
    index: int
    properties: Properties
    settings: NoiseSettings
    hook: PayloadHook | bytes | None

    __slots__ = ("_exchange",)

    def __init__(self, exchange: NoiseExchange) -> None:
        self._exchange = exchange

    @property
    def source(self) -> int:
        """How the payload is authenticated, 0 to 2."""
        return self.properties.source

    @property
    def destination(self) -> int:
        """How the payload is kept secret, 0 to 5."""
        return self.properties.destination

    def _view(self, context: Context, handshake_hash: bytes) -> NoiseView:
        exchange, static = self._exchange, self.settings.static
        return NoiseView(
            context,
            self.index,
            self.properties,
            handshake_hash,
            None if static is None else static.public,
            None if exchange.state is None else exchange.state.remote_static,
            exchange.peer,
        )

    def write(self, context: Context) -> Writing[bytes]:
        """WriteMessage, with what the hook gives."""
        exchange, hook = self._exchange, self.hook
        state = exchange.state or exchange.begin(context)
        if hook is None:
            return state.write_message()
        if isinstance(hook, bytes):
            return state.write_message(hook)
        payload = hook.write(self._view(context, state.handshake_hash))
        if isinstance(payload, Generator):
            return _write_when_answered(state, self, payload)
        return state.write_message(raw_bytes(self, payload))

    def read(self, context: Context, message: bytes) -> Reading:
        """ReadMessage; then the trust policy decides where the peer's static key is proved; then the hook."""
        exchange, hook = self._exchange, self.hook
        state = exchange.state or exchange.begin(context)
        before = b"" if hook is None else state.handshake_hash
        payload = state.read_message(message)
        deciding = None
        if self.index == exchange.judgement:
            deciding = exchange.judge(context, state, self.properties.source)
        if hook is None or isinstance(hook, bytes):
            if payload:
                context.publish(payload)
            return deciding
        view = self._view(context, before)
        if deciding is None:
            return hook.read(view, payload)
        return _read_when_decided(deciding, hook, view, payload)

    def commit(self, context: Context) -> None:
        """The peer is known once it is proved; the last message yields the session."""
        exchange = self._exchange
        if self.index == exchange.judgement:
            exchange.admit(context)
        if self.provides is _SESSION:
            _finish(context, exchange)

    def forget(self) -> None:
        """Drop the keys of all the steps that share them."""
        self._exchange.forget()


def _write_when_answered(
    state: HandshakeState, step: NoiseMessage, payload: Generator[Question[Any], Any, bytes]
) -> Generator[Question[Any], Any, bytes]:
    answered = yield from payload
    return state.write_message(raw_bytes(step, answered))


def _read_when_decided(deciding: Answering, hook: PayloadHook, view: NoiseView, payload: bytes) -> Answering:
    yield from deciding
    reading = hook.read(view, payload)
    if reading is not None:
        yield from reading


def _finish(context: Context, exchange: NoiseExchange) -> None:
    state, settings = exchange.state, exchange.settings
    if state is None:
        raise LocalProtocolError("a Noise handshake without messages")
    role, pattern = context.role, settings.protocol.pattern
    handshake_hash = state.handshake_hash
    first, second = state.split()
    back = None if pattern.one_way else second
    writing, reading = (first, back) if role is pattern.first_sender else (back, first)
    transport = _Transport(settings, writing, reading)
    session = Session(
        role=role,
        peer=context.peer or ANONYMOUS,
        protocol=None,
        suite=settings.protocol.name,
        channel_maker=transport.channel,
        datagram_maker=transport.datagrams,
        handshake_hash=handshake_hash,
    )
    if isinstance(exchange.peer, ClaimedPeer):
        transport.on_first = partial(_prove, exchange.peer, settings, session, context)
    context.finish(session)


def _prove(claimed: ClaimedPeer, settings: NoiseSettings, session: Session, context: Context) -> None:
    """The first transport message of a peer has opened, which proves its static key: now the policy remembers it."""
    rows = settings.protocol.transport_properties
    source = max(row.source for row in rows if row.sender is not session.role)
    peer = verify_key_agreement(claimed.credential_type, claimed.public_key, source)
    if settings.trust is not None:
        settings.trust.remember(peer, context)
    session.prove(peer)


class _Transport:
    """The keys of `Split()`, until a channel or datagrams take them. Leaves no reference to the session, but where one is due."""

    __slots__ = ("_settings", "on_first", "reading", "writing")

    def __init__(self, settings: NoiseSettings, writing: CipherState | None, reading: CipherState | None) -> None:
        self._settings = settings
        self.writing = writing
        self.reading = reading
        self.on_first: Callable[[], None] | None = None

    def channel(self, stream: HandshakeStream) -> NoiseChannel:
        """For the session, which feeds it what the stream has left."""
        settings, (writing, reading, on_first) = self._settings, self._take()
        return NoiseChannel(
            writing=writing,
            reading=reading,
            rekey_after=settings.rekey_after,
            close_message=settings.close_message,
            on_first=on_first,
        )

    def datagrams(self) -> DatagramChannel:
        """For the session."""
        writing, reading, on_first = self._take()
        return DatagramChannel(
            writing=None if writing is None else writing.numbered(),
            reading=None if reading is None else reading.numbered(),
            on_first=on_first,
        )

    def _take(self) -> tuple[CipherState | None, CipherState | None, Callable[[], None] | None]:
        taken = self.writing, self.reading, self.on_first
        self.writing = self.reading = self.on_first = None
        if taken[:2] == (None, None):
            raise LocalProtocolError("the session's keys were taken already, by its channel or its datagrams")
        return taken


def step_names(settings: NoiseSettings) -> tuple[str, ...]:
    """The names of the steps: the message patterns as they are written, with a number where that is no name."""
    names: list[str] = []
    for index, message in enumerate(settings.protocol.pattern.messages):
        name = str(message)
        if name in names or len(name) > MAX_NAME_LENGTH:
            name = f"message {index}"
        names.append(name)
    return tuple(names)


def message_types(settings: NoiseSettings) -> tuple[type[NoiseMessage], ...]:
    """The classes of a profile's messages. What is the same in all handshakes stands in them, so that a step costs little."""
    names = step_names(settings)
    types: list[type[NoiseMessage]] = []
    for index, (name, properties) in enumerate(zip(names, settings.protocol.properties, strict=True)):
        attributes: dict[str, Any] = {
            "__slots__": (),
            "__module__": NoiseMessage.__module__,
            "name": name,
            "sender": properties.sender,
            "provides": _SESSION if index == len(names) - 1 else _NOTHING,
            "seals": settings.sealed[index],
            "facts": MappingProxyType({"source": str(properties.source), "destination": str(properties.destination)}),
            "index": index,
            "properties": properties,
            "settings": settings,
            "hook": settings.payloads.get(index),
        }
        if index < len(names) - 1 and all(one is None or one.index != index for one in settings.judgements.values()):
            attributes["commit"] = HandshakeStep.commit  # nothing to do
        types.append(type("NoiseMessage", (NoiseMessage,), attributes))
    return tuple(types)


def make_steps(settings: NoiseSettings, types: tuple[type[NoiseMessage], ...]) -> list[NoiseMessage]:
    """Fresh steps for one handshake."""
    exchange = NoiseExchange(settings, settings.prologue)
    return [message(exchange) for message in types]


__all__ = ["NoiseMessage", "make_steps", "message_types"]
