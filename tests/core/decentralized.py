"""What the tests of DIDs share: a peer that presents one, its document, and a look at how it was judged."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Handshake,
    Identity,
    ResolveIdentity,
    Role,
    TrustPolicy,
    VerifiedPeer,
    trust,
)
from nautilus_core.identity.credentials import Presented
from nautilus_core.identity.did import DidCredentials
from nautilus_core.identity.multikey import encode_multikey
from nautilus_core.testing import Pair, alert_of

from .helpers import BOB, alice, bob

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEB = "did:web:gateway.example"
OTHER = "did:web:other.example"
KEY = BOB.with_did()
AT_WEB = BOB.with_did(WEB)
BOTH = pytest.mark.parametrize("judging", [INITIATOR, RESPONDER], ids=lambda role: role.value)
KIND = DidCredentials()

X25519 = "z6LSg8zQom395jKLrGiBNruB9MM6V8PWuf2FpEy4uRFiqQBR"
PEER_2 = (
    "did:peer:2.Vz6Mkj3PUd1WjvaDhNZhhhXQdz5UnZXmS7ehtx8bsPpD47kKc.Ez6LSg8zQom395jKLrGiBNruB9MM6V8PWuf2FpEy4uRFiqQBR"
    ".SeyJ0IjoiZG0iLCJzIjp7InVyaSI6Imh0dHA6Ly9leGFtcGxlLmNvbS9kaWRjb21tIiwiYSI6WyJkaWRjb21tL3YyIl0sInIiOlsiZGlkOmV4YW1wbG"
    "U6MTIzNDU2Nzg5YWJjZGVmZ2hpI2tleS0xIl19fQ"
)
"""The example of the did:peer specification, with its first service."""


def method(identity: Identity = BOB, name: str = "#key-1", did: str = WEB, **fields: Any) -> dict[str, Any]:
    return {
        "id": did + name,
        "type": "Multikey",
        "controller": did,
        "publicKeyMultibase": encode_multikey(identity.public),
    } | fields


def document(*methods: dict[str, Any], did: str = WEB, **fields: Any) -> dict[str, Any]:
    """A document all of whose keys stand under authentication."""
    methods = methods or (method(did=did),)
    return {
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": did,
        "verificationMethod": list(methods),
        "authentication": [one["id"] for one in methods],
    } | fields


def serving(found: Any) -> Callable[[Any], None]:
    """Answers with a document, as bytes where it can be JSON."""

    def answer(question: Any) -> None:
        assert isinstance(question, ResolveIdentity)
        question.answer(json.dumps(found).encode() if isinstance(found, dict) else found)

    return answer


def judged(presents: Any, policy: TrustPolicy, judging: Role = INITIATOR, *, now: Any = NOW, **options: Any) -> Pair:
    """A handshake in which `judging` has this policy, and the other end this identity."""
    if judging is INITIATOR:
        profiles = alice(trust=policy), bob(identity=presents, trust=trust.anyone())
    else:
        profiles = alice(identity=presents, trust=trust.anyone()), bob(trust=policy)
    ends = [Handshake(role, profile, wall_time=now) for role, profile in zip(Role, profiles, strict=True)]
    return Pair(*ends, close=False, **options).run()


def welcomed(pair: Pair, judging: Role = INITIATOR) -> VerifiedPeer:
    peer = (pair.initiator if judging is INITIATOR else pair.responder).session.peer
    assert isinstance(peer, VerifiedPeer)
    return peer


def refused(pair: Pair, judging: Role = INITIATOR, alert: int = AlertCode.BAD_CERTIFICATE) -> AuthenticationFailed:
    judge, other = (pair.initiator, pair.responder) if judging is INITIATOR else (pair.responder, pair.initiator)
    assert isinstance(judge.error, AuthenticationFailed), judge.error
    assert judge.handshake.session is None
    assert judge.error.alert == alert
    if judging is INITIATOR:  # it finishes first: as it is refused later, it learns it from the channel
        assert alert_of(other) == alert
    return judge.error


def read(did: str, scheme: str = "ed25519") -> Presented:
    """What a DID that holds its own document stands for."""
    presented = KIND.read(did.encode(), scheme)
    assert isinstance(presented, Presented)
    return presented


def jwk(identity: Identity) -> dict[str, Any]:
    """A verification method with this Ed25519 key as a JSON Web Key."""
    x = urlsafe_b64encode(identity.public.data).rstrip(b"=").decode()
    made = method(identity, type="JsonWebKey", publicKeyJwk={"kty": "OKP", "crv": "Ed25519", "x": x})
    del made["publicKeyMultibase"]
    return made
