"""The key schedule: RFC 8446 section 7.1 with our labels. Knows secrets and hashes, neither messages nor steps."""

from __future__ import annotations

from functools import cache
from typing import Final

from ..errors import LocalProtocolError
from ..role import INITIATOR, Role
from .hashing import HashFunction
from .suites import CipherSuite
from .traffic_key import TrafficKey

_NOT_ESTABLISHED: Final = "no shared secret has been established, or the session's secrets were taken"


@cache
def _derived_early_secret(function: HashFunction) -> bytes:
    """Derive-Secret(Early Secret, "derived", "") without a pre-shared key: a constant of the hash."""
    zeros = bytes(function.digest_size)
    return function.derive_secret(function.hmac(zeros, zeros), b"derived", function.empty)


@cache
def _finished_info(function: HashFunction) -> bytes:
    return function.label_info(b"finished", function.digest_size)


class KeySchedule:
    """One handshake's secrets, in the order in which they come: handshake traffic, Finished, session.

    Args:
        suite: says the hash and the AEAD.
        shared_secret: of the key agreement; of any length.
        transcript_hash: through the last unsealed message.
    """

    __slots__ = ("_initiator", "_responder", "_secret", "_suite")

    def __init__(self, suite: CipherSuite, shared_secret: bytes, transcript_hash: bytes) -> None:
        function = suite.hash
        secret = function.hmac(_derived_early_secret(function), shared_secret)
        self._suite = suite
        self._secret = secret
        self._initiator = function.derive_secret(secret, b"i hs traffic", transcript_hash)
        self._responder = function.derive_secret(secret, b"r hs traffic", transcript_hash)

    def __repr__(self) -> str:
        return f"KeySchedule({self._suite.name})"

    def handshake_key(self, sender: Role) -> TrafficKey:
        """The key that seals what `sender` sends during the handshake."""
        return TrafficKey(self._suite, self._handshake_traffic(sender))

    def finished(self, sender: Role, transcript_hash: bytes) -> bytes:
        """The Finished MAC (RFC 8446 section 4.4.4) of `sender` over the transcript before it; as long as the hash."""
        function = self._suite.hash
        return function.hmac(function.hmac(self._handshake_traffic(sender), _finished_info(function)), transcript_hash)

    def session_secrets(self, transcript_hash: bytes) -> SessionSecrets:
        """Derive the session's secrets from the transcript through the last message, and forget the handshake's."""
        if not self._secret:
            raise LocalProtocolError(_NOT_ESTABLISHED)
        function = self._suite.hash
        derived = function.derive_secret(self._secret, b"derived", function.empty)
        master = function.hmac(derived, bytes(function.digest_size))
        self._secret = self._initiator = self._responder = b""
        return SessionSecrets(
            self._suite,
            initiator=function.derive_secret(master, b"i ap traffic", transcript_hash),
            responder=function.derive_secret(master, b"r ap traffic", transcript_hash),
            exporter=function.derive_secret(master, b"exp master", transcript_hash),
        )

    def _handshake_traffic(self, sender: Role) -> bytes:
        secret = self._initiator if sender is INITIATOR else self._responder
        if not secret:
            raise LocalProtocolError(_NOT_ESTABLISHED)
        return secret


class SessionSecrets:
    """What a completed handshake leaves: a traffic secret for each direction and the exporter's."""

    __slots__ = ("_exporter", "_initiator", "_responder", "_suite")

    def __init__(self, suite: CipherSuite, *, initiator: bytes, responder: bytes, exporter: bytes) -> None:
        self._suite = suite
        self._initiator = initiator
        self._responder = responder
        self._exporter = exporter

    def __repr__(self) -> str:
        return f"SessionSecrets({self._suite.name})"

    def traffic_key(self, sender: Role) -> TrafficKey:
        """The first session key of `sender`, once: its secret is kept nowhere else, or an update would protect nothing."""
        if sender is INITIATOR:
            secret, self._initiator = self._initiator, b""
        else:
            secret, self._responder = self._responder, b""
        if not secret:
            raise LocalProtocolError(_NOT_ESTABLISHED)
        return TrafficKey(self._suite, secret)

    def export(self, label: str, context: bytes, length: int) -> bytes:
        """Keying material for the application (RFC 8446 section 7.5); `length` in bytes, at most 255 hash lengths."""
        function = self._suite.hash
        name = label.encode()
        if not 1 <= len(name) <= 245:
            raise ValueError("an exporter's label has 1 to 245 bytes")
        if not 1 <= length <= 255 * function.digest_size:
            raise ValueError(f"an exporter gives 1 to {255 * function.digest_size} bytes")
        secret = function.derive_secret(self._exporter, name, function.empty)
        return function.expand_label(secret, b"exporter", function.digest(context), length)
