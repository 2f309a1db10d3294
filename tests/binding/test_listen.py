"""`SecureListener` over listeners of every kind, and what it does when connections fail."""

from __future__ import annotations

import logging
import resource
import socket
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, Listener, SocketAttribute
from anyio.streams.stapled import MultiListener

from nautilus_anyio import (
    ConnectionFailure,
    SecureAttribute,
    SecureListener,
    SecureStream,
    TransportFailed,
    connect,
    connect_unix,
)
from nautilus_core import AuthenticationFailed, InvalidMessage, trust

from .helpers import ALICE, BOB, MALLORY, echo, initiator, listening, responder

pytestmark = pytest.mark.anyio


async def says_it_back(stream: SecureStream) -> bool:
    """Whether there is an echo at the other end."""
    async with stream:
        await stream.send(b"hello")
        return await stream.receive() == b"hello"


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with SecureListener(await anyio.create_unix_listener(path), responder()) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, echo)
            assert await says_it_back(await connect_unix(path, initiator()))
            tasks.cancel_scope.cancel()
    with pytest.raises(TransportFailed, match=f"no connection to {path}") as caught:
        await connect_unix(path, initiator())
    assert caught.value.retryable


async def test_several_addresses_at_once() -> None:
    parts: list[Listener[ByteStream]] = []
    addresses = []
    for host in ("127.0.0.1", "127.0.0.2", "::1"):
        try:
            parts.append(await anyio.create_tcp_listener(local_host=host))
        except OSError:
            continue  # this machine has no such addresses
        addresses.append((host, parts[-1].extra(SocketAttribute.local_port)))
    both = MultiListener(parts)
    async with SecureListener(both, responder()) as listener, anyio.create_task_group() as tasks:
        assert listener.extra(SocketAttribute.local_port) in [port for _, port in addresses]
        tasks.start_soon(listener.serve, echo)
        for host, port in addresses:
            assert await says_it_back(await connect(host, port, initiator()))
        tasks.cancel_scope.cancel()
    assert addresses


async def test_connections_outlive_the_listener_in_a_task_group_of_ones_own() -> None:
    listener = SecureListener(await anyio.create_tcp_listener(local_host="127.0.0.1"), responder())
    port = listener.extra(SocketAttribute.local_port)
    async with anyio.create_task_group() as connections:
        accepting = anyio.CancelScope()
        ended = anyio.Event()

        async def accept() -> None:
            with accepting:
                await listener.serve(echo, connections)
            ended.set()

        connections.start_soon(accept)
        stream = await connect("127.0.0.1", port, initiator())
        accepting.cancel()
        await ended.wait()
        await listener.aclose()
        with pytest.raises(TransportFailed):
            await connect("127.0.0.1", port, initiator())
        assert await says_it_back(stream)


async def test_a_failure_is_shown_with_its_fields_and_nothing_secret(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[ConnectionFailure] = []
    with caplog.at_level(logging.WARNING, logger="nautilus_anyio"):
        async with listening(responder(), on_error=failures.append) as port:
            with pytest.raises(AuthenticationFailed):
                await connect("127.0.0.1", port, initiator(trust=trust.pinned(MALLORY.public)))
            assert await says_it_back(await connect("127.0.0.1", port, initiator()))
            with anyio.fail_after(20):
                while not failures:
                    await anyio.sleep(0.01)
    record = next(record for record in caplog.records if record.name == "nautilus_anyio")
    fields = record.__dict__["nautilus"]
    assert fields == failures[0].fields
    assert fields["phase"] == "handshake"
    assert fields["kind"] == "PeerAborted"
    assert fields["remote"][0] == "127.0.0.1"
    assert fields["peer_id"] is None
    assert "initiator-authentication" in caplog.text


async def test_a_handlers_failure_names_the_peer() -> None:
    failures: list[ConnectionFailure] = []

    async def failing(stream: SecureStream) -> None:
        await stream.receive()
        raise RuntimeError("a bug in the application")

    async with listening(responder(), failing, on_error=failures.append) as port:
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"x")
            with pytest.raises(anyio.BrokenResourceError):
                await stream.receive()
        with anyio.fail_after(20):
            while not failures:
                await anyio.sleep(0.01)
    assert failures[0].fields["peer_id"] == ALICE.peer_id
    assert failures[0].fields["kind"] == "RuntimeError"


async def test_a_hook_that_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: ConnectionFailure) -> None:
        raise RuntimeError("a bug in the hook")

    async with listening(responder(), on_error=broken) as port:
        async with await anyio.connect_tcp("127.0.0.1", port) as stranger:
            await stranger.send(b"SSH-2.0-nonsense\r\n")
            await stranger.receive()
        assert await says_it_back(await connect("127.0.0.1", port, initiator()))
    assert "the on_error hook failed" in caplog.text


async def test_running_out_of_file_descriptors_passes(caplog: pytest.LogCaptureFixture) -> None:
    """The listener goes on once connections have ended."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with listening(responder()) as port:
        assert await says_it_back(await connect("127.0.0.1", port, initiator()))
        crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
        await anyio.sleep(0.2)
        probe = socket.socket()
        late = [socket.socket() for _ in range(3)]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno(), hard))
            for client in late:
                client.connect(("127.0.0.1", port))
            await anyio.sleep(0.4)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for client in (*crowd, *late, probe):
                client.close()
        assert await says_it_back(await connect("127.0.0.1", port, initiator()))
    assert caplog.text.count("accepting a connection failed: Too many open files") == 1  # it was tried more often


async def test_a_close_does_not_cut_off_what_was_sent_last() -> None:
    """Closed with unread data of the peer, TCP resets, and takes away what the peer has not read yet."""

    async def answer_and_go(stream: SecureStream) -> None:
        await stream.receive()
        await stream.send(b"the whole answer" * 100_000)

    async with listening(responder(), answer_and_go) as port:
        stream = await connect("127.0.0.1", port, initiator())
        async with stream:
            await stream.send(b"question")
            for _ in range(20):
                await stream.send(b"nobody reads this" * 1000)
            await anyio.sleep(0.1)
            answer = b"".join([data async for data in stream])
    assert answer == b"the whole answer" * 100_000


async def test_a_stream_that_is_none_of_ours_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[ConnectionFailure] = []
    async with listening(responder(), on_error=failures.append) as port:
        async with await anyio.connect_tcp("127.0.0.1", port) as stranger:
            await stranger.send(b"GET / HTTP/1.1\r\n\r\n")
            await stranger.receive()
        assert await says_it_back(await connect("127.0.0.1", port, initiator()))
    assert isinstance(failures[0].error, InvalidMessage)
    assert failures[0].fields["kind"] == "InvalidMessage"
    assert "HTTP" in caplog.text


async def test_attributes_of_both_layers() -> None:
    async with listening(responder()) as port:
        async with await connect("127.0.0.1", port, initiator()) as stream:
            assert stream.extra(SecureAttribute.peer).peer_id == BOB.peer_id
            assert stream.extra(SocketAttribute.remote_port) == port
