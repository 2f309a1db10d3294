"""`DatagramChannel`: nonces on the wire, the replay window, limits; over keys of `nautilus/1` and of Noise."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_core import AuthenticationFailed, DatagramChannel, InvalidMessage, LocalProtocolError
from nautilus_core.crypto.hashing import SHA256
from nautilus_core.crypto.traffic_key import TrafficKey
from nautilus_core.datagrams import SealsAt
from nautilus_core.noise import CipherState
from nautilus_core.noise.functions import CIPHER_FUNCTIONS

from .channels import SUITE
from .helpers import both, channels, run, succeed


def key(name: bytes) -> TrafficKey:
    """A key by name."""
    return TrafficKey(SUITE, name.ljust(32, b"."))


def ends(**options: Any) -> tuple[DatagramChannel, DatagramChannel]:
    """Two ends with fixed keys."""
    one = DatagramChannel(writing=key(b"i"), reading=key(b"r"), **options)
    return one, DatagramChannel(writing=key(b"r"), reading=key(b"i"), **options)


def test_a_datagram_is_a_nonce_and_a_ciphertext() -> None:
    one, other = ends()
    first, second = one.seal(b"first"), one.seal(b"")
    assert first[:8] == bytes(8)
    assert second[:8] == bytes(7) + b"\x01"
    assert (len(first), len(second)) == (8 + 5 + 16, 8 + 16)
    assert first[8:] == key(b"i").seal_at(0, b"first")
    assert other.open(first) == b"first"
    assert other.open(second) == b""
    assert one.sent == 2


def test_noise_keys_have_their_nonce_on_the_wire_too() -> None:
    for name, order in (("ChaChaPoly", "little"), ("AESGCM", "big")):
        functions = CIPHER_FUNCTIONS[name]
        one = DatagramChannel(writing=CipherState(functions, bytes(32)).numbered(), reading=None)
        one.seal(b"first")
        datagram = one.seal(b"second")
        nonce = bytes(4) + (1).to_bytes(8, order)  # type: ignore[arg-type]  # a literal
        assert datagram == bytes(7) + b"\x01" + functions.new(bytes(32)).encrypt(nonce, b"second", None)


def test_a_session_of_nautilus_has_keys_of_their_own_where_the_profile_wants_them() -> None:
    pair = succeed(run(*both(datagrams=True)))
    one, other = pair.initiator.session.datagrams(), pair.responder.session.datagrams()
    assert other.open(one.seal(b"forth")) == b"forth"
    assert one.open(other.seal(b"back")) == b"back"
    channels(pair)
    with pytest.raises(LocalProtocolError, match="taken already"):
        pair.initiator.session.datagrams()
    with pytest.raises(LocalProtocolError, match="has none"):
        succeed(run(*both())).initiator.session.datagrams()


def test_the_labels_of_the_keys() -> None:
    """i dg traffic and r dg traffic, as the records' labels."""
    from nautilus_core.crypto.key_schedule import KeySchedule  # noqa: PLC0415
    from nautilus_core.role import INITIATOR  # noqa: PLC0415

    schedule = KeySchedule(SUITE, b"shared", bytes(32))
    master = SHA256.hmac(SHA256.derive_secret(schedule._secret, b"derived", SHA256.empty), bytes(32))
    secrets = schedule.session_secrets(b"\x07" * 32, datagrams=True)
    expected = TrafficKey(SUITE, SHA256.derive_secret(master, b"i dg traffic", b"\x07" * 32))
    assert secrets.datagram_key(INITIATOR).seal_at(5, b"x") == expected.seal_at(5, b"x")
    with pytest.raises(LocalProtocolError):
        secrets.datagram_key(INITIATOR)


@settings(max_examples=60)
@given(st.integers(1, 40), st.lists(st.integers(0, 79), max_size=200))
def test_each_datagram_opens_once_within_the_window(window: int, order: list[int]) -> None:
    """Against a model: a set of what was seen, and the latest."""
    one, other = ends(window=window)
    sent = [one.seal(b"%d" % number) for number in range(80)]
    seen: set[int] = set()
    for number in order:
        if number in seen or (seen and number <= max(seen) - window):
            with pytest.raises(InvalidMessage, match="seen before, or is too old"):
                other.open(sent[number])
        else:
            assert other.open(sent[number]) == b"%d" % number
            seen.add(number)


KEYS_OF: dict[str, Callable[[], SealsAt]] = {
    "nautilus": lambda: key(b"i"),
    "ChaChaPoly": lambda: CipherState(CIPHER_FUNCTIONS["ChaChaPoly"], bytes(32)).numbered(),
    "AESGCM": lambda: CipherState(CIPHER_FUNCTIONS["AESGCM"], bytes(32)).numbered(),
}
TOP = 2**28


