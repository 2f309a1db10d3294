"""Hypothesis: random patterns. Valid ones complete and agree, whatever the cut; invalid ones are refused with their rule.

Which rule a random pattern breaks is told by a second, slow reading of sections 7.3 and 9.3 that lives here.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_core import INITIATOR, RESPONDER, DataReceived, Handshake, HandshakeError, Role, profiles, trust
from nautilus_core.noise import HandshakePattern, InvalidPattern, NoiseProtocol
from nautilus_core.testing import Pair

from .helpers import KEYS, PSKS, SUITE

NAME = f"Noise_Random_{SUITE}"
TOKENS = ("e", "s", "ee", "es", "se", "ss", "psk")

pre_messages = st.sampled_from(["", "<- s\n", "-> s\n", "-> s\n<- s\n"])
messages = st.lists(st.lists(st.sampled_from(TOKENS), max_size=5), min_size=1, max_size=5)


def notation(before: str, tokens: list[list[str]]) -> str:
    """A pattern in the notation."""
    arrows = ("->", "<-")
    lines = [f"{arrows[number % 2]} {', '.join(one)}" for number, one in enumerate(tokens)]
    return f"{before}...\n" * bool(before) + "\n".join(lines)


def broken(before: str, tokens: list[list[str]]) -> set[str]:
    """The rules that a pattern breaks, read off the specification one by one."""
    rules: set[str] = set()
    held = {"I": {"s"} if "-> s" in before else set(), "R": {"s"} if "<- s" in before else set()}
    done: list[str] = []
    psk = keyed = False
    one_way = len(tokens) == 1

    def encrypts(side: str) -> None:
        if not keyed:
            return
        pairs = {"I": (("se", "ee"), ("ss", "es")), "R": (("es", "ee"), ("ss", "se"))}[side]
        rules.update({"7.3.4" for static, fresh in pairs if static in done and fresh not in done})
        rules.update({"9.3"} if psk and "e" not in held[side] else ())

    for number, message in enumerate(tokens):
        side = "IR"[number % 2]
        for token in message:
            if token in ("e", "s"):
                rules.update({"7.3.2"} if token in held[side] else ())
                if token == "s":
                    encrypts(side)
                held[side].add(token)
            elif token == "psk":
                psk = keyed = True
            else:
                rules.update({"7.3.1"} if token[0] not in held["I"] or token[1] not in held["R"] else ())
                rules.update({"7.3.3"} if token in done else ())
                done.append(token)
                keyed = True
        encrypts(side)
    for side in "I" if one_way else "IR":
        encrypts(side)
    if not keyed:
        rules.add("7.3.1")
    return rules


@settings(max_examples=300)
@given(pre_messages, messages)
def test_a_random_pattern_is_refused_for_a_rule_that_it_breaks_or_is_valid(
    before: str, tokens: list[list[str]]
) -> None:
    expected = broken(before, tokens)
    if not expected:
        assert len(HandshakePattern.parse(notation(before, tokens)).messages) == len(tokens)
        return
    with pytest.raises(InvalidPattern) as caught:
        HandshakePattern.parse(notation(before, tokens))
    assert caught.value.rule in expected
    if caught.value.message_index is not None and caught.value.token is not None:
        assert caught.value.token in tokens[caught.value.message_index]


@st.composite
def valid_patterns(draw: Any) -> str:
    """A valid pattern: each token that the rules allow where it is drawn."""
    before = draw(pre_messages)
    made: list[list[str]] = []
    for _ in range(draw(st.integers(1, 4))):
        made.append([])
        for token in draw(st.permutations(TOKENS)):
            if not draw(st.booleans()) and token != "e":
                continue
            made[-1].append(token)
            if {"7.3.1", "7.3.2", "7.3.3"} & broken(before, made):
                made[-1].pop()
    return notation(before, _mended(before, made))


def _mended(before: str, tokens: list[list[str]]) -> list[list[str]]:
    """The same without tokens that break rules: first one whose loss mends something, else the last; NN when nothing is left."""
    while rules := broken(before, tokens):
        places = [(number, place) for number, message in enumerate(tokens) for place in range(len(message))]
        if not places:
            return [["e"], ["e", "ee"]]
        for number, place in reversed(places):
            fewer = [list(message) for message in tokens]
            del fewer[number][place]
            if broken(before, fewer) < rules:
                break
        tokens = fewer
    return tokens


def arguments(pattern: HandshakePattern, role: Role) -> dict[str, Any]:
    """What `role` needs."""
    keys = KEYS["25519"]
    needs: dict[str, Any] = {"psks": (PSKS * 3)[: pattern.psk_count], "pattern": pattern}
    if pattern.static_of(role):
        needs["static"] = keys[role]
    if "s" in pattern.pre_messages[role.peer]:
        needs["remote_static"] = keys[role.peer].public
    elif pattern.sends_static(role.peer):
        needs["trust"] = trust.anyone(anonymous=True)
    return needs


@settings(max_examples=150)
@given(valid_patterns(), st.integers(1, 50), st.data())
def test_a_random_valid_pattern_completes_and_agrees(text: str, size: int, data: Any) -> None:
    pattern = HandshakePattern.parse(text, "Random")
    ends = {role: Handshake(role, profiles.noise(NAME, **arguments(pattern, role))) for role in Role}

    def split(flight: bytes) -> list[bytes]:
        return [flight[place : place + size] for place in range(0, len(flight), size)]

    pair = Pair(ends[INITIATOR], ends[RESPONDER], split=split, close=False).run()
    assert pair.initiator.session.channel_binding == pair.responder.session.channel_binding
    channels = {INITIATOR: pair.initiator.session.channel(), RESPONDER: pair.responder.session.channel()}
    for role in (INITIATOR,) if pattern.one_way else Role:
        channels[role].send_data(b"hello")
        channels[role.peer].receive_data(channels[role].data_to_send())
        assert channels[role.peer].next_event() == DataReceived((b"hello",))
    _check_flip(pattern, data)


def _check_flip(pattern: HandshakePattern, data: Any) -> None:
    """Any flipped bit of any message: nobody ends with the other's handshake hash, and errors are of our tree."""
    number = data.draw(st.integers(0, len(pattern.messages) - 1))
    sender = pattern.messages[number].sender
    plan = NoiseProtocol.parse(NAME, pattern).plans[INITIATOR].messages[number]
    if not plan.overhead:
        return
    place, bit = data.draw(st.integers(2, plan.overhead + 1)), 1 << data.draw(st.integers(0, 7))

    def tamper(role: Role, count: int, flight: bytes) -> bytes:
        if (role, count) != (sender, number // 2):
            return flight
        return flight[:place] + bytes((flight[place] ^ bit,)) + flight[place + 1 :]

    ends = [profiles.noise(NAME, **arguments(pattern, role)) for role in Role]
    pair = Pair(ends[0], ends[1], tamper=tamper, close=False).run()
    for end in (pair.initiator, pair.responder):
        assert end.error is None or isinstance(end.error, HandshakeError)
    if pair.initiator.completed and pair.responder.completed:
        assert pair.initiator.session.channel_binding != pair.responder.session.channel_binding
