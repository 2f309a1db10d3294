"""The pytest plugin: `handshake_pair`, `record_transcript`, `transcripts`, and `--nautilus-record`.

It is loaded by every pytest that has Nautilus installed, so its other modules are not, until a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from .items import Looks
    from .pairs import HandshakePair
    from .recording import RecordTranscript
    from .stored import StoredTranscript

_LOOKS: Final = pytest.StashKey["Looks"]()
_MARKER: Final = "transcripts"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--nautilus-record`, and where transcripts are kept."""
    group = parser.getgroup("nautilus", "transcripts of handshakes")
    group.addoption(
        "--nautilus-record",
        choices=("none", "new", "all"),
        default="none",
        help="what record_transcript does: none: every handshake must match its transcript (the default); "
        "new: those without one are recorded; all: all are recorded anew",
    )
    parser.addini(
        "nautilus_transcripts",
        "the folder of record_transcript, beside each test file or absolute",
        default="transcripts",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(folder): run the test for each transcript in a folder beside its file; it takes the argument `transcript`",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize tests that are marked with a folder of transcripts."""
    marker = metafunc.definition.get_closest_marker(_MARKER)
    if marker is None:
        return
    from .stored import stored_in  # noqa: PLC0415  # only where it is used

    if "transcript" not in metafunc.fixturenames:
        pytest.fail(f"{metafunc.definition.nodeid} is marked with transcripts, but takes no argument `transcript`")
    (folder,) = marker.args
    found = stored_in(Path(metafunc.definition.path).parent, folder)
    metafunc.parametrize("transcript", found, ids=[one.name for one in found], indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After the test, compare what it did with what was recorded."""
    try:
        result = yield
    except BaseException as error:
        looks = item.stash.get(_LOOKS, None)
        if looks is not None:
            looks.check(error)
        raise
    looks = item.stash.get(_LOOKS, None)
    if looks is not None:
        looks.check(None)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what happened beside a failure."""
    report = yield
    looks = item.stash.get(_LOOKS, None)
    if looks is not None and report.failed and call.when == "call":
        report.sections.extend(looks.sections())
    return report


def _looks_of(request: pytest.FixtureRequest) -> Looks:
    from .items import Looks  # noqa: PLC0415

    item: pytest.Item = request.node
    return item.stash.setdefault(_LOOKS, Looks())


@pytest.fixture
def handshake_pair(request: pytest.FixtureRequest) -> HandshakePair:
    """Both ends of a handshake, in memory: ``pair = handshake_pair(profile_of_initiator, profile_of_responder)``.

    With one profile, both ends have it; instead of a profile, an end can be a ``Handshake``, as `record_transcript` makes it.
    ``answer=`` is called with each question; ``split=`` and ``tamper=`` cut and change what travels (`nautilus_core.testing`).
    The pair has run until nothing moves: ``pair.initiator`` and ``pair.responder`` have ``.session``, ``.error``, ``.events``,
    ``.flights``; ``.session.channel()`` goes on from there.
    When the test fails, its report shows what happened, message by message.
    """
    from .pairs import HandshakePair  # noqa: PLC0415

    return HandshakePair(_looks_of(request))


@pytest.fixture
def record_transcript(request: pytest.FixtureRequest) -> RecordTranscript:
    """A handshake that must do what it did when it was recorded: ``engine = record_transcript(INITIATOR, profile)``.

    The result is a ``Handshake``, to be driven by the test or by `handshake_pair`. With ``--nautilus-record=new`` a test that
    passes leaves its transcript in ``transcripts/<module>/<test>.jsonl`` beside its file (ini: ``nautilus_transcripts``); the
    second handshake of a test in ``<test>-2.jsonl``. Without the option the transcript must be there: the handshake draws what
    was drawn then, and must send, and tell, the same: else the test fails with ``ReplayDiverged``, which says where. Identities
    must be the same in each run. A transcript holds the secrets of its session, so that it can be repeated; no identity's key.
    """
    from .recording import RecordTranscript  # noqa: PLC0415

    item: pytest.Function = request.node
    looks = _looks_of(request)
    recording = RecordTranscript.of(item, looks, item.config.getoption("nautilus_record"))
    looks.at_end = recording.check
    return recording


@pytest.fixture
def transcripts(request: pytest.FixtureRequest) -> Callable[[str], tuple[StoredTranscript, ...]]:
    """The transcripts of a folder, by name: ``for one in transcripts("folder"): one.replay(profile)``.

    The folder is relative to the test file; one that is missing or empty fails the test. Each has ``name``, ``path``,
    ``transcript`` and ``replay(profile, ...)``, which is `nautilus_core.transcript.replay`. To have a test for each, mark it:
    ``@pytest.mark.transcripts("folder")``, and take the argument ``transcript``.
    """
    from .stored import stored_in  # noqa: PLC0415

    looks = _looks_of(request)

    def find(folder: str) -> tuple[StoredTranscript, ...]:
        found = stored_in(Path(request.path).parent, folder)
        return tuple(one.shown_by(looks) for one in found)

    return find


@pytest.fixture
def transcript(request: pytest.FixtureRequest) -> StoredTranscript:
    """One of the transcripts of a folder, in a test that is marked with ``@pytest.mark.transcripts("folder")``."""
    stored: StoredTranscript | None = getattr(request, "param", None)
    if stored is None:
        pytest.fail('the argument `transcript` goes with @pytest.mark.transcripts("folder")', pytrace=False)
    return stored.shown_by(_looks_of(request))
