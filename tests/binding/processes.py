"""The command in processes of its own, which are known by the port that they name and are gone after the test."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

NAUTILUS: Final = [sys.executable, "-m", "nautilus_anyio"]
PATIENCE: Final = 40.0


class Running:
    """A `nautilus` that serves, with its notes.

    Attributes:
        port: where it listens; 0 on a Unix socket.
        notes: what it has said since, as JSON objects.
    """

    def __init__(self, *arguments: str | Path | int) -> None:
        command = [*NAUTILUS, *map(str, arguments), "--json"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self._lines: list[str] = []
        said: dict[str, Any] = {}
        while "port" not in said:  # before it, it may say that it has made an identity
            line = self.process.stderr.readline()
            if not line:
                self.process.communicate()
                raise RuntimeError(said)
            said = json.loads(line)
        self.port: int = said["port"]
        self._reader = threading.Thread(target=self._lines.extend, args=(self.process.stderr,))
        self._reader.start()

    @property
    def notes(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self._lines)]

    def files(self) -> int:
        """How many files it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it; returns its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()
        assert not any("Traceback" in line for line in self._lines)
        return code


@contextmanager
def running(*arguments: str | Path | int) -> Iterator[Running]:
    """A `nautilus` that serves until the end of the block, and then ends as it should."""
    process = Running(*arguments)
    try:
        yield process
    except BaseException:
        process.end(signal.SIGKILL)
        raise
    assert process.end() == 130


def eventually(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until `what()` is true."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)


def free_port() -> int:
    """A port on which nobody listens; below those that the system gives out itself, as to another test meanwhile."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
