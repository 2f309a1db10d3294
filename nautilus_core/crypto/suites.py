"""Cipher suites: what they are called and made of. No negotiation lives here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from .hashing import SHA256, SHA384, HashFunction

TAG_LENGTH: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class Aead:
    """An AEAD with a 12-byte nonce and a 16-byte tag; `new` makes its cipher from a key of `key_length` bytes."""

    name: str
    key_length: int
    new: Callable[[bytes], AESGCM | ChaCha20Poly1305]


AES_256_GCM: Final = Aead("AES256GCM", 32, AESGCM)
AES_128_GCM: Final = Aead("AES128GCM", 16, AESGCM)
CHACHA20_POLY1305: Final = Aead("CHACHA20POLY1305", 32, ChaCha20Poly1305)


@dataclass(frozen=True, slots=True, eq=False)
class CipherSuite:
    """A group for the key agreement (by name), an AEAD for the messages, a hash for transcript and key schedule.

    A suite that is a Noise protocol, or for TLS, has no group: their messages agree on the key.
    `tls_name` is what TLS calls the suite (RFC 8446 appendix B.4), where it is for TLS.
    `key_info` and `iv_info` are the constants of RFC 8446 section 7.3, made once.
    """

    name: str
    group: str
    aead: Aead
    hash: HashFunction
    key_info: bytes
    iv_info: bytes
    tls_name: str = ""

    def __str__(self) -> str:
        return self.name


def make_suite(name: str, group: str, aead: Aead, function: HashFunction, tls_name: str = "") -> CipherSuite:
    """A suite and its constants."""
    key_info, iv_info = function.label_info(b"key", aead.key_length), function.label_info(b"iv", 12)
    return CipherSuite(name, group, aead, function, key_info, iv_info, tls_name)


def _all_suites() -> Mapping[str, CipherSuite]:
    groups = ("X25519MLKEM768", "SecP384R1MLKEM1024", "X25519", "P256")
    ciphers = ((AES_256_GCM, SHA384), (CHACHA20_POLY1305, SHA256), (AES_128_GCM, SHA256))
    suites: dict[str, CipherSuite] = {}
    for group in groups:
        for aead, function in ciphers:
            name = f"{group}_{aead.name}_{function.name}"
            suites[name] = make_suite(name, group, aead, function)
    return MappingProxyType(suites)


SUITES: Final = _all_suites()
"""Every suite by name, but for Noise protocols and TLS."""


def _tls_suites() -> Mapping[str, CipherSuite]:
    suites: dict[str, CipherSuite] = {}
    for aead, function, tls_name in (
        (AES_256_GCM, SHA384, "TLS_AES_256_GCM_SHA384"),
        (CHACHA20_POLY1305, SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
        (AES_128_GCM, SHA256, "TLS_AES_128_GCM_SHA256"),
    ):
        name = f"TLS13_{aead.name}_{function.name}"
        suites[name] = make_suite(name, "", aead, function, tls_name)
    return MappingProxyType(suites)


TLS_SUITES: Final = _tls_suites()
"""Those in which TLS 1.3 is the key agreement, by name: hash and AEAD are those of TLS's own suite."""

DEFAULT_SUITES: Final = (
    "X25519MLKEM768_AES256GCM_SHA384",
    "X25519MLKEM768_CHACHA20POLY1305_SHA256",
    "SecP384R1MLKEM1024_AES256GCM_SHA384",
    "X25519_AES256GCM_SHA384",
    "X25519_CHACHA20POLY1305_SHA256",
    "P256_AES128GCM_SHA256",
)
"""What a side offers unless told otherwise, in order of preference: post-quantum hybrids first."""
