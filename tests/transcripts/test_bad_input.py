"""Transcripts that are none, or not whole, or somebody's attempt: a clear error with the line, in bounded memory; and no replay
passes in which nothing was checked."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from zlib import crc32

import pytest

from nautilus_core import INITIATOR, RESPONDER, Role
from nautilus_core.transcript import LineWriter, ReplayDiverged, Transcript, TranscriptError, read, replay
from nautilus_core.transcript.lines import MAX_BYTES, MAX_LINE, AnyLine, End, Failed, Frame, Happened, Sent

from .case import path_of
from .cases import CASES

NAME = "channel"
WHOLE = path_of(NAME, INITIATOR).read_bytes()
LINES = WHOLE.splitlines(keepends=True)
PROFILE = CASES[NAME].profile(INITIATOR)


def test_it_is_cut_off_at_any_byte() -> None:
    ends = {sum(map(len, LINES[:count])) for count in range(len(LINES) + 1)}
    for length in range(len(WHOLE)):
        with pytest.raises(TranscriptError) as raised:
            read([WHOLE[:length]])
        assert raised.value.line == (0 if length == 0 else WHOLE[:length].count(b"\n") + (length not in ends))


def test_it_is_cut_off_at_any_line_and_replayed_as_far_as_it_goes() -> None:
    checked = 0
    first = next(number for number, line in enumerate(LINES, 1) if b'"check":' in line)
    for count in range(1, len(LINES)):
        if count < first:
            with pytest.raises(TranscriptError, match="cut off before the first check"):
                read(LINES[:count], cut_off=True)
            continue
        transcript = read(LINES[:count], cut_off=True)
        assert not transcript.whole
        if not any(isinstance(line, (Sent, Frame, Failed)) for line in transcript.lines):
            with pytest.raises(TranscriptError, match="nothing to check"):
                replay(transcript, PROFILE)
            continue
        report = replay(transcript, PROFILE)
        assert report.messages + report.events + report.sent > 0
        checked += 1
    assert checked > len(LINES) - 15


def test_it_is_tampered_with_anywhere() -> None:
    source = random.Random(3)
    for _ in range(500):
        place = source.randrange(len(WHOLE) - 1)
        data = bytearray(WHOLE)
        data[place] ^= source.randrange(1, 256)
        with pytest.raises(TranscriptError) as raised:
            read([bytes(data)])
        assert raised.value.line >= 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\xef\xbb\xbf" + WHOLE,
        WHOLE.decode().encode("utf-16"),
        gzip.compress(WHOLE),
        json.dumps([json.loads(line) for line in LINES]).encode(),
        b'{"log": {"version": "1.2", "entries": []}}\n',
        b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(16) + b"\n",
        b"CLIENT_HANDSHAKE_TRAFFIC_SECRET 00 00\n",
        b"null\n",
        b"[]\n",
        b'"nautilus-transcript"\n',
        bytes(100_000),
    ],
    ids=[
        "empty",
        "a blank line",
        "a mark",
        "UTF-16",
        "gzip",
        "a list",
        "HAR",
        "pcap",
        "a key log",
        "null",
        "[]",
        "text",
        "zeros",
    ],
)
def test_it_is_something_else(data: bytes) -> None:
    with pytest.raises(TranscriptError) as raised:
        read([data])
    assert raised.value.line <= 1
    assert len(str(raised.value)) < 300


def written(transcript: Transcript, lines: Iterable[AnyLine]) -> list[bytes]:
    file: list[bytes] = []
    write = LineWriter(file.append)
    for line in (transcript.header, *lines):
        write(line)
    return file


def checked_lines(*bodies: bytes) -> bytes:
    """A file of these lines, whatever they are, with good checks."""
    check, file = 0, b""
    for body in bodies:
        check = crc32(b"\n", crc32(body, check))
        file += b'%b,"check":"%08x"}\n' % (body[:-1], check)
    return file


HEADER = written(read([WHOLE]), [])[0][: -len(',"check":"00000000"}\n')] + b"}"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"kind":"miracle","at":1}', "miracle"),
        (b'{"kind":"in","flight":1,"data":"AA==","colour":"red"}', "colour"),
        (b'{"kind":"in","flight":"one","data":"AA=="}', "flight"),
        (b'{"kind":"in","flight":1,"data":"?"}', "base64"),
        (b'{"kind":"in","flight":1}', "data"),
        (b'{"kind":"event","event":"x","values":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", "no line"),
        (b'{"kind":"in","flight":' + b"9" * 5000 + b',"data":""}', "no line"),
    ],
    ids=["kind", "field", "type", "base64", "missing", "deep", "number"],
)
def test_a_line_is_not_of_this_version(body: bytes, words: str) -> None:
    with pytest.raises(TranscriptError, match=words) as raised:
        read([checked_lines(HEADER, body)])
    assert raised.value.line == 2


def test_it_is_of_a_newer_version() -> None:
    newer = HEADER.replace(b'"version":1', b'"version":2') + b""
    for body in (newer, newer.replace(b'"kind":"header"', b'"kind":"prologue","cbor":true')):
        with pytest.raises(TranscriptError, match="line 1: written in version 2 .* knows version 1: update it"):
            read([checked_lines(body)])


def peak_of(pieces: Iterator[bytes]) -> int:
    """How many bytes are in use at most until it is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(TranscriptError):
            read(pieces)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def endless(first: bytes, piece: bytes) -> Iterator[bytes]:
    yield first
    while True:
        yield piece


