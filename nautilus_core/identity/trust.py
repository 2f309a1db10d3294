"""Policies that decide whom to trust, once a proof has verified. They read no files and ask nobody but the application.

`pinned`, `known_peers`, `anyone`, `ask`, `authorities` and `dids` make one.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, runtime_checkable

from cryptography.x509 import Certificate

from ..crypto.signatures import SCHEMES
from ..errors import AuthenticationFailed
from ..events import PeerIdentified
from .authorities import Authorities
from .combined import AllOf, AnyOf, DecidedBy, DecideFunction
from .credentials import ANONYMOUS_TYPE, RAW_PUBLIC_KEY, CredentialKind
from .did import Allowed
from .dids import Dids
from .keys import NOISE_STATIC_TYPES, PublicKey, check_peer_id
from .peers import ClaimedPeer, Peer, VerifiedPeer
from .policy import Deciding, TrustPolicy, accepted, schemes_in
from .psks import HasPsk
from .x509 import certificates_in

if TYPE_CHECKING:
    from ..context import Context


Kinds: TypeAlias = Iterable[str | CredentialKind]
"""Kinds of credential: names in the registry, as `x509`, and kinds of one's own."""

_RAW: Final = (RAW_PUBLIC_KEY,)


class _ByKey(TrustPolicy):
    """Judges the key that a peer has proved, whichever of `kinds` it came in."""

    def __init__(self, kinds: Kinds, *, anonymous: bool = False) -> None:
        taken = accepted(kinds)
        self.kinds = MappingProxyType(taken)
        self.credential_types = (*taken, ANONYMOUS_TYPE) if anonymous else tuple(taken)
        self.schemes = schemes_in(taken.values())
        self.static_keys = tuple(NOISE_STATIC_TYPES) if RAW_PUBLIC_KEY in taken else ()


class _Pinned(_ByKey):
    def __init__(self, peers: Iterable[PublicKey | str], kinds: Kinds) -> None:
        super().__init__(kinds)
        peers = tuple(peers)
        if not peers:
            raise ValueError("pinned() wants at least one public key or peer id; it would refuse everybody")
        for peer in peers:
            if not isinstance(peer, PublicKey | str):
                got = type(peer).__name__
                raise TypeError(f"pinned() takes public keys and peer ids, each an argument of its own, not {got}")
        keys = {peer for peer in peers if isinstance(peer, PublicKey)}
        self._keys = {(key.scheme, key.data): key for key in keys}
        self._raw = {place: key for place, key in self._keys.items() if key.scheme in SCHEMES}
        self._peer_ids = frozenset(check_peer_id(peer) if isinstance(peer, str) else peer.peer_id for peer in peers)
        if len(keys) == len(set(peers)):
            used = {key.scheme for key in keys}
            self.schemes = tuple(scheme for scheme in self.schemes if scheme in used)
            self.static_keys = tuple(kind for kind in self.static_keys if kind in used)

    def known_key(self, scheme: str, credential: bytes) -> PublicKey | None:
        return self._raw.get((scheme, credential))

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


class _KnownPeers(_ByKey):
    def __init__(self, store: KnownPeers, name: str | None, accept_new: bool, kinds: Kinds) -> None:
        super().__init__(kinds)
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


class _Anyone(_ByKey):
    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> None:
        return None


class _Ask(_ByKey):
    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> Deciding:
        return _ask(peer, None, context)


def _ask(peer: Peer | ClaimedPeer, name: str | None, context: Context) -> Deciding:
    yield from context.ask(PeerIdentified(peer=peer, name=name))
    return None


def pinned(*peers: PublicKey | str, kinds: Kinds = _RAW) -> TrustPolicy:
    """Trust exactly these public keys or peer ids. `ValueError` for none, or for a malformed peer id.

    With public keys alone, only their schemes are offered to the peer. `kinds` says in which kinds of credential the key may
    come: of a certificate, the key counts, and neither its names nor its dates.
    """
    return _Pinned(peers, kinds)


