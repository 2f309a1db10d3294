"""The files of the binding: known peers and private keys. Real files, real processes."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from nautilus_anyio import KnownPeersFile, StoreError, connect, load_identity, save_identity
from nautilus_core import AuthenticationFailed, Identity, PeerIdentified, trust

from .helpers import BOB, MALLORY, initiator, listening, responder
from .processes import eventually


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the list is; its folder does not exist yet."""
    return tmp_path / "folder" / "known_peers"


def test_a_peer_that_was_remembered_is_known_to_the_next_process(path: Path) -> None:
    store = KnownPeersFile(path)
    assert store.lookup("gateway:7000") == frozenset()
    assert not path.exists()
    store.remember("gateway:7000", BOB.peer_id)
    store.remember("gateway:7000", BOB.peer_id)
    store.remember("gateway:7000", MALLORY.peer_id)
    again = KnownPeersFile(path)
    assert again.lookup("gateway:7000") == {BOB.peer_id, MALLORY.peer_id}
    assert again.entries() == [("gateway:7000", BOB.peer_id), ("gateway:7000", MALLORY.peer_id)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_where_an_entry_stands_is_told_in_words(path: Path) -> None:
    store = KnownPeersFile(path)
    assert store.where("gateway") is None
    path.parent.mkdir()
    path.write_text(f"# the lab\ngateway {BOB.peer_id}\nother {BOB.peer_id}\ngateway {MALLORY.peer_id}\n")
    assert store.where("other") == f"{path} line 3"
    assert store.where("gateway") == f"{path} lines 2 and 4"


def test_the_file_can_be_read_and_edited_by_people(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(f"# the lab\n\n  gateway   {BOB.peer_id}\n# by hand, without a line's end", encoding="utf-8")
    store = KnownPeersFile(path)
    assert store.lookup("gateway") == {BOB.peer_id}
    store.remember("node", MALLORY.peer_id)
    text = path.read_text()
    assert text.startswith(
        f"# the lab\n\n  gateway   {BOB.peer_id}\n# by hand, without a line's end\nnode {MALLORY.peer_id} 2"
    )


@given(st.text(min_size=1, max_size=40))
def test_every_name_comes_back(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate is no text
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "names"
    path.unlink(missing_ok=True)
    store = KnownPeersFile(path)
    store.remember(name, BOB.peer_id)
    assert store.lookup(name) == {BOB.peer_id}
    assert store.entries() == [(name, BOB.peer_id)]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda line: line.replace("key:", "kex:"), "line 3: the check does not fit"),
        (lambda line: line.replace("gateway", "gatewax"), "line 3: the check does not fit"),
        (lambda line: line.replace(BOB.peer_id, MALLORY.peer_id), "line 3: the check does not fit"),
        (lambda line: line[:40] + "\n", "line 3: .* is no peer id"),
        (lambda line: line.strip() + " and more\n", "line 3: expected NAME PEER-ID"),
        (lambda _: "\x00\n", "line 3: expected NAME PEER-ID"),
        (lambda _: "\udcff\n", "is no UTF-8"),
    ],
)
def test_a_damaged_line_is_named_and_nobody_is_known(path: Path, damage: object, complaint: str) -> None:
    store = KnownPeersFile(path)
    store.remember("gateway", BOB.peer_id)
    *head, line = path.read_text().splitlines(keepends=True)
    path.write_text("".join(head) + damage(line), errors="surrogateescape")  # type: ignore[operator]
    before = path.read_bytes()
    with pytest.raises(StoreError, match=complaint):
        store.lookup("gateway")
    with pytest.raises(StoreError, match=complaint):
        store.remember("node", MALLORY.peer_id)
    assert path.read_bytes() == before


@pytest.mark.parametrize("shared", ["file", "folder"])
def test_a_list_that_others_can_write_to_is_refused(path: Path, shared: str) -> None:
    store = KnownPeersFile(path)
    store.remember("gateway", BOB.peer_id)
    (path if shared == "file" else path.parent).chmod(0o777)
    with pytest.raises(StoreError, match="can be written to by others: chmod go-w"):
        store.lookup("gateway")


def test_what_is_no_peer_id_is_not_remembered(path: Path) -> None:
    with pytest.raises(ValueError, match="is no peer id"):
        KnownPeersFile(path).remember("gateway", "key:short\nevil key:")
    assert not path.exists()


WRITER = """
import sys
from pathlib import Path
from nautilus_anyio import KnownPeersFile
from nautilus_core import Identity
store = KnownPeersFile(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    store.remember(f"{sys.argv[2]}-{number}", Identity.generate().peer_id)
"""


def test_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, "25"]) for name in "abcd"]
    assert [writer.wait(timeout=60) for writer in writers] == [0] * 4
    names = [name for name, _ in KnownPeersFile(path).entries()]
    assert sorted(names) == sorted(f"{letter}-{number}" for letter in "abcd" for number in range(25))


def test_who_comes_through_a_symbolic_link_takes_the_same_lock(path: Path, tmp_path: Path) -> None:
    KnownPeersFile(path).remember("first", BOB.peer_id)
    link = tmp_path / "link"
    link.symlink_to(path)
    code = "import sys; from nautilus_anyio import KnownPeersFile as K; K(sys.argv[1]).remember('second', sys.argv[2])"
    with FileLock(f"{path}.lock"):
        process = subprocess.Popen([sys.executable, "-c", code, link, BOB.peer_id])
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1.5)
    assert process.wait(timeout=20) == 0
    assert KnownPeersFile(path).lookup("second") == {BOB.peer_id}


