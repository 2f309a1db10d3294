"""Certificates made to get in, to cost time, or to write in somebody's log: what `test_x509` has not."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Role,
    TrustPolicy,
    trust,
)
from nautilus_core.crypto.signatures import CERTIFIED_SCHEMES
from nautilus_core.identity.credentials import Presented
from nautilus_core.identity.did_document import read_document
from nautilus_core.identity.x509 import X509Chains, decode_chain, names_in

from .certificates import CLIENT, KEYS, NOW, SERVER, Made, authority, identity, issue
from .helpers import BOB
from .test_x509 import BOTH, LEAF, MIDDLE, NAME, ROOT, judged, policy_for, refused, welcomed

RSA = CERTIFIED_SCHEMES["rsa-pss-sha256"]


def names_key_and_dates_of(old: x509.Certificate) -> x509.CertificateBuilder:
    """All of a certificate but its extensions and its signature."""
    return (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(old.serial_number)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
    )


def under(*extensions: x509.ExtensionType, by: Made = ROOT, subject: str = "Constrained") -> Made:
    """An authority between the root and its peers, with these extensions."""
    made = issue(ec.generate_private_key(ec.SECP256R1()), by=by, subject=subject, ca=True)
    old = made.certificate
    builder = names_key_and_dates_of(old)
    kinds = {type(extension) for extension in extensions}
    for extension in old.extensions:
        if type(extension.value) not in kinds:
            builder = builder.add_extension(extension.value, extension.critical)
    for value in extensions:
        builder = builder.add_extension(value, critical=isinstance(value, x509.BasicConstraints | x509.NameConstraints))
    return Made(made.key, builder.sign(by.key, hashes.SHA256()))


def error_of(pair: Any, judging: Role) -> AuthenticationFailed:
    return refused(pair, judging)


# ------------------------------------------------------------------------------------------- authorities within bounds


@BOTH
def test_an_authority_certifies_no_name_outside_its_constraints(judging: Role) -> None:
    """RFC 5280 section 4.2.1.10: also of who dials, whose names are reported and matched by nobody else."""
    permitted = under(x509.NameConstraints([x509.DNSName("fleet.example")], None))
    excluded = under(x509.NameConstraints(None, [x509.DNSName("fleet.example")]))

    def pair(by: Made, *names: str) -> Any:
        wanted = {"name": names[0]} if judging is INITIATOR else {}
        return judged(identity(by.issue(names=names), by), policy_for(judging, **wanted), judging)

    assert welcomed(pair(permitted, "a.fleet.example"), judging).names == ("a.fleet.example",)
    assert welcomed(pair(excluded, NAME), judging).names == (NAME,)
    for by, names in ((permitted, [NAME]), (permitted, ["a.fleet.example", NAME]), (excluded, ["a.fleet.example"])):
        assert "name constraint" in str(error_of(pair(by, *names), judging))


@BOTH
def test_an_authority_of_peers_makes_no_authority(judging: Role) -> None:
    """`pathLenConstraint` (RFC 5280 section 4.2.1.9)."""
    last = under(x509.BasicConstraints(ca=True, path_length=0))
    welcomed(judged(identity(last.issue(), last), policy_for(judging), judging), judging)
    below = issue(ec.generate_private_key(ec.SECP256R1()), by=last, subject="Below", ca=True)
    error_of(judged(identity(below.issue(), below, last), policy_for(judging), judging), judging)


@BOTH
def test_an_authority_for_one_purpose_certifies_for_no_other(judging: Role) -> None:
    right, wrong = (SERVER, CLIENT) if judging is INITIATOR else (CLIENT, SERVER)
    fit, unfit = under(x509.ExtendedKeyUsage([right])), under(x509.ExtendedKeyUsage([wrong]))
    welcomed(judged(identity(fit.issue(), fit), policy_for(judging), judging), judging)
    error_of(judged(identity(unfit.issue(), unfit), policy_for(judging), judging), judging)


@BOTH
def test_who_may_not_sign_certificates_is_no_authority(judging: Role) -> None:
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    no_certificates = under(usage)
    error_of(judged(identity(no_certificates.issue(), no_certificates), policy_for(judging), judging), judging)
    no_authority = under(x509.BasicConstraints(ca=False, path_length=None))
    error_of(judged(identity(no_authority.issue(), no_authority), policy_for(judging), judging), judging)


def test_an_unknown_critical_extension_is_not_passed_over() -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
    for critical in (True, False):
        old = LEAF.certificate
        builder = names_key_and_dates_of(old).add_extension(strange, critical)
        for extension in old.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        made = Made(LEAF.key, builder.sign(MIDDLE.key, hashes.SHA256()))
        pair = judged(identity(made, MIDDLE), policy_for(INITIATOR))
        if critical:
            assert "critical" in str(refused(pair))
        else:
            welcomed(pair)


def test_any_purpose_is_none_and_names_are_alternative_names_alone() -> None:
    anything = ROOT.issue(purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    assert "another purpose" in str(refused(judged(identity(anything), policy_for(INITIATOR))))
    by_subject = ROOT.issue(subject=NAME, names=["other.example"])  # RFC 9525 section 6.3: no common name counts
    error = refused(judged(identity(by_subject), policy_for(INITIATOR)))
    assert (error.message, error.received) == ("the peer's certificate is for another name", "other.example")
    nameless = ROOT.issue(subject=NAME, names=())
    refused(judged(identity(nameless), policy_for(INITIATOR)))
    refused(judged(identity(nameless), policy_for(RESPONDER), RESPONDER), RESPONDER)


@pytest.mark.parametrize(
    ("certified", "dialled"),
    [
        ("*.example", "a.b.example"),
        ("*.gateway.example", NAME),
        ("g*.example", NAME),
        ("*.*.example", "a.b.example"),
        ("*", "localhost"),
        ("127.0.0.1.", "127.0.0.1"),
        ("gateway.example.evil.example", NAME),
    ],
)
def test_a_wildcard_is_one_label_and_an_address_is_no_name(certified: str, dialled: str) -> None:
    leaf = ROOT.issue(names=[certified, "other.example"])
    refused(judged(identity(leaf), policy_for(INITIATOR, name=dialled)))


def test_a_responders_name_is_matched_by_no_wildcard() -> None:
    leaf = ROOT.issue(names=["*.fleet.example", "10.0.0.7"])
    error = refused(judged(identity(leaf), policy_for(RESPONDER, name="a.fleet.example"), RESPONDER), RESPONDER)
    assert error.message == "the peer's certificate is for another name"
    welcomed(judged(identity(leaf), policy_for(RESPONDER, name="10.0.0.7"), RESPONDER), RESPONDER)


def with_names(*names: x509.GeneralName) -> Made:
    """A leaf below the root with any alternative names."""
    old = ROOT.issue(LEAF.key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.certificate.subject)
        .issuer_name(old.certificate.issuer)
        .public_key(old.certificate.public_key())
        .serial_number(old.certificate.serial_number)
        .not_valid_before(old.certificate.not_valid_before_utc)
        .not_valid_after(old.certificate.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName(names), False)
    )
    for extension in old.certificate.extensions:
        if not isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, extension.critical)
    return Made(old.key, builder.sign(ROOT.key, hashes.SHA256()))


def test_names_that_are_reported_are_of_their_sort_and_can_be_shown() -> None:
    """What an authority certifies without a look: no network is an address, no name holds a line of a log."""
    leaf = with_names(
        x509.DNSName(NAME),
        x509.IPAddress(ip_network("10.0.0.0/8")),
        x509.UniformResourceIdentifier("https://a\n2030-01-01 all is well"),
        x509.RFC822Name("a@b\x1b[2J"),
        x509.RFC822Name("ops@fleet.example"),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
    )
    for judging in Role:
        pair = judged(identity(leaf), policy_for(judging), judging)
        end = pair.initiator if judging is INITIATOR else pair.responder
        if end.handshake.session is None:
            assert isinstance(end.error, AuthenticationFailed)
        else:
            assert welcomed(pair, judging).names == (NAME, "ops@fleet.example")
    assert names_in(leaf.certificate) == (NAME, "ops@fleet.example")


# ------------------------------------------------------------------------------------------- what breaks the library


@BOTH
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("policy", ["authorities", "pinned", "anyone"])
def test_a_name_that_the_library_cannot_make_is_the_peers_fault(policy: str, place: int, judging: Role) -> None:
    """Anybody can send one: a name as a BIT STRING is a `TypeError` of `cryptography`, when it is looked at."""
    chain = [made.certificate.public_bytes(Encoding.DER) for made in (LEAF, MIDDLE)]
    name = b"\x06\x03\x55\x04\x03\x0c"  # commonName, UTF8String
    assert name in chain[place]
    chain[place] = chain[place].replace(name, name[:-1] + b"\x03")
    me = identity(LEAF, MIDDLE)
    me.credential = msgspec.msgpack.encode(chain)
    policies: dict[str, TrustPolicy] = {
        "authorities": policy_for(judging),
        "pinned": trust.pinned(me.peer_id, kinds=["x509"]),
        "anyone": trust.anyone(kinds=["x509"]),
    }
    error = refused(judged(me, policies[policy], judging), judging)
    assert error.alert == AlertCode.BAD_CERTIFICATE


@BOTH
@pytest.mark.parametrize(
    ("extension", "data"),
    [
        ("1.3.6.1.5.5.7.1.24", "3003020163"),  # TLS features, of which 99 is none: a KeyError
        ("2.5.29.31", "300c300a810204"),  # CRL distribution points, cut off
        ("2.5.29.32", "05"),
        ("2.5.29.37", "0500"),
    ],
)
def test_an_extension_that_the_library_cannot_read_is_the_peers_fault(extension: str, data: str, judging: Role) -> None:
    """Of a certificate that an authority has signed without a look."""
    leaf = ROOT.issue(purposes=())
    builder = (
        x509.CertificateBuilder()
        .subject_name(leaf.certificate.subject)
        .issuer_name(leaf.certificate.issuer)
        .public_key(leaf.certificate.public_key())
        .serial_number(7)
        .not_valid_before(leaf.certificate.not_valid_before_utc)
        .not_valid_after(leaf.certificate.not_valid_after_utc)
        .add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(extension), bytes.fromhex(data)), False)
    )
    for kept in leaf.certificate.extensions:
        if kept.oid.dotted_string != extension:
            builder = builder.add_extension(kept.value, kept.critical)
    made = Made(leaf.key, builder.sign(ROOT.key, hashes.SHA256()))
    for policy in (policy_for(judging), trust.any_of(policy_for(judging), trust.pinned(BOB.public, kinds=["x509"]))):
        pair = judged(identity(made), policy, judging)
        end = pair.initiator if judging is INITIATOR else pair.responder
        assert end.handshake.session is None
        assert isinstance(end.error, AuthenticationFailed), end.error
    with pytest.raises(ValueError, match="cannot be read"):
        names_in(made.certificate)


# ------------------------------------------------------------------------------------------- keys


def public_rsa(modulus: int, exponent: int) -> bytes:
    """A SubjectPublicKeyInfo with numbers that no library would make."""

    def tlv(tag: int, body: bytes) -> bytes:
        length = len(body)
        size = b"" if length < 128 else length.to_bytes((length.bit_length() + 7) // 8, "big")
        return bytes([tag, 0x80 | len(size) if size else length]) + size + body

    numbers = b"".join(tlv(2, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in (modulus, exponent))
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    return tlv(0x30, algorithm + tlv(3, b"\0" + tlv(0x30, numbers)))


@pytest.mark.parametrize("exponent", [1, 2, 3, 65_535, 65_538, (1 << 256) + 1, (1 << 2000) + 1])
def test_an_rsa_key_with_a_strange_exponent_is_not_used(exponent: int) -> None:
    """FIPS 186-5 section A.1.1. With 1, anybody signs; a long one costs whoever verifies."""
    modulus = KEYS["rsa-pss-sha256"].public_key().public_numbers().n
    assert not RSA.verifier(public_rsa(modulus, 65_537))(b"", b"")
    with pytest.raises(ValueError, match=r"exponent|e must be"):
        RSA.verifier(public_rsa(modulus, exponent))


def test_an_rsa_key_with_an_even_modulus_is_not_used() -> None:
    with pytest.raises(ValueError, match="modulus"):
        RSA.verifier(public_rsa(1 << 2047, 65_537))


def test_a_huge_rsa_key_is_refused_before_anything_is_verified_with_it() -> None:
    huge = public_rsa((1 << 16_383) | 1, 65_537)
    with pytest.raises(ValueError, match="RSA key of 16384 bits"):
        RSA.verifier(huge)
    old = MIDDLE.certificate.public_bytes(Encoding.DER)
    inside = MIDDLE.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert inside in old  # a forged certificate in between, whose signature nobody gets to verify
    grown = _with_key(old, inside, huge)
    me = identity(LEAF, MIDDLE)
    me.credential = msgspec.msgpack.encode([LEAF.certificate.public_bytes(Encoding.DER), grown])
    assert "RSA with 16384 bits" in str(refused(judged(me, policy_for(INITIATOR))))


def _with_key(der: bytes, old: bytes, new: bytes) -> bytes:
    """A certificate with another key in the place of its own, and all lengths around it mended."""

    def header(tag: int, length: int) -> bytes:
        return bytes([tag, 0x82]) + length.to_bytes(2, "big")

    outer = der[4:]  # SEQUENCE, in the long form with 2 bytes of length
    signed_length = int.from_bytes(outer[2:4], "big")
    signed, rest = outer[4 : 4 + signed_length], outer[4 + signed_length :]
    signed = signed.replace(old, new)
    body = header(0x30, len(signed)) + signed + rest
    return header(0x30, len(body)) + body


def test_a_leafs_curve_must_be_that_of_its_scheme() -> None:
    for curve in (ec.SECP521R1(), ec.SECP256K1(), ec.SECP224R1()):
        leaf = ROOT.issue(ec.generate_private_key(curve))
        me = identity(ROOT.issue())
        me.credential = msgspec.msgpack.encode([leaf.certificate.public_bytes(Encoding.DER)])
        error = refused(judged(me, policy_for(INITIATOR)))
        assert error.alert == AlertCode.BAD_CERTIFICATE
    small = identity(ROOT.issue(KEYS["ecdsa-p384-sha384"]))
    small.scheme = "ecdsa-p256-sha256"
    assert "another scheme" in str(refused(judged(small, policy_for(INITIATOR))))


def test_weak_digests_of_every_kind_are_refused() -> None:
    for digest in (hashes.SHA224(), hashes.SHA3_256()):
        for by, leaf in _signed_with(digest):
            error = refused(judged(identity(leaf), policy_for(INITIATOR, by)))
            assert error.message


def _signed_with(digest: Any) -> Sequence[tuple[Made, Made]]:
    root = authority("rsa-pss-sha256", "Old")
    return ((ROOT, ROOT.issue(digest=digest)), (root, root.issue(digest=digest)))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_no_key_of_the_path_is_weaker_than_the_policy_wants(place: int) -> None:
    """Not only the leaf's: also those in between, and the root's where it is in the path."""
    keys = [rsa.generate_private_key(65_537, 2048 if place == number else 2304) for number in range(3)]
    root = issue(keys[2], subject="Root 2", ca=True)
    middle = issue(keys[1], by=root, subject="Middle 2", ca=True)
    leaf = issue(keys[0], by=middle)
    if place == 2:
        with pytest.raises(ValueError, match="authority has a weak key"):
            policy_for(INITIATOR, root, min_rsa_bits=2304)
        return
    welcomed(judged(identity(leaf, middle), policy_for(INITIATOR, root)))
    error = refused(judged(identity(leaf, middle), policy_for(INITIATOR, root, min_rsa_bits=2304)))
    assert "weak key" in error.message
    assert "2048 bits" in str(error.received)


@BOTH
def test_names_are_those_of_the_key_that_signed(judging: Role) -> None:
    """A kind of the application's gives the chain of somebody else as evidence, beside a key that the peer owns."""

    class Mixed(X509Chains):
        def read(self, credential: bytes, scheme: str) -> Presented:
            return Presented((BOB.public,), evidence=(LEAF.certificate, MIDDLE.certificate))

    policy = policy_for(judging)
    policy.kinds = {"x509": Mixed()}
    me = BOB.presenting("x509", b"mine")
    error = refused(judged(me, policy, judging), judging)
    assert error.message == "the peer showed no certificate"


