"""Who takes part: identities and static keys that are the same whenever they are made. They are for these transcripts alone."""

from __future__ import annotations

from hashlib import sha512
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from nautilus_core import Identity, Role
from nautilus_core.crypto.signatures import SCHEMES, PrivateKey
from nautilus_core.noise import KeyPair
from nautilus_core.noise.functions import DH_FUNCTIONS

PSKS: Final = tuple(bytes([number]) * 32 for number in (0xA1, 0xA2))
MALLORY: Final = "mallory"


def seed(name: str, length: int) -> bytes:
    """The private bytes of a key; no transcript has them."""
    return sha512(b"tests/transcripts " + name.encode()).digest()[:length]


def private_key(name: str, scheme: str) -> PrivateKey:
    """The key of an identity."""
    if scheme == "ed25519":
        return Ed25519PrivateKey.from_private_bytes(seed(name, 32))
    if scheme == "ml-dsa-65":
        return MLDSA65PrivateKey.from_seed_bytes(seed(name, 32))
    curve, length = {"ecdsa-p256-sha256": (SECP256R1(), 31), "ecdsa-p384-sha384": (SECP384R1(), 47)}[scheme]
    return derive_private_key(int.from_bytes(seed(name, length), "big"), curve)


IDENTITIES: Final = {
    (who, scheme): Identity(private_key(who, scheme))
    for who in ("initiator", "responder", MALLORY)
    for scheme in SCHEMES
}


def identity(who: str, scheme: str = "ed25519") -> Identity:
    """The identity of `initiator`, `responder` or `mallory`."""
    return IDENTITIES[who, scheme]


STATIC: Final[dict[tuple[str, Role], KeyPair]] = {
    (dh, role): functions.key_pair(seed(f"static {role.value}", functions.length))
    for dh, functions in DH_FUNCTIONS.items()
    for role in Role
}


def private_bytes() -> list[bytes]:
    """What must stand in no transcript: the private part of each key here."""
    whole = [seed(who, length) for who, _ in IDENTITIES for length in (31, 32, 47)]
    return whole + [
        seed(f"static {role.value}", functions.length) for functions in DH_FUNCTIONS.values() for role in Role
    ]
