"""DID documents (W3C DID Core 1.0 section 5): read within bounds, and which keys of one may authenticate its subject.

Nothing is looked up here, and nothing is believed of a document but what it says of its own DID. Who owns one of the keys is
not known here either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec

from ..errors import AlertCode, AuthenticationFailed, LocalProtocolError
from .credentials import Presented
from .keys import PublicKey
from .multikey import MalformedKey, UnsupportedKey, decode_multikey, key_in_jwk

MAX_DOCUMENT: Final = 65_536
"""Bytes of a DID document in JSON; characters in all, of one that was parsed already."""
MAX_DEPTH: Final = 16
MAX_KEYS: Final = 16
"""How many keys may stand under `authentication`, each of which a signature may be verified with."""

RawDocument: TypeAlias = bytes | Mapping[str, Any]
"""A DID document as it comes: JSON, or what a JSON parser has made of it."""

_ID: Final = r"(?:[A-Za-z0-9._-]|%[0-9A-Fa-f]{2})"
_DID_URL: Final = re.compile(
    rf"(did:[a-z0-9]{{1,64}}:(?:{_ID}*:)*{_ID}+)(?:#((?:{_ID}|[~!$&'()*+,;=:@/?]){{1,4096}}))?"
)
_LONGEST_SHOWN: Final = 100  # characters


@dataclass(frozen=True, slots=True)
class DidUrl:
    """A DID, and of which verification method: `did:example:alice#key-1`.

    Attributes:
        did: the DID.
        fragment: what stands after `#`; None for the DID alone.
    """

    did: str
    fragment: str | None = None

    @property
    def method(self) -> str:
        """The DID method: `key`, `web`."""
        return self.did.split(":", 2)[1]

    @property
    def specific(self) -> str:
        """What stands after the method."""
        return self.did.split(":", 2)[2]

    def __str__(self) -> str:
        return self.did if self.fragment is None else f"{self.did}#{self.fragment}"


def parse_did(text: str) -> DidUrl:
    """A DID, also with the fragment of a verification method (DID Core section 3). `ValueError` for anything else."""
    match = _DID_URL.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(text)!r} is no DID: expected did:METHOD:ID, perhaps with a #FRAGMENT")
    return DidUrl(match[1], match[2])


def shown(text: str) -> str:
    """A DID in a message: one that holds a long key is cut."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


class Method(msgspec.Struct, frozen=True, rename="camel"):
    """A verification method: one key, and who controls it."""

    id: str
    type: str
    controller: str
    public_key_multibase: str | None = None
    public_key_jwk: dict[str, Any] | None = None
    expires: datetime | None = None
    revoked: datetime | None = None


class Document(msgspec.Struct, frozen=True, rename="camel"):
    """What counts of a DID document here."""

    id: str
    verification_method: tuple[Method, ...] = ()
    authentication: tuple[str | Method, ...] = ()


def unusable(
    message: str, *, expected: str | None = None, received: str | None = None, hint: str | None = None
) -> AuthenticationFailed:
    """What is wrong with a peer's DID; the peer is told no more than that its credential is not usable."""
    alert = AlertCode.BAD_CERTIFICATE
    return AuthenticationFailed(message, expected=expected, received=received, hint=hint, alert=alert)


def read_document(did: str, raw: RawDocument) -> Document:
    """The document of `did`.

    Raises:
        AuthenticationFailed: too large, too deep, malformed, or for another DID.
        LocalProtocolError: `raw` is neither bytes nor a mapping.
    """
    try:
        document = msgspec.convert(_within_bounds(raw), Document)
    except ValueError as error:  # of msgspec, or UnicodeDecodeError
        raise unusable(
            "the DID document is malformed",
            expected="a DID document in JSON",
            received=str(error)[:300],
            hint="what was looked up is no DID document, or its owner has made it wrong",
        ) from error
    if document.id != did:
        raise unusable(
            "the DID document is for another DID",
            expected=shown(did),
            received=shown(document.id) if _DID_URL.fullmatch(document.id) else "an id that is no DID",
            hint="the owner of the DID serves the wrong document, or somebody else's",
        )
    return document


def _within_bounds(raw: RawDocument) -> Any:
    if isinstance(raw, bytes | bytearray | memoryview):
        if len(raw) > MAX_DOCUMENT:
            raise _too_large(f"{len(raw)} bytes")
        try:
            document = msgspec.json.decode(raw)
        except RecursionError:
            raise _too_deep() from None
    elif isinstance(raw, Mapping):
        document = raw
    else:
        raise LocalProtocolError(f"a DID document is bytes of JSON or a mapping, not {type(raw).__name__}")
    _check_bounds(document)
    return document


def _check_bounds(document: Any) -> None:
    """Of what was parsed: how deep, and how much in all."""
    size = 0
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                size += sum(len(name) for name in value if isinstance(name, str))
                below += value.values()
            elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
                below += value
            size += len(value) if isinstance(value, str) else 1
            if size + len(below) > MAX_DOCUMENT:
                raise _too_large("more than that")
        if not below:
            return
        level = below
    raise _too_deep()


def _too_large(received: str) -> AuthenticationFailed:
    hint = "what was looked up is no DID document"
    return unusable("the DID document is too large", expected=f"at most {MAX_DOCUMENT}", received=received, hint=hint)