# ------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("name", ["a_b.example", "-a.example", "a" * 64 + ".example", "a-.example"])
def test_a_name_that_no_certificate_can_match_is_refused_early(name: str) -> None:
    with pytest.raises(ValueError, match="no DNS name"):
        trust.authorities([ROOT.certificate], name=name)


def test_a_certificate_whose_first_name_is_strange_is_still_for_another_name() -> None:
    error = refused(judged(identity(ROOT.issue(names=["_a.example", "other.example"])), policy_for(INITIATOR)))
    assert error.message == "the peer's certificate is for another name"


# ------------------------------------------------------------------------------------------- what is said of it

STEERING = "evil\n2030-01-01 all is well\r\x1b[2J\u202e"


def test_what_a_peer_calls_itself_does_not_steer_a_terminal_or_forge_a_line_of_a_log() -> None:
    """Nothing is proved yet when it is said: whoever can connect could write it."""
    for made in (authority(subject=STEERING).issue(), issue(KEYS["ed25519"], subject=STEERING)):
        text = str(refused(judged(identity(made), policy_for(INITIATOR))))
        assert text.isprintable()
        assert "evil\\n2030" in text
    with pytest.raises(AuthenticationFailed) as caught:
        read_document("did:web:a", {"id": "did:web:a", "authentication": 5, STEERING: 6})
    assert str(caught.value).isprintable()
    assert str(AuthenticationFailed(STEERING, received="b\0", hint="\x07")).isprintable()


