"""A profile that replays a transcript whole is made from what stands in it, for most handshakes of `nautilus/1`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nautilus_anyio.cli.transcript.guessed import program_of
from nautilus_core import SUITES, InMemoryKnownPeers, PeerIdentified, Profile, profiles, trust
from nautilus_core.transcript import read, replay
from nautilus_core.transcript.guessing import guess

from ..helpers import ALICE, FAST, MALLORY, alice, bob, both, note
from .recording import Recorded

RECORDED = Path(__file__).parents[2] / "transcripts" / "recorded"
SHOWN = ["default", "retry", "anonymous-both", "known-peers", "trust-ask", "scheme-ml-dsa-65", "timeout", "channel",
         "authentication-initiator-refuses", "authentication-responder-refuses", "authentication-rejected",
         "key-agreement-low-order", "given-up-busy", "protocols-target-extensions", "invalid-sealed"]  # fmt: skip


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_every_suite(suite: str) -> None:
    for file in Recorded(*both(suites=[suite])).files:
        found = guess(read(file))
        assert found is not None
        assert replay(file, found.make()).full


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_what_was_recorded_before(name: str, role: str) -> None:
    file = (RECORDED / f"{name}.{role}.jsonl").read_bytes()
    found = guess(read([file]))
    assert found is not None
    assert replay([file], found.make()).full


CREDENTIALS = ["psk-alone", "psk-beside-signatures", "psk-of-several", "psk-of-another-hash", "psk-retry", "x509-ed25519",
               "x509-rsa-pss-sha256", "did-key-ecdsa-p256-sha256", "did-peer-2", "did-web", "did-web-of-initiator",
               "mixed-x509-did", "mixed-anonymous-x509", "target-certificate"]  # fmt: skip


@pytest.mark.parametrize("name", CREDENTIALS)
@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_credentials_and_pre_shared_keys(name: str, role: str) -> None:
    transcript = read([(RECORDED / f"{name}.{role}.jsonl").read_bytes()])
    found = guess(transcript)
    assert found is not None
    assert replay(transcript, found.make()).full
    imports, function = program_of(found)
    names: dict[str, Any] = {}
    exec("\n".join([*imports, *function]), names)  # it is our own program
    assert replay(transcript, names["make_profile"]()).full


@pytest.mark.parametrize("name", ["refused-psk-binder", "refused-authority", "refused-order", "refused-multibase"])
def test_of_what_was_refused_the_policy_may_not_show(name: str) -> None:
    for role in ("initiator", "responder"):
        transcript = read([(RECORDED / f"{name}.{role}.jsonl").read_bytes()])
        found = guess(transcript)
        assert found is None or replay(transcript, found.make()).full


def test_the_policy_comes_from_the_failure() -> None:
    store = InMemoryKnownPeers()
    store.remember("gateway", MALLORY.peer_id)
    policies = {"pinned": trust.pinned(MALLORY.peer_id), "known_peers": trust.known_peers(store, name="gateway")}
    for kind, policy in policies.items():
        recorded = Recorded(profiles.nautilus(identity=ALICE, trust=policy, suites=FAST), bob())
        found = guess(read(recorded.files[0]))
        assert found is not None
        assert found.policy == kind
        assert MALLORY.peer_id in found.names

    def refuse(question: PeerIdentified) -> None:
        question.reject("not today")

    found = guess(read(Recorded(alice(trust=trust.ask()), bob(), answer=refuse).files[0]))
    assert found is not None
    assert found.policy == "ask"


def test_there_is_none_for_what_does_not_show() -> None:
    def with_a_step(profile: Profile) -> Profile:
        return profile.insert_before("initiator-finished", note())

    assert guess(read(Recorded(*both(with_a_step)).files[0])) is None
    assert guess(read(Recorded(*both(), secrets=False).files[0])) is None
    assert guess(read([(RECORDED / "noise-xx.initiator.jsonl").read_bytes()])) is None
