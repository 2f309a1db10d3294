"""`nautilus transcript`: look at recorded handshakes, compare them, check them, make tests of them. No network."""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from nautilus_core import HandshakeError, LocalProtocolError, Profile
from nautilus_core.transcript import (
    Piece,
    ReplayDiverged,
    ReplayReport,
    Transcript,
    TranscriptError,
    first_difference,
    ladder_of,
    pieces_of,
    profile_of,
    redact,
    replay,
    rerun,
    to_bytes,
    unsealed,
)
from nautilus_core.transcript.guessing import Guess, guess

from ...pictures import as_html, as_mermaid, as_svg
from ...pictures.text import rows_of
from ...pictures.words import printable
from ...transcript import read
from ..options import add_command, add_group
from ..output import Output
from ..profile import imported_object, imported_profile
from .lines import shown, shown_as_json
from .regression import ProfilePath, test_of

EXIT_DIFFERENT: Final = 1

_EXAMPLES: Final = """\
  nautilus transcript show handshake.jsonl                   each line, decoded, with its bytes
  nautilus transcript diagram handshake.jsonl                the ladder; --html OUT for a browser
  nautilus transcript check handshake.jsonl --profile acme.node:make_profile
  nautilus transcript to-test handshake.jsonl tests/test_field.py --profile acme.node:make_profile"""
_SHOW: Final = """\
  nautilus transcript show handshake.jsonl
  nautilus transcript show handshake.jsonl --full            nothing is cut
  nautilus transcript show handshake.jsonl --open            also what was sealed, where it holds the secrets
  nautilus transcript show handshake.jsonl --json            an object for each line"""
_DIAGRAM: Final = """\
  nautilus transcript diagram handshake.jsonl
  nautilus transcript diagram handshake.jsonl --html handshake.html
  nautilus transcript diagram handshake.jsonl --mermaid > handshake.mmd"""
_DIFF: Final = """\
  nautilus transcript diff good.jsonl bad.jsonl              exit code 1 where they differ
  nautilus transcript diff good.jsonl bad.jsonl --times      times count too"""
_REDACT: Final = """\
  nautilus transcript redact handshake.jsonl public.jsonl
  nautilus transcript redact handshake.jsonl public.jsonl --names      and who talked"""
_CHECK: Final = """\
  nautilus transcript check handshake.jsonl                  what shows without a profile
  nautilus transcript check handshake.jsonl --profile acme.node:make_profile"""
_TO_TEST: Final = """\
  nautilus transcript to-test field.jsonl tests/test_field.py --profile acme.node:make_profile
  nautilus transcript to-test field.jsonl tests/test_field.py --profile acme.node:make_profile --expect completed"""


