"""What every harness checks, whatever it feeds: the texts of errors, and the time that one input takes."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Final

LONGEST_TEXT: Final = 4000
"""Characters of an error's text: a line for people, whatever the peer has sent."""

MOST_SECONDS: Final = 2.0
"""Of processor time for one input of at most 8 KiB, with the fuzzer's instrumentation."""


class Finding(Exception):
    """The code under test has done what it must not do."""


def check_text(error: BaseException, secrets: Iterable[bytes]) -> None:
    """An error's text is short, has nothing that a terminal would obey, and shows no secret, in no notation."""
    text = f"{error}\n{error!r}"
    if len(text) > LONGEST_TEXT:
        raise Finding(f"an error of {len(text)} characters: {text[:200]}") from error
    if not str(error).isprintable():
        raise Finding(f"an error with what is not printable: {str(error)!r}") from error
    lower = text.lower()
    for secret in secrets:
        coded = b64encode(secret[: len(secret) // 3 * 3]).decode()
        if secret.hex() in lower or coded in text or repr(secret)[2:-1] in text or repr(list(secret))[1:-1] in text:
            raise Finding(f"an error that shows a secret: {text[:200]}") from error


def timed(one_input: Callable[[bytes], None], most: float = MOST_SECONDS) -> Callable[[bytes], None]:
    """The same function, for which an input that takes too long is a finding."""

    def run(data: bytes) -> None:
        began = time.process_time()
        one_input(data)
        took = time.process_time() - began
        if took > most:
            raise Finding(f"{took:.1f} seconds for {len(data)} bytes")

    return run
