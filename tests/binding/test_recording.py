"""Handshakes over real sockets, recorded in files: what happened, however it ended, replays from them. Nothing is disturbed."""

from __future__ import annotations

import base64
import logging
import os
import resource
import shutil
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute

from nautilus_anyio import StoreError, TransportFailed, connect, connect_unix, handshake, serve, transcript
from nautilus_anyio.transcript import Recording
from nautilus_core import (
    INITIATOR,
    RESPONDER,
    Handshake,
    HandshakeCompleted,
    HandshakeError,
    HandshakeTimeout,
    Identity,
    LocalProtocolError,
    PeerAborted,
    Profile,
    Question,
    Signal,
    State,
    profiles,
    trust,
)
from nautilus_core.transcript import TranscriptError
from nautilus_core.transcript.lines import Aborted, Answered, Called, Drawn, End, Failed

from .helpers import ALICE, BOB, MALLORY, echo, initiator, listening, raw_pair, responder

pytestmark = pytest.mark.anyio


def with_secrets(path: Path, **options: Any) -> Recording:
    return Recording(path, dangerously_record_secrets=True, **options)


def only_file(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def failures(path: Path) -> list[tuple[str, bool]]:
    return [(line.error, line.channel) for line in transcript.read(path).lines if isinstance(line, Failed)]


def outcome(path: Path) -> str:
    return next(line.outcome for line in transcript.read(path).lines if isinstance(line, End))


async def until_there_is_an_end(path: Path) -> None:
    """The listener's side may end a moment later."""
    with anyio.fail_after(20):
        while True:
            with suppress(TranscriptError):
                transcript.read(path)
                return
            await anyio.sleep(0.01)


async def talked(port: int, **options: Any) -> None:
    async with await connect("127.0.0.1", port, initiator(), **options) as stream:
        await stream.send(b"application data")
        assert await stream.receive() == b"application data"


@pytest.mark.parametrize("whole", [True, False])
async def test_both_ends_of_a_success_replay_in_full_and_from_the_other_side(tmp_path: Path, whole: bool) -> None:
    mine, folder = tmp_path / "mine.jsonl", tmp_path / "made" / "theirs"
    async with listening(responder(), record=with_secrets(folder, whole_channel=whole)) as port:
        await talked(port, record=with_secrets(mine, whole_channel=whole))
        theirs = only_file(folder)
        await until_there_is_an_end(theirs)
    for file, profile in ((mine, initiator()), (theirs, responder())):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        report = transcript.replay(file, profile)
        assert report.full
        assert report.outcome == "completed"
        assert not report.not_checked
        sent = [line.data for line in transcript.read(file).lines if isinstance(line, Called) and line.what == "send"]
        assert sent == ([b"application data"] if whole else [])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    without_keys = profiles.nautilus(identity=Identity.public_only(ALICE.public), trust=trust.pinned(BOB.public))
    assert transcript.replay(mine, without_keys).full
    assert transcript.replay(mine, responder(), other_side=True, tape=theirs).full
    assert transcript.replay(theirs, initiator(), other_side=True, tape=transcript.read(mine)).full


async def test_without_secrets_the_public_part_is_checked_and_no_secret_is_in_it(tmp_path: Path) -> None:
    """Of all that the two ends know: identities, traffic secrets, application data."""
    mine, folder, keys = tmp_path / "mine", tmp_path / "theirs", tmp_path / "keys"
    async with listening(responder(), record=Recording(folder, whole_channel=True), key_log=keys) as port:
        await talked(port, record=Recording(mine, whole_channel=True))
        theirs = only_file(folder)
        await until_there_is_an_end(theirs)
    secrets = [bytes.fromhex(line.split()[2]) for line in keys.read_text().splitlines()]
    assert len(secrets) == 4
    secrets += [identity.to_pem() for identity in (ALICE, BOB)]
    secrets += [identity._private_key.private_bytes_raw() for identity in (ALICE, BOB)]  # type: ignore[union-attr]
    secrets += [b"application data"]
    for file, profile, other in ((mine, initiator(), responder()), (theirs, responder(), initiator())):
        read = transcript.read(file)
        plain = file.read_bytes() + b"".join(getattr(line, "data", None) or b"" for line in read.lines)
        for secret in secrets:
            for form in forms_of(secret):
                assert form not in plain
        report = transcript.replay(file, profile)
        assert not report.full
        assert report.messages == 10
        assert transcript.replay(file, other, other_side=True).messages >= 5
        data = [frame.body for frame in transcript.opened(read, keys) if frame.kind == "data"]
        assert data == [b"application data"] * 2


def forms_of(secret: bytes) -> list[bytes]:
    """As it is, in hexadecimal, and in base64 at any place."""
    at_any_place = [base64.b64encode(bytes(skip) + secret)[(4 * skip + 2) // 3 + 1 : -4] for skip in range(3)]
    return [secret, secret.hex().encode(), *at_any_place]


async def test_a_search_for_secrets_finds_those_that_are_there(tmp_path: Path) -> None:
    async with listening(responder()) as port:
        await talked(port, record=with_secrets(tmp_path / "file", whole_channel=True))
    content = (tmp_path / "file").read_bytes()
    assert any(form in content for form in forms_of(b"application data"))
    drawn = [line.data for line in transcript.read(tmp_path / "file").lines if isinstance(line, Drawn)]
    assert drawn
    assert all(any(form in content for form in forms_of(data)) for data in drawn if len(data) >= 32)


async def test_no_psk_is_in_a_transcript_even_with_secrets(tmp_path: Path) -> None:
    psk = os.urandom(32)
    profile = profiles.noise("Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s", psks=[psk])
    async with listening(profile, record=with_secrets(tmp_path / "folder")) as port:
        async with await connect("127.0.0.1", port, profile, record=with_secrets(tmp_path / "mine")):
            pass
        await until_there_is_an_end(theirs := only_file(tmp_path / "folder"))
    for file in (tmp_path / "mine", theirs):
        content = file.read_bytes()
        assert not [form for form in forms_of(psk) if form in content]
        assert transcript.replay(file, profiles.noise(profile.name, psks=[bytes(32)])).full


async def refused(tmp_path: Path, ours: Profile, theirs: Profile, record: Any, **options: Any) -> tuple[Path, Path]:
    """Both transcripts of a handshake that fails on both sides."""
    folder, mine = tmp_path / "folder", tmp_path / "mine"
    async with listening(theirs, record=record(folder), **options.pop("there", {})) as port:
        with pytest.raises(HandshakeError):
            await connect("127.0.0.1", port, ours, record=record(mine), **options)
        await until_there_is_an_end(only_file(folder))
    return mine, only_file(folder)


@pytest.mark.parametrize("record", [with_secrets, Recording])
async def test_a_wrong_key_replays_on_both_sides(tmp_path: Path, record: Any) -> None:
    ours = initiator(identity=MALLORY)
    mine, theirs = await refused(tmp_path, ours, responder(), record)
    assert failures(mine) == [("PeerAborted", True)]
    assert failures(theirs) == [("AuthenticationFailed", False)]
    for file, profile in ((mine, ours), (theirs, responder())):
        report = transcript.replay(file, profile)
        assert report.full is (record is with_secrets)
        assert report.outcome == "failed"
    if record is with_secrets:
        assert transcript.replay(theirs, ours, other_side=True, tape=mine).full


async def test_a_rejected_question_replays(tmp_path: Path) -> None:
    def reject(question: Question[Any]) -> None:
        question.reject("not on the list")

    ours = initiator(trust=trust.ask())
    mine, theirs = await refused(tmp_path, ours, responder(), with_secrets, answer=reject)
    answers = [line for line in transcript.read(mine).lines if isinstance(line, Answered)]
    assert [(line.verdict, line.reason) for line in answers] == [
        ("rejected", "refused by the application: not on the list")
    ]
    assert failures(mine) == [("AuthenticationFailed", False)]
    assert failures(theirs) == [("PeerAborted", False)]
    for file, profile in ((mine, ours), (theirs, responder())):
        assert transcript.replay(file, profile).full


async def test_a_question_that_nobody_answers_is_the_applications_failure(tmp_path: Path) -> None:
    ours, theirs = await raw_pair()
    file = tmp_path / "file"

    async def respond() -> None:
        with pytest.raises(PeerAborted):
            await handshake(theirs, RESPONDER, responder())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(respond)
        with pytest.raises(LocalProtocolError, match="no answer="):
            await handshake(ours, INITIATOR, initiator(trust=trust.ask()), record=with_secrets(file))
    assert [line.reason for line in transcript.read(file).lines if isinstance(line, Aborted)] == [
        "the application failed"
    ]
    assert outcome(file) == "failed"
    assert transcript.replay(file, initiator(trust=trust.ask())).full


@contextmanager
def expecting(path: Path, error: str, reason: str | None) -> Iterator[Recording]:
    """The block's handshake as initiator fails, and the transcript says so and replays."""
    yield with_secrets(path)
    assert failures(path)[-1][0] == error
    assert [line.reason for line in transcript.read(path).lines if isinstance(line, Aborted)] == (
        [reason] if reason else []
    )
    assert outcome(path) == "failed"
    report = transcript.replay(path, initiator())
    assert report.full
    assert report.outcome == "failed"


async def test_a_timeout_is_recorded_and_comes_again(tmp_path: Path) -> None:
    ours, theirs = await raw_pair()
    async with theirs:
        with expecting(tmp_path / "file", "HandshakeTimeout", None) as record:
            with pytest.raises(HandshakeTimeout):
                await handshake(ours, INITIATOR, initiator(), timeout=0.1, record=record)


async def test_an_acceptance_that_does_not_come_is_recorded(tmp_path: Path) -> None:
    ours, theirs = await raw_pair()
    held: list[bytes] = []

    async def respond() -> None:
        engine = Handshake(RESPONDER, responder())
        while True:
            event = engine.next_event()
            if isinstance(event, HandshakeCompleted):
                held.append(engine.data_to_send())  # the acceptance
                return
            if engine.state is not State.COMPLETED and (data := engine.data_to_send()):
                await theirs.send(data)
            if isinstance(event, Signal):
                engine.receive_data(await theirs.receive())

    async with theirs, anyio.create_task_group() as tasks:
        tasks.start_soon(respond)
        with expecting(tmp_path / "file", "HandshakeError", "the responder has not accepted us in time") as record:
            with pytest.raises(HandshakeTimeout):
                await handshake(ours, INITIATOR, initiator(), timeout=0.5, record=record)
    assert held


async def test_a_cancellation_is_recorded(tmp_path: Path) -> None:
    ours, theirs = await raw_pair()
    async with theirs:
        with expecting(tmp_path / "file", "HandshakeError", "cancelled") as record:
            with anyio.move_on_after(0.1) as scope:
                await handshake(ours, INITIATOR, initiator(), record=record)
        assert scope.cancelled_caught


async def test_a_peer_that_vanishes_is_recorded(tmp_path: Path) -> None:
    ours, theirs = await raw_pair()
    with expecting(tmp_path / "file", "PeerAborted", None) as record:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(theirs.send_eof)
            with pytest.raises(PeerAborted, match="ended in the middle"):
                await handshake(ours, INITIATOR, initiator(), record=record)
    await theirs.aclose()


async def test_a_connection_that_breaks_is_recorded(tmp_path: Path) -> None:
    ours, theirs = await raw_pair()

    async def reset() -> None:
        await theirs.receive()
        raw = theirs.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await theirs.aclose()

    with expecting(
        tmp_path / "file", "HandshakeError", "the connection broke in the middle of the handshake"
    ) as record:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reset)
            with pytest.raises(TransportFailed, match="got Connection reset by peer"):
                await handshake(ours, INITIATOR, initiator(), record=record)


async def test_a_file_that_is_there_is_refused_before_anything_is_dialled(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_bytes(b"precious")
    dialled: list[ByteStream] = []
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def accept(stream: ByteStream) -> None:
        dialled.append(stream)
        await stream.aclose()

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, accept)
        with pytest.raises(FileExistsError, match="a transcript is never written over"):
            await connect("127.0.0.1", listener.extra(SocketAttribute.local_port), initiator(), record=file)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert not dialled
    assert file.read_bytes() == b"precious"
    ours, theirs = await raw_pair()
    with pytest.raises(FileNotFoundError):
        await handshake(ours, INITIATOR, initiator(), record=tmp_path / "missing" / "file")
    with pytest.raises(anyio.EndOfStream):
        await theirs.receive()
    await theirs.aclose()


async def test_where_nobody_listens_there_is_no_transcript(tmp_path: Path) -> None:
    with pytest.raises(TransportFailed):
        await connect_unix(tmp_path / "nobody", initiator(), record=tmp_path / "file", key_log=tmp_path / "keys")
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


async def test_a_listener_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener:
        with pytest.raises(NotADirectoryError, match="need a folder"):
            await serve(listener, echo, responder(), record=tmp_path / "file")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Like a full disk: a write is done in part, and the next one fails."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


@pytest.mark.parametrize("size", [0, 100, 1500, 4000])
async def test_a_full_disk_ends_the_recording_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    folder, mine, keys = tmp_path / "folder", tmp_path / "mine", tmp_path / "keys"
    async with listening(responder(), record=with_secrets(folder), key_log=keys) as port:
        with files_of_at_most(size):
            await talked(port, record=with_secrets(mine))
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    stopped = [message for message in messages if message.startswith("the recording in")]
    assert len(stopped) == 2
    assert {message.rpartition(": ")[2] for message in stopped} <= {"File too large", "No space left on device"}
    assert len(mine.read_bytes() if mine.exists() else b"") <= size
    if size > 3000:  # what was written together is whole
        cut = transcript.read(mine, cut_off=True)
        assert not cut.whole
        assert transcript.replay(cut, initiator()).full


async def test_a_folder_that_cannot_be_written_is_one_warning_for_each_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    async with listening(responder(), record=folder) as port:
        await talked(port)
        assert not caplog.records
        shutil.rmtree(folder)
        folder.touch()
        await talked(port)
    assert [record.getMessage() for record in caplog.records] == [
        f"a handshake is not recorded in {folder}: Not a directory",
    ]


async def test_fifty_connections_at_once_have_fifty_transcripts_that_replay(tmp_path: Path) -> None:
    async with listening(responder(), record=with_secrets(tmp_path / "folder")) as port:
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                record = with_secrets(tmp_path / "mine", each=True) if number % 2 else None
                tasks.start_soon(lambda record=record: talked(port, record=record))  # type: ignore[misc]
        files = sorted((tmp_path / "folder").iterdir())
        for file in files:
            await until_there_is_an_end(file)
    assert len(files) == 50
    assert len(list((tmp_path / "mine").iterdir())) == 25
    for file in files:
        assert file.name.endswith(".jsonl")
        assert "-responder-" in file.name
        assert transcript.replay(file, responder()).full
    began = [file.stat().st_mtime for file in files]
    assert max(began) - min(began) < 60


async def test_without_waiting_for_acceptance_the_transcript_ends_with_the_handshake(tmp_path: Path) -> None:
    async with listening(responder()) as port:
        record = with_secrets(tmp_path / "file")
        async with await connect("127.0.0.1", port, initiator(), wait_for_accept=False, record=record) as stream:
            assert outcome(tmp_path / "file") == "completed"
            await stream.send(b"data")
            assert await stream.receive() == b"data"
    assert transcript.replay(tmp_path / "file", initiator()).full


async def test_a_stream_that_breaks_ends_the_recording_of_its_channel(tmp_path: Path) -> None:
    async with listening(responder()) as port:
        record = with_secrets(tmp_path / "file", whole_channel=True)
        with pytest.raises(KeyError):
            async with await connect("127.0.0.1", port, initiator(), record=record) as stream:
                await stream.send(b"data")
                raise KeyError
        assert outcome(tmp_path / "file") == "completed"
        assert [line.reason for line in transcript.read(tmp_path / "file").lines if isinstance(line, Aborted)]
        record = with_secrets(tmp_path / "other", whole_channel=True)
        with anyio.CancelScope() as scope:
            async with await connect("127.0.0.1", port, initiator(), record=record) as stream:
                scope.cancel()
                await stream.receive()
    assert transcript.replay(tmp_path / "file", initiator()).full
    assert transcript.replay(tmp_path / "other", initiator()).full


async def test_a_key_log_that_others_can_read_is_refused(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.touch(mode=0o644)
    keys.chmod(0o644)
    with pytest.raises(StoreError, match="others can read this key log"):
        await connect("127.0.0.1", 1, initiator(), key_log=keys)
    keys.chmod(0o600)
    keys.write_bytes(b"# kept\n")
    async with listening(responder()) as port:
        await talked(port, key_log=keys)
    assert keys.read_bytes().startswith(b"# kept\nNAUTILUS_")
    assert keys.read_bytes().count(b"\n") == 5


VICTIM = """
import sys, anyio
from nautilus_anyio import connect, transcript
from nautilus_core import Identity, profiles, trust

async def main():
    profile = profiles.nautilus(identity=Identity.generate(), trust=trust.anyone())
    record = transcript.Recording(sys.argv[2], dangerously_record_secrets=True, whole_channel=True)
    stream = await connect("127.0.0.1", int(sys.argv[1]), profile, record=record)
    print("go", flush=True)
    while True:
        await stream.send(bytes(1000))

anyio.run(main)
"""


async def test_what_is_killed_leaves_whole_lines(tmp_path: Path) -> None:
    async def devour(stream: Any) -> None:
        async for _ in stream:
            pass

    file = tmp_path / "file"
    async with listening(profiles.nautilus(identity=BOB, trust=trust.anyone()), devour) as port:
        process = subprocess.Popen([sys.executable, "-c", VICTIM, str(port), str(file)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        await anyio.to_thread.run_sync(process.stdout.readline)
        await anyio.sleep(0.05)
        process.kill()
        await anyio.to_thread.run_sync(process.wait)
        process.stdout.close()
    with pytest.raises(TranscriptError, match="cut off"):
        transcript.read(file)
    cut = transcript.read(file, cut_off=True)
    assert not cut.whole
    lines = file.read_bytes().splitlines()
    assert len(lines) - (len(cut.lines) + 1) <= 3
    assert any(isinstance(line, Called) for line in cut.lines)
