"""What a Noise profile is made of: a protocol, keys, a policy, options; and which role it can play. No message is made here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..crypto.entropy import Entropy
from ..identity.keys import PublicKey
from ..identity.policy import TrustPolicy
from ..role import INITIATOR, Role
from .functions import KeyPair, RemoteKey
from .handshake_state import HandshakeState, check_keys
from .names import NoiseProtocol
from .payloads import PayloadHook


@dataclass(frozen=True, slots=True)
class Judgement:
    """When a role has its trust decided.

    Attributes:
        index: in the reading of which message.
        source: what proves the peer's static key by then; 0 when only its first transport message will.
        anonymous: whether the peer has no static key, or never proves it.
    """

    index: int
    source: int
    anonymous: bool


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSettings:
    """The arguments of `profiles.noise`, checked and parsed.

    Attributes:
        roles: which it is for.
        credential_type: of the peer's static key.
        pinned: `remote_static` as a public key, or None.
        sealed: of each message, whether its payload is encrypted.
        known_static: what each role knows of the peer's static key beforehand, by the pattern.
        problems: why each role cannot be played; None where it can.
        judgements: when each role decides on its peer; None when there is nothing to decide on.
    """

    protocol: NoiseProtocol
    static: KeyPair | None
    remote_static: RemoteKey | None
    ephemeral: KeyPair | None
    remote_ephemeral: RemoteKey | None
    psks: tuple[bytes, ...] = field(repr=False)
    prologue: bytes
    payloads: Mapping[int, PayloadHook | bytes] = field(repr=False)
    trust: TrustPolicy | None
    rekey_after: int | None
    close_message: bool
    roles: tuple[Role, ...] = tuple(Role)
    credential_type: str = field(init=False, repr=False)
    pinned: PublicKey | None = field(init=False, repr=False)
    sealed: tuple[bool, ...] = field(init=False, repr=False)
    problems: Mapping[Role, str | None] = field(init=False, repr=False)
    known_static: Mapping[Role, RemoteKey | None] = field(init=False, repr=False)
    judgements: Mapping[Role, Judgement | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        kind = f"noise-static-{self.protocol.dh.name}"
        pinned = None if self.remote_static is None else PublicKey(kind, self.remote_static.data)
        object.__setattr__(self, "credential_type", kind)
        object.__setattr__(self, "pinned", pinned)
        object.__setattr__(self, "sealed", tuple(plan.has_key for plan in self.protocol.plans[INITIATOR].messages))
        object.__setattr__(self, "judgements", {role: self._judgement(role) for role in Role})
        plans, remote = self.protocol.plans, self.remote_static
        object.__setattr__(self, "known_static", {role: remote if plans[role].needs[2] else None for role in Role})
        problems = {role: self._problem(role) if role in self.roles else _OTHER_ROLE for role in Role}
        if None not in problems.values():
            raise ValueError("; ".join(dict.fromkeys(problems[role] or "" for role in self.roles)))
        object.__setattr__(self, "problems", problems)
        for index, payload in self.payloads.items():
            if not 0 <= index < len(self.protocol.pattern.messages):
                raise ValueError(f"payloads: {self.protocol.name} has no message {index}")
            if not isinstance(payload, bytes) and not (hasattr(payload, "write") and hasattr(payload, "read")):
                raise ValueError(f"payloads: message {index} takes bytes, or a hook with write and read")
        if self.rekey_after is not None and self.rekey_after < 1:
            raise ValueError("rekey_after is at least 1 message")

    def check(self, role: Role) -> None:
        """Raise `ValueError`, which says what is missing or superfluous, unless this can play `role`."""
        problem = self.problems[role]
        if problem is not None:
            raise ValueError(problem)

    def state(self, role: Role, entropy: Entropy, prologue: bytes) -> HandshakeState:
        """A fresh `HandshakeState`."""
        return HandshakeState(
            self.protocol,
            role,
            prologue=prologue,
            s=self.static,
            e=self.ephemeral,
            rs=self.known_static[role],
            re=self.remote_ephemeral,
            psks=self.psks,
            entropy=entropy,
        )

    def _judgement(self, role: Role) -> Judgement | None:
        """Where `role` decides on its peer: at the first message that proves the peer's static key, or at its last one."""
        protocol = self.protocol
        anonymous = not self._proves(role.peer)
        if anonymous and self.trust is None:
            return None
        last: int | None = None
        for index, properties in enumerate(protocol.properties):
            if properties.sender is role.peer:
                if properties.source:
                    return Judgement(index, properties.source, anonymous)
                last = index
        return None if last is None else Judgement(last, 0, anonymous)

    def _proves(self, role: Role) -> bool:
        """Whether `role` proves its static key, in the handshake or with its first transport message."""
        rows = (*self.protocol.properties, *self.protocol.transport_properties)
        return any(row.source for row in rows if row.sender is role)

    def _problem(self, role: Role) -> str | None:
        protocol = self.protocol
        pattern, peer = protocol.pattern, role.peer
        known_before = "s" in pattern.pre_messages[peer]
        remote: Any = self.remote_static
        if remote is not None and not known_before and pattern.sends_static(peer):
            remote = None  # it pins the key that the peer will send
        try:
            check_keys(
                protocol,
                role,
                s=self.static,
                e=self.ephemeral,
                rs=remote,
                re=self.remote_ephemeral,
                psks=self.psks,
            )
        except ValueError as error:
            return _in_arguments(str(error))
        return self._problem_of_trust(role)

    def _problem_of_trust(self, role: Role) -> str | None:
        name, policy, peer = self.protocol.name, self.trust, role.peer.value
        if not any(message.sender is role.peer for message in self.protocol.pattern.messages):
            return None if policy is None else f"in {name} the {peer} sends nothing: trust= has nothing to decide on"
        if not self._proves(role.peer):
            if policy is None or policy.anonymous:
                return None
            lacks = "never proves its" if self.protocol.pattern.static_of(role.peer) else "has no"
            return (
                f"in {name} the {peer} {lacks} static key: it authenticates nobody, but the trust policy wants somebody"
            )
        problem = None
        if policy is not None and self.credential_type not in policy.static_keys:
            problem = f"the trust policy trusts no {self.credential_type} key, which is what the {peer} has in {name}"
        elif policy is None and self.remote_static is None:
            problem = (
                f"in {name} the {role.value} must say whom it trusts: remote_static= pins the {peer}'s key, "
                "trust= takes a policy (trust.anyone() for any key)"
            )
        return problem


_OTHER_ROLE: Final = "these keys are for the other role"

_ARGUMENTS: Final = {
    "its static key (s)": "static=, its static key",
    "its ephemeral key (e)": "ephemeral=, its ephemeral key",
    "the peer's static key (rs), which is a pre-message": "remote_static=, the peer's static key",
    "the peer's ephemeral key (re)": "remote_ephemeral=, the peer's ephemeral key",
}


def _in_arguments(problem: str) -> str:
    """A problem of the state's keys, in the words of the profile's arguments."""
    for words, argument in _ARGUMENTS.items():
        problem = problem.replace(words, argument)
    return problem
