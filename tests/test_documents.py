"""The programs of the README and of the documents run as they stand there."""

from __future__ import annotations

import ast
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


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_between_documents_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / document).read_text())
    missing = [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]
    assert not missing


def named_tests(text: str) -> list[tuple[str, str]]:
    """The tests that a document names, as files below `tests/` and functions."""
    return re.findall(r"`([\w/]+\.py)::(\w+)`", text)


def functions_of(path: Path) -> set[str]:
    """The names of all test functions of a file; none where there is no file."""
    if not path.exists():
        return set()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)}


def missing_tests(text: str) -> list[str]:
    """Those that do not exist."""
    return [f"{file}::{name}" for file, name in named_tests(text) if name not in functions_of(ROOT / "tests" / file)]


SECURITY = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_the_page_on_security_names_exists() -> None:
    assert len(named_tests(SECURITY)) > 100
    assert not missing_tests(SECURITY)


def test_a_test_that_was_renamed_or_moved_is_noticed() -> None:
    here = "test_documents.py::test_a_test_that_was_renamed_or_moved_is_noticed"
    assert not missing_tests(f"`{here}`")
    assert missing_tests(f"`{here}_again`, `nowhere/{here}`") == [f"{here}_again", f"nowhere/{here}"]


def test_every_promise_and_every_attack_names_a_test_or_says_that_there_is_none() -> None:
    rows = [
        line for line in SECURITY.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| promise"))
    ]
    rows = [row for row in rows if not row.startswith(("| trap |", "| attack |"))]
    assert len(rows) > 80
    assert not [row for row in rows if not named_tests(row) and "no test of ours" not in row]
