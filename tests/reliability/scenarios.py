"""The handshakes that go through faulty links: every kind of profile, each with what its application does. No faults here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from math import inf
from typing import Any, Final, TypeAlias

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    Handshake,
    Identity,
    PeerIdentified,
    PreSharedKey,
    Profile,
    profiles,
    trust,
)
from nautilus_core.testing import FaultyLink, FaultyPair
from tests.core.certificates import NOW, authority, identity
from tests.core.helpers import Talk, alice, asking, bob, note
from tests.core.noise.helpers import KEYS
from tests.core.noise.helpers import profile as noise_profile

Ends: TypeAlias = tuple[Handshake | Profile, Handshake | Profile]

NOTHING: Final[tuple[tuple[bytes, ...], tuple[bytes, ...]]] = ((b"all that there is",), ())
"""What is said where only the initiator can say something."""


@dataclass(frozen=True, eq=False)
class Scenario:
    """Two ends that agree over a link without faults.

    Attributes:
        name: for the table.
        make: makes the ends, once for each run.
        options: further arguments of `FaultyPair`.
        weight: how often it is drawn, compared with the others.
    """

    name: str
    make: Callable[[], Ends]
    options: dict[str, Any] = field(default_factory=dict)
    weight: int = 4

    def pair(self, links: tuple[FaultyLink, FaultyLink] | None = None) -> FaultyPair:
        """Both ends over `links`, not run yet."""
        return FaultyPair(*self.make(), links, **self.options)


def _answer(question: Any) -> None:
    if isinstance(question, PeerIdentified):
        question.accept()
    else:
        question.answer(7)


@cache
def _default() -> Ends:
    one, other = Identity.generate(), Identity.generate()
    return (
        profiles.nautilus(identity=one, trust=trust.pinned(other.public)),
        profiles.nautilus(identity=other, trust=trust.pinned(one.public)),
    )


@cache
def _small() -> Ends:
    return alice(protocols=["acme/2", "acme/1"]), bob(protocols=["acme/1"])


@cache
def _retried() -> Ends:
    return alice(suites=["P256_AES128GCM_SHA256", "X25519_AES128GCM_SHA256"]), bob()


@cache
def _anonymous() -> Ends:
    who: dict[str, Any] = {"identity": ANONYMOUS, "trust": trust.anyone(anonymous=True)}
    return alice(**who), bob(**who)


@cache
def _psk() -> Ends:
    key = PreSharedKey("office-1", bytes(range(32)), initiator="laptop", responder="office", hash="SHA256")

    def side(name: str) -> Profile:
        who: dict[str, Any] = {"identity": ANONYMOUS, "trust": trust.psk(), "psks": [key], "psk_name": name}
        return alice(**who)

    return side("laptop"), side("office")


@cache
def _signed_psk() -> Ends:
    key = PreSharedKey("office-1", bytes(range(32)), initiator="laptop", responder="office", hash="SHA256")
    return alice(psks=[key], psk_name="laptop"), bob(psks=[key], psk_name="office")


@cache
def _steps() -> Ends:
    def edit(profile: Profile) -> Profile:
        for step in (note("one"), Talk, note("two", RESPONDER), asking("wish", RESPONDER)):
            profile = profile.insert_before("initiator-finished", step)
        return profile

    extensions = {"color": b"blue"}
    return edit(alice(extensions=extensions)), edit(bob(extensions=extensions))


@cache
def _asked() -> Ends:
    return alice(trust=trust.ask()), bob(trust=trust.ask())


@cache
def _certified() -> tuple[Profile, Profile]:
    root = authority()
    trusted = [root.certificate]
    one, other = identity(root.issue(names=("node.example",))), identity(root.issue())
    return (
        alice(identity=one, trust=trust.authorities(trusted, name="gateway.example")),
        bob(identity=other, trust=trust.authorities(trusted)),
    )


def _x509() -> Ends:
    one, other = _certified()
    return Handshake(INITIATOR, one, wall_time=NOW), Handshake(RESPONDER, other, wall_time=NOW)


@cache
def _dids() -> Ends:
    one, other = Identity.generate().with_did(), Identity.generate().with_did()
    return (
        alice(identity=one, trust=trust.dids(str(other.did))),
        bob(identity=other, trust=trust.dids(methods=["key"])),
    )


@cache
def _noise_suite() -> Ends:
    def side(role: Any) -> Profile:
        who = alice if role is INITIATOR else bob
        suites = ["Noise_XX_25519_ChaChaPoly_SHA256", "X25519_AES128GCM_SHA256"]
        return who(suites=suites, trust=trust.anyone(), noise_static=KEYS["25519"][role])

    return side(INITIATOR), side(RESPONDER)


def _noise(pattern: str, **options: Any) -> Callable[[], Ends]:
    @cache
    def make() -> Ends:
        return noise_profile(pattern, INITIATOR, **options), noise_profile(pattern, RESPONDER, **options)

    return make


SCENARIOS: Final = (
    Scenario("default (hybrid, post-quantum)", _default, weight=2),
    Scenario("X25519, application protocols", _small, weight=8),
    Scenario("key share retried", _retried),
    Scenario("anonymous", _anonymous),
    Scenario("pre-shared key", _psk),
    Scenario("pre-shared key and signatures", _signed_psk, weight=2),
    Scenario("steps of one's own", _steps, {"answer": _answer}),
    Scenario("questions, answered at once", _asked, {"answer": _answer}),
    Scenario("questions, answered late", _asked, {"answer": _answer, "answer_after": 2.0}),
    Scenario("questions, never answered", _asked, {"answer": _answer, "answer_after": inf}, weight=1),
    Scenario("X.509", _x509, weight=1),
    Scenario("DIDs", _dids, weight=2),
    Scenario("Noise XX as a suite", _noise_suite),
    Scenario("Noise XX", _noise("XX")),
    Scenario("Noise IK, with a close", _noise("IK", close_message=True)),
    Scenario("Noise NNpsk0", _noise("NNpsk0")),
    Scenario("Noise NN", _noise("NN")),
    Scenario("Noise X, one-way", _noise("X"), {"words": NOTHING}, weight=2),
)
