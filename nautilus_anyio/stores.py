"""Files that outlive a process: whom we have met (`KnownPeersFile`), and private keys. What they mean is the core's."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final
from urllib.parse import quote, unquote

from nautilus_core import Identity
from nautilus_core.identity.keys import check_peer_id

_HEADER: Final = """\
# The peers that were met, by the name under which they were met: nautilus known peers, version 1.
# NAME PEER-ID [DATE] [CHECK]: what stands after the peer id is for people, and to notice damage; comments are kept.
"""
_MAX_BYTES: Final = 16 * 1024 * 1024
_LOCK_SECONDS: Final = 10.0
_UNFINISHED: Final = ".new"
_SAFE: Final = "!$&'()*+,-./:;<=>?@[]^_`{|}~"
"""What a name is written with as it is, beside letters and digits: all of ASCII but spaces, quotes, `#`, `%` and `\\`."""


class StoreError(OSError):
    """A file of ours that cannot be trusted or read: damaged, or writable by others. Says which, where, and what now."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    peer_id: str
    line: int


class KnownPeersFile:
    """`KnownPeers` in a text file, one line for each name and peer: for `trust.known_peers(KnownPeersFile(path))`.

    The file is read again at each look-up, so that processes can share it and people can edit it. It is written under a
    lock, as a whole, to a new file that then takes its place: whoever reads sees the old or the new one, a crash leaves one
    of both. Comments, blank lines and order are kept.

    What is noticed, and refused: a file or folder that others than its owner and root can write to (as SSH's StrictModes),
    a line that is malformed or whose check does not fit (8 hexadecimal digits over the rest; lines written by hand need
    none). Whoever can write as the owner can change it unnoticed.

    The calls block, as file I/O does: for a few milliseconds, and up to ten seconds where another process holds the lock.

    Args:
        path: the file; it and its folder are made at the first peer that is remembered.

    Raises:
        StoreError: from `lookup` and `remember`, as said above.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def __repr__(self) -> str:
        return f"KnownPeersFile({str(self._path)!r})"

    def lookup(self, name: str) -> frozenset[str]:
        """The peer ids known under `name`."""
        return frozenset(entry.peer_id for entry in self._entries(self._read()) if entry.name == name)

    def where(self, name: str) -> str | None:
        """Where `name` stands, for people: `FILE line 3`; None where it does not."""
        numbers = [str(entry.line) for entry in self._entries(self._read()) if entry.name == name]
        if not numbers:
            return None
        return f"{self._path} line{'s' if len(numbers) > 1 else ''} {' and '.join(numbers)}"

    def remember(self, name: str, peer_id: str) -> None:
        """Add `peer_id` under `name`, for good; `ValueError` for an empty name, which a line cannot hold."""
        check_peer_id(peer_id)
        if not name:
            raise ValueError("a peer is remembered under a name that is not empty")
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            text = self._read()
            if any((entry.name, entry.peer_id) == (name, peer_id) for entry in self._entries(text)):
                return
            if text and not text.endswith("\n"):
                text += "\n"
            remove_unfinished(self._path)
            replace_file(self._path, ((text or _HEADER) + _line(name, peer_id)).encode())

    def entries(self) -> list[tuple[str, str]]:
        """All names and peer ids, in the order of the file."""
        return [(entry.name, entry.peer_id) for entry in self._entries(self._read())]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout  # noqa: PLC0415  # takes long to load, and few write

        # of the file itself: who comes through a symbolic link must not miss it
        lock = FileLock(f"{self._path.resolve()}.lock", timeout=_LOCK_SECONDS, mode=0o600)
        try:
            lock.acquire()
        except Timeout as error:
            raise StoreError(f"{self._path}: another process holds its lock for {_LOCK_SECONDS:.0f} seconds") from error
        try:
            yield
        finally:
            lock.release()

    def _read(self) -> str:
        try:
            with self._path.open("rb") as file:
                check_owner_alone_writes(self._path, os.fstat(file.fileno()))
                check_owner_alone_writes(self._path.parent, self._path.parent.stat())
                data = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            return ""
        if len(data) > _MAX_BYTES:
            raise StoreError(f"{self._path}: over {_MAX_BYTES} bytes: this is no list of known peers")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise StoreError(f"{self._path}: byte {error.start} is no UTF-8: the file is damaged") from error

    def _entries(self, text: str) -> Iterator[_Entry]:
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                try:
                    yield _parsed(line, number)
                except ValueError as error:
                    raise StoreError(
                        f"{self._path}, line {number}: {error}; mend or remove the line, once you know who changed it"
                    ) from error


def _line(name: str, peer_id: str) -> str:
    said = f"{quote(name, safe=_SAFE)} {peer_id} {datetime.now(UTC).date().isoformat()}"
    return f"{said} {_check(said)}\n"


def _check(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()[:8]


def _parsed(line: str, number: int) -> _Entry:
    fields = line.split()
    if not 2 <= len(fields) <= 4:
        raise ValueError("expected NAME PEER-ID [DATE] [CHECK]")
    if len(fields) == 4 and fields[3] != _check(" ".join(fields[:3])):
        raise ValueError("the check does not fit: the line was changed or damaged")
    return _Entry(unquote(fields[0], errors="strict"), check_peer_id(fields[1]), number)


def check_owner_alone_writes(path: Path, found: os.stat_result) -> None:
    """Raise `StoreError` when others than its owner and root can write to `path`, or it belongs to somebody else."""
    if not hasattr(os, "getuid"):
        return
    if found.st_uid not in (0, os.getuid()):
        raise StoreError(f"{path} belongs to another user")
    shared = stat.S_IMODE(found.st_mode) & 0o022
    if shared and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        raise StoreError(f"{path} can be written to by others: chmod go-w {path}")


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to a new file that only its owner can read, then let it take the place of `path`; all or nothing."""
    target = path.resolve()
    with _written_beside(target, data) as written:
        written.replace(target)
    sync_folder(target.parent)


