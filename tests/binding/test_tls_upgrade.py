"""The upgrade to TLS on a real byte stream: hello in the clear, the rest inside, and nothing of the one in the other."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from anyio import EndOfStream
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute

from nautilus_anyio import SecureStream, Tls, connect, handshake, transcript
from nautilus_core import (
    INITIATOR,
    RESPONDER,
    AuthenticationFailed,
    HandshakeError,
    InvalidMessage,
    LocalProtocolError,
    Profile,
    StepSkipped,
    TransportUpgrade,
    UpgradeToTls,
)

from .certified import HOST, LIBRARIES, STRANGER, Library, client, client_context, server
from .helpers import initiator, listening, raw_pair, responder
from .middle import Changed

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("library", LIBRARIES)
FAST: Final[dict[str, Any]] = {"suites": ("X25519_AES128GCM_SHA256",)}


def upgraded(profile: Profile, **arguments: Any) -> Profile:
    """The profile with the step."""
    return profile.insert_after("hello-response", partial(UpgradeToTls, **arguments))


async def greet(stream: SecureStream) -> None:
    """Say a word and wait for the end."""
    await stream.send(b"welcome")
    with pytest.raises(EndOfStream):
        await stream.receive()


@pytest.mark.parametrize("one", LIBRARIES)
@pytest.mark.parametrize("other", LIBRARIES)
async def test_the_same_connection_goes_on_inside_tls(one: Library, other: Library) -> None:
    theirs = server(other, upgrade=True)
    async with (
        listening(upgraded(responder()), greet, tls=theirs) as port,
        await connect(HOST, port, upgraded(initiator()), tls=client(one, upgrade=True)) as stream,
    ):
        assert await stream.receive() == b"welcome"
        expected = "tls-exporter" if one == other == "openssl" else "tls-server-end-point"
        assert stream.session.tls_binding == expected
        assert stream.extra(TLSAttribute.tls_version) == "TLSv1.3"


@both
async def test_byte_by_byte(library: Library) -> None:
    here, there = await raw_pair()
    made: dict[str, SecureStream] = {}

    async def respond() -> None:
        tls = server(library, upgrade=True)
        made["other"] = await handshake(Changed(there, most=1), RESPONDER, upgraded(responder(**FAST)), tls=tls)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(respond)
        tls = client(library, upgrade=True, server_name=HOST)
        made["one"] = await handshake(Changed(here, most=1), INITIATOR, upgraded(initiator(**FAST)), tls=tls)
    for stream in made.values():
        assert stream.session.tls_binding is not None
        await stream.aclose()


@both
async def test_where_one_end_cannot_the_handshake_goes_on_without(library: Library) -> None:
    seen: list[Any] = []
    async with (
        listening(responder(), greet) as port,
        await connect(
            HOST, port, upgraded(initiator()), tls=client(library, upgrade=True), on_event=seen.append
        ) as stream,
    ):
        assert await stream.receive() == b"welcome"
        assert stream.session.tls_binding is None
        assert TLSAttribute.tls_version not in stream.extra_attributes
    assert StepSkipped("upgrade-to-tls", "the peer does not have it") in seen


@both
async def test_where_it_is_required_there_is_no_handshake(library: Library) -> None:
    async with listening(responder()) as port:
        with pytest.raises(HandshakeError, match="step"):
            await connect(HOST, port, upgraded(initiator(), required=True), tls=client(library, upgrade=True))
    async with listening(upgraded(responder(), required=True), tls=server(library, upgrade=True)) as port:
        with pytest.raises(HandshakeError, match="step"):
            await connect(HOST, port, initiator())


@both
async def test_a_certificate_that_the_client_refuses(library: Library) -> None:
    tls = Tls(client_context(library, STRANGER), upgrade=True)
    async with listening(upgraded(responder()), tls=server(library, upgrade=True)) as port:
        with pytest.raises(AuthenticationFailed, match="TLS certificate is refused"):
            await connect(HOST, port, upgraded(initiator()), tls=tls)


async def test_the_step_needs_a_tls_for_it() -> None:
    for profile, tls in (
        (upgraded(initiator()), None),
        (upgraded(initiator()), client("ssl")),
        (initiator(), client("ssl", upgrade=True)),
    ):
        with pytest.raises(ValueError, match="go together"):
            await connect(HOST, 1, profile, tls=tls)


async def test_a_question_for_tls_that_nobody_can_make_is_misuse() -> None:
    class Early(UpgradeToTls):
        name = "tls-of-our-own"

    def early(profile: Profile) -> Profile:
        return profile.insert_after("hello-response", Early)

    seen: list[Exception] = []
    async with listening(early(responder()), on_error=lambda failure: seen.append(failure.error)) as port:
        with pytest.raises((HandshakeError, LocalProtocolError)):  # whichever of the two ends is first
            await connect(HOST, port, early(initiator()))
        with anyio.fail_after(20):
            while not seen:
                await anyio.sleep(0.005)
    assert isinstance(seen[0], LocalProtocolError)
    assert "there is no tls=Tls(..., upgrade=True)" in str(seen[0])


class Adding(Changed):
    """A man in the middle who adds bytes in the clear after so many that went through.

    Args:
        stream: the real one.
        added: what he adds.
        at: after which received byte.
        glued: whether it comes in the same piece as what stands before it, or in one of its own.
    """

    def __init__(self, stream: ByteStream, added: bytes, at: int, *, glued: bool) -> None:
        super().__init__(stream)
        self._added = added
        self._at = at
        self._glued = glued
        self._waiting: list[bytes] = []

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """With the bytes that he adds."""
        if self._waiting:
            return self._waiting.pop(0)
        before = self.received
        data = await super().receive(max_bytes)
        if not before < self._at <= self.received or not self._added:
            return data
        cut = self._at - before
        pieces = [data[:cut] + self._added + data[cut:]] if self._glued else [data[:cut], self._added, data[cut:]]
        self._waiting = [piece for piece in pieces[1:] if piece]
        return pieces[0]


async def attacked(here: ByteStream, there: ByteStream, library: Library) -> list[Exception]:
    """What ends both sides of an attack."""
    errors: list[Exception] = []

    async def end(stream: ByteStream, role: Any, profile: Profile, tls: Tls) -> None:
        try:
            await handshake(stream, role, profile, tls=tls, timeout=5)
        except HandshakeError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end, there, RESPONDER, upgraded(responder(**FAST)), server(library, upgrade=True))
        tls = client(library, upgrade=True, server_name=HOST)
        tasks.start_soon(end, here, INITIATOR, upgraded(initiator(**FAST)), tls)
    return errors


ADDED: Final = bytes.fromhex("e100001893ae757067726164652d746f2d746c73c2c400")
"""A frame that would be the next one."""


@both
@pytest.mark.parametrize("glued", [True, False])
@pytest.mark.parametrize("victim", ["initiator", "responder"])
async def test_what_is_added_in_the_clear_does_not_survive_the_switch(
    library: Library, glued: bool, victim: str
) -> None:
    """CVE-2011-0411, CVE-2021-33515: commands added before TLS count as if they had come inside it."""
    here, there = await raw_pair()
    clear = await clear_bytes()
    if victim == "initiator":
        here = Adding(here, ADDED, clear["responder"], glued=glued)
    else:
        there = Adding(there, ADDED, clear["initiator"], glued=glued)
    errors = await attacked(here, there, library)
    assert len(errors) == 2
    if glued:
        assert any(
            isinstance(error, InvalidMessage) and "bytes came before the switch to TLS" in str(error)
            for error in errors
        )


async def clear_bytes() -> dict[str, int]:
    """How many bytes each end sends in the clear, up to the switch."""
    here, there = await raw_pair()
    there = counted = Changed(there)
    back = Changed(here)
    found: dict[str, int] = {}

    async def respond() -> None:
        tls = server("openssl", upgrade=True)
        made = await handshake(there, RESPONDER, upgraded(responder(**FAST)), tls=tls)
        await made.aclose()

    def see(event: Any) -> None:
        if isinstance(event, TransportUpgrade):
            found["responder"] = back.received
            found["initiator"] = counted.received

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(respond)
        tls = client("openssl", upgrade=True, server_name=HOST)
        profile = upgraded(initiator(**FAST))
        made = await handshake(back, INITIATOR, profile, tls=tls, on_event=see)
        await made.aclose()
    return found


@both
async def test_it_is_recorded_and_replayed(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "initiator.jsonl"
    record = transcript.Recording(path, dangerously_record_secrets=True)
    profile = upgraded(initiator())
    async with (
        listening(upgraded(responder()), greet, tls=server(library, upgrade=True)) as port,
        await connect(HOST, port, profile, tls=client(library, upgrade=True), record=record) as stream,
    ):
        assert await stream.receive() == b"welcome"
    assert transcript.replay(path, profile).full


@both
async def test_a_handshake_inside_tls_is_recorded_and_replayed(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "initiator.jsonl"
    record = transcript.Recording(path, dangerously_record_secrets=True)
    profile = initiator()
    async with (
        listening(responder(), greet, tls=server(library)) as port,
        await connect(HOST, port, profile, tls=client(library), record=record) as stream,
    ):
        assert await stream.receive() == b"welcome"
    assert transcript.replay(path, profile).full
    assert transcript.read(path).header.bindings is not None
