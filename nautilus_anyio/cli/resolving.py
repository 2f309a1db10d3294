"""Where the command looks up DID documents: `did:web`, where httpx is installed. It asks nobody at the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ..resolve import Cache, NotPublic, Resolver, Unresolvable


class Documents:
    """A resolver that is made when the first DID has to be looked up.

    Args:
        private_networks: networks that are not public, in which it may look all the same.
    """

    def __init__(self, private_networks: Sequence[str]) -> None:
        self._private_networks = private_networks
        self._resolver: Resolver | None = None

    async def resolve(self, did: str) -> bytes:
        """The document of a `did:web`; `Unresolvable` as well where httpx is not installed."""
        if self._resolver is None:
            try:
                from ..did_web import DidWebResolver  # noqa: PLC0415  # httpx is an extra
            except ImportError as error:
                raise Unresolvable(str(error)) from error
            self._resolver = Cache(DidWebResolver(private_networks=self._private_networks))
        try:
            return await self._resolver.resolve(did)
        except NotPublic as refused:
            raise Unresolvable(f"{refused}: --did-web-private NETWORK allows one that is yours") from refused
