"""TLS without I/O, by the standard library's `ssl` or by pyOpenSSL, behind one interface. Moving the bytes is the stream's.

pyOpenSSL has the exporter that `ssl` lacks, and knows its own certificate.
"""

from __future__ import annotations

import ssl
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any, Final, Protocol

from nautilus_core import INITIATOR, HandshakeError, LocalProtocolError, Role
from nautilus_core.channel_binding import EXPORTER_LABEL, EXPORTER_LENGTH
from nautilus_core.identity.x509 import MALFORMED

from . import errors

TLS_1_3: Final = "TLSv1.3"
_PIECE: Final = 65_536


class Machine(Protocol):
    """One end of a TLS connection, bytes in, bytes out.

    Every method may raise a `HandshakeError` that says how TLS failed. `EOFError` is an end of the stream without TLS's own
    close.
    """

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is done."""

    def read(self, most: int) -> bytes | None:
        """Decrypted bytes; empty once the peer has closed, None where more must be fed."""

    def write(self, data: bytes) -> None:
        """Encrypt."""

    def close(self) -> None:
        """Say that this end sends no more."""

    def feed(self, data: bytes) -> None:
        """Bytes from the peer; empty at the end of its stream."""

    def take(self) -> bytes:
        """Bytes for the peer."""

    @property
    def version(self) -> str:
        """`TLSv1.3`."""

    @property
    def alpn(self) -> str | None:
        """The application protocol that ALPN has selected."""

    def certificate(self, role: Role) -> bytes | None:
        """The certificate of that end, in DER; None where it has none, or is not known."""

    def exporter(self) -> bytes | None:
        """The value of `tls-exporter` (RFC 9266); None where it cannot be had."""


class StandardMachine:
    """Of `ssl.SSLContext`, which alone has options, and is its owner's: `ssl.OP_NO_RENEGOTIATION` is his to set.

    Raises:
        ValueError: the context is for the other end, or wants a server's name and there is none.
    """

    def __init__(self, context: ssl.SSLContext, role: Role, server_name: str | None) -> None:
        self._role = role
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._early = b""
        client = role is INITIATOR
        try:
            self._tls = context.wrap_bio(
                self._incoming,
                self._outgoing,
                server_side=not client,
                server_hostname=server_name if client else None,
            )
        except ssl.SSLError as error:
            raise ValueError(f"this ssl.SSLContext is not for the {'client' if client else 'server'}") from error

    def handshake(self) -> bool:
        """See `Machine`."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise _of_ssl(error) from error
        return True

    def read(self, most: int) -> bytes | None:
        """See `Machine`."""
        if self._early:
            data, self._early = self._early[:most], self._early[most:]
            return data
        return self._read(most)

    def _read(self, most: int) -> bytes | None:
        try:
            return self._tls.read(most)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise _of_ssl(error) from error

    def write(self, data: bytes) -> None:
        """See `Machine`."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            raise _of_ssl(error) from error

    def close(self) -> None:
        """See `Machine`. `unwrap` looks for the peer's close at once, and would fall over data: that is read before."""
        try:
            while data := self._read(_PIECE):
                self._early += data
        except (HandshakeError, EOFError):
            return
        try:
            self._tls.unwrap()
        except ssl.SSLError:  # it has written the close and waits for the peer's; or there is nobody to say it to
            return

    def feed(self, data: bytes) -> None:
        """See `Machine`."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def take(self) -> bytes:
        """See `Machine`."""
        return self._outgoing.read()

    @property
    def version(self) -> str:
        """See `Machine`."""
        return self._tls.version() or ""

    @property
    def alpn(self) -> str | None:
        """See `Machine`."""
        return self._tls.selected_alpn_protocol()

    def certificate(self, role: Role) -> bytes | None:
        """Of the peer alone: `ssl` does not say which of its own it has used."""
        return None if role is self._role else self._tls.getpeercert(binary_form=True)

    def exporter(self) -> bytes | None:
        """`ssl` has none."""
        return None


def _of_ssl(error: ssl.SSLError) -> HandshakeError | EOFError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return errors.refused_certificate(error.verify_message)
    if isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING":
        return EOFError()
    return errors.failed(error.reason or "")


class OpenSslMachine:
    """Of `OpenSSL.SSL.Context`. Where its peer must have a certificate, the server's name is compared with that.

    Renegotiation, which TLS 1.2 has, is switched off for its connection, whatever the context says.

    Raises:
        ValueError: the context verifies the server, and there is no name to compare.
    """

    def __init__(self, context: Any, role: Role, server_name: str | None) -> None:
        from OpenSSL import SSL, crypto  # noqa: PLC0415  # the extra `tls`

        self._api = SSL
        self._crypto = crypto
        self._role = role
        self._name: str | None = None
        self._tls = tls = SSL.Connection(context, None)
        tls.set_options(SSL.OP_NO_RENEGOTIATION)
        if role is not INITIATOR:
            tls.set_accept_state()
            return
        tls.set_connect_state()
        if context.get_verify_mode() & SSL.VERIFY_PEER:
            if not server_name:
                raise ValueError("the context verifies the server, so it needs a name: Tls(context, server_name=...)")
            _check_name_can_be_compared()
            self._name = server_name
        if server_name and not is_address(server_name):
            tls.set_tlsext_host_name(server_name.encode("idna"))

    def handshake(self) -> bool:
        """See `Machine`."""
        try:
            self._tls.do_handshake()
        except self._api.WantReadError:
            return False
        except (self._api.Error, self._api.SysCallError) as error:
            raise self._failure(error) from error
        if self._name is not None:
            _check_name(self._tls, self._name)
        return True

    def read(self, most: int) -> bytes | None:
        """See `Machine`."""
        try:
            return self._tls.recv(most)
        except self._api.WantReadError:
            return None
        except self._api.ZeroReturnError:
            return b""
        except (self._api.Error, self._api.SysCallError) as error:
            raise self._failure(error) from error

    def write(self, data: bytes) -> None:
        """See `Machine`."""
        try:
            self._tls.sendall(data)
        except (self._api.Error, self._api.SysCallError) as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """See `Machine`."""
        try:
            self._tls.shutdown()
        except (self._api.Error, self._api.SysCallError):  # there is nobody to say it to
            return

    def feed(self, data: bytes) -> None:
        """See `Machine`."""
        view = memoryview(data)
        if not view:
            self._tls.bio_shutdown()
        while view:
            view = view[self._tls.bio_write(bytes(view)) :]

    def take(self) -> bytes:
        """See `Machine`."""
        pieces = []
        try:
            while True:
                pieces.append(self._tls.bio_read(_PIECE))
        except self._api.WantReadError:
            return b"".join(pieces)

    @property
    def version(self) -> str:
        """See `Machine`."""
        return self._tls.get_protocol_version_name()

    @property
    def alpn(self) -> str | None:
        """See `Machine`."""
        return self._tls.get_alpn_proto_negotiated().decode("ascii", "backslashreplace") or None

    def certificate(self, role: Role) -> bytes | None:
        """See `Machine`."""
        found = self._tls.get_certificate() if role is self._role else self._tls.get_peer_certificate()
        return None if found is None else self._crypto.dump_certificate(self._crypto.FILETYPE_ASN1, found)

    def exporter(self) -> bytes | None:
        """With TLS 1.3: before, RFC 9266 section 4.2 wants a property of the connection that pyOpenSSL does not show."""
        if self.version != TLS_1_3:
            return None
        return self._tls.export_keying_material(EXPORTER_LABEL, EXPORTER_LENGTH, b"")

    def _failure(self, error: Any) -> HandshakeError | EOFError:
        if isinstance(error, self._api.SysCallError):
            return EOFError()
        problems = error.args[0] if error.args and isinstance(error.args[0], list) else []
        reason = problems[-1][-1] if problems else ""
        if reason == "unexpected eof while reading":
            return EOFError()
        if reason == "certificate verify failed":
            return errors.refused_certificate(self._why_refused())
        return errors.failed(reason)

    def _why_refused(self) -> str:
        """OpenSSL knows; pyOpenSSL says it to a callback of the context's alone, which is its owner's."""
        try:
            from OpenSSL._util import ffi, lib  # noqa: PLC0415

            result = lib.SSL_get_verify_result(self._tls._ssl)
            return str(ffi.string(lib.X509_verify_cert_error_string(result)).decode())
        except (ImportError, AttributeError):
            return "it does not verify"


def _check_name_can_be_compared() -> None:
    if find_spec("service_identity") is None:
        raise LocalProtocolError("TLS by pyOpenSSL needs service-identity: install nautilus-handshake[tls]")


def _check_name(connection: Any, name: str) -> None:
    """Whether the certificate is for the server that was wanted (RFC 9525)."""
    from service_identity import VerificationError  # noqa: PLC0415  # the extra `tls`
    from service_identity.exceptions import CertificateError  # noqa: PLC0415
    from service_identity.pyopenssl import verify_hostname, verify_ip_address  # noqa: PLC0415

    try:
        (verify_ip_address if is_address(name) else verify_hostname)(connection, name)
    except (VerificationError, CertificateError) as error:
        raise errors.refused_certificate(f"it is not for {name!r}") from error
    except MALFORMED as error:
        raise errors.refused_certificate("it cannot be read") from error


def is_address(name: str) -> bool:
    """Whether it is an IP address, and no name."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
