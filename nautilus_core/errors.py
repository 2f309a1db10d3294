"""The error tree, the alert codes, and the one table between them. No step and no engine lives here.

Whatever bytes from the peer cause is a `HandshakeError`; misuse by the caller is a `LocalProtocolError`, which bytes
from the peer can never cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from traceback import clear_frames
from types import MappingProxyType
from typing import ClassVar, Final, Literal


class AlertCode(IntEnum):
    """What an alert says. Numbers below 128 are TLS's (RFC 8446 section 6) where TLS has the notion; ours start at 224."""

    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    RECORD_OVERFLOW = 22
    HANDSHAKE_FAILURE = 40
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70
    INTERNAL_ERROR = 80
    USER_CANCELED = 90
    CERTIFICATE_REQUIRED = 116
    NO_APPLICATION_PROTOCOL = 120
    STEP_LIST_MISMATCH = 224
    BAD_KEY_SHARE = 225
    BAD_FINISHED = 226
    TIMEOUT = 227
    TRUNCATED = 228
    BUSY = 229
    CHANNEL_BINDING = 230


FIRST_APPLICATION_CODE: Final = 256
LAST_APPLICATION_CODE: Final = 65_535

_MEANING: Final[Mapping[int, str]] = MappingProxyType(
    {
        AlertCode.UNEXPECTED_MESSAGE: "it did not expect that message",
        AlertCode.BAD_RECORD_MAC: "it could not open a sealed message: altered on the way, or the keys differ",
        AlertCode.RECORD_OVERFLOW: "a message was over its limits",
        AlertCode.HANDSHAKE_FAILURE: "no cipher suite, signature scheme or credential type in common",
        AlertCode.BAD_CERTIFICATE: "the credential is malformed or not usable",
        AlertCode.UNSUPPORTED_CERTIFICATE: "the certificate is for another purpose, or of a kind that it does not take",
        AlertCode.CERTIFICATE_REVOKED: "the certificate was revoked",
        AlertCode.CERTIFICATE_EXPIRED: "the certificate has expired, or is not yet valid",
        AlertCode.CERTIFICATE_UNKNOWN: "the certificate is not acceptable",
        AlertCode.ILLEGAL_PARAMETER: "a message held a value that is not allowed there",
        AlertCode.UNKNOWN_CA: "the certificate comes from an authority that it does not trust",
        AlertCode.ACCESS_DENIED: "its trust policy refused us",
        AlertCode.DECODE_ERROR: "it could not decode a message",
        AlertCode.DECRYPT_ERROR: "the proof of possession did not verify",
        AlertCode.PROTOCOL_VERSION: "no protocol version in common",
        AlertCode.INTERNAL_ERROR: "an error of its own",
        AlertCode.USER_CANCELED: "its application gave up",
        AlertCode.CERTIFICATE_REQUIRED: "it wants a certificate, and we showed none",
        AlertCode.NO_APPLICATION_PROTOCOL: "no application protocol in common",
        AlertCode.STEP_LIST_MISMATCH: "the two lists of steps do not fit together",
        AlertCode.BAD_KEY_SHARE: "a key share is not valid",
        AlertCode.BAD_FINISHED: "the Finished MAC differs: the two ends did not see the same handshake",
        AlertCode.TIMEOUT: "the handshake took too long",
        AlertCode.TRUNCATED: "the stream ended in the middle",
        AlertCode.BUSY: "it is busy",
        AlertCode.CHANNEL_BINDING: "the two ends are not bound to one TLS connection",
    }
)


def alert_meaning(code: int) -> str:
    """What an alert `code` says, in words; codes of applications and of later versions are named by number."""
    if code in _MEANING:
        return _MEANING[code]
    kind = "application code" if code >= FIRST_APPLICATION_CODE else "unknown code"
    return f"{kind} {code}"


def one_line(text: str) -> str:
    """`text` with what does not print escaped, as Python writes it: what a peer says must not command a terminal or a log."""
    if text.isprintable():
        return text
    return "".join([letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text])


