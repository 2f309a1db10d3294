"""What a TLS connection answers to the peer's bytes, as plain values: they are kept on a transcript's tape, too.

No OpenSSL here: a recorded handshake replays without it.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec


class TlsDetails(msgspec.Struct, frozen=True):
    """What TLS has negotiated: the result of the step, `session.results["tls"]`.

    Attributes:
        cipher: its cipher suite, by the name of RFC 8446 appendix B.4.
        group: of its key agreement, as OpenSSL names it; empty where it does not say.
        alpn: the protocol that ALPN (RFC 7301) has selected; empty for none.
        certificates: how many the peer has shown.
    """

    cipher: str
    group: str
    alpn: str
    certificates: int


class TlsProblem(msgspec.Struct, frozen=True, array_like=True):
    """Why a TLS handshake has failed.

    Attributes:
        error: the name of a `HandshakeError`.
        alert: what the peer is told; for `PeerAborted`, what the peer has said; None where there is nothing to say.
    """

    error: str
    message: str
    expected: str | None = None
    received: str | None = None
    hint: str | None = None
    alert: int | None = None


class TlsResult(msgspec.Struct, frozen=True, array_like=True):
    """What a complete TLS handshake yields.

    Attributes:
        cipher: its cipher suite.
        group: of its key agreement.
        alpn: the selected protocol, or none.
        certificates: the peer's, in DER, its own first, whose key it has proved; empty for an anonymous client.
        secret: SECRET: the exporter's output (RFC 8446 section 7.5).
    """

    cipher: str
    group: str
    alpn: bytes
    certificates: tuple[bytes, ...]
    secret: bytes

    def __repr__(self) -> str:
        return f"TlsResult({self.cipher}, {len(self.certificates)} certificates)"


class TlsFlight(msgspec.Struct, frozen=True, array_like=True):
    """What a TLS connection answers.

    Attributes:
        data: what it has to send: records of TLS; after a failure its alert.
        result: once it is complete.
        problem: once it has failed.
    """

    data: bytes
    result: TlsResult | None = None
    problem: TlsProblem | None = None


class TlsEnd(Protocol):
    """One end of a TLS connection without I/O."""

    def advance(self, received: bytes) -> TlsFlight:
        """Take the peer's bytes, go as far as that leads, and answer."""


encode_flight: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(TlsFlight).decode


def decode_flight(data: bytes) -> TlsFlight:
    """The reverse of `encode_flight`; `ValueError` for what is none."""
    try:
        return _decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no answer of a TLS connection: {error}") from error
