"""What a trust policy is. The policies are made by the functions of `trust`; subclass `TrustPolicy` for one of your own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from inspect import iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, TypeAlias

from ..crypto.signatures import CERTIFIED_SCHEMES, SCHEMES
from ..errors import LocalProtocolError
from ..events import Question
from ..role import Role
from .credentials import ANONYMOUS_TYPE, RAW_PUBLIC_KEY, CredentialKind
from .keys import NOISE_STATIC_TYPES, PublicKey
from .kinds import KINDS
from .peers import ClaimedPeer, Peer, VerifiedPeer

if TYPE_CHECKING:
    from ..context import Context

Deciding: TypeAlias = Generator[Question[Any], Any, VerifiedPeer | None]
Decision: TypeAlias = VerifiedPeer | Deciding | None
"""That a peer is welcome: as it is, with more that was verified of it, or once the application has answered."""


class TrustPolicy(ABC):
    """Whom to trust.

    Attributes:
        schemes: signature schemes that can satisfy the policy: only these are offered to the peer.
        credential_types: likewise the types of credential; `anonymous` among them admits an anonymous peer.
        kinds: how each of these types is read.
        static_keys: likewise the types of Noise static keys, which are proved by a Diffie-Hellman and not by a signature.
    """

    schemes: tuple[str, ...] = tuple(SCHEMES)
    credential_types: tuple[str, ...] = (RAW_PUBLIC_KEY,)
    kinds: Mapping[str, CredentialKind] = KINDS
    static_keys: tuple[str, ...] = tuple(NOISE_STATIC_TYPES)

    def __init_subclass__(cls) -> None:
        """Refuse, with `LocalProtocolError`, a `remember` that is a generator or async: nobody would run it."""
        if isgeneratorfunction(cls.remember) or iscoroutinefunction(cls.remember):
            raise LocalProtocolError(
                f"{cls.__qualname__}.remember cannot ask or wait: nothing of it would run (hint: authorize can ask)"
            )

    @abstractmethod
    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> Decision:
        """Return when `peer` is welcome, raise `AuthenticationFailed` when not; as a generator it may ask.

        A policy that verifies more of the peer than its key returns a `VerifiedPeer` that says so. A `ClaimedPeer` comes from
        those Noise patterns alone in which a peer proves its key after the handshake.
        """

    @property
    def anonymous(self) -> bool:
        """Whether it admits a peer that does not say who it is."""
        return ANONYMOUS_TYPE in self.credential_types

    def check_role(self, role: Role) -> None:  # noqa: B027  # most policies serve both
        """Raise `ValueError` where it cannot judge the peers of a handshake in which this side is `role`."""

    def known_key(self, scheme: str, credential: bytes) -> PublicKey | None:
        """The presented key as an object, where the policy has it: it need not be parsed again in every handshake."""
        return None

    def remember(self, peer: Peer, context: Context) -> None:  # noqa: B027  # most policies remember nothing
        """Called once `peer` is welcome and the whole handshake is complete; may still raise `AuthenticationFailed`."""


def check_policy(what: str, policy: object) -> None:
    """Raise `TypeError` where `what` got something else than a trust policy."""
    if not isinstance(policy, TrustPolicy):
        hint = "trust.decided_by(function, policy)" if callable(policy) else "trust.pinned(key_or_peer_id)"
        raise TypeError(f"{what} takes a TrustPolicy, not {type(policy).__name__} (hint: {hint} makes one)")


def accepted(kinds: Iterable[str | CredentialKind]) -> dict[str, CredentialKind]:
    """The kinds of credential that a policy was told to take, by name.

    Args:
        kinds: names in the registry, and kinds of the caller's own.

    Raises:
        ValueError: for none at all, or a name that is not registered.
    """
    by_name: dict[str, CredentialKind] = {}
    for kind in kinds:
        if isinstance(kind, str) and kind not in KINDS:
            raise ValueError(f"no kind of credential {kind!r}; use some of {', '.join(KINDS)}")
        known = KINDS[kind] if isinstance(kind, str) else kind
        by_name[known.name] = known
    if not by_name:
        raise ValueError("a policy takes one kind of credential at least; it would refuse everybody")
    return by_name


def schemes_in(kinds: Iterable[CredentialKind]) -> tuple[str, ...]:
    """The signature schemes whose keys one of `kinds` can carry."""
    carried = {scheme for kind in kinds for scheme in kind.schemes}
    return tuple([scheme for scheme in CERTIFIED_SCHEMES if scheme in carried])


def decided(decision: Decision) -> Deciding:
    """What comes of a decision.

    Raises:
        LocalProtocolError: it is none. What says no by its value, as `False` or an empty list, must not pass for a yes.
    """
    said: object = (yield from decision) if isinstance(decision, Generator) else decision
    if said is None or isinstance(said, VerifiedPeer):
        return said
    if isinstance(said, Coroutine):
        said.close()
    raise LocalProtocolError(
        f"a trust policy decided {type(said).__name__}; expected None, a VerifiedPeer, or a generator that asks "
        "(hint: raise AuthenticationFailed for a no; a policy is not async: it asks by yield from context.ask(...))"
    )


def settle(
    decision: Decision, peer: Peer | ClaimedPeer, verified: Callable[[VerifiedPeer], None]
) -> Generator[Question[Any], Any, None] | None:
    """A decision on `peer` as a step's `read` returns it; `verified` is told where more was verified of it."""
    return None if decision is None else _settling(decision, peer, verified)


def _settling(
    decision: Decision, peer: Peer | ClaimedPeer, verified: Callable[[VerifiedPeer], None]
) -> Generator[Question[Any], Any, None]:
    better = yield from decided(decision)
    if better is None:
        return
    if (
        not isinstance(peer, VerifiedPeer)
        or better.public_key != peer.public_key
        or (better.credential_type, better.identifier) != (peer.credential_type, peer.identifier)
    ):
        raise LocalProtocolError(
            f"a trust policy answered with another peer than the one that it judged; expected {peer!r}; got {better!r} "
            "(hint: certify() adds to the peer that was judged)"
        )
    verified(better)
