"""The recorded handshakes with TLS inside, by name. What TLS answered is on the tape: their replay needs no OpenSSL.

Certificates are made anew whenever a context is, and so are in the recordings alone; the keys are those of `people`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurve
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509Store

from nautilus_core import AlertCode, AuthenticationFailed, Profile, Role, TrustPolicy, profiles, trust

from ..core.channels import deliver
from ..core.helpers import note
from .case import Case
from .people import identity, private_key

P256: Final = SECP256R1()
SCHEME: Final = "ecdsa-p256-sha256"
KINDS: Final = ("x509",)


@cache
def _certificate(who: str, *, purposes: tuple[x509.ObjectIdentifier, ...] = (), days: int = 36_500) -> x509.Certificate:
    """A self-signed certificate of one of the people."""
    key: Any = private_key(who, SCHEME)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
    begins = datetime.now(UTC) - timedelta(days=40)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(begins).not_valid_after(begins + timedelta(days=days))
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
    return builder.sign(key, hashes.SHA256())


def _context(
    certificate: x509.Certificate | None, who: str, curve: EllipticCurve | None, verifies: x509.Certificate | None
) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    if curve is not None:
        context.set_tmp_ecdh(curve)
    if certificate is not None:
        context.use_certificate(certificate)
        key: Any = private_key(who, SCHEME)
        context.use_privatekey(key)
    if verifies is not None:
        store: X509Store | None = context.get_cert_store()
        if store is None:
            raise RuntimeError("a context without a store")
        store.add_cert(X509.from_cryptography(verifies))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


def side(
    role: Role,
    *,
    certificate: Any = _certificate,
    curve: EllipticCurve | None = P256,
    policy: TrustPolicy | None = None,
    verifies: Callable[[], x509.Certificate] | None = None,
    edit: Any = None,
    **options: Any,
) -> Profile:
    """One end, which trusts the other's key. Where it `verifies`, OpenSSL does so too, with that certificate as authority."""
    shown = None if certificate is None else certificate(role.value)
    context = _context(shown, role.value, curve, None if verifies is None else verifies())
    pinned = trust.pinned(identity(role.peer.value, SCHEME).public, kinds=KINDS)
    profile = profiles.tls(context, trust=policy or pinned, **options)
    return profile if edit is None else edit(profile)


def _talk(pair: Any) -> None:
    one, other = pair.initiator.session.channel(), pair.responder.session.channel()
    one.send_data(b"a question")
    deliver(one, other)
    other.send_data(b"an answer")
    deliver(other, one)


def _revoked(peer: Any, context: Any) -> None:
    raise AuthenticationFailed("the peer's certificate was revoked", alert=AlertCode.CERTIFICATE_REVOKED)


def _with_notes(profile: Profile) -> Profile:
    return profile.insert_after("tls", note("late", Role.RESPONDER)).insert_before("initiator-finished", note())


_client: Final = partial(side, Role.INITIATOR)
_server: Final = partial(side, Role.RESPONDER)
_anybody: Final = trust.anyone(kinds=KINDS)
_of_mallory: Final = partial(_certificate, "mallory")
_for_a_month: Final = partial(_certificate, days=30)
_for_dialling: Final = partial(_certificate, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,))
_only_mallory: Final = trust.pinned(identity("mallory", SCHEME).public, kinds=KINDS)
_either: Final = trust.anyone(kinds=KINDS, anonymous=True)

TLS: Final[dict[str, Case]] = {
    "tls": Case("TLS 1.3 inside, both ends with certificates", _client, _server, use=_talk),
    "tls-server-only": Case(
        "a client without a certificate", partial(_client, certificate=None), partial(_server, policy=_either), use=_talk
    ),
    "tls-retry": Case("a HelloRetryRequest", partial(_client, curve=None),
                      partial(_server, curve=SECP384R1())),
    "tls-alpn-steps": Case(
        "a protocol within TLS, and steps after it",
        partial(_client, alpn=("acme/1",), edit=_with_notes),
        partial(_server, alpn=("acme/1",), edit=_with_notes),
    ),
    "tls-no-group": Case("no group in common: TLS's alert goes first", _client, partial(_server, curve=SECP384R1())),
    "tls-other-key": Case(
        "the client refuses the server's key", partial(_client, policy=_only_mallory), _server
    ),
    "tls-revoked": Case("the server refuses a certificate", _client,
                        partial(_server, policy=trust.decided_by(_revoked, _anybody))),
    "tls-no-certificate": Case("a client that must show one", partial(_client, certificate=None), _server),
    "tls-unknown-authority": Case(
        "OpenSSL refuses the server: TLS's alert goes first", partial(_client, verifies=_of_mallory), _server
    ),
    "tls-expired": Case(
        "OpenSSL refuses the client's certificate, which has expired",
        partial(_client, certificate=_for_a_month),
        partial(_server, verifies=partial(_for_a_month, "initiator")),
    ),
    "tls-purpose": Case(
        "OpenSSL refuses a certificate for another purpose",
        partial(_client, verifies=partial(_for_dialling, "responder")),
        partial(_server, certificate=_for_dialling),
    ),
    "public-tls": Case("no secrets: TLS inside", _client, _server, use=_talk, secrets=False),
    "public-tls-refused": Case(
        "no secrets: OpenSSL refuses the server", partial(_client, verifies=_of_mallory), _server, secrets=False
    ),
}  # fmt: skip
