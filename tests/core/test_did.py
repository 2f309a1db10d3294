"""DIDs: who proves one is welcome, where it is allowed, and everybody else is refused for the right reason."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_core import (
    AlertCode,
    AuthenticationFailed,
    Identity,
    NegotiationFailed,
    PublicKey,
    Role,
    trust,
)
from nautilus_core.crypto.signatures import SCHEMES
from nautilus_core.identity.did import DID
from nautilus_core.identity.did_document import parse_did
from nautilus_core.identity.multikey import encode_multibase, encode_multikey

from .decentralized import (
    AT_WEB,
    BOTH,
    KEY,
    KIND,
    OTHER,
    PEER_2,
    WEB,
    X25519,
    document,
    judged,
    read,
    refused,
    serving,
    welcomed,
)
from .helpers import ALICE, BOB, MALLORY

# ---------------------------------------------------------------------------------------------- did:key and did:peer


@BOTH
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_did_key_is_welcome(scheme: str, judging: Role) -> None:
    identity = Identity.generate(scheme).with_did()
    assert identity.did is not None
    peer = welcomed(judged(identity, trust.dids(identity.did), judging), judging)
    assert (peer.credential_type, peer.identifier) == (DID, identity.did)
    assert peer.public_key == identity.public
    assert peer.peer_id == identity.peer_id


def test_a_did_key_with_its_fragment() -> None:
    name = encode_multikey(BOB.public)
    identity = BOB.with_did(f"did:key:{name}#{name}")
    assert welcomed(judged(identity, trust.dids(f"did:key:{name}"))).identifier == f"did:key:{name}"
    with pytest.raises(ValueError, match="does not stand under authentication"):
        BOB.with_did(f"did:key:{name}#{name[1:]}")


@BOTH
def test_a_did_peer_0_is_welcome(judging: Role) -> None:
    name = encode_multikey(BOB.public)
    for did in (f"did:peer:0{name}", f"did:peer:0{name}#{name}", f"did:peer:0{name}#{name[1:]}"):
        peer = welcomed(judged(BOB.with_did(did), trust.dids(methods=["peer"]), judging), judging)
        assert peer.identifier == f"did:peer:0{name}"


@BOTH
def test_a_did_peer_2_is_welcome(judging: Role) -> None:
    did = f"did:peer:2.E{X25519}.V{encode_multikey(ALICE.public)}.V{encode_multikey(BOB.public)}.SeyJ0IjoiZG0ifQ"
    for presented in (did, did + "#key-3"):
        peer = welcomed(judged(BOB.with_did(presented), trust.dids(did), judging), judging)
        assert peer.identifier == did
        assert peer.public_key == BOB.public
    for wrong in ("#key-1", "#key-2", "#key-4"):
        with pytest.raises(ValueError):
            BOB.with_did(did + wrong)


def test_the_example_of_the_did_peer_specification() -> None:
    for name in (PEER_2, PEER_2 + "#key-1"):
        presented = read(name)
        assert presented.identifier == PEER_2
        assert [encode_multikey(key) for key in presented.keys] == ["z6Mkj3PUd1WjvaDhNZhhhXQdz5UnZXmS7ehtx8bsPpD47kKc"]
    with pytest.raises(AuthenticationFailed, match="does not stand under authentication.*a key|no such key"):
        read(PEER_2 + "#key-2")


def test_a_key_for_other_purposes_only_authenticates_nobody() -> None:
    with pytest.raises(AuthenticationFailed, match="does not stand under authentication"):
        read(f"did:peer:2.A{encode_multikey(BOB.public)}")


BAD = {
    "": "malformed",
    "did:": "malformed",
    "did:key": "malformed",
    "did:key:": "malformed",
    "did:KEY:z6Mk": "malformed",
    "did:key:z6Mk/path": "malformed",
    "did:key:z6Mk?query": "malformed",
    "did:key:z6Mk#": "malformed",
    "did:key:z6Mk#a#b": "malformed",
    "did:key:%zz": "malformed",
    "https://example.com": "malformed",
    "did:key:zé": "malformed",
    " did:key:z6Mk": "malformed",
    "did:key:z6Mk\n": "malformed",
    "did:key:m6Mk": "malformed multibase",
    "did:key:z0OIl": "malformed multibase",
    "did:key:1.1:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp": "malformed multibase",
    f"did:key:{X25519}": "of a type that is not used here",
    "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme": "of a type that is not used here",
    "did:key:" + encode_multibase(b"\xed\x01" + bytes(32)): "weak or not usable",
    "did:key:" + encode_multibase(b"\xed\x01" + bytes(31)): "weak or not usable",
    "did:key:" + encode_multibase(b"\x80\x24\x02" + b"\xff" * 32): "weak or not usable",
    "did:key:z6Mkj3PUd1WjvaDhNZhhhXQdz5UnZXmS7ehtx8bsPpD47kKc#other": "does not stand under authentication",
    "did:peer:1zQmZMygzYqNwU6Uhmewx5Xepf2VLp5S4HLSwwgf2aiKZuwa": "a method that is not known here",
    "did:peer:4zQmd8CpeFPci817KDsbSAKWcXAE2mjvCQSasRewvbSF54Bd": "a method that is not known here",
    "did:peer:0m6Mk": "malformed multibase",
    f"did:peer:0{X25519}": "of a type that is not used here",
    "did:peer:2": "no list",
    "did:peer:2.": "neither a key nor a service",
    "did:peer:2x.Vz6Mk": "no list",
    "did:peer:2.Xz6Mk": "neither a key nor a service",
    "did:peer:2.Ez0": "malformed multibase",
    "did:peer:2" + ".Ez6Mk" * 33: "no list",
    f"did:peer:2.E{X25519}": "does not stand under authentication",
}


@pytest.mark.parametrize("did", BAD)
def test_a_bad_did_is_refused_with_its_reason(did: str) -> None:
    with pytest.raises(AuthenticationFailed, match=BAD[did]) as caught:
        KIND.read(did.encode(), "ed25519")
    assert caught.value.alert == AlertCode.BAD_CERTIFICATE
    assert caught.value.hint
    assert len(str(caught.value)) < 600


def test_a_bad_did_is_one_coarse_alert_on_the_wire() -> None:
    for did, reason in BAD.items():
        identity = BOB.with_did()
        identity.credential = did.encode()
        assert reason in str(refused(judged(identity, trust.dids(methods=["key", "peer"]))))


def test_a_did_of_somebody_else_proves_nothing() -> None:
    thief = MALLORY.with_did()
    thief.credential = KEY.credential
    pair = judged(thief, trust.dids(str(KEY.did)))
    assert "did not prove that it owns its key" in str(refused(pair, alert=AlertCode.DECRYPT_ERROR))


def test_another_scheme_than_the_keys_is_refused() -> None:
    thief = Identity.generate("ecdsa-p256-sha256").with_did()
    thief.credential = KEY.credential
    assert "another scheme" in str(refused(judged(thief, trust.dids(str(KEY.did)))))


def test_a_did_that_is_too_long_is_not_read() -> None:
    identity = BOB.with_did()
    identity.credential = b"did:web:" + b"a" * 8192
    assert "8192" in str(refused(judged(identity, trust.dids(methods=["web"]))))
    with pytest.raises(ValueError, match="8192"):
        BOB.with_did("did:web:" + "a" * 8192)


# ---------------------------------------------------------------------------------------------- policies


def test_dids_by_name_by_method_and_by_function() -> None:
    found = serving(document())
    asked: list[str] = []

    def function(did: str) -> bool:
        asked.append(did)
        return did.startswith("did:web:gateway.")

    for policy in (trust.dids(OTHER, WEB), trust.dids(methods=["web"]), trust.dids(function)):
        assert welcomed(judged(AT_WEB, policy, answer=found)).identifier == WEB
    assert asked == [WEB, WEB]
    for policy in (trust.dids(WEB), trust.dids(methods=["web", "peer"]), trust.dids(function)):
        error = refused(judged(KEY, policy), alert=AlertCode.ACCESS_DENIED)
        assert "not trusted" in str(error)


def test_policies_of_policies_ask_for_what_one_allows() -> None:
    either = trust.any_of(trust.pinned(MALLORY.public), trust.dids(WEB), trust.dids(str(KEY.did)))
    for identity in (AT_WEB, KEY, MALLORY):
        welcomed(judged(identity, either, answer=serving(document())))
    any_did = trust.any_of(trust.dids(OTHER), trust.anyone(kinds=[DID]))
    assert welcomed(judged(AT_WEB, any_did, answer=serving(document()))).identifier == WEB
    pinned = trust.all_of(trust.dids(WEB), trust.pinned(BOB.public, kinds=[DID]))
    welcomed(judged(AT_WEB, pinned, answer=serving(document())))


def test_keys_may_be_trusted_whichever_did_they_come_in() -> None:
    for policy in (trust.anyone(kinds=[DID]), trust.pinned(BOB.peer_id, kinds=[DID])):
        assert welcomed(judged(KEY, policy)).identifier == KEY.did


def test_who_shows_no_did_is_not_somebody_with_one() -> None:
    pair = judged(BOB, trust.dids(str(KEY.did)))
    assert isinstance(pair.responder.error, NegotiationFailed)
    pair = judged(KEY, trust.anyone())
    assert isinstance(pair.responder.error, NegotiationFailed)


def test_what_is_no_policy() -> None:
    with pytest.raises(ValueError, match="at least"):
        trust.dids()
    with pytest.raises(ValueError, match="no DID"):
        trust.dids("gateway.example")
    with pytest.raises(ValueError, match="leave out #key-1"):
        trust.dids(WEB + "#key-1")
    for methods in ("web", ["did:web"], ["Web"], [""]):
        with pytest.raises(ValueError, match="methods are names"):
            trust.dids(WEB, methods=methods)


# ---------------------------------------------------------------------------------------------- identities


def test_an_identity_keeps_its_did_in_pem() -> None:
    for identity in (KEY, AT_WEB, BOB.with_did(WEB + "#key-1")):
        for passphrase in (None, b"sesame"):
            again = Identity.from_pem(identity.to_pem(passphrase), passphrase)
            assert (again.did, again.credential_type, again.credential) == (identity.did, DID, identity.credential)
            assert again.public == identity.public
    assert BOB.did is None
    assert Identity.from_pem(BOB.to_pem()).did is None
    assert Identity.public_only(BOB.public).with_did(WEB).credential == WEB.encode()


def test_an_identity_presents_no_did_of_somebody_else() -> None:
    with pytest.raises(ValueError, match="of another key"):
        MALLORY.with_did(KEY.did)
    with pytest.raises(ValueError, match="no DID"):
        BOB.with_did("gateway.example")
    with pytest.raises(ValueError, match="another scheme"):
        Identity.generate("ml-dsa-65").with_did(KEY.did)
    with pytest.raises(ValueError, match="of another key"):
        Identity.from_pem(b"DID: %s\n" % str(KEY.did).encode() + MALLORY.to_pem())


def test_parts_of_a_did() -> None:
    url = parse_did("did:web:example.com%3A8443:people:alice#key-1")
    assert (url.method, url.specific, url.fragment) == ("web", "example.com%3A8443:people:alice", "key-1")
    assert str(url) == "did:web:example.com%3A8443:people:alice#key-1"
    assert parse_did("did:example:a::b").did == "did:example:a::b"


# ---------------------------------------------------------------------------------------------- garbage

TEXT = st.text("did:keypwb26MkVE.Sz#%A1é/", max_size=80)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=60), TEXT.map(str.encode), TEXT.map(lambda text: f"did:peer:2{text}".encode())))
def test_a_garbled_did_is_an_authentication_failed(credential: bytes) -> None:
    with suppress(AuthenticationFailed):
        KIND.read(credential, "ed25519")


def test_keys_are_the_presented_ones_only() -> None:
    assert read(str(KEY.did)).keys == (PublicKey("ed25519", BOB.public.data),)
