"""Several identities on one node: which of them answers is chosen by whom the initiator names. Nothing is proved here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from ..errors import NegotiationFailed
from .identities import Anonymous, Identity


@dataclass(frozen=True, slots=True)
class Identities:
    """The identities of a node that goes by several names.

    Args:
        default: of this side as initiator, and as responder where the initiator names nobody.
        by_target: as responder, by the `target` that the initiator names. They stand for different names, and nobody learns
            from an error which there are.
        refuse_unknown: whether an initiator that names somebody else is refused; otherwise it gets the default.

    Raises:
        ValueError: nobody at all.
    """

    default: Identity | Anonymous | None
    by_target: Mapping[str, Identity | Anonymous]
    refuse_unknown: bool = False

    def __post_init__(self) -> None:
        if self.default is None and not self.by_target:
            raise ValueError("Identities() of nobody: give a default, or somebody by name")
        object.__setattr__(self, "by_target", MappingProxyType(dict(self.by_target)))

    def __iter__(self) -> Iterator[Identity | Anonymous]:
        """Each of them once, the default first."""
        everybody = (*(() if self.default is None else (self.default,)), *self.by_target.values())
        return iter({id(identity): identity for identity in everybody}.values())

    def named(self, target: bytes | None) -> Identity | Anonymous:
        """Who answers an initiator that wants `target`, which is None where it names nobody.

        Raises:
            NegotiationFailed: nobody.
        """
        if target is not None:
            found = self.by_target.get(target.decode(errors="replace"))
            if found is not None:
                return found
        if self.default is None or (target is not None and self.refuse_unknown):
            raise NegotiationFailed(
                "the initiator wants somebody who is not here"
                if target is not None
                else "the initiator names no target",
                expected=f"one of {len(self.by_target)} targets",
                received="none" if target is None else repr(target[:64].decode(errors="replace")),
                hint="it reached another node than it meant, or target= is missing in its profile",
            )
        return self.default


AnyIdentity: TypeAlias = Identity | Anonymous | Identities
"""How a profile says who this side is."""
