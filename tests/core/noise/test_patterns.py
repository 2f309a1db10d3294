"""Patterns: the notation, the named ones, modifiers, the rules of sections 7.3 and 9.3, security properties, names."""

from __future__ import annotations

import pytest

from nautilus_core import INITIATOR, RESPONDER
from nautilus_core.noise import HandshakePattern, InvalidPattern, NoiseProtocol, handshake_pattern
from nautilus_core.noise.patterns import DEFERRED, FUNDAMENTAL, ONE_WAY, PATTERNS
from nautilus_core.noise.properties import Properties, handshake_properties, transport_properties

from .helpers import ALL_NAMED

PARTS = ("25519", "ChaChaPoly", "SHA256")


def test_there_are_all_38_named_patterns() -> None:
    assert (len(ONE_WAY), len(FUNDAMENTAL), len(DEFERRED)) == (3, 12, 23)
    assert set(PATTERNS) == {*ONE_WAY, *FUNDAMENTAL, *DEFERRED}


@pytest.mark.parametrize("name", ALL_NAMED)
def test_a_pattern_is_printed_as_it_is_parsed(name: str) -> None:
    pattern = handshake_pattern(name)
    assert pattern.name == name
    again = HandshakePattern.parse(str(pattern), name)
    assert again == pattern
    assert HandshakePattern.parse(" ".join(str(pattern).split()), name) == pattern


def test_what_a_pattern_says() -> None:
    pattern = HandshakePattern.parse("<- s\n...\n-> e, es, s, ss\n<- e, ee, se", "Mine")
    assert str(pattern) == "<- s\n...\n-> e, es, s, ss\n<- e, ee, se"
    assert pattern.messages == handshake_pattern("IK").messages
    assert pattern.static_of(INITIATOR)
    assert pattern.static_of(RESPONDER)
    assert pattern.sends_static(INITIATOR)
    assert not pattern.sends_static(RESPONDER)
    assert not pattern.one_way
    assert not pattern.has_psk
    assert pattern.first_sender is INITIATOR


@pytest.mark.parametrize(
    ("notation", "text"),
    [
        ("", "at least one message"),
        ("e, es", "a message begins with"),
        ("-> e es", "tokens are separated by commas"),
        ("-> , e", "a comma with no token before it"),
        ("-> e,", "a comma with no token after it"),
        ("-> e, <- e, ee", "a comma with no token after it"),
        ("-> e,, es", "a comma with no token before it"),
        ("-> e <- e, ef", "no such token; use e, s, ee, es, se, ss, psk, e1, ekem1"),
        ("-> e -> e, ee", "messages alternate"),
        ("-> s -> s ... -> e, es", "two pre-messages of one side"),
        ("-> s, e ... -> e, es", "a pre-message is e, s, or e, s"),
        ("-> es ... -> e", "a pre-message is e, s, or e, s"),
    ],
)
def test_what_is_no_pattern(notation: str, text: str) -> None:
    with pytest.raises(InvalidPattern, match=text) as caught:
        HandshakePattern.parse(notation)
    assert caught.value.rule == "7.1"


