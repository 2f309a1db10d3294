"""TLS by others at the other end: the command `openssl`, `ssl` on blocking sockets, AnyIO's `TLSStream`.

There the test itself says what the channel binding is.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.stapled import StapledByteStream
from anyio.streams.tls import TLSStream

from nautilus_anyio import SecureStream, bindings_of, connect, handshake
from nautilus_core import (
    INITIATOR,
    RESPONDER,
    ChannelBinding,
    ChannelBindings,
    DataReceived,
    Handshake,
    HandshakeCompleted,
    PeerClosed,
    Signal,
)

from .certified import CA, CERTIFICATE, HOST, LIBRARIES, Library, client, client_context, pem_of, server, server_context
from .helpers import echo, initiator, listening, raw_pair, responder
from .middle import Changed

OPENSSL: Final = shutil.which("openssl") or "openssl"
pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("library", LIBRARIES)

END_POINT: Final = ChannelBinding(
    "tls-server-end-point", hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem_of(CERTIFICATE).decode())).digest()
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """`server.pem` with key and certificate, `ca.pem`."""
    CERTIFICATE.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[StapledByteStream]:
    """The command, and a stream of what goes through it."""
    process = await anyio.open_process([OPENSSL, *arguments], stderr=None)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield StapledByteStream(process.stdin, process.stdout)
    finally:
        with suppress(ProcessLookupError):  # it has ended already
            process.kill()
        await process.aclose()


async def free_port() -> int:
    """A port on which nobody listens."""
    async with await anyio.create_tcp_listener(local_host=HOST) as listener:
        return listener.extra(SocketAttribute.local_port)


async def until_it_listens(port: int) -> None:
    """Look into the system's table: a connection would be the one that the server waits for."""
    listens = re.compile(rf":{port:04X} 00000000:0000 0A ")  # not an old connection of this port, or one to it
    with anyio.fail_after(10):
        while listens.search(await anyio.Path("/proc/net/tcp").read_text()) is None:
            await anyio.sleep(0.01)


def test_the_command_is_there() -> None:
    assert shutil.which("openssl"), "install openssl: these tests need another implementation at the other end"


class Filtered(Changed):
    """Without what `openssl` says for people when it has done a command."""

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """The next bytes that it got from its peer."""
        while not (data := re.sub(rb"(?:SSL_[a-z_]+[^\n]*|Read BLOCK)\n", b"", await super().receive(max_bytes))):
            pass
        return data


async def keying_material(stream: StapledByteStream) -> bytes:
    """What `openssl` says that its exporter gives."""
    text = b""
    with anyio.fail_after(10):
        while (found := re.search(rb"Keying material: ([0-9A-F]{64})\n", text)) is None:
            text += await stream.receive(1)
    return bytes.fromhex(found[1].decode())


async def test_openssl_is_the_server_and_says_what_the_exporter_gives(files: Path) -> None:
    port = await free_port()
    accept = ["s_server", "-accept", f"{HOST}:{port}", "-naccept", "1", "-cert", str(files / "server.pem")]
    exporter = ["-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"]
    async with running(*accept, *exporter) as pipe, anyio.create_task_group() as tasks:
        await until_it_listens(port)

        async def respond() -> None:
            binding = ChannelBinding("tls-exporter", await keying_material(pipe))
            bindings = ChannelBindings((binding,))
            async with await handshake(Filtered(pipe), RESPONDER, responder(), channel_bindings=bindings) as stream:
                await echo(stream)

        tasks.start_soon(respond)
        async with await connect(HOST, port, initiator(), tls=client("openssl")) as stream:
            assert stream.session.tls_binding == "tls-exporter"
            await stream.send(b"through openssl")
            assert await stream.receive() == b"through openssl"
            for command in (b"K\n", b"k\n"):  # a key update of TLS, with an answer and without
                await pipe.send(command)
                await anyio.sleep(0.05)
                await stream.send(b"under new keys")
                assert await stream.receive() == b"under new keys"


