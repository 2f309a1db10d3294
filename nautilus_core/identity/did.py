"""DIDs as a kind of credential (W3C DID Core 1.0): `did:key` and `did:peer` resolved here, all others by the application.

The credential is the DID in ASCII, perhaps with the fragment of the verification method that signs. No network here: for a
DID that cannot be resolved by itself, `ResolveIdentity` is asked. Whom a DID convinces, the policy `Dids` decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from ..errors import AlertCode, AuthenticationFailed
from ..events import Question
from .credentials import CredentialKind, Presented, Resolving
from .did_document import (
    DidUrl,
    Document,
    Method,
    RawDocument,
    keys_under_authentication,
    parse_did,
    read_document,
    shown,
    unusable,
)
from .keys import PublicKey
from .multikey import MalformedKey, decode_multibase, encode_multikey

DID: Final = "did"
MAX_DID: Final = 8192
"""Bytes of a DID with its fragment; a `did:key` of ML-DSA-65 with both has some 5400."""

Allowed = Callable[[str], bool]

_MOST_ELEMENTS: Final = 32
_PURPOSES: Final = frozenset("AEVID")
_SERVICE: Final = re.compile(r"S[A-Za-z0-9_-]+")


class ResolveIdentity(Question[RawDocument], frozen=True, kw_only=True):
    """Which document belongs to this DID? Answer with its JSON, or with what a parser has made of it.

    The peer has chosen the DID, and has proved nothing yet: look it up with care.

    Attributes:
        did: the DID, without a fragment.
    """

    did: str

    @property
    def method(self) -> str:
        """Its method: `web`."""
        return DidUrl(self.did).method

    def unresolvable(self, reason: str) -> None:
        """There is no document, or it cannot be had: the handshake fails."""
        self.pending.give(None, unusable(f"the peer's DID could not be resolved: {reason}"))


class DidCredentials(CredentialKind):
    """A DID. Its keys are those under `authentication` in its document.

    Args:
        allowed: of which DIDs the application is asked for the document; all, by default. What it refuses is not looked up.
    """

    name = DID
    max_length = MAX_DID

    def __init__(self, *allowed: Allowed) -> None:
        self._allowed = allowed

    def read(self, credential: bytes, scheme: str) -> Presented | Resolving:
        """The keys; the identifier is the DID. Asks `ResolveIdentity` for a DID that cannot be resolved by itself."""
        try:
            url = parse_did(credential.decode("ascii"))
        except ValueError as error:  # or UnicodeDecodeError, which is one
            received = f"{len(credential)} bytes that are no ASCII" if not credential.isascii() else str(error)
            raise unusable(
                "the peer's DID is malformed",
                expected="did:METHOD:ID, perhaps with the #FRAGMENT of a verification method",
                received=received,
                hint="the peer's identity is made or configured wrong",
            ) from error
        document = document_within(url)
        if document is None:
            return self._resolve(url, scheme)
        return keys_under_authentication(document, url, scheme)

    def either(self, other: CredentialKind) -> CredentialKind:
        """Asks for what one of the two asks for."""
        if not isinstance(other, DidCredentials):
            return self._same(other)
        return DidCredentials(*self._allowed, *other._allowed) if self._allowed and other._allowed else DidCredentials()

    def both(self, other: CredentialKind) -> CredentialKind:
        """Asks for what each of the two asks for."""
        if not isinstance(other, DidCredentials):
            return self._same(other)
        return DidCredentials(lambda did: self._asks_for(did) and other._asks_for(did))

    def _asks_for(self, did: str) -> bool:
        return not self._allowed or any(allowed(did) for allowed in self._allowed)

    def _resolve(self, url: DidUrl, scheme: str) -> Resolving:
        if not self._asks_for(url.did):
            raise not_trusted(url.did, "one that is allowed")
        try:
            raw: RawDocument = yield ResolveIdentity(did=url.did)
        except AuthenticationFailed as failed:
            if failed.alert != AlertCode.BAD_CERTIFICATE:  # the application does not want this peer
                raise
            raise unusable(
                failed.message,
                expected=f"the document of {shown(url.did)}",
                hint="try again later, or ask its owner whether the DID is in use",
            ) from failed
        return keys_under_authentication(read_document(url.did, raw), url, scheme)


def not_trusted(did: str, expected: str) -> AuthenticationFailed:
    """The DID is not one of those that a policy allows."""
    return AuthenticationFailed(
        "the peer's DID is not trusted",
        expected=expected,
        received=shown(did),
        hint="the peer has another DID than you were given, or you reached somebody else",
        alert=AlertCode.ACCESS_DENIED,
    )


def did_key(key: PublicKey) -> str:
    """The `did:key` of a public key; `ValueError` for one that does not sign, or has no multicodec."""
    return f"did:key:{encode_multikey(key)}"


def stands_under(did: str, key: PublicKey) -> bytes:
    """The credential of who owns `key` and has this DID.

    Raises:
        ValueError: no DID, one too long, or one that holds its own document, in which the key has no place.
    """
    url = parse_did(did)
    if len(did) > MAX_DID:
        raise ValueError(f"the DID has {len(did)} characters; at most {MAX_DID} are accepted")
    try:
        document = document_within(url)
        keys = (key,) if document is None else keys_under_authentication(document, url, key.scheme).keys
    except AuthenticationFailed as error:
        raise ValueError(f"no identity can present {shown(did)}: {error}") from error
    if key not in keys:
        raise ValueError(f"{shown(did)} is the DID of another key")
    return did.encode()


def document_within(url: DidUrl) -> Document | None:
    """The document of a DID that holds its own: `did:key`, `did:peer` 0 and 2; None for all others.

    Raises:
        AuthenticationFailed: malformed, or a `did:peer` of another kind.
    """
    resolve = _OFFLINE.get(url.method)
    return None if resolve is None else resolve(url)


def _did_key_document(url: DidUrl) -> Document:
    """<https://w3c-ccg.github.io/did-key-spec/>: the key's fragment is the key."""
    return _document(url.did, [(url.specific, url.specific)])


