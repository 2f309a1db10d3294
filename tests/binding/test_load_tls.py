"""The limits of a listener whose handshakes go inside TLS: what is a first message there, and what who is refused hears."""

from __future__ import annotations

import ssl
from contextlib import suppress

import anyio
import pytest

from nautilus_anyio import ListenerLimits, connect
from nautilus_anyio.tls import has_record
from nautilus_core import HandshakeError

from .certified import HOST, LIBRARIES, Library, client, client_context, server
from .helpers import initiator
from .test_load import FLIGHT_ALERT, Peer, listening, until

pytestmark = pytest.mark.anyio


def client_hello() -> bytes:
    """TLS's first message, as `ssl` says it."""
    outgoing = ssl.MemoryBIO()
    tls = client_context("ssl").wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=HOST)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


async def test_a_part_of_a_client_hello_takes_no_place() -> None:
    hello = client_hello()
    async with listening(tls=server("ssl"), limits=ListenerLimits(handshakes=1, patience=60)) as (port, listener):
        with Peer(port) as slow:
            await slow.say(hello[:-1])
            await until(listener, lambda counters: counters.half_open == 1)
            async with await connect(HOST, port, initiator(), tls=client("ssl")) as stream:
                await stream.send(b"x")
                assert await stream.receive() == b"x"
            assert (listener.counters.half_open, listener.counters.refused) == (1, {})
            await slow.say(hello[-1:])
            assert (await slow.hear())[:1] == b"\x16"
            assert listener.counters.in_progress == 1


async def test_who_is_refused_hears_nothing_in_the_clear_and_may_come_again() -> None:
    async with listening(tls=server("ssl"), limits=ListenerLimits(handshakes=1, patience=60)) as (port, listener):
        with Peer(port) as first, Peer(port) as second:
            await first.say(client_hello())
            assert await first.hear()
            await second.say(client_hello())
            assert await second.hear() == b""
            with pytest.raises(HandshakeError) as caught:
                await connect(HOST, port, initiator(), tls=client("ssl"))
            assert caught.value.retryable
            assert listener.counters.refused == {"busy": 2}
        await until(listener, lambda counters: not counters.in_progress)
        async with await connect(HOST, port, initiator(), tls=client("ssl")):
            pass


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_handshake_that_failed_inside_tls_needs_no_place_to_say_so(library: Library) -> None:
    """Its last words wait for the peer to close, and TLS stands between them and the listener; that peer does not close."""
    async with listening(tls=server(library), limits=ListenerLimits(handshakes=1, patience=60)) as (port, listener):
        stranger = await anyio.connect_tcp(HOST, port, ssl_context=client_context("ssl"), tls_standard_compatible=False)
        async with stranger:
            await stranger.send(b"SSH-2.0-nobody\r\n")
            assert (await stranger.receive())[0] == FLIGHT_ALERT
            async with await connect(HOST, port, initiator(), tls=client(library)):
                assert not listener.counters.failed  # it has not closed yet
        counters = await until(listener, lambda counters: bool(counters.failed))
        assert (counters.failed, counters.refused) == ({"InvalidMessage": 1}, {})


async def test_a_silent_peer_is_cut() -> None:
    async with listening(tls=server("ssl"), limits=ListenerLimits(hello_timeout=0.05)) as (port, listener):
        with Peer(port) as silent:
            assert await silent.hear() == b""
        assert listener.counters.failed == {"HandshakeTimeout": 1}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_can_never_be_a_record_is_not_waited_for(anyio_backend: str) -> None:
    hello = client_hello()
    assert [has_record(hello[:size]) for size in (0, 1, 4, 5, len(hello) - 1, len(hello))] == [False] * 5 + [True]
    assert has_record(b"\xe1")
    assert has_record(b"\x16\x03\x01\x40\x01")
    assert not has_record(b"\x16\x03\x01\x40\x00")
