"""Where the command looks up DID documents: `did:web`, where httpx is installed. It asks nobody at the terminal."""

from __future__ import annotations

from ..resolve import Cache, Resolver, Unresolvable


class Documents:
    """A resolver that is made when the first DID has to be looked up."""

    def __init__(self) -> None:
        self._resolver: Resolver | None = None

    async def resolve(self, did: str) -> bytes:
        """The document of a `did:web`; `Unresolvable` as well where httpx is not installed."""
        if self._resolver is None:
            try:
                from ..did_web import DidWebResolver  # noqa: PLC0415  # httpx is an extra
            except ImportError as error:
                raise Unresolvable(str(error)) from error
            self._resolver = Cache(DidWebResolver())
        return await self._resolver.resolve(did)
