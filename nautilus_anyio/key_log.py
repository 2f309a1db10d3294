"""A key log in a file: a line for each traffic secret, for analysis with other tools. What the lines say is the core's."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Final, TypeAlias

from .errors import in_words
from .stores import StoreError

_log: Final = logging.getLogger("nautilus_anyio.transcript")

FilePath: TypeAlias = str | os.PathLike[str]


class KeyLogFile:
    """Appends to a file that only its owner can read, which is made where it is missing.

    It is opened for each line: a channel may live for days, and a listener have thousands, while secrets are few. What cannot
    be written ends the log of its handshake, with a warning, and nothing else.

    Raises:
        StoreError: others can read the file.
        OSError: it cannot be written.
    """

    def __init__(self, path: FilePath) -> None:
        self._path = Path(path)
        os.close(self._open())

    def __repr__(self) -> str:
        return f"KeyLogFile({str(self._path)!r})"

    def __call__(self, line: bytes) -> None:
        """Append one line, in one write, so that several processes can share the file."""
        try:
            descriptor = self._open()
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            _log.warning("the key log %s stopped: %s", self._path, in_words(error))
            raise

    def _open(self) -> int:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077:
            os.close(descriptor)
            raise StoreError(f"{self._path}: others can read this key log: chmod 600 {self._path}")
        return descriptor


def log_to(path: FilePath | None) -> KeyLogFile | None:
    """A key log in the file `path`, where there is one."""
    return None if path is None else KeyLogFile(path)
