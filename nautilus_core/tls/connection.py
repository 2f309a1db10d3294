"""TLS 1.3 over pyOpenSSL's memory BIOs: the only module that imports it. No socket, and no frames of ours.

OpenSSL draws its own randomness, and looks at its own clock where a context verifies by itself: the documented exception to
the rule that both are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, X509, dump_certificate

from ..errors import AlertCode, InvalidMessage, LocalProtocolError, NegotiationFailed
from ..role import INITIATOR, Role
from .flight import TlsFlight, TlsProblem, TlsResult
from .problems import problem_of
from .settings import Facts, TlsSettings

LABEL: Final = b"EXPORTER-Nautilus-TLS-Step"
"""Of the exporter (RFC 8446 section 7.5); its context is the transcript's hash before the step."""

MAX_RECEIVED: Final = 131_072
"""Bytes that TLS takes from a peer: OpenSSL's own limit for certificates is 102,400."""

_NOTHING_OLDER: Final = SSL.OP_NO_TLSv1 | SSL.OP_NO_TLSv1_1 | SSL.OP_NO_TLSv1_2 | SSL.OP_NO_SSLv2 | SSL.OP_NO_SSLv3
_SERVER: Final = _NOTHING_OLDER | SSL.OP_CIPHER_SERVER_PREFERENCE
_SERVER_WITHOUT_CACHE: Final = _SERVER | SSL.OP_NO_TICKET
"""Tickets are discarded: without a cache, so that nothing is stored instead, they need not be encrypted either."""
_CHUNK: Final = 16_384
_NO_PROTOCOL: Final = AlertCode.NO_APPLICATION_PROTOCOL
_PRE_SHARED_KEY: Final = 41
_SELECTED: Final = b"\x00\x29\x00\x02"
"""How the extension begins in which a server selects a pre-shared key: its type, and the length of one number."""
_SERVER_HELLO: Final = b"\x02"
_HANDSHAKE_RECORD: Final = b"\x16"
_START: Final = getattr(SSL, "_ffi").new("char **") if hasattr(SSL, "_ffi") else None  # noqa: B009
"""Where `_unread` is told the place of the bytes, which nobody looks at."""
_forget_errors: Final[Callable[[], object]] = getattr(getattr(SSL, "_lib", None), "ERR_clear_error", lambda: None)
"""Empties OpenSSL's list of errors, which all connections of a thread share: a chain that a callback lets pass leaves some."""


