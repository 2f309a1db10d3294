"""`Retry`, and the loop that it describes: a fresh attempt where another one may help. Which errors those are, the core says.

Counting, growing waits and sleeping on either event loop are stamina's, and so are its hooks and switches, which the application
sets for its whole process. What an attempt does is not known here.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, TypeVar

from anyio import current_time

from nautilus_core import Event, HandshakeError, PeerAborted

if TYPE_CHECKING:
    from stamina import Attempt

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when to try again, for `retry=` of `connect` and `connect_unix`.

    What is tried again is an error with `retryable`: nobody there, a connection that was refused or broke, a peer that is busy or
    too slow. Each attempt is a handshake of its own, with new keys. After the first one the wait is `wait_initial`, and twice as
    long each time, `wait_max` at most; a random part of `jitter` is added. A peer that is busy and says when to come again is not
    called before: where its `retry_after` is longer, it takes the place of that wait, also over `wait_max`.

    Args:
        attempts: how many there may be, the first included; None for no limit.
        timeout: seconds for all attempts and waits together; None for no limit. A wait that would reach it is not begun.
        wait_initial: seconds to wait after the first attempt.
        wait_max: seconds to wait at most, without jitter.
        jitter: seconds at most that are added at random, so that many who were cut off together do not come back together.

    Raises:
        ValueError: a number is out of its range.
    """

    attempts: int | None = 5
    timeout: float | None = 180.0
    wait_initial: float = 0.2
    wait_max: float = 10.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if self.attempts is not None and (not isinstance(self.attempts, int) or self.attempts < 1):
            raise ValueError(f"attempts is at least 1, or None for no limit; got {self.attempts!r}")
        if self.timeout is not None and not 0 < self.timeout < inf:
            raise ValueError(f"timeout is more than 0 seconds, or None for no limit; got {self.timeout!r}")
        for name, least in (("wait_initial", 0.0), ("wait_max", self.wait_initial), ("jitter", 0.0)):
            value: float = getattr(self, name)
            if not (isfinite(value) and value >= least):
                raise ValueError(f"{name} is at least {least:g} seconds; got {value!r}")


class AttemptFailed(Event, frozen=True):
    """For `on_event`: an attempt has failed, and another one follows. When none follows, its error is raised instead.

    Attributes:
        attempt: the number of the one that has failed, from 1.
        attempts: how many there may be; None for no limit.
        error: why.
        wait: seconds until the next one begins.
    """

    attempt: int
    attempts: int | None
    error: HandshakeError
    wait: float


async def retrying(
    retry: Retry,
    once: Callable[[float | None], Awaitable[T]],
    timeout: float | None,
    on_event: Callable[[Event], None] | None,
) -> T:
    """Call `once` until it succeeds, its error is final, or `retry` allows no more.

    Args:
        retry: how often and when.
        once: one attempt; gets the seconds that it may take, None for no limit.
        timeout: seconds for one attempt; None for no limit but that of all.
        on_event: sees `AttemptFailed`.

    Raises:
        HandshakeError: of the last attempt; where there were several, a note says how many.
        Exception: what else `once` or `on_event` raised, at once.
    """
    from stamina import retry_context  # noqa: PLC0415  # takes long to load, and few try again

    attempts = _Attempts(retry, on_event)
    context = retry_context(
        on=attempts.wait_after,
        attempts=retry.attempts,
        timeout=None,  # `wait_after` looks at it: stamina would begin a wait that ends after it
        wait_initial=retry.wait_initial,
        wait_max=retry.wait_max,
        wait_jitter=0.0,
    )
    try:
        async for attempt in context:
            attempts.current = attempt
            try:
                return await once(attempts.seconds(timeout))
            except HandshakeError as error:
                if not error.retryable:
                    raise
                with attempt:  # stamina takes it; all else, as a cancellation, does not get into its hands
                    raise
    except HandshakeError as error:
        if attempts.current.num > 1:
            error.add_note(f"the last of {attempts.current.num} attempts")
        raise
    raise RuntimeError("the attempts ended without a result")


class _Attempts:
    """What `Retry` allows, as the attempts go on.

    Attributes:
        current: the attempt that is being made.
    """

    current: Attempt

    def __init__(self, retry: Retry, on_event: Callable[[Event], None] | None) -> None:
        self._retry = retry
        self._on_event = on_event
        self._end = inf if retry.timeout is None else current_time() + retry.timeout

    def seconds(self, timeout: float | None) -> float | None:
        """How long the next attempt may take."""
        left = min(inf if timeout is None else timeout, self._end - current_time())
        return None if left == inf else max(0.0, left)

    def wait_after(self, error: Exception) -> float | bool:
        """How many seconds to wait after `error`, or False for no more attempts: stamina's backoff hook."""
        retry, number = self._retry, self.current.num
        asked = error.retry_after if isinstance(error, PeerAborted) else None
        wait = max(self.current.next_wait, asked or 0.0) + random.uniform(0.0, retry.jitter)  # noqa: S311
        if current_time() + wait >= self._end:
            return False
        follows = number != retry.attempts  # after the last one stamina ends it
        if self._on_event is not None and isinstance(error, HandshakeError) and follows:
            self._on_event(AttemptFailed(number, retry.attempts, error, wait))
        return wait
