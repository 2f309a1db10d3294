"""`did:web`: documents over HTTPS, from hosts that the peer names, hence with every limit. It needs httpx: `.[did]`.

<https://w3c-ccg.github.io/did-method-web/>. A name is looked up once and the connection is made to an address that was
checked, so that a name which changes its mind in between (DNS rebinding) changes nothing. Reading a document is the core's.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote

import anyio

from nautilus_core.identity.did_document import MAX_DOCUMENT, parse_did

from .errors import in_words
from .resolve import NotPublic, Unresolvable

try:
    import httpx
except ImportError as error:
    raise ImportError("DidWebResolver needs httpx: pip install 'nautilus-handshake[did]'") from error

_Address = IPv4Address | IPv6Address

_HOST: Final = re.compile(r"(?:(?!-)[a-z0-9-]{1,63}\.)*(?![0-9]+\Z)(?!-)[a-z0-9-]{1,63}")
_LONGEST_HOST: Final = 253
_PORT: Final = re.compile(r"[0-9]{1,5}")
_SEPARATORS: Final = frozenset("/\\?#%")
_HTTPS: Final = 443
_LAST_PORT: Final = 65_535
_NAT64: Final = IPv6Network("64:ff9b::/96")
_UNICAST: Final = IPv6Network("2000::/3")  # all that is public of IPv6 so far
_MOST_ADDRESSES: Final = 4
_MOST_REDIRECTS: Final = 3
_GONE: Final = (404, 410)
_HEADERS: Final = {"Accept": "application/did+json, application/json", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a document is: on a host, by HTTPS."""

    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        return self.host if self.port == _HTTPS else f"{self.host}:{self.port}"

    def at(self, address: _Address) -> str:
        """Its URL on one address of the host."""
        host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        return f"https://{host}:{self.port}{self.path}"


