"""How a transcript is shown in the report of a test."""

from __future__ import annotations

from nautilus_core.role import INITIATOR, Role
from nautilus_core.transcript import AnyLine, Transcript
from nautilus_core.transcript.lines import Aborted, Completed, Failed, Frame, Happened, Received, Sent, TimedOut


def ladder(transcript: Transcript) -> str:
    """What happened, a line for each message, event and error; arrows from the initiator point to the right."""
    header = transcript.header
    steps = [f"{header.profile}, seen by the {header.role.value}"]
    steps += [shown for line in transcript.lines if (shown := _shown(line, header.role)) is not None]
    return "\n".join(steps)


def _shown(line: AnyLine, role: Role) -> str | None:
    shown = None
    match line:
        case Frame():
            arrow = "-->" if line.sender is INITIATOR else "<--"
            shown = f"{arrow} {line.step} ({line.size} bytes{', sealed' if line.sealed else ''})"
        case Completed():
            shown = f"=== complete: {line.suite}, peer {line.peer}"
        case Failed():
            shown = f"!!! {line.error}" + (f" in {line.step}: {line.message}" if line.message is not None else "")
        case Happened():
            shown = f"    {line.event}"
        case Aborted():
            shown = f"!!! given up: {line.reason}"
        case TimedOut():
            shown = "!!! the deadline has passed"
        case Received() if not line.data:
            shown = f"    the {role.peer.value}'s stream has ended"
        case Sent() if line.channel:
            shown = f"    {len(line.data)} bytes sent over the channel"
    return None if shown is None else f"  {shown}"
