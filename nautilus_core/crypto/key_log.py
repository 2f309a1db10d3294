"""The key log: traffic secrets written down as they are made, so that what they seal can be opened in an analysis. No files.

A line is `LABEL HELLO-RANDOM SECRET`, both in hexadecimal, in the manner of NSS's SSLKEYLOGFILE. Whoever has it can read the
session. Nothing is logged but for who asked for it in code, and nothing here costs anything where nobody has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from ..role import INITIATOR, Role
from .suites import CipherSuite
from .traffic_key import TrafficKey

WriteKey: TypeAlias = Callable[[bytes], object]
Keys: TypeAlias = Mapping[tuple[str, bytes], bytes]
"""Secrets by label and hello random."""

_PREFIX: Final = "NAUTILUS_"
_MAX_LINE: Final = 1024
_NO_HELLO: Final = bytes(32)


def _side(sender: Role) -> str:
    return "I" if sender is INITIATOR else "R"


def handshake_label(sender: Role) -> str:
    """Of the secret that seals the handshake messages of `sender`."""
    return f"{_PREFIX}{_side(sender)}_HANDSHAKE_TRAFFIC"


def traffic_label(sender: Role, number: int) -> str:
    """Of the secret that seals the records of `sender` after so many key updates."""
    return f"{_PREFIX}{_side(sender)}_TRAFFIC_SECRET_{number}"


def datagram_label(sender: Role) -> str:
    """Of the secret that seals the datagrams of `sender`."""
    return f"{_PREFIX}{_side(sender)}_DATAGRAM_TRAFFIC"


class KeyLog:
    """The key log of one handshake.

    Args:
        write: takes each line, whole, as bytes. What it raises ends the log and nothing else.

    Attributes:
        hello_random: of the initiator's hello, which names the session; zeros in a list that has no hello.
    """

    __slots__ = ("_write", "hello_random")

    def __init__(self, write: WriteKey) -> None:
        self._write: WriteKey | None = write
        self.hello_random = _NO_HELLO

    def __repr__(self) -> str:
        return "KeyLog()"

    def log(self, label: str, secret: bytes) -> None:
        """Write one line."""
        if self._write is None:
            return
        try:
            self._write(f"{label} {self.hello_random.hex()} {secret.hex()}\n".encode())
        except Exception:  # the log's trouble is never the handshake's
            self._write = None

    def key(self, suite: CipherSuite, secret: bytes, label: str) -> TrafficKey:
        """The traffic key of a secret, which is logged."""
        self.log(label, secret)
        return TrafficKey(suite, secret)

    def record_key(self, suite: CipherSuite, secret: bytes, sender: Role) -> TrafficKey:
        """The same for the records of `sender`, whose key is updated: each secret that follows is logged, too."""
        return _LoggedKey(suite, secret, self, sender, 0)


class _LoggedKey(TrafficKey):
    """A key whose secret, and those of all that follow it, are logged."""

    __slots__ = ("_log", "_number", "_sender")

    def __init__(self, suite: CipherSuite, secret: bytes, log: KeyLog, sender: Role, number: int) -> None:
        super().__init__(suite, secret)
        self._log = log
        self._sender = sender
        self._number = number
        log.log(traffic_label(sender, number), secret)

    def updated(self) -> TrafficKey:
        """The next key."""
        return _LoggedKey(self._suite, self.next_secret(), self._log, self._sender, self._number + 1)


def read_key_log(lines: Iterable[bytes]) -> Keys:
    """The secrets in a key log, with labels of ours; those of others, comments and blank lines are passed over.

    Args:
        lines: of the log, each at most 1024 bytes long.

    Raises:
        ValueError: a line with a label of ours is damaged; says which, and shows nothing of it.
    """
    keys: dict[tuple[str, bytes], bytes] = {}
    prefix = _PREFIX.encode()
    for number, line in enumerate(lines, 1):
        if not line.startswith(prefix):
            continue
        try:
            if len(line) > _MAX_LINE:
                raise ValueError
            label, random, secret = line.decode("ascii").split()
            keys[label, bytes.fromhex(random)] = bytes.fromhex(secret)
        except ValueError:
            raise ValueError(f"line {number} of the key log is damaged: expected LABEL HELLO-RANDOM SECRET") from None
    return keys


__all__ = ["KeyLog", "Keys", "WriteKey", "datagram_label", "handshake_label", "read_key_log", "traffic_label"]
