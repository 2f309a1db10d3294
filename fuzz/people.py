"""Who takes part in the harnesses' handshakes: fixed identities of every kind, and a profile of each sort. Never for real use.

All keys are written here or made of what is written here, so that an input does the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    ChannelBinding,
    ChannelBindings,
    Context,
    CustomProtocolStep,
    Identities,
    Identity,
    Message,
    MultiMessageStep,
    PreSharedKey,
    Profile,
    Question,
    ResolveIdentity,
    Role,
    Stage,
    profiles,
    trust,
)
from nautilus_core.identity.multikey import encode_multikey

SECURE_SUITES: Final = ("X25519_AES128GCM_SHA256", "X25519MLKEM768_AES256GCM_SHA384", "P256_AES128GCM_SHA256")
HYBRID_SUITES: Final = ("X25519MLKEM768_AES256GCM_SHA384", "SecP384R1MLKEM1024_AES256GCM_SHA384")
NOISE_SUITES: Final = ("Noise_XX_25519_ChaChaPoly_SHA256", "X25519_AES128GCM_SHA256")
RETRIED_SUITES: Final = ("P256_AES128GCM_SHA256", "X25519_CHACHA20POLY1305_SHA256")

NOW: Final = datetime(2030, 6, 1, 12, tzinfo=UTC)
DID: Final = "did:web:fuzz.example"
PSK: Final = b"\xa5\x5a" * 16
"""The key of the psks: no error may show it."""


class _Talk(MultiMessageStep):
    name = "talk"
    sender = INITIATOR

    def __init__(self) -> None:
        self._left = 3

    def write(self, context: Context) -> bytes:
        self._left -= 1
        self.finished = self._left == 0
        return b"line"

    def read(self, context: Context, message: bytes) -> None:
        self._left -= 1
        self.finished = self._left == 0


class Quota(Question[int], frozen=True, kw_only=True):
    """What a step of ours asks."""


class Note(Message, frozen=True, tag="note"):
    """What a typed step of ours says."""

    text: str
    number: int
    tags: tuple[str, ...] = ()


def _asking() -> CustomProtocolStep[bytes]:
    def read(context: Context, message: bytes) -> Any:
        context.publish((yield from context.ask(Quota())))

    return CustomProtocolStep("asking", RESPONDER, write=lambda _: b"quota", read=read)


def _note() -> CustomProtocolStep[Note]:
    return CustomProtocolStep(
        "note", RESPONDER, write=lambda _: Note("hello", 7, ("a",)), read=lambda _, note: None, message=Note,
        required=False, needs=Stage.KEYS,
    )  # fmt: skip


SECRETS: Final[Mapping[Role, bytes]] = MappingProxyType(
    {role: bytes((0xC0 + (role is INITIATOR),)) * 32 for role in Role}
)
"""The private keys of the identities: no error may show them."""
KEYS: Final = {role: Ed25519PrivateKey.from_private_bytes(secret) for role, secret in SECRETS.items()}
IDENTITIES: Final = {role: Identity(key) for role, key in KEYS.items()}


def _certificate(subject: str, key: Any, issuer: str, issuer_key: Any, *, ca: bool) -> x509.Certificate:
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2045, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
        .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), True)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("fuzz.example")]), False)
    return builder.sign(issuer_key, SHA256(), ecdsa_deterministic=True)


@cache
def certificates() -> dict[str, Any]:
    """A root, an intermediate, and a leaf for each role's key; made once."""
    root_key, middle_key = (derive_private_key(number, SECP256R1()) for number in (11, 12))
    made: dict[str, Any] = {
        "root": _certificate("Root", root_key, "Root", root_key, ca=True),
        "middle": _certificate("Middle", middle_key, "Root", root_key, ca=True),
    }
    for role, key in KEYS.items():
        made[role.value] = _certificate(role.value, key, "Middle", middle_key, ca=False)
    return made


@cache
def certified(role: Role) -> Identity:
    """The identity with its certificates."""
    made = certificates()
    return Identity.with_certificates(KEYS[role], [made[role.value], made["middle"]])


