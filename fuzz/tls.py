"""Fuzzes TLS as a step: flights of a live peer that are edited, raw bytes as flights, chains of certificates, tapes.

The first byte chooses what is fed. Only a `HandshakeError` may come of what a peer sends, and only a `ValueError` of a chain
or a tape. OpenSSL draws fresh randomness each time: a finding is an edit, and the same edit of other bytes may do nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    Handshake,
    HandshakeCompleted,
    HandshakeError,
    Profile,
    Role,
    profiles,
    trust,
)
from nautilus_core.identity.x509 import load_chain
from nautilus_core.testing import Pair
from nautilus_core.tls.connection import resumes
from nautilus_core.tls.flight import TlsFlight, TlsResult, decode_flight, encode_flight

_EDIT: Final = 5
_MOST_EVENTS: Final = 10_000
_HEADER: Final = 4


@cache
def _issued(role: Role) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.derive_private_key(1 + len(role.value), ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, role.value)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(3650))
    return key, builder.sign(key, hashes.SHA256())


@cache
def profile(role: Role) -> Profile:
    """One end, with one small group, that takes any certificate."""
    key, certificate = _issued(role)
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_tmp_ecdh(ec.SECP256R1())
    context.use_certificate(certificate)
    context.use_privatekey(key)
    return profiles.tls(context, trust=trust.anyone(kinds=["x509"], anonymous=True))


def _edited(flight: bytes, edits: bytes) -> bytes:
    """Each edit is five bytes: what, where (2), which value, how long."""
    data = bytearray(flight)
    for start in range(0, len(edits) - _EDIT + 1, _EDIT):
        what, high, low, value, length = edits[start : start + _EDIT]
        place = (high << 8 | low) % (len(data) + 1)
        match what % 6:
            case 0 if data:
                data[place % len(data)] ^= value or 1
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = bytes((value,)) * length
            case 3:
                data[place:place] = data[place : place + length]
            case 4:
                del data[place:]
            case _:
                data += bytes((value,)) * length
    return bytes(data)


def _live(data: bytes) -> None:
    """Byte 0: whose flights are edited, and which of them; the rest are edits of what stands behind the frame's header."""
    if len(data) < 1 + _EDIT:
        return
    sender, number, edits = INITIATOR if data[0] & 1 else RESPONDER, data[0] >> 1 & 3, data[1:]

    def tamper(role: Role, count: int, flight: bytes) -> bytes:
        if (role, count) != (sender, number):
            return flight
        if data[0] & 8:  # the frame's length still fits: TLS is what is edited
            body = _edited(flight[_HEADER:], edits)
            return flight[:1] + len(body).to_bytes(3, "big") + body
        return _edited(flight, edits)

    pair = Pair(profile(INITIATOR), profile(RESPONDER), tamper=tamper).run()
    for end in (pair.initiator, pair.responder):
        if end.error is not None and not isinstance(end.error, HandshakeError):
            raise end.error
    bindings = {end.session.channel_binding for end in (pair.initiator, pair.responder) if end.completed}
    if len(bindings) > 1:
        raise RuntimeError("two views of one handshake")


def _raw(data: bytes) -> None:
    """Byte 0: the role that listens, and the size of the pieces; the rest are its peer's flights."""
    if not data:
        return
    role = INITIATOR if data[0] & 1 else RESPONDER
    victim, other = Handshake(role, profile(role)), Handshake(role.peer, profile(role.peer))
    with contextlib.suppress(HandshakeError):
        for sender, receiver in (
            ((victim, other), (other, victim)) if role is INITIATOR else ((other, victim), (victim, other))
        ):
            _run(sender)
            receiver.receive_data(sender.data_to_send())
            _run(receiver)
        victim.data_to_send()
        size = (data[0] >> 1) * 16 or len(data)
        for place in range(1, len(data), size):
            piece = data[place : place + size]
            body = b"\x93\xa3tls\xc2\xc5" + len(piece).to_bytes(2, "big") + piece
            victim.receive_data(b"\xe1" + len(body).to_bytes(3, "big") + body)
            _run(victim)
            victim.data_to_send()
    if victim.session is not None:
        raise RuntimeError("a session with nobody")


def _run(handshake: Handshake) -> None:
    for _ in range(_MOST_EVENTS):
        event = handshake.next_event()
        if event is NEED_DATA or isinstance(event, HandshakeCompleted):
            return
    raise RuntimeError("events without end")


def _chain(data: bytes) -> None:
    """Certificates behind lengths of two bytes."""
    certificates: list[bytes] = []
    while len(data) >= 2:
        length = int.from_bytes(data[:2], "big")
        certificates.append(data[2 : 2 + length])
        data = data[2 + length :]
    with contextlib.suppress(ValueError):
        if len(load_chain(tuple(certificates)).keys) != 1:
            raise RuntimeError("a chain of another number of keys than one")


def _tape(data: bytes) -> None:
    resumes(data)
    with contextlib.suppress(ValueError):
        flight = decode_flight(data)
        if decode_flight(encode_flight(flight)) != flight:
            raise RuntimeError("a tape that reads differently")


TARGETS: Final[list[Callable[[bytes], None]]] = [_live, _raw, _chain, _tape]


def one_input(data: bytes) -> None:
    """One input; raises whatever is not allowed."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])


def seeds() -> dict[str, bytes]:
    """Inputs that get somewhere, by name."""
    made: dict[str, bytes] = {}
    for what in range(6):
        for number in range(16):
            made[f"live-{what}-{number}"] = bytes((0, number, what, number, 40 * what, 7, 3 + number))
    pair = Pair(profile(INITIATOR), profile(RESPONDER)).run()
    for role, flights in ((RESPONDER, pair.initiator.flights), (INITIATOR, pair.responder.flights)):
        for size in (0, 1, 9):
            options = bytes((1, (role is INITIATOR) | size << 1))
            made[f"raw-{role.value}-{size}"] = options + b"".join(flights[1:2])[12:]
    certificates: list[Any] = [_issued(role)[1].public_bytes(Encoding.DER) for role in Role]
    for name, chain in (("one", certificates[:1]), ("two", certificates)):
        made[f"chain-{name}"] = b"\x02" + b"".join(len(one).to_bytes(2, "big") + one for one in chain)
    result = TlsResult("TLS_AES_128_GCM_SHA256", "x25519", b"h2", tuple(certificates[:1]), bytes(32))
    made["tape"] = b"\x03" + encode_flight(TlsFlight(b"flight", result))
    hello = b"\x16\x03\x03\x00\x5a\x02\x00\x00\x56\x03\x03" + bytes(32) + b"\x20" + bytes(32) + b"\x13\x02\x00"
    made["server-hello"] = b"\x03" + hello + b"\x00\x0c\x00\x2b\x00\x02\x03\x04\x00\x29\x00\x02\x00\x00"
    return made
