"""What a credential says beside its keys: kinds of one's own that differ, keys of another scheme, ends that have passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    AlertCode,
    AuthenticationFailed,
    CredentialKind,
    Handshake,
    HandshakeError,
    Identity,
    InvalidMessage,
    Presented,
    PublicKey,
    TrustPolicy,
    VerifiedPeer,
    trust,
)
from nautilus_core.identity.peers import certify, verify_possession
from nautilus_core.steps.authentication import Authentication
from nautilus_core.steps.cipher_suite import SuiteNegotiation, SuiteOptions
from nautilus_core.testing import Pair

from .decentralized import AT_WEB, BOTH, NOW, WEB, document, judged, method, refused, serving, welcomed
from .helpers import BOB, FAST, MALLORY, alice, bob

DID = "did"


class Tokens(CredentialKind):
    """A token of an issuer: its first byte says of which, the rest is the key that it is for."""

    name = "token"
    max_length = 64

    def __init__(self, issuer: int, scheme: str = "", valid_until: datetime | None = None) -> None:
        self._issuer = issuer
        self._scheme = scheme
        self._valid_until = valid_until

    def read(self, credential: bytes, scheme: str) -> Presented:
        if credential[:1] != bytes([self._issuer]):
            raise ValueError("a token of another issuer")
        key = PublicKey(self._scheme or scheme, credential[1:])
        return Presented((key,), identifier="carol", valid_until=self._valid_until)


class Wider(Tokens):
    """A kind that can be joined with another of its name."""

    def either(self, other: CredentialKind) -> CredentialKind:
        return self

    both = either


def token(issuer: int, identity: Identity = BOB) -> Identity:
    return identity.presenting("token", bytes([issuer]) + identity.public.data)


# ------------------------------------------------------------------------------------------- two kinds of one name


@pytest.mark.parametrize("join", [trust.any_of, trust.all_of])
def test_no_policy_judges_what_the_kind_of_another_has_read(join: Any) -> None:
    """Issuer 1 is trusted whoever it names, issuer 2 for Bob alone: together, issuer 2 must not name Mallory."""
    first = trust.anyone(kinds=[Tokens(1)])
    second = trust.pinned(BOB.public, kinds=[Tokens(2)])
    with pytest.raises(ValueError, match="two kinds of credential.*'token'.*either.*both"):
        join(first, second)
    same = Tokens(1)
    policy = join(trust.anyone(kinds=[same]), trust.pinned(BOB.public, kinds=[same]))
    assert welcomed(judged(token(1), policy)).identifier == "carol"
    wide = join(trust.anyone(kinds=[Wider(1)]), trust.anyone(kinds=[Wider(1)]))
    assert welcomed(judged(token(1), wide)).identifier == "carol"
    assert "another issuer" in str(refused(judged(token(2), wide)))


def test_kinds_of_dids_join_with_kinds_of_dids_alone() -> None:
    class Dids(Tokens):
        name = DID

    for kinds in ([Dids(1)], [DID]), ([DID], [Dids(1)]):
        with pytest.raises(ValueError, match="two kinds of credential"):
            trust.any_of(*[trust.anyone(kinds=kind) for kind in kinds])
        with pytest.raises(ValueError, match="two kinds of credential"):
            trust.all_of(*[trust.anyone(kinds=kind) for kind in kinds])


# ------------------------------------------------------------------------------------------- another scheme


@BOTH
def test_a_kind_that_gives_keys_of_another_scheme_than_was_negotiated(judging: Any) -> None:
    """Only ML-DSA is wanted, and said; an Ed25519 key signs."""

    class PostQuantum(TrustPolicy):
        schemes = ("ml-dsa-65",)
        credential_types = ("token",)
        kinds = {"token": Tokens(1, "ed25519")}  # noqa: RUF012

        def authorize(self, peer: Any, context: Any) -> None:
            return None

    thief = token(1)
    thief.scheme = "ml-dsa-65"
    error = refused(judged(thief, PostQuantum(), judging), judging)
    assert "another scheme" in str(error)
    assert error.alert == AlertCode.BAD_CERTIFICATE


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"scheme": "ecdsa-p384-sha384"}, "a signature scheme that was not offered"),
        ({"scheme": "rsa-pss-sha256"}, "a signature scheme that was not offered"),
        ({"scheme": "none"}, "a signature scheme that was not offered"),
        (
            {"credential_type": "did", "credential": str(BOB.with_did().did).encode()},
            "a credential type that was not offered",
        ),
        ({"credential_type": "token"}, "a credential type that was not offered"),
        ({"credential_type": "anonymous"}, "the peer did not say who it is"),
    ],
)
def test_who_signs_with_what_was_not_negotiated_after_all(changed: dict[str, Any], why: str) -> None:
    """The initiator's offers fitted when the suite was selected; what it then shows is another thing."""
    liar = Identity.generate()

    def change(peer: Any, context: Any) -> None:
        for name, value in changed.items():
            setattr(liar, name, value)

    ecdsa = Identity.generate("ecdsa-p256-sha256")
    judge = trust.any_of(trust.pinned(liar.public), trust.pinned(ecdsa.public))
    pair = Pair(alice(identity=liar, trust=trust.decided_by(change)), bob(trust=judge)).run()
    error = pair.responder.error
    assert isinstance(error, HandshakeError)
    assert why in str(error)
    assert pair.responder.handshake.session is None


