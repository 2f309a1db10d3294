"""Cancellation at a chosen await, and a cipher that sees each nonce: instruments, not stand-ins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import anyio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nautilus_core.crypto import suites

T = TypeVar("T")


class _Interrupted(Generic[T]):
    """Awaits a coroutine, and calls `cancel` when it suspends for the `number`th time (from 1)."""

    def __init__(self, coroutine: Awaitable[T], number: int, cancel: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._number = number
        self._cancel = cancel
        self.suspended = 0

    def __await__(self) -> Generator[Any, Any, T]:
        inner = self._coroutine.__await__()
        sent: Any = None
        thrown: BaseException | None = None
        while True:
            try:
                waiting_for = inner.send(sent) if thrown is None else inner.throw(thrown)
            except StopIteration as stop:
                result: T = stop.value
                return result
            self.suspended += 1
            if self.suspended == self._number:
                self._cancel()
            sent, thrown = None, None
            try:
                sent = yield waiting_for
            except BaseException as error:
                thrown = error


async def cancelled_at(number: int, action: Callable[[], Awaitable[Any]]) -> bool:
    """Run `action` and cancel it at its `number`th suspension; whether it came that far, and ended by the cancellation."""
    with anyio.CancelScope() as scope:
        await _Interrupted(action(), number, scope.cancel)
    return scope.cancelled_caught


class NonceWatch:
    """What was sealed under each key and nonce of AES-256-GCM, in this process."""

    def __init__(self) -> None:
        self.sealed: dict[tuple[bytes, bytes], bytes] = {}
        self.repeated = 0

    def new(self, key: bytes) -> Any:
        """A cipher under `key` that is watched."""
        return _Watched(self, key)

    def see(self, key: bytes, nonce: bytes, plaintext: bytes) -> None:
        """Note one sealing; of another plaintext under a nonce that was used, too."""
        self.repeated += self.sealed.setdefault((key, nonce), plaintext) != plaintext


class _Watched:
    """The real cipher, watched."""

    def __init__(self, watch: NonceWatch, key: bytes) -> None:
        self._watch = watch
        self._key = key
        self._cipher = AESGCM(key)
        self.decrypt = self._cipher.decrypt

    def encrypt(self, nonce: bytes, data: Any, associated_data: Any) -> bytes:
        self._watch.see(self._key, nonce, bytes(data) + bytes(associated_data))
        return self._cipher.encrypt(nonce, data, associated_data)

    def encrypt_into(self, nonce: bytes, data: Any, associated_data: Any, buffer: Any) -> int:
        self._watch.see(self._key, nonce, bytes(data) + bytes(associated_data))
        return self._cipher.encrypt_into(nonce, data, associated_data, buffer)


@contextmanager
def nonces_watched() -> Iterator[NonceWatch]:
    """Watch every AES-256-GCM key that is made in the block."""
    watch = NonceWatch()
    aead = suites.AES_256_GCM
    before = aead.new
    object.__setattr__(aead, "new", watch.new)
    try:
        yield watch
    finally:
        object.__setattr__(aead, "new", before)
