"""The programs of the README and of the documents run as they stand there."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from nautilus_anyio import Counters, Durations, ListenerLimits, Retry, load_psks, transcript
from nautilus_anyio.cli import make_parser
from nautilus_anyio.cli.usage import UsageError
from nautilus_anyio.pictures import as_text
from nautilus_core import Identity, profiles, trust
from nautilus_core.transcript import ladder_of, ladder_of_profile

from .fragments import FRAGMENTS, Fragment

ROOT = Path(__file__).parent.parent


def programs(document: str) -> list[str]:
    """All blocks of Python in a document."""
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


DOCUMENTS = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
README = programs("README.md")
EXPECTED = [
    r"True X25519MLKEM768_AES256GCM_SHA384 [0-9a-f]{64}\n",
    r"tenant acme\nb'hello through the channel'\n",
    r"True\n",
]


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def output_of(program: str, *arguments: str) -> str:
    """What a program prints; it complains of nothing."""
    done = run(program, *arguments)
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
    program = program_with("docs/credentials.md", "class SshKeys")
    assert output_of(program) == "ssh-public-key True\n"


def test_a_kind_in_the_library_is_a_new_file_and_a_line_of_the_registry(tmp_path: Path) -> None:
    """The class of that page, in a copy of the library; every other file is as it was."""
    program = program_with("docs/credentials.md", "class SshKeys")
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
    program = on(backend, program_with("docs/binding.md", "come_later"))
    assert re.fullmatch(r"(attempt [1-7] of 8: Connection refused\n)+b'hello in the end'\n", output_of(program))


def test_the_faults_of_the_guide_run_as_they_stand() -> None:
    assert output_of(program_with("docs/guide.md", "FaultyPair")) == "handshake: PeerAborted | handshake: PeerAborted\n"


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
    printed = output_of(on(backend, program_with("docs/binding.md", "as_metrics")))
    assert "nautilus_handshake_completed{} 1\n" in printed
    assert 'nautilus_handshake_duration_seconds_bucket{le="+Inf"} 1\n' in printed


def test_the_policy_of_ones_own_of_the_guide_runs_as_it_stands() -> None:
    assert output_of(program_with("docs/guide.md", "class Members")) == "True True\n"


def test_the_step_of_ones_own_of_the_guide_runs_as_it_stands() -> None:
    assert output_of(program_with("docs/guide.md", "class PresentTicket")) == "3\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_node_of_the_binding_page_runs_twice_as_it_stands(backend: str, tmp_path: Path) -> None:
    program = on(backend, program_with("docs/binding.md", "class Node"))
    (expected,) = re.findall(r"```text\n(seat.*?)```", (ROOT / "docs/binding.md").read_text(), re.DOTALL)
    for _ in range(2):
        done = run(program, str(tmp_path))
        assert done.stdout == expected
        assert re.fullmatch(
            r"handshake with key:\w+ at 127.0.0.1 port \d+ failed: join: refused by the application: there is no room 'attic'\n",
            done.stderr,
        )
    assert len(list((tmp_path / "bob" / "transcripts").iterdir())) == 4


def test_the_file_of_pre_shared_keys_of_the_binding_page_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/binding.md").read_text(), re.DOTALL)
    file = tmp_path / "office.toml"
    file.write_text(text.replace('"..."', f'"{bytes(range(32)).hex()}"'))
    file.chmod(0o600)
    found = load_psks(file)
    assert found.name == "laptop"
    assert [(psk.identity, psk.initiator, psk.responder) for psk in found.psks] == [("office-1", "laptop", "office")]


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=[f"{one.document[5:-3]}: {one.words}" for one in FRAGMENTS])
def test_a_piece_of_a_document_runs_as_it_stands(
    fragment: Fragment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    program = fragment.program(program_with(fragment.document, fragment.words))
    exec(compile(program, fragment.document, "exec", dont_inherit=True), {})
    assert re.fullmatch(fragment.expected, capsys.readouterr().out)


WHOLE = {
    "docs/binding.md": ("class Node", "come_later", "as_metrics", "class WebSocket"),
    "docs/credentials.md": ("class SshKeys", "class SshAgent"),
    "docs/guide.md": ("class Members", "class PresentTicket", "FaultyPair"),
    "docs/tls.md": ("way = sys.argv", "Pair(", "decided_by", "meet_in_the_middle"),
}
"""The programs of these documents that tests here and of the bindings' signers run as a whole, by words in them."""

OF_OTHERS = {
    *("--fixtures", "--nautilus-record", "--record-everything"),  # pytest's, with our plugin
    *(
        "--rounds",
        "--write",
        "--schedules",
        "--first",
        "--seconds",
        "--jobs",
        "--corpus",
        "--times",
    ),  # of what measures
}

ELSEWHERE = ("README.md", "docs/noise.md", "docs/transcripts.md")
"""Documents all of whose programs have a test of their own, which counts them."""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_program_of_the_documents_is_run_by_a_test(document: str) -> None:
    known = [*WHOLE.get(document, ()), *(one.words for one in FRAGMENTS if one.document == document)]
    for program in programs(document):
        found = [words for words in known if words in program]
        assert document in ELSEWHERE or len(found) == 1, f"{found} in:\n{program}"