class Connection:
    """One end of a TLS connection, from its first byte to the peer's last.

    Args:
        settings: of the profile.
        role: the initiator is the client.
        suite: the name of the cipher suite, as TLS has it.
        transcript_hash: before the step, for the exporter.
        length: of the exporter's output, in bytes.
    """

    __slots__ = (
        "_connection",
        "_left",
        "_length",
        "_resumed",
        "_role",
        "_settings",
        "_suite",
        "_transcript_hash",
    )

    def __init__(self, settings: TlsSettings, role: Role, suite: str, transcript_hash: bytes, length: int) -> None:
        self._settings = settings
        self._role = role
        self._suite = suite
        self._transcript_hash = transcript_hash
        self._length = length
        self._left = MAX_RECEIVED
        self._resumed = False
        self._connection: SSL.Connection | None = None  # a replay needs none

    def advance(self, received: bytes) -> TlsFlight:
        """Take the peer's bytes, go as far as that leads, and answer."""
        connection = self._connection
        if connection is None:
            connection = self._connection = self._begin()
        try:
            if received:
                left = self._left = self._left - len(received)
                if left < 0:
                    return TlsFlight(b"", None, _too_long(MAX_RECEIVED - left))
                connection.bio_write(received)
            connection.do_handshake()
        except SSL.WantReadError:
            data = _output(connection)
            if self._role is not INITIATOR and not self._resumed:
                self._resumed = resumes(data)
            return TlsFlight(data)
        except SSL.Error as error:
            data, self._connection = _output(connection), None
            return TlsFlight(data, None, problem_of(_reason(error), data, _verify_result(connection)))
        return self._complete(connection)

    def _begin(self) -> SSL.Connection:
        settings, role = self._settings, self._role
        context, facts = settings.context, settings.facts
        if context is None or facts is None:
            raise LocalProtocolError("a TLS connection without a context")
        connection = SSL.Connection(context, None)
        if settings.alpn:
            connection.set_app_data(settings)
        if role is INITIATOR:
            connection.set_options(_NOTHING_OLDER)
            connection.set_connect_state()
            if settings.server_name is not None:
                connection.set_tlsext_host_name(settings.server_name.encode("ascii"))
            if settings.alpn:
                connection.set_alpn_protos(list(settings.alpn))
            return connection
        connection.set_options(_SERVER if facts.caches else _SERVER_WITHOUT_CACHE)
        connection.set_accept_state()
        own = facts.verify_mode
        mode = own | settings.asks
        if mode != own:  # where the context verifies, its callback stays
            connection.set_verify(mode, None if own & SSL.VERIFY_PEER else _possession_alone)
        return connection

    def _complete(self, connection: SSL.Connection) -> TlsFlight:
        """The handshake is complete on this end: what it yields, unless it is not what was agreed on."""
        _forget_errors()
        data = _output(connection) if self._role is INITIATOR else b""  # what a server writes now are tickets
        alpn = connection.get_alpn_proto_negotiated()
        problem = self._wrong(connection, alpn)
        if problem is not None:
            return TlsFlight(b"", None, problem)
        result = TlsResult(
            self._suite,
            connection.get_group_name() or "",
            alpn,
            _certificates(connection, self._role),
            connection.export_keying_material(LABEL, self._length, self._transcript_hash),
        )
        self._connection = None
        return TlsFlight(data, result)

    def _wrong(self, connection: SSL.Connection, alpn: bytes) -> TlsProblem | None:
        """What OpenSSL lets pass and this step does not."""
        cipher = connection.get_cipher_name()
        if cipher != self._suite:  # which is one of TLS 1.3 alone, so that this checks the version, too
            return TlsProblem(
                NegotiationFailed.__name__,
                "TLS took another cipher suite than was agreed on before",
                self._suite,
                cipher,
                "a context must prefer the suites in the order in which it offers them",
            )
        if self._resumed:
            return TlsProblem(
                InvalidMessage.__name__, "TLS resumed an earlier session, in which nobody proves a key", alert=47
            )
        wanted = self._settings.alpn
        if wanted and alpn not in wanted:
            expected = ", ".join(map(repr, self._settings.alpn_names))
            received = repr(alpn.decode("ascii", "replace")) if alpn else "none"
            message = "TLS: no application protocol in common"
            return TlsProblem(NegotiationFailed.__name__, message, expected, received, None, _NO_PROTOCOL)
        return _trailing(connection)


def _too_long(received: int) -> TlsProblem:
    return TlsProblem(
        InvalidMessage.__name__,
        "the peer's TLS flights are over the limit",
        expected=f"at most {MAX_RECEIVED} bytes",
        received=f"{received}",
        alert=AlertCode.RECORD_OVERFLOW,
    )


def _verify_result(connection: SSL.Connection) -> int:
    """Why OpenSSL did not verify the chain (X509_STORE_CTX_get_error(3)), for the error's words: pyOpenSSL has no call for it."""
    try:
        return int(getattr(SSL, "_lib").SSL_get_verify_result(getattr(connection, "_ssl")))  # noqa: B009
    except (AttributeError, TypeError, ValueError):
        return 0


def _possession_alone(*_: Any) -> bool:
    """OpenSSL checks the signature by the certificate's key in any case; the trust policy judges the certificates."""
    return True


