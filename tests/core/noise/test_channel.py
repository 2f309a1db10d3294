"""`NoiseChannel`: messages over a byte stream, cut and batched, rekeyed, ended; and everything that must not pass."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    Channel,
    DataReceived,
    HandshakeError,
    InvalidMessage,
    LocalProtocolError,
    PeerAborted,
    PeerClosed,
    Signal,
)
from nautilus_core.noise import CipherState, NoiseChannel
from nautilus_core.noise.functions import CIPHER_FUNCTIONS
from nautilus_core.testing import Pair

from .helpers import profile

LONGEST = 65_519
KEYS = bytes([1]) * 32, bytes([2]) * 32


def cipher(number: int, name: str = "ChaChaPoly") -> CipherState:
    """The state of one direction."""
    return CipherState(CIPHER_FUNCTIONS[name], KEYS[number])


def ends(**options: Any) -> tuple[NoiseChannel, NoiseChannel]:
    """Two ends with fixed keys."""
    one = NoiseChannel(writing=cipher(0), reading=cipher(1), **options)
    return one, NoiseChannel(writing=cipher(1), reading=cipher(0), **options)


def frame(number: int, payload: bytes, state: CipherState | None = None) -> bytes:
    """A message of the first end."""
    state = state or cipher(0)
    state._n = number
    sealed = state.encrypt_with_ad(b"", payload)
    return len(sealed).to_bytes(2, "big") + sealed


def taken(channel: Channel) -> list[bytes]:
    """All payloads up to `NEED_DATA`."""
    found: list[bytes] = []
    while not isinstance(event := channel.next_event(), Signal):
        assert isinstance(event, DataReceived)
        found += event.records
    return found


def test_messages_are_as_other_implementations_send_them() -> None:
    one, other = ends()
    one.send_data(b"first")
    one.send_data(bytearray(b"second"))
    assert one.data_to_send() == frame(0, b"first") + frame(1, b"second")
    assert one.data_to_send() == b""
    other.receive_data(memoryview(frame(0, b"first")))
    assert other.next_event() == DataReceived((b"first",))
    assert other.next_event() is NEED_DATA
    assert (one.confirmed, one.max_payload, one.closes_with_stream) == (True, LONGEST, True)


@pytest.mark.parametrize("length", [1, LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST, 200_000])
def test_long_writes_are_cut(length: int) -> None:
    one, other = ends()
    data = bytes(range(256)) * (length // 256 + 1)
    one.send_data(data[:length])
    sent = one.data_to_send()
    assert len(sent) == length + 18 * -(-length // LONGEST)
    other.receive_data(sent)
    records = taken(other)
    assert b"".join(records) == data[:length]
    assert max(map(len, records)) <= LONGEST


def test_empty_data_is_nothing_and_other_than_buffers_is_an_error() -> None:
    one, _ = ends()
    one.send_data(b"")
    assert one.data_to_send() == b""
    wrong: Any = "text"
    with pytest.raises(TypeError):
        one.send_data(wrong)
    with pytest.raises(TypeError):
        one.receive_data(wrong)


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=300), max_size=12), st.lists(st.integers(1, 400), max_size=30), st.integers(0, 5))
def test_any_cut_of_the_bytes_gives_the_same_data(payloads: list[bytes], cuts: list[int], every: int) -> None:
    one, other = ends(rekey_after=every or None)
    sent = b""
    for number, payload in enumerate(payloads):
        one.send_data(payload)
        if number % 3 == 2:
            sent += one.data_to_send()
    sent += one.data_to_send()
    received: list[bytes] = []
    for cut in [*cuts, len(sent)]:
        piece, sent = sent[:cut], sent[cut:]
        if piece:
            other.receive_data(piece)
            received += taken(other)
    assert received == [payload for payload in payloads if payload]


@pytest.mark.parametrize("every", [1, 2, 7])
def test_keys_are_replaced_at_the_same_messages(every: int) -> None:
    one, other = ends(rekey_after=every)
    expected = cipher(0)
    for number in range(20):
        if number and number % every == 0:
            expected.rekey()
        one.send_data(b"%d" % number)
        sent = one.data_to_send()
        assert sent == frame(number, b"%d" % number, expected)
        other.receive_data(sent)
        assert taken(other) == [b"%d" % number]
    for number in range(20):
        one.send_data(b"%d" % number)
    other.receive_data(one.data_to_send())
    assert taken(other) == [b"%d" % number for number in range(20)]


@pytest.mark.parametrize("every", [None, 1, 3])
@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_whoever_is_first_heard_is_told_of_once_and_rekeyed_as_any_other(every: int | None, at_once: int) -> None:
    heard: list[str] = []
    one, _ = ends(rekey_after=every)
    other = NoiseChannel(writing=None, reading=cipher(0), rekey_after=every, on_first=lambda: heard.append("first"))
    for number in range(8):
        for part in range(at_once):
            one.send_data(b"%d.%d" % (number, part))
        other.receive_data(one.data_to_send())
        assert taken(other) == [b"%d.%d" % (number, part) for part in range(at_once)]
        assert heard == ["first"]


def test_whoever_is_heard_before_a_forgery_has_been_heard() -> None:
    """What was genuine is delivered, so it must be known whose it is."""
    heard: list[str] = []
    other = NoiseChannel(writing=None, reading=cipher(0), on_first=lambda: heard.append("first"))
    other.receive_data(frame(0, b"genuine") + frame(0, b"again"))
    assert other.next_event() == DataReceived((b"genuine",))
    assert heard == ["first"]
    with pytest.raises(InvalidMessage, match="does not decrypt"):
        other.next_event()
    nobody = NoiseChannel(writing=None, reading=cipher(0), on_first=lambda: heard.append("nobody"))
    nobody.receive_data(frame(1, b"forged") + frame(0, b"genuine"))
    with pytest.raises(InvalidMessage, match="does not decrypt"):
        nobody.next_event()
    assert heard == ["first"]


def test_ends_that_rekey_differently_do_not_understand_each_other() -> None:
    one, _ = ends(rekey_after=1)
    _, other = ends()
    one.send_data(b"a")
    other.receive_data(one.data_to_send())
    assert taken(other) == [b"a"]
    one.send_data(b"b")
    other.receive_data(one.data_to_send())
    with pytest.raises(InvalidMessage, match="does not decrypt"):
        other.next_event()


def test_there_is_no_key_update_on_the_wire() -> None:
    one, _ = ends()
    with pytest.raises(LocalProtocolError, match="agree on rekey_after="):
        one.update_keys(ask_peer=True)


# ---------------------------------------------------------------- the end of a stream


def test_without_a_close_message_the_end_of_the_stream_is_the_close_and_nobody_vouches_for_it() -> None:
    one, other = ends()
    one.send_data(b"last")
    one.close()
    one.close()
    other.receive_data(one.data_to_send())
    other.receive_data(b"")
    assert other.next_event() == DataReceived((b"last",))
    assert other.next_event() == other.next_event() == PeerClosed(authenticated=False)
    other.send_data(b"still heard")
    one.receive_data(other.data_to_send())
    assert taken(one) == [b"still heard"]
    with pytest.raises(LocalProtocolError, match="closed"):
        one.send_data(b"too late")
    with pytest.raises(LocalProtocolError, match="after the end of the stream"):
        other.receive_data(b"x")


def test_an_end_in_the_middle_of_a_message_is_a_truncation() -> None:
    whole = frame(0, b"some data")
    for cut in range(1, len(whole)):
        _, other = ends()
        other.receive_data(whole[:cut])
        other.receive_data(b"")
        for _ in range(2):
            with pytest.raises(PeerAborted, match=f"{cut} bytes of a message"):
                other.next_event()


def test_with_a_close_message_a_truncation_shows() -> None:
    one, other = ends(close_message=True)
    assert not one.closes_with_stream
    one.send_data(b"last")
    one.close()
    one.close()
    sent = one.data_to_send()
    assert sent == frame(0, b"last") + frame(1, b"")
    other.receive_data(sent)
    assert other.next_event() == DataReceived((b"last",))
    assert other.next_event() == other.next_event() == PeerClosed(authenticated=True)
    other.receive_data(b"")
    assert other.next_event() == PeerClosed()
    _, third = ends(close_message=True)
    third.receive_data(frame(0, b"last"))
    third.receive_data(b"")
    assert third.next_event() == DataReceived((b"last",))
    with pytest.raises(PeerAborted, match="without a close.*expected the closing message"):
        third.next_event()


def test_nothing_comes_after_the_close() -> None:
    _, other = ends(close_message=True)
    other.receive_data(frame(0, b"") + frame(1, b"after"))
    with pytest.raises(InvalidMessage, match="something after the close"):
        other.next_event()
    _, other = ends(close_message=True)
    other.receive_data(frame(0, b""))
    assert other.next_event() == PeerClosed()
    other.receive_data(frame(1, b"after"))
    for _ in range(2):
        with pytest.raises(InvalidMessage, match="something after the close"):
            other.next_event()


# ---------------------------------------------------------------- bad input


def test_empty_messages_are_no_event_and_are_bounded() -> None:
    _, other = ends()
    state = cipher(0)
    for number in range(16):
        other.receive_data(frame(number, b"", state))
        assert other.next_event() is NEED_DATA
    other.receive_data(frame(16, b"data", state) + frame(17, b"", state))
    assert other.next_event() == DataReceived((b"data",))
    for number in range(18, 33):
        other.receive_data(frame(number, b"", state))
        assert other.next_event() is NEED_DATA
    other.receive_data(frame(33, b"alone", state))
    assert other.next_event() == DataReceived((b"alone",))
    other.receive_data(b"".join(frame(number, b"", state) for number in range(34, 50)))
    assert other.next_event() is NEED_DATA
    other.receive_data(frame(50, b"", state))
    with pytest.raises(InvalidMessage, match="too many empty messages"):
        other.next_event()


@pytest.mark.parametrize("length", [0, 1, 15])
def test_a_message_that_is_too_short(length: int) -> None:
    _, other = ends()
    other.receive_data(frame(0, b"good") + length.to_bytes(2, "big") + bytes(length))
    assert other.next_event() == DataReceived((b"good",))
    for _ in range(2):
        with pytest.raises(InvalidMessage, match=f"a prefix that announces {length}"):
            other.next_event()


@pytest.mark.parametrize("behind", [b"", b"\x00", frame(2, b"never")])
@pytest.mark.parametrize("kind", ["flipped", "repeated", "reordered", "reflected", "dropped"])
def test_what_is_not_the_next_message_poisons(kind: str, behind: bytes) -> None:
    one, other = ends()
    first, second = frame(0, b"first"), frame(1, b"second")
    mine = NoiseChannel(writing=cipher(1), reading=cipher(0))
    mine.send_data(b"mine")
    bad = {
        "flipped": first[:-1] + bytes((first[-1] ^ 1,)),
        "repeated": first + first,
        "reordered": second + first,
        "reflected": bytes(mine.data_to_send()),
        "dropped": second,
    }[kind]
    other.receive_data(bad + behind)
    if kind == "repeated":
        assert other.next_event() == DataReceived((b"first",))
    with pytest.raises(InvalidMessage, match="does not decrypt") as caught:
        other.next_event()
    assert caught.value.step == "channel"
    calls: list[Any] = [
        other.next_event,
        other.close,
        lambda: other.send_data(b"x"),
        lambda: other.receive_data(b"x"),
        lambda: other.abort("again"),
    ]
    for call in calls:
        with pytest.raises(InvalidMessage):
            call()
    assert other.data_to_send() == b""
    for state in (other._reading, other._writing):
        assert state is not None
        assert not state.has_key()
    assert one.next_event() is NEED_DATA


def test_after_a_failure_nothing_leaves_that_was_sealed_before() -> None:
    one, _ = ends(close_message=True)
    one.send_data(b"sealed by the close")
    one.close()
    one.receive_data(bytes((0, 20)) + bytes(20) + b"behind")
    with pytest.raises(InvalidMessage, match="does not decrypt"):
        one.next_event()
    assert one.data_to_send() == b""
    assert len(one._received) == 0


class _Interrupting(CipherState):
    """Is interrupted where the second message would be next."""

    __slots__ = ()

    def encrypt_with_ad(self, ad: bytes | None, plaintext: Any) -> bytes:
        if self.n:
            raise KeyboardInterrupt
        return super().encrypt_with_ad(ad, plaintext)

    def encrypt_all(self, plaintexts: Any) -> list[bytes]:
        return [self.encrypt_with_ad(b"", plaintext) for plaintext in plaintexts]

    def decrypt_with_ad(self, ad: bytes | None, ciphertext: Any) -> bytes:
        if self.n:
            raise KeyboardInterrupt
        return super().decrypt_with_ad(ad, ciphertext)

    def decrypt_all(self, ciphertexts: Any, plaintexts: list[bytes]) -> None:
        super().decrypt_all(ciphertexts[:1], plaintexts)
        raise KeyboardInterrupt


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("closing", [False, True])
def test_what_is_interrupted_is_followed_by_nothing(pieces: int, closing: bool) -> None:
    """The data that was on its way is lost: a peer that read on would not notice that it lacks."""
    states = [_Interrupting(CIPHER_FUNCTIONS["ChaChaPoly"], key) for key in KEYS]
    one = NoiseChannel(writing=states[0], reading=states[1], close_message=closing)
    one.send_data(b"first")
    assert one.data_to_send() == frame(0, b"first")
    for _ in range(pieces):
        one.send_data(b"second")
    with pytest.raises(KeyboardInterrupt):
        if closing:
            one.close()
        else:
            one.data_to_send()
    assert one.data_to_send() == b""
    with pytest.raises(HandshakeError, match="interrupted"):
        one.send_data(b"third")
    assert not any(state.has_key() for state in states)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_receive_that_is_interrupted_is_followed_by_nothing(at_once: bool) -> None:
    other = NoiseChannel(writing=None, reading=_Interrupting(CIPHER_FUNCTIONS["ChaChaPoly"], KEYS[0]))
    if at_once:
        other.receive_data(frame(0, b"first") + frame(1, b"second"))
    else:
        other.receive_data(frame(0, b"first"))
        assert other.next_event() == DataReceived((b"first",))
        other.receive_data(frame(1, b"second"))
    with pytest.raises(KeyboardInterrupt):
        other.next_event()
    with pytest.raises(HandshakeError, match="interrupted"):
        other.receive_data(frame(2, b"third"))
    with pytest.raises(HandshakeError, match="interrupted"):
        other.next_event()


def test_a_channel_whose_key_is_used_up_has_failed() -> None:
    one, _ = ends()
    assert one._writing is not None
    one._writing._n = 2**64 - 2
    for _ in range(2):
        one.send_data(b"one too many")
    with pytest.raises(LocalProtocolError, match="all the messages it may"):
        one.data_to_send()
    with pytest.raises(HandshakeError, match="interrupted"):
        one.send_data(b"in the place of those that are lost")


def test_an_abort_says_nothing_to_the_peer() -> None:
    one, _ = ends()
    one.send_data(b"unsent")
    with pytest.raises(ValueError, match="alert"):
        one.abort("why", code=20)
    one.abort("had enough", code=300)
    assert one.data_to_send() == b""
    with pytest.raises(HandshakeError, match="had enough"):
        one.next_event()


def test_a_one_way_pattern_has_one_direction() -> None:
    pair = Pair(profile("X", INITIATOR), profile("X", RESPONDER), close=False).run()
    one, other = pair.initiator.session.channel(), pair.responder.session.channel()
    with pytest.raises(LocalProtocolError, match="only the peer sends"):
        other.send_data(b"back")
    one.send_data(b"forth")
    other.receive_data(one.data_to_send())
    assert taken(other) == [b"forth"]
    other.close()
    assert other.data_to_send() == b""
    one.receive_data(frame(0, b"back")[:2])  # its length is enough
    with pytest.raises(InvalidMessage, match="against the direction of a one-way pattern"):
        one.next_event()


def test_datagrams_of_a_one_way_pattern() -> None:
    pair = Pair(profile("K", INITIATOR), profile("K", RESPONDER), close=False).run()
    one, other = pair.initiator.session.datagrams(), pair.responder.session.datagrams()
    assert other.open(one.seal(b"")) == b""
    with pytest.raises(LocalProtocolError, match="does not send"):
        other.seal(b"back")
    with pytest.raises(LocalProtocolError, match="does not receive"):
        one.open(bytes(24))


def test_data_behind_the_last_handshake_message_is_taken_along() -> None:
    pair = Pair(profile("XX", INITIATOR), profile("XX", RESPONDER), close=False)
    initiator, responder = pair.initiator.handshake, pair.responder.handshake
    while initiator.next_event() is not NEED_DATA:
        pass
    responder.receive_data(initiator.data_to_send())
    while responder.next_event() is not NEED_DATA:
        pass
    initiator.receive_data(responder.data_to_send())
    while initiator.session is None:
        initiator.next_event()
    channel = initiator.session.channel()
    channel.send_data(b"in the same flight")
    responder.receive_data(initiator.data_to_send() + channel.data_to_send())
    responder.receive_data(b"")
    while responder.session is None:
        responder.next_event()
    receiver = responder.session.channel()
    assert receiver.next_event() == DataReceived((b"in the same flight",))
    assert receiver.next_event() == PeerClosed(authenticated=False)
