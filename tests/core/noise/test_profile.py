"""`profiles.noise` on the engine: keys that are needed, trust, payload hooks, sessions, recordings, all patterns."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    AuthenticationFailed,
    ClaimedPeer,
    DataReceived,
    Handshake,
    HandshakeError,
    InMemoryKnownPeers,
    InvalidMessage,
    KeyAgreementFailed,
    LocalProtocolError,
    PeerIdentified,
    PublicKey,
    Question,
    StepCompleted,
    TrustPolicy,
    VerifiedPeer,
    profiles,
    trust,
)
from nautilus_core.identity.peers import verify_key_agreement
from nautilus_core.noise import KeyPair, NoiseMessage, NoiseView, handshake_pattern
from nautilus_core.steps.noise_suite import make_suites
from nautilus_core.testing import Pair, RecordingEntropy, ReplayingEntropy, byte_by_byte

from .helpers import ALL_NAMED, KEYS, PSK, SUITE, pair, profile

XX = f"Noise_XX_{SUITE}"
ALICE, BOB = KEYS["25519"][INITIATOR], KEYS["25519"][RESPONDER]
ALICE_KEY, BOB_KEY = PublicKey("noise-static-25519", ALICE.public), PublicKey("noise-static-25519", BOB.public)
MALLORY = X25519PrivateKey.generate()

EXPERIMENTAL = ("XXhfs", "IKhfs+psk2", "NNpsk0+psk1+psk2", "XXpsk0+psk1+psk2+psk3")


def ran(initiator: dict[str, Any], responder: dict[str, Any], name: str = XX, **options: Any) -> Pair:
    """Both ends of `name` with these arguments."""
    return Pair(
        profiles.noise(name, **initiator), profiles.noise(name, **responder), **{"close": False, **options}
    ).run()


def talk(ends: Pair, *, one_way: bool = False) -> None:
    """Data in each direction that the pattern has."""
    channels = {INITIATOR: ends.initiator.session.channel(), RESPONDER: ends.responder.session.channel()}
    for sender in (INITIATOR,) if one_way else (INITIATOR, RESPONDER):
        channels[sender].send_data(b"hello")
        channels[sender.peer].receive_data(channels[sender].data_to_send())
        assert channels[sender.peer].next_event() == DataReceived((b"hello",))


@pytest.mark.parametrize("name", ALL_NAMED)
def test_every_pattern_completes_and_knows_its_peers(name: str) -> None:
    ends = pair(name)
    pattern = handshake_pattern(name)
    one, other = ends.initiator.session, ends.responder.session
    assert one.channel_binding == other.channel_binding
    assert len(one.channel_binding) == 32
    assert one.steps == other.steps == tuple(str(message) for message in pattern.messages)
    assert one.suite == f"Noise_{name}_{SUITE}"
    talk(ends, one_way=pattern.one_way)
    for session, key in ((one, BOB_KEY), (other, ALICE_KEY)):
        proves = pattern.static_of(session.role.peer) and not (pattern.one_way and session.role is INITIATOR)
        expected: Any = key if proves else None
        assert getattr(session.peer, "public_key", None) == expected
        assert (session.peer is ANONYMOUS) is not proves


@pytest.mark.parametrize("name", EXPERIMENTAL)
def test_hybrids_and_several_psks(name: str) -> None:
    ends = pair(name, SUITE.replace("25519", "25519+MLKEM768") if "hfs" in name else SUITE, split=byte_by_byte)
    talk(ends)
    assert ends.initiator.session.channel_binding == ends.responder.session.channel_binding


def test_what_events_and_steps_say() -> None:
    ends = pair("XX")
    assert [event for event in ends.initiator.events if isinstance(event, StepCompleted)] == [
        StepCompleted("-> e", INITIATOR, 2 + 32, False),
        StepCompleted("<- e, ee, s, es", RESPONDER, 2 + 96, True),
        StepCompleted("-> s, se", INITIATOR, 2 + 64, True),
    ]
    steps = profile("XX", INITIATOR).make_steps()
    assert all(isinstance(step, NoiseMessage) for step in steps)
    noise: Any = steps
    assert [(step.index, step.source, step.destination) for step in noise] == [(0, 0, 0), (1, 2, 1), (2, 2, 5)]


def test_a_session_of_noise_binds_and_does_not_export() -> None:
    ends = pair("NN", "448_AESGCM_SHA512")
    session = ends.initiator.session
    assert len(session.channel_binding) == 64
    assert session.channel_binding == ends.responder.session.channel_binding
    with pytest.raises(LocalProtocolError, match="defines no exporter"):
        session.export("label", b"", 32)
    session.channel()
    for taken in (session.channel, session.datagrams):
        with pytest.raises(LocalProtocolError, match="taken already"):
            taken()


def test_the_keys_of_a_session_go_to_a_channel_or_to_datagrams() -> None:
    ends = pair("NN")
    one, other = ends.initiator.session.datagrams(), ends.responder.session.datagrams()
    assert other.open(one.seal(b"lossy")) == b"lossy"
    with pytest.raises(LocalProtocolError, match="taken already"):
        ends.initiator.session.channel()


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("pattern", "arguments", "text"),
    [
        ("XX", {"trust": trust.anyone()}, "the initiator needs static=, its static key"),
        ("XX", {"static": ALICE}, "must say whom it trusts: remote_static= pins the responder's key"),
        ("XX", {"static": ALICE, "trust": trust.anyone(), "psks": [PSK]}, "takes 0 psks, not 1"),
        ("XXpsk3", {"static": ALICE, "trust": trust.anyone()}, "takes 1 psks, not 0"),
        ("XXpsk3", {"static": ALICE, "trust": trust.anyone(), "psks": [b"short"]}, "a psk has 32 bytes"),
        ("NN", {"static": ALICE}, "does not take static="),
        ("NN", {"remote_static": ALICE.public}, "does not take remote_static="),
        ("NN", {"ephemeral": ALICE}, "does not take ephemeral="),
        ("NN", {"trust": trust.anyone()}, "authenticates nobody, but the trust policy wants somebody"),
        ("IK", {"static": ALICE}, "needs remote_static=, the peer's static key"),
        ("KK", {"remote_static": BOB.public}, "needs static="),
        ("X", {"static": ALICE, "remote_static": BOB.public, "trust": trust.pinned(ALICE_KEY)}, "must not"),
        ("XX", {"static": b"short", "trust": trust.anyone()}, "static: a 25519 private key has 32 bytes, not 5"),
        ("XX", {"static": X448PrivateKey.generate(), "trust": trust.anyone()}, "not a X448PrivateKey"),
        ("XX", {"static": ALICE, "remote_static": b"x"}, "remote_static: a 25519 public key has 32 bytes, not 1"),
        ("XX", {"static": ALICE, "remote_static": "text"}, "or its raw bytes, not a str"),
        ("XX", {"static": KeyPair(b"x", None), "trust": trust.anyone()}, "public key has 32 bytes, not 1"),
        ("XX", {"static": ALICE, "trust": trust.pinned(PublicKey("noise-static-448", bytes(56)))}, "trusts no noise-"),
        ("NN", {"payloads": {2: b""}}, "has no message 2"),
        ("NN", {"payloads": {0: "text"}}, "takes bytes, or a hook"),
        ("NN", {"rekey_after": 0}, "rekey_after is at least 1"),
    ],
)
def test_what_is_missing_or_superfluous_is_said(pattern: str, arguments: dict[str, Any], text: str) -> None:
    name = f"Noise_{pattern}_{SUITE}"
    if text == "must not":  # the recipient can be this, the sender cannot: its peer sends nothing to decide on
        made = profiles.noise(name, **arguments)
        with pytest.raises(ValueError, match="sends nothing: trust= has nothing to decide on"):
            Handshake(INITIATOR, made)
        return
    with pytest.raises(ValueError) as caught:
        profiles.noise(name, **arguments)
    assert text in str(caught.value)


def test_a_profile_for_one_role_is_refused_for_the_other() -> None:
    dialer = profiles.noise(f"Noise_NK_{SUITE}", remote_static=BOB.public)
    listener = profiles.noise(f"Noise_NK_{SUITE}", static=BOB)
    with pytest.raises(ValueError, match="the responder needs static="):
        Handshake(RESPONDER, dialer)
    with pytest.raises(ValueError, match="the initiator does not take static="):
        Handshake(INITIATOR, listener)
    assert Pair(dialer, listener, close=False).run().initiator.session.peer.peer_id == BOB_KEY.peer_id


def test_keys_are_objects_or_bytes() -> None:
    for name, key in (("25519", X25519PrivateKey.generate()), ("448", X448PrivateKey.generate())):
        for own in (key, key.private_bytes_raw(), bytearray(key.private_bytes_raw())):
            for peers in (key.public_key(), key.public_key().public_bytes_raw()):
                arguments = {"static": own, "remote_static": peers}
                ends = ran(arguments, arguments, f"Noise_KK_{name}_AESGCM_SHA512")
                assert ends.initiator.completed


def test_no_secret_in_the_repr_of_a_profile() -> None:
    secret = b"abcdefghijklmnopqrstuvwxyz012345"  # as it is in its own representation
    arguments: dict[str, Any] = {"static": secret, "psks": [secret], "payloads": {2: secret}, "trust": trust.anyone()}
    made = profiles.noise(f"Noise_XXpsk3_{SUITE}", **arguments)
    suite = profiles.nautilus(
        identity=ANONYMOUS,
        trust=trust.anyone(),
        suites=[f"Noise_XXpsk3_{SUITE}"],
        noise_static=secret,
        noise_psks=[secret],
    )
    step: Any = made.make_steps()[0]
    suites = make_suites([f"Noise_XXpsk3_{SUITE}"], secret, None, (secret,), trust.anyone())
    shapes = (made, step, step.settings, suite, suite.make_steps(), suites, [one.settings for one in suites.values()])
    for shown in (*map(repr, shapes), str(made)):
        assert secret.decode() not in shown
        assert secret.hex() not in shown


# ---------------------------------------------------------------- trust


def test_remote_static_alone_pins() -> None:
    good = {"static": ALICE, "remote_static": BOB.public}
    ends = ran(good, {"static": BOB, "remote_static": ALICE.public})
    assert ends.responder.session.peer.peer_id == ALICE_KEY.peer_id
    ends = ran(good, {"static": MALLORY, "trust": trust.anyone()})
    assert isinstance(ends.initiator.error, AuthenticationFailed)
    assert "not the one that was given" in str(ends.initiator.error)
    assert not ends.responder.completed
    assert len(ends.initiator.flights) == 1


def test_a_policy_pins_keys_and_peer_ids() -> None:
    for pin in (BOB_KEY, BOB_KEY.peer_id):
        arguments = {"static": ALICE, "trust": trust.pinned(pin)}
        assert ran(arguments, {"static": BOB, "trust": trust.anyone()}).initiator.completed
        ends = ran(arguments, {"static": MALLORY, "trust": trust.anyone()})
        assert isinstance(ends.initiator.error, AuthenticationFailed)
        assert "not a pinned one" in str(ends.initiator.error)


def test_a_key_is_verified_by_its_dh_and_by_nothing_else() -> None:
    session = ran(
        {"static": ALICE, "trust": trust.anyone()}, {"static": BOB, "trust": trust.anyone()}
    ).initiator.session
    peer = session.peer
    assert isinstance(peer, VerifiedPeer)
    assert (peer.credential_type, peer.public_key) == ("noise-static-25519", BOB_KEY)
    assert len(BOB_KEY.fingerprint) == 32
    assert BOB_KEY.peer_id.startswith("key:")
    assert len(BOB_KEY.words.split()) == 16
    assert not BOB_KEY.verify(bytes(64), b"")
    with pytest.raises(ValueError, match="a noise-static-25519 key has 32 bytes, not 31"):
        PublicKey("noise-static-25519", bytes(31))
    with pytest.raises(AuthenticationFailed, match="did not prove that it owns its static key"):
        verify_key_agreement("noise-static-25519", BOB_KEY, 0)


def test_known_peers_remember_a_static_key() -> None:
    store = InMemoryKnownPeers()
    policy = trust.known_peers(store, name="bob", accept_new=True)
    assert ran({"static": ALICE, "trust": policy}, {"static": BOB, "trust": trust.anyone()}).initiator.completed
    assert store.lookup("bob") == {BOB_KEY.peer_id}
    ends = ran({"static": ALICE, "trust": policy}, {"static": MALLORY, "trust": trust.anyone()})
    assert "another key than before" in str(ends.initiator.error)


@pytest.mark.parametrize("accept", [True, False])
def test_the_application_is_asked(accept: bool) -> None:
    asked: list[Any] = []

    def answer(question: Any) -> None:
        asked.append(question)
        if accept:
            question.accept()
        else:
            question.reject("no")

    ends = ran({"static": ALICE, "trust": trust.ask()}, {"static": BOB, "trust": trust.anyone()}, answer=answer)
    assert [type(one) for one in asked] == [PeerIdentified]
    assert asked[0].peer.public_key == BOB_KEY
    assert ends.initiator.completed is accept
    assert isinstance(ends.initiator.error, AuthenticationFailed) is not accept


def test_a_policy_that_admits_nobody_in_particular_is_asked_too() -> None:
    asked: list[Any] = []

    def answer(question: Any) -> None:
        asked.append(question.peer)
        question.accept()

    arguments = {"trust": trust.ask(anonymous=True)}
    ends = ran(arguments, arguments, f"Noise_NN_{SUITE}", answer=answer)
    assert ends.initiator.session.peer is ends.responder.session.peer is ANONYMOUS
    assert asked == [ANONYMOUS, ANONYMOUS]


LATE = ("KN", "KX", "IN", "IX", "KK1", "IK1", "X1N", "X1K", "X1K1", "X1X", "X1X1")
"""In these the initiator proves its static key with its first transport message."""


@pytest.mark.parametrize("name", LATE)
def test_a_claimed_peer_is_nobody_until_it_is_heard(name: str) -> None:
    store = InMemoryKnownPeers()
    policy = trust.known_peers(store, name="alice", accept_new=True)
    ends = Pair(profile(name, INITIATOR), profile(name, RESPONDER, trust=policy), close=False).run()
    session = ends.responder.session
    assert session.peer is ANONYMOUS
    assert store.lookup("alice") == frozenset()
    sender, receiver = ends.initiator.session.channel(), session.channel()
    receiver.receive_data(bytes((0, 20)) + bytes(20))
    with pytest.raises(InvalidMessage):
        receiver.next_event()
    assert session.peer is ANONYMOUS
    ends = Pair(profile(name, INITIATOR), profile(name, RESPONDER, trust=policy), close=False).run()
    session = ends.responder.session
    sender, receiver = ends.initiator.session.channel(), session.channel()
    sender.send_data(b"it is me")
    receiver.receive_data(sender.data_to_send())
    assert receiver.next_event() == DataReceived((b"it is me",))
    assert isinstance(session.peer, VerifiedPeer)
    assert session.peer.public_key == ALICE_KEY
    assert store.lookup("alice") == {ALICE_KEY.peer_id}


def test_somebody_who_claims_a_key_is_never_its_owner() -> None:
    """IX: Mallory sends Alice's public key, and has a session with Bob in which he is nobody."""
    bob = Handshake(RESPONDER, profiles.noise(f"Noise_IX_{SUITE}", static=BOB, remote_static=ALICE.public))
    bob.receive_data(bytes((0, 64)) + MALLORY.public_key().public_bytes_raw() + ALICE.public)
    while bob.session is None:
        bob.next_event()
    assert bob.session.peer is ANONYMOUS


