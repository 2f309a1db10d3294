"""`CipherState` (section 5.1) and `SymmetricState` (section 5.2). They know no keys of people and no messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Final, NoReturn

from cryptography.exceptions import InvalidTag

from ..errors import AlertCode, InvalidMessage, LocalProtocolError
from .functions import KEY_LENGTH, MAX_NONCE, TAG_LENGTH, CipherFunctions, HashFunctions

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

    from ..crypto.entropy import Entropy
    from .names import NoiseProtocol

Plaintext = bytes | memoryview

_ZEROS: Final = bytes(KEY_LENGTH)


class _Gone:
    """In the place of the AEAD of a key that was dropped: a state without a key would pass everything in the clear."""

    __slots__ = ()

    def encrypt(self, nonce: bytes, data: Plaintext, associated_data: bytes | None) -> bytes:
        raise LocalProtocolError("this key is gone: it was given away, or its handshake or channel has ended")

    decrypt = encrypt


_GONE: Final = _Gone()


class CipherState:
    """A key `k` and a nonce `n`, which encrypt, or decrypt, the messages of one direction (section 5.1).

    A nonce is used once: one that was to encrypt is gone, also when that failed, and one that did not decrypt is still to
    come. There is no `SetNonce`: whoever needs messages out of order takes `session.datagrams()`.

    Args:
        functions: the cipher.
        key: 32 bytes, or None for a state that does not encrypt yet.
    """

    __slots__ = ("_cipher", "_functions", "_key", "_n", "_pack")

    def __init__(self, functions: CipherFunctions, key: bytes | None = None) -> None:
        self._functions = functions
        self._pack = functions.pack
        self._key = key
        self._cipher: ChaCha20Poly1305 | AESGCM | _Gone | None = None
        self._n = 0

    def __repr__(self) -> str:
        return f"CipherState({self._functions.name}, n={self.n})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not copied: the two would use one nonce twice")

    @property
    def n(self) -> int:
        """The next nonce."""
        return self._n

    def initialize_key(self, key: bytes) -> None:
        """InitializeKey: sets `k` (32 bytes), and `n` to zero."""
        self._key = key
        self._cipher = None
        self._n = 0

    def has_key(self) -> bool:
        """HasKey: whether `k` is not empty."""
        return self._key is not None

    def encrypt_with_ad(self, ad: bytes | None, plaintext: Plaintext) -> bytes:
        """EncryptWithAd: the ciphertext and its 16-byte tag; the plaintext itself while there is no key. No `ad` is None, or b"".

        Raises:
            LocalProtocolError: all nonces but the last, which is reserved, are used up; or the key was dropped.
        """
        cipher = self._cipher
        if cipher is None:
            if self._key is None:
                return bytes(plaintext)
            cipher = self._cipher = self._functions.new(self._key)
        n = self._n
        if n >= MAX_NONCE:
            _used_up()
        self._n = n + 1
        return cipher.encrypt(self._pack(n), plaintext, ad)

    def decrypt_with_ad(self, ad: bytes | None, ciphertext: Plaintext) -> bytes:
        """DecryptWithAd: the plaintext; the ciphertext itself while there is no key.

        Raises:
            InvalidMessage: the tag is wrong, and `n` stays; or all nonces are used up.
            LocalProtocolError: the key was dropped.
        """
        cipher = self._cipher
        if cipher is None:
            if self._key is None:
                return bytes(ciphertext)
            cipher = self._cipher = self._functions.new(self._key)
        n = self._n
        if n >= MAX_NONCE:
            raise _peer_used_up()
        try:
            plaintext = cipher.decrypt(self._pack(n), ciphertext, ad)
        except (InvalidTag, ValueError) as error:
            raise does_not_decrypt(n) from error
        self._n = n + 1
        return plaintext

    def encrypt_all(self, plaintexts: Sequence[Plaintext]) -> list[bytes]:
        """EncryptWithAd with no associated data for many, in order: the loop over them is the interpreter's, in C.

        None of them is encrypted when there are not nonces for all.
        """
        n, count = self._n, len(plaintexts)
        if n + count > MAX_NONCE:
            _used_up()
        self._n = n + count
        return list(map(self._aead().encrypt, map(self._pack, range(n, n + count)), plaintexts, repeat(None)))

    def decrypt_all(self, ciphertexts: Sequence[Plaintext], plaintexts: list[bytes]) -> None:
        """DecryptWithAd for many, appended to `plaintexts`: up to the first that does not decrypt, which raises."""
        n, before = self._n, len(plaintexts)
        nonces = map(self._pack, range(n, min(n + len(ciphertexts), MAX_NONCE)))
        try:
            self._extend(plaintexts, map(self._aead().decrypt, nonces, ciphertexts, repeat(None)))
        except (InvalidTag, ValueError) as error:
            raise does_not_decrypt(n + len(plaintexts) - before) from error
        finally:
            self._n = n + len(plaintexts) - before
        if len(plaintexts) - before < len(ciphertexts):
            raise _peer_used_up()

    @staticmethod
    def _extend(plaintexts: list[bytes], decrypted: Iterable[bytes]) -> None:
        for plaintext in decrypted:
            plaintexts.append(plaintext)  # noqa: PERF402  # what was decrypted before an error is kept

    def _aead(self) -> ChaCha20Poly1305 | AESGCM:
        if self._key is None:
            raise LocalProtocolError("a CipherState without a key")
        cipher = self._cipher
        if cipher is None or isinstance(cipher, _Gone):
            cipher = self._cipher = self._functions.new(self._key)
        return cipher

    def numbered(self) -> NumberedCipher:
        """Give the key away for messages that carry their nonces; this state has none afterwards.

        Raises:
            LocalProtocolError: it has encrypted or decrypted something, whose nonces would come again.
        """
        if self._n:
            raise LocalProtocolError("this key has been used: its nonces would come again")
        numbered = NumberedCipher(self._aead(), self._pack)
        self.forget()
        return numbered

    def rekey(self) -> None:
        """Rekey (sections 4.2 and 11.3): sets `k` to REKEY(k); `n` goes on. Both ends must do it at the same message."""
        self._key = self._aead().encrypt(self._pack(MAX_NONCE), _ZEROS, None)[:KEY_LENGTH]
        self._cipher = None

    def rest(self) -> None:
        """Keep the key alone: the AEAD made from it takes 2.4 KB, which a handshake that waits for its peer need not hold."""
        if self._key is not None:
            self._cipher = None

    def forget(self) -> None:
        """Drop the key, for good: nothing passes any more, in the clear least of all."""
        self._key = None
        self._cipher = _GONE


def _used_up() -> NoReturn:
    raise LocalProtocolError("this key has encrypted all the messages it may (section 5.1)")


def _peer_used_up() -> InvalidMessage:
    return InvalidMessage(
        "the peer has used up its key",
        expected="at most 2**64 - 1 messages (section 5.1)",
        alert=AlertCode.UNEXPECTED_MESSAGE,
    )


def does_not_decrypt(n: int) -> InvalidMessage:
    """The error for a ciphertext, number `n` under its key, whose tag is wrong."""
    return InvalidMessage(
        "a Noise message does not decrypt",
        expected=f"ciphertext number {n} under its key",
        hint="it was altered on the way, or the two ends differ in a key, a psk, the prologue or the protocol name",
        alert=AlertCode.BAD_RECORD_MAC,
    )


class NumberedCipher:
    """The cipher of datagrams, which come in any order: its caller counts the nonces (section 11.4). `numbered` makes it."""

    __slots__ = ("_cipher", "_pack")

    def __init__(self, cipher: ChaCha20Poly1305 | AESGCM, pack: Callable[[int], bytes]) -> None:
        self._cipher = cipher
        self._pack = pack

    def seal_at(self, n: int, plaintext: bytes) -> bytes:
        """Encrypt under the nonce `n`."""
        return self._cipher.encrypt(self._pack(n), plaintext, None)

    def open_at(self, n: int, ciphertext: bytes) -> bytes:
        """Decrypt what was encrypted under the nonce `n`; raises `InvalidMessage`."""
        try:
            return self._cipher.decrypt(self._pack(n), ciphertext, None)
        except (InvalidTag, ValueError) as error:
            raise does_not_decrypt(n) from error


class SymmetricState:
    """A `CipherState`, the chaining key `ck` and the handshake hash `h` (section 5.2). Made by InitializeSymmetric.

    Args:
        protocol: its name is the first input, and it says cipher and hash.
    """

    __slots__ = ("_ck", "_hash", "_hkdf", "_new", "cipher", "h")

    def __init__(self, protocol: NoiseProtocol) -> None:
        functions = protocol.hash
        self._hash: HashFunctions = functions
        self._hkdf = functions.hkdf
        self._new = functions.new
        self.h = self._ck = protocol.initial_hash
        self.cipher = CipherState(protocol.cipher)

    def __repr__(self) -> str:
        return f"SymmetricState({self._hash.name}, {self.cipher!r})"

    def mix_key(self, input_key_material: bytes) -> None:
        """MixKey: a new `ck` and a new `k`."""
        self._ck, key = self._hkdf(self._ck, input_key_material)
        self.cipher.initialize_key(key[:KEY_LENGTH])

    def mix_hash(self, data: bytes) -> None:
        """MixHash: h = HASH(h || data)."""
        self.h = self._new(self.h + data).digest()

    def mix_key_and_hash(self, psk: bytes, entropy: Entropy) -> None:
        """MixKeyAndHash: a new `ck`, `h` and `k` from a pre-shared key (32 bytes); the extraction is `entropy`'s."""
        self._ck, temporary, key = self._hash.psk_outputs(entropy, self._ck, psk)
        self.mix_hash(temporary)
        self.cipher.initialize_key(key[:KEY_LENGTH])

    def get_handshake_hash(self) -> bytes:
        """GetHandshakeHash (section 11.2): names the session, once the handshake is over."""
        return self.h

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """EncryptAndHash: encrypted with `h` as associated data, or as it is while there is no key."""
        ciphertext = self.cipher.encrypt_with_ad(self.h, plaintext)
        self.h = self._new(self.h + ciphertext).digest()
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """DecryptAndHash; raises `InvalidMessage` for a wrong tag."""
        plaintext = self.cipher.decrypt_with_ad(self.h, ciphertext)
        self.h = self._new(self.h + ciphertext).digest()
        return plaintext

    def split_keys(self) -> tuple[bytes, bytes]:
        """The two 32-byte keys of Split, for a key schedule of another protocol; `ck` is forgotten."""
        first, second = self._hkdf(self._ck, b"")
        self.forget()
        return first[:KEY_LENGTH], second[:KEY_LENGTH]

    def split(self) -> tuple[CipherState, CipherState]:
        """Split: the `CipherState` of whoever sent the first message, and the other one."""
        functions = self.cipher._functions  # its own
        first, second = self.split_keys()
        return CipherState(functions, first), CipherState(functions, second)

    def forget(self) -> None:
        """Drop the secrets; `h` is none."""
        self._ck = b""
        self.cipher.forget()


__all__ = ["TAG_LENGTH", "CipherState", "Plaintext", "SymmetricState", "does_not_decrypt"]
