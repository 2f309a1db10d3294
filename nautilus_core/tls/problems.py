"""Why a TLS handshake fails, in the terms of this library: one table from TLS's alerts to the error tree. No OpenSSL here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ..errors import (
    ALERTS,
    AlertCode,
    AuthenticationFailed,
    HandshakeError,
    InvalidMessage,
    NegotiationFailed,
    PeerAborted,
    alert_meaning,
)
from .flight import TlsProblem

_ERRORS: Final[Mapping[str, type[HandshakeError]]] = MappingProxyType({error.__name__: error for error in ALERTS})

_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {
        0: "close_notify",
        10: "unexpected_message",
        20: "bad_record_mac",
        22: "record_overflow",
        40: "handshake_failure",
        42: "bad_certificate",
        43: "unsupported_certificate",
        44: "certificate_revoked",
        45: "certificate_expired",
        46: "certificate_unknown",
        47: "illegal_parameter",
        48: "unknown_ca",
        49: "access_denied",
        50: "decode_error",
        51: "decrypt_error",
        70: "protocol_version",
        71: "insufficient_security",
        80: "internal_error",
        86: "inappropriate_fallback",
        90: "user_canceled",
        109: "missing_extension",
        110: "unsupported_extension",
        112: "unrecognized_name",
        113: "bad_certificate_status_response",
        115: "unknown_psk_identity",
        116: "certificate_required",
        120: "no_application_protocol",
    }
)
"""RFC 8446 section 6."""

_CERTIFICATES: Final[Mapping[int, str]] = MappingProxyType(
    {
        42: "the peer's certificate is malformed, or not signed by its issuer",
        43: "the peer's certificate is for another purpose, or of an unsupported kind",
        44: "the peer's certificate was revoked",
        45: "the peer's certificate has expired, or is not yet valid",
        46: "the peer's certificate is not acceptable",
        48: "the peer's certificate comes from an unknown authority",
        49: "the peer's certificate is not welcome",
        51: "the peer did not prove that it owns its certificate's key",
        113: "the peer's certificate has no usable status",
        116: "the peer showed no certificate",
    }
)

_NEGOTIATION: Final[Mapping[int, str]] = MappingProxyType(
    {
        40: "TLS: no cipher suite, group or signature algorithm in common",
        70: "TLS: no version in common",
        71: "TLS: what the peer offers is too weak",
        86: "TLS: the peer fell back to an older version",
        112: "TLS: the server has no such name",
        115: "TLS: no pre-shared key in common",
        120: "TLS: no application protocol in common",
    }
)
_NOT_TLS: Final = frozenset(
    {
        "wrong version number",
        "http request",
        "https proxy request",
        "unknown protocol",
        "bad record type",
        "packet length too long",
    }
)
"""OpenSSL's reasons for what is no TLS at all, whichever alert it sends of it."""

_ALERTS_OF: Final[Mapping[str, int]] = MappingProxyType(
    {
        "peer did not return a certificate": 116,
        "bad signature": 51,
        "digest check failed": 51,
        "bad digest length": 51,
        "decryption failed or bad record mac": 20,
        "wrong signature type": 47,
        "unexpected message": 10,
        "length mismatch": 50,
        "bad extension": 50,
    }
)
"""Which alert OpenSSL sends for a reason, where it leaves encrypted."""

_NOT_VERIFIED: Final = "certificate verify failed"
_UNVERIFIED: Final[Mapping[int, int]] = MappingProxyType(
    {7: 51, 10: 45, 18: 48, 19: 48, 20: 48, 21: 48, 22: 48, 23: 44, 24: 48, 26: 43, 27: 48, 28: 42}
)
"""Which alert OpenSSL sends for a chain, by what is wrong with it: signature, date, unknown authority, revoked, purpose."""

_HINTS: Final[Mapping[int, str]] = MappingProxyType(
    {
        45: "the peer needs a new certificate, or one of the two clocks is wrong",
        48: "its authority is not among those that this side trusts, or its chain lacks a certificate",
        70: "only TLS 1.3 is spoken here",
        116: "the client must be given a certificate",
    }
)


_BY_WORDS: Final[Mapping[str, int]] = MappingProxyType({name.replace("_", " "): code for code, name in _NAMES.items()})
_UNKNOWN: Final = 255
_ALERT: Final = b"\x15\x03\x03\x00\x02"
"""A record of TLS that holds an alert in the clear."""


def named(alert: int) -> str:
    """An alert of TLS, for an error's text."""
    return f"{_NAMES.get(alert, 'unknown alert')} ({alert})"


def alert_called(words: str) -> int | None:
    """The alert that OpenSSL calls so: `unknown ca`; None where there is none."""
    return _BY_WORDS.get(words.replace("cancelled", "canceled"))


def problem_of(reason: str, data: bytes, verified: int) -> TlsProblem:
    """Why a TLS handshake has failed.

    Args:
        reason: OpenSSL's, in words, which name the alert that the peer has sent.
        data: what this side has sent of it: its alert, in the clear up to the peer's first encrypted flight.
        verified: why OpenSSL did not verify the peer's chain, a number of X509_STORE_CTX_get_error(3); 0 where that is not known.
    """
    _, found, name = reason.partition(" alert ")
    if found:
        return _peer_gave_up(_BY_WORDS.get(name, _UNKNOWN))
    if len(data) >= 7 and data[-7:-2] == _ALERT:
        return _refused(data[-1], reason)
    return _refused(_ALERTS_OF.get(reason) if reason != _NOT_VERIFIED else _UNVERIFIED.get(verified, 42), reason)


def _peer_gave_up(alert: int) -> TlsProblem:
    """The peer has sent an alert of TLS."""
    said = alert_meaning(alert) if alert in AlertCode.__members__.values() else _NAMES.get(alert, "an unknown alert")
    return TlsProblem(
        PeerAborted.__name__,
        f"the peer gave up in TLS with the alert {named(alert)}: {said}",
        hint="the alert was not authenticated: anybody on the way could have sent it",
        alert=alert,
    )


def _refused(alert: int | None, reason: str) -> TlsProblem:
    """This side's TLS has failed.

    Args:
        alert: that it has sent; None for none.
        reason: OpenSSL's, in words.
    """
    received = f"{reason}; TLS alert {named(alert)}" if alert is not None else reason
    if reason in _NOT_TLS or alert is None:
        kind: type[HandshakeError] = InvalidMessage
        message = "what the peer sent is no TLS 1.3 handshake"
    elif alert in _CERTIFICATES:
        kind, message = AuthenticationFailed, _CERTIFICATES[alert]
    elif alert in _NEGOTIATION:
        kind, message = NegotiationFailed, _NEGOTIATION[alert]
    elif alert == AlertCode.INTERNAL_ERROR:
        kind, message = HandshakeError, "TLS failed on this side"
    else:
        kind, message = InvalidMessage, "the peer's TLS message will not do"
    told = alert if alert in ALERTS[kind] else None
    return TlsProblem(
        kind.__name__, message, received=received, hint=_HINTS.get(-1 if alert is None else alert), alert=told
    )


def error_for(problem: TlsProblem) -> HandshakeError:
    """The error to raise; `ValueError` for a problem that only a damaged tape can have."""
    if problem.error == PeerAborted.__name__:
        return PeerAborted(problem.message, code=problem.alert, received=problem.received, hint=problem.hint)
    if problem.error not in _ERRORS:
        raise ValueError(f"there is no error {problem.error[:64]!r}")
    return _ERRORS[problem.error](
        problem.message,
        expected=problem.expected,
        received=problem.received,
        hint=problem.hint,
        alert=problem.alert,
    )
