"""The security properties of payloads (section 7.7), computed for any pattern. Nothing is enforced here."""

from __future__ import annotations

from dataclasses import dataclass

from ..role import INITIATOR, Role
from .patterns import HandshakePattern
from .validity import DH_TOKENS


@dataclass(frozen=True, slots=True)
class Properties:
    """What the payloads of one message, or of one direction afterwards, are worth. Pre-shared keys and KEMs do not count.

    Attributes:
        sender: whose payload it is.
        source: how it is authenticated. 0 not at all; 1 by `ss`, which whoever has the recipient's static key can forge;
            2 by a DH of the sender's static and the recipient's ephemeral key.
        destination: how it is kept secret. 0 not at all; 1 for an ephemeral key of anybody; 2 for a known recipient, without
            forward secrecy if its static key leaks, and open to replay; 3 with weak forward secrecy; 4 with weak forward
            secrecy if the sender's static key has leaked; 5 with strong forward secrecy.
    """

    sender: Role
    source: int
    destination: int

    def __str__(self) -> str:
        return f"source {self.source}, destination {self.destination}"


def handshake_properties(pattern: HandshakePattern) -> tuple[Properties, ...]:
    """Of the payload of each message of `pattern`, in order."""
    return _walk(pattern)[0]


def transport_properties(pattern: HandshakePattern) -> tuple[Properties, ...]:
    """Of each direction's payloads after the handshake, once either side has heard the other; one for a one-way pattern.

    Who did not send the last handshake message comes first. A payload that the other side sends before it has heard that
    first transport message may be worth less.
    """
    rows, done, heard = _walk(pattern)
    last = rows[-1].sender
    if pattern.one_way:
        return (_row(done, last, heard[last]),)
    first = _row(done, last.peer, heard[last.peer])
    return first, _row(done, last, max(heard[last], first.source))


def _walk(pattern: HandshakePattern) -> tuple[tuple[Properties, ...], set[str], dict[Role, int]]:
    """The rows of all messages, the DHs done by their end, and how well each side has authenticated the other."""
    done: set[str] = set()
    heard = dict.fromkeys(Role, 0)
    rows: list[Properties] = []
    for message in pattern.messages:
        done.update(token for token in message.tokens if token in DH_TOKENS)
        row = _row(done, message.sender, heard[message.sender])
        heard[message.sender.peer] = max(heard[message.sender.peer], row.source)
        rows.append(row)
    return tuple(rows), done, heard


def _row(done: set[str], sender: Role, heard: int) -> Properties:
    """For a payload of `sender`, which has so far heard its peer with the source property `heard`."""
    own_static = "se" if sender is INITIATOR else "es"
    to_static = "es" if sender is INITIATOR else "se"
    source = 2 if own_static in done else 1 if "ss" in done else 0
    if "ee" not in done:
        destination = 2 if to_static in done else 0  # ss alone does not encrypt (rule 7.3.4)
    elif to_static in done:
        destination = 3 + heard
    else:
        destination = 1
    return Properties(sender, source, destination)
