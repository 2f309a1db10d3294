"""`HandshakeState` (section 5.3): processes the messages of one side of a handshake. Framing and trust are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ..crypto.entropy import SYSTEM_ENTROPY, Entropy
from ..errors import AlertCode, InvalidMessage, KeyAgreementFailed, LocalProtocolError
from .functions import DHPublicKey, KeyPair, RemoteKey
from .names import DH_EE, DH_ES, DH_SE, DH_SS, KEM_KEY, PSK, SEND_E, SEND_S, MessagePlan, NoiseProtocol
from .symmetric import SymmetricState

if TYPE_CHECKING:
    from ..role import Role
    from .symmetric import CipherState

MAX_MESSAGE: Final = 65_535
"""Section 3: of every Noise message, in bytes."""

PSK_LENGTH: Final = 32


class HandshakeState:
    """One side of a Noise handshake. After the last message, `split` gives the two cipher states.

    After any failure every call raises `LocalProtocolError`, and the keys are gone.

    Args:
        protocol: the pattern and the functions.
        role: `INITIATOR` for Alice, the pattern's left side, `RESPONDER` for Bob.
        prologue: what both sides must have seen alike before (section 6).
        s: this side's static key pair.
        e: its ephemeral key pair, only for a pattern that has it in a pre-message.
        rs: the peer's static public key, only where it is in a pre-message.
        re: the peer's ephemeral public key, likewise.
        psks: the pre-shared keys, each 32 bytes, in the order of their tokens.
        entropy: makes the ephemeral keys, and has the Diffie-Hellman of the static key done.

    Raises:
        ValueError: a key or psk that the pattern needs is missing, or one is given that it does not need.
    """

    __slots__ = (
        "_e",
        "_e_public",
        "_entropy",
        "_failed",
        "_kem_key",
        "_plan",
        "_plans",
        "_psk_mode",
        "_psks",
        "_re",
        "_re_public",
        "_rs",
        "_rs_public",
        "_s",
        "_s_public",
        "_symmetric",
        "index",
        "protocol",
        "role",
    )

    def __init__(
        self,
        protocol: NoiseProtocol,
        role: Role,
        *,
        prologue: bytes = b"",
        s: KeyPair | None = None,
        e: KeyPair | None = None,
        rs: RemoteKey | None = None,
        re: RemoteKey | None = None,
        psks: Sequence[bytes] = (),
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        """Initialize: the name, the prologue, the pre-messages."""
        plan = protocol.plans[role]
        if (
            (s is not None, e is not None, rs is not None, re is not None) != plan.needs
            or len(psks) != plan.psks
            or psks
        ):
            check_keys(protocol, role, s=s, e=e, rs=rs, re=re, psks=psks)
        self.protocol = protocol
        self.role = role
        self.index = 0
        """How many messages were processed."""
        self._plans = plan.messages
        self._plan: MessagePlan | None = plan.messages[0]
        self._entropy = entropy
        self._failed = False
        self._psks = psks
        self._psk_mode = plan.psks > 0
        self._s: Any = None if s is None else s.private
        self._s_public = b"" if s is None else s.public
        self._e: Any = None if e is None else e.private
        self._e_public = b"" if e is None else e.public
        self._rs: DHPublicKey | None = None if rs is None else rs.key
        self._rs_public = b"" if rs is None else rs.data
        self._re: DHPublicKey | None = None if re is None else re.key
        self._re_public = b"" if re is None else re.data
        self._kem_key: Any = None
        symmetric = self._symmetric = SymmetricState(protocol)
        symmetric.mix_hash(prologue)
        for own, key in plan.pre_messages:
            if key == "s":
                symmetric.mix_hash(self._s_public if own else self._rs_public)
            else:
                self._mix_e(self._e_public if own else self._re_public)

    def __repr__(self) -> str:
        return f"HandshakeState({self.protocol.name}, {self.role!r}, message {self.index})"

    # -------------------------------------------------------------- what it knows

    @property
    def handshake_hash(self) -> bytes:
        """GetHandshakeHash: `h`, HASHLEN bytes. Once the handshake is finished it names the session (section 11.2)."""
        return self._symmetric.h

    @property
    def remote_static(self) -> bytes | None:
        """The peer's static public key as far as it is known; not verified before a DH with it was (section 7.7)."""
        return self._rs_public or None

    @property
    def remote_ephemeral(self) -> bytes | None:
        """The peer's ephemeral public key, once it has come."""
        return self._re_public or None

    @property
    def finished(self) -> bool:
        """Whether all messages are processed."""
        return self.index == len(self._plans)

    # -------------------------------------------------------------- messages

    def write_message(self, payload: bytes = b"") -> bytes:
        """WriteMessage: the next message, with `payload`.

        Raises:
            LocalProtocolError: it is the peer's turn, the handshake is over or has failed, or the message would be too long.
            KeyAgreementFailed: a DH with a key of the peer leads to a known secret.
        """
        plan = self._plan
        if plan is None or not plan.sends:
            self._refuse("write")
        if plan.overhead + len(payload) > MAX_MESSAGE:
            raise LocalProtocolError(
                f"a payload of {len(payload)} bytes; this message has room for {MAX_MESSAGE - plan.overhead}"
            )
        symmetric = self._symmetric
        parts: list[bytes] = []
        try:
            for operation, _ in plan.operations:
                if operation == SEND_E:
                    parts.append(self._write_e())
                elif operation == SEND_S:
                    parts.append(symmetric.encrypt_and_hash(self._s_public))
                elif operation <= DH_SS:
                    symmetric.mix_key(self._dh(operation))
                elif operation == PSK:
                    self._mix_psk()
                else:
                    parts.append(self._write_kem(operation))
            parts.append(symmetric.encrypt_and_hash(payload))
        except BaseException:
            self.forget()
            raise
        self._advance()
        return b"".join(parts)

    def read_message(self, message: bytes) -> bytes:
        """ReadMessage: the payload of the peer's next message.

        Raises:
            LocalProtocolError: it is this side's turn, or the handshake is over or has failed.
            InvalidMessage: the message is too short or too long, or does not decrypt.
            KeyAgreementFailed: a key of the peer is not usable.
        """
        plan = self._plan
        if plan is None or plan.sends:
            self._refuse("read")
        symmetric = self._symmetric
        place = 0
        try:
            if not plan.overhead <= len(message) <= MAX_MESSAGE:
                raise _wrong_length(plan, len(message))
            for operation, length in plan.operations:
                end = place + length
                if operation == SEND_E:
                    self._read_e(message[place:end])
                elif operation == SEND_S:
                    public = self._rs_public = symmetric.decrypt_and_hash(message[place:end])
                    self._rs = self._parse(public)
                elif operation <= DH_SS:
                    symmetric.mix_key(self._dh(operation))
                elif operation == PSK:
                    self._mix_psk()
                else:
                    self._read_kem(operation, message[place:end])
                place = end
            payload = symmetric.decrypt_and_hash(message[place:])
        except BaseException:
            self.forget()
            raise
        self._advance()
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """Split: the cipher states of whoever sent the first message, and of the other side. Once; then all keys are gone.

        In a one-way pattern the second is not to be used (section 7.4).

        Raises:
            LocalProtocolError: there are messages to come, or it was called before.
        """
        self._check_finished()
        pair = self._symmetric.split()
        self.forget()
        return pair

    def split_keys(self) -> tuple[bytes, bytes]:
        """The keys of `split`, 32 bytes each, for a key schedule of another protocol; raises as `split`."""
        self._check_finished()
        keys = self._symmetric.split_keys()
        self.forget()
        return keys

    def forget(self) -> None:
        """Drop all keys: the handshake is over, or has failed."""
        self._failed = True
        self._plan = None
        self._s = self._e = self._rs = self._re = self._kem_key = None
        self._psks = ()
        self._symmetric.forget()

    # -------------------------------------------------------------- tokens

    def _advance(self) -> None:
        self._symmetric.cipher.rest()
        self.index = index = self.index + 1
        self._plan = self._plans[index] if index < len(self._plans) else None

    def _refuse(self, what: str) -> NoReturn:
        if self._failed:
            raise LocalProtocolError("this handshake has failed, or was split: its keys are gone")
        if self._plan is None:
            raise LocalProtocolError("the handshake has no more messages: split() it")
        turn = "read" if what == "write" else "write"
        raise LocalProtocolError(f"out of turn: this side is to {turn} message {self.index}, not to {what} it")

    def _check_finished(self) -> None:
        if self._failed:
            raise LocalProtocolError("this handshake has failed, or was split: its keys are gone")
        if not self.finished:
            raise LocalProtocolError(f"message {self.index} has not been processed: nothing to split yet")

    def _mix_e(self, public: bytes) -> None:
        """An ephemeral key is hashed; in a psk handshake it is a key as well (section 9.2)."""
        self._symmetric.mix_hash(public)
        if self._psk_mode:
            self._symmetric.mix_key(public)

    def _write_e(self) -> bytes:
        private = self._e = self._entropy.ephemeral_key(self.protocol.dh.algorithm)
        public: bytes = private.public_key().public_bytes_raw()
        self._e_public = public
        self._mix_e(public)
        return public

    def _read_e(self, public: bytes) -> None:
        if public == self._e_public:
            raise KeyAgreementFailed("our own ephemeral key came back", hint="this side's messages are reflected to it")
        self._re_public = public
        self._re = self._parse(public)
        self._mix_e(public)

    def _parse(self, public: bytes) -> DHPublicKey:
        try:
            return self.protocol.dh.parse(public)
        except ValueError as error:
            raise KeyAgreementFailed(f"not a {self.protocol.dh.name} public key") from error

    def _dh(self, operation: int) -> bytes:
        """DH (section 4.1) of one of our keys and one of the peer's; an all-zero output is refused (section 14)."""
        remote = self._re if operation in (DH_EE, DH_SE) else self._rs
        try:
            if operation in (DH_EE, DH_ES):
                output: bytes = self._e.exchange(remote)
                return output
            return self._entropy.exchange(self._s, remote)
        except ValueError as error:
            raise KeyAgreementFailed(
                f"a {self.protocol.dh.name} key of the peer leads to an all-zero secret",
                expected="a point of large order",
                received="a point of small order",
            ) from error

    def _mix_psk(self) -> None:
        psk, *self._psks = self._psks
        self._symmetric.mix_key_and_hash(psk, self._entropy)

    def _write_kem(self, operation: int) -> bytes:
        """`e1` or `ekem1` of the hfs draft, on the side that sends it."""
        kem = self.protocol.kem
        if kem is None:
            _no_kem()
        if operation == KEM_KEY:
            self._kem_key = self._entropy.ephemeral_key(kem.name)
            return self._symmetric.encrypt_and_hash(self._kem_key.public_key().public_bytes_raw())
        secret, ciphertext = kem.encapsulate(self._entropy, self._kem_key)
        sent = self._symmetric.encrypt_and_hash(ciphertext)
        self._symmetric.mix_key(secret)
        return sent

    def _read_kem(self, operation: int, sent: bytes) -> None:
        """The same on the other side."""
        received = self._symmetric.decrypt_and_hash(sent)
        if operation == KEM_KEY:
            self._kem_key = received
        else:
            self._symmetric.mix_key(self._kem_key.decapsulate(received))


