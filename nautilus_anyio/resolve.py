"""Who looks up the document of a DID: the interface, a cache, and how a handshake's questions get there. No network here.

`did_web` has a resolver for `did:web`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import anyio

from nautilus_core import LocalProtocolError, ResolveIdentity

from .pump import Answer


class Unresolvable(Exception):  # it is no error of ours: the handshake fails, and says why
    """There is no document, or it cannot be had: in a few words, which the handshake's error will have."""


class NotPublic(Unresolvable):
    """The document is at an address that is not public, and nobody has allowed it."""


class Resolver(Protocol):
    """Looks up DID documents."""

    async def resolve(self, did: str) -> bytes:
        """The document of `did`, a DID that the peer has chosen, as JSON.

        Raises:
            Unresolvable: there is none, or it cannot be had.
            OSError: likewise, as whoever is asked for it cannot be reached; TimeoutError is one.
        """


class ByMethod:
    """A resolver for each DID method.

    Args:
        resolvers: by the name of the method, as `web`.
    """

    def __init__(self, resolvers: Mapping[str, Resolver]) -> None:
        self._resolvers = dict(resolvers)

    async def resolve(self, did: str) -> bytes:
        """The document, by the resolver of its method; `Unresolvable` where it has none."""
        method = did.split(":", 2)[1]
        resolver = self._resolvers.get(method)
        if resolver is None:
            known = ", ".join(f"did:{name}" for name in self._resolvers) or "none"
            raise Unresolvable(f"did:{method} is an unknown method here; known are {known}")
        return await resolver.resolve(did)


class Cache:
    """A resolver that remembers what another has found. What cannot be resolved is looked up again each time.

    Args:
        resolver: the other.
        lifetime: seconds for which a document counts. So long a key that its owner has taken out is still accepted.
        most: how many documents it keeps; the oldest go first.
    """

    def __init__(self, resolver: Resolver, *, lifetime: float = 300.0, most: int = 256) -> None:
        if lifetime <= 0 or most < 1:
            raise ValueError("a cache keeps one document at least, for more than 0 seconds")
        self._resolver = resolver
        self._lifetime = lifetime
        self._most = most
        self._found: dict[str, tuple[float, bytes]] = {}

    async def resolve(self, did: str) -> bytes:
        """The document, as it was at most `lifetime` seconds ago."""
        end, document = self._found.get(did, (0.0, b""))
        if anyio.current_time() < end:
            return document
        began = anyio.current_time()
        document = await self._resolver.resolve(did)
        self._found.pop(did, None)  # to the end of the order
        self._found[did] = (began + self._lifetime, document)
        while len(self._found) > self._most:
            del self._found[next(iter(self._found))]
        return document

    def forget(self, did: str) -> None:
        """Look this DID up again the next time."""
        self._found.pop(did, None)


def answering(resolver: Resolver, otherwise: Answer | None = None) -> Answer:
    """An `answer=` that looks up DID documents.

    Args:
        resolver: where.
        otherwise: answers all other questions.
    """

    async def answer(question: Any) -> None:
        if isinstance(question, ResolveIdentity):
            try:
                document = await resolver.resolve(question.did)
            except (Unresolvable, OSError) as failed:
                question.unresolvable(str(failed) or type(failed).__name__)
            else:
                question.answer(document)
            return
        if otherwise is None:
            raise LocalProtocolError(f"{type(question).__name__} was asked, which answering(resolver) does not answer")
        waiting = otherwise(question)
        if waiting is not None:
            await waiting

    return answer
