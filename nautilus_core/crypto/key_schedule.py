"""The key schedule: RFC 8446 section 7.1 with our labels. Knows secrets and hashes, neither messages nor steps."""

from __future__ import annotations

from functools import cache
from typing import Final

from ..errors import LocalProtocolError
from ..role import Role
from .hashing import HashFunction
from .suites import CipherSuite
from .traffic_key import TrafficKey

_HANDSHAKE_TRAFFIC: Final = {Role.INITIATOR: b"i hs traffic", Role.RESPONDER: b"r hs traffic"}
_SESSION_TRAFFIC: Final = {Role.INITIATOR: b"i ap traffic", Role.RESPONDER: b"r ap traffic"}


@cache
def _derived_early_secret(function: HashFunction) -> bytes:
    """Derive-Secret(Early Secret, "derived", "") without a pre-shared key: a constant of the hash."""
    zeros = bytes(function.digest_size)
    return function.expand_label(
        function.hmac(zeros, zeros), b"derived", function.digest(b""), function.digest_size
    )


class KeySchedule:
    """One handshake's secrets, in the order in which they come: handshake traffic, Finished, session.

    `establish` takes the shared secret of any length, and the transcript hash through the last unsealed message.
    """

    __slots__ = ("_function", "_handshake_secret", "_suite", "_traffic")

    def __init__(self, suite: CipherSuite) -> None:
        self._suite = suite
        self._function = suite.hash
        self._handshake_secret: bytes | None = None
        self._traffic: dict[Role, bytes] = {}

    def __repr__(self) -> str:
        return f"KeySchedule({self._suite.name})"

    def _derive(self, secret: bytes, label: bytes, transcript_hash: bytes) -> bytes:
        return self._function.expand_label(secret, label, transcript_hash, self._function.digest_size)

    def establish(self, shared_secret: bytes, transcript_hash: bytes) -> None:
        """Extract the handshake secret and derive both handshake traffic secrets."""
        secret = self._function.hmac(_derived_early_secret(self._function), shared_secret)
        self._handshake_secret = secret
        for role, label in _HANDSHAKE_TRAFFIC.items():
            self._traffic[role] = self._derive(secret, label, transcript_hash)

    def handshake_key(self, sender: Role) -> TrafficKey:
        """The key that seals what `sender` sends during the handshake."""
        return TrafficKey(self._suite, self._handshake_traffic(sender))

    def finished(self, sender: Role, transcript_hash: bytes) -> bytes:
        """The Finished MAC (RFC 8446 section 4.4.4) of `sender` over the transcript before it; as long as the hash."""
        key = self._function.expand_label(
            self._handshake_traffic(sender), b"finished", b"", self._function.digest_size
        )
        return self._function.hmac(key, transcript_hash)

    def session_secrets(self, transcript_hash: bytes) -> SessionSecrets:
        """Derive the session's secrets from the transcript through the last message, and forget the handshake's."""
        if self._handshake_secret is None:
            raise LocalProtocolError("no shared secret has been established, or the session's secrets were taken")
        function = self._function
        derived = self._derive(self._handshake_secret, b"derived", function.digest(b""))
        master = function.hmac(derived, bytes(function.digest_size))
        self._handshake_secret = None
        self._traffic.clear()
        return SessionSecrets(
            self._suite,
            {role: self._derive(master, label, transcript_hash) for role, label in _SESSION_TRAFFIC.items()},
            self._derive(master, b"exp master", transcript_hash),
        )

    def _handshake_traffic(self, sender: Role) -> bytes:
        if sender not in self._traffic:
            raise LocalProtocolError("no shared secret has been established, or the session's secrets were taken")
        return self._traffic[sender]


class SessionSecrets:
    """What a completed handshake leaves: a traffic secret for each direction and the exporter's."""

    __slots__ = ("_exporter", "_suite", "_traffic")

    def __init__(self, suite: CipherSuite, traffic: dict[Role, bytes], exporter: bytes) -> None:
        self._suite = suite
        self._traffic = traffic
        self._exporter = exporter

    def __repr__(self) -> str:
        return f"SessionSecrets({self._suite.name})"

    def traffic_key(self, sender: Role) -> TrafficKey:
        """The first session key of `sender`."""
        return TrafficKey(self._suite, self._traffic[sender])

    def export(self, label: str, context: bytes, length: int) -> bytes:
        """Keying material for the application (RFC 8446 section 7.5); `length` in bytes, at most 255 hash lengths."""
        function = self._suite.hash
        name = label.encode()
        if not 1 <= len(name) <= 245:
            raise ValueError("an exporter's label has 1 to 245 bytes")
        if not 1 <= length <= 255 * function.digest_size:
            raise ValueError(f"an exporter gives 1 to {255 * function.digest_size} bytes")
        secret = function.expand_label(self._exporter, name, function.digest(b""), function.digest_size)
        return function.expand_label(secret, b"exporter", function.digest(context), length)