def test_a_key_that_is_never_proved_is_nobodys() -> None:
    """A pattern of one's own that sends a static key and does nothing with it."""
    name, notation = f"Noise_Mine_{SUITE}", "-> e, s\n<- e, ee"
    with pytest.raises(ValueError, match="the initiator never proves its static key: it authenticates nobody"):
        Handshake(RESPONDER, profiles.noise(name, pattern=notation, trust=trust.anyone()))
    responder = {"pattern": notation, "trust": trust.anyone(anonymous=True)}
    ends = ran({"pattern": notation, "static": ALICE}, responder, name)
    sender, receiver = ends.initiator.session.channel(), ends.responder.session.channel()
    sender.send_data(b"x")
    receiver.receive_data(sender.data_to_send())
    assert receiver.next_event() == DataReceived((b"x",))
    assert ends.responder.session.peer is ANONYMOUS


@pytest.mark.parametrize("name", ["IK", "KK", "IKpsk1"])
def test_a_replayed_first_message_opens_a_session_that_is_of_no_use(name: str) -> None:
    """Source 1, as the page says: the peer has the author's name, and whoever replays can neither read nor write."""
    true = pair(name)
    victim = Handshake(RESPONDER, profile(name, RESPONDER))
    victim.receive_data(true.initiator.flights[0])
    while victim.session is None:
        victim.next_event()
    assert getattr(victim.session.peer, "public_key", None) == ALICE_KEY
    assert victim.session.channel_binding != true.responder.session.channel_binding
    sender, channel = true.initiator.session.channel(), victim.session.channel()
    channel.send_data(b"for Alice's eyes")
    with pytest.raises(InvalidMessage, match="does not decrypt"):
        _read(sender, channel.data_to_send())
    again = pair(name).initiator.session.channel()
    again.send_data(b"recorded as well")
    with pytest.raises(InvalidMessage, match="does not decrypt"):
        _read(channel, again.data_to_send())


