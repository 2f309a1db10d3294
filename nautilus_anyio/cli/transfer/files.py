"""The files of a transfer: the one that is sent, the part that has come, and how a part becomes a file. No network.

What has come of NAME is kept beside it in `.NAME.part` until it is whole. Everything here blocks; call it in a thread.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from ...stores import sync_folder
from .messages import HEADER_LENGTH, MAX_DATA, Reason, TransferFailed, data_header

MAX_NAME_BYTES: Final = 240
"""The longest file name, so that the part's fits into the 255 bytes of most file systems."""

_HASH_BLOCK: Final = 4 << 20
_ATTEMPTS: Final = 8
_NO_SURPRISES: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def check_name(name: str) -> None:
    """Refuse a file name of a peer that could lead elsewhere, hide, pass for an option, or confuse a terminal.

    Raises:
        TransferFailed: with `Reason.NAME`.
    """
    bad = (
        not name
        or name[0] in ".-"
        or "/" in name
        or "\\" in name
        or not name.isprintable()
        or len(name.encode(errors="replace")) > MAX_NAME_BYTES
    )
    if bad:
        raise TransferFailed(
            f"refused the file name {name!r}: not with '/' or '\\', a leading '.' or '-', what cannot be shown, or over "
            f"{MAX_NAME_BYTES} bytes; receive it with --output FILE",
            Reason.NAME,
        )


@dataclass(frozen=True, slots=True)
class Destination:
    """Where received files go.

    Args:
        directory: the folder, under the names that the sender says.
        output: one file, whatever the sender calls it; None for the folder.
        force: whether a file that is there may be replaced.
        max_size: the largest file that is taken, in bytes; None for no limit but the disk's.
    """

    directory: Path
    output: Path | None = None
    force: bool = False
    max_size: int | None = None

    def target(self, name: str, size: int) -> Path:
        """Where a file that the sender calls `name` goes; `TransferFailed` where it is not wanted."""
        if self.max_size is not None and size > self.max_size:
            raise TransferFailed(f"refused {size:,} bytes: over --max-size {self.max_size:,}", Reason.SIZE)
        if self.output is not None:
            return self.output
        check_name(name)
        return self.directory / name

    def existing(self, target: Path, size: int) -> int | None:
        """A descriptor of a file at `target` that may be the very one that is offered; None where nothing stands there.

        Raises:
            TransferFailed: something else stands there, with `Reason.EXISTS`.
        """
        try:
            found = target.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):  # a device, a pipe, a link: whoever has it there has a use for it
            raise TransferFailed(f"{target} is no regular file: it is not replaced", Reason.EXISTS)
        if self.force:
            return None
        if found.st_size != size:
            raise self.exists(target)
        with storing(target):
            return os.open(target, os.O_RDONLY | _NO_SURPRISES)

    @staticmethod
    def exists(target: Path) -> TransferFailed:
        """The error for a target that is taken."""
        return TransferFailed(f"{target} is there already, and differs; move it away, or say --force", Reason.EXISTS)


