"""The recorded refusals: each thing that can be wrong with a credential, with who refuses and who is told of it, by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from nautilus_core import (
    HandshakeTimeout,
    Identities,
    Identity,
    PeerAborted,
    ResolveIdentity,
    SignatureNeeded,
    TrustPolicy,
    trust,
)
from nautilus_core.identity.did_document import MAX_DOCUMENT
from nautilus_core.testing import Pair

from ..core.channels import outcome
from .case import DEADLINE, Case
from .certificates import (
    BETWEEN,
    CLIENT,
    GATEWAY,
    NAMESAKE,
    NOW_OVER,
    NOW_TOO_SOON,
    ROOT,
    SERVER,
    STRANGER,
    leaf,
    weak_leaf,
)
from .credentials import (
    SUITES_OF_BOTH_HASHES,
    WEB,
    by_root,
    certified,
    delegated,
    document,
    jwk,
    method,
    serving,
    with_psks,
)
from .people import identity, private_key, psk
from .sides import initiator, responder


def _by_initiator(what: str, presents: Callable[[], Any], policy: Callable[[], TrustPolicy], **options: Any) -> Case:
    """The responder presents it, and the initiator refuses."""
    return Case(
        what,
        lambda: initiator(trust=policy()),
        lambda: responder(identity=presents()),
        **options,
    )


def _told(pair: Pair) -> None:
    """The initiator had completed: what the responder says now comes on the channel."""
    outcome(pair.initiator.session.channel())


def _by_responder(what: str, presents: Callable[[], Any], policy: Callable[[], TrustPolicy], **more: Any) -> Case:
    """The initiator presents it, and learns on the channel that the responder refuses."""
    return Case(
        what,
        lambda: initiator(identity=presents()),
        lambda: responder(trust=policy()),
        use=_told,
        options={"close": False, **more},
    )


# ------------------------------------------------------------------ X.509


def _encoded(*chain: x509.Certificate) -> bytes:
    """A chain as a credential, be it in order or not."""
    return msgspec.msgpack.encode([certificate.public_bytes(Encoding.DER) for certificate in chain])


def _showing(who: str, *chain: x509.Certificate) -> Callable[[], Identity]:
    """A person who shows certificates that are not of the library's making."""
    return lambda: identity(who).presenting("x509", _encoded(*chain))


def _certified(what: str, name: str | None = GATEWAY, **wishes: Any) -> Case:
    return _by_initiator(what, lambda: certified("responder", **wishes), lambda: by_root(name))


def _forged() -> x509.Certificate:
    """Named as if the authority in between had issued it; another one signs."""
    return leaf("responder", signs=STRANGER.key)


_X509: Final = {
    "refused-expired": _certified("the certificate has expired", ends=NOW_OVER),
    "refused-not-yet-valid": _certified("the certificate is not yet valid", begins=NOW_TOO_SOON),
    "refused-name": _certified("the certificate is for another name", names=("other.example",)),
    "refused-purpose": _certified("the certificate is not for a server", purposes=(CLIENT,)),
    "refused-authority": _by_initiator(
        "an authority that nobody knows",
        lambda: Identity.with_certificates(private_key("responder", "ed25519"), [leaf("responder", by=STRANGER)]),
        lambda: by_root(GATEWAY),
    ),
    "refused-namesake": _by_initiator(
        "an authority with the name of the one that is trusted",
        lambda: Identity.with_certificates(private_key("responder", "ed25519"), [leaf("responder", by=NAMESAKE)]),
        lambda: by_root(GATEWAY),
    ),
    "refused-no-link": _by_initiator(
        "the certificate of the authority in between is missing",
        lambda: Identity.with_certificates(private_key("responder", "ed25519"), [leaf("responder")]),
        lambda: by_root(GATEWAY),
    ),
    "refused-order": _by_initiator(
        "the chain is out of order",
        _showing("responder", leaf("responder"), ROOT.certificate, BETWEEN.certificate),
        lambda: by_root(GATEWAY),
    ),
    "refused-weak-key": _by_initiator(
        "the certificate is for an RSA key of 1024 bits",
        _showing("responder", weak_leaf(), BETWEEN.certificate),
        lambda: by_root(GATEWAY),
    ),
    "refused-forged": _by_initiator(
        "its issuer did not sign the certificate",
        _showing("responder", _forged(), BETWEEN.certificate),
        lambda: by_root(GATEWAY),
    ),
    "refused-encoding": _by_initiator(
        "a list of certificates that is not in its shortest form",
        lambda: identity("responder").presenting("x509", b"\xdc\x00\x01" + _encoded(leaf("responder"))[1:]),
        lambda: by_root(GATEWAY),
    ),
    "refused-stolen-certificate": _by_initiator(
        "somebody else's certificate",
        _showing("mallory", leaf("responder"), BETWEEN.certificate),
        lambda: by_root(GATEWAY),
    ),
    "refused-of-initiator-expired": _by_responder(
        "the initiator's certificate has expired", lambda: certified("initiator", ends=NOW_OVER), by_root
    ),
    "refused-of-initiator-purpose": _by_responder(
        "the initiator's certificate is for a server alone",
        lambda: certified("initiator", purposes=(SERVER,)),
        by_root,
    ),
}


