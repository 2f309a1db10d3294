"""A test file from a transcript: `transcript to-test`. It writes programs and runs none."""

from __future__ import annotations

import keyword
import re
import textwrap
from dataclasses import dataclass
from typing import Final

from nautilus_core.transcript import Transcript
from nautilus_core.transcript.guessing import Guess
from nautilus_core.transcript.lines import End, Failed, Frame

from ...pictures.words import printable
from .guessed import program_of

_RECORDED: Final = (
    "It replays {file}, and asserts that what was recorded comes again. {what}",
    "Recorded was: {outcome}",
)
_FIXED: Final = (
    "It gives the recorded input of {file} to the profile as it is now, and asserts that the handshake completes. {what}",
    "Recorded was: {outcome}",
)
_FULL: Final = (
    "An engine does it all again with the recorded secrets: all that it sends is compared byte by byte, and all events."
)
_PUBLIC: Final = (
    "Its public part is checked: messages in the clear, order, sizes, alerts; with secrets and a profile, all."
)
_UNTIL: Final = "So it fails until that is mended, and passes then. What the peer had sent stays as it was."


@dataclass(frozen=True, slots=True)
class ProfilePath:
    """Where a profile is, as `module:attribute`.

    Args:
        module: to import.
        attribute: in the module; may have dots.
        called: whether it is a function that makes the profile.
    """

    module: str
    attribute: str
    called: bool

    @classmethod
    def of(cls, path: str, *, called: bool) -> ProfilePath:
        """Of `module:attribute`; `ValueError` for what cannot stand in a program."""
        module, _, attribute = path.partition(":")
        for part in (*module.split("."), *attribute.split(".")):
            if not part.isidentifier() or keyword.iskeyword(part):
                raise ValueError(f"--profile {path!r}: a test can import names of Python only, and {part!r} is none")
        return cls(module, attribute, called)


def test_of(transcript: Transcript, file: str, profile: ProfilePath | Guess | None, *, completes: bool) -> str:
    """The program.

    Args:
        transcript: what is replayed.
        file: its name, in the folder of the test.
        profile: what it is replayed with: where it is, or what the transcript shows of it; None to make one from the header.
        completes: whether it asserts that the handshake completes now, instead of that it ends as recorded.
    """
    header = transcript.header
    full = header.secrets and profile is not None
    outcome = _outcome(transcript)
    what = _UNTIL if completes else _FULL if full else _PUBLIC
    told = [
        text.format(file=printable(file), outcome=outcome, what=what) for text in (_FIXED if completes else _RECORDED)
    ]
    comment = "\n".join(f"# {line}" for text in told for line in textwrap.wrap(text, 110))
    names = ["read"] if profile is not None else ["profile_of", "read"]
    names += ["rerun"] if completes else ["replay"] if full else ["redact", "replay"] if header.secrets else ["replay"]
    core: list[str] = []
    function: list[str] = []
    imports: list[str] = []
    if profile is None:
        makes = "profile_of(transcript.header)"
    elif isinstance(profile, Guess):
        makes = "make_profile()"
        core, function = program_of(profile)
    else:
        first = profile.attribute.partition(".")[0]
        imports = ["", f"from {profile.module} import {first}"]
        makes = profile.attribute + ("()" if profile.called else "")
    cut = "" if transcript.whole else ", cut_off=True"
    lines = [
        f'"""A regression test from a recorded handshake, written by `nautilus transcript to-test`."""\n\n{comment}',
        "",
        "from pathlib import Path",
        "",
        *core,
        *(["from nautilus_core import Session"] if completes else []),
        f"from nautilus_core.transcript import {', '.join(sorted(names))}",
        *imports,
        "",
        f"TRANSCRIPT = Path(__file__).with_name({_literal(file)})",
        "",
        "",
        *([*function, "", ""] if function else []),
        f"def test_{_identifier(file)}() -> None:",
        f"    transcript = read([TRANSCRIPT.read_bytes()]{cut})",
        f"    profile = {makes}",
        *_assertions(transcript, full=full, completes=completes),
    ]
    return "\n".join(lines) + "\n"


def _assertions(transcript: Transcript, *, full: bool, completes: bool) -> list[str]:
    if completes:
        return ["    assert isinstance(rerun(transcript, profile), Session)"]
    public = transcript.header.secrets and not full
    source = "redact(transcript)" if public else "transcript"
    messages = sum(isinstance(line, Frame) for line in transcript.lines)
    outcome = next((line.outcome for line in transcript.lines if isinstance(line, End)), "open")
    return [
        f"    report = replay({source}, profile)",
        f"    assert report.outcome == {_literal(outcome)}",
        f"    assert report.messages == {messages}",
        f"    assert report.full is {full}",
    ]


def _outcome(transcript: Transcript) -> str:
    """How it ended, on one line of a comment."""
    failed = next((line for line in transcript.lines if isinstance(line, Failed)), None)
    ended = next((line.outcome for line in transcript.lines if isinstance(line, End)), "open")
    if failed is None:
        return printable(ended, 200)
    where = f" in {failed.step}" if failed.step else ""
    return printable(f"{failed.error}{where}" + (f", {failed.message}" if failed.message else ""), 200)


def _identifier(file: str) -> str:
    name = re.sub(r"[^0-9A-Za-z]+", "_", file.rpartition("/")[2].partition(".")[0]).strip("_").lower()
    return name[:60] or "transcript"


def _literal(text: str) -> str:
    """A string of Python, in ASCII."""
    shown = ascii(text)
    return f'"{shown[1:-1]}"' if shown[0] == "'" and '"' not in shown else shown