def document(role: Role) -> dict[str, Any]:
    """The DID document of `DID`, with the key of a role under authentication, and one that is not."""
    key = {
        "id": "#key-1",
        "type": "Multikey",
        "controller": DID,
        "publicKeyMultibase": encode_multikey(IDENTITIES[role].public),
    }
    other = key | {"id": "#key-2", "publicKeyMultibase": encode_multikey(IDENTITIES[role.peer].public)}
    return {"id": DID, "verificationMethod": [key, other], "authentication": [DID + "#key-1"]}


PSKS: Final = tuple(
    [PreSharedKey("link", PSK, initiator="fuzz-i", responder="fuzz-r", hash=name) for name in ("SHA256", "SHA384")]
)


def _asked(peer: Any, context: Context) -> Any:
    yield from context.ask(Quota())


def _plain(role: Role, asks: bool, **more: Any) -> Profile:
    arguments: dict[str, Any] = {"identity": IDENTITIES[role], "trust": trust.anyone(), "suites": SECURE_SUITES, **more}
    if asks:
        arguments["trust"] = trust.ask() if "trust" not in more else trust.decided_by(_asked, arguments["trust"])
    return profiles.nautilus(**arguments)


def _custom(role: Role, asks: bool) -> Profile:
    made = _plain(
        role,
        asks,
        suites=RETRIED_SUITES if role is INITIATOR else RETRIED_SUITES[::-1],
        protocols=["fuzz/2", "fuzz/1"],
        target="fuzz.example" if role is INITIATOR else None,
        extensions={"color": b"blue"},
    )
    for step in (_Talk, _asking, _note):
        made = made.insert_before("initiator-finished", step)
    return made


def _anonymous(role: Role, asks: bool) -> Profile:
    return _plain(role, asks, identity=ANONYMOUS, trust=trust.anyone(anonymous=True), datagrams=True)


def _noise(role: Role, asks: bool) -> Profile:
    return _plain(role, asks, suites=NOISE_SUITES, noise_static=bytes([1 + (role is INITIATOR)]) * 32)


def _psk(role: Role, asks: bool) -> Profile:
    return _plain(role, asks, trust=trust.psk(), psks=PSKS, psk_name="fuzz-i" if role is INITIATOR else "fuzz-r")


def _x509(role: Role, asks: bool) -> Profile:
    policy = trust.authorities([certificates()["root"]], name="fuzz.example" if role is INITIATOR else None)
    return _plain(role, asks, identity=certified(role), trust=policy)


def _did(role: Role, asks: bool) -> Profile:
    by_key, by_web = IDENTITIES[role].with_did(), IDENTITIES[role].with_did(f"{DID}#key-1")
    identity = Identities(by_key, {"fuzz.example": by_web}) if role is RESPONDER else by_key
    target = "fuzz.example" if role is INITIATOR else None
    return _plain(role, asks, identity=identity, trust=trust.dids(lambda did: True), target=target)


PROFILES: Final[Mapping[str, Callable[[Role, bool], Profile]]] = MappingProxyType(
    {
        "plain": _plain,
        "hybrid": lambda role, asks: _plain(role, asks, suites=HYBRID_SUITES),
        "custom": _custom,
        "anonymous": _anonymous,
        "noise": _noise,
        "psk": _psk,
        "x509": _x509,
        "did": _did,
        "bound": _plain,
    }
)
"""Plain, hybrid, with a retry and custom steps, anonymous, a Noise protocol as a suite, by kind of trust, bound to a channel."""

BINDINGS: Final[Mapping[str, ChannelBindings]] = MappingProxyType(
    {
        "bound": ChannelBindings(
            (ChannelBinding("tls-exporter", b"\x3c" * 32), ChannelBinding("tls-server-end-point", b"\xc3" * 48))
        )
    }
)
"""What names the channel below a profile's handshakes, at both ends; the others have none."""


@cache
def profile(role: Role, name: str, asks: bool = False) -> Profile:
    """One of `PROFILES`; `asks` for a policy that asks the application."""
    return PROFILES[name](role, asks)


def answer(question: Any, role: Role, *, favourably: bool = True) -> None:
    """Answer what these profiles ask at the end `role`; a quota is never refused."""
    if isinstance(question, Quota):
        question.answer(7)
    elif isinstance(question, ResolveIdentity):
        question.answer(document(role.peer)) if favourably else question.unresolvable("fuzzed")
    elif favourably:
        question.accept()
    else:
        question.reject("fuzzed")