# ------------------------------------------------------------------ DIDs


def _document(what: str, found: dict[str, Any] | bytes, presents: str = WEB, allow: str = WEB) -> Case:
    answer = serving(found) if isinstance(found, dict) else lambda question: question.answer(found)
    return _by_initiator(
        what,
        lambda: identity("responder").with_did(presents),
        lambda: trust.dids(allow),
        options={"answer": answer},
    )


def _presented(what: str, did: str, *methods: str) -> Case:
    """A DID that the library would not let anybody present."""
    return _by_initiator(
        what,
        lambda: identity("responder").presenting("did", did.encode()),
        lambda: trust.dids(methods=methods or ("key", "peer")),
    )


def _unresolvable(question: Any) -> None:
    if isinstance(question, ResolveIdentity):
        question.unresolvable("gateway.example: connection refused")


def _no_such_method(question: Any) -> None:
    if isinstance(question, ResolveIdentity):
        question.unresolvable(f"there is no resolver for did:{question.method}")


def _too_slow(pair: Pair) -> None:
    """The question still stands when the time is over."""
    initiator, responder = pair.initiator.handshake, pair.responder.handshake
    initiator.handle_timeout(DEADLINE + 1)
    with suppress(HandshakeTimeout):
        initiator.next_event()
    responder.receive_data(initiator.data_to_send())
    with suppress(PeerAborted):
        responder.next_event()


_OTHER: Final = "did:web:other.example"
_PADDED: Final = json.dumps(document(method("responder"), service="x" * MAX_DOCUMENT)).encode()[: MAX_DOCUMENT + 1]
_DIDS: Final = {
    "refused-not-under-authentication": _document(
        "the key stands in the document for other purposes",
        document(method("responder"), authentication=[], assertionMethod=[f"{WEB}#key-1"]),
        presents=f"{WEB}#key-1",
    ),
    "refused-no-key": _document("the document has no key at all", document()),
    "refused-another-key": _document(
        "the document has another key than the one that signs", document(method("mallory"))
    ),
    "refused-controller": _document(
        "the key is controlled by somebody else", document(method("responder", controller=_OTHER))
    ),
    "refused-revoked-key": _document(
        "the key was revoked", document(method("responder", revoked="2026-07-01T00:00:00Z"))
    ),
    "refused-expired-key": _document(
        "the key was good until a month ago", document(method("responder", expires="2026-07-01T00:00:00Z"))
    ),
    "refused-document-of-another": _document(
        "the document is of another DID", document(method("responder", did=_OTHER), did=_OTHER)
    ),
    "refused-document-malformed": _document("the document is no JSON", b"<html>"),
    "refused-document-oversized": _document("the document is too large", _PADDED),
    "refused-document-deep": _document("the document is nested too deep", b'{"id":' + b"[" * 40 + b"]" * 40 + b"}"),
    "refused-private-key": _document(
        "the document shows the private key",
        document(jwk("responder") | {"publicKeyJwk": jwk("responder")["publicKeyJwk"] | {"d": "AAAA"}}),
    ),
    "refused-unknown-method": _by_initiator(
        "nobody can look up a DID of this method",
        lambda: identity("responder").with_did("did:unheard:of"),
        lambda: trust.dids("did:unheard:of"),
        options={"answer": _no_such_method},
    ),
    "refused-unknown-peer-method": _presented("a did:peer that is known to its friends alone", "did:peer:1zQmZMygz"),
    "refused-multibase": _presented("the multibase is malformed", "did:key:z6Mk0OIl"),
    "refused-multicodec": _presented(
        "a key of an unknown kind", "did:key:z6LSg8zQom395jKLrGiBNruB9MM6V8PWuf2FpEy4uRFiqQBR"
    ),
    "refused-no-did": _presented("what should be a DID is none", "gateway.example"),
    "refused-other-did": _by_initiator(
        "another DID than the one that is trusted is not even looked up",
        lambda: identity("responder").with_did(_OTHER),
        lambda: trust.dids(WEB),
    ),
    "refused-resolver-down": _by_initiator(
        "the document cannot be had",
        lambda: identity("responder").with_did(WEB),
        lambda: trust.dids(WEB),
        options={"answer": _unresolvable},
    ),
    "refused-resolver-slow": _by_initiator(
        "the document does not come in time",
        lambda: identity("responder").with_did(WEB),
        lambda: trust.dids(WEB),
        use=_too_slow,
        options={"close": False},
    ),
    "refused-of-initiator-did": _by_responder(
        "the document of the initiator cannot be had",
        lambda: identity("initiator").with_did(WEB),
        lambda: trust.dids(WEB),
        answer=_unresolvable,
    ),
}


