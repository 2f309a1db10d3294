"""What the tests of transfers share: two ends that have met, quiet reporters, and the command in processes of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from nautilus_anyio import SecureStream, connect
from nautilus_anyio.cli.output import Output
from nautilus_anyio.cli.transfer.report import Bars, Outcome, Reporter

from .helpers import initiator, listening, responder

NAUTILUS: Final = (sys.executable, "-m", "nautilus_anyio")
MIB: Final = 1 << 20


class Watching(Reporter):
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        output = Output(quiet=True)
        super().__init__(output, Bars(output))
        self.outcomes: list[Outcome] = []
        self.notes: list[str] = []

    def finished(self, outcome: Outcome) -> None:
        assert self.done == self.total
        self.end()
        self.outcomes.append(outcome)

    def note(self, text: str, **fields: object) -> None:
        self.notes.append(text)


@asynccontextmanager
async def met() -> AsyncIterator[tuple[SecureStream, SecureStream]]:
    """Two ends of one secure stream over loopback."""
    arrived, leaving = anyio.Event(), anyio.Event()
    streams: list[SecureStream] = []

    async def handler(stream: SecureStream) -> None:
        streams.append(stream)
        arrived.set()
        await leaving.wait()

    async with listening(responder(), handler) as port:
        here = await connect("127.0.0.1", port, initiator())
        await arrived.wait()
        try:
            yield here, streams[0]
        finally:
            leaving.set()
            await here.aclose()


def start(folder: Path, *arguments: str | Path | int) -> subprocess.Popen[str]:
    """The command in a process of its own, in `folder`."""
    return subprocess.Popen(
        [*NAUTILUS, *map(str, arguments)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], word: str) -> str:
    """The first line on standard error, which must have `word`."""
    if process.stderr is None or word not in (line := process.stderr.readline()):
        process.kill()
        raise RuntimeError(f"expected {word!r}, got {process.communicate()}")
    return line


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a process that ends; no traceback is among them."""
    out, err = process.communicate(timeout=60)
    if "Traceback" in err or "Traceback" in out:
        raise AssertionError(err)
    return process.returncode, out, err
