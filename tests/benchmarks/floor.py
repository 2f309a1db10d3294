"""The floor: the calls into `cryptography` and `hashlib` that a default handshake needs, written straight-line.

X25519MLKEM768, AES-256-GCM, SHA-384, mutual Ed25519, both sides, with the fastest call for each primitive and messages of
the sizes that really travel. No framing, no parsing, no decisions, no objects: nothing can be left out of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_SHA384 = hashlib.sha384


def _hmac(key: bytes, message: bytes) -> bytes:
    key = key.ljust(128, b"\0")
    return _SHA384(key.translate(_OUTER) + _SHA384(key.translate(_INNER) + message).digest()).digest()


_INFO = b"\0\x30\x17nautilus1 a label     \x30"
_KEY_INFO = b"\0\x20\x0dnautilus1 key\0\x01"
_IV_INFO = b"\0\x0c\x0cnautilus1 iv\0\x01"


def make_floor(
    identities: tuple[Ed25519PrivateKey, Ed25519PrivateKey], flights: tuple[int, int, int, int, int]
) -> Callable[[], None]:
    """A function that makes all calls of one handshake.

    `flights` gives the bytes hashed before the keys, and the plaintext lengths of the four sealed messages.
    """
    initiator, responder = identities
    initiator_public = initiator.public_key()  # pinned: parsed once, not in every handshake
    responder_public = responder.public_key()
    early = bytes(flights[0])
    sealed = [bytes(length) for length in flights[1:]]
    zeros = bytes(48)
    nonces = [bytes(11) + bytes((n,)) for n in range(4)]
    header = bytes(4)
    content = bytes(64 + 34 + 48)
    presented = bytes(70)

    def keys(shared: bytes, transcript: bytes) -> tuple[bytes, bytes, AESGCM, AESGCM]:
        secret = _hmac(zeros, shared)
        i_hs, r_hs = _hmac(secret, _INFO + transcript), _hmac(secret, _INFO + transcript)
        i_key, _ = _hmac(i_hs, _KEY_INFO), _hmac(i_hs, _IV_INFO)
        r_key, _ = _hmac(r_hs, _KEY_INFO), _hmac(r_hs, _IV_INFO)
        return secret, i_hs, AESGCM(i_key[:32]), AESGCM(r_key[:32])

    def session(secret: bytes, transcript: bytes) -> tuple[AESGCM, AESGCM]:
        master = _hmac(_hmac(secret, _INFO), zeros)
        i_ap, r_ap = _hmac(master, _INFO + transcript), _hmac(master, _INFO + transcript)
        _hmac(master, _INFO + transcript)
        i_key, _ = _hmac(i_ap, _KEY_INFO), _hmac(i_ap, _IV_INFO)
        r_key, _ = _hmac(r_ap, _KEY_INFO), _hmac(r_ap, _IV_INFO)
        return AESGCM(i_key[:32]), AESGCM(r_key[:32])

    def finished(secret: bytes, transcript: bytes) -> bytes:
        return _hmac(_hmac(secret, _INFO), transcript)

    def floor() -> None:
        os.urandom(42)
        os.urandom(5)
        i_kem = MLKEM768PrivateKey.generate()
        i_kem_share = i_kem.public_key().public_bytes_raw()
        i_dh = X25519PrivateKey.generate()
        i_dh_share = i_dh.public_key().public_bytes_raw()

        os.urandom(32)
        os.urandom(5)
        kem_secret, ciphertext = MLKEM768PublicKey.from_public_bytes(i_kem_share).encapsulate()
        r_dh = X25519PrivateKey.generate()
        r_dh_share = r_dh.public_key().public_bytes_raw()
        r_shared = kem_secret + r_dh.exchange(X25519PublicKey.from_public_bytes(i_dh_share))
        r_hash = _SHA384(early)
        r_secret, r_hs, r_open, r_seal = keys(r_shared, r_hash.copy().digest())
        signature = responder.sign(content + r_hash.copy().digest() + _SHA384(presented).digest())
        proof = r_seal.encrypt(nonces[0], sealed[0], header)
        r_hash.update(sealed[0])
        finished(r_hs, r_hash.copy().digest())
        mac = r_seal.encrypt(nonces[1], sealed[1], header)
        r_hash.update(sealed[1])

        i_shared = i_kem.decapsulate(ciphertext) + i_dh.exchange(X25519PublicKey.from_public_bytes(r_dh_share))
        i_hash = _SHA384(early)
        i_secret, i_hs, i_seal, i_open = keys(i_shared, i_hash.copy().digest())
        i_open.decrypt(nonces[0], proof, header)
        signed = content + i_hash.copy().digest() + _SHA384(presented).digest()
        responder_public.verify(signature, signed)
        i_hash.update(sealed[0])
        i_open.decrypt(nonces[1], mac, header)
        finished(i_hs, i_hash.copy().digest())
        i_hash.update(sealed[1])
        signature = initiator.sign(content + i_hash.copy().digest() + _SHA384(presented).digest())
        proof = i_seal.encrypt(nonces[0], sealed[2], header)
        i_hash.update(sealed[2])
        finished(i_hs, i_hash.copy().digest())
        mac = i_seal.encrypt(nonces[1], sealed[3], header)
        i_hash.update(sealed[3])
        _, i_reading = session(i_secret, i_hash.copy().digest())

        r_open.decrypt(nonces[0], proof, header)
        signed = content + r_hash.copy().digest() + _SHA384(presented).digest()
        initiator_public.verify(signature, signed)
        r_hash.update(sealed[2])
        r_open.decrypt(nonces[1], mac, header)
        finished(r_hs, r_hash.copy().digest())
        r_hash.update(sealed[3])
        r_writing, _ = session(r_secret, r_hash.copy().digest())
        accept = r_writing.encrypt(nonces[0], b"\x91\xa6accept", header)
        i_reading.decrypt(nonces[0], accept, header)

    return floor
