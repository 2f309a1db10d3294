"""The two sides of a transfer over real sockets: what they do together, and against a peer that does not keep to it."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute

from nautilus_anyio import ChannelFailed, SecureStream
from nautilus_anyio.cli.transfer.files import Destination, PartFile
from nautilus_anyio.cli.transfer.messages import (
    Done,
    Have,
    Message,
    Offer,
    PeerStopped,
    Prefix,
    Ready,
    Reason,
    Received,
    SameRole,
    Sending,
    Start,
    Stopped,
    TransferFailed,
    data_header,
)
from nautilus_anyio.cli.transfer.receive import Receiver
from nautilus_anyio.cli.transfer.send import Sender
from nautilus_anyio.cli.transfer.wire import Wire
from nautilus_core import InvalidMessage

from .transfers import MIB, Watching, met

pytestmark = pytest.mark.anyio

EMPTY = hashlib.sha256().digest()
Script = Callable[[Wire], Awaitable[None]]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def make(path: Path, size: int) -> bytes:
    data = os.urandom(size)
    path.write_bytes(data)
    return data


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


async def transfer(paths: list[Path], destination: Destination) -> tuple[Watching, Watching, list[Exception]]:
    """Both sides for real; what each saw, and what they raised."""
    sending, receiving = Watching(), Watching()
    raised: list[Exception] = []
    async with met() as (here, there):

        async def side(stream: SecureStream, run: Callable[[], Awaitable[None]]) -> None:
            try:
                async with stream:
                    await run()
            except (OSError, InvalidMessage, ChannelFailed) as error:
                raised.append(error)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(side, here, Sender(Wire(here), paths, sending).run)
                tasks.start_soon(side, there, Receiver(Wire(there), destination, receiving).run)
    return sending, receiving, raised


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 7 * MIB + 12_345])
async def test_a_file_arrives_whole(tmp_path: Path, inbox: Path, size: int) -> None:
    data = make(tmp_path / "file", size)
    sending, receiving, raised = await transfer([tmp_path / "file"], Destination(inbox))
    assert raised == []
    assert (inbox / "file").read_bytes() == data
    assert list(inbox.iterdir()) == [inbox / "file"]
    for outcome in (sending.outcomes[0], receiving.outcomes[0]):
        assert (outcome.size, outcome.digest, outcome.resumed_from, outcome.was_there) == (size, digest(data), 0, False)


async def test_several_files_in_one_go_and_those_that_are_there_are_not_sent_twice(tmp_path: Path, inbox: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        make(path, 300_000)
    (inbox / "b").write_bytes(paths[1].read_bytes())
    sending, receiving, raised = await transfer(paths, Destination(inbox))
    assert raised == []
    assert [outcome.was_there for outcome in sending.outcomes] == [False, True, False]
    assert [outcome.was_there for outcome in receiving.outcomes] == [False, True, False]
    assert [(inbox / path.name).read_bytes() for path in paths] == [path.read_bytes() for path in paths]


@pytest.mark.parametrize("known", [1, 2 * MIB + 3, 3 * MIB])
async def test_it_goes_on_from_the_part_that_is_there(tmp_path: Path, inbox: Path, known: int) -> None:
    data = make(tmp_path / "file", 3 * MIB)
    (inbox / ".file.part").write_bytes(data[:known])
    sending, receiving, raised = await transfer([tmp_path / "file"], Destination(inbox))
    assert raised == []
    assert (inbox / "file").read_bytes() == data
    assert sending.outcomes[0].resumed_from == receiving.outcomes[0].resumed_from == known
    assert sending.notes == receiving.notes == [f"resuming at byte {known:,}"]


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * (2 * MIB)], ids=["other", "longer"])
async def test_a_part_of_another_file_is_started_over_with_a_note(tmp_path: Path, inbox: Path, part: bytes) -> None:
    data = make(tmp_path / "file", MIB)
    (inbox / ".file.part").write_bytes(part)
    sending, receiving, raised = await transfer([tmp_path / "file"], Destination(inbox))
    assert raised == []
    assert (inbox / "file").read_bytes() == data
    assert receiving.outcomes[0].resumed_from == 0
    assert "not a beginning of this file" in receiving.notes[0]
    assert ("not a beginning of this file" in "".join(sending.notes)) == (len(part) < MIB)


@pytest.mark.parametrize("there", [b"other", b"x" * 5000], ids=["other size", "same size"])
async def test_an_existing_file_is_kept_unless_forced(tmp_path: Path, inbox: Path, there: bytes) -> None:
    data = make(tmp_path / "file", 5000)
    (inbox / "file").write_bytes(there)
    _, _, raised = await transfer([tmp_path / "file"], Destination(inbox))
    assert {type(error) for error in raised} == {TransferFailed, PeerStopped}
    assert all("--force" in str(error) for error in raised)
    assert (inbox / "file").read_bytes() == there
    _, _, raised = await transfer([tmp_path / "file"], Destination(inbox, force=True))
    assert raised == []
    assert (inbox / "file").read_bytes() == data


async def test_an_output_file_takes_one_file_only(tmp_path: Path, inbox: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        make(path, 10)
    _, _, raised = await transfer(paths, Destination(inbox, inbox / "mine"))
    assert sorted("--output" in str(error) for error in raised) == [True, True]
    _, _, raised = await transfer(paths[:1], Destination(inbox, inbox / "mine"))
    assert raised == []
    assert list(inbox.iterdir()) == [inbox / "mine"]


async def test_a_part_that_is_in_use_is_waited_for_but_not_for_ever(tmp_path: Path, inbox: Path) -> None:
    make(tmp_path / "file", 10)
    part = PartFile(inbox / "file")

    async def let_go() -> None:
        await anyio.sleep(0.2)
        part.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(let_go)
        assert (await transfer([tmp_path / "file"], Destination(inbox)))[2] == []
    (inbox / "file").unlink()
    with closing(PartFile(inbox / "file")):
        _, _, raised = await transfer([tmp_path / "file"], Destination(inbox))
    assert any("another transfer to" in str(error) for error in raised)
    assert any("in the middle of another transfer" in str(error) for error in raised)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root, and not in every container, can mount a tiny disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_file_that_the_disk_cannot_hold_is_refused_at_once(tmp_path: Path, tiny_disk: Path) -> None:
    make(tmp_path / "file", 5 * MIB)
    _, _, raised = await transfer([tmp_path / "file"], Destination(tiny_disk))
    assert any("no room" in str(error) and "5,242,880 bytes to come" in str(error) for error in raised)
    assert any(isinstance(error, PeerStopped) and "no room" in str(error) for error in raised)
    assert list(tiny_disk.iterdir()) == []


async def test_a_disk_that_fills_up_stops_both_and_what_came_is_kept(tmp_path: Path, tiny_disk: Path) -> None:
    data = make(tmp_path / "file", 3 * MIB)
    destination, sending, failures = Destination(tiny_disk), Watching(), []
    async with met() as (here, there):
        wire = Wire(here)

        async def receive() -> None:
            try:
                await Receiver(Wire(there), destination, Watching()).run()
            except TransferFailed as error:
                failures.append(error)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                await offer(wire, "file", 3 * MIB)
                await wire.expect(Start)
                (tiny_disk / "others").write_bytes(bytes(2 * MIB))
                await send_data(wire, data)
                with pytest.raises(PeerStopped, match="disk is full"):
                    await wire.expect(Received)
                await here.aclose()
    assert "No space left on device" in str(failures[0])
    kept = (tiny_disk / ".file.part").read_bytes()
    assert MIB <= len(kept) < 3 * MIB
    assert data.startswith(kept)
    (tiny_disk / "others").unlink()
    sending, _, raised = await transfer([tmp_path / "file"], destination)
    assert raised == []
    assert sending.outcomes[0].resumed_from == len(kept)
    assert (tiny_disk / "file").read_bytes() == data


# ------------------------------------------------------------------ a peer with a script


async def offer(wire: Wire, name: str, size: int, prefix: bytes = EMPTY) -> None:
    """A sender's part until the start."""
    await wire.introduce(Sending())
    await wire.send(Offer(name, size, False))
    await wire.expect(Have)
    await wire.send(Prefix(prefix))