def select_alpn(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """A server's choice: the first of its own that was offered; none where there is none, which `_wrong` refuses."""
    settings = connection.get_app_data()  # of a connection of ours: a context may serve others, too
    if isinstance(settings, TlsSettings):
        for protocol in settings.alpn:
            if protocol in offered:
                return protocol
    return SSL.NO_OVERLAPPING_PROTOCOLS


def _output(connection: SSL.Connection) -> bytes:
    """What TLS has to send."""
    try:
        data = connection.bio_read(_CHUNK)
    except SSL.WantReadError:
        return b""
    return data if len(data) < _CHUNK else data + _output(connection)


def _certificates(connection: SSL.Connection, role: Role) -> tuple[bytes, ...]:
    """Those that the peer has shown, its own first: OpenSSL gives a server that one apart (SSL_get_peer_cert_chain(3))."""
    chain = connection.get_peer_cert_chain() or []
    if role is not INITIATOR and (leaf := connection.get_peer_certificate()) is not None:
        chain.insert(0, leaf)
    return tuple([dump_certificate(FILETYPE_ASN1, one) for one in chain])


def _trailing(connection: SSL.Connection) -> TlsProblem | None:
    """Nothing may follow the peer's Finished, and be it a part of a record."""
    unread = _unread(connection)
    if unread == 0:
        return None
    received = f"{unread} bytes"
    if unread is None:
        try:
            connection.recv(1)
        except SSL.WantReadError:
            return None
        except SSL.Error as error:
            received = _reason(error)
        else:
            received = "application data"
    return TlsProblem(
        InvalidMessage.__name__,
        "more than a TLS handshake",
        "nothing after Finished",
        received,
        None,
        AlertCode.UNEXPECTED_MESSAGE,
    )


def _unread(connection: SSL.Connection) -> int | None:
    """How many of the peer's bytes OpenSSL has left in the memory BIO, which it empties record by record.

    pyOpenSSL has no call for it: None where it cannot be seen. Then `recv` tells whole records, with an exception each time.
    """
    try:
        return int(getattr(SSL, "_lib").BIO_get_mem_data(getattr(connection, "_into_ssl"), _START))  # noqa: B009
    except (AttributeError, TypeError, ValueError):
        return None


def _reason(error: SSL.Error) -> str:
    """OpenSSL's words for what went wrong first."""
    entries = error.args[0] if error.args else None
    if isinstance(entries, list) and entries and isinstance(entries[0], tuple):
        return str(entries[0][-1])[:200] or "no reason"
    return (type(error).__name__ if not error.args else str(error.args[-1]))[:200]


def resumes(flight: bytes) -> bool:
    """Whether a flight of our own server begins with a ServerHello that selects a pre-shared key (RFC 8446 section 4.2.11)."""
    hello = _first_message(flight)
    if _SELECTED not in hello or len(hello) < 39 or hello[:1] != _SERVER_HELLO:
        return False
    place = 39 + hello[38] + 3  # message header, version, random; session id, cipher suite, compression
    end = place + 2 + int.from_bytes(hello[place : place + 2], "big")
    place += 2
    while place + 4 <= min(end, len(hello)):
        if int.from_bytes(hello[place : place + 2], "big") == _PRE_SHARED_KEY:
            return True
        place += 4 + int.from_bytes(hello[place + 2 : place + 4], "big")
    return False


def _first_message(flight: bytes) -> bytes:
    """What a flight's first records hold up to those of another type; a message can lie across several (RFC 8446 section 5.1)."""
    message, place = b"", 0
    while flight.startswith(_HANDSHAKE_RECORD, place):
        end = place + 5 + int.from_bytes(flight[place + 3 : place + 5], "big")
        message += flight[place + 5 : end]
        place = end
    return message


def asking(*, anonymous: bool) -> int:
    """The verify mode of a server that asks for a certificate; with `anonymous` the client need not have one."""
    return SSL.VERIFY_PEER if anonymous else SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT


def inspect(context: object) -> Facts:
    """What a context is set to.

    Raises:
        TypeError: it is no `OpenSSL.SSL.Context`.
        ValueError: it cannot begin a handshake of TLS 1.3.
    """
    if not isinstance(context, SSL.Context):
        raise TypeError(
            f"a TLS step takes an OpenSSL.SSL.Context, not {type(context).__module__}.{type(context).__name__}"
        )
    connection = SSL.Connection(context, None)
    connection.set_options(_NOTHING_OLDER)
    connection.set_connect_state()
    suites = tuple([name for name in connection.get_cipher_list() if name.startswith("TLS_")])
    certificate: X509 | None = connection.get_certificate()
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        hello = _output(connection)
    except SSL.Error as error:
        raise ValueError(f"the context cannot speak TLS 1.3: {_reason(error)}") from error
    if hello[:2] != b"\x16\x03" or not suites:
        raise ValueError("the context cannot speak TLS 1.3: it is for another protocol, or has no cipher suite of it")
    caches = bool(context.get_session_cache_mode() & SSL.SESS_CACHE_SERVER)
    return Facts(suites, certificate is not None, context.get_verify_mode(), caches)


def set_alpn(context: SSL.Context) -> None:
    """Let the context's servers select among the protocols of their profile."""
    context.set_alpn_select_callback(select_alpn)
