"""X.509 chains: who is certified is welcome under the certified names, and everybody else is refused for the right reason."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Handshake,
    Identity,
    InMemoryKnownPeers,
    LocalProtocolError,
    NegotiationFailed,
    PublicKey,
    Role,
    TrustPolicy,
    VerifiedPeer,
    trust,
)
from nautilus_core.crypto.signatures import CERTIFIED_SCHEMES, SCHEMES
from nautilus_core.identity.credentials import RawPublicKeys
from nautilus_core.identity.kinds import KINDS
from nautilus_core.identity.self_signed import self_signed
from nautilus_core.identity.x509 import X509Chains, encode_chain
from nautilus_core.testing import Pair, alert_of
from nautilus_core.transcript import replay

from .certificates import CLIENT, KEYS, NOW, SERVER, Made, authority, identity, issue
from .helpers import ALICE, BOB, alice, bob
from .transcript.recording import Recorded

NAME = "gateway.example"
ROOT = authority()
MIDDLE = ROOT.issue(subject="Middle", ca=True)
LEAF = MIDDLE.issue()
GATEWAY = identity(LEAF, MIDDLE)
BOTH = pytest.mark.parametrize("judging", [INITIATOR, RESPONDER], ids=lambda role: role.value)


def judged(presents: Any, policy: TrustPolicy, judging: Role = INITIATOR, now: datetime | None = NOW) -> Pair:
    """A handshake in which `judging` has this policy, and the other end this identity."""
    if judging is INITIATOR:
        profiles = alice(trust=policy), bob(identity=presents, trust=trust.anyone())
    else:
        profiles = alice(identity=presents, trust=trust.anyone()), bob(trust=policy)
    ends = [Handshake(role, profile, wall_time=now) for role, profile in zip(Role, profiles, strict=True)]
    return Pair(*ends).run()


def policy_for(judging: Role, *roots: Made, **options: Any) -> TrustPolicy:
    wanted = {"name": NAME} if judging is INITIATOR else {}
    return trust.authorities([root.certificate for root in roots or (ROOT,)], **wanted | options)


def welcomed(pair: Pair, judging: Role = INITIATOR) -> VerifiedPeer:
    end = pair.initiator if judging is INITIATOR else pair.responder
    peer = end.session.peer
    assert isinstance(peer, VerifiedPeer)
    return peer


def refused(pair: Pair, judging: Role = INITIATOR) -> AuthenticationFailed:
    judge, other = (pair.initiator, pair.responder) if judging is INITIATOR else (pair.responder, pair.initiator)
    assert isinstance(judge.error, AuthenticationFailed), judge.error
    assert judge.handshake.session is None
    if judging is INITIATOR:  # it finishes first: as it is refused later, it learns it from the channel
        assert alert_of(other) == judge.error.alert
    return judge.error


# ------------------------------------------------------------------------------------------------ who is certified


@BOTH
@pytest.mark.parametrize("scheme", CERTIFIED_SCHEMES)
def test_a_key_of_every_scheme_is_certified(scheme: str, judging: Role) -> None:
    leaf = MIDDLE.issue(KEYS[scheme], ends=timedelta(days=7))
    pair = judged(identity(leaf, MIDDLE), policy_for(judging), judging)
    peer = welcomed(pair, judging)
    assert (peer.credential_type, peer.public_key.scheme, peer.names) == ("x509", scheme, (NAME,))
    assert peer.valid_until == NOW + timedelta(days=7)
    session = (pair.initiator if judging is INITIATOR else pair.responder).session
    session.revalidate(NOW + timedelta(days=6))
    with pytest.raises(AuthenticationFailed, match="expired in the meantime"):
        session.revalidate(NOW + timedelta(days=8))


@BOTH
@pytest.mark.parametrize("scheme", [scheme for scheme in CERTIFIED_SCHEMES if scheme != "ed25519"])
def test_an_authority_has_a_key_of_every_scheme_but_one(scheme: str, judging: Role) -> None:
    root = authority(scheme, f"Root {scheme}")
    assert welcomed(judged(identity(root.issue()), policy_for(judging, ROOT, root), judging), judging).names == (NAME,)


def test_an_authority_with_ed25519_is_refused_and_it_is_said_why() -> None:
    root = authority("ed25519", "Modern")
    error = refused(judged(identity(root.issue()), policy_for(INITIATOR, root)))
    assert "Ed25519" in str(error)
    assert "only the peer's own key" in str(error.hint)


def test_what_counts_until_when_is_the_shortest_of_the_path() -> None:
    root = authority(subject="Short", ends=timedelta(days=3))
    assert welcomed(judged(identity(root.issue()), policy_for(INITIATOR, root))).valid_until == NOW + timedelta(days=3)


def test_the_root_may_come_along() -> None:
    assert welcomed(judged(identity(LEAF, MIDDLE, ROOT), policy_for(INITIATOR))).names == (NAME,)


@pytest.mark.parametrize("name", ["10.0.0.7", "::1", "a.fleet.example", "GATEWAY.example", "gateway.example."])
def test_names_and_addresses_are_matched(name: str) -> None:
    leaf = ROOT.issue(names=["10.0.0.7", "::1", "*.fleet.example", NAME], uris=["spiffe://fleet/gateway"])
    peer = welcomed(judged(identity(leaf), policy_for(INITIATOR, name=name)))
    assert peer.names == ("*.fleet.example", NAME, "10.0.0.7", "::1", "spiffe://fleet/gateway")


def test_a_dns_name_that_looks_like_something_else_is_no_name() -> None:
    leaf = ROOT.issue(names=["10.0.0.7.", "spiffe://root", "admin@example", NAME])
    assert welcomed(judged(identity(leaf), policy_for(RESPONDER), RESPONDER), RESPONDER).names == (NAME,)


def test_a_responder_may_want_one_name() -> None:
    assert welcomed(judged(GATEWAY, policy_for(RESPONDER, name=NAME.upper()), RESPONDER), RESPONDER).names == (NAME,)
    error = refused(judged(GATEWAY, policy_for(RESPONDER, name="other.example"), RESPONDER), RESPONDER)
    assert error.message == "the peer's certificate is for another name"


def test_a_time_is_one_in_every_zone() -> None:
    east = timezone(timedelta(hours=14))
    welcomed(judged(GATEWAY, policy_for(INITIATOR), now=NOW.astimezone(east)))
    late = identity(ROOT.issue(ends=timedelta(hours=1)))
    welcomed(judged(late, policy_for(INITIATOR), now=NOW.astimezone(east)))
    refused(
        judged(late, policy_for(INITIATOR), now=(NOW + timedelta(hours=2)).astimezone(timezone(timedelta(hours=-12))))
    )


@BOTH
def test_a_self_signed_certificate_is_its_own_authority(judging: Role) -> None:
    for key in KEYS.values():
        certificate = self_signed(key, [NAME, "127.0.0.1"], now=NOW)
        me = Identity.with_certificates(key, [certificate])
        policy = policy_for(judging, Made(key, certificate))
        assert welcomed(judged(me, policy, judging), judging).names == (NAME, "127.0.0.1")
        other = issue(ec.generate_private_key(ec.SECP256R1()), subject=NAME)
        assert "unknown authority" in str(refused(judged(identity(other), policy, judging), judging))
    with pytest.raises(ValueError, match="time zone"):
        self_signed(key, [], now=NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({"purposes": [CLIENT]}, "another purpose"),
        ({"names": ["other.example"]}, "another name"),
        ({"ends": timedelta(seconds=-1)}, "expired"),
        ({"may_sign": False}, "must not make signatures"),
    ],
)
def test_one_that_is_its_own_authority_is_judged_as_any_other(wishes: dict[str, Any], why: str) -> None:
    alone = issue(ec.generate_private_key(ec.SECP256R1()), **wishes)
    assert why in str(refused(judged(identity(alone), policy_for(INITIATOR, alone))))


# ------------------------------------------------------------------------------------------------ who is not


OTHER = authority()  # of the same name
WRONG: dict[str, tuple[Any, str]] = {
    "expired": ([ROOT.issue(ends=timedelta(seconds=-1))], "has expired"),
    "expired in between": (
        [(old := ROOT.issue(subject="Old", ca=True, ends=timedelta(seconds=-1))).issue(), old],
        "has expired",
    ),
    "not yet valid": ([ROOT.issue(begins=timedelta(seconds=1))], "not yet valid"),
    "unknown authority": (
        [authority(subject="Elsewhere").issue()],
        "unknown authority; expected one of CN=Root; got CN=E",
    ),
    "a root of the same name": ([OTHER.issue()], "which has another key"),
    "that root comes along": ([OTHER.issue(), OTHER], "unknown authority"),
    "one in between is missing": ([LEAF], "unknown authority; expected one of CN=Root; got CN=Middle"),
    "one in between is forged": (
        [authority(subject="Middle").issue(), MIDDLE],
        "not signed by its issuer; expected a signature by CN=Middle",
    ),
    "a leaf as an authority": ([LEAF.issue(subject="below"), LEAF, MIDDLE], "do not verify"),
    "an authority as the peer": ([MIDDLE], "another purpose; expected one of a peer"),
    "the authority itself": ([ROOT], "another purpose"),
    "may not sign": ([ROOT.issue(may_sign=False)], "must not make signatures"),
    "a weak digest": ([ROOT.issue(digest=hashes.SHA224())], "weak digest"),
    "no name at all": ([ROOT.issue(names=())], ""),
}


@BOTH
@pytest.mark.parametrize("case", WRONG)
def test_who_is_not_certified_is_refused(case: str, judging: Role) -> None:
    chain, why = WRONG[case]
    error = refused(judged(identity(*chain), policy_for(judging), judging), judging)
    assert why in str(error)
    assert error.alert == AlertCode.ACCESS_DENIED


def test_too_many_in_between_are_refused() -> None:
    chain = [ROOT]
    for number in range(3):
        chain.insert(0, chain[0].issue(subject=f"CA {number}", ca=True))
    chain.insert(0, chain[0].issue())
    welcomed(judged(identity(*chain), policy_for(INITIATOR, max_depth=3)))
    assert "depth" in str(refused(judged(identity(*chain), policy_for(INITIATOR, max_depth=2))))


@BOTH
def test_the_purpose_is_that_of_the_role(judging: Role) -> None:
    right, wrong = (SERVER, CLIENT) if judging is INITIATOR else (CLIENT, SERVER)
    welcomed(judged(identity(ROOT.issue(purposes=[right])), policy_for(judging), judging), judging)
    welcomed(judged(identity(ROOT.issue(purposes=[])), policy_for(judging), judging), judging)
    error = refused(judged(identity(ROOT.issue(purposes=[wrong])), policy_for(judging), judging), judging)
    assert error.message == "the peer's certificate is for another purpose"
    assert ("serverAuth" if judging is INITIATOR else "clientAuth") in str(error.expected)


@pytest.mark.parametrize("name", ["other.example", "sub.gateway.example", "10.0.0.7", "example"])
def test_another_name_is_refused(name: str) -> None:
    error = refused(judged(GATEWAY, policy_for(INITIATOR, name=name)))
    assert (error.message, error.expected) == ("the peer's certificate is for another name", name)
    assert error.received == NAME


def test_a_weak_key_is_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    with pytest.raises(ValueError, match="RSA with 1024 bits|RSA key of 1024 bits"):
        identity(ROOT.issue(weak))
    me = identity(ROOT.issue(KEYS["rsa-pss-sha256"]))
    me.credential = msgspec.msgpack.encode([ROOT.issue(weak).certificate.public_bytes(Encoding.DER)])
    assert "1024 bits" in str(refused(judged(me, policy_for(INITIATOR))))
    assert "RSA with 2048 bits" in str(
        refused(judged(identity(ROOT.issue(KEYS["rsa-pss-sha256"])), policy_for(INITIATOR, min_rsa_bits=3072)))
    )
    with pytest.raises(ValueError, match="weak key: RSA with 1024 bits"):
        policy_for(INITIATOR, issue(weak, subject="Weak", ca=True))


@pytest.mark.parametrize("place", [0, 1])
def test_an_altered_certificate_is_refused(place: int) -> None:
    chain = [made.certificate.public_bytes(Encoding.DER) for made in (LEAF, MIDDLE)]
    changed = bytearray(chain[place])
    changed[-1] ^= 1  # in its signature
    chain[place] = bytes(changed)
    me = identity(LEAF, MIDDLE)
    me.credential = msgspec.msgpack.encode(chain)
    assert "signed by its issuer" in str(error := refused(judged(me, policy_for(INITIATOR)))) or place == 1, error


def test_another_order_is_refused() -> None:
    for chain in ([LEAF, ROOT, MIDDLE], [LEAF, ROOT], [LEAF, LEAF, MIDDLE]):
        with pytest.raises(ValueError, match="out of order"):
            identity(*chain)
    me = identity(LEAF, MIDDLE)
    me.credential = msgspec.msgpack.encode(
        [made.certificate.public_bytes(Encoding.DER) for made in (LEAF, ROOT, MIDDLE)]
    )
    error = refused(judged(me, policy_for(INITIATOR)))
    assert "certificate 1 is issued by CN=Middle, and the next is of CN=Root" in str(error)
    assert error.alert == AlertCode.BAD_CERTIFICATE


def test_many_paths_are_not_tried() -> None:
    with pytest.raises(ValueError, match="two certificates of one subject"):
        identity(LEAF, MIDDLE, ROOT, OTHER)


def test_a_certificate_of_somebody_else_proves_nothing() -> None:
    mallory = identity(authority(subject="Mallory's").issue())
    mallory.credential = GATEWAY.credential
    assert "did not prove" in str(refused(judged(mallory, policy_for(INITIATOR))))


def test_another_scheme_than_the_key_has_is_an_error_of_its_own() -> None:
    me = identity(LEAF, MIDDLE)
    me.scheme = "ed25519"
    error = refused(judged(me, policy_for(INITIATOR)))
    assert (error.expected, error.received) == ("ecdsa-p256-sha256", "ed25519")
    assert "another scheme" in error.message


@pytest.mark.parametrize("now", [None, NOW.replace(tzinfo=None)])
def test_without_a_time_certificates_cannot_be_judged(now: datetime | None) -> None:
    pair = judged(GATEWAY, policy_for(INITIATOR), now=now)
    assert isinstance(pair.initiator.error, LocalProtocolError)
    assert "wall_time=" in str(pair.initiator.error)


def test_who_dials_says_whom() -> None:
    nameless = trust.authorities([ROOT.certificate])
    for policy in (
        nameless,
        trust.any_of(trust.anyone(), nameless),
        trust.decided_by(lambda peer, context: None, nameless),
    ):
        with pytest.raises(ValueError, match="the initiator wants the name that was dialled: name="):
            judged(GATEWAY, policy)
        names = welcomed(judged(GATEWAY, policy, RESPONDER), RESPONDER).names
        assert names == (NAME,)  # what one policy has verified, a function that says no more does not take away
    unchecked = replace(alice(trust=nameless), check=None)
    pair = Pair(Handshake(INITIATOR, unchecked, wall_time=NOW), bob(identity=GATEWAY, trust=trust.anyone())).run()
    assert isinstance(pair.initiator.error, LocalProtocolError)


def test_wrong_options_are_refused_early() -> None:
    root = [ROOT.certificate]
    for name in ("", "*.example", "a b", "a..b", "https://x", "10.0.0"):
        with pytest.raises(ValueError, match="no DNS name"):
            trust.authorities(root, name=name)
    with pytest.raises(ValueError, match="at least one"):
        trust.authorities([])
    for pem in (b"", b"nothing", ALICE.to_pem()):
        with pytest.raises(ValueError, match="no certificates in PEM"):
            trust.authorities(pem)
    with pytest.raises(ValueError, match="max_depth"):
        trust.authorities(root, max_depth=8)
    with pytest.raises(ValueError, match="min_rsa_bits"):
        trust.authorities(root, min_rsa_bits=1024)


# ------------------------------------------------------------------------------------------------ beside other kinds


def test_raw_keys_and_chains_are_told_apart_in_negotiation() -> None:
    pair = judged(BOB, policy_for(INITIATOR))
    assert isinstance(pair.responder.error, NegotiationFailed)
    pair = judged(GATEWAY, trust.anyone())
    assert isinstance(pair.responder.error, NegotiationFailed)
    assert "'x509'" in str(pair.responder.error)


def test_policies_by_key_take_chains_where_they_are_told_to() -> None:
    late = identity(ROOT.issue(KEYS["rsa-pss-sha256"], ends=timedelta(days=-1)))
    store = InMemoryKnownPeers()
    for policy in (
        trust.pinned(late.public, kinds=["x509"]),
        trust.pinned(late.peer_id, kinds=["raw-public-key", "x509"]),
        trust.anyone(kinds=["x509"]),
        trust.known_peers(store, name=NAME, accept_new=True, kinds=["x509"]),
        trust.any_of(trust.pinned(BOB.public), trust.anyone(kinds=["x509"])),
    ):
        peer = welcomed(judged(late, policy))
        assert (peer.credential_type, peer.names, peer.valid_until) == ("x509", (), None)  # nobody has verified those
    assert store.lookup(NAME) == {late.peer_id}
    assert "not a pinned one" in str(refused(judged(GATEWAY, trust.pinned(BOB.peer_id, kinds=["x509"]))))
    for kinds, why in ((["x500"], "no kind of credential 'x500'"), ([], "one kind of credential")):
        with pytest.raises(ValueError, match=why):
            trust.anyone(kinds=kinds)
    assert trust.anyone(kinds=[X509Chains()]).credential_types == ("x509",)


def test_all_of_joins_an_authority_and_known_peers() -> None:
    store = InMemoryKnownPeers()
    both = trust.all_of(policy_for(INITIATOR), trust.known_peers(store, name=NAME, accept_new=True, kinds=["x509"]))
    assert welcomed(judged(GATEWAY, both)).names == (NAME,)
    again = identity(MIDDLE.issue(), MIDDLE)
    assert "another key than before" in str(refused(judged(again, both)))


def test_any_of_takes_a_raw_key_or_a_chain() -> None:
    policy = trust.any_of(trust.pinned(BOB.public), policy_for(INITIATOR))
    assert welcomed(judged(BOB, policy)).names == ()
    assert welcomed(judged(GATEWAY, policy)).names == (NAME,)


def test_an_rsa_key_stands_in_certificates_alone() -> None:
    key = KEYS["rsa-pss-sha256"]
    with pytest.raises(ValueError, match="needs a certificate"):
        Identity(key)
    assert "rsa-pss-sha256" not in RawPublicKeys.schemes
    assert "rsa-pss-sha256" not in trust.anyone().schemes
    certified = identity(ROOT.issue(key))
    bare = identity(ROOT.issue(key))
    bare.credential_type, bare.credential = "raw-public-key", bare.public.data
    both = ["raw-public-key", "x509"]
    for policy in (trust.anyone(kinds=both), trust.pinned(certified.public, kinds=both)):
        welcomed(judged(certified, policy))
        assert not judged(bare, policy).initiator.completed
    for data in (b"", bytes(32), certified.public.data + b"\0"):
        with pytest.raises(ValueError):
            PublicKey("rsa-pss-sha256", data)
    assert set(SCHEMES) < set(CERTIFIED_SCHEMES)


# ------------------------------------------------------------------------------------------------ identities in files


def test_an_identity_keeps_its_chain_in_pem() -> None:
    for passphrase in (None, b"secret"):
        pem = GATEWAY.to_pem(passphrase)
        again = Identity.from_pem(pem, passphrase)
        assert (again.credential, again.certificates) == (GATEWAY.credential, GATEWAY.certificates)
    key = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = b"".join(made.certificate.public_bytes(Encoding.PEM) for made in (LEAF, MIDDLE))
    for me in (
        Identity.from_pem(key, certificates=chain),
        Identity.from_pem(chain + key),
        Identity.from_pem(key + chain),
    ):
        assert me.credential == GATEWAY.credential
    assert Identity.from_pem(key).credential_type == "raw-public-key"
    with pytest.raises(ValueError, match="for another key"):
        Identity.from_pem(ALICE.to_pem(), certificates=chain)
    with pytest.raises(ValueError, match="for another key"):
        Identity.with_certificates(MIDDLE.key, GATEWAY.certificates)
    with pytest.raises(ValueError, match="at least the certificate"):
        Identity.with_certificates(LEAF.key, [])
    with pytest.raises(ValueError, match="no PKCS#8 private key"):
        Identity.from_pem(chain)
    shown = Identity.public_only(GATEWAY.public, GATEWAY.certificates)
    assert (shown.credential_type, shown.credential) == ("x509", GATEWAY.credential)


def test_a_recorded_handshake_is_judged_by_the_recorded_time() -> None:
    sides = (
        alice(trust=policy_for(INITIATOR)),
        bob(identity=GATEWAY, trust=trust.anyone()),
    )
    recorded = Recorded(*sides, wall_time=NOW)
    without_key = bob(identity=Identity.public_only(GATEWAY.public, GATEWAY.certificates), trust=trust.anyone())
    for file, side in zip(recorded.files, (sides[0], without_key), strict=True):
        assert replay(file, side).full


# ------------------------------------------------------------------------------------------------ by other makers


def test_certificates_of_trustme() -> None:
    root, elsewhere = trustme.CA(), trustme.CA()
    issued = root.issue_cert(NAME, "127.0.0.1", "*.fleet.example")
    me = Identity.from_pem(
        issued.private_key_pem.bytes(), certificates=b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    )
    now = me.certificates[0].not_valid_before_utc + timedelta(days=1)
    for judging in Role:
        names = {"name": "127.0.0.1"} if judging is INITIATOR else {}
        policy = trust.authorities(root.cert_pem.bytes(), **names)  # type: ignore[arg-type]
        assert set(welcomed(judged(me, policy, judging, now), judging).names) == {NAME, "127.0.0.1", "*.fleet.example"}
        policy = trust.authorities(elsewhere.cert_pem.bytes(), **names)  # type: ignore[arg-type]
        assert "unknown authority" in str(refused(judged(me, policy, judging, now), judging))
    child = root.create_child_ca()
    below = child.issue_cert(NAME)
    chain = b"".join(blob.bytes() for blob in below.cert_chain_pems)
    me = Identity.from_pem(below.private_key_pem.bytes(), certificates=chain)
    assert len(me.certificates) >= 2
    now = max(certificate.not_valid_before_utc for certificate in me.certificates) + timedelta(days=1)
    assert welcomed(judged(me, trust.authorities(root.cert_pem.bytes(), name=NAME), now=now)).names == (NAME,)


OPENSSL_KEYS = {
    "ecdsa-p256-sha256": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ecdsa-p384-sha384": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "rsa-pss-sha256": ["-newkey", "rsa:2048"],
    "ed25519": ["-newkey", "ed25519"],
}


def openssl(folder: Path, *arguments: str) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("there is no openssl command to make certificates with")
    subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize("scheme", OPENSSL_KEYS)
def test_certificates_of_openssl(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "leaf.cnf").write_text(
        f"basicConstraints=critical,CA:false\nsubjectAltName=DNS:{NAME},IP:127.0.0.1\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=serverAuth,clientAuth\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    )
    root = [*OPENSSL_KEYS["ecdsa-p256-sha256"], "-noenc", "-addext", "keyUsage=critical,keyCertSign"]
    openssl(tmp_path, "req", "-x509", *root, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=Root")
    openssl(
        tmp_path, "req", *OPENSSL_KEYS[scheme], "-noenc", "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=leaf"
    )
    sign = ["x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "20"]
    openssl(tmp_path, *sign, "-extfile", "leaf.cnf", "-out", "leaf.pem")
    openssl(tmp_path, *sign, "-extfile", "leaf.cnf", "-out", "sha1.pem", "-sha1")
    key = (tmp_path / "leaf.key").read_bytes()
    roots = (tmp_path / "ca.pem").read_bytes()
    me = Identity.from_pem(key, certificates=(tmp_path / "leaf.pem").read_bytes())
    now = me.certificates[0].not_valid_before_utc + timedelta(hours=1)
    peer = welcomed(judged(me, trust.authorities(roots, name="127.0.0.1"), now=now))
    assert (peer.public_key.scheme, peer.names) == (scheme, (NAME, "127.0.0.1"))
    old = Identity.from_pem(key, certificates=(tmp_path / "sha1.pem").read_bytes())
    assert "weak digest" in str(refused(judged(old, trust.authorities(roots, name=NAME), now=now)))


# ------------------------------------------------------------------------------------------------ garbage


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.lists(st.binary(max_size=60), max_size=10).map(msgspec.msgpack.encode))
def test_garbage_is_refused(credential: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        X509Chains().read(credential, "ed25519")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_chain_with_a_changed_byte_is_never_believed(data: st.DataObject) -> None:
    chain = [made.certificate.public_bytes(Encoding.DER) for made in (LEAF, MIDDLE)]
    place = data.draw(st.integers(0, 1))
    changed = bytearray(chain[place])
    byte = data.draw(st.integers(0, len(changed) - 1))
    changed[byte] ^= data.draw(st.integers(1, 255))
    # how many bits of the signature's last byte do not count stands outside of what is signed, and says nothing
    assume(byte != len(changed) - len((LEAF, MIDDLE)[place].certificate.signature) - 1)
    me = identity(LEAF, MIDDLE)
    me.credential = msgspec.msgpack.encode(
        [bytes(changed) if number == place else one for number, one in enumerate(chain)]
    )
    pair = judged(me, policy_for(INITIATOR))
    if pair.initiator.completed:  # in the encoding of the signature: nothing of what is signed has changed
        seen: Any = welcomed(pair).evidence
        originals = (LEAF, MIDDLE)
        assert [one.tbs_certificate_bytes for one in seen] == [
            one.certificate.tbs_certificate_bytes for one in originals
        ]
        assert seen[place].signature == originals[place].certificate.signature
    else:
        refused(pair)


def test_the_bounds_of_a_chain() -> None:
    der = LEAF.certificate.public_bytes(Encoding.DER)
    for credential, why in (
        (msgspec.msgpack.encode([]), "no list of 1 to 8"),
        (msgspec.msgpack.encode([der] * 9), "no list of 1 to 8"),
        (msgspec.msgpack.encode([bytes(16_385)]), "no list of 1 to 8"),
        (msgspec.msgpack.encode([der + b"\0"]), "ExtraData"),
        (b"\xdc\x00\x01" + msgspec.msgpack.encode(der), "shortest form"),
        (msgspec.msgpack.encode([der, der]), "out of order"),
    ):
        with pytest.raises(AuthenticationFailed, match=why):
            X509Chains().read(credential, "ecdsa-p256-sha256")
    big = ROOT.issue(names=[f"host-{number}.example" for number in range(900)])
    with pytest.raises(ValueError, match="at most 16384 bytes"):
        encode_chain([big.certificate])
    with pytest.raises(ValueError, match="no signature scheme here uses"):
        encode_chain([ROOT.issue(ec.generate_private_key(ec.SECP521R1())).certificate])
    assert KINDS["x509"].max_length == 32_768
    assert isinstance(KINDS["x509"].read(GATEWAY.credential, "ecdsa-p256-sha256").evidence[0], x509.Certificate)  # type: ignore[union-attr, index]