# ------------------------------------------------------------------ pre-shared keys


def _psks(what: str, mine: Sequence[Any], theirs: Sequence[Any]) -> Case:
    return Case(
        what,
        lambda: with_psks(initiator, *mine) if mine else initiator(),
        lambda: with_psks(responder, *theirs) if theirs else responder(),
    )


_PSKS: Final = {
    "refused-psk-unknown": _psks("a pre-shared key that the responder does not know", [psk("cellar")], [psk("office")]),
    "refused-psk-other-hash": Case(
        "a pre-shared key that the responder has for suites of another hash",
        lambda: with_psks(initiator, psk("office"), suites=SUITES_OF_BOTH_HASHES),
        lambda: with_psks(responder, psk("office", "SHA384"), suites=SUITES_OF_BOTH_HASHES),
    ),
    "refused-psk-binder": _psks(
        "another key of the same name: the binder is wrong", [psk("office", key="guessed")], [psk("office")]
    ),
    "refused-psk-reflected": Case(
        "a pre-shared key for the other direction",
        lambda: initiator(psks=[psk("office", reflected=True)], psk_name="gateway"),
        lambda: with_psks(responder, psk("office")),
    ),
    "refused-psk-missing": _psks("the responder wants a pre-shared key, the initiator has none", [], [psk("office")]),
    "refused-psk-superfluous": _psks("the initiator has a pre-shared key, the responder has none", [psk("office")], []),
    "refused-psk-policy": Case(
        "a pre-shared key that proves nothing to the policy",
        lambda: with_psks(initiator, psk("office"), psk("cellar"), trust=trust.psk("cellar")),
        lambda: with_psks(responder, psk("office")),
    ),
}


# ------------------------------------------------------------------ signatures, kinds, targets


def _signing(one: Identity, change: Callable[[bytes], bytes] = bytes, scheme: str | None = None) -> Identity:
    """Somebody with the key of `one` who signs what `change` makes of the content, and perhaps says another scheme."""
    made = one.presenting(one.credential_type, one.credential)
    made._sign = lambda content: one.sign(change(content))
    made.scheme = scheme or one.scheme
    return made


def _of_another_session(content: bytes) -> bytes:
    """The transcript's hash stands before that of the credential; both are as long as SHA-256."""
    return content[:-64] + sha256(b"another session").digest() + content[-32:]


def _of_another_role(content: bytes) -> bytes:
    return content.replace(b"responder", b"initiator")


def _pinned() -> TrustPolicy:
    return trust.pinned(identity("responder").public)


def _reject(question: Any) -> None:
    if isinstance(question, SignatureNeeded):
        question.reject("the token was taken out")


def _sign_with_another(question: Any) -> None:
    if isinstance(question, SignatureNeeded):
        question.answer(identity("mallory").sign(question.content))


_ECDSA: Final = "ecdsa-p256-sha256"
_OTHERS: Final = {
    "refused-signature-of-another-session": _by_initiator(
        "a signature from another session", lambda: _signing(identity("responder"), _of_another_session), _pinned
    ),
    "refused-signature-of-another-role": _by_initiator(
        "a signature for the other role", lambda: _signing(identity("responder"), _of_another_role), _pinned
    ),
    "refused-scheme-of-certificate": _by_initiator(
        "another scheme than the certificate's key has",
        lambda: _signing(certified("responder"), scheme=_ECDSA),
        lambda: by_root(GATEWAY),
    ),
    "refused-scheme-of-did": _by_initiator(
        "another scheme than the key of the DID has",
        lambda: _signing(identity("responder").with_did(), scheme=_ECDSA),
        lambda: trust.dids(methods=["key"]),
    ),
    "refused-signature-of-certificate": _by_initiator(
        "a certificate whose owner signs something else",
        lambda: _signing(certified("responder"), _of_another_session),
        lambda: by_root(GATEWAY),
    ),
    "refused-signature-of-did": _by_responder(
        "a DID whose owner signs something else",
        lambda: _signing(identity("initiator").with_did(), _of_another_session),
        lambda: trust.dids(methods=["key"]),
    ),
    "negotiation-credential": Case(
        "the initiator wants certificates, and the responder has none",
        lambda: initiator(trust=by_root(GATEWAY)),
        responder,
    ),
    "negotiation-target": Case(
        "the initiator wants somebody who is not there",
        lambda: initiator(target="nobody.example"),
        lambda: responder(identity=Identities(None, {GATEWAY: identity("responder")}, refuse_unknown=True)),
    ),
    "delegated-refused": Case(
        "there is no signature of the responder's own",
        initiator,
        lambda: responder(identity=delegated("responder")),
        options={"answer": _reject},
    ),
    "delegated-wrong": Case(
        "the signer of the responder has another key",
        initiator,
        lambda: responder(identity=delegated("responder")),
        options={"answer": _sign_with_another},
    ),
}

REFUSALS: Final[dict[str, Case]] = {**_X509, **_DIDS, **_PSKS, **_OTHERS}
