"""A flood of peers that do not go on, from a process of its own; it counts what it did, and nothing else.

    python -m tests.reliability.attack PORT RATE SECONDS HEX [SOURCE ...]

So many connections a second, each from the next of the SOURCE addresses, each of which sends HEX (nothing, or a first flight)
and then only waits. It keeps as many open as it may, and closes the oldest then. On standard output it says that it begins,
and in the end how many it made, and in how many seconds: JSON, a line each.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from itertools import cycle
from typing import Final

from .listener import HOST, raise_file_limit
from .peers import dial, send

_TICK: Final = 0.01
_CONNECTING: Final = 0.05
"""Seconds after which a connection on loopback is there, or its listener does not keep up."""

_OTHER_FILES: Final = 64


def flood(port: int, rate: float, seconds: float, words: bytes, sources: Sequence[str] = (HOST,)) -> tuple[int, float]:
    """Make the flood; how many connections, in how many seconds."""
    most = raise_file_limit() - _OTHER_FILES
    from_where = cycle(sources)
    there: deque[socket.socket] = deque()
    dialing: deque[tuple[float, socket.socket]] = deque()
    begun = now = time.monotonic()
    made = 0
    while now - begun < seconds:
        while made < (now - begun) * rate:
            if len(there) + len(dialing) >= most:
                (there.popleft() if there else dialing.popleft()[1]).close()
            dialing.append((now, dial(port, next(from_where))))
            made += 1
        while dialing and now - dialing[0][0] >= _CONNECTING:
            peer = dialing.popleft()[1]
            send(peer, words)
            there.append(peer)
        time.sleep(_TICK)
        now = time.monotonic()
    for peer in (*there, *[peer for _, peer in dialing]):
        peer.close()
    return made, now - begun


def main(arguments: Sequence[str]) -> None:
    """As a command."""
    port, rate, seconds, words, *sources = arguments
    print(json.dumps({"begun": True}), flush=True)
    made, took = flood(int(port), float(rate), float(seconds), bytes.fromhex(words), sources or (HOST,))
    print(json.dumps({"made": made, "seconds": took}))


if __name__ == "__main__":
    main(sys.argv[1:])
