"""Each way in which a credential can be bad, as both roles see it: an error of its own with a hint here, one alert there.

The table is that of what a peer can get wrong; the details of each kind have tests of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Entropy,
    Handshake,
    HandshakeError,
    Identity,
    NegotiationFailed,
    PeerAborted,
    PreSharedKey,
    Role,
    TrustPolicy,
    profiles,
    trust,
)
from nautilus_core.identity.did_document import MAX_DOCUMENT
from nautilus_core.identity.multikey import encode_multibase
from nautilus_core.testing import End, Pair, alert_of

from .certificates import CLIENT, KEYS, NOW, SERVER, Made, authority, identity
from .decentralized import WEB, document, method, serving
from .helpers import ALICE, BOB, FAST, MALLORY
from .test_identity_attacks import Stolen, proof_of, without_key

ROOT: Final = authority()
MIDDLE: Final = ROOT.issue(subject="Middle", ca=True)
NAME: Final = "gateway.example"
AT_WEB: Final = BOB.with_did(WEB)
BAD_CERTIFICATE, ACCESS_DENIED, DECRYPT_ERROR = (
    AlertCode.BAD_CERTIFICATE,
    AlertCode.ACCESS_DENIED,
    AlertCode.DECRYPT_ERROR,
)


@dataclass
class Case:
    """What a peer presents, whom this side wants, and what comes of it."""

    message: str
    presents: Any
    wants: Callable[[Role], TrustPolicy]
    alert: int
    answer: Callable[[Any], None] | None = None
    entropy: Entropy | None = None
    options: dict[str, Any] = field(default_factory=dict)


def certified(judging: Role) -> TrustPolicy:
    return trust.authorities([ROOT.certificate], name=NAME if judging is INITIATOR else None)


def named(judging: Role) -> TrustPolicy:
    return trust.authorities([ROOT.certificate], name="other.example")


def at_web(judging: Role) -> TrustPolicy:
    return trust.dids(WEB, methods=["key", "peer"])


def raw(chain: list[Made]) -> Identity:
    """Who presents these certificates whether or not anybody would read them."""
    me = Identity.with_certificates(chain[0].key, [chain[0].certificate])
    me.credential = msgspec.msgpack.encode([made.certificate.public_bytes(Encoding.DER) for made in chain])
    return me


def of_key(data: bytes, base: Identity = BOB) -> Identity:
    return base.presenting("raw-public-key", data)


def did(text: str) -> Identity:
    return BOB.presenting("did", text.encode())


def scheme(name: str, base: Identity) -> Identity:
    base.scheme = name
    return base


def down(question: Any) -> None:
    question.unresolvable("gateway.example did not answer in 5 seconds")


def wrong_purpose(judging: Role) -> Identity:
    return identity(ROOT.issue(purposes=[CLIENT if judging is INITIATOR else SERVER]))


WEAK = rsa.generate_private_key(65_537, 1024)
NOTHING = b"\xed\x01" + bytes(32)

CASES: dict[str, Case] = {
    "expired": Case("has expired", identity(ROOT.issue(ends=timedelta(seconds=-1))), certified, ACCESS_DENIED),
    "not yet valid": Case(
        "is not yet valid", identity(ROOT.issue(begins=timedelta(seconds=1))), certified, ACCESS_DENIED
    ),
    "wrong name": Case("is for another name", identity(ROOT.issue()), named, ACCESS_DENIED),
    "wrong purpose": Case("is for another purpose", wrong_purpose, certified, ACCESS_DENIED),
    "unknown authority": Case("unknown authority", identity(authority(subject="X").issue()), certified, ACCESS_DENIED),
    "not signed by its issuer": Case(
        "not signed by its issuer", identity(authority(subject="Middle").issue(), MIDDLE), certified, ACCESS_DENIED
    ),
    "against the rules": Case(
        "do not verify", identity((low := ROOT.issue(subject="Low")).issue(subject="x"), low), certified, ACCESS_DENIED
    ),
    "chain out of order": Case(
        "certificates are not usable", raw([MIDDLE.issue(), ROOT, MIDDLE]), certified, BAD_CERTIFICATE
    ),
    "weak key": Case(
        "has a weak key",
        identity(ROOT.issue(KEYS["rsa-pss-sha256"])),
        lambda judging: trust.authorities(
            [ROOT.certificate], name=NAME if judging is INITIATOR else None, min_rsa_bits=3072
        ),
        ACCESS_DENIED,
    ),
    "a key that is no key": Case("is not usable", of_key(bytes(32)), lambda _: trust.anyone(), BAD_CERTIFICATE),
    "key not under authentication": Case(
        "does not stand under authentication",
        BOB.with_did(WEB + "#mine"),
        at_web,
        BAD_CERTIFICATE,
        serving(document(method(MALLORY), method(name="#mine"), authentication=["#key-1"])),
    ),
    "unknown method": Case("a method that is not known here", did("did:peer:1zQmZ"), at_web, BAD_CERTIFICATE),
    "a method that nobody resolves": Case(
        "could not be resolved",
        AT_WEB,
        at_web,
        BAD_CERTIFICATE,
        lambda question: question.unresolvable("did:web is an unknown method here"),
    ),
    "document for another DID": Case(
        "is for another DID", AT_WEB, at_web, BAD_CERTIFICATE, serving(document(did="did:web:other.example"))
    ),
    "malformed multibase": Case("is malformed", did("did:key:z0OIl"), at_web, BAD_CERTIFICATE),
    "a weak key in a DID": Case(
        "is weak or not usable", did("did:key:" + encode_multibase(NOTHING)), at_web, BAD_CERTIFICATE
    ),
    "oversized document": Case(
        "is too large", AT_WEB, at_web, BAD_CERTIFICATE, serving(document(service="x" * MAX_DOCUMENT))
    ),
    "resolver down or slow": Case("could not be resolved", AT_WEB, at_web, BAD_CERTIFICATE, down),
    "another controller": Case(
        "controlled by somebody else",
        AT_WEB,
        at_web,
        BAD_CERTIFICATE,
        serving(document(method(controller="did:web:other.example"))),
    ),
    "a key in no form": Case(
        "no key that can be read",
        AT_WEB,
        at_web,
        BAD_CERTIFICATE,
        serving(document(method(publicKeyMultibase=None, publicKeyBase58="x"))),
    ),
    "an end without a zone": Case(
        "without a time zone", AT_WEB, at_web, BAD_CERTIFICATE, serving(document(method(expires="2040-01-01T00:00:00")))
    ),
    "a DID that is not allowed": Case("is not trusted", AT_WEB, lambda _: trust.dids("did:x:y"), ACCESS_DENIED),
    "another scheme than the certificate's": Case(
        "another scheme", lambda _: scheme("ed25519", identity(ROOT.issue())), certified, BAD_CERTIFICATE
    ),
    "another scheme than the DID's": Case(
        "another scheme",
        lambda _: scheme("ecdsa-p256-sha256", BOB.with_did()),
        lambda _: trust.dids(methods=["key"]),
        BAD_CERTIFICATE,
    ),
    "a signature from another session": Case(
        "did not prove", without_key(BOB), lambda _: trust.pinned(BOB.peer_id), DECRYPT_ERROR, options={"session": True}
    ),
    "a signature for another role": Case(
        "did not prove", without_key(BOB), lambda _: trust.pinned(BOB.peer_id), DECRYPT_ERROR, options={"role": True}
    ),
    "a key that is not pinned": Case("not a pinned one", MALLORY, lambda _: trust.pinned(BOB.public), ACCESS_DENIED),
}


def handshake(case: Case, judging: Role) -> Pair:
    presents = case.presents(judging) if callable(case.presents) else case.presents
    entropy: dict[str, Any] = {}
    if case.options:
        signer = judging.peer if "session" in case.options else judging
        entropy = {"entropy": Stolen(proof_of(BOB, signer))}
    judge = profiles.nautilus(identity=ALICE, trust=case.wants(judging), suites=FAST)
    other = profiles.nautilus(identity=presents, trust=trust.anyone(), suites=FAST)
    mine = Handshake(judging, judge, wall_time=NOW)
    theirs = Handshake(judging.peer, other, wall_time=NOW, **entropy)
    ends = (mine, theirs) if judging is INITIATOR else (theirs, mine)
    return Pair(*ends, answer=case.answer, close=False).run()


def told(end: End) -> int:
    """What the other end learns, whichever way the alert comes: in its handshake, or where it waits to be accepted."""
    if end.error is not None:
        return alert_of(end)
    with pytest.raises(PeerAborted) as raised:
        end.session.channel().next_event()
    assert raised.value.code is not None
    assert raised.value.authenticated
    return raised.value.code


@pytest.mark.parametrize("judging", [INITIATOR, RESPONDER], ids=lambda role: role.value)
@pytest.mark.parametrize("name", CASES)
def test_a_bad_credential_has_an_error_of_its_own_and_one_coarse_alert(name: str, judging: Role) -> None:
    case = CASES[name]
    pair = handshake(case, judging)
    judge, other = (pair.initiator, pair.responder) if judging is INITIATOR else (pair.responder, pair.initiator)
    error = judge.error
    assert isinstance(error, AuthenticationFailed), error
    assert case.message in error.message
    assert error.expected or error.received, "it says what came, or what should have"
    assert error.hint, "and what may be the matter"
    assert str(error).isprintable()
    assert judge.handshake.session is None
    assert told(other) == error.alert == case.alert


def test_errors_differ_here_and_alerts_do_not_tell() -> None:
    """Of all that is wrong with a credential the peer learns one of three things."""
    assert {case.alert for case in CASES.values()} == {BAD_CERTIFICATE, ACCESS_DENIED, DECRYPT_ERROR}
    texts = {name: str(handshake(case, INITIATOR).initiator.error) for name, case in CASES.items()}
    proofs = {"a signature from another session", "a signature for another role"}
    assert len(set(texts.values())) >= len(CASES) - len(proofs) + 1


# ------------------------------------------------------------------------------------------- pre-shared keys

KEY: Final = PreSharedKey("office", bytes(range(32)), initiator="alice", responder="bob", hash="SHA256")
WRONG_PSKS: Final = {
    "psk unknown": PreSharedKey("lab", bytes(range(32)), initiator="alice", responder="bob", hash="SHA256"),
    "wrong binder": PreSharedKey("office", bytes(32), initiator="alice", responder="bob", hash="SHA256"),
    "wrong name": PreSharedKey("office", bytes(range(32)), initiator="alice", responder="bobby", hash="SHA256"),
}


def with_psk(psk: PreSharedKey, own: str, policy: TrustPolicy) -> Any:
    return profiles.nautilus(identity=ANONYMOUS, trust=policy, suites=FAST, psks=[psk], psk_name=own)


@pytest.mark.parametrize("name", WRONG_PSKS)
def test_a_wrong_psk_has_an_error_of_its_own_and_one_coarse_alert(name: str) -> None:
    psk = WRONG_PSKS[name]
    pair = Pair(with_psk(psk, "alice", trust.psk()), with_psk(KEY, "bob", trust.psk())).run()
    error = pair.responder.error
    assert isinstance(error, AuthenticationFailed)
    assert error.hint
    assert error.expected
    assert error.received
    assert told(pair.initiator) == error.alert == DECRYPT_ERROR
    assert pair.responder.handshake.session is pair.initiator.handshake.session is None


def test_another_psk_than_the_policy_wants() -> None:
    pair = Pair(with_psk(KEY, "alice", trust.psk("lab")), with_psk(KEY, "bob", trust.psk())).run()
    error = pair.initiator.error
    assert isinstance(error, AuthenticationFailed)
    assert error.hint
    assert told(pair.responder) == ACCESS_DENIED


# ------------------------------------------------------------------------------------------- found out before


@pytest.mark.parametrize("judging", [INITIATOR, RESPONDER], ids=lambda role: role.value)
@pytest.mark.parametrize(
    ("presents", "wants"),
    [
        (BOB, trust.anyone(kinds=["x509"])),
        (ANONYMOUS, trust.anyone()),
        (Identity.generate("ml-dsa-65"), trust.pinned(BOB.public)),
    ],
    ids=["type", "anonymous", "scheme"],
)
def test_what_nobody_accepts_is_not_shown(presents: Any, wants: TrustPolicy, judging: Role) -> None:
    case = Case("", presents, lambda _: wants, AlertCode.HANDSHAKE_FAILURE)
    pair = handshake(case, judging)
    judge, other = (pair.initiator, pair.responder) if judging is INITIATOR else (pair.responder, pair.initiator)
    error: HandshakeError = other.error  # type: ignore[assignment]
    assert isinstance(error, NegotiationFailed)
    assert error.hint
    assert error.expected
    assert error.received
    assert alert_of(judge) == AlertCode.HANDSHAKE_FAILURE
