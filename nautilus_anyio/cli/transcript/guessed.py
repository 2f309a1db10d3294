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
    identity, note, needed = _identity(guess)
    names |= needed
    if guess.certificates:
        head.append("from nautilus_core.identity.x509 import certificates_in")
    lines = [
        "def make_profile() -> Profile:",
        '    """As far as the transcript shows it. Put your own profile here to test that."""',
        f"    policy = {_policy(guess)}",
    ]
    helpers = [*(["known_before"] if guess.policy == "known_peers" else []), *(["psk_named"] if guess.psks else [])]
    if helpers:
        head.append(f"from nautilus_core.transcript.guessing import {', '.join(helpers)}")
    if guess.schemes != tuple(SCHEMES):
        lines.append(f"    policy.schemes = {_literal(guess.schemes)}  # what it offered to verify")
    lines += ["    return profiles.nautilus(", f"        identity={identity},{note}", "        trust=policy,"]
    lines += [f"        protocols={_literal(guess.protocols)},"] if guess.protocols else []
    lines += [f"        suites={_literal(guess.suites)},"]
    lines += [f"        target={_literal(guess.target)},"] if guess.target is not None else []
    lines += [f"        extensions={dict(guess.extensions)!r},"] if guess.extensions else []
    if guess.psks:
        psks = ", ".join(f"psk_named({_literal(identity)}, {_literal(function)})" for identity, function in guess.psks)
        lines += [f"        psks=[{psks}],", f"        psk_name={_literal(guess.role.value)},"]
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


def _identity(guess: Guess) -> tuple[str, str, set[str]]:
    """How it is made, a note on it, and the names that it needs."""
    match guess.identity:
        case None:
            return "ANONYMOUS", "", {"ANONYMOUS"}
        case PublicKey(scheme=scheme, data=data):
            key = f"PublicKey({_literal(scheme)}, bytes.fromhex({_literal(data.hex())}))"
            chain = f", certificates_in({guess.certificates.encode()!r})" if guess.certificates else ""
            note = "  # its signatures are in the transcript"
            return f"Identity.public_only({key}{chain})", note, {"Identity", "PublicKey"}
        case scheme if guess.did is not None:
            made = f'Identity.generate({_literal(scheme)}).presenting("did", {guess.did.encode()!r})'
            return made, "  # any key will do: its signatures are in the transcript", {"Identity"}
        case scheme:
            return f"Identity.generate({_literal(scheme)})", "  # it was never shown: any will do", {"Identity"}


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
        case "dids":
            return f"trust.dids({', '.join(map(_literal, guess.names))})"
        case "authorities":
            authority, name = guess.names
            return f"trust.authorities({authority.encode()!r}, name={_literal(name) if name else None})"
        case kind:
            return f"trust.{kind}({'anonymous=True' if guess.anonymous else ''})"
