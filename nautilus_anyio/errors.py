"""What the binding adds to the core's errors: a transport that fails. Nothing here decides when to raise."""

from __future__ import annotations

import os

from anyio import BrokenResourceError

from nautilus_core import HandshakeError


class TransportFailed(HandshakeError):
    """The byte stream below could not be opened, or broke: refused, reset, unreachable."""

    retryable = True


class ChannelFailed(BrokenResourceError):
    """The secure stream broke: the peer gave up, the stream below did, or what came was not authentic.

    Attributes:
        error: the core's error, which says what was expected, what came, and a hint.
    """

    def __init__(self, error: HandshakeError) -> None:
        super().__init__(str(error))
        self.error = error


def in_words(error: OSError) -> str:
    """What the system says of an error, without numbers and addresses: `Connection refused`."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)  # those of name look-ups have numbers of their own


def cause_in_words(error: BaseException) -> str | None:
    """What the system says at the bottom of an error of AnyIO's streams: `Connection reset by peer`. None where it is silent.

    Where several addresses were tried, of the first.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        elif isinstance(cause, OSError) and cause.errno:
            return in_words(cause)
        else:
            cause = cause.__cause__
    return None
