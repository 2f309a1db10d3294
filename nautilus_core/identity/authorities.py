"""The trust policy over X.509 chains: which authorities count, for which name, for which purpose, at which time.

`cryptography.x509.verification` alone decides (RFC 5280 with the rules of the Web PKI). What a refusal says is worked out
here afterwards, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from ..crypto.signatures import CERTIFIED_SCHEMES, RSA_BITS
from ..errors import AuthenticationFailed, LocalProtocolError
from ..role import INITIATOR, Role
from .kinds import KINDS
from .peers import ClaimedPeer, Peer, VerifiedPeer, certify
from .policy import TrustPolicy
from .x509 import MALFORMED, MAX_CERTIFICATES, X509, Chain, is_dns_name, key_of, names_in, shown

if TYPE_CHECKING:
    from ..context import Context

Name: TypeAlias = x509.DNSName | x509.IPAddress

_OUTDATED: Final = (hashes.SHA1, hashes.MD5, hashes.SHA224)
_PURPOSES: Final = {True: ExtendedKeyUsageOID.SERVER_AUTH, False: ExtendedKeyUsageOID.CLIENT_AUTH}


def _check_purpose(policy: Policy, leaf: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and policy.extended_key_usage not in usage:
        raise ValueError("the certificate is for another purpose")


_CA_POLICY: Final = ExtensionPolicy.webpki_defaults_ca().may_be_present(
    x509.AuthorityKeyIdentifier, Criticality.AGNOSTIC, None
)
_PEER_POLICY: Final = (
    ExtensionPolicy.webpki_defaults_ee()
    .may_be_present(x509.AuthorityKeyIdentifier, Criticality.AGNOSTIC, None)
    .require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_purpose)
)
"""The Web PKI's, but what private authorities do within RFC 5280 is no fault: extensions that are critical, no key identifier."""
_LONGEST_REASON: Final = 300
_LONGEST_NAME: Final = 100  # characters
_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)
_WANTS_A_NAME: Final = "authorities() as the initiator wants the name that was dialled: name="