def datagram(sealing: SealsAt, n: int) -> bytes:
    """Number `n` of a sender that has sealed all before; its payload is its number."""
    return n.to_bytes(8, "big") + sealing.seal_at(n, n.to_bytes(8, "big"))


_near = st.integers(0, 70)
_steps = st.lists(
    st.tuples(
        st.sampled_from(["true", "true", "true", "forged", "renumbered", "cut"]),
        st.one_of(
            _near, st.integers(2_000, 2_070), st.integers(TOP - 70, TOP + 3), st.sampled_from([2**32, 2**64 - 1])
        ),
        _near,
    ),
    max_size=120,
)


@settings(max_examples=150)
@given(st.sampled_from(sorted(KEYS_OF)), st.one_of(st.integers(1, 40), st.sampled_from([64, 1024])), _steps)
def test_against_a_model_with_forgeries_in_between(kind: str, window: int, steps: list[tuple[str, int, int]]) -> None:
    """The model is the set of the numbers that opened. What the attacker makes never changes what opens later."""
    sealing = KEYS_OF[kind]()
    receiver = DatagramChannel(writing=None, reading=KEYS_OF[kind](), window=window)
    seen: set[int] = set()
    for what, n, other in steps:
        true = datagram(sealing, n)
        if what == "true":
            if n >= TOP or n in seen or n <= max(seen, default=0) - window:
                with pytest.raises(InvalidMessage):
                    receiver.open(true)
            else:
                assert receiver.open(true) == n.to_bytes(8, "big")
                seen.add(n)
            continue
        bad = {
            "forged": true[:8] + bytes((true[8] ^ 1,)) + true[9:],
            "renumbered": ((n + 1 + other) % 2**64).to_bytes(8, "big") + true[8:],
            "cut": true[: 8 + other % 20],
        }[what]
        with pytest.raises(InvalidMessage):
            receiver.open(bad)
    assert receiver._latest == max(seen, default=-1)


@pytest.mark.parametrize("window", [1, 2, 64, 1024])
def test_the_edges_of_the_window(window: int) -> None:
    """The latest and the `window - 1` before it can open, once; a jump by the window forgets all but the latest."""
    sealing = key(b"i")
    receiver = DatagramChannel(writing=None, reading=key(b"i"), window=window)
    base = 5_000
    receiver.open(datagram(sealing, base))
    with pytest.raises(InvalidMessage, match=f"expected a nonce over {base - window}"):
        receiver.open(datagram(sealing, base - window))
    if window > 1:
        receiver.open(datagram(sealing, base - window + 1))
        with pytest.raises(InvalidMessage, match="seen before"):
            receiver.open(datagram(sealing, base - window + 1))
    for step in (window - 1, window, window + 1):
        before, base = base, base + step
        if step:
            receiver.open(datagram(sealing, base))
        for old in (before, base):
            with pytest.raises(InvalidMessage, match="seen before"):
                receiver.open(datagram(sealing, old))
        assert receiver._seen < 1 << window


def test_the_last_number_of_all_opens_and_is_the_end() -> None:
    sealing = key(b"i")
    receiver = DatagramChannel(writing=None, reading=key(b"i"))
    receiver.open(datagram(sealing, TOP - 1))
    receiver.open(datagram(sealing, TOP - 1024))
    for n in (TOP - 1025, TOP, TOP + 1, 2**64 - 1):
        with pytest.raises(InvalidMessage):
            receiver.open(datagram(sealing, n))
    assert receiver._latest == TOP - 1


@pytest.mark.parametrize("kind", sorted(KEYS_OF))
def test_a_key_is_tried_on_so_many_forgeries(kind: str) -> None:
    """RFC 9001 section 6.6; nobody can make it end earlier than that, nor with what needs no key to be refused."""
    sealing = KEYS_OF[kind]()
    receiver = DatagramChannel(writing=None, reading=KEYS_OF[kind]())
    receiver.open(datagram(sealing, 9))
    receiver._forgeries = 2**36 - 2
    for refused in (datagram(sealing, 9), bytes(5), datagram(sealing, TOP)):
        with pytest.raises(InvalidMessage):
            receiver.open(refused)
    forged = datagram(sealing, 10)[:-1] + b"?"
    with pytest.raises(InvalidMessage):
        receiver.open(forged)
    assert receiver.open(datagram(sealing, 10)) == (10).to_bytes(8, "big")
    with pytest.raises(InvalidMessage):
        receiver.open(forged[:7] + b"\x0b" + forged[8:])
    with pytest.raises(LocalProtocolError, match="has ended"):
        receiver.open(datagram(sealing, 12))


