"""The floor for Noise: the calls into `cryptography` and `hashlib` that a handshake needs, written straight-line.

XX, IK and NN with 25519, ChaChaPoly and SHA256, both sides, with the fastest call for each primitive, real sizes and real
values: each handshake ends with the same transport keys on both sides. No tokens, no objects of ours, no checks. HKDF is one call
of `cryptography`; ours is made of six hash calls and costs a little less, which the ratios contain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from struct import Struct
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Floor = Callable[[], tuple[bytes, bytes]]

_SHA256: Final = hashlib.sha256
_ALGORITHM: Final = SHA256()
_nonce: Final = Struct("<4xQ").pack
_parse: Final = X25519PublicKey.from_public_bytes
_generate: Final = X25519PrivateKey.generate


def _name(pattern: str) -> bytes:
    name = f"Noise_{pattern}_25519_ChaChaPoly_SHA256".encode()
    return name if len(name) == 32 else name.ljust(32, b"\0") if len(name) < 32 else _SHA256(name).digest()


def xx_floor(initiator: X25519PrivateKey, responder: X25519PrivateKey) -> Floor:
    """All calls of one XX handshake."""
    name = _name("XX")
    i_public, r_public = initiator.public_key().public_bytes_raw(), responder.public_key().public_bytes_raw()

    def floor() -> tuple[bytes, bytes]:
        # -> e, by the initiator
        ih = _SHA256(name).digest()
        ie = _generate()
        ie_public = ie.public_key().public_bytes_raw()
        ih = _SHA256(ih + ie_public).digest()
        ih = _SHA256(ih).digest()
        # -> e, by the responder
        rh = _SHA256(name).digest()
        ire = _parse(ie_public)
        rh = _SHA256(rh + ie_public).digest()
        rh = _SHA256(rh).digest()
        # <- e, ee, s, es by the responder
        re = _generate()
        re_public = re.public_key().public_bytes_raw()
        rh = _SHA256(rh + re_public).digest()
        okm = HKDF(_ALGORITHM, 64, name, b"").derive(re.exchange(ire))
        cipher = ChaCha20Poly1305(okm[32:])
        s1 = cipher.encrypt(_nonce(0), r_public, rh)
        rh = _SHA256(rh + s1).digest()
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(responder.exchange(ire))
        rcipher = ChaCha20Poly1305(okm[32:])
        rck = okm[:32]
        p1 = rcipher.encrypt(_nonce(0), b"", rh)
        rh = _SHA256(rh + p1).digest()
        message = re_public + s1 + p1
        # <- e, ee, s, es by the initiator
        re_public = message[:32]
        rre = _parse(re_public)
        ih = _SHA256(ih + re_public).digest()
        okm = HKDF(_ALGORITHM, 64, name, b"").derive(ie.exchange(rre))
        cipher = ChaCha20Poly1305(okm[32:])
        s1 = message[32:80]
        rrs = _parse(cipher.decrypt(_nonce(0), s1, ih))
        ih = _SHA256(ih + s1).digest()
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(ie.exchange(rrs))
        icipher = ChaCha20Poly1305(okm[32:])
        p1 = message[80:]
        icipher.decrypt(_nonce(0), p1, ih)
        ih = _SHA256(ih + p1).digest()
        # -> s, se by the initiator
        s2 = icipher.encrypt(_nonce(1), i_public, ih)
        ih = _SHA256(ih + s2).digest()
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(initiator.exchange(rre))
        cipher = ChaCha20Poly1305(okm[32:])
        p2 = cipher.encrypt(_nonce(0), b"", ih)
        ih = _SHA256(ih + p2).digest()
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(b"")
        keys = okm
        message = s2 + p2
        # -> s, se by the responder
        s2 = message[:48]
        rrs = _parse(rcipher.decrypt(_nonce(1), s2, rh))
        rh = _SHA256(rh + s2).digest()
        okm = HKDF(_ALGORITHM, 64, rck, b"").derive(re.exchange(rrs))
        cipher = ChaCha20Poly1305(okm[32:])
        p2 = message[48:]
        cipher.decrypt(_nonce(0), p2, rh)
        rh = _SHA256(rh + p2).digest()
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(b"")
        return keys, okm

    return floor


def ik_floor(initiator: X25519PrivateKey, responder: X25519PrivateKey) -> Floor:
    """All calls of one IK handshake; what is known before is parsed before."""
    name = _name("IK")
    i_public, r_public = initiator.public_key().public_bytes_raw(), responder.public_key().public_bytes_raw()
    r_known = responder.public_key()

    def floor() -> tuple[bytes, bytes]:
        # -> e, es, s, ss by the initiator
        ih = _SHA256(_SHA256(name).digest() + r_public).digest()
        ie = _generate()
        ie_public = ie.public_key().public_bytes_raw()
        ih = _SHA256(ih + ie_public).digest()
        okm = HKDF(_ALGORITHM, 64, name, b"").derive(ie.exchange(r_known))
        s1 = ChaCha20Poly1305(okm[32:]).encrypt(_nonce(0), i_public, ih)
        ih = _SHA256(ih + s1).digest()
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(initiator.exchange(r_known))
        ick = okm[:32]
        p1 = ChaCha20Poly1305(okm[32:]).encrypt(_nonce(0), b"", ih)
        ih = _SHA256(ih + p1).digest()
        message = ie_public + s1 + p1
        # -> e, es, s, ss by the responder
        rh = _SHA256(_SHA256(name).digest() + r_public).digest()
        ie_public = message[:32]
        ire = _parse(ie_public)
        rh = _SHA256(rh + ie_public).digest()
        okm = HKDF(_ALGORITHM, 64, name, b"").derive(responder.exchange(ire))
        s1 = message[32:80]
        irs = _parse(ChaCha20Poly1305(okm[32:]).decrypt(_nonce(0), s1, rh))
        rh = _SHA256(rh + s1).digest()
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(responder.exchange(irs))
        p1 = message[80:]
        ChaCha20Poly1305(okm[32:]).decrypt(_nonce(0), p1, rh)
        rh = _SHA256(rh + p1).digest()
        # <- e, ee, se by the responder
        re = _generate()
        re_public = re.public_key().public_bytes_raw()
        rh = _SHA256(rh + re_public).digest()
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(re.exchange(ire))
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(re.exchange(irs))
        p2 = ChaCha20Poly1305(okm[32:]).encrypt(_nonce(0), b"", rh)
        rh = _SHA256(rh + p2).digest()
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(b"")
        keys = okm
        message = re_public + p2
        # <- e, ee, se by the initiator
        re_public = message[:32]
        rre = _parse(re_public)
        ih = _SHA256(ih + re_public).digest()
        okm = HKDF(_ALGORITHM, 64, ick, b"").derive(ie.exchange(rre))
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(initiator.exchange(rre))
        p2 = message[32:]
        ChaCha20Poly1305(okm[32:]).decrypt(_nonce(0), p2, ih)
        ih = _SHA256(ih + p2).digest()
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(b"")
        return keys, okm

    return floor


def nn_floor() -> Floor:
    """All calls of one NN handshake."""
    name = _name("NN")

    def floor() -> tuple[bytes, bytes]:
        # -> e, by both
        ih = _SHA256(name).digest()
        ie = _generate()
        ie_public = ie.public_key().public_bytes_raw()
        ih = _SHA256(_SHA256(ih + ie_public).digest()).digest()
        rh = _SHA256(name).digest()
        ire = _parse(ie_public)
        rh = _SHA256(_SHA256(rh + ie_public).digest()).digest()
        # <- e, ee by the responder
        re = _generate()
        re_public = re.public_key().public_bytes_raw()
        rh = _SHA256(rh + re_public).digest()
        okm = HKDF(_ALGORITHM, 64, name, b"").derive(re.exchange(ire))
        p1 = ChaCha20Poly1305(okm[32:]).encrypt(_nonce(0), b"", rh)
        rh = _SHA256(rh + p1).digest()
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(b"")
        keys = okm
        message = re_public + p1
        # <- e, ee by the initiator
        re_public = message[:32]
        ih = _SHA256(ih + re_public).digest()
        okm = HKDF(_ALGORITHM, 64, name, b"").derive(ie.exchange(_parse(re_public)))
        p1 = message[32:]
        ChaCha20Poly1305(okm[32:]).decrypt(_nonce(0), p1, ih)
        ih = _SHA256(ih + p1).digest()
        okm = HKDF(_ALGORITHM, 64, okm[:32], b"").derive(b"")
        return keys, okm

    return floor