@pytest.mark.parametrize("kind", ["did", "x509"])
def test_a_pinned_key_is_no_credential_of_another_kind(kind: str) -> None:
    """The policy has the key as an object already; what is presented is read all the same."""
    policy = trust.pinned(BOB.public, kinds=["raw-public-key", kind])
    welcomed(judged(BOB, policy))
    assert refused(judged(BOB.presenting(kind, BOB.public.data), policy)).alert == AlertCode.BAD_CERTIFICATE


@BOTH
@pytest.mark.parametrize("shown", [(b"x", "", b""), (b"", "ed25519", b""), (b"", "", b"x")])
def test_an_anonymous_peer_presents_nothing(shown: tuple[bytes, str, bytes], judging: Any) -> None:
    class Half(Authentication):
        def write(self, context: Any) -> Any:
            return self.message("anonymous", *shown)

    step = f"{judging.peer.value}-authentication"
    policy = trust.anyone(anonymous=True)
    judge, other = (alice, bob) if judging is INITIATOR else (bob, alice)
    negotiation = SuiteNegotiation(SuiteOptions.of(FAST, ANONYMOUS, trust.anyone(anonymous=True), {}))
    liar = other(identity=ANONYMOUS, trust=policy).replace(step, lambda: Half(judging.peer, negotiation))
    ends = (judge(trust=policy), liar) if judging is INITIATOR else (liar, judge(trust=policy))
    pair = Pair(*ends).run()
    error = (pair.initiator if judging is INITIATOR else pair.responder).error
    assert isinstance(error, InvalidMessage)
    assert "anonymous peer that presents something" in str(error)
    assert error.alert == AlertCode.ILLEGAL_PARAMETER


# ------------------------------------------------------------------------------------------- ends that have passed

PAST = NOW - timedelta(seconds=1)


@BOTH
@pytest.mark.parametrize(
    "policy",
    [trust.dids(WEB), trust.anyone(kinds=[DID]), trust.pinned(BOB.public, kinds=[DID]), trust.any_of(trust.dids(WEB))],
    ids=["dids", "anyone", "pinned", "any_of"],
)
def test_a_key_that_has_expired_names_nobody_whoever_judges(policy: TrustPolicy, judging: Any) -> None:
    expired = serving(document(method(expires=PAST.isoformat())))
    error = refused(judged(AT_WEB, policy, judging, answer=expired), judging)
    assert "expired" in str(error)
    assert error.hint