class Authorities(TrustPolicy):
    """Whom one of the authorities certifies."""

    credential_types = (X509,)
    kinds = MappingProxyType({X509: KINDS[X509]})
    schemes = tuple(CERTIFIED_SCHEMES)
    static_keys = ()

    def __init__(self, roots: Iterable[x509.Certificate], name: str | None, max_depth: int, min_rsa_bits: int) -> None:
        self._roots = tuple(roots)
        if not self._roots:
            raise ValueError("authorities() wants at least one certificate of an authority; it would refuse everybody")
        if not 0 <= max_depth < MAX_CERTIFICATES:
            raise ValueError(
                f"max_depth is 0 to {MAX_CERTIFICATES - 1} certificates between the authority and the peer"
            )
        if min_rsa_bits not in RSA_BITS:
            raise ValueError(f"min_rsa_bits is {RSA_BITS[0]} to {RSA_BITS[-1]}")
        for root in self._roots:
            if weak := _too_short(root, min_rsa_bits):
                raise ValueError(f"the authority has a weak key: {weak}; at least {min_rsa_bits} are accepted")
        self._name = None if name is None else _subject(name)
        self._max_depth = max_depth
        self._min_rsa_bits = min_rsa_bits
        self._store = Store(list(self._roots))
        if self._name is not None:
            self._check_name(self._name)

    def _check_name(self, name: Name) -> None:
        """Now, and not at the first certificate: the library refuses names that no certificate can match."""
        try:
            PolicyBuilder().store(self._store).time(_ANY_TIME).build_server_verifier(name)
        except ValueError as error:
            raise ValueError(f"{name.value!r} is no DNS name that a certificate can be for") from error

    def check_role(self, role: Role) -> None:
        """`ValueError` for an initiator without a `name`: it must know whom it dials (RFC 9525 section 6.1)."""
        if self._name is None and role is INITIATOR:
            raise ValueError(_WANTS_A_NAME)

    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> VerifiedPeer:
        """The peer with its certified names, where its chain leads to one of the roots (RFC 5280 section 6).

        Raises:
            AuthenticationFailed: it shows no certificate, or its chain does not; the alert and the text say why.
            LocalProtocolError: the handshake has no `wall_time` with a time zone, or an initiator has no `name`.
        """
        now = context.wall_time
        if now is None or now.tzinfo is None:
            raise LocalProtocolError(
                "authorities() judge certificates by date: Handshake(..., wall_time=) wants the time with its time zone"
            )
        if self._name is None and context.role is INITIATOR:  # a list of steps of one's own, which checked no role
            raise LocalProtocolError(_WANTS_A_NAME)
        chain = _chain_of(peer)
        if chain is None or not isinstance(peer, VerifiedPeer):
            raise AuthenticationFailed(
                "the peer showed no certificate",
                expected=X509,
                received=peer.credential_type,
                hint="the peer needs an identity with certificates",
            )
        try:
            path = self._verify(chain, context.role, now, self._name)
            self._check(chain, path)
            names = names_in(chain[0])
        except (VerificationError, *MALFORMED) as error:
            raise self._explain(chain, context.role, now, error) from error
        wanted = None if context.role is INITIATOR else self._name  # the initiator's was looked for already
        if wanted is not None and str(wanted.value).lower() not in [certified.lower() for certified in names]:
            raise _wrong_name(wanted, chain[0])
        return certify(peer, names, min(certificate.not_valid_after_utc for certificate in path))

    def _verify(self, chain: Chain, role: Role, now: datetime, name: Name | None) -> list[x509.Certificate]:
        """The path that was found, from the peer to an authority."""
        builder = PolicyBuilder().store(self._store).time(now.astimezone(UTC)).max_chain_depth(self._max_depth)
        builder = builder.extension_policies(ca_policy=_CA_POLICY, ee_policy=_PEER_POLICY)
        leaf, *between = chain
        if role is INITIATOR and name is not None:
            return builder.build_server_verifier(name).verify(leaf, between)
        return builder.build_client_verifier().verify(leaf, between).chain

    def _check(self, chain: Chain, path: list[x509.Certificate]) -> None:
        """What the library leaves open: key sizes, and whether the leaf's key may sign."""
        if weak := next(filter(None, [_too_short(one, self._min_rsa_bits) for one in path]), None):
            raise AuthenticationFailed(
                "a certificate of the peer has a weak key",
                expected=f"at least {self._min_rsa_bits} bits",
                received=weak,
                hint="its owner needs a longer key",
            )
        if not _may_sign(chain[0]):
            raise ValueError("its key usage does not allow digital signatures")

    def _explain(self, chain: Chain, role: Role, now: datetime, error: Exception) -> AuthenticationFailed:
        """The refusal in the user's terms: `error` has the library's."""
        try:
            return (
                _wrong_time(chain, now)
                or _weak_signature(chain)
                or self._unknown_authority(chain)
                or _forged(chain)
                or _wrong_purpose(chain[0], as_server=role is INITIATOR)
                or self._not_this_name(chain, role, now, error)
                or _refusal(error)
            )
        except MALFORMED as malformed:
            return _refusal(malformed)

    def _unknown_authority(self, chain: Chain) -> AuthenticationFailed | None:
        last = chain[-1]
        if any(certificate in self._roots for certificate in chain):
            return None
        namesakes = [root for root in self._roots if root.subject == last.issuer]
        if any(_issued(last, root) for root in namesakes):
            return None
        known = ", ".join(shown(root.subject) for root in self._roots[:3])
        if namesakes:
            hint = "somebody else made an authority of the same name, or the authority has a new key"
        else:
            hint = "a certificate in between may be missing from its chain, or you trust another authority"
        return AuthenticationFailed(
            "the peer's certificate comes from an unknown authority",
            expected=f"one of {known}" if len(self._roots) <= 3 else f"one of {len(self._roots)} authorities",
            received=f"{shown(last.issuer)}, which has another key" if namesakes else shown(last.issuer),
            hint=hint,
        )

    def _not_this_name(self, chain: Chain, role: Role, now: datetime, error: Exception) -> AuthenticationFailed | None:
        """Whether under a name of its own the peer would be welcome."""
        if role is not INITIATOR or self._name is None or not isinstance(error, VerificationError):
            return None
        own = [name.replace("*", "any", 1) for name in names_in(chain[0]) if _is_address(name) or is_dns_name(name)]
        if own:
            try:
                self._verify(chain, role, now, _subject(own[0]))
            except VerificationError:
                return None
            except ValueError:  # a name that the library does not take
                pass
        return _wrong_name(self._name, chain[0])


def _chain_of(peer: Peer | ClaimedPeer) -> Chain | None:
    """What the peer presented, where that is a chain for the key that it has proved."""
    evidence = peer.evidence if isinstance(peer, VerifiedPeer) and peer.credential_type == X509 else None
    if (
        not isinstance(evidence, tuple)
        or not evidence
        or not all(isinstance(one, x509.Certificate) for one in evidence)
    ):
        return None
    return evidence if isinstance(peer, VerifiedPeer) and key_of(evidence[0]) == peer.public_key else None


