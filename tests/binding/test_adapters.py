"""Handshakes over streams that are no sockets: memory object streams, AnyIO's TLS, text tunnels of one's own."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import pytest
import trustme
from anyio.abc import ByteStream, ObjectStream, SocketAttribute
from anyio.streams.stapled import StapledObjectStream
from anyio.streams.tls import TLSAttribute, TLSListener

from nautilus_anyio import (
    ChannelFailed,
    ObjectByteStream,
    SecureAttribute,
    SecureListener,
    SecureStream,
    handshake,
)
from nautilus_core import INITIATOR, RESPONDER

from .helpers import ALICE, BOB, echo, initiator, raw_pair, responder

pytestmark = pytest.mark.anyio


def memory_pair(*, most: int | None = None) -> tuple[ObjectByteStream, ObjectByteStream]:
    """Two byte streams that are joined in memory."""
    to_right, from_left = anyio.create_memory_object_stream[bytes](4)
    to_left, from_right = anyio.create_memory_object_stream[bytes](4)
    left, right = StapledObjectStream(to_right, from_right), StapledObjectStream(to_left, from_left)
    return ObjectByteStream(left, most=most), ObjectByteStream(right, most=most)


@asynccontextmanager
async def secured(here: ByteStream, there: ByteStream) -> AsyncIterator[SecureStream]:
    """A secure stream over `here`, with an echo at the other end."""

    async def respond() -> None:
        async with await handshake(there, RESPONDER, responder()) as stream:
            await echo(stream)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(respond)
        async with await handshake(here, INITIATOR, initiator()) as stream:
            yield stream


@pytest.mark.parametrize("most", [None, 1, 7, 1000])
async def test_memory_object_streams(most: int | None) -> None:
    data = os.urandom(3000)
    async with secured(*memory_pair(most=most)) as stream, anyio.create_task_group() as tasks:

        async def send() -> None:
            await stream.send(data)
            await stream.send_eof()

        tasks.start_soon(send)
        assert b"".join([part async for part in stream]) == data
        assert stream.extra(SecureAttribute.peer).peer_id == BOB.peer_id


async def test_boundaries_of_objects_mean_nothing() -> None:
    here, there = memory_pair()
    async with here, there, anyio.create_task_group() as tasks:

        async def send() -> None:
            for data in (b"abc", b"", b"defg"):
                await here.send(data)

        tasks.start_soon(send)
        assert [await there.receive(2) for _ in range(4)] == [b"ab", b"c", b"de", b"fg"]
        await here.send_eof()
        with pytest.raises(anyio.EndOfStream):
            await there.receive()
    with pytest.raises(ValueError, match="at least 1"):
        ObjectByteStream(cast("ObjectStream[bytes]", here), most=0)


async def test_a_memory_stream_that_ends_without_a_close_is_truncation() -> None:
    here, there = memory_pair()
    made: list[SecureStream] = []

    async def respond() -> None:
        made.append(await handshake(there, RESPONDER, responder()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(respond)
        ours = await handshake(here, INITIATOR, initiator())
    await here.aclose()
    with pytest.raises(ChannelFailed, match="without a close"):
        await made[0].receive()
    await made[0].aclose()
    await ours.aclose()


async def test_inside_tls() -> None:
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = plain.extra(SocketAttribute.local_port)
    async with SecureListener(TLSListener(plain, server, standard_compatible=False), responder()) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, echo)
            below = await anyio.connect_tcp(
                "127.0.0.1", port, tls=True, ssl_context=client, tls_hostname="localhost", tls_standard_compatible=False
            )
            async with await handshake(below, INITIATOR, initiator()) as stream:
                await stream.send(b"twice sealed")
                assert await stream.receive() == b"twice sealed"
                assert stream.extra(TLSAttribute.tls_version) == "TLSv1.3"
                await stream.send_eof()
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
            tasks.cancel_scope.cancel()


async def test_one_secure_stream_inside_another() -> None:
    async with secured(*await raw_pair()) as outer:
        data = os.urandom(100_000)
        await outer.send(data)
        received = b""
        while len(received) < len(data):
            received += await outer.receive()
        assert received == data
    below_here, below_there = await raw_pair()
    made: dict[str, SecureStream] = {}

    async def respond() -> None:
        made["inner"] = await handshake(await handshake(below_there, RESPONDER, responder()), RESPONDER, responder())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(respond)
        inner = await handshake(await handshake(below_here, INITIATOR, initiator()), INITIATOR, initiator())
    async with inner, made["inner"]:
        await inner.send(b"two layers")
        assert await made["inner"].receive() == b"two layers"
        assert made["inner"].session.peer.peer_id == ALICE.peer_id
