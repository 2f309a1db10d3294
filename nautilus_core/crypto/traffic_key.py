"""A traffic key: one direction's AEAD, its nonces and its successor. No framing lives here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from ..errors import AlertCode, InvalidMessage, LocalProtocolError
from .suites import CipherSuite

RECORDS_PER_KEY: Final = 2**22
"""No key ever seals more messages than this (the bound for AES-GCM in RFC 8446 section 5.5, for records of 64 KiB)."""

Plaintext: TypeAlias = bytes | memoryview

_EXHAUSTED: Final = "this key has sealed all the messages it may; it must be updated first"


class TrafficKey:
    """Seals, or opens, the messages of one direction under one traffic secret (RFC 8446 sections 5.2, 5.3 and 7.3).

    The nonce is the initial vector XOR the sequence number. A forged message does not move it; a sealing that fails does,
    so that no nonce is ever used twice. `secret` has the length of the suite's hash.
    """

    __slots__ = ("_cipher", "_iv", "_secret", "_suite", "sequence")

    def __init__(self, suite: CipherSuite, secret: bytes) -> None:
        aead = suite.aead
        key, iv = suite.hash.hmac_pair(secret, suite.key_info, suite.iv_info)
        self._suite = suite
        self._secret = secret
        self._cipher: AESGCM | ChaCha20Poly1305 = aead.new(key[: aead.key_length])
        self._iv = int.from_bytes(iv[:12], "big")
        self.sequence = 0

    def __repr__(self) -> str:
        return f"TrafficKey({self._suite.name}, sequence={self.sequence})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not copied: the two would use one nonce twice")

    def seal(self, plaintext: Plaintext, header: bytes) -> bytes:
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

    def seal_all(self, plaintexts: Sequence[Plaintext], headers: Sequence[bytes]) -> list[bytes]:
        """The same for many, in order: the loop over them is the interpreter's, in C.

        None of them is sealed when the key may not seal them all.
        """
        nonces = self._nonces(len(plaintexts))
        if len(nonces) < len(plaintexts):
            raise LocalProtocolError(_EXHAUSTED)
        self.sequence += len(nonces)
        return list(map(self._cipher.encrypt, nonces, plaintexts, headers))

    def open(self, ciphertext: bytes | memoryview, header: bytes) -> bytes:
        """Decrypt and verify; raises `InvalidMessage`, and moves nothing, when the tag is wrong or the key is used up."""
        sequence = self.sequence
        if sequence >= RECORDS_PER_KEY:
            raise _not_updated()
        try:
            plaintext = self._cipher.decrypt((self._iv ^ sequence).to_bytes(12, "big"), ciphertext, header)
        except (InvalidTag, ValueError) as error:
            raise _does_not_open(sequence) from error
        self.sequence = sequence + 1
        return plaintext

    def open_all(
        self, ciphertexts: Sequence[bytes | memoryview], headers: Sequence[bytes], plaintexts: list[bytes]
    ) -> None:
        """The same for many, in order, appended to `plaintexts`: up to the first that does not open, which raises."""
        nonces = self._nonces(len(ciphertexts))
        before = len(plaintexts)
        try:
            for plaintext in map(self._cipher.decrypt, nonces, ciphertexts, headers):
                plaintexts.append(plaintext)  # noqa: PERF402  # what was opened before an error is kept
        except (InvalidTag, ValueError) as error:
            raise _does_not_open(self.sequence + len(plaintexts) - before) from error
        finally:
            self.sequence += len(plaintexts) - before
        if len(nonces) < len(ciphertexts):
            raise _not_updated()

    def seal_at(self, n: int, plaintext: bytes) -> bytes:
        """Encrypt under the sequence number `n`, which the caller counts; for datagrams, which have keys of their own."""
        return self._cipher.encrypt((self._iv ^ n).to_bytes(12, "big"), plaintext, None)

    def open_at(self, n: int, ciphertext: bytes) -> bytes:
        """Decrypt what was encrypted under the sequence number `n`; raises `InvalidMessage`. For datagrams alone."""
        try:
            return self._cipher.decrypt((self._iv ^ n).to_bytes(12, "big"), ciphertext, None)
        except (InvalidTag, ValueError) as error:
            raise _does_not_open(n) from error

    def _nonces(self, count: int) -> list[bytes]:
        """The next `count` nonces, or as many as are left (RFC 8446 section 5.3)."""
        iv, first = self._iv, self.sequence
        last = min(first + count, RECORDS_PER_KEY)
        return [(iv ^ sequence).to_bytes(12, "big") for sequence in range(first, last)]

    def updated(self) -> TrafficKey:
        """The next key of this direction; its sequence numbers start at 0."""
        return TrafficKey(self._suite, self.next_secret())

    def next_secret(self) -> bytes:
        """What the next key is made of (RFC 8446 section 7.2)."""
        function = self._suite.hash
        return function.expand_label(self._secret, b"traffic upd", b"", function.digest_size)


def _not_updated() -> InvalidMessage:
    return InvalidMessage(
        "the peer did not update its key in time",
        expected=f"at most {RECORDS_PER_KEY} messages under one key",
        alert=AlertCode.UNEXPECTED_MESSAGE,
    )


def _does_not_open(sequence: int) -> InvalidMessage:
    return InvalidMessage(
        "a sealed message does not open",
        expected=f"sealed message number {sequence} of the peer",
        hint="it was altered on the way, or an earlier message was and the two ends have different keys",
        alert=AlertCode.BAD_RECORD_MAC,
    )