def _subject(name: str) -> Name:
    """The name to match; `ValueError` for what is neither a DNS name nor an address."""
    if _is_address(name):
        return x509.IPAddress(ip_address(name))
    if not is_dns_name(name.rstrip(".")) or "*" in name:
        raise ValueError(f"{name!r} is no DNS name and no IP address; certificates name hosts by one of them")
    return x509.DNSName(name.rstrip("."))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _too_short(certificate: x509.Certificate, least: int) -> str | None:
    key = certificate.public_key()
    if isinstance(key, RSAPublicKey) and key.key_size < least:
        return f"RSA with {key.key_size} bits, of {shown(certificate.subject)}"
    return None


def _may_sign(leaf: x509.Certificate) -> bool:
    try:
        return leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        return True


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *MALFORMED):
        return False
    return True


def _wrong_time(chain: Chain, now: datetime) -> AuthenticationFailed | None:
    for certificate in chain:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begins <= now <= ends:
            late = now > ends
            return AuthenticationFailed(
                "the peer's certificate has expired" if late else "the peer's certificate is not yet valid",
                expected=f"one that is valid at {now.isoformat()}",
                received=f"{shown(certificate.subject)}, valid from {begins.isoformat()} to {ends.isoformat()}",
                hint="the peer needs a new certificate" if late else "one of the two clocks may be wrong",
            )
    return None


def _weak_signature(chain: Chain) -> AuthenticationFailed | None:
    """A certificate that is signed by an algorithm that does not count."""
    for certificate in chain:
        digest = certificate.signature_hash_algorithm
        if certificate.signature_algorithm_oid == SignatureAlgorithmOID.ED25519:
            return AuthenticationFailed(
                "the peer's certificate is signed with an algorithm that does not count here",
                expected="an authority with an ECDSA, RSA or ML-DSA key",
                received=f"Ed25519, on {shown(certificate.subject)}",
                hint="only the peer's own key may be Ed25519",
            )
        if isinstance(digest, _OUTDATED):
            return AuthenticationFailed(
                "the peer's certificate is signed with a weak digest",
                expected="SHA-256 or better",
                received=f"{digest.name}, on {shown(certificate.subject)}",
                hint="its authority must issue it again",
            )
    return None


def _forged(chain: Chain) -> AuthenticationFailed | None:
    """A certificate that its issuer did not sign."""
    for certificate, issuer in pairwise(chain):
        if not _issued(certificate, issuer):
            return AuthenticationFailed(
                "a certificate of the peer is not signed by its issuer",
                expected=f"a signature by {shown(issuer.subject)}",
                received=f"another one, on {shown(certificate.subject)}",
                hint="it was altered, or the issuer has a new key",
            )
    return None


def _wrong_purpose(leaf: x509.Certificate, *, as_server: bool) -> AuthenticationFailed | None:
    what = "to be dialled (serverAuth)" if as_server else "to dial (clientAuth)"
    received = None
    for extension in leaf.extensions:
        value = extension.value
        if isinstance(value, x509.ExtendedKeyUsage) and _PURPOSES[as_server] not in value:
            received = "one for " + ", ".join(purpose._name for purpose in value)
        elif isinstance(value, x509.BasicConstraints) and value.ca:
            received = "one of an authority"
        elif isinstance(value, x509.KeyUsage) and not value.digital_signature:
            received = "one whose key must not make signatures"
    if received is None:
        return None
    return AuthenticationFailed(
        "the peer's certificate is for another purpose",
        expected=f"one of a peer, that allows it {what}",
        received=received,
        hint="the authority must issue one for this purpose",
    )


def _wrong_name(name: Name, leaf: x509.Certificate) -> AuthenticationFailed:
    names = names_in(leaf)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return AuthenticationFailed(
        "the peer's certificate is for another name",
        expected=str(name.value),
        received=", ".join(name[:_LONGEST_NAME] for name in names[:3]) + more or "no name at all",
        hint="you reached somebody else, or the certificate must be issued for this name too",
    )


def _refusal(error: Exception) -> AuthenticationFailed:
    text = str(error) or type(error).__name__
    return AuthenticationFailed(
        "the peer's certificates do not verify",
        received=text[:_LONGEST_REASON],
        hint="its authority must issue them as RFC 5280 has it, or it is not who it says",
    )
