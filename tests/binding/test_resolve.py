"""DID documents over real HTTPS on loopback: what is fetched, what is refused, and a handshake that waits for one."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, Final

import anyio
import pytest
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

from nautilus_anyio import ByMethod, Cache, Resolver, Unresolvable, answering, connect
from nautilus_anyio.did_web import DidWebResolver
from nautilus_core import AuthenticationFailed, Identity, LocalProtocolError, PeerIdentified, VerifiedPeer, trust
from nautilus_core.identity.multikey import encode_multikey

from .helpers import ALICE, BOB, initiator, listening, responder

pytestmark = pytest.mark.anyio

AUTHORITY: Final = trustme.CA()
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
WELL_KNOWN: Final = "/.well-known/did.json"

Reply = bytes | tuple[int, dict[str, str], bytes]


class Web:
    """An HTTPS server with a page for each path; `None` for one that never answers.

    Attributes:
        port: where it listens.
        asked: the paths and hosts that were asked for.
        names: that clients wanted in the TLS handshake.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.pages: dict[str, Reply | None] = {}
        self.asked: list[tuple[str, str]] = []
        self.names: list[str] = []

    def did(self, path: str = "") -> str:
        """The DID of a page."""
        return f"did:web:localhost%3A{self.port}{path}"

    async def answer(self, stream: ByteStream) -> None:
        """One request on a connection."""
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                try:
                    request += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
            first, *lines = request.decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines if line)
            path = first.split(" ")[1]
            self.asked.append((path, headers["host"]))
            reply = self.pages.get(path, (404, {}, b"no"))
            if reply is None:
                await anyio.sleep(10)
                return
            status, more, body = reply if isinstance(reply, tuple) else (200, {}, reply)
            head = f"HTTP/1.1 {status} Fine\r\nConnection: close\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in more.items())
            try:
                await stream.send(head.encode(errors="surrogateescape") + b"\r\n" + body)
            except anyio.BrokenResourceError:
                pass