def check_room(folder: Path, size: int) -> None:
    """Refuse `size` more bytes where the disk has not that many; `TransferFailed` with `Reason.SPACE`."""
    with storing(folder):
        disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if size > free:
        raise TransferFailed(f"no room in {folder}: {size:,} bytes to come, {free:,} free; make room", Reason.SPACE)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Name the file in what the operating system complains about."""
    try:
        yield
    except TransferFailed:
        raise
    except OSError as error:
        why = error.strerror
        if error.errno == errno.ELOOP:
            why = "it is a symbolic link; remove it"
        elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            why = f"{why}; make room, then start the transfer again: it goes on from there"
        raise TransferFailed(f"cannot write {path}: {why}", Reason.STORAGE) from error


class PartFile:
    """What has come of a file so far. It is locked while it is open, so that two transfers cannot mix.

    Attributes:
        path: where it is.
        size: how many bytes have come.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(f".{target.name}.part")
        with storing(self.path):
            self.descriptor = self._open()
        self.size = os.fstat(self.descriptor).st_size

    def _open(self) -> int:
        for _ in range(_ATTEMPTS):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | _NO_SURPRISES, 0o666)
            try:
                if self._is_ours(descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise self._busy()

    def _is_ours(self, descriptor: int) -> bool:
        """Whether this is our part, locked; False where it must be opened anew."""
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise TransferFailed(f"{self.path} is no file of ours; remove it", Reason.STORAGE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise self._busy() from error
        try:
            now = self.path.lstat()
        except FileNotFoundError:
            return False
        if (now.st_dev, now.st_ino) != (found.st_dev, found.st_ino):
            return False
        if now.st_nlink > 1:  # it has another name, as after a crash in `publish`: writing would change that file too
            self.path.unlink()
            return False
        return True

    def _busy(self) -> TransferFailed:
        return TransferFailed(
            f"another transfer to {self._target} is under way; wait for it, then send again", Reason.BUSY
        )

    def cut(self, size: int) -> None:
        """Keep the first `size` bytes only."""
        with storing(self.path):
            os.ftruncate(self.descriptor, size)
        self.size = size

    def append(self, data: bytes) -> None:
        """Write behind what is there."""
        view = memoryview(data)
        with storing(self.path):
            while view:
                written = os.pwrite(self.descriptor, view, self.size)
                self.size += written
                view = view[written:]

    def publish(self, *, force: bool) -> None:
        """Make it the file, all at once, once it is on the disk; `TransferFailed` when another stands there meanwhile."""
        with storing(self.path):
            os.fsync(self.descriptor)
            if force:
                self.path.replace(self._target)
            else:
                self._publish_where_nothing_is()
            sync_folder(self._target.parent)

    def _publish_where_nothing_is(self) -> None:
        try:
            # fails where a name is taken, which rename does not
            os.link(self.path, self._target, follow_symlinks=False)
        except FileExistsError as error:
            raise Destination.exists(self._target) from error
        except OSError:
            self._publish_without_links()
        else:
            self.path.unlink()

    def _publish_without_links(self) -> None:
        """On a file system that has none: the name is taken first, by an empty file, then the part takes its place."""
        try:
            os.close(os.open(self._target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError as error:
            raise Destination.exists(self._target) from error
        try:
            self.path.replace(self._target)
        except BaseException:
            self._target.unlink()
            raise

    def discard(self) -> None:
        """Throw it away."""
        with suppress(OSError):
            self.path.unlink()

    def close(self) -> None:
        """Let go of it; an empty one is not worth keeping."""
        with suppress(OSError):
            if self.size == 0 and self.path.lstat().st_ino == os.fstat(self.descriptor).st_ino:
                self.path.unlink()
        os.close(self.descriptor)


class Source:
    """The file that is sent; it notices when the file changes meanwhile.

    Args:
        path: a regular file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no file, or its name cannot travel.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        try:
            encoded = self.name.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{os.fsencode(path)!r}: the name is no UTF-8; rename the file") from None
        if len(encoded) > MAX_NAME_BYTES:
            raise ValueError(f"{path}: the name is over {MAX_NAME_BYTES} bytes; rename the file")
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self._found = os.fstat(self.descriptor)
        if not stat.S_ISREG(self._found.st_mode):
            os.close(self.descriptor)
            raise ValueError(f"{path} is no regular file: pack a folder first (tar), and pipe into `nautilus connect`")
        self.size = self._found.st_size

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)

    def frame_at(self, offset: int, checksum: hashlib._Hash) -> bytearray:
        """The next piece in its frame; it is added to `checksum`.

        Raises:
            TransferFailed: the file changed, or cannot be read.
        """
        length = min(MAX_DATA, self.size - offset)
        piece = bytearray(HEADER_LENGTH + length)
        piece[:HEADER_LENGTH] = data_header(length)
        with memoryview(piece)[HEADER_LENGTH:] as view:
            done = 0
            while done < length:
                done += self._read_into(view[done:], offset + done)
            checksum.update(view)
        self.check_unchanged()
        return piece

    def _read_into(self, view: memoryview, offset: int) -> int:
        try:
            count = os.preadv(self.descriptor, [view], offset)
        except OSError as error:
            raise TransferFailed(f"cannot read {self.path}: {error.strerror}", Reason.UNREADABLE) from error
        if not count:
            raise self._changed()
        return count

    def check_unchanged(self) -> None:
        """Raise `TransferFailed` when the file is not as it was when it was opened."""
        now = os.fstat(self.descriptor)
        if (now.st_size, now.st_mtime_ns) != (self._found.st_size, self._found.st_mtime_ns):
            raise self._changed()

    def _changed(self) -> TransferFailed:
        return TransferFailed(
            f"{self.path} changed while it was sent; send it again once nobody writes to it", Reason.CHANGED
        )


async def hash_prefix(descriptor: int, length: int, advance: Callable[[int], None]) -> hashlib._Hash:
    """The SHA-256, still open, of a file's first `length` bytes, computed in a thread; of all of a file that is shorter."""
    checksum = hashlib.sha256()

    def block(offset: int) -> int:
        data = os.pread(descriptor, min(_HASH_BLOCK, length - offset), offset)
        checksum.update(data)
        return len(data)

    offset = 0
    while offset < length:
        count = await anyio.to_thread.run_sync(block, offset)
        if not count:
            break
        offset += count
        advance(count)
    return checksum
