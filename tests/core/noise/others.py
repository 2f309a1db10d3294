"""Two other implementations behind one interface: the packages `noiseprotocol` and `dissononce`."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from dissononce.cipher.aesgcm import AESGCMCipher
from dissononce.cipher.chachapoly import ChaChaPolyCipher
from dissononce.dh.keypair import KeyPair as OtherKeyPair
from dissononce.dh.x448.private import PrivateKey as Private448
from dissononce.dh.x448.public import PublicKey as Public448
from dissononce.dh.x448.x448 import X448DH
from dissononce.dh.x25519.private import PrivateKey as Private25519
from dissononce.dh.x25519.public import PublicKey as Public25519
from dissononce.dh.x25519.x25519 import X25519DH
from dissononce.extras.meta.modifier.factory import ModifierFactory
from dissononce.extras.meta.pattern.factory import PatternFactory
from dissononce.hash.blake2b import Blake2bHash
from dissononce.hash.blake2s import Blake2sHash
from dissononce.hash.sha256 import SHA256Hash
from dissononce.hash.sha512 import SHA512Hash
from dissononce.processing.impl.cipherstate import CipherState
from dissononce.processing.impl.handshakestate import HandshakeState
from dissononce.processing.impl.symmetricstate import SymmetricState
from noise.connection import Keypair, NoiseConnection

from nautilus_core import INITIATOR, Role
from nautilus_core.noise import HandshakePattern, KeyPair, handshake_pattern


class Other(ABC):
    """One end of a handshake in another implementation; `ours` is which role it plays."""

    @abstractmethod
    def write(self, payload: bytes) -> bytes:
        """The next handshake message."""

    @abstractmethod
    def read(self, message: bytes) -> bytes:
        """The payload of ours."""

    @abstractmethod
    def handshake_hash(self) -> bytes:
        """At the end."""

    @abstractmethod
    def encrypt(self, payload: bytes) -> bytes:
        """A transport message."""

    @abstractmethod
    def decrypt(self, message: bytes) -> bytes:
        """The payload of ours."""


class NoiseProtocolPackage(Other):
    """The package `noiseprotocol`."""

    def __init__(
        self, name: str, role: Role, own: KeyPair, peers: bytes, psks: Sequence[bytes], prologue: bytes
    ) -> None:
        pattern = handshake_pattern(name.split("_")[1])
        connection: Any = NoiseConnection.from_name(name.encode())
        if role is INITIATOR:
            connection.set_as_initiator()
        else:
            connection.set_as_responder()
        if pattern.static_of(role):
            connection.set_keypair_from_private_bytes(Keypair.STATIC, own.private.private_bytes_raw())
        if "s" in pattern.pre_messages[role.peer]:
            connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, peers)
        if psks:
            connection.set_psks(psks=list(psks))
        connection.set_prologue(prologue)
        connection.start_handshake()
        self._connection = connection

    def write(self, payload: bytes) -> bytes:
        return bytes(self._connection.write_message(payload))

    def read(self, message: bytes) -> bytes:
        return bytes(self._connection.read_message(message))

    def handshake_hash(self) -> bytes:
        return bytes(self._connection.get_handshake_hash())

    def encrypt(self, payload: bytes) -> bytes:
        return bytes(self._connection.encrypt(payload))

    def decrypt(self, message: bytes) -> bytes:
        return bytes(self._connection.decrypt(message))


_CIPHERS: Final[dict[str, Any]] = {"AESGCM": AESGCMCipher, "ChaChaPoly": ChaChaPolyCipher}
_HASHES: Final[dict[str, Any]] = {
    "SHA256": SHA256Hash,
    "SHA512": SHA512Hash,
    "BLAKE2s": Blake2sHash,
    "BLAKE2b": Blake2bHash,
}
_DHS: Final[dict[str, Any]] = {"25519": (X25519DH, Public25519, Private25519), "448": (X448DH, Public448, Private448)}


class Dissononce(Other):
    """The package `dissononce`; with `ephemeral` for the patterns that have it in a pre-message."""

    def __init__(
        self,
        name: str,
        role: Role,
        own: KeyPair,
        peers: bytes,
        psks: Sequence[bytes],
        prologue: bytes,
        ephemeral: KeyPair | None = None,
    ) -> None:
        _, called, dh, cipher, function = name.split("_")
        pattern: HandshakePattern = handshake_pattern(called)
        new_dh, public, private = _DHS[dh]
        base, modifiers = _split(called)
        made: Any = PatternFactory().get_pattern(base)
        for modifier in modifiers:
            made = ModifierFactory().get_modifier(modifier).modify(made)
        self._symmetric: Any = SymmetricState(CipherState(_CIPHERS[cipher]()), _HASHES[function]())
        self._state: Any = HandshakeState(self._symmetric, new_dh())
        keys: dict[str, Any] = {}
        if pattern.static_of(role):
            keys["s"] = OtherKeyPair(public(own.public), private(own.private.private_bytes_raw()))
        if "s" in pattern.pre_messages[role.peer]:
            keys["rs"] = public(peers)
        if ephemeral is not None and "e" in pattern.pre_messages[role]:
            keys["e"] = OtherKeyPair(public(ephemeral.public), private(ephemeral.private.private_bytes_raw()))
        if ephemeral is not None and "e" in pattern.pre_messages[role.peer]:
            keys["re"] = public(ephemeral.public)
        self._state.initialize(made, role is INITIATOR, prologue, psks=list(psks) or None, **keys)
        self._first = pattern.first_sender is role
        self._ciphers: Any = None

    def write(self, payload: bytes) -> bytes:
        buffer = bytearray()
        self._ciphers = self._state.write_message(payload, buffer)
        return bytes(buffer)

    def read(self, message: bytes) -> bytes:
        buffer = bytearray()
        self._ciphers = self._state.read_message(message, buffer)
        return bytes(buffer)

    def handshake_hash(self) -> bytes:
        return bytes(self._symmetric.get_handshake_hash())

    def encrypt(self, payload: bytes) -> bytes:
        return bytes(self._ciphers[0 if self._first else 1].encrypt_with_ad(b"", payload))

    def decrypt(self, message: bytes) -> bytes:
        return bytes(self._ciphers[1 if self._first else 0].decrypt_with_ad(b"", message))


def _split(called: str) -> tuple[str, list[str]]:
    """A pattern's own name, and its modifiers."""
    base = re.match(r"[A-Z1]+", called)
    if base is None:
        raise ValueError(called)
    rest = called[base.end() :]
    return base[0], rest.split("+") if rest else []
