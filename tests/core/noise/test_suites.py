"""Noise protocols as suites of `nautilus/1`: who selects what, what the messages are made of, and what is never offered."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    Accepted,
    AuthenticationFailed,
    DataReceived,
    Handshake,
    HandshakeError,
    Identity,
    InMemoryKnownPeers,
    InvalidMessage,
    KeyUpdated,
    LocalProtocolError,
    NegotiationFailed,
    Profile,
    PublicKey,
    Role,
    Stage,
    profiles,
    trust,
)
from nautilus_core.crypto.hashing import SHA256
from nautilus_core.crypto.key_schedule import KeySchedule
from nautilus_core.crypto.suites import CHACHA20_POLY1305, make_suite
from nautilus_core.noise import HandshakeState, NoiseProtocol
from nautilus_core.noise.functions import HASH_FUNCTIONS
from nautilus_core.steps.noise_suite import NOISE_MESSAGES
from nautilus_core.testing import Pair, RecordingEntropy, ReplayingEntropy, byte_by_byte

from ..helpers import altered, frames, note, put
from .helpers import KEYS, PSK

XX = "Noise_XX_25519_ChaChaPoly_SHA256"
SIGNED = "X25519_AES128GCM_SHA256"
ME, OTHER = Identity.generate(), Identity.generate()
STATIC = {role: PublicKey("noise-static-25519", KEYS["25519"][role].public) for role in Role}


def side(role: Role, suites: list[str], **changes: Any) -> Profile:
    """A profile with an identity and a static key, which trusts anybody."""
    arguments: dict[str, Any] = {
        "identity": ME if role is INITIATOR else OTHER,
        "trust": trust.anyone(),
        "suites": suites,
        "noise_static": KEYS["25519"][role],
    }
    return profiles.nautilus(**{**arguments, **changes})


def ran(one: list[str], other: list[str] | None = None, **options: Any) -> Pair:
    """Both ends with these suites; `initiator` and `responder` in `options` change their arguments."""
    initiator, responder = options.pop("initiator", {}), options.pop("responder", {})
    ends = side(INITIATOR, one, **initiator), side(RESPONDER, other or one, **responder)
    return Pair(*ends, **{"close": False, **options}).run()


def talk(ends: Pair) -> None:
    """Acceptance, data in both directions, a key update."""
    one, other = ends.initiator.session.channel(), ends.responder.session.channel()
    assert one.next_event() == Accepted()
    one.send_data(b"forth")
    one.update_keys()
    one.send_data(b"again")
    other.receive_data(one.data_to_send())
    assert [other.next_event() for _ in range(3)] == [
        DataReceived((b"forth",)),
        KeyUpdated(INITIATOR),
        DataReceived((b"again",)),
    ]
    other.send_data(b"back")
    one.receive_data(other.data_to_send())
    assert one.next_event() == DataReceived((b"back",))


@pytest.mark.parametrize("function", HASH_FUNCTIONS)
@pytest.mark.parametrize("cipher", ["ChaChaPoly", "AESGCM"])
@pytest.mark.parametrize("pattern", ["XX", "IK", "XK1", "XXpsk0", "KK"])
def test_a_noise_protocol_is_selected_and_runs(pattern: str, cipher: str, function: str) -> None:
    name = f"Noise_{pattern}_25519_{cipher}_{function}"
    needs = NoiseProtocol.parse(name).pattern.pre_messages
    keys = {
        role: {"noise_remote_static": STATIC[role.peer].data, "noise_psks": [PSK]}
        if "s" in needs[role.peer]
        else {"noise_psks": [PSK]}
        for role in Role
    }
    ends = ran([name], initiator=keys[INITIATOR], responder=keys[RESPONDER])
    one, other = ends.initiator.session, ends.responder.session
    assert one.suite == other.suite == name
    assert one.channel_binding == other.channel_binding
    assert one.export("x", b"", 40) == other.export("x", b"", 40)
    for session in (one, other):
        assert getattr(session.peer, "public_key", None) == STATIC[session.role.peer]
    messages = len(NoiseProtocol.parse(name).pattern.messages)
    assert one.steps == other.steps
    assert one.steps[5:] == (*NOISE_MESSAGES[:messages], "responder-finished", "initiator-finished")
    talk(ends)


def test_with_448_and_a_kem() -> None:
    keys = {role: {"noise_static": KEYS["448"][role]} for role in Role}
    talk(ran(["Noise_XX_448_AESGCM_SHA512"], initiator=keys[INITIATOR], responder=keys[RESPONDER]))
    talk(ran(["Noise_XXhfs_25519+MLKEM768_ChaChaPoly_BLAKE2s"], split=byte_by_byte))


@pytest.mark.parametrize(
    ("one", "other", "selected"),
    [
        ([XX, SIGNED], [SIGNED, XX], SIGNED),
        ([SIGNED, XX], [XX, SIGNED], XX),
        ([XX], [SIGNED, XX], XX),
        ([SIGNED], [XX, SIGNED], SIGNED),
        ([XX, SIGNED], [SIGNED], SIGNED),
    ],
)
def test_one_listener_serves_both_kinds(one: list[str], other: list[str], selected: str) -> None:
    ends = ran(one, other)
    assert ends.initiator.session.suite == ends.responder.session.suite == selected
    retried = "initiator-key-share-retry" in ends.initiator.session.steps
    assert retried is (selected == SIGNED and one[0] == XX)
    expected = STATIC[RESPONDER] if selected == XX else OTHER.public
    assert getattr(ends.initiator.session.peer, "public_key", None) == expected
    talk(ends)


def test_the_initiator_guesses_no_group_when_its_first_suite_is_a_noise_protocol() -> None:
    ends = ran([XX, SIGNED], [XX])
    share = frames(ends.initiator.flights[0])[2]
    assert share[4:] == b"\x93\xb3initiator-key-share\xc0\xc4\x00"


def test_the_prologue_is_the_transcript_and_the_split_keys_are_the_shared_secret() -> None:
    """By hand: a state of the test's own, whose prologue is the frames before; then the key schedule and Finished."""
    tape = RecordingEntropy()
    ends = Pair(
        Handshake(INITIATOR, side(INITIATOR, [XX]), entropy=tape),
        Handshake(RESPONDER, side(RESPONDER, [XX])),
        close=False,
    ).run()
    before = b"".join(ends.initiator.flights[0:1] + ends.responder.flights[0:1])
    first = frames(ends.initiator.flights[1])[0]
    second = frames(ends.responder.flights[1])[0]
    third = frames(ends.initiator.flights[2])[0]
    protocol = NoiseProtocol.parse(XX)
    ephemeral = [value for kind, value in tape.tape if kind == "X25519"]
    state = HandshakeState(
        protocol,
        INITIATOR,
        prologue=before,
        s=KEYS["25519"][INITIATOR],
        entropy=ReplayingEntropy([("X25519", ephemeral[0]), *[one for one in tape.tape if one[0] == "exchange"]]),
    )
    header = len(b"\x92\xa7noise-0\xc4\x20") + 4
    assert first[header:] == state.write_message()
    assert state.read_message(second[header:]) == b""
    assert state.remote_static == STATIC[RESPONDER].data
    assert third[header:] == state.write_message()
    transcript = before + first + second + third
    secret = b"".join(state.split_keys())
    schedule = KeySchedule(make_suite(XX, "", CHACHA20_POLY1305, SHA256), secret, SHA256.digest(transcript))
    sealed = frames(ends.responder.flights[2])[0]
    mac = schedule.handshake_key(RESPONDER).open(sealed[4:], sealed[:4])
    expected = schedule.finished(RESPONDER, SHA256.digest(transcript))
    assert mac == msgspec.msgpack.encode(["responder-finished", expected])


