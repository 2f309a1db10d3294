"""docs/transcripts.md, "From a failure in the field to a failing test": its programs and commands, as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from nautilus_anyio import connect
from nautilus_core import Identity, PeerAborted, profiles, trust

DOCUMENT = Path(__file__).parents[2] / "docs" / "transcripts.md"
SECTION = (
    DOCUMENT.read_text("utf-8")
    .partition("\n## From a failure in the field to a failing test\n")[2]
    .partition("\n## ")[0]
)
NODE, SERVICE, MENDED = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
(COMMANDS,) = re.findall(r"```shell\n(.*?)```", SECTION, re.DOTALL)
(SHOWN,) = re.findall(r"```text\n(.*?)\n```", SECTION, re.DOTALL)


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The gateway as a process of its own; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    (folder / "gateway.py").write_text(SERVICE.replace("7000", str(port)))
    process = subprocess.Popen([sys.executable, "gateway.py"], cwd=folder)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


async def be_refused(port: int, folder: Path) -> None:
    """The device that calls its tenant `Blue`."""
    sys.path.insert(0, str(folder))
    try:
        from node import tenant_step  # type: ignore[import-not-found]  # noqa: PLC0415
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("node", None)
    profile = profiles.nautilus(identity=Identity.generate(), trust=trust.anyone())
    profile = profile.insert_before("initiator-finished", lambda: tenant_step(b"Blue"))
    end = time.monotonic() + 20
    while True:
        try:
            stream = await connect("127.0.0.1", port, profile)
        except PeerAborted:
            return
        except Exception:
            if time.monotonic() > end:
                raise
            await anyio.sleep(0.05)
        else:
            await stream.aclose()
            raise AssertionError("the device was admitted")


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command line of the page, as a shell runs it, with this interpreter's programs."""
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": programs, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def record_the_failure(folder: Path) -> None:
    """Leaves one whole transcript in `failures`."""
    (folder / "node.py").write_text(NODE)
    with serving(folder) as port:
        anyio.run(be_refused, port, folder)
        end = time.monotonic() + 10
        while not any(b'"end"' in path.read_bytes() for path in (folder / "failures").iterdir()):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_the_story(tmp_path: Path) -> None:
    record_the_failure(tmp_path)
    to_test, test = COMMANDS.splitlines()
    assert shlex.split(to_test)[:3] == ["nautilus", "transcript", "to-test"]
    made = run(to_test, tmp_path)
    assert made.returncode == 0, made.stderr
    failed = run(f"{test} -p no:cacheprovider", tmp_path)
    assert failed.returncode == 1, failed.stdout
    assert "1 failed" in failed.stdout
    assert SHOWN in failed.stdout
    broken = next(line for line in NODE.splitlines(keepends=True) if "not in TENANTS" in line)
    (tmp_path / "node.py").write_text(NODE.replace(broken, MENDED))
    passed = run(f"{test} -p no:cacheprovider", tmp_path)
    assert passed.returncode == 0, passed.stdout
    assert "1 passed" in passed.stdout


def test_without_expecting_more_the_failure_comes_again(tmp_path: Path) -> None:
    record_the_failure(tmp_path)
    to_test, test = COMMANDS.replace(" --expect completed", "").splitlines()
    assert run(to_test, tmp_path).returncode == 0
    assert "1 passed" in run(f"{test} -p no:cacheprovider", tmp_path).stdout
