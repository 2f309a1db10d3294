"""The programs of the README and of the documents run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def programs(document: str) -> list[str]:
    """All blocks of Python in a document."""
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


README = programs("README.md")
EXPECTED = [
    r"True X25519MLKEM768_AES256GCM_SHA384 [0-9a-f]{64}\n",
    r"tenant acme\nb'hello through the channel'\n",
    r"True\n",
]


def output_of(program: str) -> str:
    """What a program prints; it complains of nothing."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout


def test_there_are_three_ways_of_use() -> None:
    assert len(README) == len(EXPECTED) == 3


@pytest.mark.parametrize(
    ("program", "expected"), list(zip(README, EXPECTED, strict=True)), ids=["core", "anyio", "tests"]
)
def test_a_program_of_the_readme_runs_as_it_stands(program: str, expected: str) -> None:
    assert re.fullmatch(expected, output_of(program))


def test_a_kind_of_credential_of_ones_own_is_one_class() -> None:
    (program,) = programs("docs/credentials.md")
    assert output_of(program) == "ssh-public-key True\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_websocket_of_the_binding_page_runs_as_it_stands(backend: str) -> None:
    program = programs("docs/binding.md")[-1]
    assert program.count("anyio.run(main)") == 1
    program = program.replace("anyio.run(main)", f"anyio.run(main, backend={backend!r})")
    assert output_of(program) == "b'HELLO THROUGH A WEBSOCKET' True\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_counters_of_the_binding_page_are_a_page_for_prometheus(backend: str) -> None:
    (program,) = (program for program in programs("docs/binding.md") if "as_metrics" in program)
    printed = output_of(program.replace("anyio.run(main)", f"anyio.run(main, backend={backend!r})"))
    assert "nautilus_handshake_completed{} 1\n" in printed
    assert 'nautilus_handshake_duration_seconds_bucket{le="+Inf"} 1\n' in printed


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_between_documents_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / document).read_text())
    missing = [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]
    assert not missing