def test_what_is_said_of_a_peer_is_short() -> None:
    long = ROOT.issue(names=["other.example"], uris=["https://" + "a" * 12_000])
    assert len(str(refused(judged(identity(long), policy_for(INITIATOR))))) < 1000
    subject = authority(subject="x" * 60).issue(
        names=[f"{'y' * 60}.{'z' * 60}.{number}.example" for number in range(99)]
    )
    assert len(str(refused(judged(identity(subject), policy_for(INITIATOR))))) < 1000


# ------------------------------------------------------------------------------------------- what it costs


def test_a_chain_at_its_bounds_costs_little() -> None:
    """The longest that is read, of the longest keys, and forged throughout: it is refused, and no path is searched for long."""
    key = rsa.generate_private_key(65_537, 2048)
    chain: list[Made] = []
    above: Made | None = None
    for number in range(8):
        above = issue(key, by=above, subject=f"CA {number}", ca=number < 7)
        chain.insert(0, above)
    tracemalloc.start()
    error = refused(judged(identity(*chain), policy_for(INITIATOR)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "unknown authority" in str(error)
    assert peak < 4 << 20


def test_decoded_chains_are_exactly_what_was_signed() -> None:
    der = LEAF.certificate.public_bytes(Encoding.DER)
    assert decode_chain(msgspec.msgpack.encode([der])) == (LEAF.certificate,)
    for wrong in (b"\xdd\0\0\0\x01" + msgspec.msgpack.encode(der), b"\x91\xc6\0\0" + len(der).to_bytes(2, "big") + der):
        with pytest.raises(ValueError, match="shortest form"):
            decode_chain(wrong)
    with pytest.raises(ValueError):
        decode_chain(b"\x91\xda" + len(der).to_bytes(2, "big") + der)  # a string is no bin


@pytest.mark.parametrize("hours", [-1, 1])
def test_time_is_that_of_the_argument(hours: int) -> None:
    begins, ends = timedelta(hours=-1), timedelta(hours=1)
    leaf = identity(ROOT.issue(begins=begins, ends=ends))
    welcomed(judged(leaf, policy_for(INITIATOR), now=NOW + timedelta(hours=hours)))
    over = NOW + timedelta(hours=hours, seconds=hours)
    word = "expired" if hours > 0 else "not yet valid"
    assert word in str(refused(judged(leaf, policy_for(INITIATOR), now=over)))
    assert BOB.credential_type == "raw-public-key"
