"""Who takes part: identities and static keys that are the same whenever they are made. They are for these transcripts alone."""

from __future__ import annotations

from functools import cache
from hashlib import sha512
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from nautilus_core import Identity, PreSharedKey, Role
from nautilus_core.crypto.signatures import SCHEMES, PrivateKey
from nautilus_core.noise import KeyPair
from nautilus_core.noise.functions import DH_FUNCTIONS

PSKS: Final = tuple(bytes([number]) * 32 for number in (0xA1, 0xA2))
MALLORY: Final = "mallory"
_RSA_KEY: Final = Path(__file__).with_name("rsa.pem")
"""RSA keys alone cannot be made of a seed: this one is for these transcripts, and worth nothing elsewhere."""


def seed(name: str, length: int) -> bytes:
    """The private bytes of a key; no transcript has them."""
    return sha512(b"tests/transcripts " + name.encode()).digest()[:length]


@cache
def rsa_key() -> RSAPrivateKey:
    """The one RSA key that there is."""
    key = load_pem_private_key(_RSA_KEY.read_bytes(), None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError(key)
    return key


def private_key(name: str, scheme: str) -> PrivateKey:
    """The key of an identity."""
    if scheme == "rsa-pss-sha256":
        return rsa_key()
    if scheme == "ed25519":
        return Ed25519PrivateKey.from_private_bytes(seed(name, 32))
    if scheme == "ml-dsa-65":
        return MLDSA65PrivateKey.from_seed_bytes(seed(name, 32))
    curve, length = {"ecdsa-p256-sha256": (SECP256R1(), 31), "ecdsa-p384-sha384": (SECP384R1(), 47)}[scheme]
    return derive_private_key(int.from_bytes(seed(name, length), "big"), curve)


AUTHORITIES: Final = ("authority", "authority in between", "another authority")
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


def psk(identity: str, function: str = "SHA256", *, key: str | None = None, reflected: bool = False) -> PreSharedKey:
    """The pre-shared key of node and gateway that is called so; another `key` under the same name, or for the other direction."""
    nodes = ("gateway", "node") if reflected else ("node", "gateway")
    return PreSharedKey(
        identity, seed(f"psk {key or identity}", 32), initiator=nodes[0], responder=nodes[1], hash=function
    )


PSK_NAMES: Final = ("office", "cellar")


def private_bytes() -> list[bytes]:
    """What must stand in no transcript: the private part of each key here."""
    whole = [seed(who, length) for who in (*(one for one, _ in IDENTITIES), *AUTHORITIES) for length in (31, 32, 47)]
    whole += [seed(f"static {role.value}", functions.length) for functions in DH_FUNCTIONS.values() for role in Role]
    psks = [psk(name, function) for name in PSK_NAMES for function in ("SHA256", "SHA384")]
    whole += [secret for one in psks for secret in (one.key, one.imported)]
    numbers = rsa_key().private_numbers()
    return whole + [
        secret.to_bytes(-(-secret.bit_length() // 8), "big") for secret in (numbers.d, numbers.p, numbers.q)
    ]
