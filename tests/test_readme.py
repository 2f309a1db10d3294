"""The README's programs run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
EXPECTED = [
    r"True X25519MLKEM768_AES256GCM_SHA384 [0-9a-f]{64}\n",
    r"tenant acme\nb'hello through the channel'\n",
    r"True\n",
]


def test_there_are_three_ways_of_use() -> None:
    assert len(PROGRAMS) == len(EXPECTED) == 3


@pytest.mark.parametrize(
    ("program", "expected"), list(zip(PROGRAMS, EXPECTED, strict=True)), ids=["core", "anyio", "tests"]
)
def test_program_runs_as_it_stands(program: str, expected: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert re.fullmatch(expected, done.stdout), done.stdout
