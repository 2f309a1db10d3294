"""The options of a command that listens: how many handshakes at once, how it ends; what it counted, in words.

The limits themselves, and what they do, are in `nautilus_anyio.admission`.
"""

from __future__ import annotations

import argparse
from typing import Final

from ..admission import DEFAULT_LISTENER_LIMITS, ListenerLimits
from ..counters import Counters
from .options import seconds
from .output import Output

_FEWEST: Final = 16
"""However few connections there may be: peers that come at the same moment are not in each other's way."""


def add_limits(parser: argparse.ArgumentParser) -> None:
    """`--max-handshakes`, `--max-handshakes-per-address`, `--grace`."""
    most = DEFAULT_LISTENER_LIMITS.handshakes // 2
    parser.add_argument(
        "--max-handshakes",
        type=int,
        metavar="N",
        help=f"how many in progress at once; who comes then is told to come again (default: half of the connections, {most})",
    )
    parser.add_argument(
        "--max-handshakes-per-address",
        type=int,
        metavar="N",
        help="of these from one IPv4 address or IPv6 /64 (default: no such limit)",
    )
    parser.add_argument(
        "--grace",
        type=seconds,
        metavar="SECONDS",
        help="at the first SIGTERM, SIGHUP or Ctrl-C, time for connections to end by themselves (default: none)",
    )


def limits_from(options: argparse.Namespace, most: int) -> ListenerLimits:
    """What the options say, for at most so many connections: who is silent takes no more than a quarter of them.

    Raises:
        ValueError: for a number that is too small.
    """
    wanted: int | None = getattr(options, "max_handshakes", None)
    of_one: int | None = getattr(options, "max_handshakes_per_address", None)
    for name, number in (("--max-handshakes", wanted), ("--max-handshakes-per-address", of_one)):
        if number is not None and number < 1:
            raise ValueError(f"{name} is at least 1")
    handshakes = max(_FEWEST, most // 2) if wanted is None else wanted
    return ListenerLimits(handshakes=handshakes, handshakes_per_address=of_one, half_open=max(_FEWEST, most // 4))


def note_counters(output: Output, counters: Counters) -> None:
    """What there was, in the end; nothing where nobody came."""
    if not counters.accepted:
        return
    said = [f"{counters.accepted} connections", f"{counters.completed} handshakes completed"]
    said += [f"{number} failed ({name})" for name, number in sorted(counters.failed.items())]
    said += [f"{number} refused ({reason})" for reason, number in sorted(counters.refused.items())]
    output.note(
        ", ".join(said),
        accepted=counters.accepted,
        completed=counters.completed,
        failed=dict(counters.failed),
        refused=dict(counters.refused),
        sessions_failed=dict(counters.sessions_failed),
        handshake_seconds={"sum": counters.durations.sum, "max": counters.durations.max},
    )
