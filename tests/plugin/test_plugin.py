"""The fixtures in real runs of pytest: what passes, what fails, what the reports say, what is left in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from nautilus_core.transcript import read
from nautilus_core.transcript.lines import Sent

from ..core.transcript.recording import with_a_byte_changed

TEST = """
from people import *

def test_meeting(record_transcript, handshake_pair):
    pair = handshake_pair(record_transcript(INITIATOR, MINE), record_transcript(RESPONDER, THEIRS))
    assert pair.initiator.session.peer.peer_id == BOB.peer_id
    channel = pair.responder.session.channel()
    channel.send_data(b"welcome")
    assert channel.data_to_send()
"""
OTHER = TEST.replace('b"welcome"', 'b"goodbye"')
ANOTHER_PROTOCOL = TEST.replace(
    "import *",
    """import *

MINE = profiles.nautilus(identity=ALICE, trust=trust.pinned(BOB.public), protocols=["x"])
THEIRS = profiles.nautilus(identity=BOB, trust=trust.pinned(ALICE.public), protocols=["x"])
""",
)


def run(project: pytest.Pytester, source: str, *options: str, name: str = "test_it", **counts: int) -> pytest.RunResult:
    """Run one test file in a pytest of its own, with these outcomes."""
    project.makepyfile(**{name: source})
    result = project.runpytest_inprocess("-p", "no:cacheprovider", *options)
    result.assert_outcomes(**counts)
    return result


def folder(project: pytest.Pytester) -> Path:
    return project.path / "transcripts" / "test_it"


def test_a_project_that_does_not_use_it_sees_nothing_of_it(project: pytest.Pytester) -> None:
    source = "import sys\n\ndef test_it(): assert 'nautilus_anyio.pytest_plugin.recording' not in sys.modules\n"
    project.makepyfile(test_it=source)
    strict = (
        "--strict-markers",
        "-W",
        "error",
        "-W",
        "ignore:assertions not in test modules",
    )  # said under `python -O`
    result = project.runpytest_subprocess("-p", "no:anyio", "-p", "no:cacheprovider", *strict)
    result.assert_outcomes(passed=1)


def test_the_fixtures_are_documented(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("--fixtures")
    for name in ("handshake_pair", "record_transcript", "transcripts", "transcript"):
        result.stdout.re_match_lines([rf"{name} -- .*nautilus_anyio.pytest_plugin.*"])
    result.stdout.fnmatch_lines(["*Both ends of a handshake, in memory*"])


def test_a_pair_in_memory(project: pytest.Pytester) -> None:
    source = """
    from people import *
    from nautilus_core import HandshakeCompleted, AuthenticationFailed, PeerIdentified

    def test_both_ends(handshake_pair):
        pair = handshake_pair(MINE, THEIRS)
        assert pair.initiator.session.channel_binding == pair.responder.session.channel_binding
        assert isinstance(pair.initiator.events[-1], HandshakeCompleted)

    def test_one_profile_for_both(handshake_pair):
        profile = profiles.nautilus(identity=ALICE, trust=trust.ask())
        pair = handshake_pair(profile, answer=lambda question: question.accept())
        assert pair.completed if hasattr(pair, "completed") else pair.initiator.completed

    def test_errors_are_kept(handshake_pair):
        pair = handshake_pair(MINE, profiles.nautilus(identity=BOB, trust=trust.pinned(BOB.public)))
        assert isinstance(pair.responder.error, AuthenticationFailed)
    """
    source = source.replace(
        'pair.completed if hasattr(pair, "completed") else pair.initiator.completed', "pair.initiator.completed"
    )
    run(project, source, passed=3)


def test_a_failure_shows_the_ladder(project: pytest.Pytester) -> None:
    source = """
    from people import *

    def test_it(handshake_pair):
        pair = handshake_pair(MINE, profiles.nautilus(identity=BOB, trust=trust.pinned(BOB.public)))
        assert pair.responder.completed

    def test_without_a_failure(handshake_pair):
        handshake_pair(MINE, THEIRS)
    """
    result = run(project, source, passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*nautilus: pair 1, initiator*",
            "*── hello ──* ▶ *",
            "*◀ *── responder-finished ──*",
            "*nautilus: pair 1, responder*",
            "*✗ AuthenticationFailed in initiator-authentication: the peer's key is*",
        ]
    )
    assert "without_a_failure" not in result.stdout.str()


def test_record_then_repeat(project: pytest.Pytester) -> None:
    run(project, TEST, "--nautilus-record=new", passed=1)
    files = sorted(path.name for path in folder(project).iterdir())
    assert files == ["test_meeting-2.jsonl", "test_meeting.jsonl"]
    before = [(folder(project) / name).read_bytes() for name in files]
    run(project, TEST, passed=1)
    run(project, TEST, "--nautilus-record=new", passed=1)
    assert [(folder(project) / name).read_bytes() for name in files] == before
    run(project, TEST, "--nautilus-record=all", passed=1)
    after = [(folder(project) / name).read_bytes() for name in files]
    assert all(one != other for one, other in zip(before, after, strict=True))
    run(project, TEST, passed=1)


def test_without_a_transcript_it_fails_and_says_how_to_record_one(project: pytest.Pytester) -> None:
    result = run(project, TEST, failed=1)
    result.stdout.fnmatch_lines(["*there is no transcript *test_meeting.jsonl", "*pytest --nautilus-record=new"])
    assert not folder(project).exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (OTHER, '*ReplayDiverged: line *{*"data":"d2VsY29tZQ=="*; replayed *"data":"Z29vZGJ5ZQ=="*'),
        (
            ANOTHER_PROTOCOL,
            '*ReplayDiverged: line 3, flight 0, step \'hello\': recorded *"size":266*; replayed *"size":2*',
        ),
    ],
    ids=["channel", "hello"],
)
def test_what_differs_is_named(project: pytest.Pytester, source: str, words: str) -> None:
    run(project, TEST, "--nautilus-record=new", passed=1)
    result = run(project, source, failed=1)
    result.stdout.fnmatch_lines([words, "*if it is meant to be another now: pytest --nautilus-record=all*"])
    run(project, source, "--nautilus-record=all", passed=1)
    run(project, source, passed=1)


def test_another_identity_differs(project: pytest.Pytester) -> None:
    run(project, TEST, "--nautilus-record=new", passed=1)
    result = run(project, TEST.replace("import *", "import *\nALICE = Identity.generate()\n"
        "MINE = profiles.nautilus(identity=ALICE, trust=trust.pinned(BOB.public))\n"
        "THEIRS = profiles.nautilus(identity=BOB, trust=trust.anyone())"), failed=1)  # fmt: skip
    result.stdout.fnmatch_lines(["*ReplayDiverged: line *recorded *; replayed *"])


@pytest.mark.parametrize("place", range(100, 1500, 400))
def test_a_byte_that_was_sent_and_is_another_in_the_file_is_noticed(project: pytest.Pytester, place: int) -> None:
    run(project, TEST, "--nautilus-record=new", passed=1)
    path = folder(project) / "test_meeting.jsonl"
    path.write_bytes(b"".join(with_a_byte_changed([path.read_bytes()], place, of=Sent)))
    result = run(project, TEST, failed=1)
    result.stdout.fnmatch_lines(["*ReplayDiverged*"])


def test_a_file_that_was_altered_is_refused(project: pytest.Pytester) -> None:
    run(project, TEST, "--nautilus-record=new", passed=1)
    path = folder(project) / "test_meeting.jsonl"
    path.write_bytes(path.read_bytes().replace(b"hello", b"hallo", 1))
    result = run(project, TEST, failed=1)
    result.stdout.fnmatch_lines(["*TranscriptError: line *: its check is wrong*", "*in *test_meeting.jsonl"])


IN_PIECES = """
import pytest
from people import *

