"""The page on transcripts: its programs run one after the other, and it names every kind of line with every field."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from nautilus_core.crypto.key_log import datagram_label, handshake_label, traffic_label
from nautilus_core.limits import Limits
from nautilus_core.role import INITIATOR, RESPONDER
from nautilus_core.transcript import FORMAT, VERSION, AnyLine
from nautilus_core.transcript.lines import MAX_BYTES, MAX_LINE, MAX_LINES, Header

PAGE = (Path(__file__).parent.parent / "docs" / "transcripts.md").read_text()
ROWS = {
    kind: (re.findall(r"`(\w+)`", fields), text)
    for kind, fields, text in re.findall(r"^\| `(\w+)` \|([^|]*)\| (.*) \|$", PAGE, re.MULTILINE)
}
EXPECTED = [
    r"nautilus/1 as initiator, completed: checked \d+ bytes sent, equal one by one; 10 messages in order, .*\n",
    r"True\n",
    r"initiator nautilus/1 True\ndiverged in .*\n",
]


@pytest.mark.parametrize("line", get_args(AnyLine), ids=lambda line: str(line.__struct_config__.tag))
def test_every_field_of_a_kind_is_named_in_order(line: type[msgspec.Struct]) -> None:
    fields, text = ROWS[str(line.__struct_config__.tag)]
    assert fields == [field for field in line.__struct_fields__ if field != "at"]
    assert text


def test_no_other_kind_is_named() -> None:
    assert set(ROWS) == {str(line.__struct_config__.tag) for line in get_args(AnyLine)}


def test_what_the_header_and_the_limits_are() -> None:
    text = ROWS[str(Header.__struct_config__.tag)][1]
    assert f"`format` is `{FORMAT}`, `version` {VERSION};" in text
    assert all(f"`{field}`" in text for field in Limits.__dataclass_fields__)
    assert f"{MAX_BYTES >> 20} MiB, {MAX_LINES:,} lines, or {MAX_LINE >> 20} MiB in one line" in PAGE


def test_every_label_of_the_key_log_is_named() -> None:
    for role in (INITIATOR, RESPONDER):
        for label in (handshake_label(role), traffic_label(role, 0), datagram_label(role)):
            assert f"`{label}`" in PAGE
    assert f"`{traffic_label(INITIATOR, 1)}`" in PAGE


def test_the_programs_run_one_after_the_other(tmp_path: Path) -> None:
    programs = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for program, expected in zip(programs, EXPECTED, strict=True):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )
        assert done.stderr == ""
        assert re.fullmatch(expected, done.stdout)
    assert len(list((tmp_path / "transcripts").iterdir())) == 1
