"""The policy that trusts DIDs: these, or those of a method, or those that a function allows. It looks nothing up."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import iscoroutinefunction
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import AuthenticationFailed
from .did import DID, Allowed, DidCredentials, not_trusted
from .did_document import parse_did, shown
from .peers import ClaimedPeer, Peer, VerifiedPeer
from .policy import TrustPolicy

if TYPE_CHECKING:
    from ..context import Context


class Dids(TrustPolicy):
    """Whose DID is allowed. Documents of others are not even asked for."""

    credential_types = (DID,)
    static_keys = ()

    def __init__(self, allow: Iterable[str | Allowed], methods: Iterable[str]) -> None:
        allow = tuple(allow)
        self._dids = frozenset([_plain(one) for one in allow if isinstance(one, str)])
        self._methods = frozenset(methods)
        self._functions = tuple([one for one in allow if not isinstance(one, str)])
        if not (self._dids or self._methods or self._functions):
            raise ValueError("dids() wants at least one DID, method or function; it would refuse everybody")
        if any(iscoroutinefunction(one) or iscoroutinefunction(type(one).__call__) for one in self._functions):
            raise ValueError("dids() takes no async function, whose answer would be a yes each time; use decided_by()")
        if isinstance(methods, str) or not all(method.isalnum() and method.islower() for method in self._methods):
            raise ValueError('methods are names such as "web", without "did:" and colons')
        self.kinds = MappingProxyType({DID: DidCredentials(self._allows)})

    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> None:
        """Check the DID whose key the peer has proved.

        Raises:
            AuthenticationFailed: it showed none, or one that is not allowed.
        """
        if not isinstance(peer, VerifiedPeer) or peer.credential_type != DID or peer.identifier is None:
            raise AuthenticationFailed(
                "the peer showed no DID",
                expected=DID,
                received=peer.credential_type,
                hint="the peer needs an identity with a DID",
            )
        if not self._allows(peer.identifier):
            raise not_trusted(peer.identifier, self._expected())

    def _allows(self, did: str) -> bool:
        if did in self._dids or did.split(":", 2)[1] in self._methods:
            return True
        return any(function(did) for function in self._functions)

    def _expected(self) -> str:
        said = [shown(did) for did in sorted(self._dids)[:3]]
        said += [f"did:{method}:..." for method in sorted(self._methods)]
        return " or ".join(said) or "one that is allowed"


def _plain(text: str) -> str:
    """A DID alone; `ValueError` for one with a fragment: trust is in who the peer is, not in one of its keys."""
    url = parse_did(text)
    if url.fragment is not None:
        raise ValueError(f"trust is in a DID, not in one of its keys: leave out #{shown(url.fragment)}")
    return url.did
