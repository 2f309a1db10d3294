"""The frames and messages of `nautilus/transfer/1`: what comes out is what went in, and of rubbish only the error."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus_anyio.cli.transfer.messages import (
    HEADER_LENGTH,
    MAX_DATA,
    MAX_MESSAGE,
    MEANING,
    Done,
    Have,
    Incoming,
    Message,
    Offer,
    Parser,
    Prefix,
    Ready,
    Reason,
    Received,
    Sending,
    Start,
    Stopped,
    data_header,
    frame,
)
from nautilus_core import InvalidMessage

DIGEST = bytes(range(32))
MESSAGES: list[Message] = [
    Ready(),
    Sending(),
    Offer("file", 2**63 - 1, True),
    Have(0),
    Prefix(DIGEST),
    Start(7),
    Done(DIGEST),
    Received(DIGEST),
    *(Stopped(reason) for reason in Reason),
]


def parsed(data: bytes, sizes: list[int] | None = None) -> list[Incoming]:
    """All that a parser makes of `data`, given to it in pieces of `sizes`, over and over."""
    parser, came = Parser(), []
    sizes = sizes or [len(data) or 1]
    position = turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        parser.receive_data(data[position : position + size])
        position, turn = position + size, turn + 1
        while (item := parser.next_frame()) is not None:
            came.append(item)
    return came


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_a_message_comes_out_as_it_went_in(message: Message) -> None:
    assert parsed(frame(message)) == [message]
    assert parsed(frame(message), [1]) == [message]
    assert len(frame(message)) <= HEADER_LENGTH + MAX_MESSAGE


def test_the_bytes_on_the_wire() -> None:
    assert frame(Offer("a", 5, False)).hex() == "0100000b94" + "a56f66666572" + "a161" + "05" + "c2"
    assert data_header(MAX_DATA).hex() == "02100000"


@given(
    st.lists(st.sampled_from(MESSAGES) | st.binary(min_size=1, max_size=3000)),
    st.lists(st.integers(1, 500), max_size=5),
)
def test_any_split_gives_the_same(items: list[Message | bytes], sizes: list[int]) -> None:
    wire = b"".join(frame(x) if isinstance(x, Message) else data_header(len(x)) + x for x in items)
    assert parsed(wire, sizes) == items


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_the_documented_error_alone(data: bytes) -> None:
    for wire in (data, bytes([1]) + len(data).to_bytes(3, "big") + data):
        try:
            came = parsed(wire)
        except InvalidMessage:
            continue
        assert all(isinstance(item, Message | bytes) for item in came)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=300)
    | st.binary(max_size=40)
    | st.floats(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
tags = st.sampled_from(["ready", "sending", "offer", "have", "prefix", "start", "done", "received", "stopped"])


@given(tags, st.lists(values, max_size=4))
def test_a_message_of_wrong_values_is_refused(tag: str, fields: list[object]) -> None:
    body = msgspec.msgpack.encode([tag, *fields])
    try:
        came = parsed(bytes([1]) + len(body).to_bytes(3, "big") + body)
    except InvalidMessage:
        return
    assert len(came) == 1
    assert isinstance(came[0], Message)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(came[0])) == [tag, *fields]


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        (b"\x00\x00\x00\x01a", "unknown kind; expected 1 or 2; got 0"),
        (b"GET / HTTP", "unknown kind"),
        (b"\x01\x00\x00\x00", "wrong length"),
        (b"\x01\x00\x04\x01", "wrong length; expected 1 to 1,024 bytes; got 1,025"),
        (b"\x02\x00\x00\x00", "wrong length"),
        (b"\x02\x10\x00\x01", "wrong length; expected 1 to 1,048,576 bytes"),
        (b"\x01\x00\x00\x01\x90", "cannot be read"),
        (frame(Ready())[:3] + b"\x08" + frame(Ready())[4:] + b"\xc0", "cannot be read"),
    ],
)
def test_a_bad_frame_is_named_before_its_body_is_awaited_and_ends_it(wire: bytes, complaint: str) -> None:
    parser = Parser()
    parser.receive_data(wire)
    for _ in range(2):
        with pytest.raises(InvalidMessage, match=complaint):
            parser.next_frame()
        parser.receive_data(frame(Ready()))


def test_every_reason_has_words() -> None:
    assert set(MEANING) == set(Reason)