@pytest.mark.parametrize(
    ("notation", "rule", "message", "token"),
    [
        ("-> e, es <- e, ee", "7.3.1", 0, "es"),
        ("-> e <- ee", "7.3.1", 1, "ee"),
        ("-> s ... -> e <- e, ee, ss", "7.3.1", 1, "ss"),
        ("-> e <- e", "7.3.1", None, None),
        ("-> e, e <- e, ee", "7.3.2", 0, "e"),
        ("-> e <- e, ee -> e", "7.3.2", 2, "e"),
        ("-> s ... -> e, s <- e, ee", "7.3.2", 0, "s"),
        ("-> e <- e, ee -> ee", "7.3.3", 2, "ee"),
        ("<- s ... -> e, es <- e, es", "7.3.3", 1, "es"),
        ("-> s <- s ... -> e, ss <- e, ee", "7.3.4", 0, None),
        ("-> s <- s ... -> ss, e, es <- e, ee", "7.3.4", 1, None),
        ("-> e <- s, es -> s", "7.3.4", 1, None),
        ("-> s ... -> e <- e, se -> ", "7.3.4", 2, None),
        ("<- s ... -> e, s, ss, es <- e, ee", "7.3.4", 1, None),
        ("-> s <- s ... -> e, es <- e, ee, ss", "7.3.4", 1, None),
        ("-> s ... -> e <- e, se", "7.3.4", None, None),
        ("<- s ... -> e <- e, es", "7.3.4", 1, None),
        ("-> s <- s ... -> e, ss, e1 <- e, ee, ekem1", "7.3.4", 0, "e1"),
        ("<- s ... -> psk", "9.3", 0, None),
        ("-> psk, s <- e", "9.3", 0, "s"),
        ("-> e <- psk", "9.3", 1, None),
        ("-> e, e1 <- e, ee", "hfs", None, "e1"),
        ("-> e <- e, ee, ekem1", "hfs", 1, "ekem1"),
        ("-> e, e1, e1 <- e, ee, ekem1", "hfs", 0, "e1"),
        ("-> e, e1 <- e, ee -> ekem1", "hfs", 2, "ekem1"),
        ("-> e, e1 <- e, ekem1, ekem1", "hfs", 1, "ekem1"),
    ],
)
def test_a_pattern_that_breaks_a_rule(notation: str, rule: str, message: int | None, token: str | None) -> None:
    with pytest.raises(InvalidPattern, match=f"rule {rule}") as caught:
        HandshakePattern.parse(notation)
    assert (caught.value.rule, caught.value.message_index, caught.value.token) == (rule, message, token)


