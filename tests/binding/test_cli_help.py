"""What teaches the command: the examples in every `--help`, which parse, and the completion of shells."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nautilus_anyio.cli import main, make_parser

NAUTILUS = Path(sys.executable).parent / "nautilus"


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


def examples(parser: argparse.ArgumentParser) -> list[list[str]]:
    """The commands in the examples of a parser, each as the arguments of `nautilus`."""
    found = []
    text = (parser.epilog or "").replace("\\\n", " ")
    for line in text.splitlines():
        command = re.split(r"(?<=\S)\s{2,}", line.strip())[0]
        if inner := re.search(r"\$\((.*)\)", command):
            command = inner[1]
        if "nautilus " not in command or not line.startswith("  "):
            continue
        words = shlex.shlex(command, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        tokens = list(words)
        place = tokens.index("nautilus")
        end = next((n for n, token in enumerate(tokens) if n > place and set(token) <= set("<>|&;()")), len(tokens))
        end -= tokens[end - 1 : end + 1] == ["2", ">"]
        found.append(tokens[place + 1 : end])
    return found


ALL = {parser.prog: parser for parser in parsers(make_parser())}


@pytest.mark.parametrize("name", ALL)
def test_every_help_has_examples_that_parse(name: str) -> None:
    commands = examples(ALL[name])
    assert commands
    for command in commands:
        options = make_parser().parse_args(command)
        assert callable(options.run)
    own = name.split()[1:]
    assert any(command[: len(own)] == own for command in commands)


@pytest.mark.parametrize("name", sorted({name.split()[1] for name in ALL if " " in name}))
def test_a_command_is_read_without_the_others(name: str) -> None:
    alone = {parser.prog: parser for parser in parsers(make_parser(name))}
    assert 1 < len(alone) < len(ALL)
    assert alone[f"nautilus {name}"].format_help() == ALL[f"nautilus {name}"].format_help()


def test_what_takes_long_to_load_is_left_until_it_is_needed() -> None:
    program = """
import sys
from nautilus_anyio.cli import make_parser
make_parser("connect")
print(sorted({"rich", "shtab", "stamina", "filelock", "importlib.metadata", "trio", "httpx"} & sys.modules.keys()))
"""
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_examples_are_read_as_a_shell_does() -> None:
    parser = argparse.ArgumentParser(
        epilog="examples:\n"
        "  tar c . | nautilus connect h:1 --exec 'a | b' > x   why\n"
        '  eval "$(nautilus completion bash)"\n'
        "  nautilus send a b 2>log  and this is said of it\n"
        "none of these is one: nautilus"
    )
    assert examples(parser) == [
        ["connect", "h:1", "--exec", "a | b"],
        ["completion", "bash"],
        ["send", "a", "b"],
    ]


@pytest.mark.parametrize("name", ALL)
def test_every_help_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split()[1:], "--help"]) == 0
    assert "examples:" in capsys.readouterr().out


# ------------------------------------------------------------------ completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_the_shell_accepts_the_script(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    done = subprocess.run([shell, "-n", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


COMPLETE = """
eval "$({nautilus} completion bash)"
spec=$(complete -p nautilus) || exit 9
function=${{spec#*-F }}
function=${{function%% *}}
while IFS= read -r line; do
    eval "COMP_WORDS=($line)"
    COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
    COMPREPLY=()
    "$function" nautilus "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
    echo "${{COMPREPLY[*]}}"
done
"""


def test_bash_completes(tmp_path: Path) -> None:
    """For real: bash has the script, and its completion function is called as at a press of the tabulator key."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    (tmp_path / "node.pem").touch()
    (tmp_path / "other").touch()
    cases = {
        "nautilus pro": "profile",
        "nautilus profile s": "show",
        "nautilus transcript to": "to-test",
        "nautilus transcript diagram n": "node.pem",
        "nautilus transcript to-test node.pem test_node.py --expect com": "completed",
        "nautilus connect --backend tr": "trio",
        "nautilus connect --suite P256_AES128": "P256_AES128GCM_SHA256",
        "nautilus connect --trust pin": "pinned:",
        "nautilus keygen --sche": "--scheme",
        "nautilus --ver": "--version",
        "nautilus identity show n": "node.pem",
        "nautilus listen --identity no": "node.pem",
        "nautilus completion ''": "bash zsh tcsh",
    }
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE.format(nautilus=shlex.quote(str(NAUTILUS)))],
        input="\n".join(cases) + "\n",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    assert dict(zip(cases, done.stdout.splitlines(), strict=True)) == cases


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish"]) == 2
    assert "bash" in capsys.readouterr().err


def test_an_option_is_written_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The beginning of one may mean another tomorrow: `--did` is an option of other commands."""
    file = tmp_path / "node.pem"
    assert main(["keygen", str(file), "--did"]) == 2
    assert "unrecognized arguments: --did; try nautilus keygen --help" in capsys.readouterr().err
    assert not file.exists()
