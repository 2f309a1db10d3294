"""Nautilus inside TLS: both libraries at both ends, what binds the two, and how TLS fails."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.streams.tls import TLSAttribute
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto

from nautilus_anyio import SecureListener, SecureStream, Tls, connect
from nautilus_core import (
    AuthenticationFailed,
    Context,
    HandshakeError,
    HandshakeTimeout,
    InvalidMessage,
    NegotiationFailed,
    PeerAborted,
    Profile,
    trust,
)

from .certified import (
    CLIENT_CERTIFICATE,
    HOST,
    LIBRARIES,
    STRANGER,
    Leaf,
    Library,
    client,
    client_context,
    server,
    server_context,
    use_tls_1_2,
)
from .helpers import ALICE, echo, initiator, listening, responder

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("library", LIBRARIES)


async def told(stream: SecureStream, data: bytes) -> bytes:
    """What an echo sends back of `data`, to its end."""
    await stream.send(data)
    await stream.send_eof()
    return b"".join([piece async for piece in stream])


@pytest.mark.parametrize("one", LIBRARIES)
@pytest.mark.parametrize("other", LIBRARIES)
async def test_both_libraries_at_both_ends(one: Library, other: Library) -> None:
    bound: list[str | None] = []

    async def serve_one(stream: SecureStream) -> None:
        bound.append(stream.session.tls_binding)
        await echo(stream)

    async with (
        listening(responder(), serve_one, tls=server(other)) as port,
        await connect(HOST, port, initiator(), tls=client(one)) as stream,
    ):
        expected = "tls-exporter" if one == other == "openssl" else "tls-server-end-point"
        assert stream.session.tls_binding == expected
        assert await told(stream, bytes(300_000)) == bytes(300_000)
        assert stream.extra(TLSAttribute.tls_version) == "TLSv1.3"
    assert bound == [expected]


@pytest.mark.parametrize("one", LIBRARIES)
@pytest.mark.parametrize("other", LIBRARIES)
async def test_tls_1_2_is_bound_to_the_certificate(one: Library, other: Library) -> None:
    tls = Tls(use_tls_1_2(client_context(one)))
    async with (
        listening(responder(), tls=server(other)) as port,
        await connect(HOST, port, initiator(), tls=tls) as stream,
    ):
        assert stream.session.tls_binding == "tls-server-end-point"
        assert stream.extra(TLSAttribute.tls_version) == "TLSv1.2"
        assert await told(stream, b"to and fro") == b"to and fro"


@both
async def test_without_a_binding_the_session_says_so(library: Library) -> None:
    async with (
        listening(responder(), tls=server(library, binding="offered")) as port,
        await connect(HOST, port, initiator(), tls=client(library, binding="off")) as stream,
    ):
        assert stream.session.tls_binding is None
        assert await told(stream, b"to and fro") == b"to and fro"


@both
async def test_one_end_that_requires_a_binding_is_enough_to_fail(library: Library) -> None:
    async with listening(responder(), tls=server(library)) as port:
        with pytest.raises(PeerAborted, match="the two ends are not bound to one TLS connection"):
            await connect(HOST, port, initiator(), tls=client(library, binding="off"))
    async with listening(responder(), tls=server(library, binding="off")) as port:
        with pytest.raises(AuthenticationFailed, match="does not say which TLS connection .* load balancer"):
            await connect(HOST, port, initiator(), tls=client(library))


async def test_a_policy_can_want_one_kind_of_binding() -> None:
    def decide(peer: object, context: Context) -> None:
        if context.tls_binding != "tls-exporter":
            raise AuthenticationFailed(f"bound by {context.tls_binding} only")

    def profile() -> Profile:
        return responder(trust=trust.decided_by(decide, trust.pinned(ALICE.public)))

    async with listening(profile(), tls=server("openssl")) as port:
        async with await connect(HOST, port, initiator(), tls=client("openssl")) as stream:
            assert await told(stream, b"yes") == b"yes"
        with pytest.raises(PeerAborted, match="its trust policy refused us"):
            await connect(HOST, port, initiator(), tls=client("ssl"))


@asynccontextmanager
async def failures_of(tls: Tls) -> AsyncIterator[tuple[int, list[Exception]]]:
    """A listener's port, and what has ended its connections."""
    seen: list[Exception] = []
    async with listening(responder(), tls=tls, on_error=lambda failure: seen.append(failure.error)) as port:
        yield port, seen
        with anyio.fail_after(20):
            while not seen:
                await anyio.sleep(0.005)