@both
async def test_openssl_is_the_server_in_front_of_us(library: Library, files: Path) -> None:
    port = await free_port()
    accept = ["s_server", "-accept", f"{HOST}:{port}", "-naccept", "1", "-cert", str(files / "server.pem"), "-quiet"]
    async with running(*accept) as pipe, anyio.create_task_group() as tasks:
        await until_it_listens(port)

        async def respond() -> None:
            bindings = ChannelBindings((END_POINT,))
            async with await handshake(pipe, RESPONDER, responder(), channel_bindings=bindings) as stream:
                await echo(stream)

        tasks.start_soon(respond)
        async with await connect(HOST, port, initiator(), tls=client(library)) as stream:
            assert stream.session.tls_binding == "tls-server-end-point"
            await stream.send(b"through openssl")
            assert await stream.receive() == b"through openssl"


@both
async def test_openssl_is_the_client(library: Library, files: Path) -> None:
    async with listening(responder(), tls=server(library)) as port:
        dial = ["s_client", "-connect", f"{HOST}:{port}", "-CAfile", str(files / "ca.pem"), "-quiet", "-nocommands"]
        async with running(*dial, "-verify_quiet", "-verify_return_error") as pipe:
            bindings = ChannelBindings((END_POINT,))
            async with await handshake(pipe, INITIATOR, initiator(), channel_bindings=bindings) as stream:
                assert stream.session.tls_binding == "tls-server-end-point"
                await stream.send(b"through openssl")
                assert await stream.receive() == b"through openssl"


def answer_once(listener: socket.socket) -> bytes:
    """A server on a blocking socket, by `ssl` and the core alone; returns what it was told."""
    raw, _ = listener.accept()
    engine = Handshake(RESPONDER, responder(), channel_bindings=ChannelBindings((END_POINT,)))
    heard = b""
    with server_context("ssl").wrap_socket(raw, server_side=True) as inside:
        while True:
            event = engine.next_event()
            inside.sendall(engine.data_to_send())
            if event is Signal.NEED_DATA:
                engine.receive_data(inside.recv(65_536))
            elif isinstance(event, HandshakeCompleted):
                break
        channel = event.session.channel()
        while True:
            event = channel.next_event()
            if event is Signal.NEED_DATA:
                channel.receive_data(inside.recv(65_536))
            elif isinstance(event, DataReceived):
                heard += event.data
                channel.send_data(event.data)
                inside.sendall(channel.data_to_send())
            elif isinstance(event, PeerClosed):
                channel.close()
                inside.sendall(channel.data_to_send())
                return heard


@both
async def test_ssl_on_a_blocking_socket(library: Library) -> None:
    heard: list[bytes] = []
    with socket.create_server((HOST, 0)) as listener:

        async def answer() -> None:
            heard.append(await anyio.to_thread.run_sync(answer_once, listener))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            async with await connect(HOST, listener.getsockname()[1], initiator(), tls=client(library)) as stream:
                assert stream.session.tls_binding == "tls-server-end-point"
                await stream.send(b"hello")
                assert await stream.receive() == b"hello"
                await stream.send_eof()
    assert heard == [b"hello"]


async def test_a_tls_stream_of_anyio_that_was_made_elsewhere() -> None:
    here, there = await raw_pair()
    made: dict[str, SecureStream] = {}

    async def respond() -> None:
        inside = await TLSStream.wrap(
            there, server_side=True, ssl_context=server_context("ssl"), standard_compatible=False
        )
        with pytest.raises(ValueError, match="certificate="):
            bindings_of(inside)
        bindings = bindings_of(inside, certificate=pem_of(CERTIFICATE))
        made["other"] = await handshake(inside, RESPONDER, responder(), channel_bindings=bindings)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(respond)
        inside = await TLSStream.wrap(here, hostname=HOST, ssl_context=client_context("ssl"), standard_compatible=False)
        bindings = bindings_of(inside)
        made["one"] = await handshake(inside, INITIATOR, initiator(), channel_bindings=bindings)
    for stream in made.values():
        assert stream.session.tls_binding == "tls-server-end-point"
        await stream.aclose()


async def test_a_stream_is_inside_tls_already_or_it_is_not() -> None:
    here, there = await raw_pair()
    bindings = ChannelBindings((END_POINT,))
    with pytest.raises(ValueError, match="inside TLS already"):
        await handshake(here, INITIATOR, initiator(), tls=client("ssl"), channel_bindings=bindings)
    await there.aclose()
