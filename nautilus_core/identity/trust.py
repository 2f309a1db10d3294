"""Policies that decide whom to trust, once a proof has verified. They read no files and ask nobody but the application.

`pinned`, `known_peers`, `anyone` and `ask` make one; subclass `TrustPolicy` for one of your own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..crypto.signatures import SCHEMES
from ..errors import AuthenticationFailed
from ..events import PeerIdentified, Question
from .credentials import (
    ANONYMOUS_TYPE,
    NOISE_STATIC_TYPES,
    RAW_PUBLIC_KEY,
    ClaimedPeer,
    Peer,
    PublicKey,
    VerifiedPeer,
    check_peer_id,
)

if TYPE_CHECKING:
    from ..context import Context

Deciding = Generator[Question[Any], Any, None]


class TrustPolicy(ABC):
    """Whom to trust.

    Attributes:
        schemes: signature schemes that can satisfy the policy: only these are offered to the peer.
        credential_types: likewise the types of credential; `anonymous` among them admits an anonymous peer.
        static_keys: likewise the types of Noise static keys, which are proved by a Diffie-Hellman and not by a signature.
    """

    schemes: tuple[str, ...] = tuple(SCHEMES)
    credential_types: tuple[str, ...] = (RAW_PUBLIC_KEY,)
    static_keys: tuple[str, ...] = tuple(NOISE_STATIC_TYPES)

    @abstractmethod
    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> Deciding | None:
        """Return when `peer` is welcome, raise `AuthenticationFailed` when not; as a generator it may ask.

        A `ClaimedPeer` comes from those Noise patterns alone in which a peer proves its key after the handshake.
        """

    @property
    def anonymous(self) -> bool:
        """Whether it admits a peer that does not say who it is."""
        return ANONYMOUS_TYPE in self.credential_types

    def known_key(self, scheme: str, credential: bytes) -> PublicKey | None:
        """The presented key as an object, where the policy has it: it need not be parsed again in every handshake."""
        return None

    def remember(self, peer: Peer, context: Context) -> None:  # noqa: B027  # most policies remember nothing
        """Called once `peer` is welcome and the whole handshake is complete; may still raise `AuthenticationFailed`."""


class _Pinned(TrustPolicy):
    def __init__(self, peers: Iterable[PublicKey | str]) -> None:
        peers = tuple(peers)
        if not peers:
            raise ValueError("pinned() wants at least one public key or peer id; it would refuse everybody")
        keys = {peer for peer in peers if isinstance(peer, PublicKey)}
        self._keys = {(key.scheme, key.data): key for key in keys}
        self._peer_ids = frozenset(check_peer_id(peer) if isinstance(peer, str) else peer.peer_id for peer in peers)
        if len(keys) == len(set(peers)):
            used = {key.scheme for key in keys}
            self.schemes = tuple(scheme for scheme in SCHEMES if scheme in used)
            self.static_keys = tuple(kind for kind in NOISE_STATIC_TYPES if kind in used)

    def known_key(self, scheme: str, credential: bytes) -> PublicKey | None:
        return self._keys.get((scheme, credential))

    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> None:
        if isinstance(peer, (VerifiedPeer, ClaimedPeer)):
            key = peer.public_key
            if (key.scheme, key.data) in self._keys:
                return
        if peer.peer_id not in self._peer_ids:
            expected = next(iter(self._peer_ids)) if len(self._peer_ids) == 1 else f"one of {len(self._peer_ids)} keys"
            raise AuthenticationFailed(
                "the peer's key is not a pinned one",
                expected=expected,
                received=peer.peer_id,
                hint="the peer has another key than you were given, or you reached somebody else",
            )


class KnownPeers(Protocol):
    """Where `known_peers` keeps whom it has met: under each name the ids of the peers met under it."""

    def lookup(self, name: str) -> frozenset[str]:
        """The peer ids known under `name`; empty when it was never met."""

    def remember(self, name: str, peer_id: str) -> None:
        """Add `peer_id` under `name`, for good."""


@runtime_checkable
class LocatedKnownPeers(Protocol):
    """What a `KnownPeers` may offer as well: where an entry stands, so that people find it."""

    def where(self, name: str) -> str | None:
        """Where the peers known under `name` stand, in words: a file and a line. None when there is nothing to say."""


class InMemoryKnownPeers:
    """`KnownPeers` that are forgotten with the process."""

    __slots__ = ("_peers",)

    def __init__(self) -> None:
        self._peers: dict[str, frozenset[str]] = {}

    def lookup(self, name: str) -> frozenset[str]:
        """The peer ids known under `name`."""
        return self._peers.get(name, frozenset())

    def remember(self, name: str, peer_id: str) -> None:
        """Add `peer_id` under `name`."""
        self._peers[name] = self.lookup(name) | {peer_id}


class _KnownPeers(TrustPolicy):
    def __init__(self, store: KnownPeers, name: str | None, accept_new: bool) -> None:
        if name == "":
            raise ValueError("known_peers() wants a name, or None for the peer's own id")
        self._store = store
        self._name = name
        self._accept_new = accept_new

    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> Deciding | None:
        name = self._name_of(peer)
        if self._is_known(name, peer) or self._accept_new:
            return None
        return _ask(peer, name, context)

    def remember(self, peer: Peer, context: Context) -> None:
        name = self._name_of(peer)
        if not self._is_known(name, peer):
            self._store.remember(name, peer.peer_id)

    def _name_of(self, peer: Peer | ClaimedPeer) -> str:
        return peer.peer_id if self._name is None else self._name

    def _is_known(self, name: str, peer: Peer | ClaimedPeer) -> bool:
        """Whether `peer` was met under `name`; refused where somebody else was, perhaps only a moment ago."""
        known = self._store.lookup(name)
        if known and peer.peer_id not in known:
            raise AuthenticationFailed(
                f"{name} has another key than before",
                expected=" or ".join(sorted(known)),
                received=peer.peer_id,
                hint="its key was replaced, or somebody stands in between; ask its owner before you trust the new one"
                + self._offending(name),
            )
        return bool(known)

    def _offending(self, name: str) -> str:
        """Which entry to remove, where the store can tell; for people on this side only."""
        where = self._store.where(name) if isinstance(self._store, LocatedKnownPeers) else None
        return "" if where is None else f"; offending entry in {where}: remove it if the key was changed on purpose"


def _types(*, anonymous: bool) -> tuple[str, ...]:
    return (RAW_PUBLIC_KEY, ANONYMOUS_TYPE) if anonymous else (RAW_PUBLIC_KEY,)


class _Anyone(TrustPolicy):
    def __init__(self, anonymous: bool) -> None:
        self.credential_types = _types(anonymous=anonymous)

    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> None:
        return None


class _Ask(TrustPolicy):
    def __init__(self, anonymous: bool) -> None:
        self.credential_types = _types(anonymous=anonymous)

    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> Deciding:
        return _ask(peer, None, context)


def _ask(peer: Peer | ClaimedPeer, name: str | None, context: Context) -> Deciding:
    yield from context.ask(PeerIdentified(peer=peer, name=name))


def pinned(*peers: PublicKey | str) -> TrustPolicy:
    """Trust exactly these public keys or peer ids. `ValueError` for none, or for a malformed peer id.

    With public keys alone, only their schemes are offered to the peer.
    """
    return _Pinned(peers)


def known_peers(store: KnownPeers, *, name: str | None = None, accept_new: bool = False) -> TrustPolicy:
    """Trust on first use, as SSH does (RFC 4251 section 4.1).

    Args:
        store: whom we have met.
        name: what the peer is looked up under: the address that was dialled. None, as for who listens: its own peer id.
        accept_new: whether a first contact is remembered without a question. A changed key is refused in any case.
    """
    return _KnownPeers(store, name, accept_new)


def anyone(*, anonymous: bool = False) -> TrustPolicy:
    """Trust whoever proves possession of a key, whichever it is; with `anonymous`, whoever shows none as well.

    The session still says who the peer is: for applications that decide later.
    """
    return _Anyone(anonymous)


def ask(*, anonymous: bool = False) -> TrustPolicy:
    """Ask the application about every peer: a `PeerIdentified` event, to be accepted or rejected."""
    return _Ask(anonymous)
