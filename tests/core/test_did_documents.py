"""DID documents: whose key stands under `authentication` is welcome, and a bad document is refused for the right reason."""

from __future__ import annotations

import json
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_core import (
    INITIATOR,
    PAUSED,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Handshake,
    HandshakeError,
    Identity,
    LocalProtocolError,
    ResolveIdentity,
    Role,
    State,
    trust,
)
from nautilus_core.crypto.signatures import SCHEMES
from nautilus_core.identity.credentials import Presented
from nautilus_core.identity.did import DID
from nautilus_core.identity.did_document import MAX_DOCUMENT, read_document
from nautilus_core.identity.multikey import encode_multibase
from nautilus_core.testing import Pair
from nautilus_core.transcript import replay

from .decentralized import (
    AT_WEB,
    BOTH,
    KIND,
    NOW,
    OTHER,
    WEB,
    X25519,
    document,
    judged,
    jwk,
    method,
    refused,
    serving,
    welcomed,
)
from .helpers import BOB, MALLORY, alice, bob
from .transcript.recording import Recorded


@BOTH
@pytest.mark.parametrize("form", ["bytes", "mapping", "read-only", "relative", "embedded", "jwk", "fragment"])
def test_whose_key_is_in_the_document_is_welcome(form: str, judging: Role) -> None:
    presents, found = AT_WEB, document()
    if form == "relative":
        found = document(method(id="#key-1"))
    elif form == "embedded":
        found = document(authentication=[method()], verificationMethod=[])
    elif form == "fragment":
        presents, found = BOB.with_did(WEB + "#key-2"), document(method(MALLORY), method(name="#key-2"))
    elif form == "jwk":
        found = document(jwk(BOB))
    answer = serving({"mapping": found, "read-only": MappingProxyType(found)}.get(form, json.dumps(found).encode()))
    if form == "mapping":

        def answer(question: Any) -> None:
            question.answer(found)

    peer = welcomed(judged(presents, trust.dids(WEB), judging, answer=answer), judging)
    assert (peer.identifier, peer.public_key) == (WEB, BOB.public)


def test_one_of_several_keys_signs() -> None:
    others = [method(Identity.generate(scheme), f"#{scheme}") for scheme in SCHEMES]
    strange = method(name="#x25519", publicKeyMultibase=X25519)
    found = document(*others, strange, method(MALLORY), method(name="#mine"))
    assert welcomed(judged(AT_WEB, trust.dids(WEB), answer=serving(found))).public_key == BOB.public


def test_a_key_that_is_only_in_the_document_signs_for_nobody() -> None:
    found = document(method(MALLORY), method(name="#mine"), authentication=[WEB + "#key-1"], assertionMethod=["#mine"])
    pair = judged(AT_WEB, trust.dids(WEB), answer=serving(found))
    refused(pair, alert=AlertCode.DECRYPT_ERROR)
    pair = judged(BOB.with_did(WEB + "#mine"), trust.dids(WEB), answer=serving(found))
    error = refused(pair)
    assert "does not stand under authentication" in str(error)
    assert "a key for other purposes" in str(error)
    pair = judged(BOB.with_did(WEB + "#none"), trust.dids(WEB), answer=serving(found))
    assert "no such key" in str(refused(pair))


DEEP: Any = "bottom"
for _ in range(17):
    DEEP = [DEEP]

