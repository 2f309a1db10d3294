"""A transfer between two processes that are killed at random, and started again until the file is there.

`python -m tests.binding.transfer_soak --size 2048` is the long run; the suite has a short one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nautilus_anyio import save_identity
from nautilus_core import Identity

from .processes import free_port
from .transfers import MIB, end, start, wait_for

MAX_ATTEMPTS: Final = 200
MEMORY_LIMIT: Final = 100 * MIB


@dataclass
class Soak:
    """One transfer of `size` MiB, with `kills` of either side by SIGKILL on the way.

    Args:
        folder: where the files are; the copy arrives in its `inbox`.
        size: of the file, in MiB.
        kills: how many.
        seed: of the file's content and of the moments.
        backend: "asyncio" or "trio".
    """

    folder: Path
    size: int
    kills: int
    seed: int
    backend: str
    killed: dict[str, int] = field(default_factory=lambda: {"sender": 0, "receiver": 0})
    attempts: int = 0
    resumed_at: list[int] = field(default_factory=list)
    peak: dict[str, int] = field(default_factory=lambda: {"sender": 0, "receiver": 0})

    def run(self) -> None:
        """Go on until both processes say that it is done; raises `AssertionError` where something is not as it must be."""
        self._random = random.Random(self.seed)
        self._source = self.folder / "file.bin"
        self._inbox = self.folder / "inbox"
        self._inbox.mkdir()
        self._target = self._inbox / "file.bin"
        self._part = self._inbox / ".file.bin.part"
        digest = self._make()
        while not self._attempt() or sum(self.killed.values()) < self.kills:
            if self._target.exists():
                if _digest(self._target) != digest:
                    raise AssertionError("what stands under the final name is not the file")
                if sum(self.killed.values()) < self.kills:  # it was quicker than the next kill: once more
                    self._target.unlink()
            if self.attempts > MAX_ATTEMPTS:
                raise AssertionError("it does not come to an end")
        if _digest(self._target) != digest:
            raise AssertionError("the checksum is wrong")
        if list(self._inbox.iterdir()) != [self._target]:
            raise AssertionError("something is left over")
        if max(self.peak.values()) > MEMORY_LIMIT:
            raise AssertionError(f"too much memory: {self.peak}")

    def _make(self) -> str:
        checksum = hashlib.sha256()
        with self._source.open("wb") as file:
            for _ in range(self.size):
                block = self._random.randbytes(MIB)
                checksum.update(block)
                file.write(block)
        return checksum.hexdigest()

    def _attempt(self) -> bool:
        self.attempts += 1
        port = free_port()
        common = ("--trust", "anyone", "--json", "--backend", self.backend)
        receiver = start(self.folder, "receive", port, "--directory", "inbox", *common)
        wait_for(receiver, "listening")
        sender = start(self.folder, "send", "file.bin", port, *common)
        processes = {"sender": sender, "receiver": receiver}
        self._watch(processes)
        if sender.poll() is not None and receiver.poll() is None:
            try:
                receiver.wait(3)
            except subprocess.TimeoutExpired:  # the sender was killed before it had met the receiver, which waits on
                receiver.kill()
        ended = {name: end(process) for name, process in processes.items()}
        for name, (code, _, err) in ended.items():
            if code not in (0, 3, 4, -9):
                raise AssertionError(f"{name} ended with {code}: {err}")
        resumed = [line["at"] for line in map(json.loads, ended["receiver"][2].splitlines()) if "at" in line]
        self.resumed_at.extend(resumed)
        return not any(code for code, _, _ in ended.values())

    def _watch(self, processes: dict[str, subprocess.Popen[str]]) -> None:
        """Sample the memory of both; kill one of them once a random share of what is left has come, or after a while."""
        armed = sum(self.killed.values()) < self.kills
        fewest = min(self.killed.values())
        victim = self._random.choice([name for name, count in self.killed.items() if count == fewest])
        before = self._come()
        size = before + self._random.uniform(0.02, 0.6) * (self.size * MIB - before)
        early = self._random.random() < 0.2
        moment = time.monotonic() + self._random.uniform(0.0, 0.6)
        while all(process.poll() is None for process in processes.values()):
            for name, process in processes.items():
                self.peak[name] = max(self.peak[name], _peak_memory(process.pid))
            if armed and (time.monotonic() > moment if early else self._come() > size):
                armed = False
                processes[victim].kill()
                self.killed[victim] += 1
            time.sleep(0.002)

    def _come(self) -> int:
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            return 0


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _peak_memory(process: int) -> int:
    """The most memory that a process has held so far, in bytes; 0 once it is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0][1]) * 1024 if lines else 0


def main() -> None:
    """The long run."""
    parser = argparse.ArgumentParser(description="Transfer a file between two processes that are killed at random.")
    parser.add_argument("--size", type=int, default=2048, metavar="MIB", help="default: 2048")
    parser.add_argument("--kills", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CONFIG_HOME"] = folder
        (Path(folder) / "nautilus").mkdir()
        save_identity(Path(folder) / "nautilus" / "identity.pem", Identity.generate())
        soak = Soak(Path(folder), options.size, options.kills, options.seed, options.backend)
        started = time.perf_counter()
        soak.run()
        seconds = time.perf_counter() - started
    print(
        f"{options.size} MiB on {options.backend}: checksum right after {soak.attempts} attempts and {seconds:.0f} s; "
        f"killed: {soak.killed}; went on from MiB {[round(at / MIB) for at in soak.resumed_at]}; "
        f"peak memory in MiB: { {name: round(peak / MIB) for name, peak in soak.peak.items()} }"
    )


if __name__ == "__main__":
    main()