@pytest.mark.parametrize("kind", sorted(KEYS_OF))
def test_what_is_no_payload_uses_its_number_up(kind: str) -> None:
    one = DatagramChannel(writing=KEYS_OF[kind](), reading=None)
    wrong: Any = "text"
    with pytest.raises(TypeError):
        one.seal(wrong)
    assert one.seal(b"x") == (1).to_bytes(8, "big") + KEYS_OF[kind]().seal_at(1, b"x")


def test_whoever_is_first_heard_is_told_of_once_and_only_after_a_valid_tag() -> None:
    heard: list[int] = []
    receiver = DatagramChannel(writing=key(b"r"), reading=key(b"i"), on_first=lambda: heard.append(receiver._latest))
    with pytest.raises(InvalidMessage):
        receiver.open(bytes(40))
    assert heard == []
    for n in (7, 3, 9):
        receiver.open(datagram(key(b"i"), n))
    assert heard == [7]


def test_a_peer_that_is_refused_when_it_is_heard_ends_both_directions() -> None:
    def refuse() -> None:
        raise AuthenticationFailed("not you")

    receiver = DatagramChannel(writing=key(b"r"), reading=key(b"i"), on_first=refuse)
    with pytest.raises(AuthenticationFailed):
        receiver.open(datagram(key(b"i"), 0))
    with pytest.raises(LocalProtocolError, match="has ended"):
        receiver.open(datagram(key(b"i"), 1))
    with pytest.raises(LocalProtocolError, match="has ended"):
        receiver.seal(b"to nobody")


def test_a_key_seals_so_many_bytes() -> None:
    one, _ = ends()
    one._bytes_left = 10
    assert len(one.seal(bytes(10))) == 34
    with pytest.raises(LocalProtocolError, match="make another handshake"):
        one.seal(b"x")
    with pytest.raises(LocalProtocolError, match="has ended"):
        one.seal(b"")


def test_a_forgery_changes_nothing() -> None:
    one, other = ends()
    sent = [one.seal(b"%d" % number) for number in range(5)]
    assert other.open(sent[1]) == b"1"
    far = (2**28 - 1).to_bytes(8, "big")
    source = random.Random(3)
    for number, datagram in enumerate(sent):
        forged = bytearray(datagram)
        forged[source.randrange(8, len(forged))] ^= 1
        if number != 1:
            with pytest.raises(InvalidMessage, match="does not open"):
                other.open(bytes(forged))
        with pytest.raises(InvalidMessage, match="does not open"):
            other.open(far + datagram[8:])
    assert [other.open(sent[number]) for number in (4, 0, 3, 2)] == [b"4", b"0", b"3", b"2"]


def test_our_own_datagram_does_not_open() -> None:
    one, _ = ends()
    with pytest.raises(InvalidMessage):
        one.open(one.seal(b"mine"))


@pytest.mark.parametrize("length", [0, 8, 23, 65_508])
def test_a_datagram_of_no_length(length: int) -> None:
    _, other = ends()
    with pytest.raises(InvalidMessage, match="a length that is none"):
        other.open(bytes(length))


@pytest.mark.parametrize("nonce", [2**28, 2**32, 2**63, 2**64 - 1])
def test_a_nonce_over_the_limit(nonce: int) -> None:
    _, other = ends()
    with pytest.raises(InvalidMessage, match="over the limit"):
        other.open(nonce.to_bytes(8, "big") + bytes(16))


def test_a_channel_ends_at_its_limit() -> None:
    one, other = ends(datagrams_per_key=3)
    sent = [one.seal(b"x") for _ in range(3)]
    with pytest.raises(LocalProtocolError, match="make another handshake"):
        one.seal(b"x")
    with pytest.raises(LocalProtocolError, match="has ended"):
        one.seal(b"x")
    assert [other.open(datagram) for datagram in sent] == [b"x"] * 3


def test_what_does_not_fit_uses_no_nonce_up() -> None:
    one, other = ends()
    assert one.max_payload == 65_483
    with pytest.raises(LocalProtocolError, match="at most 65483 fit"):
        one.seal(bytes(65_484))
    assert len(other.open(one.seal(bytes(65_483)))) == 65_483


@pytest.mark.parametrize("options", [{"window": 0}, {"datagrams_per_key": 0}, {"datagrams_per_key": 2**28 + 1}])
def test_numbers_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a window is at least 1"):
        ends(**options)