def known_peers(
    store: KnownPeers, *, name: str | None = None, accept_new: bool = False, kinds: Kinds = _RAW
) -> TrustPolicy:
    """Trust on first use, as SSH does (RFC 4251 section 4.1).

    Args:
        store: whom we have met.
        name: what the peer is looked up under: the address that was dialled. None, as for who listens: its own peer id.
        accept_new: whether a first contact is remembered without a question. A changed key is refused in any case.
        kinds: in which kinds of credential the key may come.
    """
    return _KnownPeers(store, name, accept_new, kinds)


def anyone(*, anonymous: bool = False, kinds: Kinds = _RAW) -> TrustPolicy:
    """Trust whoever proves possession of a key, whichever it is; with `anonymous`, whoever shows none as well.

    The session still says who the peer is: for applications that decide later. `kinds` says in which kinds of credential the
    key may come.
    """
    return _Anyone(kinds, anonymous=anonymous)


def ask(*, anonymous: bool = False, kinds: Kinds = _RAW) -> TrustPolicy:
    """Ask the application about every peer, of these `kinds`: a `PeerIdentified` event, to be accepted or rejected."""
    return _Ask(kinds, anonymous=anonymous)


def authorities(
    roots: Iterable[Certificate] | bytes, *, name: str | None = None, max_depth: int = 4, min_rsa_bits: int = 2048
) -> TrustPolicy:
    """Trust whom one of these authorities certifies, by X.509 (RFC 5280). The session's peer has the certified `names`.

    The handshake wants `wall_time`, by which certificates are judged. The peer's certificate must allow it to be dialled
    (serverAuth) or to dial (clientAuth), where it says what it is for.

    Args:
        roots: certificates of the authorities, or PEM with one at least. Their keys, and those in between, are ECDSA, RSA or
            ML-DSA; the peer's own may be Ed25519 too.
        name: the DNS name or IP address that the certificate must be for: needed by the initiator, who knows whom it dialled.
            Where the responder gives one, only a peer with exactly this name is welcome.
        max_depth: how many certificates may stand between the authority's and the peer's; at most 7.
        min_rsa_bits: how short an RSA key may be, of the authorities too.

    Raises:
        ValueError: no root, one that is no certificate, or one with a weak key; a name that is none.
    """
    if isinstance(roots, bytes):
        roots = certificates_in(roots)
    return Authorities(roots, name, max_depth, min_rsa_bits)


def psk(*identities: str) -> TrustPolicy:
    """Trust whoever has the handshake's pre-shared key, be it anonymous or with any key of its own; see `psks=` of a profile.

    Args:
        identities: of the pre-shared keys that will do; none for each that the profile has.
    """
    return HasPsk(identities)


def dids(*allow: str | Allowed, methods: Iterable[str] = ()) -> TrustPolicy:
    """Trust whoever owns one of these DIDs (W3C DID Core 1.0). The session's peer has the DID as its `identifier`.

    A DID that does not hold its own document, as `did:web`, makes the handshake ask `ResolveIdentity`; one that is not
    allowed is refused before that.

    Args:
        allow: DIDs, and functions that say of a DID whether it is trusted.
        methods: of whose DIDs all are trusted, as `key`.

    Raises:
        ValueError: nobody would be trusted, or something is no DID or no name of a method.
    """
    return Dids(allow, methods)


def all_of(*policies: TrustPolicy) -> TrustPolicy:
    """Trust whom every one of `policies` trusts; they are asked in order. `ValueError` where no credential satisfies all."""
    return AllOf(policies)


def any_of(*policies: TrustPolicy) -> TrustPolicy:
    """Trust whom one of `policies` trusts: the first, in order, of those that judge such a credential."""
    return AnyOf(policies)


def decided_by(decide: DecideFunction, policy: TrustPolicy | None = None) -> TrustPolicy:
    """Trust whom `policy` trusts, `anyone()` by default, and a function of your own as well.

    Args:
        decide: is called with the verified peer and the handshake's `Context`. It returns None for a yes, or raises
            `AuthenticationFailed`, which says why not. As a generator it asks first, so that the answer may come later:
            `yield from context.ask(question)`.
        policy: what is verified before.
    """
    return DecidedBy(decide, anyone() if policy is None else policy)
