"""A listener in a process of its own, which says how it is when asked. It measures nothing else, and makes no load.

    python -m tests.reliability.listener '{"backend": "asyncio", "limits": {}}'

It is told what to do on standard input and answers on standard output, JSON, a line each: `how` for its state, `close` to
drain and end. `start` starts one from another process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import SocketAttribute

from nautilus_anyio import ListenerLimits, SecureListener, SecureStream
from nautilus_core import Identity, profiles, trust

HOST: Final = "127.0.0.1"
FILES: Final = 20_000
_FILES_OF_ITS_OWN: Final = 2
"""Those that a look at the list of open files takes: the folder, and on some systems the look itself."""


def raise_file_limit(wanted: int = FILES) -> int:
    """Let this process open `wanted` files, or as many as the system lets it; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


# ------------------------------------------------------------------------------ from outside


class Running:
    """A listener that runs in another process.

    Args:
        process: it.

    Attributes:
        port: where it listens on loopback.
        peer_id: who it is.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        begun = self._answer()
        self.port: int = begun["port"]
        self.peer_id: str = begun["peer_id"]

    def how(self) -> dict[str, Any]:
        """Its state: `rss` and `cpu` in bytes and seconds, `tasks`, `files`, `counters`."""
        return self._ask("how")

    def close(self) -> tuple[dict[str, Any], int]:
        """Drain it and let it end; its last state, and its exit code."""
        last = self._ask("close")
        return last, self._process.wait(30)

    def _ask(self, what: str) -> dict[str, Any]:
        if self._process.stdin is None:
            raise RuntimeError("the listener has no standard input")
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise RuntimeError("the listener has no standard output")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the listener has ended, exit code {self._process.wait(30)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def start(backend: str, **limits: Any) -> Iterator[Running]:
    """A listener with these limits, with warnings as errors; killed at the end where it still runs."""
    settings = json.dumps({"backend": backend, "limits": limits})
    command = [sys.executable, "-W", "error", "-m", __name__, settings]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Running(process)
        finally:
            if process.poll() is None:
                process.kill()


# ------------------------------------------------------------------------------- from inside


def _rss() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def _tasks() -> int:
    if "trio" in sys.modules:
        import trio  # noqa: PLC0415  # only where it runs

        try:
            return trio.lowlevel.current_statistics().tasks_living
        except RuntimeError:
            pass
    return len(asyncio.all_tasks())


def _how(listener: SecureListener) -> dict[str, Any]:
    counters = listener.counters
    return {
        "rss": _rss(),
        "cpu": time.process_time(),
        "tasks": _tasks(),
        "files": len(os.listdir("/proc/self/fd")) - _FILES_OF_ITS_OWN,  # noqa: PTH208  # a path object for each is slow
        "counters": {
            "accepted": counters.accepted,
            "half_open": counters.half_open,
            "in_progress": counters.in_progress,
            "completed": counters.completed,
            "failed": dict(counters.failed),
            "refused": dict(counters.refused),
            "sessions": counters.sessions,
            "sessions_failed": dict(counters.sessions_failed),
            "longest": counters.durations.max,
        },
    }


async def _echo(stream: SecureStream) -> None:
    async for data in stream:
        await stream.send(data)


def _say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


async def _serve(limits: ListenerLimits, timeout: float) -> None:
    own = Identity.generate()
    profile = profiles.nautilus(identity=own, trust=trust.anyone())
    below = await anyio.create_tcp_listener(local_host=HOST)
    listener = SecureListener(below, profile, timeout=timeout, limits=limits)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, _echo)
        await anyio.to_thread.run_sync(_nothing)  # the worker thread, and its files, are there from now on
        _say(port=below.extra(SocketAttribute.local_port), peer_id=own.peer_id)
        while await anyio.to_thread.run_sync(sys.stdin.readline) == "how\n":
            _say(**_how(listener))
        await listener.aclose(grace=1)
        await anyio.sleep(0.05)  # for the system to close what was closed
        _say(**_how(listener))


def _nothing() -> None:
    pass


def main(settings: dict[str, Any]) -> None:
    """Listen until told otherwise."""
    raise_file_limit()
    logging.getLogger("nautilus_anyio").addHandler(logging.NullHandler())
    limits = dict(settings["limits"])
    timeout = limits.pop("timeout", 60.0)
    anyio.run(_serve, ListenerLimits(**limits), timeout, backend=settings["backend"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