async def refused(tls: Tls, wanted: Tls, reason: str, alert: str) -> None:
    """The client refuses the certificate for `reason`, and the server hears `alert`."""
    async with failures_of(tls) as (port, seen):
        with pytest.raises(AuthenticationFailed, match=f"^tls: the peer's TLS certificate is refused: .*{reason}"):
            await connect(HOST, port, initiator(), tls=wanted)
    (error,) = seen
    assert isinstance(error, PeerAborted)
    assert f"with the alert {alert} (" in str(error)


@both
async def test_a_certificate_of_a_stranger(library: Library) -> None:
    tls = Tls(client_context(library, STRANGER))
    await refused(server("openssl"), tls, "self-signed certificate in certificate chain", "unknown_ca")


@both
async def test_a_certificate_that_has_expired(library: Library) -> None:
    await refused(Tls(Leaf(days=-1).context()), client(library), "certificate has expired", "certificate_expired")


@both
async def test_a_certificate_for_another_purpose(library: Library) -> None:
    leaf = Leaf(purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    await refused(Tls(leaf.context()), client(library), "certificate purpose", "unsupported_certificate")


@both
async def test_a_certificate_that_was_revoked(library: Library) -> None:
    context, leaf = client_context(library), Leaf()
    leaf.revoke_in(context)
    await refused(Tls(leaf.context()), Tls(context), "certificate revoked", "certificate_revoked")


@both
@pytest.mark.parametrize("name", ["elsewhere.example", "127.0.0.2"])
async def test_a_certificate_of_another_name(library: Library, name: str) -> None:
    async with failures_of(server(library)) as (port, _):
        with pytest.raises(AuthenticationFailed, match=name):
            await connect(HOST, port, initiator(), tls=client(library, server_name=name))


@both
async def test_the_name_can_be_another_than_the_hosts(library: Library) -> None:
    async with (
        listening(responder(), tls=server(library)) as port,
        await connect(HOST, port, initiator(), tls=client(library, server_name="gateway.example")) as stream,
    ):
        assert await told(stream, b"yes") == b"yes"


@both
async def test_a_client_may_have_to_have_a_certificate(library: Library) -> None:
    tls = Tls(server_context(library, client=True), certificate=server(library).certificate)
    with_one = Tls(client_context(library, certificate=CLIENT_CERTIFICATE))
    async with failures_of(tls) as (port, seen):
        async with await connect(HOST, port, initiator(), tls=with_one) as stream:
            assert await told(stream, b"yes") == b"yes"
        with pytest.raises(PeerAborted, match=r"alert certificate_required \(116\)"):
            await connect(HOST, port, initiator(), tls=client(library))
    assert "the peer has no TLS certificate, and one is required" in str(seen[0])


@both
async def test_no_version_in_common(library: Library) -> None:
    new = server_context("ssl")
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    async with failures_of(Tls(new, certificate=server("ssl").certificate)) as (port, seen):
        with pytest.raises(PeerAborted, match=r"alert protocol_version \(70\)"):
            await connect(HOST, port, initiator(), tls=Tls(use_tls_1_2(client_context(library))))
    assert isinstance(seen[0], NegotiationFailed)


@both
async def test_only_one_end_is_inside_tls(library: Library) -> None:
    async with failures_of(server(library)) as (port, seen):
        with pytest.raises(HandshakeError, match="TLS|speaks another protocol"):
            await connect(HOST, port, initiator())
    assert isinstance(seen[0], InvalidMessage)
    assert "the peer does not speak TLS" in str(seen[0])
    async with listening(responder()) as port:
        with pytest.raises(HandshakeError, match="the peer does not speak TLS"):
            await connect(HOST, port, initiator(), tls=client(library))


@both
async def test_a_peer_that_says_nothing(library: Library) -> None:
    async with await anyio.create_tcp_listener(local_host=HOST) as deaf:
        port = deaf.extra(anyio.abc.SocketAttribute.local_port)
        with pytest.raises(HandshakeTimeout, match="TLS has taken too long"):
            await connect(HOST, port, initiator(), tls=client(library), timeout=0.1)


async def test_a_server_with_ssl_is_told_its_certificate() -> None:
    listener = await anyio.create_tcp_listener(local_host=HOST)
    async with listener:
        with pytest.raises(ValueError, match="certificate="):
            SecureListener(listener, responder(), tls=server_context("ssl"))
    assert Tls(server_context("ssl"), certificate=server("ssl").certificate) is not None
    with pytest.raises(ValueError, match="certificate in PEM or DER"):
        Tls(server_context("ssl"), certificate=b"nothing")


@both
async def test_what_cannot_be(library: Library) -> None:
    with pytest.raises(TypeError, match="takes an ssl.SSLContext"):
        Tls("context")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="binding is one of"):
        Tls(client_context(library), binding="perhaps")  # type: ignore[arg-type]
    async with listening(responder()) as port:
        with pytest.raises(ValueError, match="not for the client"):
            await connect(HOST, port, initiator(), tls=server_context("ssl"))