def _no_kem() -> NoReturn:
    raise LocalProtocolError("a KEM token in a protocol without a KEM")


def _wrong_length(plan: MessagePlan, length: int) -> InvalidMessage:
    if length > MAX_MESSAGE:
        return InvalidMessage(
            "a Noise message is too long",
            expected=f"at most {MAX_MESSAGE} bytes",
            received=f"{length} bytes",
            alert=AlertCode.RECORD_OVERFLOW,
        )
    return InvalidMessage(
        "a Noise message is too short",
        expected=f"{plan.overhead} bytes and more: {', '.join(plan.tokens) or 'a payload'}",
        received=f"{length} bytes",
    )


def check_keys(
    protocol: NoiseProtocol,
    role: Role,
    *,
    s: object,
    e: object,
    rs: object,
    re: object,
    psks: Sequence[bytes],
) -> None:
    """Raise `ValueError`, which says which, unless exactly what `role` needs in this pattern is there."""
    plan = protocol.plans[role]
    words = (
        "its static key (s)",
        "its ephemeral key (e), which is a pre-message",
        "the peer's static key (rs), which is a pre-message",
        "the peer's ephemeral key (re), which is a pre-message",
    )
    for given, needed, what in zip((s, e, rs, re), plan.needs, words, strict=True):
        if (given is not None) is not needed:
            verb = "needs" if needed else "does not take"
            raise ValueError(f"in {protocol.name} the {role.value} {verb} {what}")
    if len(psks) != plan.psks:
        raise ValueError(f"{protocol.name} takes {plan.psks} psks, not {len(psks)}")
    if any(len(psk) != PSK_LENGTH for psk in psks):
        raise ValueError(f"a psk has {PSK_LENGTH} bytes")