async def send_data(wire: Wire, data: bytes) -> None:
    for start in range(0, len(data), MIB):
        piece = data[start : start + MIB]
        await wire.send_frame(data_header(len(piece)) + piece)


async def act(script: Script, stream: SecureStream) -> None:
    """Keep to the script, end, and let the other side have the last word."""
    async with stream:
        try:
            await script(Wire(stream))
            await stream.send_eof()
            async for _ in stream:
                pass
        except (ChannelFailed, PeerStopped, InvalidMessage):
            return


async def receiver_against(script: Script, inbox: Path) -> Exception:
    """What the receiver raises when its sender keeps to `script`; nothing is in the way of the next attempt then."""
    async with met() as (here, there):

        async def play() -> None:
            await act(script, here)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(play)
                with pytest.raises((OSError, InvalidMessage, ChannelFailed)) as caught:
                    async with there:
                        await Receiver(Wire(there), Destination(inbox), Watching()).run()
    assert not (inbox / "file").exists()
    return caught.value


def sends(*items: Message | bytes, size: int = 10, name: str = "file") -> Script:
    """A sender that is let in and then sends `items`."""

    async def script(wire: Wire) -> None:
        await offer(wire, name, size)
        await wire.expect(Start)
        for item in items:
            await (wire.send_frame(data_header(len(item)) + item) if isinstance(item, bytes) else wire.send(item))

    return script


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (sends(b"0123456789", Done(EMPTY)), "the checksum is not the sender's"),
        (sends(b"0123456789a"), "more than was offered; expected 10 bytes; got 11"),
        (sends(b"012345678", b"9a"), "more than was offered"),
        (sends(b"01234", Done(EMPTY)), "out of order; expected a piece of the file; got 'done'"),
        (sends(b"0123456789", b"a"), "out of order; expected 'done'; got a piece of the file"),
        (sends(b"01234"), "ended too early"),
        (sends(b"01234", Stopped(Reason.CHANGED)), "the file changed while it was sent"),
        (sends(b"01234", Offer("x", 1, False)), "out of order"),
        (sends(size=2**62), "no room"),
        (sends(name="../../file"), "refused the file name"),
        (sends(name=".profile"), "refused the file name"),
    ],
)
async def test_a_sender_that_misbehaves_leaves_no_file(script: Script, complaint: str, inbox: Path) -> None:
    error = await receiver_against(script, inbox)
    assert complaint in str(error)
    assert str(error).count("\n") == 0
    assert not list(inbox.parent.glob("file"))