def test_a_recording_replays() -> None:
    tapes = {role: RecordingEntropy() for role in Role}
    ends = Pair(*(Handshake(role, side(role, [XX]), entropy=tapes[role]) for role in Role), close=False).run()
    again = Pair(
        *(Handshake(role, side(role, [XX]), entropy=ReplayingEntropy(tapes[role].tape)) for role in Role), close=False
    ).run()
    assert again.initiator.flights == ends.initiator.flights
    assert again.responder.flights == ends.responder.flights


def test_custom_steps_stand_where_they_stood() -> None:
    """Before the block, right behind it, and between the two `finished`."""

    def edited(profile: Profile) -> Profile:
        return (
            profile.insert_after("suite", note("early", RESPONDER, needs=Stage.NOTHING))
            .insert_after("responder-key-share", note("keyed", RESPONDER, needs=Stage.KEYS))
            .insert_before("initiator-finished", note("known"))
        )

    for suites, block in (
        (
            [XX],
            ("early", "noise-0", "noise-1", "noise-2", "keyed", "responder-finished", "known", "initiator-finished"),
        ),
        ([SIGNED], None),
    ):
        ends = Pair(edited(side(INITIATOR, suites)), edited(side(RESPONDER, suites)), close=False).run()
        assert ends.initiator.session.steps == ends.responder.session.steps
        assert block is None or ends.initiator.session.steps[5:] == block
        talk(ends)


