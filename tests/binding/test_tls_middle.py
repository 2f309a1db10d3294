"""Somebody between the two ends: who terminates TLS is found out by the channel binding, who cuts shows as truncation."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio import EndOfStream
from anyio.abc import ByteStream

from nautilus_anyio import ChannelFailed, SecureStream, connect, handshake
from nautilus_core import INITIATOR, RESPONDER, AuthenticationFailed, HandshakeError

from .certified import HOST, LIBRARIES, Library, client, server
from .helpers import initiator, listening, raw_pair, responder
from .middle import Changed, Middle

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("library", LIBRARIES)
FAST: dict[str, Any] = {"suites": ("X25519_AES128GCM_SHA256",)}
RUNS = {"openssl": 50, "ssl": 10}
"""On each of two event loops; `tls-server-end-point`, which is that of `ssl`, runs a hundred times in docs/tls.md."""


@both
async def test_a_man_in_the_middle_is_found_out_in_every_run(library: Library) -> None:
    refused: list[str] = []
    errors: list[Exception] = []
    here, there = client(library), server(library)
    async with (
        listening(responder(**FAST), tls=there, on_error=lambda failure: errors.append(failure.error)) as port,
        Middle(port).listening() as his_port,
    ):
        for _ in range(RUNS[library]):
            with pytest.raises(AuthenticationFailed, match="somebody between the two ends terminates TLS") as caught:
                await connect(HOST, his_port, initiator(**FAST), tls=here)
            refused.append(caught.value.message)
        with anyio.fail_after(20):
            while len(errors) < RUNS[library]:
                await anyio.sleep(0.005)
    assert refused == ["the two ends are not on the same TLS connection"] * RUNS[library]
    assert {str(error) for error in errors} == {str(caught.value)}


@both
async def test_without_a_binding_nobody_notices_him(library: Library) -> None:
    async def greet(stream: SecureStream) -> None:
        await stream.send(b"welcome")

    async with listening(responder(**FAST), greet, tls=server(library, binding="off")) as port:
        middle = Middle(port)
        async with (
            middle.listening() as his_port,
            await connect(HOST, his_port, initiator(**FAST), tls=client(library, binding="off")) as stream,
        ):
            assert await stream.receive() == b"welcome"
            assert stream.session.tls_binding is None
    assert middle.read.startswith(b"\xe1")  # TLS was in his hands, and only Nautilus's own sealing was not
    assert b"welcome" not in middle.read


PLACES = 6
VERSIONS = (1, 2)
"""Bytes of a record's header that nobody reads in TLS 1.3."""


async def pair(
    library: Library, here: ByteStream, there: ByteStream, timeout: float = 30.0
) -> tuple[SecureStream, SecureStream]:
    """Both ends after their handshake."""
    made: dict[str, SecureStream] = {}

    async def respond() -> None:
        made["responder"] = await handshake(there, RESPONDER, responder(**FAST), timeout=timeout, tls=server(library))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(respond)
        made["initiator"] = await handshake(
            here, INITIATOR, initiator(**FAST), timeout=timeout, tls=client(library, server_name="gateway.example")
        )
    return made["initiator"], made["responder"]


@both
async def test_every_record_comes_byte_by_byte(library: Library) -> None:
    here, there = await raw_pair()
    one, other = await pair(library, Changed(here, most=1), Changed(there, most=1))
    async with one, other:
        await one.send(b"a question")
        assert await other.receive() == b"a question"
        await other.update_keys(ask_peer=True)
        await other.send(b"an answer")
        assert await one.receive() == b"an answer"
        await one.send_eof()
        with pytest.raises(EndOfStream):
            await other.receive()
        await other.send(b"a last word")
        assert await one.receive() == b"a last word"


async def whole_length(library: Library, *, at_server: bool) -> int:
    """How many bytes one end receives in a handshake that nobody disturbs."""
    here, there = await raw_pair()
    counted = Changed(there if at_server else here)
    one, other = await pair(library, *((here, counted) if at_server else (counted, there)))
    await one.aclose()
    await other.aclose()
    return counted.received


async def problems(library: Library, *, at_server: bool, **change: int) -> tuple[Exception, ...]:
    """What ends a handshake in which one end receives something else; nothing when both ends complete."""
    here, there = await raw_pair()
    changed = Changed(there if at_server else here, **change)
    one, other = (here, changed) if at_server else (changed, there)
    try:
        ends = await pair(library, one, other, timeout=0.3)  # a length that grew is waited for
    except HandshakeError as error:
        return (error,)
    except ExceptionGroup as group:
        return group.exceptions
    for end in ends:
        await end.aclose()
    return ()


@both
@pytest.mark.parametrize("at_server", [True, False])
async def test_what_is_cut_or_changed_on_the_way_ends_the_handshake_wherever_it_is(
    library: Library, at_server: bool
) -> None:
    whole = await whole_length(library, at_server=at_server)
    inside = range(9, whole - 40, whole // PLACES)
    for place in (0, 1, 3, 4, 5, *inside):
        for change in ({"end": place}, {"flip": place}):
            found = await problems(library, at_server=at_server, **change)
            assert all(isinstance(error, HandshakeError) for error in found), (change, found)
            assert found or change.get("flip") in VERSIONS, change


@both
async def test_a_channel_that_is_cut_is_truncated_though_tls_may_not_say_so(library: Library) -> None:
    here, there = await raw_pair()
    cutting = Changed(here)
    one, other = await pair(library, cutting, there)
    await other.send(b"a part")
    assert await one.receive() == b"a part"
    cutting.cut()
    await other.send(b"the rest")
    with pytest.raises(ChannelFailed, match="ended without"):
        await one.receive()
    await other.aclose()
