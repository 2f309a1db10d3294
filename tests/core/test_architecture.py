"""The house: what the core may import, which way its arrows run, and that its public names are all there."""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import nautilus_core

ROOT = Path(nautilus_core.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

FORBIDDEN = {
    "anyio", "asyncio", "concurrent", "http", "io", "logging", "multiprocessing", "pathlib", "queue", "random", "requests",
    "sched", "select", "selectors", "shutil", "signal", "socket", "socketserver", "ssl", "subprocess", "sys", "tempfile",
    "threading", "time", "trio", "urllib", "nautilus_anyio",
}  # fmt: skip
MAY_USE_OS = {"crypto/entropy.py"}
MAY_USE_OPENSSL = {"tls/connection.py"}
BUILTINS = {"open", "print", "input", "exec", "eval", "breakpoint", "__import__"}


def name_of(path: Path) -> str:
    """A module by its path in the core."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """A module, parsed once for all that look at it."""
    return ast.parse(path.read_text("utf-8"))


def imports(path: Path, *, at_run_time: bool = False) -> Iterator[str]:
    """Absolute dotted names of all that a module imports; optionally without what only type checkers import."""
    package = [ROOT.name, *path.relative_to(ROOT).parent.parts]
    for node in walk(tree_of(path), at_run_time):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def walk(node: ast.AST, at_run_time: bool) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        only_types = isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"
        if not (at_run_time and only_types):
            yield from walk(child, at_run_time)


def test_there_is_something_to_check() -> None:
    assert {"handshake.py", "steps/hello.py", "crypto/entropy.py"} <= {name_of(path) for path in MODULES}
    assert "nautilus_core.crypto.entropy" in set(imports(ROOT / "handshake.py"))
    assert "nautilus_core.context" not in set(imports(ROOT / "step.py", at_run_time=True))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_core_does_no_io(path: Path) -> None:
    used = {module.partition(".")[0] for module in imports(path)}
    assert not used & FORBIDDEN
    assert "os" not in used or name_of(path) in MAY_USE_OS
    calls = {
        node.func.id
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & BUILTINS


def test_one_module_uses_pyopenssl_and_none_imports_it() -> None:
    users = {
        name_of(path)
        for path in MODULES
        if "OpenSSL" in {one.partition(".")[0] for one in imports(path, at_run_time=True)}
    }
    assert users == MAY_USE_OPENSSL
    importers = {
        name_of(path) for path in MODULES if "nautilus_core.tls.connection" in set(imports(path, at_run_time=True))
    }
    assert not importers  # `tls.settings` does, once there is a context


def test_of_the_operating_system_only_its_randomness_is_used() -> None:
    tree = ast.parse((ROOT / "crypto" / "entropy.py").read_text("utf-8"))
    attributes = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert attributes == {"urandom"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_core_is_synchronous(path: Path) -> None:
    kinds = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await, ast.Global)
    assert not [node for node in ast.walk(tree_of(path)) if isinstance(node, kinds)]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_that_a_peer_sent_is_asserted(path: Path) -> None:
    """Under `python -O` an assert is no check."""
    assert not [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_imported_with_a_star(path: Path) -> None:
    assert not [name for name in imports(path) if name.endswith("*")]


ARROWS = {
    "crypto/": {"steps", "step", "steplist", "handshake", "context", "stream", "session", "channel", "profiles", "identity",
                "events", "noise", "testing"},
    "steps/": {"handshake", "profiles", "testing"},
    "identity/": {"handshake", "steps", "step", "steplist", "profiles", "stream", "session", "channel", "testing"},
    "noise/": {"handshake", "profiles", "steps", "stream", "testing"},
    "tls/": {"handshake", "profiles", "steps", "step", "steplist", "stream", "session", "channel", "context", "noise", "testing"},
    "datagrams.py": {"handshake", "steps", "step", "steplist", "profiles", "context", "stream", "session", "noise", "testing"},
    "transport.py": {"handshake", "steps", "profiles", "context", "stream", "session", "channel", "noise", "testing"},
    "session.py": {"handshake", "steps", "step", "steplist", "profiles", "context", "channel", "noise", "testing"},
    "errors.py": {"*"},
    "role.py": {"*"},
    "limits.py": {"*"},
    "buffer.py": {"*"},
    "layout.py": {"handshake", "steps", "profiles", "stream", "session", "channel", "context", "testing"},
    "step.py": {"handshake", "steps", "profiles", "stream", "session", "channel", "testing"},
    "channel.py": {"handshake", "steps", "step", "steplist", "profiles", "context", "stream", "session", "testing"},
    "stream.py": {"handshake", "steps", "profiles", "context", "testing"},
    "context.py": {"handshake", "steps", "profiles", "testing"},
    "handshake.py": {"profiles", "steps", "identity", "channel", "testing"},
    "profile.py": {"handshake", "profiles", "steps", "identity", "noise", "tls", "testing"},
    "profiles.py": {"handshake", "testing"},
}  # fmt: skip
"""What a room must not import at run time; `*` for anything of the core. Without `profiles` is without `profile`, too."""


@pytest.mark.parametrize("room", ARROWS)
def test_arrows_run_one_way(room: str) -> None:
    paths = [
        path for path in MODULES if name_of(path) == room or (room.endswith("/") and name_of(path).startswith(room))
    ]
    assert paths
    for path in paths:
        own = {name.split(".")[1] for name in imports(path, at_run_time=True) if name.startswith("nautilus_core.")}
        unwanted = ARROWS[room] | ({"profile"} if "profiles" in ARROWS[room] else set())
        forbidden = own if "*" in unwanted else own & unwanted
        assert not forbidden, f"{name_of(path)} imports {forbidden}"


def test_no_modules_import_each_other() -> None:
    """Not at run time: what only type checkers import may lead back."""

    def module(path: Path) -> str:
        return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")

    imported: dict[str, set[str]] = {}
    for path in MODULES:  # the packages that it is in are there already
        own = module(path)
        imported[own] = {name for name in imports(path, at_run_time=True) if not f"{own}.".startswith(f"{name}.")}
    order = tuple(TopologicalSorter(imported).static_order())  # raises CycleError, which names them
    assert order.index("nautilus_core.steplist") < order.index("nautilus_core.handshake")


def test_testing_is_not_imported_by_the_core() -> None:
    for path in MODULES:
        if not name_of(path).startswith("testing/"):
            assert not [name for name in imports(path) if name.startswith("nautilus_core.testing")]


def test_all_names_every_public_name_once() -> None:
    names = nautilus_core.__all__
    assert len(set(names)) == len(names)
    public = {
        name
        for name, value in vars(nautilus_core).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == {name for name in names if not isinstance(getattr(nautilus_core, name), types.ModuleType)}
    assert {"profiles", "trust"} <= set(names)


def test_every_public_name_has_a_docstring() -> None:
    for name in nautilus_core.__all__:
        value = getattr(nautilus_core, name)
        if isinstance(value, type) or callable(value):
            assert (value.__doc__ or "").strip(), name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_lives_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))