def _read(channel: Any, data: bytes | bytearray) -> None:
    channel.receive_data(data)
    channel.next_event()


def test_a_claim_can_be_refused_at_once() -> None:
    asked: list[Any] = []

    def answer(question: Any) -> None:
        asked.append(question.peer)
        question.reject("not you")

    initiator, responder = {"static": ALICE, "trust": trust.anyone()}, {"static": BOB, "trust": trust.ask()}
    ends = ran(initiator, responder, f"Noise_IX_{SUITE}", answer=answer)
    assert asked == [ClaimedPeer("noise-static-25519", ALICE_KEY)]
    assert asked[0].peer_id == ALICE_KEY.peer_id
    assert ends.responder.flights == []
    assert isinstance(ends.responder.error, AuthenticationFailed)


def test_a_peer_that_changed_its_key_in_the_meantime_is_refused_when_it_is_heard() -> None:
    store = InMemoryKnownPeers()
    policy = trust.known_peers(store, name="alice", accept_new=True)
    for datagrams in (False, True):
        ends = Pair(profile("IX", INITIATOR), profile("IX", RESPONDER, trust=policy), close=False).run()
        store._peers["alice"] = frozenset({BOB_KEY.peer_id})
        session = ends.responder.session
        if datagrams:
            sealed = ends.initiator.session.datagrams().seal(b"x")
            receiver = session.datagrams()
            with pytest.raises(AuthenticationFailed, match="another key than before"):
                receiver.open(sealed)
            with pytest.raises(LocalProtocolError, match="does not receive"):
                receiver.open(sealed)
        else:
            sender, channel = ends.initiator.session.channel(), session.channel()
            sender.send_data(b"x")
            channel.receive_data(sender.data_to_send())
            for _ in range(2):
                with pytest.raises(AuthenticationFailed, match="another key than before"):
                    channel.next_event()
        assert session.peer is ANONYMOUS
        store._peers.clear()


