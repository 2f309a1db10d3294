"""Fuzzes names that a peer chooses: a `did:web` and where it leads, redirects, the target that it wants, files to send.

Byte 0 chooses; the rest is the name. Wherever a `did:web` leads, it is a DNS name, by HTTPS, and the path of a document.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from fuzz.checks import Finding, check_text
from fuzz.people import IDENTITIES
from nautilus_anyio.cli.transfer.files import check_name
from nautilus_anyio.cli.transfer.messages import Offer, Parser, Ready, Start, TransferFailed, data_header, frame
from nautilus_anyio.did_web import DidWebResolver, _place_of, _redirected, _within
from nautilus_anyio.resolve import Unresolvable
from nautilus_core import INITIATOR, RESPONDER, HandshakeError, Identities, NegotiationFailed

_HOST: Final = re.compile(r"[a-z0-9.-]{1,253}")


def _did_web(data: bytes) -> None:
    text, _, location = data.decode("latin-1").partition("\n")
    place = _place_of(text)
    _check_place(place)
    if not place.path.endswith("/did.json"):
        raise Finding(f"{text!r} leads to {place!r}")
    if location:
        there = _redirected(place, location)
        _check_place(there)
        if (there.host, there.port) != (place.host, place.port):
            raise Finding(f"{place!r} leads to another host: {there!r}")


def _check_place(place: object) -> None:
    host, port, path = (getattr(place, name) for name in ("host", "port", "path"))
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        raise Finding(f"an address in the place of a name: {place!r}")
    if not _HOST.fullmatch(host) or not 0 < port < 65_536 or not path.startswith("/") or not path.isascii():
        raise Finding(f"{place!r}")
    if any(letter in path for letter in "\r\n\t ") or "/../" in path:
        raise Finding(f"{place!r} has a path that means another")


_ADDRESSES: Final = DidWebResolver.__new__(DidWebResolver)
_ADDRESSES._networks = ()


def _address(data: bytes) -> None:
    """Of every address at most those are allowed that are public, whichever way they are written."""
    if len(data) not in (4, 16):
        return
    address = ip_address(data)
    if not _ADDRESSES._allows(address):
        return
    inner = _within(address)
    counts = address if inner is None else inner
    if not counts.is_global or counts.is_loopback or counts.is_link_local or counts.is_multicast:
        raise Finding(f"{address} is not public")


def _target(data: bytes) -> None:
    someone = IDENTITIES[INITIATOR]
    for node in (
        Identities(None, {"a": someone}),
        Identities(IDENTITIES[RESPONDER], {"é": someone}, refuse_unknown=True),
    ):
        try:
            found = node.named(data)
        except NegotiationFailed as error:
            check_text(error, ())
            continue
        if found is not someone or data not in (b"a", "é".encode()):
            raise Finding(f"{data!r} leads to {found!r}")


def _transfer(data: bytes) -> None:
    """What a peer says when it sends files; the name of one stays in its folder."""
    outcomes = []
    for size in (max(len(data), 1), 3):
        parser, found = Parser(), []
        try:
            for start in range(0, len(data), size):
                parser.receive_data(data[start : start + size])
                while (incoming := parser.next_frame()) is not None:
                    found.append(incoming)
        except HandshakeError as error:
            check_text(error, ())
        outcomes.append(found)
    if outcomes[0] != outcomes[1]:
        raise Finding(f"in pieces: {outcomes}")
    for message in outcomes[0]:
        if isinstance(message, Offer):
            with contextlib.suppress(TransferFailed):
                check_name(message.name)
                if Path("folder", message.name).name != message.name or not message.name.isprintable():
                    raise Finding(f"{message.name!r} leads elsewhere")


NAMES: Final[list[Callable[[bytes], None]]] = [_did_web, _address, _target, _transfer]


def one_input(data: bytes) -> None:
    """One input; raises whatever is not `Unresolvable`."""
    if not data:
        return
    try:
        NAMES[data[0] % len(NAMES)](data[1:])
    except Unresolvable as error:
        check_text(error, ())


def seeds() -> dict[str, bytes]:
    """Names that lead somewhere, and some that must not."""
    dids = (
        "did:web:fuzz.example",
        "did:web:fuzz.example%3A8443:a:b",
        "did:web:127.0.0.1",
        "did:web:x%2f..%2fy",
        "did:web:a:%2e%2e",
    )
    made = {f"did-web-{number}": b"\0" + did.encode() for number, did in enumerate(dids)}
    for number, location in enumerate(
        ("/other/did.json", "https://fuzz.example/x", "//other.example/", "http://fuzz.example/", "../x")
    ):
        made[f"redirect-{number}"] = b"\0did:web:fuzz.example\n" + location.encode()
    public, private = ("8.8.8.8", "2606:4700::1"), ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1")
    for name in (*public, *private, "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"):
        made[f"address-{name.replace(':', '_')}"] = b"\x01" + ip_address(name).packed
    made |= {"target": b"\x02a", "target-no-text": b"\x02\xff\xfe", "target-other": "\x02é".encode()}
    said = [Ready(), Offer("notes.txt", 5, False), Offer("../x", 5, True), Start(0)]
    made["transfer"] = b"\x03" + b"".join(map(frame, said)) + data_header(5) + b"hello"
    return made
