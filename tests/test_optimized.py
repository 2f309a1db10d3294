"""Under `python -O` nothing is missing: no check of the packages is an assert, and those of the tests' helpers are rewritten."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import nautilus_anyio
import nautilus_core

ROOT = Path(__file__).parent.parent
PACKAGES = [Path(package.__path__[0]) for package in (nautilus_core, nautilus_anyio)] + [ROOT / "fuzz"]
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))


def asserts(path: Path) -> list[int]:
    """The lines with an assert in a module."""
    return [node.lineno for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Assert)]


def test_no_check_of_the_packages_is_an_assert() -> None:
    assert len(MODULES) > 150
    assert {path.name: lines for path in MODULES if (lines := asserts(path))} == {}


def test_nothing_asks_whether_it_is_optimized() -> None:
    used = {path.name for path in MODULES if "__debug__" in path.read_text("utf-8")}
    assert not used


HELPERS = [
    path.relative_to(ROOT).with_suffix("")
    for path in sorted((ROOT / "tests").rglob("*.py"))
    if not path.name.startswith(("test_", "conftest")) and asserts(path)
]


@pytest.mark.parametrize("helper", HELPERS, ids=str)
def test_asserts_of_the_helpers_of_the_tests_are_checks_in_any_case(helper: Path) -> None:
    module = importlib.import_module(".".join(helper.parts))
    assert type(module.__loader__).__name__ == "AssertionRewritingHook"


def test_a_wrong_peer_is_refused_without_assertions_too() -> None:
    program = """
from nautilus_core import AuthenticationFailed, Identity, profiles, trust
from nautilus_core.testing import FaultyPair

assert False, "this is not optimized"
one, other, somebody = (Identity.generate() for _ in range(3))
mine = profiles.nautilus(identity=one, trust=trust.pinned(somebody.public))
theirs = profiles.nautilus(identity=other, trust=trust.pinned(one.public))
pair = FaultyPair(mine, theirs).run().verify()
print(type(pair.initiator.error) is AuthenticationFailed, pair.responder.outcome)
"""
    command = [sys.executable, "-O", "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout == "True handshake: PeerAborted\n"
