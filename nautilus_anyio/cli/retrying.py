"""`--retry` and `--retry-timeout`: a command that dials tries again. When, and after what, is `nautilus_anyio.retry`'s."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable

from nautilus_core import Event

from ..retry import AttemptFailed, Retry, retrying
from ..stream import SecureStream
from .options import seconds
from .output import Output


def add_retry(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--retry",
        type=_attempts,
        metavar="ATTEMPTS",
        help="try so many times in all while nobody is there, the connection breaks in the handshake, or the peer is busy or too "
        "slow; the waits grow from 0.2 to 10 seconds, and are no shorter than a busy peer asks for",
    )
    parser.add_argument(
        "--retry-timeout",
        type=seconds,
        metavar="SECONDS",
        help="with --retry: for all attempts together (default: no limit); --timeout is for each",
    )


def _attempts(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of attempts: expected 1 or more, the first included")
    return int(text)


def check_retry(options: argparse.Namespace, *, dials: bool = True) -> None:
    """Refuse what would change nothing; `ValueError`. `dials` is whether the command does."""
    if options.retry is not None and not dials:
        raise ValueError("--retry goes with dialling, and we listen: whoever dials tries again")
    if options.retry_timeout is not None and options.retry is None:
        raise ValueError("--retry-timeout goes with --retry ATTEMPTS")


async def dial_again(options: argparse.Namespace, dial: Callable[[float], Awaitable[SecureStream]]) -> SecureStream:
    """Call `dial`, which gets the seconds that it may take, as often as the options allow; each failure is noted.

    Raises:
        HandshakeError: of the last attempt.
        Exception: what else `dial` raised, at once.
    """
    timeout: float = options.timeout
    if options.retry is None:
        return await dial(timeout)
    output: Output = options.output
    from stamina.instrumentation import set_on_retry_hooks  # noqa: PLC0415  # takes long to load

    set_on_retry_hooks(())  # which log; the notes say more

    def see(event: Event) -> None:
        if isinstance(event, AttemptFailed):
            error, number = event.error, event.attempt + 1
            output.note(
                f"attempt {number} of {event.attempts} in {event.wait:.1f} s: {error}",
                attempt=number,
                attempts=event.attempts,
                wait=round(event.wait, 3),
                kind=type(error).__name__,
            )

    async def once(left: float | None) -> SecureStream:
        return await dial(timeout if left is None else left)

    return await retrying(Retry(options.retry, options.retry_timeout), once, timeout, see)
