"""The programs of docs/transcripts.md, section "In tests", run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "transcripts.md"
SECTION = DOCUMENT.read_text("utf-8").partition("\n## In tests\n")[2].partition("\n## ")[0]
PROGRAMS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)


def run(pytester: pytest.Pytester, *options: str, **outcomes: int) -> pytest.RunResult:
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)
    result.assert_outcomes(**outcomes)
    return result


def test_a_step_of_ones_own_is_pinned(pytester: pytest.Pytester) -> None:
    banner, again = PROGRAMS
    pytester.makepyfile(test_banner=banner)
    result = run(pytester, passed=1, failed=1)
    result.stdout.fnmatch_lines(["*pytest --nautilus-record=new*"])
    run(pytester, "--nautilus-record=new", passed=2)
    names = sorted(path.name for path in (pytester.path / "transcripts/test_banner").iterdir())
    assert names == ["test_the_wire_stays_as_it_is-2.jsonl", "test_the_wire_stays_as_it_is.jsonl"]
    run(pytester, passed=2)
    pytester.makepyfile(test_banner=banner + again)
    run(pytester, passed=4)
    changed = banner.replace('write=lambda context: b"acme node 7"', 'write=lambda context: b"acme node 77"')
    pytester.makepyfile(test_banner=changed)
    result = run(pytester, "-k", "wire", failed=1, deselected=1)
    shown = re.findall(r"```text\n(ReplayDiverged.*)\.\.\.\n```", SECTION)
    assert len(shown) == 1
    assert shown[0] in result.stdout.str()


def test_every_fixture_and_option_is_in_the_table(pytester: pytest.Pytester) -> None:
    for name in ("`handshake_pair`", "`record_transcript`", '`transcripts("folder")`', "`nautilus_transcripts`"):
        assert name in SECTION
    shown = pytester.runpytest_inprocess("--help").stdout.str()
    for mode in ("none", "new", "all"):
        assert f"`--nautilus-record={mode}`" in SECTION
        assert mode in shown
