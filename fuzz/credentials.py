"""Fuzzes credentials: raw public keys, chains of certificates, DIDs with what is looked up for them, and their policies.

Byte 0 chooses the kind, byte 1 the scheme and the policy; the rest is the credential. A DID has its document after a zero byte.
The proof of possession always verifies (there is no security), so that the policy sees what a thief of a key would present.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from fuzz.checks import Finding, check_text
from fuzz.insecure import insecure_provider
from fuzz.people import DID, IDENTITIES, NOW, certificates, certified, document
from fuzz.structure import changed_json, changed_msgpack
from nautilus_core import INITIATOR, RESPONDER, HandshakeError, PublicKey, Role, TrustPolicy, trust
from nautilus_core.identity.credentials import Presented, RawPublicKeys
from nautilus_core.identity.did import DidCredentials, stands_under
from nautilus_core.identity.peers import verify_possession
from nautilus_core.identity.policy import settle
from nautilus_core.identity.x509 import X509Chains, decode_chain, encode_chain, names_in

SCHEMES: Final = ("ed25519", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "ml-dsa-65", "rsa-pss-sha256")


_ANY: Final = 195
"""The responder's second policy, and a scheme that is ed25519."""


class _Context:
    """What policies see of a handshake."""

    psk = None
    wall_time = NOW

    def __init__(self, role: Role) -> None:
        self.role = role
        self.extensions: dict[str, bytes] = {}


@cache
def _policies() -> dict[str, list[TrustPolicy]]:
    root = certificates()["root"]
    return {
        "x509": [trust.authorities([root], name="fuzz.example"), trust.authorities([root])],
        "did": [trust.dids(DID), trust.dids(methods=["key", "peer"])],
        "raw-public-key": [trust.pinned(IDENTITIES[INITIATOR].public), trust.anyone()],
    }


def _judge(name: str, presented: Presented, choice: int) -> None:
    with insecure_provider():
        peer = verify_possession(name, presented, b"", b"")
        role = RESPONDER if choice & 64 else INITIATOR
        context: Any = _Context(role)
        policy = _policies()[name][0 if role is INITIATOR else choice >> 7]
        verified = [peer]
        for _ in settle(policy.authorize(peer, context), peer, verified.append) or ():
            raise Finding("a policy that asks, which none of these does")
        if verified[-1].public_key not in presented.keys:
            raise Finding(f"{verified[-1]!r} presented other keys")


def _raw(data: bytes, choice: int) -> None:
    scheme = SCHEMES[choice % len(SCHEMES)]
    presented = RawPublicKeys().read(data, scheme)
    (key,) = presented.keys
    if key.data != data or PublicKey(key.scheme, key.data) != key or key.verify(bytes(64), b"message"):
        raise Finding(f"{key!r} is not the key that was presented")
    _judge("raw-public-key", presented, choice)


def _x509(data: bytes, choice: int) -> None:
    chain = decode_chain(data)
    if encode_chain(chain) != data:
        raise Finding("a chain that is not encoded as it was read")
    names_in(chain[0])
    presented = X509Chains().read(data, SCHEMES[choice % len(SCHEMES)])
    _judge("x509", presented, choice)


def _did(data: bytes, choice: int) -> None:
    credential, _, found = data.partition(b"\0")
    scheme = SCHEMES[choice % len(SCHEMES)]
    reading = DidCredentials().read(credential, scheme)
    if not isinstance(reading, Presented):
        next(reading)
        try:
            reading.send(found)
        except StopIteration as stop:
            reading = stop.value
    if not isinstance(reading, Presented) or not 1 <= len(reading.keys) <= 16:
        raise Finding(f"a DID was read as {reading!r}")
    if reading.identifier != credential.decode().partition("#")[0]:
        raise Finding(f"{credential!r} was read as {reading.identifier!r}")
    for key in reading.keys if not found else ():
        if stands_under(credential.decode(), key) != credential:
            raise Finding(f"{key!r} does not stand under {credential!r}")
    _judge("did", reading, choice)


KINDS: Final[list[Callable[[bytes, int], None]]] = [_raw, _x509, _did]


def one_input(data: bytes) -> None:
    """One input; raises whatever is neither `ValueError`, which a kind says it may raise, nor `HandshakeError`."""
    if len(data) < 2:
        return
    try:
        KINDS[data[0] % len(KINDS)](data[2:], data[1])
    except (ValueError, HandshakeError) as error:
        if isinstance(error, HandshakeError):
            check_text(error, ())


def mutate(data: bytes, choose: random.Random) -> bytes | None:
    """A changed element of the chain, or of the DID's document."""
    kind = data[0] % len(KINDS) if data else 0
    if kind == 1:
        changed = changed_msgpack(data[2:], choose)
        return None if changed is None else data[:2] + changed
    head, zero, found = data[2:].partition(b"\0")
    changed = changed_json(found, choose) if kind == 2 and zero else None
    return None if changed is None else data[:2] + head + zero + changed


def seeds() -> dict[str, bytes]:
    """Every kind as our own identities present it, and some that are wrong."""
    made: dict[str, bytes] = {}
    me = IDENTITIES[INITIATOR]
    for number, scheme in enumerate(SCHEMES[:1]):
        made[f"raw-{scheme}"] = bytes((0, number)) + me.credential
    made["raw-p256"] = bytes((0, 1)) + b"\x04" + bytes(64)
    made["raw-small-order"] = bytes((0, 0)) + bytes(32)
    leaf, middle, root = (certificates()[name].public_bytes(Encoding.DER) for name in ("initiator", "middle", "root"))
    for name, chain in (
        ("chain", [leaf, middle]), ("whole", [leaf, middle, root]), ("leaf", [leaf]), ("order", [middle, leaf]), ("root", [root]),
    ):  # fmt: skip
        for choice in (0, 70, _ANY, 1) if name == "chain" else (0,):
            made[f"x509-{name}-{choice}"] = bytes((1, choice)) + msgspec.msgpack.encode(chain)
    made["x509-other"] = bytes((1, 0)) + certified(RESPONDER).credential
    web = msgspec.json.encode(document(INITIATOR))
    made["did-key"] = bytes((2, _ANY)) + me.with_did().credential
    made["did-web"] = bytes((2, 0)) + f"{DID}\0".encode() + web
    made["did-web-fragment"] = bytes((2, 0)) + f"{DID}#key-1\0".encode() + web
    made["did-web-not-authentication"] = bytes((2, 0)) + f"{DID}#key-2\0".encode() + web
    multikey = me.with_did().credential.decode().removeprefix("did:key:").partition("#")[0]
    made["did-peer-0"] = bytes((2, _ANY)) + f"did:peer:0{multikey}".encode()
    made["did-peer-2"] = bytes((2, _ANY)) + f"did:peer:2.V{multikey}.E{multikey}.SeyJ0IjoiZG0ifQ".encode()
    return made