class Forgetful(TrustPolicy):
    """Welcomes everybody; its store is broken."""

    def authorize(self, peer: Any, context: Any) -> None:
        return None

    def remember(self, peer: Any, context: Any) -> None:
        raise OSError("the disk is full")


@pytest.mark.parametrize("datagrams", [False, True])
def test_a_peer_that_cannot_be_remembered_is_not_read_on(datagrams: bool) -> None:
    """Its first message would be missing, and nobody would know whose the rest is."""
    ends = Pair(profile("IX", INITIATOR), profile("IX", RESPONDER, trust=Forgetful()), close=False).run()
    session = ends.responder.session
    if datagrams:
        one, receiver = ends.initiator.session.datagrams(), session.datagrams()
        with pytest.raises(OSError, match="the disk is full"):
            receiver.open(one.seal(b"first"))
        with pytest.raises(LocalProtocolError, match="does not receive"):
            receiver.open(one.seal(b"second"))
    else:
        sender, channel = ends.initiator.session.channel(), session.channel()
        sender.send_data(b"first")
        channel.receive_data(sender.data_to_send())
        with pytest.raises(OSError, match="the disk is full"):
            channel.next_event()
        sender.send_data(b"second")
        for call in (lambda: channel.receive_data(sender.data_to_send()), channel.next_event, channel.close):
            with pytest.raises(HandshakeError, match="interrupted"):
                call()
    assert session.peer is ANONYMOUS


