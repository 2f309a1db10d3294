"""Pre-shared keys: the value, its import (RFC 9258), and the policy that one satisfies. Offering them is a step's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ..crypto.hashing import HASHES, SHA256
from ..errors import AuthenticationFailed
from .credentials import ANONYMOUS_TYPE, RAW_PUBLIC_KEY
from .peers import ClaimedPeer, Peer
from .policy import TrustPolicy

if TYPE_CHECKING:
    from ..context import Context

MIN_PSK_BYTES: Final = 16
MAX_PSK_BYTES: Final = 1024
MAX_PSK_IDENTITY: Final = 255
"""Bytes of an identity, and of each name, in UTF-8."""

PSK_HASHES: Final[Mapping[str, int]] = MappingProxyType({"SHA256": 1, "SHA384": 2})
"""Hashes that a psk can be for, with their TLS KDF identifiers, as RFC 9258 section 4.1 has them."""

_PROTOCOL: Final = b"nautilus/1"


@dataclass(frozen=True, slots=True)
class PreSharedKey:
    """A secret that two nodes share, and the direction that it is for.

    The names are bound into every key that is made of it: one secret serves both directions as two values, and what one of
    them made is never good for the other. A node that is both initiator and responder cannot be made to talk to itself.

    Args:
        identity: what it is called; at most 255 bytes in UTF-8. It travels in the clear.
        key: at least 16 bytes of real randomness: whoever has seen a handshake can try out a guess. At most 1,024 bytes.
        initiator: name of the node that initiates with it; at most 255 bytes in UTF-8. It does not travel.
        responder: name of the node that responds, which is another.
        hash: of the suites that it is for, `"SHA384"` or `"SHA256"`; for both, make two values.

    Raises:
        ValueError: a name that is empty or too long, the same name twice, an unknown hash, a key too short or too long.
    """

    identity: str
    key: bytes = field(repr=False)
    initiator: str = field(kw_only=True)
    responder: str = field(kw_only=True)
    hash: str = field(kw_only=True, default="SHA384")
    imported: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for what in ("identity", "initiator", "responder"):
            if not 1 <= len(getattr(self, what).encode()) <= MAX_PSK_IDENTITY:
                raise ValueError(f"the {what} of a pre-shared key has 1 to {MAX_PSK_IDENTITY} bytes")
        if self.initiator == self.responder:
            raise ValueError("initiator and responder of a pre-shared key are two nodes, not twice the same")
        if self.hash not in PSK_HASHES:
            raise ValueError(f"no pre-shared key is for this hash; use one of {', '.join(PSK_HASHES)}")
        if not MIN_PSK_BYTES <= len(self.key) <= MAX_PSK_BYTES:
            raise ValueError(
                f"a pre-shared key has {MIN_PSK_BYTES} to {MAX_PSK_BYTES} bytes of real randomness, not {len(self.key)}"
            )
        object.__setattr__(self, "imported", self._import())

    @classmethod
    def public_only(cls, identity: str, *, initiator: str, responder: str, hash: str = "SHA384") -> PreSharedKey:  # noqa: A002
        """The value without its key: enough to replay a recorded handshake, whose extractions are on the tape.

        A handshake that is no replay fails with it.
        """
        psk = cls(identity, bytes(MIN_PSK_BYTES), initiator=initiator, responder=responder, hash=hash)
        object.__setattr__(psk, "key", b"")
        object.__setattr__(psk, "imported", b"")
        return psk

    def _import(self) -> bytes:
        """The key for this protocol, direction and hash (RFC 9258 section 4.1, with our label prefix)."""
        context = prefixed(self.initiator.encode()) + prefixed(self.responder.encode())
        imported_identity = (
            prefixed(self.identity.encode())
            + prefixed(context)
            + prefixed(_PROTOCOL)
            + PSK_HASHES[self.hash].to_bytes(2, "big")
        )
        extracted = SHA256.hmac(bytes(SHA256.digest_size), self.key)
        length = HASHES[self.hash].digest_size
        return SHA256.expand_label(extracted, b"derived psk", SHA256.digest(imported_identity), length)


def prefixed(data: bytes) -> bytes:
    """`data` behind its length in 2 bytes."""
    return len(data).to_bytes(2, "big") + data


class HasPsk(TrustPolicy):
    """Whoever has a pre-shared key, and need not say more."""

    credential_types = (RAW_PUBLIC_KEY, ANONYMOUS_TYPE)

    def __init__(self, identities: tuple[str, ...]) -> None:
        self._identities = frozenset(identities)

    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> None:
        """The pre-shared key was agreed on before; that the peer has it, its Finished proves before anything is complete."""
        if context.psk is None:
            raise AuthenticationFailed(
                "the handshake has no pre-shared key",
                expected="one, by trust.psk()",
                received=peer.peer_id,
                hint="give psks= to the profiles at both ends",
            )
        if self._identities and context.psk not in self._identities:
            raise AuthenticationFailed(
                "the pre-shared key is not one that is wanted",
                expected=" or ".join(sorted(map(repr, self._identities))),
                received=repr(context.psk),
                hint="the peer is another one than is wanted, or has none of those pre-shared keys",
            )
