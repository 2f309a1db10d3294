"""What a recorded handshake is made of, and how it is made again. No transcript is read here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

from nautilus_core import INITIATOR, RESPONDER, ChannelBindings, Handshake, Profile, Role
from nautilus_core.testing import Pair
from nautilus_core.transcript import Recorder

FOLDER: Final = Path(__file__).parent / "recorded"

Make = Callable[[], Profile]
DEADLINE: Final = 5.0
NOW: Final = datetime(2026, 8, 1, 12, tzinfo=UTC)
"""The date and time of all of them."""


@dataclass(frozen=True)
class Case:
    """A handshake of which both ends are recorded.

    Args:
        what: what there is to see in it.
        initiator: makes the initiator's profile.
        responder: likewise.
        before: done to both engines before they meet.
        use: done with the pair once nothing moves.
        secrets: whether the transcripts have the secrets.
        bindings: what each end knows of the channel below.
        options: of the `Pair`: `answer`, `tamper`, `split`, `close`.
    """

    what: str
    initiator: Make
    responder: Make
    before: Callable[[Handshake, Handshake], object] | None = None
    use: Callable[[Pair], object] | None = None
    secrets: bool = True
    bindings: Mapping[Role, ChannelBindings] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def profile(self, role: Role) -> Profile:
        """What `role` had."""
        return self.initiator() if role is INITIATOR else self.responder()

    def record(self) -> dict[Role, bytes]:
        """Run it; the transcript of each end. The time in it is a simulated one."""
        files: dict[Role, list[bytes]] = {role: [] for role in Role}
        clock = count(1)
        recorders = {
            role: Recorder(
                files[role].append,
                clock=lambda: next(clock) / 1000,
                dangerously_record_secrets=self.secrets,
                whole_channel=True,
            )
            for role in Role
        }
        engines = {
            role: Handshake(
                role,
                self.profile(role),
                deadline=DEADLINE,
                wall_time=NOW,
                recorder=recorders[role],
                channel_bindings=self.bindings.get(role),
            )
            for role in Role
        }
        if self.before is not None:
            self.before(engines[INITIATOR], engines[RESPONDER])
        pair = Pair(engines[INITIATOR], engines[RESPONDER], **self.options).run()
        if self.use is not None:
            self.use(pair)
        for recorder in recorders.values():
            recorder.close()
            if recorder.error is not None:
                raise recorder.error
        return {role: b"".join(file) for role, file in files.items()}


def path_of(name: str, role: Role) -> Path:
    """Where the transcript of one end is kept."""
    return FOLDER / f"{name}.{role.value}.jsonl"