# ---------------------------------------------------------------- payloads


class Quota(Question[int], frozen=True, kw_only=True):
    """A question of the tests."""

    tenant: bytes


class Hook:
    """Sends what it was made with, and keeps what it has seen."""

    def __init__(self, payload: bytes = b"") -> None:
        self.payload = payload
        self.seen: list[tuple[bytes, bytes, bytes | None, int, bytes | None]] = []

    def write(self, noise: NoiseView) -> bytes:
        self.seen.append((b"", noise.handshake_hash, noise.remote_static, noise.properties.source, noise.static))
        return self.payload

    def read(self, noise: NoiseView, payload: bytes) -> None:
        self.seen.append((payload, noise.handshake_hash, noise.remote_static, noise.properties.source, noise.static))
        noise.context.publish(payload.decode())


def test_payload_hooks_on_both_sides() -> None:
    hooks = [Hook(b"zero"), Hook(b"one"), Hook(b"two")]
    taking = [Hook(), Hook(), Hook()]
    initiator = {"static": ALICE, "trust": trust.anyone(), "payloads": {0: hooks[0], 1: taking[1], 2: hooks[2]}}
    responder = {"static": BOB, "trust": trust.anyone(), "payloads": {0: taking[0], 1: hooks[1], 2: taking[2]}}
    ends = ran(initiator, responder, split=byte_by_byte)
    assert dict(ends.initiator.session.results) == {"<- e, ee, s, es": "one"}
    assert dict(ends.responder.session.results) == {"-> e": "zero", "-> s, se": "two"}
    for index, (wrote, read) in enumerate(zip(hooks, taking, strict=True)):
        ((_, hash_there, _, source, static),) = wrote.seen
        ((payload, hash_here, remote, source_here, _),) = read.seen
        assert hash_there == hash_here
        assert source == source_here == (0, 2, 2)[index]
        assert payload == (b"zero", b"one", b"two")[index]
        assert remote == (None if index == 0 else static)


