"""Policies made of others, and of a function. The policies that judge a credential by themselves are elsewhere."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from ..errors import AuthenticationFailed
from ..role import Role
from .credentials import CredentialKind
from .identities import Anonymous
from .keys import PublicKey
from .peers import ClaimedPeer, Peer, VerifiedPeer
from .policy import Deciding, Decision, TrustPolicy, check_policy, decided

if TYPE_CHECKING:
    from ..context import Context

DecideFunction: TypeAlias = Callable[[Peer | ClaimedPeer, "Context"], Decision]


class _Combined(TrustPolicy):
    def __init__(self, policies: Sequence[TrustPolicy]) -> None:
        if not policies:
            raise ValueError("a policy is combined of one other at least")
        for policy in policies:
            check_policy("a combined policy", policy)
        self._policies = tuple(policies)
        kinds: dict[str, CredentialKind] = {}
        for policy in policies:
            for name, kind in policy.kinds.items():
                if name in policy.credential_types:
                    kinds[name] = self._merged(kinds[name], kind) if name in kinds else kind
        self.kinds: Mapping[str, CredentialKind] = MappingProxyType(kinds)

    @abstractmethod
    def _merged(self, one: CredentialKind, other: CredentialKind) -> CredentialKind:
        """How a type of credential is read that two of the policies take."""

    def check_role(self, role: Role) -> None:
        """`ValueError` where one of the policies cannot judge the peers of this `role`."""
        for policy in self._policies:
            policy.check_role(role)


class AllOf(_Combined):
    """Whom every one of its policies trusts."""

    def __init__(self, policies: Sequence[TrustPolicy]) -> None:
        super().__init__(policies)
        self.schemes = _in_all([policy.schemes for policy in policies])
        self.credential_types = _in_all([policy.credential_types for policy in policies])
        self.static_keys = _in_all([policy.static_keys for policy in policies])
        if not self.credential_types:
            raise ValueError("all_of(): no type of credential can satisfy all of the policies")

    def _merged(self, one: CredentialKind, other: CredentialKind) -> CredentialKind:
        return one.both(other)

    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> Deciding:
        """Ask each policy in order; what one has verified of the peer is what the next one judges.

        Raises:
            AuthenticationFailed: of the first policy that refuses.
        """
        known = peer
        for policy in self._policies:
            better = yield from decided(policy.authorize(known, context))
            known = known if better is None else better
        return known if isinstance(known, VerifiedPeer) else None

    def remember(self, peer: Peer, context: Context) -> None:
        """Each policy remembers it."""
        for policy in self._policies:
            policy.remember(peer, context)


class AnyOf(_Combined):
    """Whom one of its policies trusts; they are asked in order, those that can judge such a credential alone."""

    def __init__(self, policies: Sequence[TrustPolicy]) -> None:
        super().__init__(policies)
        self.schemes = _in_one([policy.schemes for policy in policies])
        self.credential_types = _in_one([policy.credential_types for policy in policies])
        self.static_keys = _in_one([policy.static_keys for policy in policies])

    def _merged(self, one: CredentialKind, other: CredentialKind) -> CredentialKind:
        return one.either(other)

    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> Deciding:
        """Ask those that judge such a credential, in order, until one trusts the peer; that one alone remembers it.

        Raises:
            AuthenticationFailed: all refuse, or none judges it; one refusal alone is raised as it is.
        """
        refusals: list[AuthenticationFailed] = []
        for policy in self._policies:
            if not _judges(policy, peer):
                continue
            try:
                with context.attempt():
                    better = yield from decided(policy.authorize(peer, context))
            except AuthenticationFailed as refused:
                refusals.append(refused)
            else:
                if not isinstance(peer, ClaimedPeer):
                    context.when_complete(partial(policy.remember, better or peer, context))
                return better
        if len(refusals) == 1:
            raise refusals[0]
        raise AuthenticationFailed(
            "none of the trust policies trusts the peer",
            expected="; or ".join(refused.expected or refused.message for refused in refusals) or None,
            received=peer.peer_id,
            hint=next((refused.hint for refused in refusals if refused.hint is not None), None),
        )


class DecidedBy(TrustPolicy):
    """What a function decides."""

    def __init__(self, decide: DecideFunction, policy: TrustPolicy) -> None:
        if not callable(decide):
            raise TypeError(f"decided_by() takes a function first, not {type(decide).__name__}")
        check_policy("decided_by()", policy)
        self._decide = decide
        self._policy = policy
        self.schemes = policy.schemes
        self.credential_types = policy.credential_types
        self.kinds = policy.kinds
        self.static_keys = policy.static_keys

    def check_role(self, role: Role) -> None:
        """As the policy below."""
        self._policy.check_role(role)

    def known_key(self, scheme: str, credential: bytes) -> PublicKey | None:
        """As the policy below."""
        return self._policy.known_key(scheme, credential)

    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> Deciding:
        """Ask the policy, then the function, which sees what the policy has verified; both must agree.

        Raises:
            AuthenticationFailed: of whichever refuses first.
        """
        better = yield from decided(self._policy.authorize(peer, context))
        known = peer if better is None else better
        said = yield from decided(self._decide(known, context))
        return better if said is None else said

    def remember(self, peer: Peer, context: Context) -> None:
        """As the policy below."""
        self._policy.remember(peer, context)


def _judges(policy: TrustPolicy, peer: Peer | ClaimedPeer) -> bool:
    """Whether `policy` takes such credentials, signed with such a scheme: what another policy takes is not lent to it."""
    if peer.credential_type in policy.static_keys:
        return True
    signed = isinstance(peer, Anonymous) or peer.public_key.scheme in policy.schemes
    return signed and peer.credential_type in policy.credential_types


def _in_all(lists: Sequence[Iterable[str]]) -> tuple[str, ...]:
    first, *others = map(tuple, lists)
    return tuple([name for name in first if all(name in other for other in others)])


def _in_one(lists: Sequence[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))
