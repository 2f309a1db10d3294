"""Fuzzes DID documents and what stands in them and around: DIDs, Multikeys, multibase, JSON Web Keys.

Byte 0 chooses the parser, byte 1 the scheme; the rest is the text. What a parser takes must be written again as it was.
"""

from __future__ import annotations

import random
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Final

import msgspec

from fuzz.checks import Finding, check_text
from fuzz.credentials import SCHEMES
from fuzz.people import DID, IDENTITIES, document
from fuzz.structure import changed_json
from nautilus_core import INITIATOR, AuthenticationFailed, PublicKey
from nautilus_core.identity.did_document import DidUrl, keys_under_authentication, parse_did, read_document
from nautilus_core.identity.multikey import (
    decode_multibase,
    decode_multikey,
    encode_multibase,
    encode_multikey,
    key_in_jwk,
)


def _document(data: bytes, scheme: str) -> None:
    read = read_document(DID, data)
    for fragment in (None, "key-1", "key-2"):
        try:
            presented = keys_under_authentication(read, DidUrl(DID, fragment), scheme)
        except AuthenticationFailed as error:
            check_text(error, ())
            continue
        if not presented.keys or any(key.scheme != scheme for key in presented.keys) or presented.identifier != DID:
            raise Finding(f"{presented!r} for {scheme}")
    parsed = msgspec.json.decode(data)
    if isinstance(parsed, dict) and read_document(DID, parsed) != read:
        raise Finding("a document that was parsed before is read otherwise")


def _url(data: bytes, scheme: str) -> None:
    text = data.decode("latin-1")
    url = parse_did(text)
    if str(url) != text or f"did:{url.method}:{url.specific}" != url.did:
        raise Finding(f"{text!r} was read as {url!r}")


def _multibase(data: bytes, scheme: str) -> None:
    text = data.decode("latin-1")
    if encode_multibase(decode_multibase(text)) != text:
        raise Finding(f"{text!r} has another form")
    if decode_multibase(encode_multibase(data[:1500])) != data[:1500]:
        raise Finding("bytes that do not come back")


def _multikey(data: bytes, scheme: str) -> None:
    text = data.decode("latin-1")
    if encode_multikey(decode_multikey(text)) != text:
        raise Finding(f"{text!r} has another form")


def _jwk(data: bytes, scheme: str) -> None:
    jwk = msgspec.json.decode(data)
    if isinstance(jwk, dict):
        key = key_in_jwk(jwk)
        if PublicKey(key.scheme, key.data) != key:
            raise Finding(f"{key!r} from {jwk!r}")


PARSERS: Final[list[Callable[[bytes, str], None]]] = [_document, _url, _multibase, _multikey, _jwk]


def one_input(data: bytes) -> None:
    """One input; raises whatever is neither `ValueError`, which these may raise, nor `AuthenticationFailed`."""
    if len(data) < 2:
        return
    try:
        PARSERS[data[0] % len(PARSERS)](data[2:], SCHEMES[data[1] % len(SCHEMES)])
    except RecursionError:
        if data[0] % len(PARSERS) != 4:  # the harness itself parses JSON there
            raise
    except (ValueError, AuthenticationFailed) as error:
        if isinstance(error, AuthenticationFailed):
            check_text(error, ())


def mutate(data: bytes, choose: random.Random) -> bytes | None:
    """JSON with a change inside."""
    changed = changed_json(data[2:], choose) if data and data[0] % len(PARSERS) in (0, 4) else None
    return None if changed is None else data[:2] + changed


def _jwks() -> dict[str, Any]:
    def coded(value: bytes) -> str:
        return urlsafe_b64encode(value).rstrip(b"=").decode()

    generator = bytes.fromhex(
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    return {
        "okp": {"kty": "OKP", "crv": "Ed25519", "x": coded(IDENTITIES[INITIATOR].public.data)},
        "ec": {"kty": "EC", "crv": "P-256", "x": coded(generator[:32]), "y": coded(generator[32:])},
        "private": {"kty": "OKP", "crv": "Ed25519", "x": coded(bytes(32)), "d": coded(bytes(32))},
        "akp": {"kty": "AKP", "alg": "ML-DSA-65", "pub": coded(bytes(1952))},
    }


def seeds() -> dict[str, bytes]:
    """A document of each shape, and keys of each kind."""
    base = document(INITIATOR)
    jwks = _jwks()
    key = base["verificationMethod"][0]
    by_jwk = {name: value for name, value in key.items() if name != "publicKeyMultibase"} | {
        "publicKeyJwk": jwks["okp"]
    }
    shapes: dict[str, Any] = {
        "references": base,
        "embedded": base | {"authentication": [key | {"expires": "2031-01-01T00:00:00Z"}]},
        "jwk": base | {"verificationMethod": [by_jwk], "authentication": ["#key-1"]},
        "revoked": base | {"verificationMethod": [key | {"revoked": "2020-01-01T00:00:00Z"}]},
        "many": base | {"authentication": [f"#key-{number}" for number in range(17)]},
    }
    made = {f"document-{name}": bytes((0, 0)) + msgspec.json.encode(shape) for name, shape in shapes.items()}
    made |= {f"jwk-{name}": bytes((4, 0)) + msgspec.json.encode(jwk) for name, jwk in jwks.items()}
    multikey = encode_multikey(IDENTITIES[INITIATOR].public)
    made["multikey"] = bytes((3, 0)) + multikey.encode()
    made["multibase"] = bytes((2, 0)) + multikey.encode()
    made["multibase-zeros"] = bytes((2, 0)) + b"z111222"
    for number, did in enumerate((DID, f"{DID}%3A8443:a:b#key-1", f"did:key:{multikey}#{multikey}")):
        made[f"did-{number}"] = bytes((1, 0)) + did.encode()
    return made
