"""What TLS says when it fails, as a `HandshakeError`: alerts by name, certificates with the reason in words."""

from __future__ import annotations

import re
from typing import Final

from nautilus_core import (
    AlertCode,
    AuthenticationFailed,
    HandshakeError,
    InvalidMessage,
    NegotiationFailed,
    PeerAborted,
)
from nautilus_core.tls.problems import alert_called, named

STEP: Final = "tls"

_ALERT: Final = re.compile(r"(?:alert |^tlsv1 (?!alert))(.+)")
_NOTHING_IN_COMMON: Final = (
    "no shared cipher",
    "unsupported protocol",
    "no protocols available",
    "wrong ssl version",
    "version too low",
    "no suitable key share",
    "no suitable groups",
    "no suitable signature algorithm",
)
_NO_TLS: Final = (
    "wrong version number",
    "http request",
    "https proxy request",
    "packet length too long",
    "unknown protocol",
)
_NO_CERTIFICATE: Final = "peer did not return a certificate"


def refused_certificate(why: str) -> AuthenticationFailed:
    """The peer's certificate will not do; `why` in words."""
    return AuthenticationFailed(
        f"the peer's TLS certificate is refused: {why.rstrip('.')}", alert=AlertCode.BAD_CERTIFICATE, step=STEP
    )


def ended_early() -> PeerAborted:
    """The stream has ended before TLS was there."""
    return PeerAborted(
        "the stream ended in the middle of the TLS handshake",
        hint="the peer does not speak TLS here, or has refused us without a word",
        step=STEP,
    )


def failed(reason: str) -> HandshakeError:
    """The error for what OpenSSL gives as its reason: `tlsv1 alert unknown ca`, `NO_SHARED_CIPHER`."""
    words = reason.replace("_", " ").lower().strip()
    alert = _ALERT.search(words)
    code = None if alert is None else alert_called(alert[1])
    if code is not None:
        return PeerAborted(
            f"the peer has ended TLS with the alert {named(code)}",
            code=code,
            hint="the peer does not accept this side's certificate" if 41 <= code <= 48 or code == 116 else None,
            step=STEP,
        )
    if words in _NOTHING_IN_COMMON:
        return NegotiationFailed(f"no TLS version or cipher suite in common: {words}", step=STEP)
    if words == _NO_CERTIFICATE:
        return AuthenticationFailed("the peer has no TLS certificate, and one is required", step=STEP)
    if words in _NO_TLS:
        return InvalidMessage(
            "the peer does not speak TLS", received=words, hint="TLS is on at this end alone", step=STEP
        )
    return InvalidMessage(f"TLS failed: {words or 'for a reason that OpenSSL does not give'}", step=STEP)