@asynccontextmanager
async def web(name: str = "localhost") -> AsyncIterator[Web]:
    """The server, with a certificate for `name`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(name).configure_cert(context)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = Web(listener.extra(SocketAttribute.local_port))
    context.sni_callback = lambda _, name, __: server.names.append(name)
    secure = TLSListener(listener, context, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(secure.serve, server.answer)
        yield server
        tasks.cancel_scope.cancel()


def client() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=AUTHORITY.cert_pem.bytes().decode())  # not those of the system too: 40 ms


def resolver(**options: Any) -> DidWebResolver:
    defaults: dict[str, Any] = {"private_networks": LOOPBACK, "ssl_context": client()}
    return DidWebResolver(**defaults | options)


async def refusal(did: str, using: Resolver) -> str:
    with pytest.raises(Unresolvable) as caught:
        await using.resolve(did)
    return str(caught.value)


async def test_documents_are_where_the_method_says() -> None:
    async with web() as server:
        server.pages = {WELL_KNOWN: b"root", "/people/alice/did.json": b"alice", "/a%20b/did.json": b"blank"}
        found = [await resolver().resolve(server.did(path)) for path in ("", ":people:alice", ":a%20b")]
        assert found == [b"root", b"alice", b"blank"]
        assert {host for _, host in server.asked} == {f"localhost:{server.port}"}
        assert set(server.names) == {"localhost"}
        assert "no such document" in await refusal(server.did(":nobody"), resolver())
        server.pages[WELL_KNOWN] = (503, {}, b"busy")
        assert "status 503" in await refusal(server.did(), resolver())


async def test_addresses_that_are_not_public_are_refused() -> None:
    async with web() as server:
        for networks in ((), ("10.0.0.0/8",)):
            refused = await refusal(server.did(), resolver(private_networks=networks))
            assert "which is not public" in refused
        assert not server.asked
        assert not server.names


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::", "::1", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1", "2001:db8::1",
        "64:ff9b:1::1", "::7f00:1", "fec0::1",
    ],
)  # fmt: skip
async def test_which_addresses_are_not_public(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anyio, "getaddrinfo", naming([address]))
    assert "which is not public" in await refusal("did:web:gateway.example", resolver(private_networks=()))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
async def test_which_addresses_are_public(address: str) -> None:
    assert resolver(private_networks=())._allows(ip_address(address))


def naming(*answers: list[str]) -> Callable[..., Any]:
    """A name service that gives these answers in turn, and then none."""
    left = list(answers)

    async def look_up(host: str, port: int, **options: Any) -> list[Any]:
        if not left:
            raise socket.gaierror("asked again")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in left.pop(0)]

    return look_up


async def test_a_name_that_changes_its_mind_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with web("gateway.example") as server:
        server.pages[WELL_KNOWN] = b"found"
        did = f"did:web:gateway.example%3A{server.port}"
        monkeypatch.setattr(anyio, "getaddrinfo", naming(["127.0.0.1"]))
        assert await resolver().resolve(did) == b"found"  # a second look-up would have failed
        monkeypatch.setattr(anyio, "getaddrinfo", naming(["10.255.255.1", "127.0.0.1"]))
        only_one = resolver(private_networks=["127.0.0.1/32"])
        assert await only_one.resolve(did) == b"found"  # not the other, which is not allowed
        monkeypatch.setattr(anyio, "getaddrinfo", naming(["127.0.0.9", "127.0.0.1"]))
        assert await resolver().resolve(did) == b"found"  # where nobody listens at the first
        assert set(server.names) == {"gateway.example"}
        async with await anyio.create_tcp_listener(local_host="127.0.0.9", local_port=server.port):
            monkeypatch.setattr(anyio, "getaddrinfo", naming(["127.0.0.9", "127.0.0.1"]))
            assert await resolver(timeout=2.0).resolve(did) == b"found"  # where somebody listens who says nothing


async def test_the_certificate_must_be_for_the_name_and_from_an_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    async with web("other.example") as server:
        server.pages[WELL_KNOWN] = b"found"
        assert "not trusted: Hostname mismatch" in await refusal(server.did(), resolver())
    async with web() as server:
        strict = resolver(ssl_context=ssl.create_default_context())
        assert "certificate is not trusted" in await refusal(server.did(), strict)
        assert server.asked == []


async def test_no_proxy_of_the_environment_sees_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would connect in our place, to addresses that nobody has checked."""
    async with web() as server, await anyio.create_tcp_listener(local_host="127.0.0.1") as nobody:
        server.pages[WELL_KNOWN] = b"found"
        proxy = f"http://127.0.0.1:{nobody.extra(SocketAttribute.local_port)}"
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        assert await resolver(timeout=3.0).resolve(server.did()) == b"found"


async def test_redirects_stay_on_the_host() -> None:
    async with web() as server, web() as other:
        other.pages["/"] = b"stolen"
        server.pages["/there"] = b"there"
        for target in ("/there", "../there", f"https://localhost:{server.port}/there"):
            server.pages[WELL_KNOWN] = (302, {"Location": target}, b"")
            assert await resolver().resolve(server.did()) == b"there"
        for target in (
            f"https://localhost:{other.port}/",
            f"http://localhost:{server.port}/there",
            f"https://127.0.0.1:{server.port}/there",
            f"https://user@localhost:{server.port}/there",
            "https://[",
            "//gateway.example/",
        ):
            server.pages[WELL_KNOWN] = (301, {"Location": target}, b"")
            assert "sends to" in await refusal(server.did(), resolver())
        for target in ("https://[::1", "https://xn--/", "https://\udcff/", "https://localhost:x/"):
            server.pages[WELL_KNOWN] = (302, {"Location": target}, b"")
            await refusal(server.did(), resolver())  # httpx, or idna below it, says that in errors of their own
        assert other.asked == []
        server.pages[WELL_KNOWN] = (307, {"Location": WELL_KNOWN}, b"")
        assert "from one place to the next" in await refusal(server.did(), resolver())