class LocalProtocolError(Exception):
    """The caller misused the API. Never caused by bytes from the peer."""


class HandshakeError(Exception):
    """The base of everything that a peer, or the time it takes, can make of a handshake or its channel.

    Args:
        message: what is wrong, in a few words.
        expected: what was expected instead.
        received: what came. Never a secret.
        hint: the likely cause, where one can be guessed.
        alert: what the peer is told: a code of this class's row in `ALERTS`, or an application's (256 to 65535).
        step: in which step; the engine fills it in.

    Attributes:
        retryable: whether trying again can help.
        peer_id: of who had proved its key when the handshake failed, as somebody whom the trust policy or a step refuses; the
            engine fills it in. None where nobody had.

    Raises:
        ValueError: when `alert` belongs to another class.
    """

    retryable: bool = False
    peer_id: str | None = None

    def __init__(
        self,
        message: str,
        *,
        expected: str | None = None,
        received: str | None = None,
        hint: str | None = None,
        alert: int | None = None,
        step: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.received = received
        self.hint = hint
        self.step = step
        self.alert = self._alert_for(alert)

    @classmethod
    def _alert_for(cls, alert: int | None) -> int:
        codes = next(ALERTS[base] for base in cls.__mro__ if base in ALERTS)
        if alert is None:
            return codes[0]
        if isinstance(alert, int) and (alert in codes or FIRST_APPLICATION_CODE <= alert <= LAST_APPLICATION_CODE):
            return alert
        raise ValueError(
            f"alert {alert} does not belong to {cls.__name__}; use {list(map(int, codes))} or 256 to 65535"
        )

    def __str__(self) -> str:
        text = f"{self.step}: {self.message}" if self.step else self.message
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if self.received is not None:
            text += f"; got {self.received}"
        if self.hint is not None:
            text += f" (hint: {self.hint})"
        return one_line(text)


class NegotiationFailed(HandshakeError):
    """The two ends have no version, protocol, suite, scheme, credential type or list of steps in common."""


class KeyAgreementFailed(HandshakeError):
    """A key share is malformed, or leads to a secret that an attacker knows."""


class AuthenticationFailed(HandshakeError):
    """The peer did not prove who it is, or is not somebody we want."""


class SessionKeyDerivationFailed(HandshakeError):
    """The Finished MAC is wrong: the two ends did not see the same handshake."""


class InvalidMessage(HandshakeError):
    """What came is not what stands in the protocol: malformed, oversized, out of order, or altered on the way."""


class HandshakeTimeout(HandshakeError):
    """The deadline passed before the handshake was complete. `step` says where it stood.

    Attributes:
        waited_for: who had the next move: `peer` or `application`.
        question: the name of the type of question that the application had not answered; None where none was open.
    """

    retryable = True

    def __init__(
        self,
        message: str,
        *,
        waited_for: Literal["peer", "application"] = "peer",
        question: str | None = None,
        expected: str | None = None,
        received: str | None = None,
        hint: str | None = None,
        alert: int | None = None,
        step: str | None = None,
    ) -> None:
        super().__init__(message, expected=expected, received=received, hint=hint, alert=alert, step=step)
        self.waited_for = waited_for
        self.question = question

    @classmethod
    def of_peer(cls, message: str, received: int = 0) -> HandshakeTimeout:
        """The error where the peer's `message` has not come, but `received` bytes at most."""
        return cls(
            "the deadline has passed",
            expected=f"the peer's message {message}",
            received=f"{received} bytes in time" if received else "nothing in time",
            hint="the peer is slow or gone, or the deadline is too near",
        )

    @classmethod
    def of_application(cls, expected: str, question: str | None = None) -> HandshakeTimeout:
        """The error where the application has not done what was `expected`, as to answer a `question`."""
        return cls(
            "the deadline has passed",
            waited_for="application",
            question=question,
            expected=f"the application's {expected}",
            received="nothing in time",
            hint="the peer waits meanwhile: be faster, or set a later deadline",
        )


class PeerAborted(HandshakeError):
    """The peer gave up: it sent an alert, or its stream ended in the middle.

    Attributes:
        code: the alert's code, or None when the stream ended without one.
        retry_after: seconds after which the peer would like to be tried again; at most 60 when not authenticated.
        authenticated: whether the alert was sealed under the peer's key. One that was not may be anybody's.
    """

    _RETRYABLE: ClassVar[frozenset[int | None]] = frozenset({None, AlertCode.BUSY, AlertCode.TIMEOUT})

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        retry_after: int | None = None,
        authenticated: bool = False,
        expected: str | None = None,
        received: str | None = None,
        hint: str | None = None,
        step: str | None = None,
    ) -> None:
        super().__init__(message, expected=expected, received=received, hint=hint, step=step)
        self.code = code
        self.retry_after = retry_after
        self.authenticated = authenticated
        self.retryable = code in self._RETRYABLE

    @classmethod
    def by_end(cls, received: int) -> PeerAborted:
        """The error where its stream has ended in the middle of the handshake, and `received` bytes after a whole message."""
        return cls(
            "the stream ended in the middle of the handshake",
            expected="the peer's message",
            received=f"{received} bytes of it" if received else "the end of the stream",
            hint="the peer crashed, refused us without a word, or speaks another protocol",
        )

    @classmethod
    def from_alert(cls, code: int, retry_after: int | None, *, authenticated: bool) -> PeerAborted:
        """The error for an alert that has come in. An unauthenticated `retry_after` is capped at 60 seconds."""
        if retry_after is not None and not authenticated:
            retry_after = min(retry_after, 60)
        message = f"the peer gave up: {alert_meaning(code)}"
        hint = None if authenticated else "the alert was not authenticated: anybody on the way could have sent it"
        return cls(message, code=code, retry_after=retry_after, authenticated=authenticated, hint=hint)


