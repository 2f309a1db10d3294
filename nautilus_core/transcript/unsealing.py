"""The keys of a recorded handshake of `nautilus/1`, from the secrets in its transcript: to look at what was sealed.

Only the keys of the handshake are derived here, never those of the session.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..crypto.groups import GROUPS
from ..crypto.key_log import KeyLog
from ..crypto.key_schedule import KeySchedule
from ..crypto.suites import SUITES
from ..crypto.traffic_key import TrafficKey
from ..errors import HandshakeError
from ..role import INITIATOR, Role
from ..step import Message
from ..steps.cipher_suite import SuiteSelection
from ..steps.hello import Hello
from ..steps.key_agreement import InitiatorShare, ResponderShare, RetriedShare
from ..steps.psk import PskSelection
from .lines import Drawn
from .reader import Transcript
from .tape import ReplayingEntropy, drawn

_NOT_KEYS = ("random", "signature", "exchange", "extraction", "tls")


def handshake_keys(transcript: Transcript, messages: Iterable[tuple[bytes, Message | None]]) -> dict[Role, TrafficKey]:
    """The key of each sender; empty where the secrets, or the messages, do not yield any.

    Args:
        transcript: recorded with its secrets.
        messages: those before encryption, in order: the frame and what it holds.
    """
    schedule = _schedule(transcript, messages, None)
    return {} if schedule is None else {role: schedule.handshake_key(role) for role in Role}


def handshake_key_log(transcript: Transcript, messages: Iterable[tuple[bytes, Message | None]]) -> list[bytes]:
    """The same as the lines of a key log; none where the secrets do not yield any."""
    lines: list[bytes] = []
    messages = list(messages)
    log = KeyLog(lines.append)
    log.hello_random = next((message.nonce for _, message in messages if isinstance(message, Hello)), log.hello_random)
    schedule = _schedule(transcript, messages, log)
    if schedule is not None:
        for role in Role:
            schedule.handshake_key(role)
    return lines


def _schedule(
    transcript: Transcript, messages: Iterable[tuple[bytes, Message | None]], log: KeyLog | None
) -> KeySchedule | None:
    frames: list[bytes] = []
    shares: list[InitiatorShare | RetriedShare] = []
    suite, psk = None, None
    for frame, message in messages:
        frames.append(frame)
        match message:
            case SuiteSelection():
                suite = SUITES.get(message.suite)
            case InitiatorShare() | RetriedShare():
                shares.append(message)
            case PskSelection():
                psk = message.index
            case ResponderShare() if suite is not None:
                try:
                    secret = _secret(transcript, shares, message)
                    early = b"" if psk is None else _early_secret(transcript, psk)
                except (ValueError, TypeError, LookupError, HandshakeError):  # such a transcript does not replay either
                    return None
                content = suite.hash.digest(b"".join(frames))
                return KeySchedule(suite, secret, content, log, early_secret=early)
    return None


def _secret(transcript: Transcript, shares: list[InitiatorShare | RetriedShare], response: ResponderShare) -> bytes:
    """What the key agreement came to, by the ephemeral keys on the tape."""
    lines = [line for line in transcript.lines if isinstance(line, Drawn) and line.what not in _NOT_KEYS]
    entropy = ReplayingEntropy(map(drawn, lines))
    group = GROUPS[response.group]
    if transcript.header.role is not INITIATOR:
        return group.encapsulate(entropy, shares[-1].public)[0]
    keys = [GROUPS[share.group].generate(entropy)[0] for share in shares if share.group is not None]
    return group.decapsulate(keys[-1], response.public)


def _early_secret(transcript: Transcript, index: int) -> bytes:
    """Of the pre-shared key that was selected: an initiator extracts from each that it offers, a responder from that alone."""
    extracted = [line.data for line in transcript.lines if isinstance(line, Drawn) and line.what == "extraction"]
    return extracted[index if transcript.header.role is INITIATOR else 0]