@pytest.mark.parametrize(
    ("name", "notation"),
    [
        ("NNpsk0", "-> psk, e <- e, ee"),
        ("NNpsk0+psk2", "-> psk, e <- e, ee, psk"),
        ("XXpsk3", "-> e <- e, ee, s, es -> s, se, psk"),
        ("IKpsk1+psk2", "<- s ... -> e, es, s, ss, psk <- e, ee, se, psk"),
        ("XXfallback", "-> e ... <- e, ee, s, es -> s, se"),
        ("XXfallback+psk0", "-> e ... <- psk, e, ee, s, es -> s, se"),
        ("NNhfs", "-> e, e1 <- e, ee, ekem1"),
        ("XKhfs", "<- s ... -> e, es, e1 <- e, ee, ekem1 -> s, se"),
        ("IKhfs", "<- s ... -> e, es, e1, s, ss <- e, ee, ekem1, se"),
        ("IXhfs", "-> e, e1, s <- e, ee, ekem1, se, s, es"),
        ("KKhfs", "-> s <- s ... -> e, es, e1, ss <- e, ee, ekem1, se"),
        ("XXhfs+psk0+psk3", "-> psk, e, e1 <- e, ee, ekem1, s, es -> s, se, psk"),
    ],
)
def test_modifiers(name: str, notation: str) -> None:
    assert handshake_pattern(name).messages == HandshakePattern.parse(notation).messages
    assert handshake_pattern(name).pre_messages == HandshakePattern.parse(notation).pre_messages


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("YY", "no handshake pattern 'YY'; use one of N, K, X, NN"),
        ("", "no handshake pattern"),
        ("xx", "no handshake pattern"),
        ("XXpsk10", "no modifier 'psk10' in 'XXpsk10'; use fallback, hfs, psk0 to psk9"),
        ("XX+psk0", "no modifier ''"),
        ("NNpsk2+psk0", "in alphabetical order (section 8.1): NNpsk0+psk2"),
        ("NNpsk0+psk0", "stand once"),
        ("XXpsk0+fallback", "XXfallback+psk0"),
        ("NNpsk3", "rule 9.4: psk3 needs 3 messages, NN has 2"),
        ("IKfallback", "rule 10.2"),
        ("KNfallback", "rule 10.2"),
        ("Nhfs", "rule hfs"),
    ],
)
def test_modifiers_that_do_not_fit(name: str, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        handshake_pattern(name)
    assert text in str(caught.value)


# ---------------------------------------------------------------- section 7.7 and 18.2

TABLES = """
N: >02 | K: >12 | X: >12
NN: >00 <01 >01 | NK: >02 <21 >05 | NX: >00 <21 >05
XN: >00 <01 >21 <05 | XK: >02 <21 >25 <25 | XX: >00 <21 >25 <25
KN: >00 <03 >21 <05 | KK: >12 <24 >25 <25 | KX: >00 <23 >25 <25
IN: >00 <03 >21 <05 | IK: >12 <24 >25 <25 | IX: >00 <23 >25 <25
NK1: >00 <21 >05 | X1K: >02 <21 >05 <23 >25 <25 | XK1: >00 <21 >25 <25
X1K1: >00 <21 >05 <23 >25 <25 | X1X: >00 <21 >05 <23 >25 <25 | XX1: >00 <01 >23 <25 >25
X1X1: >00 <01 >03 <23 >25 <25 | K1N: >00 <01 >21 <05 | K1K: >02 <21 >25 <25
KK1: >00 <23 >25 <25 | K1K1: >00 <21 >25 <25 | K1X: >00 <21 >25 <25
KX1: >00 <03 >23 <25 >25 | K1X1: >00 <01 >23 <25 >25 | I1N: >00 <01 >21 <05
I1K: >02 <21 >25 <25 | IK1: >00 <23 >25 <25 | I1K1: >00 <21 >25 <25
I1X: >00 <21 >25 <25 | IX1: >00 <03 >23 <25 >25 | I1X1: >00 <01 >23 <25 >25
NX1: >00 <01 >03 <21 >05 | X1N: >00 <01 >01 <03 >21 <05
"""
"""The tables of sections 7.7 and 18.2: for each payload its sender, source and destination. A transport payload is listed where
it differs from its sender's last handshake payload.

In the last line two slips of the printed table are mended: the arrows of NX1's transport payloads are interchanged there (an
initiator without a static key cannot have source 2), and X1N lacks its last row.
"""


def rows_of(name: str) -> str:
    """The computed rows, listed as the specification lists them."""
    pattern = handshake_pattern(name)
    rows = list(handshake_properties(pattern))
    last = {row.sender: row for row in rows}
    rows += [row for row in transport_properties(pattern) if last.get(row.sender) != row]
    return " ".join(f"{'>' if row.sender is INITIATOR else '<'}{row.source}{row.destination}" for row in rows)


def test_the_security_properties_are_those_of_the_specification() -> None:
    listed = dict(entry.strip().split(": ") for entry in TABLES.replace("\n", "|").split("|") if entry.strip())
    assert set(listed) == set(PATTERNS)
    assert {name: rows_of(name) for name in PATTERNS} == listed


def test_modifiers_of_psk_and_kem_leave_the_properties_as_they_are() -> None:
    for name in ("XXpsk3", "XXhfs", "XXpsk0"):
        assert rows_of(name) == rows_of("XX")
    assert str(Properties(INITIATOR, 2, 5)) == "source 2, destination 5"


def test_a_fallback_begins_with_the_responder() -> None:
    pattern = handshake_pattern("XXfallback")
    assert pattern.first_sender is RESPONDER
    assert rows_of("XXfallback") == "<21 >25 <25"


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", ALL_NAMED)
def test_a_name_is_built_as_it_is_parsed(name: str) -> None:
    full = f"Noise_{name}_448_AESGCM_BLAKE2b"
    protocol = NoiseProtocol.parse(full)
    assert str(protocol) == protocol.name == full
    parts = (protocol.pattern.name, protocol.dh.name, protocol.cipher.name, protocol.hash.name)
    assert parts == (name, "448", "AESGCM", "BLAKE2b")
    assert NoiseProtocol.build(*parts) is protocol


def test_a_name_with_a_kem() -> None:
    protocol = NoiseProtocol.build("XXhfs+psk3", "25519+MLKEM768", "ChaChaPoly", "SHA256")
    assert protocol.name == "Noise_XXhfs+psk3_25519+MLKEM768_ChaChaPoly_SHA256"
    assert protocol.kem is not None
    assert protocol.kem.name == "MLKEM768"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("XX_25519_ChaChaPoly_SHA256", "Noise_PATTERN_DH_CIPHER_HASH"),
        ("Noise_XX_25519_ChaChaPoly", "Noise_PATTERN_DH_CIPHER_HASH"),
        ("noise_XX_25519_ChaChaPoly_SHA256", "Noise_PATTERN_DH_CIPHER_HASH"),
        ("Noise_XX_25520_ChaChaPoly_SHA256", "no DH function '25520'; use one of 25519, 448"),
        ("Noise_XX_25519_ChaCha20_SHA256", "no cipher 'ChaCha20'; use one of ChaChaPoly, AESGCM"),
        ("Noise_XX_25519_ChaChaPoly_SHA3", "no hash 'SHA3'; use one of SHA256, SHA512, BLAKE2s, BLAKE2b"),
        ("Noise_XX_25519_ChaChaPoly_SHA-256", "letters, digits, / and +"),
        ("Noise_XXhfs_25519_ChaChaPoly_SHA256", "25519+MLKEM768 (use one of MLKEM768, MLKEM1024)"),
        ("Noise_XX_25519+MLKEM768_ChaChaPoly_SHA256", "add the modifier hfs"),
        ("Noise_XXhfs_25519+Kyber1024_ChaChaPoly_SHA256", "no KEM 'Kyber1024'; use one of MLKEM768, MLKEM1024"),
        ("Noise_XXhfs_25519+ML-KEM-768_ChaChaPoly_SHA256", "letters, digits, / and +"),
        (f"Noise_{'N' * 240}_25519_ChaChaPoly_SHA256", "at most 255 bytes"),
        ("Noise_X\u00c4_25519_ChaChaPoly_SHA256", "letters, digits, / and +"),
        ("Noise_XX_25519_ChaChaPoly_SHA\u0662\u0665\u0666", "letters, digits, / and +"),
    ],
)
def test_a_wrong_name_says_what_is_allowed(name: str, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        NoiseProtocol.parse(name)
    assert text in str(caught.value)


def test_a_pattern_of_your_own_has_a_name_of_its_own() -> None:
    protocol = NoiseProtocol.parse("Noise_Mine_25519_ChaChaPoly_SHA256", "-> e <- e, ee")
    assert protocol.pattern.name == "Mine"
    assert protocol.initial_hash != NoiseProtocol.parse("Noise_NN_25519_ChaChaPoly_SHA256").initial_hash
    assert NoiseProtocol.build(protocol.pattern, "25519", "ChaChaPoly", "SHA256").name == protocol.name
    with pytest.raises(ValueError, match="the pattern is called 'NN', the protocol name says 'Mine'"):
        NoiseProtocol.parse("Noise_Mine_25519_ChaChaPoly_SHA256", handshake_pattern("NN"))
    with pytest.raises(InvalidPattern, match="rule 7.3.3"):
        NoiseProtocol.parse("Noise_Mine_25519_ChaChaPoly_SHA256", "-> e <- e, ee, ee")
    longest = "M" * (255 - len("Noise__25519_ChaChaPoly_SHA256"))
    assert len(NoiseProtocol.build(HandshakePattern.parse("-> e <- e, ee", longest), *PARTS).name) == 255
    with pytest.raises(ValueError, match="at most 255 bytes, not 256"):
        NoiseProtocol.build(HandshakePattern.parse("-> e <- e, ee", longest + "M"), *PARTS)


def test_a_name_stands_for_one_pattern() -> None:
    """Section 14: a key must not be used with two protocols of one name."""
    for name, notation in (("XX", "-> e <- e, ee"), ("NNpsk0", "-> e <- e, ee"), ("N", "-> e <- e, ee")):
        with pytest.raises(ValueError, match="is the name of another pattern"):
            NoiseProtocol.parse(f"Noise_{name}_25519_ChaChaPoly_SHA256", notation)
    same = NoiseProtocol.parse("Noise_NN_25519_ChaChaPoly_SHA256", "-> e <- e, ee")
    assert same.pattern.messages == handshake_pattern("NN").messages