def test_the_names_of_the_messages_are_taken_where_there_may_be_some() -> None:
    with pytest.raises(LocalProtocolError, match="the name 'noise-3' is taken"):
        side(INITIATOR, [SIGNED, XX]).insert_before("initiator-finished", note("noise-3"))
    side(INITIATOR, [SIGNED]).insert_before("initiator-finished", note("noise-3"))


# ---------------------------------------------------------------- trust


def test_the_policy_decides_on_the_static_key() -> None:
    store = InMemoryKnownPeers()
    policy = trust.known_peers(store, name="them", accept_new=True)
    talk(ran([XX], initiator={"trust": trust.pinned(STATIC[RESPONDER])}, responder={"trust": policy}))
    assert store.lookup("them") == {STATIC[INITIATOR].peer_id}
    ends = ran([XX], initiator={"trust": trust.pinned(STATIC[INITIATOR])})
    assert isinstance(ends.initiator.error, AuthenticationFailed)
    assert isinstance(ends.responder.error, HandshakeError)
    ends = ran([XX], initiator={"noise_remote_static": STATIC[INITIATOR].data})
    assert "not the one that was given" in str(ends.initiator.error)


def test_the_application_is_asked() -> None:
    asked: list[Any] = []

    def answer(question: Any) -> None:
        asked.append(question.peer.public_key)
        question.accept()

    talk(ran([XX], initiator={"trust": trust.ask()}, responder={"trust": trust.ask()}, answer=answer))
    assert asked == [STATIC[RESPONDER], STATIC[INITIATOR]]


def test_a_policy_that_trusts_no_static_key_offers_no_noise_protocol() -> None:
    with pytest.raises(ValueError, match="trusts no noise-static-25519 key"):
        side(INITIATOR, [XX], trust=trust.pinned(OTHER.public))
    with pytest.raises(ValueError, match="trusts no noise-static-25519 key"):
        side(INITIATOR, [SIGNED, XX], trust=trust.pinned(OTHER.public))


def test_a_policy_that_trusts_static_keys_alone_offers_no_other_suite() -> None:
    only = {"trust": trust.pinned(STATIC[RESPONDER])}
    ends = ran([SIGNED, XX], [SIGNED, XX], initiator=only)
    assert ends.initiator.session.suite == XX
    assert SIGNED.encode() not in frames(ends.initiator.flights[0])[1]


@pytest.mark.parametrize("pattern", ["NN", "NK", "NX"])
def test_a_pattern_that_authenticates_nobody_is_never_selected_where_the_policy_wants_somebody(pattern: str) -> None:
    name = f"Noise_{pattern}_25519_ChaChaPoly_SHA256"
    keys = {"noise_remote_static": STATIC[RESPONDER].data} if pattern == "NK" else {}
    if pattern == "NN":
        with pytest.raises(ValueError, match="authenticates nobody, but the trust policy wants somebody"):
            side(RESPONDER, [name, SIGNED])
        listener: dict[str, Any] = {"trust": trust.anyone()}
        dialer: dict[str, Any] = {"trust": trust.anyone(anonymous=True)}
        ends = Pair(side(INITIATOR, [name], **dialer), side(RESPONDER, [SIGNED], **listener), close=False).run()
    else:
        with pytest.raises(
            ValueError, match=f"none of the suites can be used as responder: in {name} the initiator has no"
        ):
            Handshake(RESPONDER, side(RESPONDER, [name], **keys))
        ends = ran([name], [name, SIGNED], initiator=keys, responder=keys)
    assert isinstance(ends.responder.error, NegotiationFailed)
    assert "no cipher suite in common" in str(ends.responder.error)


def test_where_nobody_is_welcome_too_it_is_selected() -> None:
    anybody = {"trust": trust.anyone(anonymous=True)}
    ends = ran(["Noise_NN_25519_ChaChaPoly_SHA256"], initiator=anybody, responder=anybody)
    assert ends.initiator.session.peer is ends.responder.session.peer is ANONYMOUS
    ends = ran(["Noise_NX_25519_ChaChaPoly_SHA256"], initiator=anybody, responder=anybody)
    assert getattr(ends.initiator.session.peer, "public_key", None) == STATIC[RESPONDER]
    assert ends.responder.session.peer is ANONYMOUS
    talk(ends)


