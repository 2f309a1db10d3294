"""The check of a transcript without secrets: framing, messages before encryption, order, sizes, alerts. No engine runs."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

from .. import alerts
from ..errors import ALERTS, AlertCode, HandshakeError, InvalidMessage
from ..frames import ALERT, CONTROL, HANDSHAKE, HEADER_LENGTH, SEALED_ALERT
from ..profile import Profile
from ..role import Role
from ..steplist import AnyStep
from .lines import Completed, End, Failed, Frame, Received, Sent
from .reader import Transcript
from .report import ReplayDiverged, ReplayReport

_NAMES = {error.__name__: codes for error, codes in ALERTS.items()}


def check_profile(transcript: Transcript, profile: Profile) -> None:
    """Raise `ReplayDiverged` unless the transcript was made with a profile of this name and list of steps."""
    header = transcript.header
    if header.profile != profile.name:
        raise ReplayDiverged(f"the profile {header.profile!r}", repr(profile.name), line=1)
    if header.steps != profile.outline.descriptions:
        for one, other in zip((*header.steps, None), (*profile.outline.descriptions, None), strict=False):
            if one != other:
                raise ReplayDiverged(f"a list of steps with {one}", str(other), line=1)


def check_public(transcript: Transcript, profile: Profile) -> ReplayReport:
    """Check all that shows without secrets; raises `ReplayDiverged` at the first difference."""
    return _Check(transcript, profile).run()


def sums(transcript: Transcript, end: End) -> Iterator[tuple[str, str]]:
    """What its last line says of the outcome, and of all bytes in either direction; and what they are."""
    kinds = {type(line) for line in transcript.lines}
    outcome = "failed" if Failed in kinds else "completed" if Completed in kinds else "open"
    yield f"the outcome {end.outcome}", f"the outcome {outcome}"
    for kind, direction, count, check in (
        (Received, "in", end.received, end.received_check),
        (Sent, "out", end.sent, end.sent_check),
    ):
        data = [line.data for line in transcript.lines if isinstance(line, kind)]
        size, found = sum(map(len, data)), crc32(b"".join(data))
        yield _sum(count, direction, check), _sum(size, direction, found)


def _sum(count: int, direction: str, check: int) -> str:
    return f"{count} bytes {direction} whose CRC-32 is {check:08x}"


class _Check:
    """One check: takes frames out of both directions in the order in which they were accepted."""

    def __init__(self, transcript: Transcript, profile: Profile) -> None:
        self._transcript = transcript
        self._role = transcript.header.role
        self._number = self._flight = 0
        self._steps: dict[str, AnyStep] = {step.name: step for step in profile.make_steps()}
        self._order = [step.name for step in self._steps.values()]
        self._inserted = {name for step in self._steps.values() for name in step.inserts}
        self._reached = 0
        self._sealed: dict[Role, bool] = dict.fromkeys(Role, False)
        self._decoded = self._frames = self._alerts = 0
        self._bytes = {role: self._stream(role) for role in Role}
        self._totals = {role: len(data) for role, data in self._bytes.items()}

    def _stream(self, sender: Role) -> bytes:
        kind = Sent if sender is self._role else Received
        lines = self._transcript.lines
        return b"".join(line.data for line in lines if isinstance(line, kind) and not line.channel)

    def run(self) -> ReplayReport:
        lines = self._transcript.lines
        messages: list[str] = []
        for number, line in enumerate(lines, 2):
            self._number = number
            match line:
                case Received() | Sent():
                    self._check_flight(line)
                case Frame():
                    self._check_frame(line)
                    messages.append(line.step)
                case Completed():
                    names = list(dict.fromkeys(messages))
                    self._expect(list(line.steps) == names, f"the steps {list(line.steps)}", str(names))
                case Failed():
                    self._check_error(line)
                case End():
                    for expected, got in sums(self._transcript, line):
                        self._expect(expected == got, expected, got)
        return self._report()

    def _expect(self, good: bool, expected: str, got: str, step: str | None = None, byte: int | None = None) -> None:
        if not good:
            raise ReplayDiverged(expected, got, line=self._number, flight=self._flight, step=step, byte=byte)

    def _check_flight(self, line: Received | Sent) -> None:
        good = line.flight in (self._flight, self._flight + 1)
        self._expect(good, f"flight {line.flight}", f"the flight after {self._flight}")
        self._flight = line.flight

    def _check_frame(self, line: Frame) -> None:
        self._check_place(line)
        data = self._bytes[line.sender]
        later = {"nautilus/1": self._nautilus, "length-prefixed": self._prefixed}.get(self._transcript.header.framing)
        self._expect(len(data) >= line.size, f"{line.size} bytes", f"{len(data)} bytes", line.step)
        frame, self._bytes[line.sender] = data[: line.size], data[line.size :]
        if later is not None:
            later(line, frame)
        self._frames += 1

    def _check_place(self, line: Frame) -> None:
        """The list is run in order; steps that a suite inserts stand where they come."""
        if line.step not in self._steps:
            self._expect(line.step in self._inserted, f"the step {line.step!r}", "no such step", line.step)
            return
        place = self._order.index(line.step)
        self._expect(place >= self._reached, f"{line.step!r} here", f"it stands before {self._order[self._reached]!r}")
        self._reached = place
        step = self._steps[line.step]
        good = step.multi_message or step.sender is line.sender
        self._expect(good, f"a message of the {line.sender.value}", f"one of the {step.sender.value}", line.step)

    def _nautilus(self, line: Frame, frame: bytes) -> None:
        head, body = frame[:HEADER_LENGTH], frame[HEADER_LENGTH:]
        good = len(head) == HEADER_LENGTH and head[0] == HANDSHAKE and int.from_bytes(head[1:], "big") == len(body)
        self._expect(good, f"a message of {line.size} bytes", f"the header {head.hex(' ')}", line.step, self._at(line))
        if line.sealed or line.step not in self._steps:
            return
        try:
            self._steps[line.step].decode(body)
        except InvalidMessage as error:
            self._expect(False, f"the message {line.step!r}", str(error), line.step, self._at(line))
        self._decoded += 1

    def _prefixed(self, line: Frame, frame: bytes) -> None:
        good = len(frame) > 1 and int.from_bytes(frame[:2], "big") == len(frame) - 2
        self._expect(
            good, f"a message of {line.size} bytes", f"the prefix {frame[:2].hex()}", line.step, self._at(line)
        )

    def _at(self, line: Frame) -> int:
        """Where the frame begins among all that its sender sent."""
        return self._totals[line.sender] - len(self._bytes[line.sender]) - line.size

    def _check_error(self, line: Failed) -> None:
        codes = _NAMES.get(line.error)
        if codes is not None and line.alert is not None:
            self._expect(line.alert in codes or line.alert > 255, f"the alert {line.alert}", f"those of {line.error}")
        if self._transcript.header.framing != "nautilus/1" or line.channel:
            return
        if line.code is not None:
            kind, code = self._alert(self._bytes[self._role.peer], line)
            self._expect(kind is not None, f"the peer's alert {line.code}", "no alert")
            self._expect(code in (None, line.code), f"the peer's alert {line.code}", f"{code}")
        else:
            rest = self._bytes[self._role]
            kind, code = self._alert(rest, line)
            alert = AlertCode.INTERNAL_ERROR if line.alert is None else line.alert
            self._expect(not rest or kind is not None, f"the alert {alert}", rest[:16].hex(" "))
            self._expect(code in (None, alert), f"the alert {alert}", f"{code}")
            self._bytes[self._role] = b""

    def _alert(self, data: bytes, failed: Failed) -> tuple[int | None, int | None]:
        """The type of the alert frame in which `data` begins, and its code where it is not sealed.

        A step of several messages may have had last words, as TLS has: what its own protocol says of the failure.
        """
        step = self._steps.get(failed.step or "")
        last_words = step is not None and step.multi_message
        for kind, frame in _frames(data):
            if kind == HANDSHAKE and last_words:
                last_words = False
                continue
            if kind == SEALED_ALERT:
                self._alerts += 1
                return kind, None
            if kind == ALERT:
                self._alerts += 1
                try:
                    error = alerts.decode(frame[HEADER_LENGTH:], authenticated=False)
                except HandshakeError as broken:
                    self._expect(False, "an alert", str(broken))
                else:
                    return kind, error.code
            break
        return None, None

    def _report(self) -> ReplayReport:
        header, lines = self._transcript.header, self._transcript.lines
        outcome = next((line.outcome for line in lines if isinstance(line, End)), "open")
        left = {role: len(data) for role, data in self._bytes.items() if data}
        own = self._bytes[self._role]
        if outcome == "completed" and header.framing == "nautilus/1":
            good = not own or (self._role is Role.RESPONDER and own[0] == CONTROL)
            self._expect(good, "nothing after the last message but the acceptance", own[:16].hex(" "))
        sealed = self._frames - self._decoded
        missing = [f"the content of {sealed} messages that are sealed, or have no structure"] if sealed else []
        missing += [f"{size} bytes of the {role.value} that are no accepted message" for role, size in left.items()]
        return ReplayReport(
            role=header.role,
            profile=header.profile,
            outcome=outcome,
            full=False,
            received=self._totals[self._role.peer],
            sent=self._totals[self._role],
            messages=self._frames,
            events=self._alerts,
            checked=(
                f"the order and size of {self._frames} messages",
                f"{self._decoded} of them decoded",
                f"{self._alerts} alerts",
                f"{self._flight} flights and their sums",
            ),
            not_checked=tuple(missing),
        )


def _frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The frames of `nautilus/1` that are whole."""
    while len(data) >= HEADER_LENGTH:
        end = HEADER_LENGTH + int.from_bytes(data[1:HEADER_LENGTH], "big")
        if len(data) < end:
            return
        yield data[0], data[:end]
        data = data[end:]
