"""Attacks on negotiated Noise: who alters, mixes, replays or relays, and what a static key must not be used for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Handshake,
    HandshakeError,
    Identity,
    InMemoryKnownPeers,
    InvalidMessage,
    Profile,
    PublicKey,
    Role,
    profiles,
    trust,
)
from nautilus_core.noise import HandshakeState, NoiseProtocol
from nautilus_core.steps.noise_suite import NOISE_MESSAGES
from nautilus_core.testing import Pair

from ..helpers import altered, frames, put
from .helpers import KEYS, SUITE

ME, OTHER = Identity.generate(), Identity.generate()
STATIC: Final = {role: PublicKey("noise-static-25519", KEYS["25519"][role].public) for role in Role}
STRONG: Final = "X25519MLKEM768_AES256GCM_SHA384"
SIGNED: Final = "X25519_AES128GCM_SHA256"
XX, AES, IK = f"Noise_XX_{SUITE}", "Noise_XX_25519_AESGCM_SHA256", f"Noise_IK_{SUITE}"
ALL: Final = (STRONG, XX, AES, SIGNED)


def side(role: Role, suites: tuple[str, ...], **changes: Any) -> Profile:
    """A profile that pins its peer, by its identity and by its static key."""
    arguments: dict[str, Any] = {
        "identity": ME if role is INITIATOR else OTHER,
        "trust": trust.pinned((OTHER if role is INITIATOR else ME).public, STATIC[role.peer]),
        "suites": suites,
        "noise_static": KEYS["25519"][role],
    }
    return profiles.nautilus(**{**arguments, **changes})


def run(one: tuple[str, ...], other: tuple[str, ...], **options: Any) -> Pair:
    """Both ends; `initiator` and `responder` change their arguments."""
    initiator, responder = options.pop("initiator", {}), options.pop("responder", {})
    return Pair(side(INITIATOR, one, **initiator), side(RESPONDER, other, **responder), **options).run()


def assert_nobody_is_deceived(ends: Pair) -> None:
    """Neither end has a session; whoever failed did so with an error of ours."""
    assert not ends.initiator.completed
    assert not ends.responder.completed
    errors = [error for error in (ends.initiator.error, ends.responder.error) if error is not None]
    assert errors
    assert all(isinstance(error, HandshakeError) for error in errors)


# ---------------------------------------------------------------- downgrade


@pytest.mark.parametrize("left", [*((one,) for one in ALL), ALL[1:], ALL[:-1], ALL[::-1], (*ALL, "X448_NEW_SUITE")])
@pytest.mark.parametrize("prefers", [ALL, (XX, AES, STRONG, SIGNED)])
def test_an_offer_that_was_altered_on_the_way_is_noticed(left: tuple[str, ...], prefers: tuple[str, ...]) -> None:
    """Whatever the attacker leaves of the suites, and whichever kind the responder then selects."""

    def change(fields: list[Any]) -> None:
        fields[1] = [name for name in left if name in fields[1] or name.startswith("X448")]

    assert run(ALL, prefers).initiator.session.suite == prefers[0]
    assert_nobody_is_deceived(run(ALL, prefers, tamper=altered("suites", change)))


@pytest.mark.parametrize("prefers", ALL)
@pytest.mark.parametrize("said", ALL)
def test_a_selection_that_was_altered_on_the_way_is_noticed(prefers: str, said: str) -> None:
    ends = run(ALL, (prefers,), tamper=altered("suite", put(1, said)))
    if said == prefers:
        assert ends.initiator.session.suite == ends.responder.session.suite == said
    else:
        assert_nobody_is_deceived(ends)


STATIC_ALONE: Final = {"trust": trust.pinned(STATIC[RESPONDER])}
NOT_OFFERED: Final[tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...]] = (
    (f"Noise_NN_{SUITE}", (XX,), {}),
    (f"Noise_NX_{SUITE}", (XX,), {}),
    ("Noise_XX_25519_ChaChaPoly_SHA512", (XX,), {}),
    ("Noise_NOTHING", (XX,), {}),
    ("P256_AES128GCM_SHA256", (XX,), {}),
    (IK, (XX, IK), {}),  # ours, but not for a side that does not know the other's key
    (SIGNED, (XX, SIGNED), STATIC_ALONE),  # ours, but nobody whom we trust signs
)


@pytest.mark.parametrize(("name", "suites", "changes"), NOT_OFFERED)
def test_what_was_not_offered_is_not_accepted(name: str, suites: tuple[str, ...], changes: dict[str, Any]) -> None:
    """A responder that selects it: above all a pattern that authenticates nobody."""
    ends = run(suites, (XX,), initiator=changes, tamper=altered("suite", put(1, name)))
    assert name.encode() not in frames(ends.initiator.flights[0])[1]
    error: Any = ends.initiator.error
    assert isinstance(error, InvalidMessage)
    assert "selected a suite that was not offered" in str(error)
    assert error.alert == AlertCode.ILLEGAL_PARAMETER
    assert_nobody_is_deceived(ends)


def test_a_suite_is_offered_in_the_roles_that_it_can_be_played_in() -> None:
    with pytest.raises(ValueError, match="as initiator: in .*IK.* the initiator needs noise_remote_static="):
        Handshake(INITIATOR, side(INITIATOR, (IK,)))
    known = {"noise_remote_static": STATIC[RESPONDER].data}
    assert run((IK,), (IK,), initiator=known).initiator.session.suite == IK


def test_a_name_that_nobody_knows_is_offered_and_never_a_noise_protocol() -> None:
    for _ in range(20):
        suites = msgspec.msgpack.decode(frames(run((XX,), (XX,)).initiator.flights[0])[1][4:])[1]
        assert suites[0] == XX
        (unknown,) = suites[1:]
        assert not unknown.startswith("Noise_")
    ends = run((XX,), (XX,), tamper=lambda _, __, data: data.replace(XX.encode(), unknown.encode().ljust(len(XX))))
    assert_nobody_is_deceived(ends)


# ---------------------------------------------------------------- replay, relay, mixing


def begins(one: bytes, name: str) -> bool:
    """Whether a frame is the raw step `name`."""
    return one[4:].startswith(b"\x92" + msgspec.msgpack.encode(name))


def noise_frames(flights: list[bytes]) -> dict[str, bytes]:
    """The frames of Noise messages in flights, by name."""
    sent = [one for flight in flights for one in frames(flight)]
    return {name: one for one in sent for name in NOISE_MESSAGES if begins(one, name)}


@pytest.mark.parametrize("suite", [IK, f"Noise_KK_{SUITE}", XX])
def test_a_recording_of_the_initiator_does_not_deceive_the_responder(suite: str) -> None:
    """Each answer has a nonce of its own, which is in the prologue: what IK alone would accept again is refused."""
    known = {role: {} if suite == XX else {"noise_remote_static": STATIC[role.peer].data} for role in Role}
    true = run((suite,), (suite,), initiator=known[INITIATOR], responder=known[RESPONDER])
    assert true.responder.completed
    again = Handshake(RESPONDER, side(RESPONDER, (suite,), **known[RESPONDER]))
    with pytest.raises(InvalidMessage, match="does not decrypt"):
        for flight in true.initiator.flights:
            again.receive_data(flight)
            while again.next_event().__class__.__name__ != "Signal":
                pass
            again.data_to_send()
    assert again.session is None


def _swapped(other: dict[str, bytes], name: str) -> Callable[[Role, int, bytes], bytes]:
    def tamper(role: Role, number: int, data: bytes) -> bytes:
        return b"".join(other[name] if begins(one, name) else one for one in frames(data))

    return tamper


@pytest.mark.parametrize("name", NOISE_MESSAGES[:3])
def test_a_noise_message_of_another_session_is_refused(name: str) -> None:
    """Of the same two ends, with the same keys."""
    before = run((XX,), (XX,))
    other = noise_frames(before.initiator.flights + before.responder.flights)
    assert_nobody_is_deceived(run((XX,), (XX,), tamper=_swapped(other, name)))


@pytest.mark.parametrize("said", [AES, XX.replace("XX", "IK"), XX.replace("XX", "XXpsk0")])
def test_plain_noise_and_negotiated_noise_do_not_understand_each_other(said: str) -> None:
    """One static key may serve both: names and prologues keep them apart, also where the pattern is the same."""
    known = {"noise_remote_static": STATIC[RESPONDER].data}
    ends = run((IK,), (IK,), initiator=known)
    message = msgspec.msgpack.decode(noise_frames(ends.initiator.flights)["noise-0"][4:])[1]
    for prologue in (b"", b"nautilus/1", b"".join(ends.initiator.flights[:1])):
        listener = HandshakeState(NoiseProtocol.parse(IK), RESPONDER, s=KEYS["25519"][RESPONDER], prologue=prologue)
        with pytest.raises(InvalidMessage, match="does not decrypt"):
            listener.read_message(message)
    true = b"".join(ends.initiator.flights[:1] + ends.responder.flights[:1])
    listener = HandshakeState(NoiseProtocol.parse(IK), RESPONDER, s=KEYS["25519"][RESPONDER], prologue=true)
    assert listener.read_message(message) == b""
    assert NoiseProtocol.parse(said).initial_hash != NoiseProtocol.parse(IK if said == AES else XX).initial_hash


@pytest.mark.parametrize("name", ["hello", "suites", "initiator-key-share", "hello-response", "suite"])
def test_what_the_ends_have_seen_differently_is_in_the_prologue(name: str) -> None:
    """An unknown field at the end of a message is no error in itself, and changes no choice."""
    ends = run((XX,), (XX,), tamper=altered(name, lambda fields: fields.append("more")))
    assert isinstance(ends.initiator.error, InvalidMessage)
    assert "a Noise message does not decrypt" in str(ends.initiator.error)
    assert ends.initiator.error.step == "noise-1"
    assert_nobody_is_deceived(ends)


# ---------------------------------------------------------------- keys


def test_a_static_key_is_used_with_one_hash() -> None:
    """Section 14."""
    sha512 = XX.replace("SHA256", "SHA512")
    with pytest.raises(ValueError, match="one hash.*section 14.*SHA256, SHA512"):
        side(INITIATOR, (XX, SIGNED, sha512))
    anonymous = {"trust": trust.anyone(anonymous=True), "noise_static": None}
    both = (f"Noise_NN_{SUITE}", "Noise_NN_25519_ChaChaPoly_SHA512")
    assert run(both, both[::-1], initiator=anonymous, responder=anonymous).initiator.session.suite == both[1]


def test_patterns_over_two_curves_need_two_profiles() -> None:
    with pytest.raises(ValueError, match="noise_static: a 448 public key has 56 bytes, not 32"):
        side(INITIATOR, (XX, "Noise_XX_448_ChaChaPoly_SHA256"))
    with pytest.raises(ValueError, match="noise_static: a 448 private key has 56 bytes, not 32"):
        side(INITIATOR, (XX, "Noise_XX_448_ChaChaPoly_SHA256"), noise_static=bytes(range(32)))


def test_the_bytes_of_a_static_key_are_not_those_of_a_signing_key() -> None:
    """A policy that pins one of them pins nothing of the other kind, and their names differ."""
    data = STATIC[RESPONDER].data
    signing = PublicKey("ed25519", data)
    assert signing.peer_id != STATIC[RESPONDER].peer_id
    assert signing.fingerprint != STATIC[RESPONDER].fingerprint
    with pytest.raises(ValueError, match="trusts no noise-static-25519 key"):
        side(INITIATOR, (XX,), trust=trust.pinned(signing))
    policy = trust.pinned(signing, STATIC[INITIATOR])
    ends = run((XX,), (XX,), initiator={"trust": policy})
    assert isinstance(ends.initiator.error, AuthenticationFailed)
    assert_nobody_is_deceived(ends)


def test_the_guess_is_dropped_where_a_noise_protocol_is_selected() -> None:
    def watched(suites: tuple[str, ...]) -> tuple[Pair, Any]:
        initiator = Handshake(INITIATOR, side(INITIATOR, suites))
        share: Any = next(step for step in initiator.steps if step.name == "initiator-key-share")
        return Pair(initiator, side(RESPONDER, (XX,)), close=False).run(), share._agreement

    ends, agreement = watched((SIGNED, XX))
    assert ends.initiator.session.suite == XX
    assert (agreement._private_key, agreement._secret) == (None, None)


@pytest.mark.parametrize("name", ["responder-finished", "initiator-finished"])
def test_nobody_is_remembered_in_a_handshake_that_fails(name: str) -> None:
    """The static key is proved before: what is remembered must not be of a session that never was."""
    stores = {role: InMemoryKnownPeers() for role in Role}
    policies = {
        role: {"trust": trust.known_peers(stores[role], name=role.peer.value, accept_new=True)} for role in Role
    }

    def cut(role: Role, number: int, data: bytes) -> bytes:
        sealed = {"responder-finished": (RESPONDER, 2), "initiator-finished": (INITIATOR, 3)}[name]
        return data[:-1] + bytes((data[-1] ^ 1,)) if (role, number) == sealed else data

    ends = run((XX,), (XX,), initiator=policies[INITIATOR], responder=policies[RESPONDER], tamper=cut)
    assert ends.initiator.error or ends.responder.error
    assert not ends.responder.completed
    assert stores[RESPONDER].lookup("initiator") == frozenset()
    if name == "responder-finished":
        assert not ends.initiator.completed
        assert stores[INITIATOR].lookup("responder") == frozenset()
    ends = run((XX,), (XX,), initiator=policies[INITIATOR], responder=policies[RESPONDER])
    assert stores[RESPONDER].lookup("initiator") == {STATIC[INITIATOR].peer_id}