def test_an_empty_name_does_not_damage_the_list(path: Path) -> None:
    store = KnownPeersFile(path)
    with pytest.raises(ValueError, match="not empty"):
        store.remember("", BOB.peer_id)
    assert store.entries() == []


def test_a_writer_that_is_killed_leaves_the_old_or_the_new_list(path: Path) -> None:
    store = KnownPeersFile(path)
    store.remember("first", BOB.peer_id)
    for patience in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), f"run{patience}", "100000"])
        before = len(store.entries())
        eventually(lambda before=before: len(store.entries()) > before)  # type: ignore[misc]  # bound early
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(timeout=patience / 50)
        writer.kill()
        writer.wait()
        assert store.entries()[0] == ("first", BOB.peer_id)
    store.remember("last", BOB.peer_id)  # no lock is left behind
    assert store.lookup("last") == {BOB.peer_id}
    assert len(store.entries()) > 2


def test_what_a_killed_writer_left_is_removed_and_nothing_else(path: Path) -> None:
    store = KnownPeersFile(path)
    store.remember("gateway", BOB.peer_id)
    others = {path.parent / name for name in (".known_peers.swp", "known_peers.new", ".other.abcdefgh.new")}
    for file in (*others, path.parent / ".known_peers.abcdefgh.new"):
        file.write_text("half")
    store.remember("gateway", MALLORY.peer_id)
    assert set(path.parent.iterdir()) == {path, path.parent / "known_peers.lock", *others}
    assert len(store.entries()) == 2


@pytest.mark.anyio
async def test_trust_on_first_use_over_a_connection(path: Path) -> None:
    known = trust.known_peers(KnownPeersFile(path), name="gateway")
    asked: list[PeerIdentified] = []

    def yes(question: PeerIdentified) -> None:
        asked.append(question)
        question.accept()

    for identity, answers in ((BOB, 1), (BOB, 1)):
        async with listening(responder(identity=identity)) as port:
            async with await connect("127.0.0.1", port, initiator(trust=known), answer=yes) as stream:
                assert stream.session.peer.peer_id == BOB.peer_id
        assert len(asked) == answers
    async with listening(responder(identity=MALLORY)) as port:
        with pytest.raises(AuthenticationFailed, match="gateway has another key than before"):
            await connect("127.0.0.1", port, initiator(trust=known), answer=yes)
    path.write_text("damaged\n")
    async with listening(responder()) as port:
        with pytest.raises(StoreError, match="line 1"):
            await connect("127.0.0.1", port, initiator(trust=known), answer=yes)


def test_a_private_key_is_kept_from_others(tmp_path: Path) -> None:
    file = tmp_path / "node.pem"
    identity = Identity.generate()
    save_identity(file, identity)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_identity(file).peer_id == identity.peer_id
    with pytest.raises(FileExistsError):
        save_identity(file, identity)
    file.chmod(0o640)
    with pytest.raises(StoreError, match="others can read this private key: chmod 600"):
        load_identity(file)


def test_a_private_key_on_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: object, target: object) -> None:  # as FAT says it
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), source, None, target)

    monkeypatch.setattr(os, "link", link)
    save_identity(tmp_path / "key.pem", BOB)
    assert load_identity(tmp_path / "key.pem").peer_id == BOB.peer_id
    with pytest.raises(FileExistsError, match="a key is never overwritten"):
        save_identity(tmp_path / "key.pem", MALLORY)
    assert load_identity(tmp_path / "key.pem").peer_id == BOB.peer_id
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]

    def replace(self: Path, target: Path) -> Path:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(target))

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OSError, match="Input/output error"):
        save_identity(tmp_path / "other.pem", BOB)
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


def test_key_files_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "node.pem"
    save_identity(file, Identity.generate("ecdsa-p256-sha256"), b"correct horse")
    assert load_identity(file, b"correct horse").scheme == "ecdsa-p256-sha256"
    with pytest.raises(ValueError, match="encrypted: a passphrase is needed"):
        load_identity(file)
    with pytest.raises(ValueError, match="the passphrase is wrong"):
        load_identity(file, b"wrong")
    file.write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense")
    with pytest.raises(ValueError, match="this is no PKCS#8 private key"):
        load_identity(file)


def test_a_full_disk_leaves_no_half_of_a_key(tmp_path: Path) -> None:
    file = tmp_path / "node.pem"
    identity = Identity.generate("ml-dsa-65")
    with limited_files(16), pytest.raises(OSError, match="File too large"):
        save_identity(file, identity)
    assert not file.exists()
    store = KnownPeersFile(tmp_path / "known_peers")
    store.remember("gateway", BOB.peer_id)
    with limited_files(200), pytest.raises(OSError, match="File too large"):
        store.remember("node", MALLORY.peer_id)
    assert store.entries() == [("gateway", BOB.peer_id)]
    assert {left.name for left in tmp_path.iterdir()} <= {"known_peers", "known_peers.lock"}


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
