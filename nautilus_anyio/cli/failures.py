"""Notes of connections that failed, for who listens: many at once from one place are two notes, not many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from .output import Output

_TOGETHER: Final = 2.0
"""Seconds within which failures from one host belong together, as those of `nautilus inspect` do."""
_MOST_HOSTS: Final = 256


@dataclass(slots=True)
class _Host:
    """One host from which connections have failed.

    Attributes:
        until: when it counts as quiet, on the event loop's clock.
        more: how many have failed since the first, which was noted.
        last: what became of the last of them.
    """

    until: float
    more: int = 0
    last: str = ""


class FailureNotes:
    """Notes failures: the first from a host at once, those that follow at its heels as one, when it is quiet again.

    A program that reads notes (`--json`) gets each of them.

    Args:
        output: where they are noted.
        tasks: where the waiting for quiet runs.
    """

    def __init__(self, output: Output, tasks: TaskGroup) -> None:
        self._output = output
        self._tasks = tasks
        self._hosts: dict[str, _Host] = {}

    def note(self, text: str, remote: object, /, **fields: Any) -> None:
        """A connection from `remote`, an address as its socket has it, has failed: `text` says how."""
        host = str(remote[0]) if isinstance(remote, tuple) and remote else ""
        if self._output.as_json or not host or (host not in self._hosts and len(self._hosts) >= _MOST_HOSTS):
            self._output.note(text, **fields)
            return
        until = anyio.current_time() + _TOGETHER
        known = self._hosts.get(host)
        if known is None:
            self._output.note(text, **fields)
            self._hosts[host] = _Host(until)
            self._tasks.start_soon(self._until_quiet, host)
        else:
            known.until, known.more, known.last = until, known.more + 1, text

    async def _until_quiet(self, host: str) -> None:
        known = self._hosts[host]
        try:
            while (left := known.until - anyio.current_time()) > 0:
                await anyio.sleep(left)
        finally:
            del self._hosts[host]
            if known.more == 1:
                self._output.note(known.last)
            elif known.more:
                self._output.note(f"{known.more} more connections from {host} failed, the last one so: {known.last}")
