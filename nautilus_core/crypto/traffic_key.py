"""A traffic key: one direction's AEAD, its nonces and its successor. No framing lives here."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from ..errors import AlertCode, InvalidMessage, LocalProtocolError
from .suites import CipherSuite

RECORDS_PER_KEY: Final = 2**22
"""No key ever seals more messages than this (the bound for AES-GCM in RFC 8446 section 5.5, for records of 64 KiB)."""

_EXHAUSTED: Final = "this key has sealed all the messages it may; it must be updated first"


class TrafficKey:
    """Seals, or opens, the messages of one direction under one traffic secret (RFC 8446 sections 5.2, 5.3 and 7.3).

    The nonce is the initial vector XOR the sequence number, which moves only when an operation has succeeded: a forged
    message changes nothing. `secret` has the length of the suite's hash.
    """

    __slots__ = ("_cipher", "_iv", "_secret", "_suite", "sequence")

    def __init__(self, suite: CipherSuite, secret: bytes) -> None:
        hmac, aead = suite.hash.hmac, suite.aead
        self._suite = suite
        self._secret = secret
        self._cipher: AESGCM | ChaCha20Poly1305 = aead.new(hmac(secret, suite.key_info)[: aead.key_length])
        self._iv = int.from_bytes(hmac(secret, suite.iv_info)[:12], "big")
        self.sequence = 0

    def __repr__(self) -> str:
        return f"TrafficKey({self._suite.name}, sequence={self.sequence})"

    def seal(self, plaintext: bytes | memoryview, header: bytes) -> bytes:
        """Encrypt `plaintext` with `header` as associated data; returns the ciphertext and its 16-byte tag."""
        sequence = self.sequence
        if sequence >= RECORDS_PER_KEY:
            raise LocalProtocolError(_EXHAUSTED)
        self.sequence = sequence + 1
        return self._cipher.encrypt((self._iv ^ sequence).to_bytes(12, "big"), plaintext, header)

    def seal_into(self, plaintext: memoryview, header: bytes, buffer: memoryview) -> None:
        """The same into `buffer`, which is exactly 16 bytes longer than `plaintext`: for large data."""
        sequence = self.sequence
        if sequence >= RECORDS_PER_KEY:
            raise LocalProtocolError(_EXHAUSTED)
        self.sequence = sequence + 1
        self._cipher.encrypt_into((self._iv ^ sequence).to_bytes(12, "big"), plaintext, header, buffer)

    def open(self, ciphertext: bytes | memoryview, header: bytes) -> bytes:
        """Decrypt and verify; raises `InvalidMessage`, and moves nothing, when the tag is wrong or the key is used up."""
        sequence = self.sequence
        if sequence >= RECORDS_PER_KEY:
            raise InvalidMessage(
                "the peer did not update its key in time",
                expected=f"at most {RECORDS_PER_KEY} messages under one key",
                alert=AlertCode.UNEXPECTED_MESSAGE,
            )
        try:
            plaintext = self._cipher.decrypt((self._iv ^ sequence).to_bytes(12, "big"), ciphertext, header)
        except (InvalidTag, ValueError) as error:
            raise InvalidMessage(
                "a sealed message does not open",
                expected=f"sealed message number {sequence} of the peer",
                hint="it was altered on the way, or an earlier message was and the two ends have different keys",
                alert=AlertCode.BAD_RECORD_MAC,
            ) from error
        self.sequence = sequence + 1
        return plaintext

    def updated(self) -> TrafficKey:
        """The next key of this direction (RFC 8446 section 7.2); its sequence numbers start at 0."""
        function = self._suite.hash
        return TrafficKey(self._suite, function.expand_label(self._secret, b"traffic upd", b"", function.digest_size))
