"""Randomness that is kept and played again: the tape of what an `Entropy` gave, and how it is written down.

It holds what private keys made, and ephemeral keys themselves, but never the key of an identity. Of TLS it holds what a
connection answered, with the exporter's output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..crypto.entropy import Entropy
from ..crypto.hashing import HashFunction
from ..crypto.signatures import SigningKey
from ..tls.flight import TlsEnd, TlsFlight, decode_flight, encode_flight
from .lines import Drawn

V = TypeVar("V")

_LOADERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "X25519": X25519PrivateKey.from_private_bytes,
    "X448": X448PrivateKey.from_private_bytes,
    "P256": lambda data: derive_private_key(int.from_bytes(data, "big"), SECP256R1()),
    "P384": lambda data: derive_private_key(int.from_bytes(data, "big"), SECP384R1()),
    "MLKEM768": MLKEM768PrivateKey.from_seed_bytes,
    "MLKEM1024": MLKEM1024PrivateKey.from_seed_bytes,
}


class RecordingEntropy(Entropy):
    """Draws from another `Entropy` and keeps on `tape` all that it gave, in order, for `ReplayingEntropy`."""

    __slots__ = ("_source", "tape")

    def __init__(self, source: Entropy | None = None) -> None:
        self._source = source or Entropy()
        self.tape: list[tuple[str, Any]] = []

    def random_bytes(self, length: int) -> bytes:
        """`length` random bytes."""
        return self._draw("random", self._source.random_bytes, length)

    def ephemeral_key(self, algorithm: str) -> Any:
        """A fresh private key."""
        return self._draw(algorithm, self._source.ephemeral_key, algorithm)

    def encapsulate(self, public_key: Any) -> tuple[bytes, bytes]:
        """A shared secret and its ciphertext."""
        return self._draw("encapsulation", self._source.encapsulate, public_key)

    def sign(self, key: SigningKey, message: bytes) -> bytes:
        """A signature."""
        return self._draw("signature", self._source.sign, key, message)

    def exchange(self, key: Any, public_key: Any) -> bytes:
        """The secret of a static Diffie-Hellman."""
        return self._draw("exchange", self._source.exchange, key, public_key)

    def extract(self, function: HashFunction, salt: bytes, psk: bytes) -> bytes:
        """What was extracted from a pre-shared key."""
        return self._draw("extraction", self._source.extract, function, salt, psk)

    def tls(self, end: TlsEnd, received: bytes) -> TlsFlight:
        """A TLS connection's answer."""
        return self._draw("tls", self._source.tls, end, received)

    def _draw(self, kind: str, draw: Callable[..., V], *arguments: Any) -> V:
        try:
            value = draw(*arguments)
        except ValueError as error:  # a key of the peer that leads nowhere: it will do so again
            self._keep(kind, ValueError(str(error)))
            raise
        self._keep(kind, value)
        return value

    def _keep(self, kind: str, value: Any) -> None:
        self.tape.append((kind, value))


class WritingEntropy(RecordingEntropy):
    """The same; each draw is handed to `keep` as it comes, and nothing is held here."""

    __slots__ = ("_give",)

    def __init__(self, source: Entropy, keep: Callable[[str, Any], None]) -> None:
        super().__init__(source)
        self._give = keep

    def _keep(self, kind: str, value: Any) -> None:
        self._give(kind, value)


class ReplayingEntropy(Entropy):
    """Gives again what stands on a tape, in order.

    Attributes:
        problem: what was drawn that the tape does not have next; None as long as it had all.

    Raises:
        ValueError: for another kind of draw than the tape has next, or when it is at its end.
    """

    __slots__ = ("_tape", "drawn", "problem")

    def __init__(self, tape: Iterable[tuple[str, Any]]) -> None:
        self._tape = iter(tape)
        self.problem: str | None = None
        self.drawn = 0

    def random_bytes(self, length: int) -> bytes:
        """The recorded bytes; `ValueError` when they are not `length` long."""
        data: bytes = self._next("random")
        if len(data) != length:
            raise self._refuse(f"the tape has {len(data)} random bytes where {length} are drawn")
        return data

    def ephemeral_key(self, algorithm: str) -> Any:
        """The recorded key."""
        return self._next(algorithm)

    def encapsulate(self, public_key: Any) -> tuple[bytes, bytes]:
        """The recorded encapsulation."""
        encapsulation: tuple[bytes, bytes] = self._next("encapsulation")
        return encapsulation

    def sign(self, key: SigningKey, message: bytes) -> bytes:
        """The recorded signature; `key` is not used."""
        signature: bytes = self._next("signature")
        return signature

    def exchange(self, key: Any, public_key: Any) -> bytes:
        """The recorded secret; `key` is not used."""
        secret: bytes = self._next("exchange")
        return secret

    def extract(self, function: HashFunction, salt: bytes, psk: bytes) -> bytes:
        """The recorded extraction; `psk` is not used."""
        extracted: bytes = self._next("extraction")
        return extracted

    def tls(self, end: TlsEnd, received: bytes) -> TlsFlight:
        """The recorded answer; `end` is not used."""
        flight: TlsFlight = self._next("tls")
        return flight

    def _next(self, kind: str) -> Any:
        recorded, value = next(self._tape, ("nothing more", None))
        if recorded != kind:
            raise self._refuse(f"the tape has {recorded}, but {kind} is drawn")
        self.drawn += 1
        if isinstance(value, ValueError):
            raise value
        return value

    def _refuse(self, problem: str) -> ValueError:
        self.problem = self.problem or problem
        return ValueError(problem)


def written(kind: str, value: Any, at: int | None) -> Drawn:
    """The line for one draw."""
    if isinstance(value, ValueError):
        return Drawn(at=at, what=kind, data=b"", error=str(value))
    if kind == "encapsulation":
        secret, ciphertext = value
        return Drawn(at=at, what=kind, data=secret, ciphertext=ciphertext)
    if isinstance(value, TlsFlight):
        return Drawn(at=at, what=kind, data=encode_flight(value))
    if isinstance(value, EllipticCurvePrivateKey):
        number = value.private_numbers().private_value
        return Drawn(at=at, what=kind, data=number.to_bytes((value.key_size + 7) // 8, "big"))
    if kind in _LOADERS:
        return Drawn(at=at, what=kind, data=value.private_bytes_raw())
    return Drawn(at=at, what=kind, data=value)


def drawn(line: Drawn) -> tuple[str, Any]:
    """The reverse: a draw for `ReplayingEntropy`; `ValueError` for what is no key."""
    if line.error is not None:
        return line.what, ValueError(line.error)
    if line.what == "encapsulation":
        return line.what, (line.data, line.ciphertext or b"")
    if line.what == "tls":
        return line.what, decode_flight(line.data)
    loader = _LOADERS.get(line.what)
    return line.what, line.data if loader is None else loader(line.data)