def add_commands(commands: Any) -> None:
    """Register the command and its commands."""
    verbs = add_group(commands, "transcript", "look at recorded handshakes, and make tests of them", _EXAMPLES)

    def add(name: str, what: str, examples: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        parser = add_command(verbs, name, what, examples, run)
        parser.add_argument("file", type=Path, metavar="FILE", help="a transcript")
        parser.add_argument("--cut-off", action="store_true", help="take one that has no last line, as far as it goes")
        return parser

    parser = add("show", "show each line, decoded as far as it can be, with its bytes", _SHOW, show)
    parser.add_argument("--full", action="store_true", help="cut nothing")
    opening = parser.add_mutually_exclusive_group()
    opening.add_argument(
        "--open", action="store_true", help="show what is in sealed messages too, by the secrets in the transcript"
    )
    opening.add_argument(
        "--key-log", type=Path, metavar="FILE", help="likewise by a key log, the records of the channel included"
    )
    parser = add("diagram", "draw the ladder of a recorded handshake", _DIAGRAM, diagram)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--mermaid", action="store_true", help="a Mermaid sequence diagram instead")
    form.add_argument("--html", type=Path, metavar="OUT", help="write a page that needs nothing else, for a browser")
    form.add_argument("--svg", type=Path, metavar="OUT", help="write the drawing alone")
    parser = add("diff", "say where two transcripts first differ, and what that means", _DIFF, diff)
    parser.add_argument("other", type=Path, metavar="OTHER", help="another transcript")
    parser.add_argument("--times", action="store_true", help="compare times too")
    parser = add("redact", "write a transcript without its secrets", _REDACT, redact_file)
    parser.add_argument("out", type=Path, metavar="OUT", help="a file that does not exist")
    parser.add_argument("--names", action="store_true", help="also without peer ids, names and addresses")
    parser = add("check", "read a transcript to its end and replay it: all of it, or what is public", _CHECK, check)
    parser.add_argument("--profile", metavar="MODULE:NAME", help="the profile of who recorded it")
    parser = add(
        "to-test", "write a test for pytest that replays a transcript, which is copied beside it", _TO_TEST, to_test
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the test, a file that does not exist")
    parser.add_argument(
        "--profile", metavar="MODULE:NAME", help="what it is replayed with (default: made from the header)"
    )
    parser.add_argument(
        "--expect",
        choices=("recorded", "completed"),
        default="recorded",
        help="that what was recorded comes again (default), or that the handshake completes now",
    )


# ------------------------------------------------------------------ looking


def show(options: argparse.Namespace) -> int:
    """Show each line."""
    output: Output = options.output
    transcript = load(options.file, cut_off=options.cut_off)
    try:
        pieces = _pieces(transcript, options)
    except TranscriptError as error:
        raise ValueError(f"{options.file}: {error}") from error
    if output.as_json:
        for line in shown_as_json(transcript, pieces):
            output.result("", **line)
        return 0
    for text, style in shown(transcript, pieces, output.console.width, full=options.full):
        output.console.print(Text(text, style), soft_wrap=options.full)
    return 0


def _pieces(transcript: Transcript, options: argparse.Namespace) -> list[Piece]:
    """What went over the wire, opened where that was asked for."""
    if options.key_log is not None:
        with options.key_log.open("rb") as lines:
            return unsealed(transcript, lines)
    return unsealed(transcript) if options.open else pieces_of(transcript)


def diagram(options: argparse.Namespace) -> int:
    """Draw the ladder."""
    output: Output = options.output
    ladder = ladder_of(load(options.file, cut_off=options.cut_off))
    if options.mermaid:
        text = as_mermaid(ladder)
        output.result(text, profile=ladder.profile, mermaid=text)
        return 0
    target, render = (options.svg, as_svg) if options.svg is not None else (options.html, as_html)
    if target is not None:
        target.write_text(render(ladder), "utf-8")
        output.note(f"wrote {target}", file=str(target))
        return 0
    rows = list(rows_of(ladder, min(output.console.width, 100)))
    output.picture(
        *(Text(row.text, row.style) for row in rows),
        profile=ladder.profile,
        outcome=ladder.outcome,
        error=ladder.error,
        flights=ladder.flights,
        bytes=ladder.size,
        ladder=[row.text for row in rows],
    )
    return 0


def diff(options: argparse.Namespace) -> int:
    """Say where two transcripts differ."""
    output: Output = options.output
    one, other = (load(path, cut_off=options.cut_off) for path in (options.file, options.other))
    found = first_difference(one, other, times=options.times)
    if found is None:
        output.result("no difference, times aside" if not options.times else "no difference", different=False)
        return 0
    fields = {
        name: getattr(found, name) for name in ("line", "flight", "step", "byte", "field", "what", "one", "other")
    }
    where, _, what = str(found).partition(": ")
    text = (
        f"{where}\n  {what.partition(': first ')[0]}\n  {options.file}: {found.one}\n  {options.other}: {found.other}"
    )
    output.picture(*(Text(line) for line in _printable_lines(text)), different=True, **fields)
    return EXIT_DIFFERENT


# ------------------------------------------------------------------ making


def redact_file(options: argparse.Namespace) -> int:
    """Write a transcript without secrets."""
    output: Output = options.output
    transcript = redact(load(options.file, cut_off=options.cut_off), names=options.names)
    write_new(options.out, to_bytes(transcript))
    more = " and without names" if options.names else ", but it still shows who talked to whom, and when"
    output.note(f"wrote {options.out} without secrets{more}", file=str(options.out), names=not options.names)
    return 0


def to_test(options: argparse.Namespace) -> int:
    """Write a test."""
    output: Output = options.output
    transcript = load(options.file, cut_off=options.cut_off)
    completes = options.expect == "completed"
    path, profile = _profile_for(options, transcript)
    if completes and (path is None or not transcript.header.secrets):
        raise ValueError(
            "--expect completed needs a transcript with secrets and, unless it shows enough, --profile: no engine can go on"
        )
    if options.out.suffix != ".py":
        raise ValueError(f"{options.out}: a test is a file whose name ends in .py")
    if options.out.exists():
        raise FileExistsError(errno.EEXIST, "it exists already", str(options.out))
    beside = options.out.parent / options.file.name
    there = beside.exists() and beside.samefile(options.file)
    if path is None and not there:
        transcript = redact(transcript)  # the test needs no secrets, and so they stay where they are
    program = test_of(transcript, beside.name, path, completes=completes)
    if not there:
        write_new(beside, options.file.read_bytes() if path is not None else to_bytes(transcript))
    write_new(options.out, program.encode(), mode=0o666)
    trouble = _trouble(transcript, profile, full=path is not None, completes=completes)
    held = ", which holds the secrets of that session" if transcript.header.secrets else ""
    verdict = "it passes now" if trouble is None else f"it fails now: {trouble}"
    output.note(
        f"wrote {options.out}, and {beside} beside it{held}; {verdict}",
        file=str(options.out),
        transcript=str(beside),
        passes=trouble is None,
    )
    return 0


def check(options: argparse.Namespace) -> int:
    """Replay a transcript."""
    output: Output = options.output
    transcript = load(options.file, cut_off=options.cut_off)
    path, profile = _profile_for(options, transcript)
    report = _replayed(transcript, profile, full=path is not None)
    missing = list(report.not_checked)
    if transcript.header.secrets and path is None:
        missing.append("what its secrets would allow to check: give --profile")
    if not transcript.whole:
        missing.append("its end: it is cut off")
    lines = [
        f"{report.profile}, {report.role.value}'s view, {report.outcome}: "
        + ("all replayed" if report.full else "public part")
    ]
    lines += [f"  checked      {what}" for what in report.checked] + [f"  not checked  {what}" for what in missing]
    output.picture(
        *(Text(line) for line in _printable_lines("\n".join(lines))),
        profile=report.profile,
        role=report.role.value,
        outcome=report.outcome,
        full=report.full,
        checked=list(report.checked),
        not_checked=missing,
    )
    return 0


# ------------------------------------------------------------------ what they share


def load(path: Path, *, cut_off: bool = False) -> Transcript:
    """The transcript in a file; `ValueError` for what is none, with the number of the line."""
    try:
        return read(path, cut_off=cut_off)
    except TranscriptError as error:
        hint = " (hint: --cut-off takes it as far as it goes)" if "cut off" in str(error) and not cut_off else ""
        raise ValueError(f"{path}: {error}{hint}") from error


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file that does not exist; `FileExistsError` where it does. By default it is its owner's alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except BaseException:
        path.unlink(missing_ok=True)  # the half of it would be in the way, and pass for the whole
        raise


def _profile_for(options: argparse.Namespace, transcript: Transcript) -> tuple[ProfilePath | Guess | None, Profile]:
    """The profile to replay with, and where it comes from: None for one that is good for the public check alone."""
    if options.profile is None:
        guessed = guess(transcript)
        if guessed is not None:
            return guessed, guessed.make()
        try:
            return None, profile_of(transcript.header)
        except ValueError as error:
            raise ValueError(f"{error} (hint: say which with --profile MODULE:NAME)") from error
    profile = imported_profile(options.profile)
    return ProfilePath.of(options.profile, called=imported_object(options.profile) is not profile), profile


def _replayed(transcript: Transcript, profile: Profile, *, full: bool) -> ReplayReport:
    """Replay it; `ValueError` where there is nothing to check, or not enough."""
    try:
        return replay(transcript if full else redact(transcript), profile)
    except TranscriptError as error:
        raise ValueError(str(error)) from error


def _trouble(transcript: Transcript, profile: Profile, *, full: bool, completes: bool) -> str | None:
    """Why the test that was written does not pass at the moment; None where it does."""
    try:
        if completes:
            rerun(transcript, profile)
        else:
            _replayed(transcript, profile, full=full)
    except (HandshakeError, LocalProtocolError, ReplayDiverged, TranscriptError, ValueError) as error:
        return str(error)
    return None


def _printable_lines(text: str) -> list[str]:
    return [printable(line) for line in text.split("\n")]
