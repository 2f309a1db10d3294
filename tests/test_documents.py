"""The programs of the README and of the documents run as they stand there."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from functools import cache
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


def test_a_kind_in_the_library_is_a_new_file_and_a_line_of_the_registry(tmp_path: Path) -> None:
    """The class of that page, in a copy of the library; every other file is as it was."""
    (program,) = programs("docs/credentials.md")
    head, kind = program.split("class SshKeys")
    kind, use = kind.split("def presented")
    package = tmp_path / "nautilus_core"
    shutil.copytree(ROOT / "nautilus_core", package, ignore=shutil.ignore_patterns("__pycache__"))
    imports = head.replace(
        "from nautilus_core import CredentialKind, Identity, Presented, PublicKey, profiles, trust\n", ""
    )
    imports = imports.replace("from nautilus_core.testing import Pair\n", "")
    own = "from .credentials import CredentialKind, Presented\nfrom .keys import PublicKey\n\n\nclass SshKeys"
    (package / "identity" / "ssh.py").write_text(imports + own + kind)
    registry = package / "identity" / "kinds.py"
    text = registry.read_text()
    text = text.replace("            X509Chains(),\n", "            X509Chains(),\n            SshKeys(),\n")
    registry.write_text(text.replace("from .x509 import", "from .ssh import SshKeys\nfrom .x509 import"))
    use = head + "def presented" + use.replace("kinds=[SshKeys()]", 'kinds=["ssh-public-key"]')
    program = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{use}"
    program += f"\nimport nautilus_core\nprint(nautilus_core.__file__.startswith({str(tmp_path)!r}))"
    assert output_of(program) == "ssh-public-key True\nTrue\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_websocket_of_the_binding_page_runs_as_it_stands(backend: str) -> None:
    program = on(backend, programs("docs/binding.md")[-1])
    assert output_of(program) == "b'HELLO THROUGH A WEBSOCKET' True\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_trying_again_runs_as_it_stands(backend: str) -> None:
    (program,) = (program for program in programs("docs/binding.md") if "retry=retry" in program)
    program = on(backend, program)
    assert re.fullmatch(r"(attempt [1-7] of 8: Connection refused\n)+b'hello in the end'\n", output_of(program))


def test_the_faults_of_the_guide_run_as_they_stand() -> None:
    (program,) = [program for program in programs("docs/guide.md") if "FaultyPair" in program]
    assert output_of(program) == "handshake: PeerAborted | handshake: PeerAborted\n"


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


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_counters_of_the_binding_page_are_a_page_for_prometheus(backend: str) -> None:
    (program,) = (program for program in programs("docs/binding.md") if "as_metrics" in program)
    printed = output_of(on(backend, program))
    assert "nautilus_handshake_completed{} 1\n" in printed
    assert 'nautilus_handshake_duration_seconds_bucket{le="+Inf"} 1\n' in printed


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_between_documents_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / document).read_text())
    missing = [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]
    assert not missing


def named_tests(text: str) -> list[tuple[str, str]]:
    """The tests that a document names, as files below `tests/` and functions."""
    return re.findall(r"`([\w/]+\.py)::(\w+)`", text)


@cache
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