async def test_a_copy_with_the_wrong_checksum_is_not_kept_for_a_resume(inbox: Path) -> None:
    await receiver_against(sends(b"0123456789", Done(EMPTY)), inbox)
    assert list(inbox.iterdir()) == []


async def test_a_sender_that_vanishes_leaves_a_part(inbox: Path) -> None:
    async def script(wire: Wire) -> None:
        await sends(b"01234")(wire)
        while not (inbox / ".file.part").exists() or not (inbox / ".file.part").stat().st_size:
            await anyio.sleep(0.01)
        await wire._stream._transport.aclose()

    error = await receiver_against(script, inbox)
    assert isinstance(error, ChannelFailed)
    assert error.error.retryable
    assert (inbox / ".file.part").read_bytes() == b"01234"


async def test_a_sender_that_listens_late_still_hears_why(inbox: Path) -> None:
    heard: list[str] = []

    async def script(wire: Wire) -> None:
        await wire.introduce(Sending())
        await wire.send(Offer("../file", 16 * MIB, False))
        await send_data(wire, bytes(16 * MIB))
        with pytest.raises(PeerStopped) as caught:
            await wire.expect(Have)
        heard.append(str(caught.value))

    await receiver_against(script, inbox)
    assert "does not take that file name" in heard[0]


async def sender_against(script: Script, path: Path) -> Exception:
    """What the sender raises when its receiver keeps to `script`."""
    async with met() as (here, there):

        async def play() -> None:
            await act(script, there)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(play)
                with pytest.raises((OSError, InvalidMessage, ChannelFailed)) as caught:
                    async with here:
                        await Sender(Wire(here), [path], Watching()).run()
    return caught.value