class DidWebResolver:
    """Looks up `did:web` documents: HTTPS only, no redirects to another host, no proxies, public addresses only.

    Args:
        private_networks: networks that are not public, whose addresses may be connected to all the same: `10.0.0.0/8`.
        timeout: seconds for all of it.
        max_bytes: of a document.
        ssl_context: which authorities to trust; by default those of the system.

    Raises:
        ValueError: what is no network, or a limit that nothing fits.
    """

    def __init__(
        self,
        *,
        private_networks: Iterable[str] = (),
        timeout: float = 5.0,
        max_bytes: int = MAX_DOCUMENT,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if timeout <= 0 or max_bytes < 1:
            raise ValueError("a document needs one byte at least, and more than 0 seconds")
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple([ip_network(one) for one in private_networks])
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._ssl_context = ssl.create_default_context() if ssl_context is None else ssl_context

    async def resolve(self, did: str) -> bytes:
        """The document, as it came.

        Raises:
            Unresolvable: another method, no such host or document, an address that is not public, too large, too slow.
        """
        place = _place_of(did)
        try:
            with anyio.fail_after(self._timeout):
                return await self._fetch(place)
        except (TimeoutError, httpx.TimeoutException):
            raise Unresolvable(f"{place.authority} did not answer in {self._timeout:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # of idna, for a malformed redirect
            raise Unresolvable(f"{place.authority}: {_why(error)}") from error

    async def _fetch(self, place: _Place) -> bytes:
        addresses = await self._addresses(place)
        each = httpx.Timeout(self._timeout, connect=self._timeout / len(addresses))
        async with httpx.AsyncClient(verify=self._ssl_context, trust_env=False, timeout=each) as client:
            for address in addresses[:-1]:
                try:
                    return await self._get(client, place, address)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue
            return await self._get(client, place, addresses[-1])

    async def _addresses(self, place: _Place) -> list[_Address]:
        """Those of the host to which a connection may be made."""
        try:
            found = await anyio.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Unresolvable(f"there is no host {place.host}") from error
        addresses = list(dict.fromkeys(ip_address(entry[4][0].partition("%")[0]) for entry in found))  # one at least
        allowed = [address for address in addresses if self._allows(address)]
        if not allowed:
            raise NotPublic(f"{place.host} has the address {addresses[0]}, which is not public")
        return allowed[:_MOST_ADDRESSES]

    def _allows(self, address: _Address) -> bool:
        if any(address in network for network in self._networks):
            return True
        inner = _within(address)
        if inner is not None:
            return self._allows(inner)
        return address.is_global and (
            not address.is_multicast if isinstance(address, IPv4Address) else address in _UNICAST
        )

    async def _get(self, client: httpx.AsyncClient, place: _Place, address: _Address) -> bytes:
        """The document from one address, also after redirects on the same host."""
        for _ in range(_MOST_REDIRECTS + 1):
            url, headers = place.at(address), _HEADERS | {"Host": place.authority}
            async with client.stream("GET", url, headers=headers, extensions={"sni_hostname": place.host}) as response:
                if not response.has_redirect_location:
                    return await self._read(response, place)
                place = _redirected(place, response.headers["Location"])
        raise Unresolvable(f"{place.authority} sends from one place to the next")

    async def _read(self, response: httpx.Response, place: _Place) -> bytes:
        if response.status_code in _GONE:
            raise Unresolvable(f"{place.authority} has no such document")
        if response.status_code != httpx.codes.OK:
            raise Unresolvable(f"{place.authority} answers with status {response.status_code}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Unresolvable(f"{place.authority} sends the document compressed, which was not asked for")
        document = b""
        with anyio.CancelScope() as scope:
            async for piece in response.aiter_raw():
                document += piece
                if len(document) > self._max_bytes:
                    scope.cancel()  # it unwinds httpx's generators, which Trio does not let anybody abandon
        if len(document) > self._max_bytes:
            raise Unresolvable(f"the document at {place.authority} has more than {self._max_bytes} bytes")
        return document


def _within(address: _Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (None if teredo is None else teredo[1])


def _place_of(did: str) -> _Place:
    """Where the document of a `did:web` is, by its method's specification."""
    try:
        url = parse_did(did)
    except ValueError as error:
        raise Unresolvable(str(error)) from error
    if url.method != "web":
        raise Unresolvable(f"did:{url.method} is an unknown method here; known is did:web")
    authority, *segments = url.specific.split(":")
    if not all(_is_segment(segment) for segment in segments):
        raise Unresolvable("the path in the did:web is malformed")
    path = "/" + "/".join([*(segments or [".well-known"]), "did.json"])
    return _at_authority(unquote(authority), path)


def _is_segment(text: str) -> bool:
    """Whether a part of a path is one part, whoever decodes it once more: else `bob%2F..%2Falice` could be Alice's."""
    try:
        segment = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return False
    return segment not in ("", ".", "..") and segment.isprintable() and not set(segment) & _SEPARATORS


def _at_authority(authority: str, path: str) -> _Place:
    host, colon, port = authority.lower().partition(":")
    if len(host) > _LONGEST_HOST or not _HOST.fullmatch(host):
        raise Unresolvable("the host in the did:web is malformed: expected a DNS name")
    if colon and not (_PORT.fullmatch(port) and 0 < int(port) <= _LAST_PORT):
        raise Unresolvable("the port in the did:web is malformed")
    return _Place(host, int(port) if colon else _HTTPS, path)


def _redirected(place: _Place, location: str) -> _Place:
    """Where to look next; `Unresolvable` for another host."""
    try:
        url = httpx.URL(f"https://{place.authority}{place.path}").join(location)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise Unresolvable(f"{place.authority} sends to a malformed place") from error
    if (url.scheme, url.host, url.port or _HTTPS, url.userinfo) != ("https", place.host, place.port, b""):
        raise Unresolvable(f"{place.authority} sends to another host, or away from HTTPS")
    return _Place(place.host, place.port, url.raw_path.decode("ascii"))


def _why(error: BaseException) -> str:
    """What lies at the bottom of an error of httpx, which says it otherwise on each event loop."""
    said = ""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.errno:
            return in_words(cause)
        said = str(cause).partition("\n")[0] or said
        cause = cause.__cause__ or cause.__context__
    return said or type(error).__name__
