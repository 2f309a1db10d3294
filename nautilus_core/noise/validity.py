"""Message patterns, and the rules of sections 7.3 and 9.3 that a handshake pattern must keep. Parsing is in `patterns`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..role import INITIATOR, RESPONDER, Role

ARROWS: Final[Mapping[Role, str]] = {INITIATOR: "->", RESPONDER: "<-"}

DH_TOKENS: Final = ("ee", "es", "se", "ss")
"""The first letter is the initiator's key, the second the responder's."""

TOKENS: Final = ("e", "s", *DH_TOKENS, "psk", "e1", "ekem1")


class InvalidPattern(ValueError):
    """A pattern that is none, or that breaks a rule.

    Attributes:
        rule: the section and number in the specification: `7.3.1` to `7.3.4`, `9.3`, `7.1` for the notation, `hfs`.
        message_index: the message it is broken in, from 0; None for the pre-messages, and after the last message.
        token: the token it is broken by; None where it is the payload.
    """

    def __init__(self, rule: str, why: str, message_index: int | None = None, token: str | None = None) -> None:
        where = "" if message_index is None else f" in message {message_index}"
        where += "" if token is None else f" at token {token!r}"
        super().__init__(f"rule {rule}{where}: {why}")
        self.rule = rule
        self.message_index = message_index
        self.token = token


@dataclass(frozen=True, slots=True)
class MessagePattern:
    """Who sends a message, and the tokens it is made of; the payload at its end goes without saying."""

    sender: Role
    tokens: tuple[str, ...]

    def __str__(self) -> str:
        return f"{ARROWS[self.sender]} {', '.join(self.tokens)}".rstrip()


def keys_of(token: str, role: Role) -> tuple[str, str]:
    """The keys of a DH token as `role` sees them: its own (`e` or `s`), and the peer's."""
    return (token[0], token[1]) if role is INITIATOR else (token[1], token[0])


class _Walk:
    """What each side holds, at some place of a pattern."""

    def __init__(self, pre_messages: Mapping[Role, tuple[str, ...]]) -> None:
        self.sent = {role: set(pre_messages[role]) for role in Role}
        self.done: set[str] = set()
        self.has_key = False
        self.has_psk = False
        self.kem: Role | None = None

    def take(self, index: int, sender: Role, token: str) -> None:
        """Process one token of a message."""
        if token not in TOKENS:
            raise InvalidPattern("7.1", f"no such token; use {', '.join(TOKENS)}", index, token)
        if token in ("e", "s"):
            self._public_key(index, sender, token)
        elif token in DH_TOKENS:
            self._dh(index, token)
        elif token == "psk":  # noqa: S105  # a token of a pattern
            self.has_psk = self.has_key = True
        else:
            self._kem(index, sender, token)

    def _public_key(self, index: int, sender: Role, token: str) -> None:
        if token in self.sent[sender]:
            raise InvalidPattern("7.3.2", f"the {sender.value} sends its {_KEYS[token]} key twice", index, token)
        if token == "s":  # noqa: S105
            self.check_encrypt(index, sender, token)
        self.sent[sender].add(token)

    def _dh(self, index: int, token: str) -> None:
        for role, key in ((INITIATOR, token[0]), (RESPONDER, token[1])):
            if key not in self.sent[role]:
                raise InvalidPattern("7.3.1", f"the {role.value} has no {_KEYS[key]} key there", index, token)
        if token in self.done:
            raise InvalidPattern("7.3.3", "the same DH twice", index, token)
        self.done.add(token)
        self.has_key = True

    def _kem(self, index: int, sender: Role, token: str) -> None:
        if token == "e1":  # noqa: S105
            if self.kem is not None:
                raise InvalidPattern("hfs", "a second KEM key", index, token)
            self.kem = sender
        else:
            if self.kem is not sender.peer:
                raise InvalidPattern("hfs", "a KEM ciphertext to no key of the peer", index, token)
            if token in self.done:
                raise InvalidPattern("hfs", "a second KEM ciphertext", index, token)
            self.done.add(token)
        self.check_encrypt(index, sender, token, ("ee", "es" if sender is INITIATOR else "se"))
        self.has_key = self.has_key or token == "ekem1"  # noqa: S105

    def check_encrypt(self, index: int | None, sender: Role, token: str | None, enough: tuple[str, ...] = ()) -> None:
        """Rules 7.3.4 and 9.3, where `sender` encrypts: the key or ciphertext `token`, or a payload (None).

        For the KEM's parts any DH of `enough` makes the key a fresh one: so the draft has it in IK and KK, whose payloads then
        keep the whole rule.
        """
        if not self.has_key:
            return
        for dh in DH_TOKENS:
            own, theirs = keys_of(dh, sender)
            fresh = "e" + theirs if sender is INITIATOR else theirs + "e"
            if dh in self.done and own == "s" and not self.done & {fresh, *enough}:
                raise InvalidPattern(
                    "7.3.4", f"after {dh}, the {sender.value} must not encrypt unless there was {fresh}", index, token
                )
        if self.has_psk and "e" not in self.sent[sender]:
            raise InvalidPattern(
                "9.3", f"after psk, the {sender.value} must not encrypt unless it has sent e", index, token
            )


_KEYS: Final = {"e": "ephemeral", "s": "static"}


def check_validity(pre_messages: Mapping[Role, tuple[str, ...]], messages: Sequence[MessagePattern]) -> None:
    """Raise `InvalidPattern` unless the pattern keeps all rules."""
    if not messages:
        raise InvalidPattern("7.1", "a pattern has at least one message")
    walk = _Walk(pre_messages)
    sender = messages[0].sender
    for index, message in enumerate(messages):
        if message.sender is not sender:
            raise InvalidPattern("7.1", "messages alternate between the two sides", index)
        for token in message.tokens:
            walk.take(index, sender, token)
        walk.check_encrypt(index, sender, None)
        sender = sender.peer
    if walk.kem is not None and "ekem1" not in walk.done:
        raise InvalidPattern("hfs", "a KEM key that nothing is encapsulated to", None, "e1")
    if not walk.has_key:
        raise InvalidPattern("7.3.1", "a pattern without any DH, psk or KEM agrees on no key")
    if not is_one_way(pre_messages, messages):  # whoever sent last has just encrypted
        walk.check_encrypt(None, messages[-1].sender.peer, None)


def is_one_way(pre_messages: Mapping[Role, tuple[str, ...]], messages: Sequence[MessagePattern]) -> bool:
    """Whether one message is all, and its recipient has no ephemeral key: only its sender sends afterwards (section 7.4)."""
    return len(messages) == 1 and "e" not in pre_messages[messages[0].sender.peer]
