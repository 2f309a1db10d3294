"""TLS as a step over real sockets, on both event loops."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import trustme
from OpenSSL import SSL

from nautilus_anyio import SecureStream, connect
from nautilus_core import AuthenticationFailed, PeerAborted, Profile, TlsDetails, profiles, trust

from ..core.helpers import note
from .helpers import echo, listening

AUTHORITY = trustme.CA()
ELSEWHERE = trustme.CA()
ROOTS = AUTHORITY.cert_pem.bytes()
SERVER = AUTHORITY.issue_cert("127.0.0.1", "localhost")
CLIENT = AUTHORITY.issue_cert("node.example")


def context(leaf: trustme.LeafCert | None) -> SSL.Context:
    made = SSL.Context(SSL.TLS_METHOD)
    if leaf is not None:
        leaf.configure_cert(made)
    return made


def client(leaf: trustme.LeafCert | None = CLIENT, name: str = "127.0.0.1", **options: Any) -> Profile:
    return profiles.tls(context(leaf), trust=trust.authorities(ROOTS, name=name), **options)


def server(leaf: trustme.LeafCert = SERVER, **options: Any) -> Profile:
    return profiles.tls(context(leaf), **{"trust": trust.authorities(ROOTS), **options})


def edited(profile: Profile) -> Profile:
    return profile.insert_after("tls", note("ticket")).insert_before("initiator-finished", note("last"))


@pytest.mark.anyio
async def test_both_ends_with_certificates_over_tcp() -> None:
    met: list[Any] = []

    async def handler(stream: SecureStream) -> None:
        met.append(stream.session)
        await echo(stream)

    options: dict[str, Any] = {"protocols": ("acme/1",), "alpn": ("acme",)}
    async with listening(edited(server(**options)), handler) as port:
        async with await connect("127.0.0.1", port, edited(client(**options))) as stream:
            await stream.send(b"through TLS's keys" * 10_000)
            await stream.send_eof()
            received = b"".join([data async for data in stream])
            assert received == b"through TLS's keys" * 10_000
            session = stream.session
    assert met[0].channel_binding == session.channel_binding
    assert met[0].peer.names == ("node.example",)
    assert met[0].results["ticket"] == b"a note from the initiator"
    assert session.protocol == "acme/1"
    assert isinstance(session.results["tls"], TlsDetails)
    assert session.results["tls"].alpn == "acme"


@pytest.mark.anyio
async def test_many_at_once_with_one_profile() -> None:
    async def dial(port: int, profile: Profile) -> None:
        async with await connect("127.0.0.1", port, profile) as stream:
            await stream.send(b"hello")
            assert await stream.receive() == b"hello"

    async with listening(server()) as port, anyio.create_task_group() as tasks:
        profile = client()
        for _ in range(20):
            tasks.start_soon(dial, port, profile)


@pytest.mark.anyio
async def test_who_is_refused_over_tcp_is_told_why() -> None:
    async with listening(server()) as port:
        with pytest.raises(PeerAborted, match="we showed none"):
            await connect("127.0.0.1", port, client(None))
        with pytest.raises(PeerAborted, match="its trust policy refused us"):
            await connect("127.0.0.1", port, client(ELSEWHERE.issue_cert("node.example")))
        with pytest.raises(AuthenticationFailed, match="another name"):
            await connect("127.0.0.1", port, client(name="gateway.example"))