def test_bytes_are_payloads_and_what_no_hook_takes_is_a_result() -> None:
    payloads = {0: b"a", 1: b"b", 2: b"c"}
    arguments = {"trust": trust.anyone(), "payloads": payloads}
    ends = ran({"static": ALICE, **arguments}, {"static": BOB, "trust": trust.anyone()})
    assert dict(ends.responder.session.results) == {"-> e": b"a", "-> s, se": b"c"}
    assert dict(ends.initiator.session.results) == {}


class Asking:
    """Asks before it writes, and after it has read."""

    def write(self, noise: NoiseView) -> Generator[Question[Any], Any, bytes]:
        answer = yield from noise.context.ask(Quota(tenant=b"writing"))
        return b"%d" % answer

    def read(self, noise: NoiseView, payload: bytes) -> Generator[Question[Any], Any, None]:
        answer = yield from noise.context.ask(Quota(tenant=payload))
        noise.context.publish(answer)


def test_hooks_ask_questions() -> None:
    asked: list[Any] = []

    def answer(question: Any) -> None:
        asked.append(getattr(question, "tenant", None) or question.peer)
        if isinstance(question, Quota):
            question.answer(7)
        else:
            question.accept()

    payloads = {1: Asking(), 2: Asking()}
    ends = ran(
        {"static": ALICE, "trust": trust.ask(), "payloads": payloads},
        {"static": BOB, "trust": trust.ask(), "payloads": payloads},
        answer=answer,
    )
    assert ends.initiator.session.results["<- e, ee, s, es"] == 7
    assert ends.responder.session.results["-> s, se"] == 7
    kinds = [one if isinstance(one, bytes) else "peer" for one in asked]
    assert kinds == [b"writing", "peer", b"7", b"writing", "peer", b"7"]


