"""Bad input from a peer, in both roles: its own typed error here, its alert there, never a hang or a foreign exception."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    AlertCode,
    HandshakeError,
    InvalidMessage,
    KeyAgreementFailed,
    NegotiationFailed,
    PeerAborted,
    Role,
    Signal,
)
from nautilus_core.testing import Pair, alert_of

from .helpers import HEADER, alice, altered, begun, bob, both, drain, frame, frames, note, packed, put, run

FOREIGN = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP answer": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "HTTP POST": b"POST /x HTTP/1.1\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303"),
    "TLS alert": bytes.fromhex("15030300020228"),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "multistream": b"\x13/multistream/1.0.0\n",
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_protocol_is_named(name: str, role: Role) -> None:
    handshake = begun(role)
    handshake.receive_data(FOREIGN[name])
    with pytest.raises(InvalidMessage, match=f"the peer speaks {name.partition(' ')[0].partition('/')[0]}") as caught:
        handshake.next_event()
    assert caught.value.alert == AlertCode.UNEXPECTED_MESSAGE
    assert caught.value.step == ("hello" if role is RESPONDER else "hello-response")
    assert frames(handshake.data_to_send())[-1] == packed([10, None], 0xE2)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "garbage", [bytes(64), b"\xff" * 64, b"\x7fELF" + bytes(60), b"hello, is it me\n", b"\xe0" * 9]
)
def test_garbage_is_named_by_its_first_bytes(garbage: bytes, role: Role) -> None:
    handshake = begun(role)
    handshake.receive_data(garbage)
    with pytest.raises(InvalidMessage, match=f"does not speak nautilus/1; .* bytes {garbage[:4].hex(' ')}"):
        handshake.next_event()


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("kind", [0xE3, 0xE4])
def test_a_record_in_the_middle_of_the_handshake(kind: int, role: Role) -> None:
    handshake = begun(role)
    handshake.receive_data(frame(bytes(32), kind)[:HEADER])
    with pytest.raises(InvalidMessage, match="a channel record in the middle") as caught:
        handshake.next_event()
    assert caught.value.alert == AlertCode.UNEXPECTED_MESSAGE


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("length", [65_537, 2**24 - 1])
def test_an_oversized_frame_is_refused_on_its_header_alone(length: int, role: Role) -> None:
    handshake = begun(role)
    handshake.receive_data(b"\xe1" + length.to_bytes(3, "big"))
    with pytest.raises(InvalidMessage, match=f"a header that announces {length}") as caught:
        handshake.next_event()
    assert caught.value.alert == AlertCode.RECORD_OVERFLOW


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc0",
        b"\x90",
        b"\x91\xa5hello",
        b"\x91\xaehello-response",
        b"\x91" * 5000,
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x96\xa5hello\xdd\xff\xff\xff\xff",
        b"\x91\xa1\xff",
        b"\x92\xaehello-response\xc1",
        bytes(range(256)),
    ],
)
def test_a_body_that_is_no_message(body: bytes, role: Role) -> None:
    handshake = begun(role)
    handshake.receive_data(frame(body))
    with pytest.raises(InvalidMessage, match=r"malformed message|unexpected message"):
        handshake.next_event()
    assert frames(handshake.data_to_send())[-1][0] == 0xE2


@pytest.mark.parametrize("role", Role)
def test_another_message_than_the_expected_one_is_named(role: Role) -> None:
    handshake = begun(role)
    handshake.receive_data(packed(["coffee", 1, 2]))
    with pytest.raises(InvalidMessage, match=r"unexpected message; expected .* got the message 'coffee'") as caught:
        handshake.next_event()
    assert caught.value.alert == AlertCode.UNEXPECTED_MESSAGE


def test_a_very_long_message_name_is_cut_in_the_error() -> None:
    handshake = begun(RESPONDER)
    handshake.receive_data(packed(["x" * 10_000]))
    with pytest.raises(InvalidMessage) as caught:
        handshake.next_event()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("role", Role)
@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300))
def test_random_bytes_raise_handshake_errors_alone(role: Role, data: bytes) -> None:
    handshake = begun(role)
    try:
        for piece in (data, b""):
            handshake.receive_data(piece)
            assert isinstance(handshake.next_event(), Signal)
    except HandshakeError:
        return
    raise AssertionError("random bytes and an end of the stream left the handshake as it was")


MESSAGE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=70)
    | st.binary(max_size=70)
    | st.floats(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


@pytest.mark.parametrize("role", Role)
@settings(max_examples=150, deadline=None)
@given(fields=st.lists(MESSAGE, max_size=7))
def test_random_fields_raise_handshake_errors_alone(role: Role, fields: list[Any]) -> None:
    handshake = begun(role)
    name = "hello" if role is RESPONDER else "hello-response"
    handshake.receive_data(packed([name, *fields]))
    with pytest.raises((InvalidMessage, NegotiationFailed)):
        drain(handshake)


# ---------------------------------------------------------------- fields of each plaintext message


STEP = ["initiator-finished", "initiator", None, True]


@pytest.mark.parametrize(
    ("index", "value"),
    [
        pytest.param(1, [], id="no versions"),
        pytest.param(1, [70_000], id="a version out of range"),
        pytest.param(1, list(range(17)), id="too many versions"),
        pytest.param(2, ["p"] * 65, id="too many protocols"),
        pytest.param(2, [""], id="an empty protocol"),
        pytest.param(2, ["p" * 65], id="a long protocol"),
        pytest.param(2, ["\u20ac" * 30], id="a protocol of 90 bytes in 30 characters"),
        pytest.param(3, bytes(31), id="a short nonce"),
        pytest.param(3, bytes(33), id="a long nonce"),
        pytest.param(3, "x" * 32, id="a nonce of text"),
        pytest.param(4, [STEP] * 257, id="too many steps"),
        pytest.param(4, [STEP, STEP], id="a step twice"),
        pytest.param(4, [["a", "nobody", None, True]], id="a sender that is none"),
        pytest.param(4, [["a", "initiator", None]], id="a short step"),
        pytest.param(5, [["a", b""], ["a", b""]], id="an extension twice"),
        pytest.param(5, [["a", bytes(16_385)]], id="a long extension"),
        pytest.param(5, [["a" * 65, b""]], id="a long name of an extension"),
        pytest.param(5, [[f"x{number}", b""] for number in range(65)], id="too many extensions"),
    ],
)
def test_a_hello_out_of_bounds(index: int, value: object) -> None:
    pair = run(*both(), tamper=altered("hello", put(index, value)))
    assert isinstance(pair.responder.error, InvalidMessage)
    assert pair.responder.error.step in ("hello", "hello-response")
    assert alert_of(pair.initiator) in (AlertCode.DECODE_ERROR, AlertCode.ILLEGAL_PARAMETER)


@pytest.mark.parametrize(
    ("name", "index", "value", "told"),
    [
        pytest.param("suites", 1, ["x"] * 65, AlertCode.DECODE_ERROR, id="too many suites"),
        pytest.param("suites", 2, [1], AlertCode.DECODE_ERROR, id="a scheme that is a number"),
        pytest.param("suites", 3, ["\u20ac" * 30], AlertCode.ILLEGAL_PARAMETER, id="a long credential type"),
        pytest.param("suites", 1, [], AlertCode.HANDSHAKE_FAILURE, id="no suites"),
        pytest.param("suites", 2, [], AlertCode.HANDSHAKE_FAILURE, id="no schemes"),
        pytest.param("suites", 3, [], AlertCode.HANDSHAKE_FAILURE, id="no credential types"),
        pytest.param("initiator-key-share", 2, bytes(31), AlertCode.BAD_KEY_SHARE, id="a short share"),
        pytest.param("initiator-key-share", 2, b"", AlertCode.BAD_KEY_SHARE, id="no share"),
        pytest.param("initiator-key-share", 2, bytes(32), AlertCode.BAD_KEY_SHARE, id="a share of small order"),
        pytest.param("initiator-key-share", 2, bytes(4097), AlertCode.DECODE_ERROR, id="a share over the bound"),
        pytest.param("initiator-key-share", 1, "", AlertCode.DECODE_ERROR, id="an empty name of a group"),
    ],
)
def test_the_rest_of_the_first_flight_out_of_bounds(name: str, index: int, value: object, told: AlertCode) -> None:
    pair = run(*both(), tamper=altered(name, put(index, value)))
    assert isinstance(pair.responder.error, HandshakeError)
    assert pair.responder.error.alert == told
    assert alert_of(pair.initiator) == told


@pytest.mark.parametrize(
    ("name", "index", "value", "told"),
    [
        pytest.param("hello-response", 1, 2, AlertCode.ILLEGAL_PARAMETER, id="another version"),
        pytest.param("hello-response", 2, "p", AlertCode.ILLEGAL_PARAMETER, id="a protocol that was not offered"),
        pytest.param("hello-response", 3, b"", AlertCode.DECODE_ERROR, id="no nonce"),
        pytest.param("hello-response", 4, [], AlertCode.STEP_LIST_MISMATCH, id="no steps at all"),
        pytest.param("hello-response", 5, [["x", b""]], AlertCode.ILLEGAL_PARAMETER, id="an extension not offered"),
        pytest.param("hello-response", 5, [["x", b""]] * 2, AlertCode.ILLEGAL_PARAMETER, id="an extension twice"),
        pytest.param("suite", 1, "X25519_AES256GCM_SHA384", AlertCode.ILLEGAL_PARAMETER, id="a suite not offered"),
        pytest.param("suite", 1, "no such suite", AlertCode.ILLEGAL_PARAMETER, id="a suite that nobody knows"),
        pytest.param("suite", 2, [], AlertCode.HANDSHAKE_FAILURE, id="no schemes"),
        pytest.param("suite", 3, ["anonymous"], AlertCode.HANDSHAKE_FAILURE, id="another credential type"),
        pytest.param("suite", 3, ["\u20ac" * 30], AlertCode.ILLEGAL_PARAMETER, id="a long credential type"),
        pytest.param("responder-key-share", 1, "P256", AlertCode.ILLEGAL_PARAMETER, id="another group"),
        pytest.param("responder-key-share", 2, bytes(33), AlertCode.BAD_KEY_SHARE, id="a long share"),
        pytest.param("responder-key-share", 2, bytes(32), AlertCode.BAD_KEY_SHARE, id="a share of small order"),
    ],
)
def test_a_response_that_was_not_offered_or_is_out_of_bounds(
    name: str, index: int, value: object, told: AlertCode
) -> None:
    pair = run(*both(), tamper=altered(name, put(index, value)))
    assert isinstance(pair.initiator.error, HandshakeError)
    assert pair.initiator.error.alert == told
    assert pair.initiator.error.step == name
    assert alert_of(pair.responder) == told


def test_a_retried_share_in_another_group_is_refused() -> None:
    wanted = "P256_AES128GCM_SHA256"
    profiles = alice(suites=("X25519_AES128GCM_SHA256", wanted)), bob(suites=(wanted,))
    pair = run(*profiles, tamper=altered("initiator-key-share-retry", put(1, "X25519")))
    assert isinstance(pair.responder.error, InvalidMessage)
    assert "another group than the selected one" in str(pair.responder.error)
    assert alert_of(pair.initiator) == AlertCode.ILLEGAL_PARAMETER


def test_a_share_off_the_curve_is_refused() -> None:
    suites = ("P256_AES128GCM_SHA256",)
    for share in (b"\x04" + bytes(64), b"\x02" + bytes(64), b"\x04" + b"\xff" * 64):
        pair = run(*both(suites=suites), tamper=altered("initiator-key-share", put(2, share)))
        assert isinstance(pair.responder.error, KeyAgreementFailed)
        assert alert_of(pair.initiator) == AlertCode.BAD_KEY_SHARE


def test_unknown_trailing_fields_are_ignored_but_bound_into_the_transcript() -> None:
    """A later version may append fields; an attacker may not, because Finished covers them."""
    pair = run(*both(), tamper=altered("hello", lambda fields: fields.append("later")))
    assert pair.responder.error is not None
    assert (
        pair.responder.error.__class__ is PeerAborted
    )  # it has read hello, and more: the initiator could not open its answer
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert pair.initiator.error.step == "responder-authentication"


def test_bytes_after_a_message_inside_its_frame_are_an_error() -> None:
    def append(role: Role, number: int, data: bytes) -> bytes:
        first, *others = frames(data)
        return frame(first[HEADER:] + b"\xc0") + b"".join(others) if (role, number) == (INITIATOR, 0) else data

    pair = run(*both(), tamper=append)
    assert isinstance(pair.responder.error, InvalidMessage)
    assert alert_of(pair.initiator) == AlertCode.DECODE_ERROR


# ---------------------------------------------------------------- order


def reorder(sender: Role, number: int, order: list[int]) -> Pair:
    """Deliver the frames of one flight in another order, or some of them twice or not at all."""

    def tamper(role: Role, count: int, data: bytes) -> bytes:
        if (role, count) != (sender, number):
            return data
        all_frames = frames(data)
        return b"".join(all_frames[place] for place in order)

    return run(*both(), tamper=tamper)


@pytest.mark.parametrize("order", [[1, 0, 2], [0, 0, 1, 2], [0, 2], [1, 2], [2, 1, 0]])
def test_a_first_flight_out_of_order(order: list[int]) -> None:
    pair = reorder(INITIATOR, 0, order)
    assert isinstance(pair.responder.error, InvalidMessage)
    assert "unexpected message" in str(pair.responder.error)
    assert alert_of(pair.initiator) == AlertCode.UNEXPECTED_MESSAGE


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ([1, 0, 2, 3, 4], AlertCode.UNEXPECTED_MESSAGE),
        ([0, 0, 1, 2, 3, 4], AlertCode.UNEXPECTED_MESSAGE),
        ([0, 2, 3, 4], AlertCode.UNEXPECTED_MESSAGE),
        ([0, 1, 3, 4], AlertCode.DECODE_ERROR),
        ([0, 1, 2, 4, 3], AlertCode.BAD_RECORD_MAC),
        ([0, 1, 2, 3, 3, 4], AlertCode.BAD_RECORD_MAC),
        ([0, 1, 2, 4], AlertCode.BAD_RECORD_MAC),
    ],
)
def test_a_responders_flight_out_of_order(order: list[int], told: AlertCode) -> None:
    pair = reorder(RESPONDER, 0, order)
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert alert_of(pair.responder) == told


def test_a_message_after_the_last_one_is_no_record() -> None:
    pair = run(*both())
    channel = pair.responder.session.channel()
    channel.receive_data(pair.initiator.flights[0])
    with pytest.raises(InvalidMessage, match="not a record of the channel"):
        channel.next_event()


def test_a_step_that_the_peer_does_not_have_before_the_lists_are_compared() -> None:
    """Before `hello-response` there is nothing to compare with: the message itself is unexpected."""
    early = note("early", INITIATOR, needs=0)  # type: ignore[arg-type]
    for anchor in ("hello", "suites", "initiator-key-share"):
        pair = run(alice().insert_before(anchor, early), bob())
        assert isinstance(pair.responder.error, InvalidMessage)
        assert "got the message 'early'" in str(pair.responder.error)
        pair = run(alice(), bob().insert_before(anchor, early))
        assert isinstance(pair.responder.error, InvalidMessage)
        assert "expected the message 'early'" in str(pair.responder.error)
        assert alert_of(pair.initiator) == AlertCode.UNEXPECTED_MESSAGE


def test_a_header_alone_is_waited_for() -> None:
    handshake = begun(RESPONDER)
    for byte in b"\xe1\x00\x01":
        handshake.receive_data(bytes((byte,)))
        assert handshake.next_event() is NEED_DATA


def test_errors_never_quote_a_whole_message() -> None:
    noise = msgspec.msgpack.encode(["suites", ["s" * 64] * 64, [], []])
    pair = run(
        *both(), tamper=lambda r, n, d: frames(d)[0] + frame(noise) + frames(d)[2] if (r, n) == (INITIATOR, 0) else d
    )
    assert isinstance(pair.responder.error, NegotiationFailed)
    assert len(str(pair.responder.error)) < 1000
