"""Who may come in: a listener's limits, and the places that handshakes in progress take. Nothing here moves bytes.

A connection costs little until its first message is there; from then on it takes a place, and the responder's asymmetric
operations. Places are limited. When none is free, one is taken from the address that has the most of them, or from a peer
that has kept us waiting; only where there is no such peer, who comes next is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, TypeAlias

from nautilus_core.alerts import check_retry_after

from .counters import Refusal

Source: TypeAlias = int | None
"""Whom connections are counted for: an address or a network as a number; None where a stream has none, as on Unix sockets."""

_IPV6_HOST_BITS: Final = 64
"""Whoever has one IPv6 address has all of its /64 (RFC 6177 gives a site no less)."""

_IPV6: Final = 1 << 128
"""Added to IPv6 networks, so that no number means an IPv4 address as well."""


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """How many peers a listener has to do with at once, and how long it waits for them.

    Args:
        handshakes: how many handshakes may be in progress; who comes then is told that we are busy.
        handshakes_per_address: how many of these from one IPv4 address, one IPv6 /64, one link-local IPv6 address. None, the
            default, for no such limit: behind one address there may be a whole company or a carrier (NAT), and an address that
            takes more than its share gives places back as soon as others need them. Unix sockets have no addresses.
        half_open: how many connections may be there whose peer has not sent its first message; a newcomer takes the place
            of the oldest.
        hello_timeout: seconds for that first message; None for as long as the handshake may take.
        patience: seconds from its first message after which a peer that has not sent its next one loses its place to a
            newcomer, where no other place is free. Peers that never go on can make us begin about `handshakes / patience`
            handshakes a second: 100 by default, which leaves a core the time to refuse the others.
        retry_after: whole seconds after which who was refused may come again; None to leave it to them.

    Raises:
        ValueError: for a number that no listener could work with.
    """

    handshakes: int = 1000
    handshakes_per_address: int | None = None
    half_open: int = 4096
    hello_timeout: float | None = 10.0
    patience: float = 10.0
    retry_after: int | None = 1

    def __post_init__(self) -> None:
        if self.handshakes < 1 or self.half_open < 1:
            raise ValueError("listener limits: handshakes and half_open are at least 1")
        if self.handshakes_per_address is not None and self.handshakes_per_address < 1:
            raise ValueError("listener limits: handshakes_per_address is at least 1, or None")
        if self.hello_timeout is not None and not self.hello_timeout > 0:
            raise ValueError("listener limits: hello_timeout is more than 0 seconds, or None")
        if not self.patience >= 0:
            raise ValueError("listener limits: patience is 0 seconds or more")
        check_retry_after(self.retry_after)


DEFAULT_LISTENER_LIMITS: Final = ListenerLimits()


def source_of(remote: Any) -> Source:
    """Whom a connection from `remote`, a socket address, is counted for."""
    host = remote[0] if isinstance(remote, tuple) and remote else None
    if not isinstance(host, str):
        return None
    try:
        address = ip_address(host)
    except ValueError:  # a listener of another kind calls its peers as it likes
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, IPv4Address):
        return int(address)
    host_bits = 0 if address.is_link_local else _IPV6_HOST_BITS  # all of a link share one link-local network
    return _IPV6 + (int(address) >> host_bits << host_bits)


class Place:
    """One place of a handshake in progress.

    Args:
        source: whom it is counted for.
        since: when it was taken, on the event loop's clock.
        give_up: called when it is taken away.

    Attributes:
        waiting: whether it is the peer's turn; only then can the place be taken away.
    """

    __slots__ = ("give_up", "since", "source", "waiting")

    def __init__(self, source: Source, since: float, give_up: Callable[[], None]) -> None:
        self.source = source
        self.since = since
        self.give_up = give_up
        self.waiting = False


class Places:
    """The places of the handshakes in progress, by source, in the order in which they were taken."""

    def __init__(self, limits: ListenerLimits) -> None:
        self._limits = limits
        self._by_source: dict[Source, dict[Place, None]] = {}
        self._taken = 0

    def __len__(self) -> int:
        return self._taken

    def take(self, place: Place) -> Refusal | None:
        """Take `place` now, when it begins, another's if need be; the reason where that cannot be."""
        most = self._limits.handshakes_per_address
        own = self._by_source.get(place.source, {})
        if most is not None and place.source is not None and len(own) >= most:
            if not self._evict(own, place.since):
                return Refusal.ADDRESS
        elif self._taken >= self._limits.handshakes and not self._evict(own, place.since):
            largest = max(self._by_source.values(), key=len)
            if not self._evict(largest, place.since, unfair=len(largest) > len(own) + 1):
                return Refusal.BUSY
        self._by_source.setdefault(place.source, {})[place] = None
        self._taken += 1
        return None

    def give_back(self, place: Place) -> None:
        """The handshake is over, or has lost its place already."""
        places = self._by_source.get(place.source)
        if places is not None and place in places:
            del places[place]
            self._taken -= 1
            if not places:
                del self._by_source[place.source]

    def _evict(self, places: dict[Place, None], now: float, *, unfair: bool = False) -> bool:
        """Take a place away: that of the first to come whose turn it is, if it has had its time or its source too many."""
        oldest = next((place for place in places if place.waiting), None)
        if oldest is None or not (unfair or now - oldest.since >= self._limits.patience):
            return False
        self.give_back(oldest)
        oldest.give_up()
        return True
