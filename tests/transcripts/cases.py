"""The table of all recorded handshakes, by name: what each is, and what it was made of."""

from __future__ import annotations

from typing import Any, Final

from nautilus_core import ANONYMOUS, RESPONDER, PeerIdentified, Profile, Stage, trust
from nautilus_core.crypto.signatures import SCHEMES
from nautilus_core.crypto.suites import DEFAULT_SUITES
from nautilus_core.testing import Pair, byte_by_byte

from ..core.channels import deliver
from ..core.helpers import Talk, asking, note
from .bindings import BINDINGS
from .case import Case
from .credentials import CREDENTIALS
from .failures import FAILURES
from .noise import NOISE
from .people import identity
from .refusals import REFUSALS
from .sides import initiator, responder
from .tls import TLS


def _with_steps(profile: Profile) -> Profile:
    return (
        profile.insert_before("initiator-finished", note())
        .insert_before("initiator-finished", lambda: Talk(length=4))
        .insert_before("initiator-finished", asking("who"))
    )


def _suite(*suites: str) -> Case:
    return Case(
        f"the suite {suites[0]}" if len(suites) == 1 else "the suites that are offered by default",
        lambda: initiator(suites=suites),
        lambda: responder(suites=suites),
    )


def _scheme(scheme: str) -> Case:
    one, other = identity("initiator", scheme), identity("responder", scheme)
    return Case(
        f"both ends prove themselves with {scheme}",
        lambda: initiator(identity=one, trust=trust.pinned(other.public)),
        lambda: responder(identity=other, trust=trust.pinned(one.public)),
    )


def _conversation(pair: Pair) -> None:
    """Data, key updates of both kinds, and the two closes."""
    one, other = pair.initiator.session.channel(), pair.responder.session.channel()
    deliver(other, one)
    one.send_data(b"a question")
    deliver(one, other)
    one.update_keys(ask_peer=True)
    one.send_data(b"under my second key")
    deliver(one, other)
    other.send_data(b"under mine")
    other.update_keys()
    other.send_data(b"and my third")
    deliver(other, one)
    one.close()
    deliver(one, other)
    other.send_data(b"one direction is still open")
    other.close()
    deliver(other, one)


def _accept_late(question: Any) -> None:
    if isinstance(question, PeerIdentified):
        question.accept()
    else:
        question.answer(7)


def _anonymous() -> Profile:
    return initiator(identity=ANONYMOUS)


def _any_anonymous() -> Profile:
    return responder(trust=trust.anyone(anonymous=True))


_BASIC: Final[dict[str, Case]] = {
    "default": _suite(*DEFAULT_SUITES),
    "suite-x25519mlkem768-chacha20poly1305": _suite("X25519MLKEM768_CHACHA20POLY1305_SHA256"),
    "suite-secp384r1mlkem1024-aes256gcm": _suite("SecP384R1MLKEM1024_AES256GCM_SHA384"),
    "suite-x25519-aes128gcm": _suite("X25519_AES128GCM_SHA256"),
    "suite-x25519-chacha20poly1305": _suite("X25519_CHACHA20POLY1305_SHA256"),
    "suite-p256-aes128gcm": _suite("P256_AES128GCM_SHA256"),
    "suite-p256-aes256gcm": _suite("P256_AES256GCM_SHA384"),
    **{f"scheme-{scheme}": _scheme(scheme) for scheme in SCHEMES},
    "anonymous-initiator": Case("the initiator says not who it is", _anonymous, _any_anonymous),
    "anonymous-both": Case(
        "nobody says who they are",
        lambda: initiator(identity=ANONYMOUS, trust=trust.anyone(anonymous=True)),
        lambda: responder(identity=ANONYMOUS, trust=trust.anyone(anonymous=True)),
    ),
    "retry": Case(
        "the initiator guessed the wrong group, and sends a second share",
        lambda: initiator(suites=("X25519_AES128GCM_SHA256", "P256_AES128GCM_SHA256")),
        lambda: responder(suites=("P256_AES128GCM_SHA256",)),
    ),
    "protocols-target-extensions": Case(
        "application protocols, a target, extensions of which one is known to both",
        lambda: initiator(
            protocols=("acme/2", "acme/1"), target="vault.example", extensions={"colour": b"red", "unknown": b"?"}
        ),
        lambda: responder(protocols=("acme/1",), extensions={"colour": b"blue"}),
    ),
    "datagrams": Case("with keys for datagrams", lambda: initiator(datagrams=True), lambda: responder(datagrams=True)),
    "byte-by-byte": Case("every byte comes alone", initiator, responder, options={"split": byte_by_byte}),
    "known-peers": Case(
        "trust on first use, with a question",
        lambda: initiator(trust=trust.known_peers(trust.InMemoryKnownPeers(), name="gateway")),
        responder,
        options={"answer": _accept_late},
    ),
    "trust-ask": Case(
        "the application is asked about the peer, and accepts",
        initiator,
        lambda: responder(trust=trust.ask()),
        options={"answer": _accept_late},
    ),
    "custom-steps": Case(
        "a step of one message, one of four, one that asks a question",
        lambda: _with_steps(initiator()),
        lambda: _with_steps(responder()),
        options={"answer": _accept_late},
    ),
    "custom-step-before-keys": Case(
        "a step in the clear",
        lambda: initiator().insert_before("suite", note("banner", RESPONDER, needs=Stage.NOTHING)),
        lambda: responder().insert_before("suite", note("banner", RESPONDER, needs=Stage.NOTHING)),
    ),
    "optional-steps": Case(
        "a step that only one end has, and one of another protocol, are skipped",
        lambda: (
            initiator(protocols=("p",))
            .insert_before("initiator-finished", note("mine", required=False))
            .insert_before("initiator-finished", note("of-q", protocol_id="q", required=False))
        ),
        lambda: responder(protocols=("p",)).insert_before(
            "initiator-finished", note("of-q", protocol_id="q", required=False)
        ),
    ),
    "channel": Case("data, key updates and closes of the channel", initiator, responder, use=_conversation),
    "channel-chacha20poly1305": Case(
        "the same with another AEAD",
        lambda: initiator(suites=("X25519_CHACHA20POLY1305_SHA256",)),
        lambda: responder(suites=("X25519_CHACHA20POLY1305_SHA256",)),
        use=_conversation,
    ),
    "public-default": Case(
        "no secrets: the default",
        lambda: initiator(suites=DEFAULT_SUITES),
        lambda: responder(suites=DEFAULT_SUITES),
        secrets=False,
    ),
    "public-custom-steps": Case(
        "no secrets: steps and questions of an application",
        lambda: _with_steps(initiator()),
        lambda: _with_steps(responder()),
        options={"answer": _accept_late},
        secrets=False,
    ),
    "public-channel": Case("no secrets: a conversation", initiator, responder, use=_conversation, secrets=False),
    "public-refused": Case(
        "no secrets: the responder refuses",
        initiator,
        lambda: responder(trust=trust.pinned(identity("mallory").public)),
        secrets=False,
    ),
}

CASES: Final[dict[str, Case]] = {**_BASIC, **NOISE, **TLS, **BINDINGS, **FAILURES, **CREDENTIALS, **REFUSALS}
"""Every recorded handshake: `<name>.initiator.jsonl` and `<name>.responder.jsonl`."""
