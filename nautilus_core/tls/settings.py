"""What a profile with TLS fixes for all its handshakes: the context, whom it wants, names, suites. No connection is made here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..crypto.suites import TLS_SUITES, CipherSuite
from ..errors import LocalProtocolError
from ..identity.policy import TrustPolicy
from ..identity.x509 import X509, is_dns_name
from ..limits import DEFAULT_LIMITS
from ..role import INITIATOR, Role
from .flight import TlsEnd

if TYPE_CHECKING:
    from OpenSSL.SSL import Context as TlsContext

_BY_TLS_NAME: Final = {suite.tls_name: suite for suite in TLS_SUITES.values()}
_ROOM: Final = 128
"""Bytes of a frame around a piece of a flight: its header, the step's name, a tag."""


class Facts(NamedTuple):
    """What a context is set to.

    Attributes:
        suites: those of TLS 1.3 that it enables, in its order.
        certificate: whether it has one.
        verify_mode: how it verifies by itself.
        caches: whether its servers keep sessions.
    """

    suites: tuple[str, ...]
    certificate: bool
    verify_mode: int
    caches: bool


@dataclass(frozen=True, slots=True, eq=False)
class TlsSettings:
    """The same in all handshakes of a profile.

    Args:
        context: an `OpenSSL.SSL.Context` with this side's certificate and key, where it has one. It is not changed, but for
            `alpn`. Where it verifies the peer's chain by itself (`VERIFY_PEER`), that holds besides `trust`. None for a
            profile that replays, or looks at, recorded handshakes.
        trust: whom this side wants at the other end.
        server_name: as client, the name that the server is told (RFC 6066 section 3); proves nothing.
        alpn: application protocols within TLS (RFC 7301), in order of preference. Where some are given, one must be selected.
        message: the longest message, in bytes, as in the profile's `Limits`.

    Attributes:
        suites: those that the context enables, by name, in its order.
        alpn_names: as they were given.
        facts: what the context is set to; None without one.
        asks: the verify mode of a server that asks for a certificate; 0 for one that does not.
        piece: the most of a flight that one message carries, in bytes.

    Raises:
        LocalProtocolError: pyOpenSSL is not there.
        TypeError: `context` is another's.
        ValueError: it cannot speak TLS 1.3, or something is no name.
    """

    context: TlsContext | None
    trust: TrustPolicy
    server_name: str | None = None
    alpn_names: tuple[str, ...] = ()
    message: int = DEFAULT_LIMITS.message
    alpn: tuple[bytes, ...] = field(init=False)
    suites: Mapping[str, CipherSuite] = field(init=False)
    facts: Facts | None = field(init=False, default=None)
    asks: int = field(init=False, default=0)
    piece: int = field(init=False)
    _connection: Callable[..., TlsEnd] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.server_name is not None and (not is_dns_name(self.server_name) or "*" in self.server_name):
            raise ValueError(f"{self.server_name!r} is no DNS name: TLS tells a server no other names")
        if self.message <= _ROOM:
            raise ValueError(f"message is more than {_ROOM} bytes")
        alpn = _protocols(self.alpn_names)
        put = object.__setattr__
        suites, asks_client = TLS_SUITES, X509 in self.trust.credential_types
        if self.context is not None:
            module = connection_module()
            if alpn:
                module.set_alpn(self.context)
            facts = module.inspect(self.context)
            suites = _suites(facts.suites)
            put(self, "facts", facts)
            put(self, "asks", module.asking(anonymous=self.trust.anonymous) if asks_client else 0)
            put(self, "_connection", module.Connection)
        put(self, "piece", self.message - _ROOM)
        put(self, "alpn", alpn)
        put(self, "suites", suites)

    def check_role(self, role: Role) -> None:
        """Raise `ValueError` where this side cannot play `role`."""
        self.trust.check_role(role)
        types = self.trust.credential_types
        if role is INITIATOR and X509 not in types:
            raise ValueError(
                f"a TLS server shows a certificate, and the trust policy takes {', '.join(types) or 'nothing'}: "
                f"use authorities(), or kinds=['{X509}']"
            )
        if role is not INITIATOR and X509 not in types and not self.trust.anonymous:
            raise ValueError(
                f"a TLS client shows a certificate or nothing, and the trust policy takes {', '.join(types)}"
            )
        if role is not INITIATOR and self.facts is not None and not self.facts.certificate:
            raise ValueError("a TLS server shows a certificate, and the context has none")

    def end(self, role: Role, suite: CipherSuite, transcript_hash: bytes) -> TlsEnd:
        """A fresh connection, which nothing is asked of yet."""
        make = self._connection
        return _NoEnd() if make is None else make(self, role, suite.tls_name, transcript_hash, suite.hash.digest_size)


class _NoEnd:
    """In the place of a connection where there is no context: enough for a replay, which has the answers on its tape."""

    __slots__ = ()

    def advance(self, received: bytes) -> Any:
        raise LocalProtocolError("this profile has no TLS context: it can look at recorded handshakes, and replay them")


def connection_module() -> Any:
    """The module that uses pyOpenSSL, imported once it is needed."""
    try:
        return import_module(f"{__package__}.connection")
    except ImportError as error:
        raise LocalProtocolError("TLS needs pyOpenSSL: install nautilus-handshake[tls]") from error


def _suites(names: Sequence[str]) -> Mapping[str, CipherSuite]:
    unknown = [name for name in names if name not in _BY_TLS_NAME]
    if unknown:
        raise ValueError(
            f"the context enables {', '.join(unknown)}: give it set_tls13_ciphersuites() with some of {', '.join(_BY_TLS_NAME)}"
        )
    return MappingProxyType({_BY_TLS_NAME[name].name: _BY_TLS_NAME[name] for name in names})


def _protocols(names: Sequence[str]) -> tuple[bytes, ...]:
    protocols = tuple([name.encode() for name in names])
    if any(not 1 <= len(protocol) <= 255 for protocol in protocols) or len(set(protocols)) != len(protocols):
        raise ValueError("an ALPN protocol has 1 to 255 bytes, and none stands twice")
    return protocols
