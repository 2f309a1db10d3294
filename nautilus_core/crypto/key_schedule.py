"""The key schedule: RFC 8446 section 7.1 with our labels. Knows secrets and hashes, neither messages nor steps."""

from __future__ import annotations

from functools import cache
from typing import Final, TypeAlias

from ..errors import LocalProtocolError
from ..role import INITIATOR, Role
from .hashing import HashFunction
from .key_log import KeyLog, datagram_label, handshake_label
from .suites import CipherSuite
from .traffic_key import TrafficKey

Secrets: TypeAlias = tuple[bytes, bytes]
"""The initiator's and the responder's."""

_NOT_ESTABLISHED: Final = "no shared secret has been established, or the session's secrets were taken"


class _Constants:
    """What the key schedule over one hash does not have to make again in every handshake: label heads, early secret."""

    __slots__ = (
        "derived",
        "derived_early_secret",
        "exporter",
        "finished",
        "initiator_datagrams",
        "initiator_handshake",
        "initiator_session",
        "responder_datagrams",
        "responder_handshake",
        "responder_session",
        "zeros",
    )

    def __init__(self, function: HashFunction) -> None:
        self.zeros = bytes(function.digest_size)
        early_secret = function.hmac(self.zeros, self.zeros)  # there is no pre-shared key
        self.derived = function.label_head(b"derived") + function.empty + b"\x01"
        self.derived_early_secret = function.hmac(early_secret, self.derived)
        self.initiator_handshake = function.label_head(b"i hs traffic")
        self.responder_handshake = function.label_head(b"r hs traffic")
        self.initiator_session = function.label_head(b"i ap traffic")
        self.responder_session = function.label_head(b"r ap traffic")
        self.initiator_datagrams = function.label_head(b"i dg traffic")
        self.responder_datagrams = function.label_head(b"r dg traffic")
        self.exporter = function.label_head(b"exp master")
        self.finished = function.label_info(b"finished", function.digest_size)


_constants: Final = cache(_Constants)


def binder(function: HashFunction, early_secret: bytes, transcript_hash: bytes) -> bytes:
    """The binder of an imported pre-shared key (RFC 8446 section 4.2.11.2, RFC 9258 section 5.2); as long as the hash.

    Args:
        function: the hash that the key is for.
        early_secret: extracted from the key.
        transcript_hash: through the offer of keys, in that hash.
    """
    binder_key = function.derive_secret(early_secret, b"imp binder", function.empty)
    return function.hmac(function.hmac(binder_key, _constants(function).finished), transcript_hash)


class KeySchedule:
    """One handshake's secrets, in the order in which they come: handshake traffic, Finished, session.

    Args:
        suite: says the hash and the AEAD.
        shared_secret: of the key agreement; of any length.
        transcript_hash: through the last unsealed message.
        key_log: where traffic secrets are logged when their keys are made; None, as a rule, for nowhere.
        early_secret: extracted from a pre-shared key; empty where there is none.
    """

    __slots__ = ("_constants", "_hmac", "_initiator", "_key_log", "_responder", "_secret", "_suite")

    def __init__(
        self,
        suite: CipherSuite,
        shared_secret: bytes,
        transcript_hash: bytes,
        key_log: KeyLog | None = None,
        early_secret: bytes = b"",
    ) -> None:
        constants = self._constants = _constants(suite.hash)
        hmac = self._hmac = suite.hash.hmac
        context = transcript_hash + b"\x01"
        self._suite = suite
        self._key_log = key_log
        salt = hmac(early_secret, constants.derived) if early_secret else constants.derived_early_secret
        secret = self._secret = hmac(salt, shared_secret)
        self._initiator, self._responder = suite.hash.hmac_pair(
            secret, constants.initiator_handshake + context, constants.responder_handshake + context
        )

    def __repr__(self) -> str:
        return f"KeySchedule({self._suite.name})"

    def handshake_key(self, sender: Role) -> TrafficKey:
        """The key that seals what `sender` sends during the handshake."""
        secret = self._initiator if sender is INITIATOR else self._responder
        if not secret:
            raise LocalProtocolError(_NOT_ESTABLISHED)
        if self._key_log is not None:
            return self._key_log.key(self._suite, secret, handshake_label(sender))
        return TrafficKey(self._suite, secret)

    def finished(self, sender: Role, transcript_hash: bytes) -> bytes:
        """The Finished MAC (RFC 8446 section 4.4.4) of `sender` over the transcript before it; as long as the hash."""
        secret = self._initiator if sender is INITIATOR else self._responder
        if not secret:
            raise LocalProtocolError(_NOT_ESTABLISHED)
        hmac = self._hmac
        return hmac(hmac(secret, self._constants.finished), transcript_hash)

    def session_secrets(self, transcript_hash: bytes, *, datagrams: bool = False) -> SessionSecrets:
        """Derive the session's secrets from the transcript through the last message, and forget the handshake's.

        Those of datagrams only when they are wanted: the secret that all of them come from is kept nowhere.
        """
        if not self._secret:
            raise LocalProtocolError(_NOT_ESTABLISHED)
        function, constants, hmac = self._suite.hash, self._constants, self._hmac
        context = transcript_hash + b"\x01"
        master = hmac(hmac(self._secret, constants.derived), constants.zeros)
        self._secret = self._initiator = self._responder = b""
        records = function.hmac_pair(
            master, constants.initiator_session + context, constants.responder_session + context
        )
        exporter = hmac(master, constants.exporter + context)
        if not datagrams:
            return SessionSecrets(self._suite, records, exporter, key_log=self._key_log)
        labels = constants.initiator_datagrams + context, constants.responder_datagrams + context
        return SessionSecrets(self._suite, records, exporter, function.hmac_pair(master, *labels), self._key_log)


class SessionSecrets:
    """What a completed handshake leaves: traffic secrets for each direction, of records and datagrams, and the exporter's."""

    __slots__ = ("_exporter", "_initiator", "_initiator_datagrams", "_key_log", "_responder", "_responder_datagrams",
                 "_suite")  # fmt: skip

    def __init__(
        self,
        suite: CipherSuite,
        records: Secrets,
        exporter: bytes,
        datagrams: Secrets = (b"", b""),
        key_log: KeyLog | None = None,
    ) -> None:
        self._suite = suite
        self._initiator, self._responder = records
        self._initiator_datagrams, self._responder_datagrams = datagrams
        self._exporter = exporter
        self._key_log = key_log

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
        if self._key_log is not None:
            return self._key_log.record_key(self._suite, secret, sender)
        return TrafficKey(self._suite, secret)

    def datagram_key(self, sender: Role) -> TrafficKey:
        """The key of `sender` for datagrams, once."""
        if sender is INITIATOR:
            secret, self._initiator_datagrams = self._initiator_datagrams, b""
        else:
            secret, self._responder_datagrams = self._responder_datagrams, b""
        if not secret:
            raise LocalProtocolError(_NOT_ESTABLISHED)
        if self._key_log is not None:
            return self._key_log.key(self._suite, secret, datagram_label(sender))
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
