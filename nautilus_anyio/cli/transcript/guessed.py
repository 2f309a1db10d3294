"""A profile that was guessed from a transcript, as a piece of a program. It is `nautilus_core.transcript`'s to guess."""

from __future__ import annotations

from dataclasses import fields

from nautilus_core import PublicKey
from nautilus_core.crypto.signatures import SCHEMES
from nautilus_core.limits import DEFAULT_LIMITS
from nautilus_core.transcript.guessing import Guess


def program_of(guess: Guess) -> tuple[list[str], list[str]]:
    """The imports that it needs, as lines, and the function `make_profile`, likewise."""
    names = {"Profile", "profiles", "trust"}
    head: list[str] = []
    match guess.identity:
        case None:
            identity, note = "ANONYMOUS", ""
            names.add("ANONYMOUS")
        case PublicKey(scheme=scheme, data=data):
            identity = f"Identity.public_only(PublicKey({_literal(scheme)}, bytes.fromhex({_literal(data.hex())})))"
            note = "  # its signatures are in the transcript"
            names |= {"Identity", "PublicKey"}
        case scheme:
            identity, note = f"Identity.generate({_literal(scheme)})", "  # it was never shown: any will do"
            names.add("Identity")
    lines = [
        "def make_profile() -> Profile:",
        '    """As far as the transcript shows it. Put your own profile here to test that."""',
        f"    policy = {_policy(guess)}",
    ]
    if guess.policy == "known_peers":
        head.append("from nautilus_core.transcript.guessing import known_before")
    if guess.schemes != tuple(SCHEMES):
        lines.append(f"    policy.schemes = {_literal(guess.schemes)}  # what it offered to verify")
    lines += ["    return profiles.nautilus(", f"        identity={identity},{note}", "        trust=policy,"]
    lines += [f"        protocols={_literal(guess.protocols)},"] if guess.protocols else []
    lines += [f"        suites={_literal(guess.suites)},"]
    lines += [f"        target={_literal(guess.target)},"] if guess.target is not None else []
    lines += [f"        extensions={dict(guess.extensions)!r},"] if guess.extensions else []
    if guess.limits != DEFAULT_LIMITS:
        names.add("Limits")
        changed = [
            f"{field.name}={getattr(guess.limits, field.name)}"
            for field in fields(guess.limits)
            if getattr(guess.limits, field.name) != getattr(DEFAULT_LIMITS, field.name)
        ]
        lines.append(f"        limits=Limits({', '.join(changed)}),")
    lines.append("    )")
    ordered = sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    return [f"from nautilus_core import {', '.join(ordered)}", *head], lines


def _literal(value: str | tuple[str, ...]) -> str:
    """As it stands in a program, in double quotes where that is possible."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    text = repr(value)
    return text if '"' in text or "\\'" in text else f'"{text[1:-1]}"'


def _policy(guess: Guess) -> str:
    match guess.policy:
        case "pinned":
            return f"trust.pinned({', '.join(map(_literal, guess.names))})"
        case "known_peers":
            known = ", ".join(map(_literal, guess.names))
            return f"trust.known_peers(known_before({known}), name={_literal(guess.names[0])})"
        case kind:
            return f"trust.{kind}({'anonymous=True' if guess.anonymous else ''})"
