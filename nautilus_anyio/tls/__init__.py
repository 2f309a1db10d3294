"""Nautilus inside TLS: `Tls`, which `tls=` takes, and the channel bindings of a connection. The TLS itself is a library's."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from nautilus_core import INITIATOR, RESPONDER, ChannelBinding, ChannelBindings, Profile, Role, UpgradeToTls
from nautilus_core.channel_binding import TLS_EXPORTER, server_end_point

from .machines import TLS_1_3, Machine, OpenSslMachine, StandardMachine
from .stream import TlsStream, handshake, has_record

if TYPE_CHECKING:
    from OpenSSL import SSL

    AnyContext: TypeAlias = ssl.SSLContext | SSL.Context

Binding: TypeAlias = Literal["required", "offered", "off"]

_BINDINGS: Final = ("required", "offered", "off")
_NEEDS_CERTIFICATE: Final = (
    "ssl.SSLContext does not tell its own certificate, which the channel binding of a server is made of: "
    "Tls(context, certificate=...), or an OpenSSL.SSL.Context, or binding='off'"
)


@dataclass(frozen=True, slots=True)
class Tls:
    """How a handshake goes inside TLS, for `tls=` of `connect`, `handshake` and `serve`; they also take a context alone.

    Args:
        context: an `ssl.SSLContext`, or an `OpenSSL.SSL.Context` (extra `tls`), which also has `tls-exporter`. It says whom
            TLS trusts, which versions there are, ALPN.
        server_name: as client, whom the certificate must name; `connect` takes its host.
        binding: what becomes of a man in the middle who terminates TLS. `required`: both ends prove to each other that they
            are on one TLS connection, or the handshake fails. `offered`: only where both can. `off`: never, for a load
            balancer that is meant to terminate TLS; `session.tls_binding` is None then.
        certificate: as server with an `ssl.SSLContext`, its certificate in PEM or DER, for `tls-server-end-point`.
        upgrade: whether TLS begins only where both ends agree on that, in the step `UpgradeToTls`.

    Raises:
        TypeError: for a context of another kind.
        ValueError: for another binding, or a certificate that is none.
    """

    context: AnyContext
    server_name: str | None = None
    binding: Binding = "required"
    certificate: bytes | None = field(default=None, repr=False)
    upgrade: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.context, ssl.SSLContext) or _is_of_openssl(self.context)):
            raise TypeError(f"tls= takes an ssl.SSLContext, an OpenSSL.SSL.Context or a Tls, not {self.context!r:.100}")
        if self.binding not in _BINDINGS:
            raise ValueError(f"binding is one of {', '.join(_BINDINGS)}, not {self.binding!r}")
        if self.certificate is not None:
            object.__setattr__(self, "certificate", _in_der(self.certificate))

    def check(self, role: Role) -> None:
        """Raise `ValueError` where this end could not do what is required of it: it does not know its own certificate."""
        needs_it = role is RESPONDER and self.binding == "required" and isinstance(self.context, ssl.SSLContext)
        if needs_it and self.certificate is None:
            raise ValueError(_NEEDS_CERTIFICATE)

    async def wrap(self, stream: ByteStream, role: Role) -> tuple[TlsStream, ChannelBindings | None]:
        """Make TLS over `stream`, the initiator as client: the stream inside, and what names the connection.

        Raises:
            HandshakeError: TLS failed, and how; `stream` is closed.
            ValueError: the context is not for this end.
        """
        context, name = self.context, self.server_name
        machine: Machine
        if isinstance(context, ssl.SSLContext):
            machine = StandardMachine(context, role, name)
        else:
            machine = OpenSslMachine(context, role, name)
        inside = await handshake(stream, machine, role)
        return inside, self._bindings(machine)

    def _bindings(self, machine: Machine) -> ChannelBindings | None:
        if self.binding == "off":
            return None
        exporter = machine.exporter()
        certificate = machine.certificate(RESPONDER) or self.certificate
        return _bindings(exporter, certificate, machine.version, required=self.binding == "required")


AnyTls: TypeAlias = "AnyContext | Tls"


def as_tls(tls: AnyTls | None, role: Role, profile: Profile, server_name: str | None = None) -> Tls | None:
    """What `tls=` was given, as a `Tls`, checked for `role` and `profile`; `server_name` where it has none.

    Raises:
        ValueError: it cannot do what it says, or the upgrade stands in one of the two only: there would be no TLS.
    """
    made = Tls(tls) if tls is not None and not isinstance(tls, Tls) else tls
    if (UpgradeToTls.name in profile.outline.names) is not (made is not None and made.upgrade):
        raise ValueError(f"the step {UpgradeToTls.name!r} in the profile and tls=Tls(..., upgrade=True) go together")
    if made is None:
        return None
    made.check(role)
    return replace(made, server_name=server_name) if made.server_name is None and role is INITIATOR else made


def bindings_of(stream: ByteStream, *, certificate: bytes | None = None, required: bool = True) -> ChannelBindings:
    """What names the TLS connection of an AnyIO `TLSStream` that was made elsewhere, for `handshake(channel_bindings=...)`.

    Args:
        stream: which has AnyIO's attributes of TLS.
        certificate: as server, its own certificate in PEM or DER.
        required: whether the handshake fails without a binding in common.

    Raises:
        TypedAttributeLookupError: the stream is not TLS.
        ValueError: as server, without `certificate`.
    """
    if stream.extra(TLSAttribute.server_side):
        if certificate is None:
            raise ValueError("a TLSStream does not tell the server's own certificate: certificate=")
        certificate = _in_der(certificate)
    else:
        certificate = stream.extra(TLSAttribute.peer_certificate_binary)
    return _bindings(None, certificate, stream.extra(TLSAttribute.tls_version), required=required)


def _bindings(exporter: bytes | None, certificate: bytes | None, version: str, *, required: bool) -> ChannelBindings:
    known = [] if exporter is None else [ChannelBinding(TLS_EXPORTER, exporter)]
    of_certificate = "the signature of the server's certificate has no hash"
    end_point = None
    if certificate is None:
        of_certificate = "the server's certificate is not known"
    else:
        try:
            end_point = server_end_point(certificate)
        except ValueError:  # TLS has taken it, as the context says, and that is enough where there is an exporter
            of_certificate = "the server's certificate cannot be read"
    if end_point is not None:
        known.append(end_point)
    missing = ""
    if not known:
        exporting = f"{version} has no exporter here" if version == TLS_1_3 else f"{version} is no {TLS_1_3}"
        missing = f"{exporting}, and {of_certificate}"
    return ChannelBindings(tuple(known), required, missing)


def _in_der(certificate: bytes) -> bytes:
    """The first certificate of a PEM file, or one in DER."""
    try:
        if b"-----BEGIN" in certificate:
            return x509.load_pem_x509_certificates(certificate)[0].public_bytes(Encoding.DER)
        return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.DER)
    except ValueError as error:
        raise ValueError("certificate= is a certificate in PEM or DER") from error


def _is_of_openssl(context: object) -> bool:
    """Whether it is pyOpenSSL's, which need not be installed."""
    return any(kind.__module__ == "OpenSSL.SSL" and kind.__name__ == "Context" for kind in type(context).__mro__)


__all__ = ["AnyTls", "Binding", "Tls", "TlsStream", "as_tls", "bindings_of", "has_record"]
