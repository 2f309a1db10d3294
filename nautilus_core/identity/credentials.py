"""Kinds of credential: what each is called on the wire, how it is read, and for which keys it stands. Nothing is verified here.

A kind of its own is one class in a file of its own, and one line in `kinds.py`; or, without the library's help, an entry in
the `kinds` of a `TrustPolicy`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec

from ..crypto.signatures import SCHEMES
from ..events import Question
from .keys import PublicKey

RAW_PUBLIC_KEY: Final = "raw-public-key"
ANONYMOUS_TYPE: Final = "anonymous"

MAX_CREDENTIAL_TYPE: Final = 64
"""Bytes of the name of a kind."""

MAX_CREDENTIAL: Final = 32_768
"""Bytes of any credential on the wire."""


class Presented(msgspec.Struct, frozen=True):
    """A credential that was read. It proves nothing until a signature verifies under one of its keys.

    Attributes:
        keys: who owns one of them owns the credential.
        identifier: what it names beside its keys, where that names these keys and no others (a DID).
        evidence: what a trust policy of its kind goes on to judge, as a chain of certificates.
        valid_until: after which it does not count any more, with a time zone; None where it does not say.
        ends: the same of each of the keys by itself; empty where no key has an end of its own.
    """

    keys: tuple[PublicKey, ...]
    identifier: str | None = None
    evidence: object = None
    valid_until: datetime | None = None
    ends: tuple[datetime | None, ...] = ()


Resolving: TypeAlias = Generator[Question[Any], Any, Presented]


class CredentialKind(ABC):
    """One kind of credential.

    Attributes:
        name: its type on the wire; at most 64 bytes.
        max_length: of an encoded credential, in bytes; at most `MAX_CREDENTIAL`.
        schemes: the signature schemes whose keys it can carry.
    """

    name: str
    max_length: int = MAX_CREDENTIAL
    schemes: tuple[str, ...] = tuple(SCHEMES)

    @abstractmethod
    def read(self, credential: bytes, scheme: str) -> Presented | Resolving:
        """What `credential`, signed with `scheme`, stands for; a generator where the application must look it up.

        Raises:
            ValueError: it is malformed, or has no usable key of this scheme: says why.
            AuthenticationFailed: likewise, where more can be said.
        """

    def either(self, other: CredentialKind) -> CredentialKind:
        """What reads the credentials of one type where a policy takes what `self` and what `other` reads.

        Raises:
            ValueError: the two cannot be joined, as by default: a policy would judge what the kind of another has read.
        """
        return self._same(other)

    def both(self, other: CredentialKind) -> CredentialKind:
        """Likewise, where a policy takes what `self` and `other` both read."""
        return self._same(other)

    def _same(self, other: CredentialKind) -> CredentialKind:
        if other is not self:
            raise ValueError(
                f"two kinds of credential of one name, {self.name!r}: give the policies one and the same, or say how they are "
                "joined, by either() and both()"
            )
        return self


class RawPublicKeys(CredentialKind):
    """The key itself."""

    name = RAW_PUBLIC_KEY
    max_length = 4096

    def read(self, credential: bytes, scheme: str) -> Presented:
        """The key."""
        return Presented((PublicKey(scheme, credential),))