def _did_peer_document(url: DidUrl) -> Document:
    """<https://identity.foundation/peer-did-method-spec/>: one key (0), or elements by their purpose (2)."""
    kind, rest = url.specific[:1], url.specific[1:]
    if kind == "0":
        # the two forms in which the key's fragment is written, with the letter of its base and without
        without = url.fragment is not None and url.fragment == rest[1:]
        return _document(url.did, [(rest[1:] if without else rest, rest)])
    if kind == "2":
        return _document(url.did, _elements(rest))
    raise unusable(
        "the peer's DID is of a method that is not known here",
        expected="did:peer:0 or did:peer:2",
        received=shown(url.did),
        hint="other kinds of did:peer are known only to those who exchanged documents before",
    )


def _elements(text: str) -> list[tuple[str, str]]:
    """The keys for authentication in a `did:peer:2`, each with its fragment: keys count from 1, for whichever purpose."""
    empty, *elements = text.split(".")
    if empty or not elements or len(elements) > _MOST_ELEMENTS:
        raise _malformed(f"no list of 1 to {_MOST_ELEMENTS} elements, each after a dot")
    keys: list[tuple[str, str]] = []
    number = 0
    for element in elements:
        if _SERVICE.fullmatch(element):
            continue
        purpose, key = element[:1], element[1:]
        if purpose not in _PURPOSES:
            raise _malformed(f"an element that is neither a key nor a service: {element[:16]!r}")
        number += 1
        if purpose == "V":
            keys.append((f"key-{number}", key))
            continue
        try:
            decode_multibase(key)
        except MalformedKey as error:
            raise _malformed(str(error)) from error
    return keys


def _malformed(why: str) -> AuthenticationFailed:
    return unusable("the peer's did:peer is malformed", received=why, hint="the DID was copied incompletely")


def _document(did: str, keys: Iterable[tuple[str, str]]) -> Document:
    """A document whose keys, each a fragment and a Multikey, all stand under authentication."""
    methods = tuple([Method(f"{did}#{fragment}", "Multikey", did, public_key_multibase=key) for fragment, key in keys])
    return Document(did, methods, tuple([method.id for method in methods]))


_OFFLINE: Final[Mapping[str, Callable[[DidUrl], Document]]] = MappingProxyType(
    {"key": _did_key_document, "peer": _did_peer_document}
)
