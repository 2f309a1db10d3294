"""The two sides of `nautilus/1`, as most recorded handshakes have them."""

from __future__ import annotations

from typing import Any, Final

from nautilus_core import Profile, profiles, trust

from .people import identity

FAST: Final = ("X25519_AES128GCM_SHA256",)


def initiator(**options: Any) -> Profile:
    """The initiator: the fast suite, and trust in the responder's key alone, unless `options` say otherwise."""
    pinned = trust.pinned(identity("responder").public)
    return profiles.nautilus(**{"identity": identity("initiator"), "trust": pinned, "suites": FAST, **options})


def responder(**options: Any) -> Profile:
    """The responder, likewise."""
    pinned = trust.pinned(identity("initiator").public)
    return profiles.nautilus(**{"identity": identity("responder"), "trust": pinned, "suites": FAST, **options})