@pytest.mark.parametrize("now", [None, NOW.replace(tzinfo=None)])
def test_a_key_that_expires_counts_for_nobody_who_has_no_clock(now: datetime | None) -> None:
    """What the peer's document says must not decide whether there is an error of the application."""
    ending = serving(document(method(expires=(NOW + timedelta(days=1)).isoformat())))
    error = refused(judged(AT_WEB, trust.dids(WEB), answer=ending, now=now))
    assert "wall_time=" in str(error)
    welcomed(judged(AT_WEB, trust.dids(WEB), answer=serving(document()), now=now))


def test_a_kinds_own_end_counts() -> None:
    policy = trust.anyone(kinds=[Tokens(1, valid_until=NOW)])
    assert welcomed(judged(token(1), policy, now=NOW.astimezone(timezone(timedelta(hours=-9))))).valid_until == NOW
    assert "expired" in str(refused(judged(token(1), policy, now=NOW + timedelta(seconds=1))))


def test_each_key_of_a_document_has_an_end_of_its_own() -> None:
    """An old key that is still listed neither ends the session of a new one, nor signs any more."""
    later = NOW + timedelta(days=9)
    found = serving(
        document(
            method(MALLORY, "#old", expires=PAST.isoformat()),
            method(BOB, "#new", expires=later.isoformat()),
            method(Identity.generate(), "#third"),
        )
    )
    assert welcomed(judged(AT_WEB, trust.dids(WEB), answer=found)).valid_until == later
    assert "expired" in str(refused(judged(MALLORY.with_did(WEB), trust.dids(WEB), answer=found)))


def test_what_a_policy_certifies_lasts_no_longer_than_the_credential() -> None:
    soon, late = datetime(2030, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
    presented = Presented((BOB.public,), valid_until=soon)
    peer = verify_possession("token", presented, BOB.sign(b"x"), b"x")
    assert peer.valid_until == soon
    assert certify(peer, ("a",), late).valid_until == soon
    assert certify(peer, ("a",), None).valid_until == soon
    assert certify(certify(peer, ("a",), datetime(2029, 1, 1, tzinfo=UTC)), ("b",), late).valid_until < soon  # type: ignore[operator]


# ------------------------------------------------------------------------------------------- no proof


def test_who_presents_no_key_proves_nothing() -> None:
    class Keyless(Tokens):
        def read(self, credential: bytes, scheme: str) -> Presented:
            return Presented((), identifier="carol")

    pair = judged(token(1), trust.anyone(kinds=[Keyless(1)]))
    assert "did not prove" in str(refused(pair, alert=AlertCode.DECRYPT_ERROR))


def test_no_caller_makes_a_verified_peer() -> None:
    for proof in (object(), None, True):
        with pytest.raises(TypeError, match="only the verification"):
            VerifiedPeer(proof, "did", BOB.public)
    peer = welcomed(judged(BOB.with_did(), trust.dids(methods=["key"])))
    with pytest.raises(AttributeError, match="does not change"):
        peer.identifier = "did:web:other.example"


def test_a_credential_over_the_bound_of_its_kind_is_not_read() -> None:
    long = BOB.presenting("token", bytes([1]) * 65)
    assert "at most 64" in str(refused(judged(long, trust.anyone(kinds=[Tokens(1)]))))


def test_an_error_of_a_kind_is_the_peers_and_a_bug_is_ours() -> None:
    class Broken(Tokens):
        def read(self, credential: bytes, scheme: str) -> Presented:
            raise KeyError(scheme)

    pair = Pair(
        Handshake(INITIATOR, alice(trust=trust.anyone(kinds=[Broken(1)]))), bob(identity=token(1), trust=trust.anyone())
    ).run()
    assert isinstance(pair.initiator.error, KeyError)
    assert pair.initiator.handshake.session is None
    assert not isinstance(pair.initiator.error, AuthenticationFailed)
