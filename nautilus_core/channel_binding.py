"""Channel bindings: what names the channel below a handshake, a TLS connection, so that both ends can compare it.

The values live here, and how `tls-server-end-point` comes from a certificate. Reading them from a TLS connection is the
binding's business, comparing them that of `steps.channel_binding`. A session's own name is `Session.channel_binding`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from .identity.x509 import MALFORMED

TLS_EXPORTER: Final = "tls-exporter"
"""RFC 9266: 32 bytes of the TLS exporter. It names one connection, and nobody can be between its two ends."""
TLS_SERVER_END_POINT: Final = "tls-server-end-point"
"""RFC 5929 section 4: the hash of the server's certificate. It names all connections to whoever has its key."""

EXPORTER_LABEL: Final = b"EXPORTER-Channel-Binding"
EXPORTER_LENGTH: Final = 32

MOST_BINDINGS: Final = 8
MAX_KIND_LENGTH: Final = 64
MAX_VALUE_LENGTH: Final = 1024

_REPLACED: Final = ("md5", "sha1")
_CERTIFICATES_ALONE: Final = f"{TLS_SERVER_END_POINT} is made of a certificate in DER"


@dataclass(frozen=True, slots=True)
class ChannelBinding:
    """One name of the channel below.

    Args:
        kind: the registered name of the type of binding, at most 64 bytes: `tls-exporter`.
        value: 1 to 1024 bytes. It proves nothing by itself, and is no key (RFC 9266 section 4).

    Raises:
        ValueError: for a kind or a value that is too long, or empty.
    """

    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_KIND_LENGTH)]
    value: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_VALUE_LENGTH)] = field(repr=False)

    def __post_init__(self) -> None:
        if not (self.kind.isascii() and 1 <= len(self.kind) <= MAX_KIND_LENGTH):
            raise ValueError(f"the kind of a channel binding has 1 to {MAX_KIND_LENGTH} ASCII characters")
        if not 1 <= len(self.value) <= MAX_VALUE_LENGTH:
            raise ValueError(f"the value of a channel binding has 1 to {MAX_VALUE_LENGTH} bytes")


@dataclass(frozen=True, slots=True)
class ChannelBindings:
    """What an end knows of the channel below, for `Handshake(..., channel_bindings=...)`.

    Args:
        known: the bindings of this connection, in order of preference, at most 8, each kind once.
        required: whether the handshake fails where the two ends have no binding in common.
        missing: why `known` has none or not all, for the error's text.

    Raises:
        ValueError: for too many, or a kind that stands twice.
    """

    known: tuple[ChannelBinding, ...] = ()
    required: bool = True
    missing: str = ""

    def __post_init__(self) -> None:
        kinds = [binding.kind for binding in self.known]
        if len(kinds) > MOST_BINDINGS or len(set(kinds)) != len(kinds):
            raise ValueError(f"at most {MOST_BINDINGS} channel bindings, each kind once: {', '.join(kinds)}")

    def to_bytes(self) -> bytes:
        """As a transcript keeps them."""
        return _encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> ChannelBindings:
        """The reverse; `ValueError` for bytes that are none."""
        try:
            return _decode(data)
        except msgspec.MsgspecError as error:
            raise ValueError("these bytes are no channel bindings") from error


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(ChannelBindings).decode


def server_end_point(certificate: bytes) -> ChannelBinding | None:
    """The binding `tls-server-end-point` of a server's certificate (RFC 5929 section 4.1).

    The hash is the one of the certificate's signature, SHA-256 in the place of MD5 and SHA-1.

    Args:
        certificate: in DER.

    Returns:
        None where the signature uses no hash function by itself, as Ed25519 and ML-DSA: there the binding is not defined.

    Raises:
        ValueError: it is no certificate, or none that can be read.
    """
    try:
        function = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    except MALFORMED as error:
        raise ValueError(_CERTIFICATES_ALONE) from error
    if function is None:
        return None
    if function.name in _REPLACED:
        function = hashes.SHA256()
    digest = hashes.Hash(function)
    digest.update(certificate)
    return ChannelBinding(TLS_SERVER_END_POINT, digest.finalize())