ALERTS: Final[Mapping[type[HandshakeError], tuple[AlertCode, ...]]] = MappingProxyType(
    {
        HandshakeError: (AlertCode.INTERNAL_ERROR, AlertCode.USER_CANCELED, AlertCode.BUSY),
        NegotiationFailed: (
            AlertCode.HANDSHAKE_FAILURE,
            AlertCode.PROTOCOL_VERSION,
            AlertCode.NO_APPLICATION_PROTOCOL,
            AlertCode.STEP_LIST_MISMATCH,
        ),
        KeyAgreementFailed: (AlertCode.BAD_KEY_SHARE,),
        AuthenticationFailed: (
            AlertCode.ACCESS_DENIED,
            AlertCode.DECRYPT_ERROR,
            AlertCode.BAD_CERTIFICATE,
            AlertCode.CHANNEL_BINDING,
            AlertCode.UNSUPPORTED_CERTIFICATE,
            AlertCode.CERTIFICATE_REVOKED,
            AlertCode.CERTIFICATE_EXPIRED,
            AlertCode.CERTIFICATE_UNKNOWN,
            AlertCode.UNKNOWN_CA,
            AlertCode.CERTIFICATE_REQUIRED,
        ),
        SessionKeyDerivationFailed: (AlertCode.BAD_FINISHED,),
        InvalidMessage: (
            AlertCode.DECODE_ERROR,
            AlertCode.UNEXPECTED_MESSAGE,
            AlertCode.ILLEGAL_PARAMETER,
            AlertCode.RECORD_OVERFLOW,
            AlertCode.BAD_RECORD_MAC,
        ),
        HandshakeTimeout: (AlertCode.TIMEOUT,),
        PeerAborted: (AlertCode.TRUNCATED,),
    }
)
"""From each error to the alerts that tell the peer of it: the first is the default. Each code stands in one row."""


def release_frames(error: BaseException) -> None:
    """Let go of the keys that the frames of an error, and of all that led to it, hold on to."""
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        one = todo.pop()
        if one is not None and id(one) not in seen:  # an error may be its own cause
            seen.add(id(one))
            clear_frames(one.__traceback__)
            todo += (one.__cause__, one.__context__)
