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


def output_of(program: str, *arguments: str) -> str:
    """What a program prints; it complains of nothing."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout


def program_with(document: str, words: str) -> str:
    """The one program of a document that says this."""
    (found,) = [program for program in programs(document) if words in program]
    return found


def on(backend: str, program: str) -> str:
    """A program on the event loop `backend`."""
    assert program.count("anyio.run(main)") == 1
    return program.replace("anyio.run(main)", f"anyio.run(main, backend={backend!r})")


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
    program = on(backend, programs("docs/binding.md")[-1])
    assert output_of(program) == "b'HELLO THROUGH A WEBSOCKET' True\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("way", "suite", "binding"),
    [
        ("plain", "X25519MLKEM768_AES256GCM_SHA384", None),
        ("step", "TLS13_AES256GCM_SHA384", None),
        ("inside", "X25519MLKEM768_AES256GCM_SHA384", "tls-exporter"),
    ],
)
def test_one_program_runs_in_the_clear_with_tls_as_a_step_and_inside_tls(
    way: str, suite: str, binding: str | None, backend: str
) -> None:
    program = on(backend, program_with("docs/tls.md", "way = sys.argv"))
    assert output_of(program, way) == f"{suite} {binding} b'acme says hello'\n"


def test_the_policy_of_the_tls_page_runs_as_it_stands() -> None:
    assert output_of(program_with("docs/tls.md", "decided_by")) == "('raw-public-key',)\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_man_in_the_middle_of_the_tls_page_is_caught_by_a_binding_alone(backend: str) -> None:
    program = on(backend, program_with("docs/tls.md", "meet_in_the_middle"))
    assert output_of(program) == "with a binding caught in 100 of 100\nwithout one caught in 0 of 100\n"


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_between_documents_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / document).read_text())
    missing = [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]
    assert not missing