def test_a_hook_that_gives_no_bytes_is_misuse() -> None:
    class Wrong(Hook):
        def write(self, noise: NoiseView) -> Any:
            return "text" if noise.peer is None else None

    arguments = {"trust": trust.anyone(), "payloads": {0: Wrong()}}
    ends = ran({"static": ALICE, **arguments}, {"static": BOB, "trust": trust.anyone()})
    assert isinstance(ends.initiator.error, LocalProtocolError)
    assert "step '-> e' must write bytes, not str" in str(ends.initiator.error)


def test_a_hook_refuses() -> None:
    class Refusing(Hook):
        def read(self, noise: NoiseView, payload: bytes) -> None:
            raise AuthenticationFailed("not this payload")

    responder = {"static": BOB, "trust": trust.anyone(), "payloads": {2: Refusing()}}
    ends = ran({"static": ALICE, "trust": trust.anyone()}, responder)
    assert isinstance(ends.responder.error, AuthenticationFailed)
    assert ends.responder.error.step == "-> s, se"
    assert ends.responder.handshake.session is None
    assert ends.responder.handshake.data_to_send() == b""


def test_a_hook_reads_what_a_welcome_peer_has_sent() -> None:
    """Where the policy asks, the hook waits for the answer."""
    hook = Hook(b"from a stranger")

    def answer(question: Any) -> None:
        assert hook.seen == []
        question.reject("not you")

    initiator = {"static": ALICE, "trust": trust.anyone(), "payloads": {2: b"from a stranger"}}
    ends = ran(initiator, {"static": BOB, "trust": trust.ask(), "payloads": {2: hook}}, answer=answer)
    assert isinstance(ends.responder.error, AuthenticationFailed)
    assert hook.seen == []


def test_a_handshake_that_fails_later_remembers_nobody_and_keeps_no_key() -> None:
    """The responder has proved its key in the second message; the third is never written."""

    class Refusing(Hook):
        def write(self, noise: NoiseView) -> bytes:
            assert noise.peer is not None
            raise AuthenticationFailed("not after all")

    store = InMemoryKnownPeers()
    policy = trust.known_peers(store, name="bob", accept_new=True)
    initiator = {"static": ALICE, "trust": policy, "payloads": {2: Refusing()}}
    ends = ran(initiator, {"static": BOB, "trust": trust.anyone()})
    assert isinstance(ends.initiator.error, AuthenticationFailed)
    assert store.lookup("bob") == frozenset()
    for step in ends.initiator.handshake.steps:
        state: Any = step._exchange.state  # type: ignore[attr-defined]
        assert state._failed
        assert not state._symmetric.cipher.has_key()


# ---------------------------------------------------------------- recordings, patterns of one's own, pipes


@pytest.mark.parametrize("name", ["XX", "IK", "NNpsk0", "KKpsk2", "XXhfs+psk3", "X"])
def test_a_recording_replays_without_the_keys(name: str) -> None:
    suite = SUITE.replace("25519", "25519+MLKEM1024") if "hfs" in name else SUITE
    entropies = {role: RecordingEntropy() for role in (INITIATOR, RESPONDER)}
    recorded = Pair(
        Handshake(INITIATOR, profile(name, INITIATOR, suite), entropy=entropies[INITIATOR]),
        Handshake(RESPONDER, profile(name, RESPONDER, suite), entropy=entropies[RESPONDER]),
        close=False,
    ).run()
    assert recorded.initiator.completed

    def again(role: Any) -> Handshake:
        changes: dict[str, Any] = {}
        if handshake_pattern(name).static_of(role):
            changes["static"] = KeyPair(KEYS["25519"][role].public, None)
        if handshake_pattern(name).has_psk:
            changes["psks"] = [bytes(32)]
        return Handshake(role, profile(name, role, suite, **changes), entropy=ReplayingEntropy(entropies[role].tape))

    replayed = Pair(again(INITIATOR), again(RESPONDER), close=False).run()
    assert replayed.initiator.flights == recorded.initiator.flights
    assert replayed.responder.flights == recorded.responder.flights
    assert replayed.initiator.session.channel_binding == recorded.initiator.session.channel_binding


