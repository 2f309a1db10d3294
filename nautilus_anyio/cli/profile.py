"""`nautilus profile show`: a profile as a table or a diagram, before anything runs. How it lies is `layout`'s to say."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    Identity,
    Layout,
    Profile,
    SessionKeyDerivation,
    lay_out,
    profiles,
    trust,
)
from nautilus_core.transcript import ladder_of_profile
from nautilus_core.transcript.ladder import step_notes
from nautilus_core.transcript.rebuilt import noise_profile

from ..pictures import as_html, as_mermaid
from ..pictures.text import rows_of
from .options import add_command, add_group
from .output import Output
from .tables import columns_table, facts_table

_EXAMPLES: Final = """\
  nautilus profile show                                     the default, nautilus/1
  nautilus profile show --suite X25519_AES256GCM_SHA384 --protocol acme/1
  nautilus profile show --profile acme.node:make_profile    your own: a Profile, or what makes one
  nautilus profile show --noise Noise_XX_25519_ChaChaPoly_SHA256
  nautilus profile show --ladder                            as a ladder
  nautilus profile show --html handshake.html               as a page for a browser
  nautilus profile show --mermaid > handshake.mmd           a sequence diagram"""

_WIDE: Final = 110
"""Columns of a terminal from which on there is room for what each message holds."""


def add_commands(commands: Any) -> None:
    """Register the command."""
    verbs = add_group(commands, "profile", "look at a profile: what a handshake is made of", _EXAMPLES)
    what = "show a profile's steps: who sends, what is sealed, flights, round trips"
    parser = add_command(verbs, "show", what, _EXAMPLES, show)
    parser.add_argument("--profile", metavar="MODULE:NAME", help="a profile of your own (default: nautilus/1)")
    parser.add_argument(
        "--noise", metavar="NAME", help="a Noise protocol, with the security properties of each payload (section 7.7)"
    )
    parser.add_argument("--suite", action="append", default=[], metavar="NAME", help="cipher suite; repeatable")
    parser.add_argument(
        "--protocol", action="append", default=[], metavar="ID", help="application protocol id; repeatable"
    )
    parser.add_argument("--anonymous", action="store_true", help="for a side that does not say who it is")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--ladder", action="store_true", help="a ladder instead of the table")
    form.add_argument("--mermaid", action="store_true", help="a Mermaid sequence diagram instead")
    form.add_argument("--html", type=Path, metavar="OUT", help="write a page that needs nothing else, for a browser")


def show(options: argparse.Namespace) -> int:
    """Show the profile that the options describe."""
    profile = _profile(options)
    steps = profile.make_steps()
    layout = lay_out(steps)
    accepted = isinstance(steps[-1], SessionKeyDerivation)
    output: Output = options.output
    if options.mermaid:
        diagram = as_mermaid(ladder_of_profile(profile))
        output.result(diagram, profile=profile.name, mermaid=diagram)
        return 0
    if options.html is not None:
        options.html.write_text(as_html(ladder_of_profile(profile)), "utf-8")
        output.note(f"wrote {options.html}", file=str(options.html))
        return 0
    if options.ladder:
        rows = list(rows_of(ladder_of_profile(profile), min(output.console.width, 100)))
        output.picture(
            *(Text(row.text, row.style) for row in rows), profile=profile.name, ladder=[row.text for row in rows]
        )
        return 0
    table = _table(layout, wide=output.console.width >= _WIDE)
    facts = facts_table(_facts(profile, layout, accepted))
    output.picture(f"[bold]{escape(profile.name)}[/]", table, "", facts, **_as_json(profile, layout, accepted))
    return 0


# ------------------------------------------------------------------ which profile


def _profile(options: argparse.Namespace) -> Profile:
    if options.profile is not None or options.noise is not None:
        if options.suite or options.protocol or options.anonymous or None not in (options.profile, options.noise):
            raise ValueError("--profile and --noise each go alone: such a profile says all that by itself")
        return imported_profile(options.profile) if options.noise is None else noise_profile(options.noise)
    suites: dict[str, Any] = {"suites": options.suite} if options.suite else {}
    identity = ANONYMOUS if options.anonymous else Identity.generate()
    return profiles.nautilus(identity=identity, trust=trust.anyone(), protocols=options.protocol, **suites)


def imported_object(path: str) -> Any:
    """What is at an import path `module:attribute`; the current folder is importable. `ValueError` where nothing is."""
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise ValueError(f"--profile {path!r}: expected MODULE:NAME, as in acme.node:make_profile")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
        for name in attribute.split("."):
            found = getattr(found, name)
    except Exception as error:  # it is the user's code
        raise ValueError(f"--profile {path}: {type(error).__name__}: {error}") from error
    return found


def imported_profile(path: str) -> Profile:
    """The profile at an import path, or what the function there makes.

    Raises:
        ValueError: there is no such thing, or it is no profile and makes none.
    """
    found = imported_object(path)
    if not isinstance(found, Profile) and callable(found):
        try:
            found = found()
        except Exception as error:  # likewise
            raise ValueError(f"--profile {path}: {type(error).__name__}: {error}") from error
    if not isinstance(found, Profile):
        kind = type(found).__name__
        raise ValueError(
            f"--profile {path}: expected a nautilus_core.Profile, or a function that makes one; got a {kind}"
        )
    return found


# ------------------------------------------------------------------ the table


def _table(layout: Layout, *, wide: bool) -> Table:
    headings = list(dict.fromkeys(heading for step in layout.steps for heading in step.facts))
    needs = wide or not headings
    holds = wide and any(step.fields for step in layout.steps)
    fixed = ["", "step", "sender", "flight", "sealed", *(["needs"] if needs else []), "gives"]
    table = columns_table(*fixed, *headings, *(["holds"] if holds else []), numbers=("",), whole=fixed)
    for step in layout.steps:
        arrow = "→" if step.sender is INITIATOR else "←"
        cells = [str(step.position), step.name, step.sender.value, f"{arrow} {step.flight}"]
        cells += ["yes" if step.sealed else "no", *([step.needs.name.lower()] if needs else [])]
        cells += [step.provides.name.lower() if step.provides else ""]
        cells += [step.facts.get(heading, "") for heading in headings]
        cells += [", ".join(step.fields) or "raw bytes"] if holds else []
        last = step is layout.steps[-1] or layout.steps[step.position + 1].flight != step.flight
        table.add_row(*map(escape, cells), style="green" if step.sealed else "cyan", end_section=last)
    return table


def _facts(profile: Profile, layout: Layout, accepted: bool) -> Iterator[tuple[str, str]]:
    sealed = layout.sealed_from
    yield "sealed", "nothing" if sealed is None else f"from step {sealed}, {layout.steps[sealed].name}, on"
    least = "at least " if layout.at_least else ""
    yield "flights", f"{least}{len(layout.flights)}" + (", and the responder's acceptance" if accepted else "")
    yield "round trips", least + _round_trips(layout, accepted)
    for step in layout.steps:
        if step.may_insert:
            yield "may come in", f"{', '.join(step.may_insert)}, after {step.name} (not counted here)"
    for step in layout.steps:
        if notes := list(step_notes(step)):
            yield "runs", f"{step.name}: {', '.join(notes)}"
    if layout.at_least or any(step.conditional for step in layout.steps):
        yield "counted", "as if every step ran, with one message"
    for heading, offers in profile.offers:
        yield heading, "\n".join(offers) if heading in ("suites", "pattern") else ", ".join(offers) or "none"
    limits = [
        f"{name} {value:,}" + ("" if name == "messages" else " B") for name, value in asdict(profile.limits).items()
    ]
    yield "limits", ", ".join(limits)


def _round_trips(layout: Layout, accepted: bool) -> str:
    initiator, responder = layout.round_trips(INITIATOR), layout.round_trips(RESPONDER)
    waiting = f" ({responder + 0.5:g} if it waits to be accepted)" if accepted else ""
    return f"{initiator:g} until the initiator can send data{waiting}, {responder:g} until the responder can"


def _as_json(profile: Profile, layout: Layout, accepted: bool) -> dict[str, Any]:
    return {
        "profile": profile.name,
        "steps": [
            {field.name: getattr(step, field.name) for field in fields(step)}
            | {"sender": step.sender.value, "facts": dict(step.facts)}
            | {"needs": step.needs.name.lower(), "provides": step.provides.name.lower()}
            for step in layout.steps
        ],
        "flights": [
            {"sender": sender.value, "steps": [step.name for step in layout.in_flight(number)]}
            for number, sender in enumerate(layout.flights, 1)
        ],
        "sealed_from": layout.sealed_from,
        "at_least": layout.at_least,
        "round_trips": {
            "initiator": layout.round_trips(INITIATOR),
            "responder": layout.round_trips(RESPONDER),
            "initiator_accepted": layout.round_trips(RESPONDER) + 0.5 if accepted else None,
        },
        "offers": {heading: list(offers) for heading, offers in profile.offers},
        "limits": asdict(profile.limits),
    }
