"""The recorded handshakes of the Noise Protocol Framework, by name."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from nautilus_core import INITIATOR, RESPONDER, Profile, Role, profiles, trust
from nautilus_core.noise import handshake_pattern
from nautilus_core.noise.functions import DH_FUNCTIONS
from nautilus_core.testing import Pair

from ..core.channels import deliver
from .case import Case
from .people import PSKS, STATIC, seed
from .sides import initiator, responder

SUITE: Final = "25519_ChaChaPoly_SHA256"
FUNDAMENTAL: Final = ("NN", "NK", "NX", "KN", "KK", "KX", "XN", "XK", "XX", "IN", "IK", "IX")
ONE_WAY: Final = ("N", "K", "X")
OTHERS: Final = (
    ("NNpsk0", SUITE),
    ("IKpsk2", SUITE),
    ("XXpsk3", SUITE),
    ("X1K1", SUITE),
    ("XXhfs", "25519+MLKEM768_ChaChaPoly_SHA256"),
    ("NNhfs", "25519+MLKEM1024_ChaChaPoly_SHA256"),
    ("XX", "448_AESGCM_SHA512"),
    ("XX", "25519_AESGCM_BLAKE2b"),
    ("IK", "25519_ChaChaPoly_BLAKE2s"),
)
"""psk, deferred and hfs patterns, and the other functions."""
XX: Final = "Noise_XX_25519_ChaChaPoly_BLAKE2s"
IK: Final = "Noise_IK_25519_AESGCM_SHA256"


def side(pattern: str, suite: str, role: Role, **changes: Any) -> Profile:
    """One end of a named pattern, with the keys that it needs."""
    parsed, dh = handshake_pattern(pattern), suite.split("_", maxsplit=1)[0].split("+", maxsplit=1)[0]
    arguments: dict[str, Any] = {"psks": PSKS[: parsed.psk_count]}
    if parsed.static_of(role):
        arguments["static"] = STATIC[dh, role].private
    if "s" in parsed.pre_messages[role.peer]:
        arguments["remote_static"] = STATIC[dh, role.peer].public
    elif parsed.sends_static(role.peer):
        arguments["trust"] = trust.anyone()
    return profiles.noise(f"Noise_{pattern}_{suite}", **{**arguments, **changes})


def _talk(pair: Pair) -> None:
    one, other = pair.initiator.session.channel(), pair.responder.session.channel()
    one.send_data(b"a question")
    deliver(one, other)
    other.send_data(b"an answer")
    deliver(other, one)


def _talk_one_way(pair: Pair) -> None:
    one, other = pair.initiator.session.channel(), pair.responder.session.channel()
    one.send_data(b"an announcement")
    deliver(one, other)


def _noise(pattern: str, suite: str = SUITE, **changes: Any) -> Case:
    return Case(
        f"Noise_{pattern}_{suite}",
        partial(side, pattern, suite, INITIATOR, **changes),
        partial(side, pattern, suite, RESPONDER, **changes),
        use=_talk_one_way if pattern in ONE_WAY else _talk,
    )


def _close(pair: Pair) -> None:
    one, other = pair.initiator.session.channel(), pair.responder.session.channel()
    for number in range(5):
        one.send_data(b"message %d" % number)
        deliver(one, other)
    one.close()
    deliver(one, other)
    other.close()
    deliver(other, one)


def _fallback(role: Role) -> Profile:
    key = DH_FUNCTIONS["25519"].key_pair(seed("ephemeral of an earlier message", 32))
    own = {"ephemeral": key.private} if role is INITIATOR else {"remote_ephemeral": key.public}
    return side("XXfallback", SUITE, role, **own)


def _negotiated(make: Any, role: Role, name: str, **changes: Any) -> Profile:
    known = {"noise_remote_static": STATIC["25519", role.peer].public} if name == IK and role is INITIATOR else {}
    arguments = {"noise_static": STATIC["25519", role].private, "suites": (name,), "trust": trust.anyone(), **known}
    profile: Profile = make(**{**arguments, **changes})
    return profile


def _suite(name: str, what: str, **changes: Any) -> Case:
    return Case(
        what,
        partial(_negotiated, initiator, INITIATOR, name, **changes),
        partial(_negotiated, responder, RESPONDER, name, **changes),
    )


NOISE: Final[dict[str, Case]] = {
    **{f"noise-{pattern.lower()}": _noise(pattern) for pattern in (*FUNDAMENTAL, *ONE_WAY)},
    **{
        f"noise-{pattern.lower()}-{suite.lower().replace('_', '-').replace('+', '-')}": _noise(pattern, suite)
        for pattern, suite in OTHERS
    },
    "noise-fallback": Case("XXfallback, with an ephemeral key that was sent before", partial(_fallback, INITIATOR),
                           partial(_fallback, RESPONDER), use=_talk),
    "noise-payloads": Case(
        "payloads of both ends",
        partial(side, "XX", SUITE, INITIATOR, payloads={0: b"first", 2: b"third"}, prologue=b"acme"),
        partial(side, "XX", SUITE, RESPONDER, payloads={1: b"second"}, prologue=b"acme"),
        use=_talk,
    ),
    "noise-rekey-close": Case(
        "new keys after two messages each, and a close that is a message",
        partial(side, "NN", SUITE, INITIATOR, rekey_after=2, close_message=True),
        partial(side, "NN", SUITE, RESPONDER, rekey_after=2, close_message=True),
        use=_close,
    ),
    "noise-suite-xx": _suite(XX, "Noise XX as a suite of nautilus/1"),
    "noise-suite-ik": _suite(IK, "Noise IK as a suite of nautilus/1"),
    "noise-suite-not-chosen": Case(
        "the initiator offers Noise, the responder has another suite",
        partial(_negotiated, initiator, INITIATOR, XX, suites=(XX, "X25519_AES128GCM_SHA256")),
        responder,
    ),
    "public-noise-xx": Case(
        "no secrets: Noise XX", partial(side, "XX", SUITE, INITIATOR), partial(side, "XX", SUITE, RESPONDER), secrets=False
    ),
}  # fmt: skip