def test_the_ladder_of_the_readme_is_what_the_program_draws() -> None:
    """Of its second program's step."""
    (drawn,) = re.findall(r"```text\n(nautilus/1\n.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(README[1].partition("async def echo")[0], names)
    profile = profiles.nautilus(identity=Identity.generate(), trust=trust.anyone())
    profile = profile.insert_before("initiator-finished", names["PresentTicket"])
    assert drawn == as_text(ladder_of_profile(profile), width=76)


def test_the_ladder_of_the_page_on_transcripts_is_what_the_program_draws() -> None:
    (drawn,) = re.findall(r"```text\n(nautilus/1\n.*?)\n```", (ROOT / "docs/transcripts.md").read_text(), re.DOTALL)
    recorded = ROOT / "tests/transcripts/recorded/authentication-responder-refuses.responder.jsonl"
    assert drawn == as_text(ladder_of(transcript.read(recorded)), width=78)


def test_the_first_picture_of_the_protocol_has_the_messages_of_the_default_profile() -> None:
    picture, again = re.findall(r"```mermaid\n(.*?)```", (ROOT / "docs/protocol.md").read_text(), re.DOTALL)[:2]
    names = profiles.nautilus(identity=Identity.generate(), trust=trust.anyone()).outline.names
    assert re.findall(r">>\w: ([\w-]+)", picture)[: len(names) + 1] == [*names, "accept"]
    said = re.findall(r"[\w-]+", " ".join(re.findall(r">>\w: (.*)", again.replace("(the guess)", ""))))
    assert sorted(said) == sorted([*names, "initiator-key-share-retry", "accept"])


def test_the_guide_names_every_argument_of_the_default_profile() -> None:
    table = (ROOT / "docs/guide.md").read_text().partition("## Profiles\n")[2].partition("\n\nA `Profile`")[0]
    arguments = set(signature(profiles.nautilus).parameters)
    first = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(first))) == arguments


def test_the_defaults_of_trying_again_are_those_that_are_named() -> None:
    text = (ROOT / "docs/binding.md").read_text()
    default = Retry()
    assert (
        f"`Retry()` is {default.attempts} attempts within {default.timeout:g} seconds, with waits from "
        f"{default.wait_initial:g} to {default.wait_max:g} seconds, and up to {default.jitter:g} more by chance."
        in text
    )


def test_the_limits_of_a_listener_have_the_defaults_that_are_named() -> None:
    text = (ROOT / "docs/binding.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+)(?: s)? \|", text, re.MULTILINE))
    said = {name: "none" if value is None else f"{value:g}" for name, value in asdict(ListenerLimits()).items()}
    assert rows == said


def test_the_metrics_of_a_listener_are_those_that_are_named() -> None:
    text = (ROOT / "docs/binding.md").read_text()
    rows = re.findall(r"^\| `(nautilus\.[\w.]+)` \| (\w+) \| `([^`]+)` \|", text, re.MULTILINE)
    one = {"InvalidMessage": 1}
    counters = Counters(1, 0, 0, 1, one, {"busy": 1}, 0, one, Durations((), 0, 0.0, 0.0))
    assert list(dict.fromkeys((metric.name, metric.kind, metric.unit) for metric in counters.as_metrics())) == rows


def commands_in(document: str) -> list[str]:
    """The commands of `nautilus` in a document: lines of its blocks for a shell, and what stands in the text."""
    text = (ROOT / document).read_text()
    blocks = "\n".join(re.findall(r"```shell\n(.*?)```", text, re.DOTALL))
    lines = re.findall(r"^nautilus (.*?)(?:\s+#.*)?$", blocks, re.MULTILINE)
    return lines + re.findall(r"`nautilus ([^`\n]+)`", text)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_the_documents_parses(document: str) -> None:
    for line in commands_in(document):
        complaint = ""
        try:
            make_parser().parse_args(shlex.split(line))
        except UsageError as error:
            complaint = str(error)
        # a name alone, as of `nautilus send`, stands for the command
        assert not complaint or "are required" in complaint, f"{line}: {complaint}"


def test_every_option_in_the_documents_is_one() -> None:
    def options_of(parser: argparse.ArgumentParser) -> set[str]:
        found = set(parser._option_string_actions)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                found |= set().union(*(options_of(command) for command in action.choices.values()))
        return found

    known = options_of(make_parser()) | OF_OTHERS
    for document in DOCUMENTS:
        spans = re.findall(r"`([^`\n]*)`", re.sub(r"```.*?```", "", (ROOT / document).read_text(), flags=re.DOTALL))
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", " ".join(spans)):
            assert option in known, f"{option} in {document}"


def headings(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    here = ROOT / document
    for path, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", here.read_text()):
        target = here.parent / path if path else here
        assert target.exists(), path
        assert not anchor or anchor in headings(target), f"{path}#{anchor}"


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
