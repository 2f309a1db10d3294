"""How a secure stream ends with more than a close: an abort with a code, a close that waits; and the sockets below."""

from __future__ import annotations

import socket

import anyio
import pytest
from anyio.abc import SocketAttribute

from nautilus_anyio import ChannelFailed
from nautilus_anyio.sockets import notice_dead_peers, reset_at_close
from nautilus_core import LocalProtocolError, PeerAborted

from .helpers import raw_pair, secure_pair

pytestmark = pytest.mark.anyio


async def test_an_abort_tells_the_peer_its_code_and_when_to_come_again() -> None:
    ours, theirs, *_ = await secure_pair()
    with pytest.raises(ValueError, match="alert 7"):
        await ours.abort("no such code", code=7)
    await ours.send(b"all is well so far")
    assert await theirs.receive() == b"all is well so far"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: ours.abort("the cellar is full", code=300, retry_after=9))
        with pytest.raises(ChannelFailed) as caught:
            await theirs.receive()
        await theirs.aclose()
    assert isinstance(caught.value.error, PeerAborted)
    assert (caught.value.error.code, caught.value.error.retry_after) == (300, 9)
    assert "cellar" not in str(caught.value)
    with pytest.raises(ChannelFailed, match="the cellar is full"):
        await ours.send(b"more")
    await ours.aclose()


@pytest.mark.parametrize("resets", [False, True])
async def test_a_finish_sees_whether_the_peer_closes_or_breaks_off(resets: bool) -> None:
    ours, theirs, _, below = await secure_pair()
    with pytest.raises(LocalProtocolError, match=r"after send_eof\(\)"):
        await ours.finish()
    for stream in (ours, theirs):
        await stream.send_eof()
    for stream in (ours, theirs):
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
    with anyio.move_on_after(0.1) as patience:
        await ours.finish()
    assert patience.cancelled_caught  # the peer has not closed yet
    if resets:
        reset_at_close(theirs)
        await anyio.aclose_forcefully(below)
        with pytest.raises(ChannelFailed):
            await ours.finish()
    else:
        await theirs.aclose()
        await ours.finish()
    await ours.aclose()
    await theirs.aclose()


async def test_a_dead_peer_is_noticed_by_the_system_sending_only_where_it_is_wanted() -> None:
    here, there = await raw_pair()
    notice_dead_peers(here, seconds=60, sending=True)
    notice_dead_peers(there)
    for stream, idle, user_timeout in ((here, 30, 60_000), (there, 60, 0)):
        raw = stream.extra(SocketAttribute.raw_socket)
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == idle
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == user_timeout
        await stream.aclose()
