"""A Noise protocol as a suite of `nautilus/1`: its messages in the place of key shares and authentications.

The Noise handshake is that of `noise`; here its messages travel in our frames, its prologue is the transcript, and the keys
of its `Split()` are the shared secret. Both `finished` follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..crypto.suites import AES_256_GCM, CHACHA20_POLY1305, SUITES, TLS_SUITES, Aead, CipherSuite, make_suite
from ..errors import AlertCode, InvalidMessage, LocalProtocolError
from ..identity.identities import ANONYMOUS
from ..identity.policy import TrustPolicy
from ..noise.functions import KeyPair, OwnKey, PeersKey, RemoteKey
from ..noise.names import NoiseProtocol
from ..noise.settings import NoiseSettings
from ..noise.step import NoiseExchange
from ..role import INITIATOR, Role, Stage
from ..step import HandshakeStep, Reading

if TYPE_CHECKING:
    from ..context import Context

NOISE_MESSAGES: Final = tuple(f"noise-{number}" for number in range(10))
"""The names of the steps; no other step can have them."""

REPLACED: Final = ("responder-key-share", "responder-authentication", "initiator-authentication")
"""What the Noise messages stand for."""

_AEADS: Final[Mapping[str, Aead]] = {"AESGCM": AES_256_GCM, "ChaChaPoly": CHACHA20_POLY1305}

PREFIX: Final = "Noise_"


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSuite:
    """A suite that is a Noise protocol.

    Args:
        name: of the protocol.
        static: this side's static private key; None for a side without one.
        remote_static: the peer's static public key, where it is known.
        psks: the pre-shared keys.
        trust: decides on the peer.

    Attributes:
        suite: what the key schedule and the records take from it.
        settings: for each role that this side can play with it.
        problems: why not, for the others.

    Raises:
        ValueError: the protocol does not fit, or nobody can play it with these keys and this policy; says why.
    """

    name: str
    static: OwnKey | None = field(repr=False)
    remote_static: PeersKey | None
    psks: tuple[bytes, ...] = field(repr=False)
    trust: TrustPolicy
    suite: CipherSuite = field(init=False)
    settings: Mapping[Role, NoiseSettings] = field(init=False, repr=False)
    problems: Mapping[Role, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        protocol = NoiseProtocol.parse(self.name)
        _check_pattern(protocol)
        static = None if self.static is None else protocol.dh.key_pair(self.static, "noise_static")
        remote = (
            None if self.remote_static is None else protocol.dh.remote_key(self.remote_static, "noise_remote_static")
        )
        settings: dict[Role, NoiseSettings] = {}
        problems: dict[Role, str] = {}
        for role in Role:
            try:
                settings[role] = self._settings(protocol, role, static, remote)
            except ValueError as error:
                problem = str(error).replace(" static=", " noise_static=").replace(" remote_", " noise_remote_")
                problems[role] = problem
        if not settings:
            raise ValueError("; ".join(dict.fromkeys(problems.values())))
        object.__setattr__(self, "settings", settings)
        object.__setattr__(self, "problems", problems)
        object.__setattr__(self, "suite", _suite_of(protocol))

    def _settings(
        self, protocol: NoiseProtocol, role: Role, static: KeyPair | None, remote: RemoteKey | None
    ) -> NoiseSettings:
        """With those of the keys that `role` uses in this pattern: they may be there for another suite."""
        pattern = protocol.pattern
        return NoiseSettings(
            protocol=protocol,
            static=static if pattern.static_of(role) else None,
            remote_static=remote if pattern.static_of(role.peer) else None,
            ephemeral=None,
            remote_ephemeral=None,
            psks=self.psks if pattern.has_psk else (),
            prologue=b"",
            payloads={},
            trust=self.trust,
            rekey_after=None,
            close_message=False,
            roles=(role,),
        )

    def usable(self, role: Role) -> bool:
        """Whether this side has what `role` needs, and the pattern can satisfy its policy."""
        return role in self.settings

    def make_steps(self, role: Role, prologue: bytes) -> list[NegotiatedNoiseMessage]:
        """Fresh steps for one handshake."""
        settings = self.settings[role]
        exchange = NoiseExchange(settings, prologue)
        senders = [message.sender for message in settings.protocol.pattern.messages]
        last = len(senders) - 1
        return [NegotiatedNoiseMessage(exchange, index, sender, index == last) for index, sender in enumerate(senders)]


def make_suites(
    names: Sequence[str],
    static: OwnKey | None,
    remote_static: PeersKey | None,
    psks: tuple[bytes, ...],
    trust: TrustPolicy,
) -> dict[str, NoiseSuite]:
    """Those of a profile's suites that are Noise protocols, over the same keys.

    Raises:
        ValueError: as `NoiseSuite`; or the static key would be used with several hash functions.
    """
    suites = {name: NoiseSuite(name, static, remote_static, psks, trust) for name in names if name.startswith(PREFIX)}
    users = [settings for suite in suites.values() for settings in suite.settings.values() if settings.static]
    hashes = sorted({settings.protocol.hash.name for settings in users})
    if len(hashes) > 1:
        raise ValueError(f"a Noise static key is used with one hash alone (section 14), not {', '.join(hashes)}")
    return suites


def _suite_of(protocol: NoiseProtocol) -> CipherSuite:
    return make_suite(protocol.name, "", _AEADS[protocol.cipher.name], protocol.hash.function)


def suite_named(name: str) -> CipherSuite:
    """The suite of this name, also one of TLS or a Noise protocol; `ValueError` for a name of none."""
    return SUITES.get(name) or TLS_SUITES.get(name) or _suite_of(NoiseProtocol.parse(name))


def _check_pattern(protocol: NoiseProtocol) -> None:
    """Refuse what cannot stand in the place of key shares and authentications."""
    pattern = protocol.pattern
    if (
        pattern.one_way
        or pattern.first_sender is not INITIATOR
        or any("e" in keys for keys in pattern.pre_messages.values())
    ):
        raise ValueError(f"{protocol.name} cannot be a suite: it is one-way, or falls back from another handshake")
    for role in Role:
        rows = [row.source for row in protocol.properties if row.sender is role]
        if pattern.static_of(role) and not any(rows):
            raise ValueError(
                f"{protocol.name} cannot be a suite: the {role.value} does not prove its static key in its messages"
            )


class NegotiatedNoiseMessage(HandshakeStep[bytes]):
    """One Noise message; the last one establishes the keys and knows the peer."""

    built_in = True
    needs = Stage.NOTHING

    __slots__ = ("_exchange", "_last", "index", "name", "provides", "seals", "sender")

    def __init__(self, exchange: NoiseExchange, index: int, sender: Role, last: bool) -> None:
        self.name = NOISE_MESSAGES[index]
        self.sender = sender
        self.provides = Stage.PEER if last else Stage.NOTHING
        self.seals = exchange.settings.sealed[index]
        self.index = index
        self._exchange = exchange
        self._last = last

    def write(self, context: Context) -> bytes:
        """WriteMessage, with an empty payload."""
        exchange = self._exchange
        return (exchange.state or exchange.begin(context)).write_message()

    def read(self, context: Context, message: bytes) -> Reading:
        """ReadMessage; the trust policy decides where the peer's static key is proved."""
        exchange = self._exchange
        state = exchange.state or exchange.begin(context)
        payload = state.read_message(message)
        if payload:
            raise InvalidMessage(
                "a payload in a Noise message of nautilus/1",
                expected="an empty one",
                received=f"{len(payload)} bytes",
                alert=AlertCode.ILLEGAL_PARAMETER,
            )
        if self.index != exchange.judgement:
            return None
        return exchange.judge(context, state, exchange.settings.protocol.properties[self.index].source)

    def commit(self, context: Context) -> None:
        """The peer is known once it is proved; after the last message everything is sealed."""
        exchange = self._exchange
        if self.index == exchange.judgement:
            exchange.admit(context)
        if self._last:
            if exchange.state is None:
                raise LocalProtocolError("a Noise handshake without messages")
            context.peer = context.peer or ANONYMOUS
            first, second = exchange.state.split_keys()
            context.establish(first + second)

    def forget(self) -> None:
        """Drop the keys of all the steps that share them."""
        self._exchange.forget()


__all__ = ["NOISE_MESSAGES", "REPLACED", "NegotiatedNoiseMessage", "NoiseSuite", "make_suites", "suite_named"]