BAD_DOCUMENTS: dict[str, tuple[Any, str]] = {
    "nothing under authentication": (document(authentication=[]), "does not stand under authentication"),
    "no authentication": ({"id": WEB, "verificationMethod": [method()]}, "does not stand under authentication"),
    "another DID": (document(did=OTHER), "for another DID"),
    "an id that is no DID": (document(id="gateway"), "for another DID"),
    "no id": ({"authentication": []}, "malformed"),
    "not JSON": (b"<html>", "malformed"),
    "not UTF-8": (b'{"id": "\xff"}', "malformed"),
    "cut off": (json.dumps(document()).encode()[:-1], "malformed"),
    "empty": (b"", "malformed"),
    "a list": (b"[]", "malformed"),
    "authentication of another type": (document(authentication=7), "malformed"),
    "a key without a controller": (document(verificationMethod=[{"id": "#key-1", "type": "Multikey"}]), "malformed"),
    "too large": (document(service="x" * MAX_DOCUMENT), "too large"),
    "too large, of blanks": (b" " * (MAX_DOCUMENT + 1), "too large"),
    "too deep": (document(service=DEEP), "too deep"),
    "much too deep": (b"[" * 60_000 + b"]" * 60_000, "too large"),
    "deep, and not closed": (b"[" * 60_000, "too deep"),
    "a key of another document": (document(authentication=[OTHER + "#key-1"]), "not in the DID document"),
    "another document's key, brought along": (document(method(did=OTHER)), "not in the DID document"),
    "a key that is missing": (document(authentication=["#key-9"]), "not in the DID document"),
    "a key that is embedded under another relationship": (
        document(assertionMethod=[method()], verificationMethod=[], authentication=[WEB + "#key-1"]),
        "not in the DID document",
    ),
    "a reference without its #": (document(authentication=["key-1"]), "not in the DID document"),
    "a key of another path": (
        document(method(id=WEB + "/other#key-1"), authentication=[WEB + "/other#key-1"]),
        "not in the DID document",
    ),
    "a key of another version": (
        document(method(id=WEB + "?versionId=1#key-1"), authentication=[WEB + "?versionId=1#key-1"]),
        "not in the DID document",
    ),
    "a key of a DID that begins alike": (
        document(method(id=WEB + ".evil#key-1"), authentication=[WEB + ".evil#key-1"]),
        "not in the DID document",
    ),
    "a key of a DID below": (
        document(method(id=WEB + ":evil#key-1"), authentication=[WEB + ":evil#key-1"]),
        "not in the DID document",
    ),
    "one id, once relative": (document(method(), method(MALLORY, id="#key-1")), "two keys of one id"),
    "one id, once embedded": (
        document(method(), authentication=[method(MALLORY, id="#key-1")]),
        "two keys of one id",
    ),
    "a controller that is a list": (document(method(controller=[WEB])), "malformed"),
    "a controller that is a key": (document(method(controller=WEB + "#key-1")), "controlled by somebody else"),
    "another DID in other letters": (document(id=WEB.upper().replace("DID:WEB", "did:web")), "for another DID"),
    "another controller": (document(method(controller=OTHER)), "controlled by somebody else"),
    "two keys of one id": (document(method(), method(MALLORY)), "two keys of one id"),
    "too many keys": (document(*[method(name=f"#{number}") for number in range(17)]), "too many keys"),
    "no key at all": (document(method(publicKeyMultibase=None)), "holds no key"),
    "two keys in one": (document(jwk(BOB) | method()), "holds no key"),
    "a key in another form": (document(method(publicKeyMultibase=None, publicKeyBase58="abc")), "holds no key"),
    "malformed multibase": (document(method(publicKeyMultibase="z0")), "malformed multibase"),
    "malformed JWK": (
        document(jwk(BOB) | {"publicKeyJwk": {"kty": "OKP", "crv": "Ed25519"}}),
        "malformed JSON Web Key",
    ),
    "an unsupported type": (document(method(publicKeyMultibase=X25519)), "of a type that is not used here"),
    "RSA": (document(jwk(BOB) | {"publicKeyJwk": {"kty": "RSA", "n": "AQAB"}}), "of a type that is not used here"),
    "a weak key": (document(method(publicKeyMultibase=encode_multibase(b"\xed\x01" + bytes(32)))), "weak"),
    "a private key": (
        document(jwk(BOB) | {"publicKeyJwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "d": "A" * 43}}),
        "private part",
    ),
    "a key of another scheme": (document(method(Identity.generate("ml-dsa-65"))), "another scheme"),
    "revoked": (document(method(revoked="2025-01-01T00:00:00Z")), "revoked"),
    "expired": (document(method(expires="2025-01-01T00:00:00Z")), "expired"),
    "an end without a time zone": (document(method(expires="2025-01-01T00:00:00")), "without a time zone"),
    "an end that is no time": (document(method(expires="soon")), "malformed"),
}


@pytest.mark.parametrize("judging", [INITIATOR, RESPONDER], ids=lambda role: role.value)
@pytest.mark.parametrize("case", BAD_DOCUMENTS)
def test_a_bad_document_is_refused_with_its_reason(case: str, judging: Role) -> None:
    found, reason = BAD_DOCUMENTS[case]
    error = refused(judged(AT_WEB, trust.dids(WEB), judging, answer=serving(found)), judging)
    assert reason in str(error)
    assert error.hint or error.received
    assert len(str(error)) < 1000


def test_bounds_of_what_was_parsed_elsewhere() -> None:
    cycle: dict[str, Any] = {"id": WEB}
    cycle["again"] = [cycle, cycle]
    wide: dict[str, Any] = {"id": WEB, "many": [0] * (MAX_DOCUMENT + 1)}
    numbered: Any = {"id": WEB, 5: 6}
    for found, reason in ((cycle, "too"), (wide, "too large"), (numbered, "malformed")):
        with pytest.raises(AuthenticationFailed, match=reason):
            read_document(WEB, found)
    with pytest.raises(LocalProtocolError, match="bytes of JSON or a mapping"):
        read_document(WEB, None)  # type: ignore[arg-type]


def test_a_key_that_expires_ends_the_session() -> None:
    end = NOW + timedelta(hours=1)
    found = document(method(expires=end.isoformat()))
    pair = judged(AT_WEB, trust.dids(WEB), answer=serving(found))
    session = pair.initiator.session
    assert session.valid_until == end
    session.revalidate(NOW)
    with pytest.raises(AuthenticationFailed, match="expired"):
        session.revalidate(end + timedelta(seconds=1))


# ---------------------------------------------------------------------------------------------- asking


def test_the_answer_may_come_later() -> None:
    ends = [Handshake(INITIATOR, alice(trust=trust.dids(WEB))), Handshake(RESPONDER, bob(identity=AT_WEB))]
    pair = Pair(*ends, close=False).run()
    assert pair.initiator.handshake.next_event() is PAUSED
    question = pair.initiator.events[-1]
    assert isinstance(question, ResolveIdentity)
    assert (question.did, question.method) == (WEB, "web")
    question.answer(document())
    pair.run()
    assert welcomed(pair).identifier == WEB
    with pytest.raises(LocalProtocolError):
        question.answer(document())


def test_an_answer_after_the_end_changes_nothing() -> None:
    engine = Handshake(INITIATOR, alice(trust=trust.dids(WEB)), deadline=10.0)
    pair = Pair(engine, bob(identity=AT_WEB), close=False).run()
    question = pair.initiator.events[-1]
    assert isinstance(question, ResolveIdentity)
    engine.handle_timeout(10.0)
    question.answer(document())
    with pytest.raises(HandshakeError):
        engine.next_event()
    assert engine.state is State.FAILED
    assert engine.session is None


@BOTH
def test_the_application_refuses_or_cannot_resolve(judging: Role) -> None:
    pair = judged(AT_WEB, trust.dids(WEB), judging, answer=lambda question: question.reject("not today"))
    error = refused(pair, judging, AlertCode.ACCESS_DENIED)
    assert "refused by the application: not today" in str(error)
    pair = judged(AT_WEB, trust.dids(WEB), judging, answer=lambda question: question.unresolvable("nobody answers"))
    error = refused(pair, judging)
    assert "could not be resolved: nobody answers" in str(error)
    assert WEB in str(error)
    assert error.hint


def test_a_did_that_is_not_allowed_is_not_looked_up() -> None:
    def never(question: Any) -> None:
        raise AssertionError(f"asked {question}")

    for policy in (
        trust.dids(OTHER),
        trust.dids(methods=["key"]),
        trust.any_of(trust.dids(OTHER), trust.dids("did:x:y")),
        trust.any_of(trust.dids(OTHER), trust.decided_by(lambda peer, context: None)),
        trust.all_of(trust.dids(OTHER), trust.anyone(kinds=[DID])),
        trust.all_of(trust.dids(WEB), trust.dids(OTHER)),
    ):
        pair = judged(AT_WEB, policy, answer=never)
        assert "not trusted" in str(refused(pair, alert=AlertCode.ACCESS_DENIED))


# ---------------------------------------------------------------------------------------------- garbage
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([WEB, WEB + "#key-1", "#key-1"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "type",
                    "controller",
                    "authentication",
                    "verificationMethod",
                    "publicKeyMultibase",
                    "publicKeyJwk",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=60), JSON.map(json.dumps).map(str.encode), JSON))
def test_a_garbled_document_is_an_authentication_failed(found: Any) -> None:
    resolving = KIND.read(WEB.encode(), "ed25519")
    assert not isinstance(resolving, Presented)
    next(resolving)
    if not isinstance(found, bytes | dict):
        found = {"id": WEB, "authentication": found, "verificationMethod": found}
    with pytest.raises(AuthenticationFailed) as caught:
        resolving.send(found)
    assert caught.value.alert == AlertCode.BAD_CERTIFICATE


# ---------------------------------------------------------------------------------------------- transcripts


def test_transcripts_replay_the_answers() -> None:
    def down(question: Any) -> None:
        question.unresolvable("nobody answers")

    profiles = alice(trust=trust.dids(WEB)), bob(identity=AT_WEB)
    for answer in (down, serving(document())):
        recorded = Recorded(*profiles, answer=answer, secrets=True)
        assert (recorded.ends[0].error is None) is (answer is not down)
        report = replay(recorded.files[0], profiles[0])
        assert report.full
        assert report.outcome == ("failed" if answer is down else "completed")
