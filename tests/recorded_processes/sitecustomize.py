"""What a process of the command does that a test starts under `--record-everything`: it records, and replays at its end.

Python imports this by its name where PYTHONPATH says so. In other processes than the command's it does nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def _record() -> None:
    """Stand in the way of the command's end, which is `os._exit`."""
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.recorded_handshakes import Recording, Seam, report  # noqa: PLC0415  # not in other processes

    recordings: list[Recording] = []

    def begin(profile: object) -> Recording:
        recordings.append(Recording(profile, snapshot=False))  # type: ignore[arg-type]
        return recordings[-1]

    seam = Seam(begin)
    end = os._exit

    def leave(code: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is ending already
        try:
            seam.leave()
            report(recordings, Path(os.environ["NAUTILUS_TESTS_REPORTS"]) / f"{os.getpid()}.json", " ".join(sys.argv))
        finally:
            end(code)

    os._exit = leave  # type: ignore[assignment]


if "NAUTILUS_TESTS_REPORTS" in os.environ and "nautilus_anyio" in sys.orig_argv:
    _record()