def test_an_identity_that_the_peer_cannot_verify_leaves_the_noise_protocol() -> None:
    """The listener prefers signatures, but the dialer trusts no scheme of its identity."""
    policy = trust.pinned(Identity.generate("ecdsa-p256-sha256").public, STATIC[RESPONDER])
    ends = ran([SIGNED, XX], [SIGNED, XX], initiator={"trust": policy})
    assert ends.responder.session.suite == XX


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Noise_X_25519_ChaChaPoly_SHA256", "it is one-way, or falls back"),
        ("Noise_XXfallback_25519_ChaChaPoly_SHA256", "it is one-way, or falls back"),
        ("Noise_IX_25519_ChaChaPoly_SHA256", "the initiator does not prove its static key in its messages"),
        ("Noise_KK_25519_ChaChaPoly_SHA256", "needs noise_remote_static=, the peer's static key"),
        ("Noise_XXpsk3_25519_ChaChaPoly_SHA256", "takes 1 psks, not 0"),
        ("Noise_XX_448_ChaChaPoly_SHA256", "noise_static: a 448 public key has 56 bytes"),
        ("Noise_XX_25519_ChaChaPoly_SHA1", "no hash 'SHA1'"),
        ("X25519_NOTHING", "no suite 'X25519_NOTHING'; use one of"),
    ],
)
def test_what_cannot_be_a_suite(name: str, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        side(INITIATOR, [SIGNED, name])
    assert text in str(caught.value)


def test_a_suite_needs_a_static_key() -> None:
    with pytest.raises(ValueError, match="needs noise_static=, its static key"):
        profiles.nautilus(identity=ME, trust=trust.anyone(), suites=[XX])


# ---------------------------------------------------------------- bad input


def test_a_payload_is_refused() -> None:
    def add(fields: list[Any]) -> None:
        fields[1] += b"!"

    ends = ran([XX], tamper=altered("noise-0", add))
    assert isinstance(ends.responder.error, InvalidMessage)
    assert "a payload in a Noise message" in str(ends.responder.error)


@pytest.mark.parametrize("name", ["hello", "suites", "hello-response", "suite"])
def test_whoever_touches_the_negotiation_changes_the_prologue(name: str) -> None:
    def touch(fields: list[Any]) -> None:
        place = {"hello": 3, "suites": 2, "hello-response": 3, "suite": 2}[name]
        value = fields[place]
        fields[place] = bytes(32) if isinstance(value, bytes) else value[:-1]

    ends = ran([XX], tamper=altered(name, touch))
    assert isinstance(ends.initiator.error, (InvalidMessage, NegotiationFailed))
    assert not ends.responder.completed


def test_every_flipped_byte_of_the_noise_messages_is_noticed() -> None:
    whole = ran([XX])
    for role, number in ((INITIATOR, 1), (RESPONDER, 1), (INITIATOR, 2)):
        flight = (whole.initiator if role is INITIATOR else whole.responder).flights[number]
        for place in range(0, len(flight), 4):

            def tamper(sender: Role, count: int, data: bytes, at: Any = (role, number, place)) -> bytes:
                if (sender, count) != at[:2]:
                    return data
                return data[: at[2]] + bytes((data[at[2]] ^ 0x20,)) + data[at[2] + 1 :]

            ends = ran([XX], tamper=tamper)
            assert not (ends.initiator.completed and ends.responder.completed)
            for error in (ends.initiator.error, ends.responder.error):
                assert error is None or isinstance(error, HandshakeError)


def test_a_noise_message_that_is_none() -> None:
    ends = ran([XX], tamper=altered("noise-0", put(1, b"short")))
    assert isinstance(ends.responder.error, InvalidMessage)
    ends = ran([XX], tamper=altered("noise-0", put(0, "noise-1")))
    assert "unexpected message" in str(ends.responder.error)


def test_after_a_failure_no_keys_are_left() -> None:
    ends = ran([XX], responder={"trust": trust.pinned(STATIC[RESPONDER])})
    assert isinstance(ends.responder.error, AuthenticationFailed)
    for step in ends.responder.handshake.steps:
        if step.name in NOISE_MESSAGES:
            state = step._exchange.state  # type: ignore[attr-defined]
            assert not state._symmetric.cipher.has_key()
    assert ends.responder.handshake.session is None


def test_a_block_is_replaced_by_built_in_steps_alone() -> None:
    def edit(context: Any) -> None:
        context.steps.replace_block(["initiator-finished"], [])

    ends = Pair(
        side(INITIATOR, [SIGNED]).insert_after("suite", note("mine", RESPONDER, needs=Stage.NOTHING, commit=edit)),
        side(RESPONDER, [SIGNED]).insert_after("suite", note("mine", RESPONDER, needs=Stage.NOTHING, commit=edit)),
        close=False,
    ).run()
    assert isinstance(ends.responder.error, LocalProtocolError)
    assert "is not built in: it replaces no block" in str(ends.responder.error)