async def test_limits() -> None:
    async with web() as server:
        server.pages[WELL_KNOWN] = b"x" * 1000
        assert len(await resolver(max_bytes=1000).resolve(server.did())) == 1000
        assert "more than 999 bytes" in await refusal(server.did(), resolver(max_bytes=999))
        server.pages[WELL_KNOWN] = (200, {"Content-Encoding": "gzip"}, b"x")
        assert "compressed" in await refusal(server.did(), resolver())
        server.pages[WELL_KNOWN] = None
        assert "did not answer in 0.2 seconds" in await refusal(server.did(), resolver(timeout=0.2))
    assert f"localhost:{server.port}: Connection refused" in await refusal(
        server.did(), resolver()
    )  # nobody listens now
    wrongs: list[dict[str, Any]] = [{"timeout": 0}, {"max_bytes": 0}, {"private_networks": ["here"]}]
    for wrong in wrongs:
        with pytest.raises(ValueError):
            resolver(**wrong)


@pytest.mark.parametrize(
    ("did", "why"),
    [
        ("did:ion:abc", "unknown method"),
        ("did:web", "no DID"),
        ("did:web:127.0.0.1", "host in the did:web is malformed"),
        ("did:web:%5B%3A%3A1%5D", "host in the did:web is malformed"),
        ("did:web:user%40host", "host in the did:web is malformed"),
        ("did:web:host%2Fpath", "host in the did:web is malformed"),
        ("did:web:" + "a" * 64, "host in the did:web is malformed"),
        ("did:web:host%3A0", "port in the did:web is malformed"),
        ("did:web:host%3A65536", "port in the did:web is malformed"),
        ("did:web:host%3A%2B1", "port in the did:web is malformed"),
        ("did:web:host%3A", "port in the did:web is malformed"),
        ("did:web:host:..:a", "path in the did:web is malformed"),
        ("did:web:host:%2e%2E:a", "path in the did:web is malformed"),
        ("did:web:host::a", "path in the did:web is malformed"),
        ("did:web:host:bob%2F..%2Falice", "path in the did:web is malformed"),
        ("did:web:host:bob%5c..%5calice", "path in the did:web is malformed"),
        ("did:web:host:alice%3Fbob", "path in the did:web is malformed"),
        ("did:web:host:alice%23bob", "path in the did:web is malformed"),
        ("did:web:host:alice%00", "path in the did:web is malformed"),
        ("did:web:host:alice%0d%0aHost:bob", "path in the did:web is malformed"),
        ("did:web:host:%252e%252e:alice", "path in the did:web is malformed"),
        ("did:web:host:%C0%AE%C0%AE:alice", "path in the did:web is malformed"),
        ("did:web:host:alice%FF", "path in the did:web is malformed"),
        ("did:web:nobody.invalid", "there is no host nobody.invalid"),
    ],
)
async def test_what_leads_nowhere(did: str, why: str) -> None:
    assert why in await refusal(did, resolver())