def _too_deep() -> AuthenticationFailed:
    hint = "what was looked up is no DID document"
    return unusable("the DID document is nested too deep", expected=f"at most {MAX_DEPTH} levels", hint=hint)


def keys_under_authentication(document: Document, url: DidUrl, scheme: str) -> Presented:
    """The keys of `scheme` with which the subject of `document` may authenticate: one, where `url` names it.

    Raises:
        AuthenticationFailed: there is none: says why.
    """
    methods = _methods_of(document)
    listed = [
        _absolute(entry if isinstance(entry, str) else entry.id, document.id) for entry in document.authentication
    ]
    if len(listed) > MAX_KEYS:
        raise unusable(
            "the DID document has too many keys under authentication",
            expected=f"at most {MAX_KEYS}",
            received=str(len(listed)),
            hint="the peer can name one of a smaller document",
        )
    if url.fragment is not None:
        if str(url) not in listed:
            raise _not_under_authentication(url, "a key for other purposes" if str(url) in methods else "no such key")
        listed = [str(url)]
    keys: list[PublicKey] = []
    ends: list[datetime | None] = []
    faults: list[AuthenticationFailed] = []
    for name in listed:
        try:
            method = _method(methods, name, document.id)
            key = _key(method, name)
            if key.scheme != scheme:
                raise _other_scheme(name, key.scheme, scheme)
        except AuthenticationFailed as fault:
            faults.append(fault)
            continue
        keys.append(key)
        ends.append(method.expires)
    if not keys:
        raise faults[0] if faults else _not_under_authentication(url, "none")
    return Presented(tuple(keys), identifier=document.id, ends=tuple(ends))


def _absolute(reference: str, did: str) -> str:
    """A reference within a document; a relative one begins with `#` (DID Core section 3.2.2)."""
    return did + reference if reference.startswith("#") else reference


def _methods_of(document: Document) -> dict[str, Method]:
    embedded = tuple([entry for entry in document.authentication if isinstance(entry, Method)])
    methods: dict[str, Method] = {}
    for method in document.verification_method + embedded:
        name = _absolute(method.id, document.id)
        if methods.setdefault(name, method) != method:
            raise unusable(
                "the DID document has two keys of one id", received=shown(name), hint="its owner has made it wrong"
            )
    return methods


def _method(methods: Mapping[str, Method], name: str, did: str) -> Method:
    """The verification method called `name`, which belongs to `did`, and counts."""
    method = methods.get(name)
    if method is None or name.partition("#")[0] != did:
        raise unusable(
            "a key under authentication is not in the DID document",
            expected=f"a verification method whose id begins with {shown(did)}",
            received=shown(name),
            hint="keys in other documents are not followed",
        )
    if method.controller != did:
        raise unusable(
            "a key under authentication is controlled by somebody else",
            expected=shown(did),
            received=shown(method.controller),
            hint="whoever controls the key is who the peer is: it should present that DID",
        )
    if method.revoked is not None:
        raise unusable(
            "the key in the DID document is revoked", received=shown(name), hint="the peer has to sign with a newer key"
        )
    if method.expires is not None and method.expires.tzinfo is None:
        raise unusable(
            "a key in the DID document expires at a time without a time zone",
            expected="a time as of XML Schema's dateTimeStamp, with Z",
            received=shown(name),
            hint="its owner has made it wrong",
        )
    return method


def _key(method: Method, name: str) -> PublicKey:
    if (method.public_key_multibase is None) == (method.public_key_jwk is None):
        raise unusable(
            "a verification method in the DID document holds no key that can be read",
            expected="publicKeyMultibase or publicKeyJwk, one of the two",
            received=f"{shown(name)}, of type {method.type[:64]!r}",
            hint="its owner has to write the key in a form of DID Core",
        )
    try:
        if method.public_key_jwk is not None:
            return key_in_jwk(method.public_key_jwk)
        return decode_multikey(method.public_key_multibase or "")
    except UnsupportedKey as error:
        raise unusable(
            "the key of the peer's DID is of a type that is not used here",
            expected="Ed25519, P-256, P-384 or ML-DSA-65",
            received=str(error),
            hint="the peer needs a DID with a key of one of these types",
        ) from error
    except MalformedKey as error:
        raise unusable(
            "the key of the peer's DID is malformed",
            expected="a Multikey in base58btc, or a JSON Web Key",
            received=str(error),
            hint="the DID was copied incompletely, or its document is made wrong",
        ) from error
    except ValueError as error:
        raise unusable(
            "the key of the peer's DID is weak or not usable", received=str(error), hint="it proves nothing: refuse it"
        ) from error


def _other_scheme(name: str, has: str, signed: str) -> AuthenticationFailed:
    return unusable(
        "the peer signed with another scheme than the key of its DID has",
        expected=has,
        received=f"{signed}, for {shown(name)}",
        hint="its document has no key of that scheme under authentication, or somebody tries another scheme on its key",
    )


def _not_under_authentication(url: DidUrl, received: str) -> AuthenticationFailed:
    return unusable(
        "the key that signs does not stand under authentication in the DID document",
        expected=f"{shown(str(url))} under authentication",
        received=received,
        hint="its owner has to list the key under authentication, or the peer to sign with one that is",
    )