@pytest.fixture
def pieces():
    return {size}

def test_meeting(record_transcript, handshake_pair, pieces):
    def split(data):
        return [data[place : place + pieces] for place in range(0, len(data), pieces)]

    ends = record_transcript(INITIATOR, MINE), record_transcript(RESPONDER, THEIRS)
    pair = handshake_pair(*ends, split=split)
    one, other = pair.initiator.session.channel(), pair.responder.session.channel()
    one.receive_data(other.data_to_send())
    one.next_event()
    one.send_data(b"first")
    sent = bytes(one.data_to_send())
    one.send_data(b"second")
    sent += one.data_to_send()
    for piece in split(sent):
        other.receive_data(piece)
        other.next_event()
"""


def test_it_does_not_matter_in_which_pieces_bytes_come(project: pytest.Pytester) -> None:
    run(project, IN_PIECES.format(size=10_000), "--nautilus-record=new", passed=1)
    for size in (1, 30, 10_000):
        run(project, IN_PIECES.format(size=size), passed=1)
    result = run(project, IN_PIECES.format(size=30).replace("second", "Second"), failed=1)
    result.stdout.fnmatch_lines(["*ReplayDiverged*"])


def test_an_error_before_anything_was_done_is_shown_as_it_is(project: pytest.Pytester) -> None:
    source = TEST.replace("    pair =", "    record_transcript(INITIATOR, MINE)\n    raise KeyError(1)\n    pair =")
    result = run(project, source, "--nautilus-record=new", failed=1)
    result.stdout.fnmatch_lines(["E  *KeyError: 1"])
    assert "nothing to check" not in result.stdout.str()


def test_a_test_that_fails_stores_nothing(project: pytest.Pytester) -> None:
    run(project, TEST + "    assert False\n", "--nautilus-record=new", failed=1)
    assert not folder(project).exists()


def test_nothing_passes_with_nothing_checked(project: pytest.Pytester) -> None:
    nothing = "def test_meeting(record_transcript):\n    pass\n"
    for mode in ("none", "new", "all"):
        result = run(project, nothing, f"--nautilus-record={mode}", failed=1)
        result.stdout.fnmatch_lines(["*record_transcript made no handshake: nothing was checked*"])
    idle = "from people import *\ndef test_meeting(record_transcript):\n    record_transcript(INITIATOR, MINE)\n"
    result = run(project, idle, "--nautilus-record=new", failed=1)
    result.stdout.fnmatch_lines(["*test_meeting.jsonl did nothing: there is nothing to check*"])
    run(project, TEST, "--nautilus-record=new", passed=1)
    run(project, idle, failed=1)
    run(project, nothing, failed=1)


def test_a_handshake_that_is_made_no_more_is_noticed(project: pytest.Pytester) -> None:
    run(project, TEST, "--nautilus-record=new", passed=1)
    one = TEST.replace("record_transcript(RESPONDER, THEIRS)", "THEIRS")
    alone = "from people import *\ndef test_meeting(record_transcript):\n    record_transcript(INITIATOR, MINE).next_event()\n"
    result = run(project, alone, failed=1)
    run(project, one, failed=1)
    alone = alone.replace("    record_", "    e = record_").replace(
        ".next_event()\n", "; e.next_event(); e.data_to_send()\n"
    )
    result = run(project, alone, "--nautilus-record=all", passed=1)
    assert [path.name for path in folder(project).iterdir()] == ["test_meeting.jsonl"]
    run(project, alone, passed=1)
    (folder(project) / "test_meeting-2.jsonl").write_bytes((folder(project) / "test_meeting.jsonl").read_bytes())
    result = run(project, alone, failed=1)
    result.stdout.fnmatch_lines(["*the test made 1 handshakes; there is also *test_meeting-2.jsonl*"])


def test_names_of_tests_become_names_of_files(project: pytest.Pytester) -> None:
    source = """
    import pytest
    from people import *

    class TestIt:
        @pytest.mark.parametrize("what", ["a/b", "a_b", "../..", "long" * 100])
        def test_it(self, record_transcript, what):
            engine = record_transcript(INITIATOR, MINE)
            engine.next_event()
            assert engine.data_to_send()
    """
    run(project, source, "--nautilus-record=new", passed=4)
    names = sorted(path.name for path in folder(project).iterdir())
    assert len(names) == 4
    assert {"TestIt.test_it[a%2Fb].jsonl", "TestIt.test_it[a_b].jsonl"} <= set(names)
    run(project, source, passed=4)


def test_the_folder_is_an_option_of_the_ini_file(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nnautilus_transcripts = kept/here\n")
    run(project, TEST, "--nautilus-record=new", passed=1)
    assert len(read([(project.path / "kept/here/test_it/test_meeting.jsonl").read_bytes()]).lines) > 10
    run(project, TEST, passed=1)


def test_a_test_that_is_skipped_or_runs_on_an_event_loop(project: pytest.Pytester) -> None:
    source = """
    import anyio, pytest
    from people import *

    def test_skipped(record_transcript):
        record_transcript(INITIATOR, MINE).next_event()
        pytest.skip("not here")

    @pytest.mark.anyio
    async def test_loop(record_transcript):
        await anyio.sleep(0)
        engine = record_transcript(INITIATOR, MINE)
        engine.next_event()
        assert engine.data_to_send()
    """
    run(project, source, "--nautilus-record=new", passed=2, skipped=1)
    run(project, source, "-k", "loop", passed=2)
    assert len(list(folder(project).iterdir())) == 2


STORED = """
import pytest
from people import *