class Counting:
    """A resolver that knows every DID, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def resolve(self, did: str) -> bytes:
        self.asked.append(did)
        if did.endswith("gone"):
            raise Unresolvable("gone")
        return did.encode()


async def test_a_cache_forgets() -> None:
    counting = Counting()
    cache = Cache(counting, lifetime=0.2, most=2)
    for _ in range(3):
        assert await cache.resolve("did:x:a") == b"did:x:a"
    assert counting.asked == ["did:x:a"]
    await anyio.sleep(0.25)
    await cache.resolve("did:x:a")
    assert len(counting.asked) == 2
    cache.forget("did:x:a")
    for did in ("did:x:a", "did:x:b", "did:x:c", "did:x:b"):  # the first has to go
        await cache.resolve(did)
    assert len(counting.asked) == 5
    await cache.resolve("did:x:a")
    assert len(counting.asked) == 6
    for _ in range(2):
        assert await refusal("did:x:gone", cache) == "gone"
    assert len(counting.asked) == 8
    for wrong in ({"lifetime": 0}, {"most": 0}):
        with pytest.raises(ValueError):
            Cache(counting, **wrong)


async def test_a_resolver_for_each_method() -> None:
    both: Resolver = ByMethod({"x": Counting(), "web": resolver()})
    assert await both.resolve("did:x:a") == b"did:x:a"
    assert "known are did:x, did:web" in await refusal("did:ion:a", both)


def document(did: str, identity: Identity) -> bytes:
    key = {"id": "#me", "type": "Multikey", "controller": did, "publicKeyMultibase": encode_multikey(identity.public)}
    return json.dumps({"id": did, "verificationMethod": [key], "authentication": ["#me"]}).encode()


async def test_a_handshake_waits_for_the_documents_of_both() -> None:
    async with web() as server:
        mine, theirs = server.did(":alice"), server.did(":bob")
        server.pages = {"/alice/did.json": document(mine, ALICE), "/bob/did.json": document(theirs, BOB)}
        answer = answering(Cache(resolver()))
        bob = responder(identity=BOB.with_did(theirs + "#me"), trust=trust.dids(mine))
        alice = initiator(identity=ALICE.with_did(mine), trust=trust.dids(methods=["web"]))
        async with listening(bob, answer=answer) as port:
            for _ in range(2):
                async with await connect("127.0.0.1", port, alice, answer=answer) as stream:
                    peer = stream.session.peer
                    assert isinstance(peer, VerifiedPeer)
                    assert peer.identifier == theirs
        assert sorted(path for path, _ in server.asked) == ["/alice/did.json", "/bob/did.json"]


async def test_a_handshake_fails_where_the_document_cannot_be_had() -> None:
    async with web() as server:
        server.pages["/slow/did.json"] = None
        for path, why in ((":slow", "did not answer"), (":nobody", "no such document")):
            did = server.did(path)
            alice = initiator(trust=trust.dids(did))
            bob = responder(identity=BOB.with_did(did))
            async with listening(bob) as port:
                with pytest.raises(AuthenticationFailed, match=f"could not be resolved: .*{why}"):
                    await connect("127.0.0.1", port, alice, answer=answering(resolver(timeout=0.3)))


@pytest.mark.parametrize("trouble", [ConnectionRefusedError("refused"), TimeoutError()])
async def test_a_resolver_that_is_down_refuses_the_peer_and_breaks_nothing(trouble: OSError) -> None:
    class Down:
        async def resolve(self, did: str) -> bytes:
            raise trouble

    did = "did:x:bob"
    async with listening(responder(identity=BOB.with_did(did))) as port:
        with pytest.raises(AuthenticationFailed, match=f"could not be resolved: {str(trouble) or 'TimeoutError'}"):
            await connect("127.0.0.1", port, initiator(trust=trust.dids(did)), answer=answering(Down()))


async def test_other_questions_are_answered_elsewhere() -> None:
    asked: list[Any] = []

    def accept(question: Any) -> None:
        asked.append(question)
        question.accept()

    async def accept_later(question: Any) -> None:
        await anyio.sleep(0)
        accept(question)

    alice = initiator(trust=trust.ask())
    async with listening(responder()) as port:
        for otherwise in (accept, accept_later):
            await (await connect("127.0.0.1", port, alice, answer=answering(Counting(), otherwise))).aclose()
        assert [type(question) for question in asked] == [PeerIdentified] * 2
        with pytest.raises(LocalProtocolError, match="PeerIdentified was asked"):
            await connect("127.0.0.1", port, alice, answer=answering(Counting()))
