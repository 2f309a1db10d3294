"""What is no transcript is refused with the number of the line, in bounded memory."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nautilus_core import INITIATOR, Handshake, LocalProtocolError
from nautilus_core.testing import Pair
from nautilus_core.transcript import LineWriter, Recorder, TranscriptError, read, replay
from nautilus_core.transcript.lines import LIBRARY, MAX_BYTES, MAX_LINE, MAX_LINES, End, Frame, Happened, Header

from ..helpers import alice, both
from .recording import Recorded, rewritten

FILE = Recorded(*both()).files[0]
END = End(outcome="open", received=0, sent=0, received_check=0, sent_check=0)


def test_pieces_of_any_size_are_the_same_transcript() -> None:
    whole = b"".join(FILE)
    assert read([whole]) == read(FILE) == read([whole[place : place + 7] for place in range(0, len(whole), 7)])


def test_any_byte_that_is_changed_in_the_file_is_noticed_at_its_line_or_the_next_check() -> None:
    whole = b"".join(FILE)
    for place in range(0, len(whole) - 1, 11):
        changed = bytearray(whole)
        changed[place] ^= 1
        with pytest.raises(TranscriptError) as raised:
            read([bytes(changed)])
        assert raised.value.line >= 1
        if place > len(FILE[0]):
            changed_line = whole[:place].count(b"\n") + 1
            check = next(
                number for number, line in enumerate(FILE, 1) if b',"check":"' in line and number >= changed_line
            )
            assert changed_line <= raised.value.line <= check + (whole[place] == 10)


@pytest.mark.parametrize("line", range(1, len(FILE)))
def test_a_line_that_is_missing_or_moved_is_noticed(line: int) -> None:
    with pytest.raises(TranscriptError):
        read(FILE[: line - 1] + FILE[line:])
    with pytest.raises(TranscriptError):
        read([*FILE[: line - 1], FILE[line], FILE[line - 1], *FILE[line + 1 :]])


def test_what_is_cut_off_is_refused_unless_that_is_wanted() -> None:
    for end in (1, 5, len(FILE) - 1):
        with pytest.raises(TranscriptError, match="cut off"):
            read(FILE[:end])
    for end in range(1, len(FILE)):
        checked = max((number for number, line in enumerate(FILE[:end], 1) if b',"check":"' in line), default=0)
        if not checked:
            with pytest.raises(TranscriptError, match="cut off before the first check"):
                read(FILE[:end], cut_off=True)
            continue
        cut = read([*FILE[:end], FILE[end][:20]], cut_off=True)
        assert not cut.whole
        assert len(cut.lines) == checked - 1
    with pytest.raises(TranscriptError, match=r"line 5: .*middle of a line"):
        read([*FILE[:4], FILE[4][:20]])
    with pytest.raises(TranscriptError, match="line 1"):
        read([FILE[0][:20]], cut_off=True)


def test_a_transcript_that_was_cut_off_replays_as_far_as_it_goes() -> None:
    recorded = Recorded(*both())
    first = next(number for number, line in enumerate(recorded.files[0], 1) if b',"check":"' in line)
    for end in range(first, len(recorded.files[0])):
        report = replay(read(recorded.files[0][:end], cut_off=True), recorded.profiles[0])
        assert report.outcome == "open"
        assert report.messages


def test_what_is_foreign_is_named() -> None:
    for data, words in (
        (b"", "it is empty"),
        (b"\n", "line 1: this is no transcript"),
        (b"\x00\xff\n", "line 1: this is no transcript"),
        (b'{"log": 1}\n', "line 1: this is no transcript"),
        (b'{"format": "har", "version": 1}\n', "but 'har'"),
        (b"[" * 100_000 + b"\n", "line 1: this is no transcript"),
        (b'{"format": "nautilus-transcript", "version": 2}\n', "version 2 of the format; this library knows version 1"),
        (b'{"format": "nautilus-transcript", "version": 0}\n', "there is no version 0"),
    ):
        with pytest.raises(TranscriptError, match=words):
            read([data])
    with pytest.raises(TranscriptError, match="something follows"):
        read([*FILE, FILE[-1]])
    with pytest.raises(TypeError):
        read("text")  # type: ignore[arg-type]


def test_lines_of_other_kinds_or_in_the_wrong_place_are_refused() -> None:
    transcript = read(FILE)
    with pytest.raises(TranscriptError, match="second header"):
        read(rewritten(transcript, [transcript.header, *transcript.lines]))
    frame = next(line for line in transcript.lines if isinstance(line, Frame))
    file: list[bytes] = []
    LineWriter(file.append)(frame)
    with pytest.raises(TranscriptError, match="no header in JSON"):
        read(file)


def endless(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


def test_what_is_enormous_is_refused_in_bounded_memory() -> None:
    with pytest.raises(TranscriptError, match=f"line 1: a line of more than {MAX_LINE} bytes"):
        read(endless(b"x" * 65_536))
    with pytest.raises(TranscriptError, match="line 1"):
        read(endless(b"\n"))
    header = read(FILE).header
    file: list[bytes] = []
    write = LineWriter(file.append)
    write(header)
    event = Happened(event="x" * 600_000)
    with pytest.raises(TranscriptError, match=f"{MAX_BYTES} bytes"):
        for _ in range(200):
            write(event)
    with pytest.raises(TranscriptError, match=f"more than {MAX_LINES} lines"):
        lines = LineWriter(lambda _: None)
        small = Happened(event="x")
        for _ in range(MAX_LINES + 1):
            lines(small)
    with pytest.raises(TranscriptError, match="more than"):
        read(endless(b"".join(file)))


def test_what_looks_like_a_check_is_none() -> None:
    header = read(FILE).header
    event = Happened(event="Ours", values={"a": 1, "check": "1234567"})
    file: list[bytes] = []
    LineWriter(file.append)(header, event, event, END)
    assert b"".join(file).count(b',"check":"1234567"}}') == 2
    assert read(file).lines[:2] == (event, event)


def test_lines_that_were_written_together_share_a_check() -> None:
    number = next(number for number, line in enumerate(FILE) if b',"check":"' in line)
    assert number > 1
    changed = FILE[1].replace(b'"random"', b'"sandom"')
    with pytest.raises(TranscriptError, match=f"line {number + 1}: .*one of the lines 1 to {number + 1} was altered"):
        read([FILE[0], changed, *FILE[2:]])


def test_nothing_to_check_does_not_pass() -> None:
    file: list[bytes] = []
    with Recorder(file.append, dangerously_record_secrets=True) as recorder:
        Handshake(INITIATOR, alice(), recorder=recorder).receive_data(b"\xe1")
    assert read(file).whole
    with pytest.raises(TranscriptError, match="nothing to check"):
        replay(file, alice())


def test_the_header_says_what_was_recorded() -> None:
    header = read(FILE).header
    assert isinstance(header, Header)
    assert header.role is INITIATOR
    assert header.steps == alice().outline.descriptions
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))["project"]
    assert header.library == f"{project['name']} {project['version']}" == LIBRARY


def test_a_recorder_that_fails_breaks_nothing_and_says_so() -> None:

    for broken in range(5):
        written: list[bytes] = []

        def write(line: bytes, written: list[bytes] = written, broken: int = broken) -> None:
            if len(written) == broken:
                raise OSError("no space left on device")
            written.append(line)

        initiator, responder = both()
        recorder = Recorder(write, clock=lambda: 1.0)
        pair = Pair(Handshake(INITIATOR, initiator, recorder=recorder), responder).run()
        recorder.close()
        assert pair.initiator.completed
        assert pair.responder.completed
        assert isinstance(recorder.error, OSError)
        assert len(written) == broken
        assert "stopped" in repr(recorder)


def test_a_clock_that_fails_breaks_nothing() -> None:
    def clock() -> float:
        raise RuntimeError("no clock")

    recorder = Recorder(lambda _: None, clock=clock)
    handshake = Handshake(INITIATOR, alice(), recorder=recorder)
    handshake.next_event()
    assert handshake.data_to_send()
    assert isinstance(recorder.error, RuntimeError)


def test_a_recorder_has_one_handshake() -> None:
    recorder = Recorder(lambda _: None)
    Handshake(INITIATOR, alice(), recorder=recorder)
    with pytest.raises(LocalProtocolError, match="one handshake"):
        Handshake(INITIATOR, alice(), recorder=recorder)


def test_times_are_those_of_the_clock() -> None:
    file: list[bytes] = []
    times = iter(range(100, 10_000))
    with Recorder(file.append, clock=lambda: next(times) / 10) as recorder:
        handshake = Handshake(INITIATOR, alice(), recorder=recorder)
        handshake.next_event()
        handshake.data_to_send()
    places = [line.at for line in read(file).lines]
    assert places == sorted(places, key=lambda at: at or 0)
    assert places[:2] == [0, 100_000]