async def test_a_certificate_that_has_no_hash_cannot_be_bound_to() -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    unsigned = Leaf(by="ed25519")
    unsigned.trusted_by(context)
    async with failures_of(Tls(unsigned.context(), binding="offered")) as (port, seen):
        with pytest.raises(AuthenticationFailed, match=r"TLSv1.2 is no TLSv1.3, and the signature .* has no hash"):
            await connect(HOST, port, initiator(), tls=Tls(context))
    assert seen


def of_another_version(folder: Path) -> tuple[SSL.Context, str]:
    """A server whose certificate says it is of X.509 version 2: OpenSSL takes that, `cryptography` does not read it."""
    leaf = Leaf()
    version_3, version_2 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01"
    encoded = leaf.certificate.public_bytes(Encoding.DER).replace(version_3, version_2, 1)
    context, file = leaf.context(), folder / "version-2.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(encoded))
    context.use_certificate_file(str(file))
    return context, str(file)


async def test_a_certificate_that_cannot_be_read_names_no_end_point(tmp_path: Path) -> None:
    context, _ = of_another_version(tmp_path)
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    async with failures_of(Tls(context)) as (port, seen):
        with pytest.raises(AuthenticationFailed, match="the server's certificate cannot be read"):
            await connect(HOST, port, initiator(), tls=careless)
    assert seen
    async with (
        listening(responder(), echo, tls=context) as port,
        await connect(HOST, port, initiator(), tls=SSL.Context(SSL.TLS_CLIENT_METHOD)) as stream,
    ):
        assert stream.session.tls_binding == "tls-exporter"
        assert stream.extra(TLSAttribute.peer_certificate_binary)


async def test_a_certificate_that_cannot_be_read_is_for_no_name(tmp_path: Path) -> None:
    context, certificate = of_another_version(tmp_path)
    client = SSL.Context(SSL.TLS_CLIENT_METHOD)
    client.set_verify(SSL.VERIFY_PEER)
    client.load_verify_locations(certificate)
    store = client.get_cert_store()
    assert store is not None
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    async with failures_of(Tls(context)) as (port, seen):
        with pytest.raises(AuthenticationFailed, match="it cannot be read"):
            await connect(HOST, port, initiator(), tls=client)
    assert seen