def test_it_is_enormous() -> None:
    assert peak_of(endless(b"", b"x" * 65_536)) < 8 * MAX_LINE
    assert peak_of(endless(LINES[0], b"x" * 65_536)) < 8 * MAX_LINE
    assert peak_of(endless(LINES[0], b"\n" * 65_536)) < 8 * MAX_LINE

    def valid() -> Iterator[bytes]:
        file: list[bytes] = []
        write = LineWriter(file.append)
        write(read([WHOLE]).header)
        try:
            while True:
                write(Sent(flight=1, data=bytes(200_000)))
                yield from file
                file.clear()
        except TranscriptError:  # the writer's own limit
            yield b" " * 65_536
            yield b" " * MAX_LINE

    assert peak_of(valid()) < 2 * MAX_BYTES


@pytest.mark.parametrize("value", [b"{}"])
def test_it_has_enormously_many_values(value: bytes) -> None:
    """Each is small in the file, and is not when it was read."""
    many = b",".join([value] * (1_000_000 // (len(value) + 1)))
    body = b'{"kind":"event","event":"x","values":{"a":[' + many + b"]}}"

    def pieces() -> Iterator[bytes]:
        check = crc32(HEADER + b"\n")
        yield checked_lines(HEADER)
        while True:
            check = crc32(body + b"\n", check)
            yield b'%b,"check":"%08x"}\n' % (body[:-1], check)

    assert peak_of(pieces()) < 3 * MAX_BYTES


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "name", ["default", "noise-xx", "public-default", "authentication-responder-refuses", "peer-gone-at-once"]
)
def test_nothing_passes_with_nothing_checked(name: str, role: Role) -> None:
    """Without what can be checked, whichever lines are left; and an empty channel of lines."""
    transcript, profile = read([path_of(name, role).read_bytes()]), CASES[name].profile(role)
    left = [line for line in transcript.lines if not isinstance(line, (Sent, Frame, Failed))]
    for lines in (left, left[-1:], [line for line in left if not isinstance(line, Happened)]):
        with pytest.raises((TranscriptError, ReplayDiverged)):
            replay(written(transcript, lines), profile)
        with pytest.raises((TranscriptError, ReplayDiverged)):
            replay(replace(transcript, lines=tuple(lines)), profile)
    end = transcript.lines[-1]
    assert isinstance(end, End)
    with pytest.raises(TranscriptError, match="nothing to check"):
        replay(written(transcript, [end]), profile)


def test_every_report_says_that_something_was_checked() -> None:
    for name, case in CASES.items():
        for role in (INITIATOR, RESPONDER):
            report = replay([path_of(name, role).read_bytes()], case.profile(role))
            assert report.messages + report.events + report.sent > 0
            assert report.checked