def answers(*messages: Message) -> Script:
    """A receiver that answers so, one message for each of the sender's."""

    async def script(wire: Wire) -> None:
        await wire.introduce(Ready())
        for message in messages:
            await wire.receive("anything")
            await wire.send(message)

    return script


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (answers(Have(11)), "an offset behind the end; expected 10 at most; got 11"),
        (answers(Have(5), Start(4)), "a start that was not agreed on; expected 0 or 5; got 4"),
        (answers(Have(5), Received(EMPTY)), "calls a part of the file received"),
        (answers(Have(10), Received(EMPTY)), "confirms another checksum"),
        (answers(Have(0), Start(0), Received(EMPTY)), "confirms"),
        (answers(Have(0), Start(0), Stopped(Reason.STORAGE)), "could not write the file"),
        (answers(Have(0), Start(0), Start(0)), "out of order; expected 'received'; got 'start'"),
        (answers(Offer("x", 1, False)), "out of order; expected 'have'; got 'offer'"),
        (answers(Stopped(Reason.NAME)), "does not take that file name"),
        (answers(), "ended too early; expected 'have'"),
    ],
)
async def test_a_receiver_that_misbehaves_is_named(script: Script, complaint: str, tmp_path: Path) -> None:
    make(tmp_path / "file", 10)
    error = await sender_against(script, tmp_path / "file")
    assert complaint in str(error)


@pytest.mark.parametrize("role", ["sends", "receives"])
async def test_two_of_the_same_kind_find_out_at_both_ends(role: str, tmp_path: Path, inbox: Path) -> None:
    make(tmp_path / "file", 10)
    raised: list[str] = []

    async def side(stream: SecureStream) -> None:
        wire = Wire(stream)
        sender, receiver = Sender(wire, [tmp_path / "file"], Watching()), Receiver(wire, Destination(inbox), Watching())
        with pytest.raises(SameRole) as caught:
            async with stream:
                await (sender if role == "sends" else receiver).run()
        raised.append(str(caught.value))

    async with met() as ends:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for stream in ends:
                    tasks.start_soon(side, stream)
    assert raised == [f"the other end {role}, too"] * 2
    assert list(inbox.iterdir()) == []


async def test_a_peer_that_does_not_introduce_itself_is_named(tmp_path: Path, inbox: Path) -> None:
    make(tmp_path / "file", 10)

    async def hasty(wire: Wire) -> None:
        await wire.send(Offer("x", 1, False))

    wanted = "out of order; expected 'ready' or 'sending'; got 'offer'"
    assert wanted in str(await receiver_against(hasty, inbox))
    assert wanted in str(await sender_against(hasty, tmp_path / "file"))


@pytest.mark.parametrize("change", ["grown", "shrunk", "rewritten"])
async def test_a_file_that_changes_while_it_is_sent_is_noticed_on_both_ends(tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    make(path, 48 * MIB)
    heard: list[str] = []

    async def script(wire: Wire) -> None:
        await wire.introduce(Ready())
        await wire.expect(Offer)
        await wire.send(Have(0))
        await wire.expect(Prefix)
        await wire.send(Start(0))
        await wire.receive("a piece")
        with path.open("r+b") as file:
            if change == "shrunk":
                file.truncate(MIB)
            else:
                file.seek(0 if change == "rewritten" else 48 * MIB)
                file.write(b"changed")
        try:
            while isinstance(await wire.receive("a piece"), bytes):
                pass
        except PeerStopped as stopped:
            heard.append(str(stopped))

    error = await sender_against(script, path)
    assert "changed while it was sent; send it again" in str(error)
    assert "the file changed while it was sent" in heard[0]


async def test_a_peer_that_vanishes_without_a_word_is_noticed_within_about_a_minute() -> None:
    async with met() as (here, _):
        Wire(here)
        tcp = here.extra(SocketAttribute.raw_socket)
        assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, interval, count, unanswered = (
            tcp.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        )
        assert idle + interval * count == 60
        assert unanswered == 60_000
