"""`TlsStream` by itself: half-close, both directions at once, key updates, cancellation, and what ALPN selected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.streams.tls import TLSAttribute
from OpenSSL import SSL

from nautilus_anyio import Tls, TlsStream, connect, handshake, transcript
from nautilus_core import INITIATOR, RESPONDER, InvalidMessage, PeerAborted, Role
from nautilus_core.transcript.lines import Aborted

from .certified import HOST, LIBRARIES, Library, client, client_context, server, server_context
from .helpers import initiator, listening, raw_pair, responder

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("library", LIBRARIES)


async def pair(library: Library) -> tuple[TlsStream, TlsStream]:
    """Two ends of one TLS connection."""
    here, there = await raw_pair()
    made: dict[Role, TlsStream] = {}

    async def wrap(tls: Tls, stream: Any, role: Role) -> None:
        made[role], _ = await tls.wrap(stream, role)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wrap, client(library, server_name=HOST), here, INITIATOR)
        tasks.start_soon(wrap, server(library), there, RESPONDER)
    return made[INITIATOR], made[RESPONDER]


@both
async def test_one_direction_can_end_alone(library: Library) -> None:
    one, other = await pair(library)
    async with one, other:
        await other.send(b"!")
        await other.send(b"on its way")
        await anyio.sleep(0.01)
        assert await one.receive() == b"!"  # what comes after it is with TLS already
        await one.send_eof()
        await one.send_eof()
        with pytest.raises(EndOfStream):
            await other.receive()
        await other.send(b", and after the end")
        await other.send_eof()
        assert b"".join([piece async for piece in one]) == b"on its way, and after the end"
        with pytest.raises(EndOfStream):
            await one.receive()


@both
async def test_both_directions_at_once(library: Library) -> None:
    one, other = await pair(library)
    data = bytes(range(256)) * 8192

    async def send(stream: TlsStream) -> None:
        for start in range(0, len(data), 300_000):
            await stream.send(data[start : start + 300_000])
        await stream.send_eof()

    async with one, other, anyio.create_task_group() as tasks:
        for stream in (one, other):
            tasks.start_soon(send, stream)
        found: list[bytes] = []

        async def take(stream: TlsStream) -> None:
            found.append(b"".join([piece async for piece in stream]))

        tasks.start_soon(take, one)
        tasks.start_soon(take, other)
    assert found == [data, data]


@both
async def test_a_receive_that_is_cancelled_loses_nothing(library: Library) -> None:
    one, other = await pair(library)
    async with one, other:
        with anyio.move_on_after(0.02) as scope:
            await one.receive()
        assert scope.cancelled_caught
        await other.send(b"whole")
        assert await one.receive(2) == b"wh"
        assert await one.receive() == b"ole"


@both
async def test_a_send_that_is_cut_breaks_the_stream(library: Library) -> None:
    one, other = await pair(library)
    with anyio.move_on_after(0.1) as scope:
        while True:
            await one.send(bytes(1_000_000))  # nobody reads
    assert scope.cancelled_caught
    with pytest.raises(BrokenResourceError):
        await one.send(b"more")
    await one.aclose()
    with pytest.raises(ClosedResourceError):
        await one.receive()
    await one.aclose()
    await other.aclose()


@both
async def test_closing_does_not_wait_for_a_send_that_nobody_reads(library: Library) -> None:
    one, other = await pair(library)
    broken: list[Exception] = []

    async def send() -> None:
        try:
            while True:
                await one.send(bytes(1_000_000))
        except (BrokenResourceError, ClosedResourceError) as error:
            broken.append(error)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await anyio.sleep(0.1)
            await one.aclose()
    assert broken
    await other.aclose()


@both
async def test_alpn_is_there(library: Library) -> None:
    there, here = server_context(library), client_context(library)
    if library == "ssl":
        there.set_alpn_protocols(["acme", "old"])
        here.set_alpn_protocols(["new", "acme"])
    else:
        here.set_alpn_protos([b"new", b"acme"])
        there.set_alpn_select_callback(
            lambda _, offered: b"acme" if b"acme" in offered else SSL.NO_OVERLAPPING_PROTOCOLS
        )
    tls = Tls(there, certificate=server("ssl").certificate)
    selected: list[Any] = []

    async def note(stream: Any) -> None:
        selected.append((stream.extra(TLSAttribute.alpn_protocol), stream.extra(TLSAttribute.server_side)))

    protocols = ("acme/sync/2",)
    async with (
        listening(responder(protocols=protocols), note, tls=tls) as port,
        await connect(HOST, port, initiator(protocols=protocols), tls=here) as stream,
    ):
        assert stream.extra(TLSAttribute.alpn_protocol) == "acme"
        assert stream.session.protocol == "acme/sync/2"
        assert stream.extra(TLSAttribute.server_side) is False
        with pytest.raises(EndOfStream):
            await stream.receive()
    assert selected == [("acme", True)]


@both
async def test_tls_that_fails_in_the_handshake_is_what_the_transcript_tells_of(
    library: Library, tmp_path: Path
) -> None:
    one, other = await pair(library)
    file = tmp_path / "handshake.jsonl"
    async with other.transport_stream as raw:
        await raw.send(b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that nobody has sealed
        with pytest.raises(InvalidMessage, match="TLS failed") as caught:
            await handshake(one, RESPONDER, responder(), record=file)
    aborted = [line for line in transcript.read(file).lines if isinstance(line, Aborted)]
    assert [line.reason for line in aborted] == [caught.value.message]


@both
async def test_a_stream_that_ends_within_tls_is_closed(library: Library) -> None:
    here, there = await raw_pair()
    await there.aclose()
    with pytest.raises(PeerAborted, match="the stream ended in the middle of the TLS handshake"):
        await server(library).wrap(here, RESPONDER)
    with pytest.raises(ClosedResourceError):
        await here.send(b"x")