def test_a_pattern_of_your_own() -> None:
    name = f"Noise_Mine_{SUITE}"
    notation = "-> e, s\n<- e, ee, se, psk\n->"
    arguments = {"pattern": notation, "psks": [PSK]}
    ends = ran({"static": ALICE, **arguments}, {"trust": trust.anyone(), **arguments}, name)
    assert ends.responder.session.peer.peer_id == ALICE_KEY.peer_id
    assert ends.responder.session.steps == ("-> e, s", "<- e, ee, se, psk", "->")


def test_noise_pipes() -> None:
    """Section 10.3: IK fails because Alice has an old key of Bob; he falls back to XX with her ephemeral key."""
    ephemeral = X25519PrivateKey.generate()

    class Kept(RecordingEntropy):
        def ephemeral_key(self, algorithm: str) -> Any:
            return ephemeral

    old = X25519PrivateKey.generate().public_key()
    alice = Handshake(INITIATOR, profiles.noise(f"Noise_IK_{SUITE}", static=ALICE, remote_static=old), entropy=Kept())
    alice.next_event()
    first = alice.data_to_send()
    bob = Handshake(RESPONDER, profiles.noise(f"Noise_IK_{SUITE}", static=BOB, trust=trust.anyone()))
    bob.receive_data(first)
    with pytest.raises(InvalidMessage, match="does not decrypt"):
        bob.next_event()
    ends = ran(
        {"static": ALICE, "trust": trust.anyone(), "ephemeral": ephemeral},
        {"static": BOB, "trust": trust.anyone(), "remote_ephemeral": first[2:34]},
        f"Noise_XXfallback_{SUITE}",
    )
    assert ends.initiator.session.peer.peer_id == BOB_KEY.peer_id
    assert ends.responder.session.peer.peer_id == ALICE_KEY.peer_id
    talk(ends)


# ---------------------------------------------------------------- bad input, through the engine


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"prologue": b"another"}, InvalidMessage),
        ({"psks": [bytes(32)]}, InvalidMessage),
        ({"static": MALLORY}, InvalidMessage),
        ({"remote_static": MALLORY.public_key()}, InvalidMessage),
    ],
)
def test_ends_that_differ_do_not_complete(change: dict[str, Any], error: type[HandshakeError]) -> None:
    ends = Pair(profile("KKpsk0", INITIATOR), profile("KKpsk0", RESPONDER, **change), close=False).run()
    assert isinstance(ends.responder.error, error)
    assert not ends.initiator.completed
    for call in (ends.responder.handshake.next_event, lambda: ends.responder.handshake.receive_data(b"x")):
        with pytest.raises(error):
            call()
    assert ends.responder.handshake.data_to_send() == b""


def test_reflected_messages() -> None:
    for name in ("NN", "XX", "NNpsk0", "KK", "KKpsk0", "IN"):
        alice = Handshake(INITIATOR, profile(name, INITIATOR))
        alice.next_event()
        sent = alice.data_to_send()
        alice.receive_data(sent)
        with pytest.raises((InvalidMessage, KeyAgreementFailed)):
            while alice.next_event() is not NEED_DATA:
                pass
        with pytest.raises((InvalidMessage, KeyAgreementFailed)):
            alice.next_event()


def test_flipping_any_byte_is_noticed() -> None:
    for name in ("NNpsk2", "XXpsk3", "IK"):
        whole = pair(name)
        for role, flights in ((INITIATOR, whole.initiator.flights), (RESPONDER, whole.responder.flights)):
            for number, flight in enumerate(flights):
                for place in range(2, len(flight), 5):
                    ends = pair(name, tamper=_flip(role, number, place))
                    assert ends.initiator.error or ends.responder.error or _differ(ends), (name, role, number, place)


def _flip(role: Any, number: int, place: int) -> Callable[[Any, int, bytes], bytes]:
    def tamper(sender: Any, count: int, data: bytes) -> bytes:
        if (sender, count) != (role, number):
            return data
        return data[:place] + bytes((data[place] ^ 1 << place % 8,)) + data[place + 1 :]

    return tamper


def _differ(ends: Pair) -> bool:
    """A message whose payload is not sealed yet can be altered: then the two hashes differ, or one end waits."""
    if not (ends.initiator.completed and ends.responder.completed):
        return True
    return ends.initiator.session.channel_binding != ends.responder.session.channel_binding