def test_each(transcripts):
    for one in transcripts("transcripts/test_it"):
        assert one.replay(MINE if one.transcript.header.role is INITIATOR else THEIRS).full

@pytest.mark.transcripts("transcripts/test_it")
def test_one(transcript):
    assert transcript.replay(MINE if transcript.transcript.header.role is INITIATOR else THEIRS).full
"""


def test_a_folder_of_transcripts(project: pytest.Pytester) -> None:
    run(project, TEST, "--nautilus-record=new", passed=1)
    result = run(project, STORED, "-v", "test_stored.py", name="test_stored", passed=3)
    result.stdout.fnmatch_lines(["*::test_one?test_meeting-2? PASSED*", "*::test_one?test_meeting? PASSED*"])
    broken = STORED.replace("MINE if", "THEIRS if").replace("else THEIRS", "else MINE")
    result = run(project, broken, "test_stored.py", name="test_stored", failed=3)
    result.stdout.fnmatch_lines(["*ReplayDiverged*", "*nautilus: test_meeting-2.jsonl*", "*── hello ──* ▶ *"])


@pytest.mark.parametrize("empty", [True, False])
def test_an_empty_or_missing_folder_fails(project: pytest.Pytester, empty: bool) -> None:
    if empty:
        folder(project).mkdir(parents=True)
        (folder(project) / "README.md").touch()
    words = "there is no transcript (?.jsonl) in *" if empty else "there is no folder of transcripts *"
    loop, marked = STORED.split("@pytest.mark")
    result = run(project, loop, name="test_loop", failed=1)
    result.stdout.fnmatch_lines([f"*{words}"])
    (project.path / "test_loop.py").unlink()
    result = run(project, "import pytest\n@pytest.mark" + marked, name="test_marked", errors=1)
    result.stdout.fnmatch_lines([f"*{words}"])


def test_the_marker_and_its_argument_go_together(project: pytest.Pytester) -> None:
    result = run(project, "def test_it(transcript): pass\n", errors=1)
    result.stdout.fnmatch_lines(["*goes with @pytest.mark.transcripts*"])
    result = run(project, 'import pytest\n@pytest.mark.transcripts("x")\ndef test_it(): pass\n', errors=1)
    result.stdout.fnmatch_lines(["*takes no argument `transcript`*"])


def test_one_engine_is_one_end(project: pytest.Pytester) -> None:
    source = """
    import pytest
    from people import *
    from nautilus_core import Handshake

    def test_it(handshake_pair):
        with pytest.raises(TypeError, match="one end"):
            handshake_pair(Handshake(INITIATOR, MINE))
    """
    run(project, source, passed=1)