def remove_unfinished(path: Path) -> None:
    """Remove what `replace_file` left beside `path` when it was killed. For whoever holds the lock of the file alone."""
    target = path.resolve()
    for beside in target.parent.iterdir():
        if beside.name.startswith(f".{target.name}.") and beside.name.endswith(_UNFINISHED):
            beside.unlink(missing_ok=True)


@contextmanager
def _written_beside(target: Path, data: bytes) -> Iterator[Path]:
    """A new file in the folder of `target` that only its owner can read, safe on the disk; gone after the block."""
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(target.parent))
    with NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", suffix=_UNFINISHED, delete=False) as file:
        written = Path(file.name)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            yield written
        finally:
            written.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Let a new or changed name in `folder` survive a crash, where the file system can."""
    with suppress(OSError):  # some file systems cannot
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save_identity(path: str | os.PathLike[str], identity: Identity, passphrase: bytes | None = None) -> None:
    """Keep a private key in a new file that only its owner can read, encrypted where there is a passphrase.

    Raises:
        FileExistsError: a key is never overwritten.
    """
    target = Path(path).resolve()
    with _written_beside(target, identity.to_pem(passphrase)) as written:
        try:
            _take_name(target, written)
        except FileExistsError:
            raise FileExistsError(
                errno.EEXIST, "there is a file already; a key is never overwritten", str(path)
            ) from None
    sync_folder(target.parent)


def _take_name(target: Path, written: Path) -> None:
    """Let `written` be at `target` as well, or alone; never in the place of another file: `FileExistsError`."""
    try:
        os.link(written, target)  # whole at once
    except FileExistsError:
        raise
    except OSError:  # a file system without links: the name is taken first, then it gets its content
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            written.replace(target)
        except BaseException:
            target.unlink()  # an empty file would be taken for a key
            raise


def load_identity(path: str | os.PathLike[str], passphrase: bytes | None = None) -> Identity:
    """The private key in `path`.

    Raises:
        StoreError: others can read the key.
        ValueError: this is no private key of a scheme here, or the passphrase is wrong, missing or too many.
        OSError: the file cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        data = file.read(_MAX_BYTES)
    try:
        identity = Identity.from_pem(data, passphrase)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    # only of a key is it wrong that others can read it: of /etc/passwd it is right
    check_private(path, found, "private key")
    return identity


def check_private(path: Path, found: os.stat_result, what: str) -> None:
    """Raise `StoreError` where others than its owner can read a file that holds a secret."""
    if hasattr(os, "getuid") and stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077:
        raise StoreError(f"{path}: others can read this {what}: chmod 600 {path}, and consider a new key")
