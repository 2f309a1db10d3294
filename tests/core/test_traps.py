"""The traps of this field, one section each: what other implementations fell into must not happen here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    Accepted,
    AlertCode,
    AuthenticationFailed,
    DataReceived,
    Entropy,
    Handshake,
    HandshakeError,
    Identity,
    InvalidMessage,
    KeyAgreementFailed,
    Limits,
    LocalProtocolError,
    NegotiationFailed,
    PeerAborted,
    PeerClosed,
    Profile,
    Role,
    Signal,
    State,
    trust,
)
from nautilus_core.crypto.groups import GROUPS
from nautilus_core.crypto.hashing import SHA256
from nautilus_core.crypto.key_schedule import KeySchedule
from nautilus_core.crypto.suites import SUITES
from nautilus_core.crypto.traffic_key import RECORDS_PER_KEY, TrafficKey
from nautilus_core.errors import HandshakeTimeout
from nautilus_core.steps.authentication import signed_content
from nautilus_core.testing import End, Pair, alert_of, byte_by_byte

from .helpers import (
    ALICE,
    BOB,
    FAST,
    MALLORY,
    alice,
    altered,
    begun,
    bob,
    both,
    channels,
    drain,
    frame,
    frames,
    packed,
    put,
    run,
    succeed,
)

both_roles = pytest.mark.parametrize("role", Role)


def end_of(pair: Pair, role: Role) -> End:
    return pair.initiator if role is INITIATOR else pair.responder


def run_with(role: Role, mine: Profile | Handshake, **options: Any) -> Pair:
    """A pair in which the end `role` is replaced."""
    return run(mine, bob(), **options) if role is INITIATOR else run(alice(), mine, **options)


# ---------------------------------------------------------------- 1. after any failure every call raises


@both_roles
@pytest.mark.parametrize("cause", ["garbage", "abort", "timeout", "end of stream"])
def test_trap_1_after_a_failure_there_is_one_alert_and_then_nothing_but_the_error(role: Role, cause: str) -> None:
    handshake = begun(role)
    handshake.deadline = 10.0
    handshake.data_to_send()
    causes: dict[str, Callable[[], None]] = {
        "garbage": lambda: handshake.receive_data(b"garbage garbage"),
        "abort": lambda: handshake.abort("enough"),
        "timeout": lambda: handshake.handle_timeout(10.0),
        "end of stream": lambda: handshake.receive_data(b""),
    }
    causes[cause]()
    with pytest.raises(HandshakeError) as caught:
        handshake.next_event()
    error = caught.value
    assert isinstance(error, HandshakeTimeout) is (cause == "timeout")
    assert [one[0] for one in frames(handshake.data_to_send())] == [0xE2]
    assert handshake.data_to_send() == b""
    assert handshake.session is None
    for call in (handshake.next_event, lambda: handshake.receive_data(b"x"), lambda: handshake.abort("again")):
        with pytest.raises(type(error)) as again:
            call()
        assert again.value is error


@both_roles
def test_trap_1_a_channel_that_has_failed_gives_nothing_more(role: Role) -> None:
    channel, other = channels(succeed(run(*both())))
    if role is RESPONDER:
        channel, other = other, channel
    other.send_data(b"before")
    sealed = bytes(other.data_to_send())
    channel.receive_data(sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    if role is INITIATOR:
        assert isinstance(channel.next_event(), Accepted)
    with pytest.raises(InvalidMessage) as caught:
        channel.next_event()
    assert channel.data_to_send()  # the alert
    assert channel.data_to_send() == b""
    calls: list[Callable[[], object]] = [
        channel.next_event,
        channel.close,
        channel.update_keys,
        lambda: channel.send_data(b"x"),
        lambda: channel.receive_data(sealed),
        lambda: channel.abort("again"),
    ]
    for call in calls:
        with pytest.raises(InvalidMessage) as again:
            call()
        assert again.value is caught.value


# ---------------------------------------------------------------- 2. forged data never moves a nonce


@pytest.mark.parametrize(
    "suite", ["X25519_AES128GCM_SHA256", "X25519_CHACHA20POLY1305_SHA256", "X25519_AES256GCM_SHA384"]
)
def test_trap_2_a_forgery_moves_no_nonce_and_none_is_used_twice(suite: str) -> None:
    secret = bytes(SUITES[suite].hash.digest_size)
    writing, reading = TrafficKey(SUITES[suite], secret), TrafficKey(SUITES[suite], secret)
    header = b"\xe3\0\0\x15"
    sealed = [writing.seal(b"equal", header) for _ in range(50)]
    assert len(set(sealed)) == 50
    for forged in (b"", bytes(16), sealed[1], sealed[0][:-1], sealed[0] + b"x"):
        with pytest.raises(InvalidMessage):
            reading.open(forged, header)
        assert reading.sequence == 0
    with pytest.raises(InvalidMessage):
        reading.open(sealed[0], b"\xe4\0\0\x15")
    for number, one in enumerate(sealed):
        assert reading.open(one, header) == b"equal"
        assert reading.sequence == number + 1
    with pytest.raises(InvalidMessage):
        reading.open(sealed[-1], header)


def test_trap_2_the_last_value_of_the_counter_is_refused_in_both_directions() -> None:
    key = TrafficKey(SUITES[FAST[0]], bytes(32))
    key.sequence = RECORDS_PER_KEY - 1
    sealed = key.seal(b"last", b"")
    with pytest.raises(LocalProtocolError, match="must be updated first"):
        key.seal(b"one too many", b"")
    key.sequence = RECORDS_PER_KEY - 1
    assert key.open(sealed, b"") == b"last"
    with pytest.raises(InvalidMessage, match="did not update its key in time"):
        key.open(sealed, b"")
    assert key.updated().sequence == 0
    assert key.updated().seal(b"last", b"") != sealed


@both_roles
def test_trap_2_the_two_directions_never_share_a_key(role: Role) -> None:
    schedule = KeySchedule(SUITES[FAST[0]], bytes(32), bytes(32))
    sealed = schedule.handshake_key(role).seal(b"x", b"")
    with pytest.raises(InvalidMessage):
        schedule.handshake_key(role.peer).open(sealed, b"")


# ---------------------------------------------------------------- 3. proofs


Forge = Callable[[Identity, bytes], bytes]

FORGERIES: dict[str, Forge] = {
    "tampered with": lambda identity, content: flip(identity.sign(content)),
    "empty": lambda identity, content: b"",
    "zeros": lambda identity, content: bytes(64),
    "cut short": lambda identity, content: identity.sign(content)[:-1],
    "made longer": lambda identity, content: identity.sign(content) + b"\0",
    "by another key": lambda identity, content: MALLORY.sign(content),
    "for the other role": lambda identity, content: identity.sign(swapped(content)),
    "for another session": lambda identity, content: identity.sign(content[:-80] + bytes(16) + content[-64:]),
    "without our context": lambda identity, content: identity.sign(content.lstrip(b" ")),
    "over nothing": lambda identity, content: identity.sign(b""),
}


def flip(data: bytes) -> bytes:
    return bytes((data[0] ^ 1,)) + data[1:]


def swapped(content: bytes) -> bytes:
    if b"initiator" in content:
        return content.replace(b"initiator", b"responder")
    return content.replace(b"responder", b"initiator")


class Forging(Entropy):
    """Signs something else, or with something else."""

    __slots__ = ("_forge",)

    def __init__(self, forge: Forge) -> None:
        self._forge = forge

    def sign(self, key: Any, message: bytes) -> bytes:
        return self._forge(key, message)


@both_roles
@pytest.mark.parametrize("forgery", FORGERIES)
def test_trap_3_a_forged_proof_fails(role: Role, forgery: str) -> None:
    profile = alice() if role is INITIATOR else bob()
    pair = run_with(role, Handshake(role, profile, entropy=Forging(FORGERIES[forgery])))
    judge = end_of(pair, role.peer)
    assert isinstance(judge.error, AuthenticationFailed)
    assert judge.error.alert == AlertCode.DECRYPT_ERROR
    assert judge.error.step == f"{role.value}-authentication"
    assert not judge.completed
    told_of(end_of(pair, role), AlertCode.DECRYPT_ERROR)


def told_of(end: End, code: AlertCode) -> None:
    """An end that was refused knows, in the handshake or in its channel."""
    if not end.completed:
        assert alert_of(end) == code
        return
    with pytest.raises(PeerAborted) as told:
        end.session.channel().next_event()
    assert told.value.code == code
    assert told.value.authenticated


@both_roles
@pytest.mark.parametrize("scheme", ["ecdsa-p256-sha256", "ml-dsa-65"])
@pytest.mark.parametrize("forgery", ["tampered with", "empty", "for the other role"])
def test_trap_3_in_other_schemes_too(role: Role, scheme: str, forgery: str) -> None:
    identity = Identity.generate(scheme)
    options: dict[str, Any] = {"identity": identity}
    mine = Handshake(role, (alice if role is INITIATOR else bob)(**options), entropy=Forging(FORGERIES[forgery]))
    policy = trust.pinned(identity.public)
    pair = run(mine, bob(trust=policy)) if role is INITIATOR else run(alice(trust=policy), mine)
    judge = end_of(pair, role.peer)
    assert isinstance(judge.error, AuthenticationFailed)
    assert judge.error.alert == AlertCode.DECRYPT_ERROR


class Replaying(Entropy):
    """Gives the signature that was made in another session, over the same credential and in the same role."""

    __slots__ = ("_signatures",)

    def __init__(self, signatures: list[bytes]) -> None:
        self._signatures = signatures

    def sign(self, key: Any, message: bytes) -> bytes:
        self._signatures.append(key.sign(message))
        return self._signatures[0]


@both_roles
def test_trap_3_a_proof_from_an_earlier_session_fails(role: Role) -> None:
    signatures: list[bytes] = []
    profile = alice() if role is INITIATOR else bob()
    succeed(run_with(role, Handshake(role, profile, entropy=Replaying(signatures))))
    pair = run_with(role, Handshake(role, profile, entropy=Replaying(signatures)))
    assert isinstance(end_of(pair, role.peer).error, AuthenticationFailed)


# ---------------------------------------------------------------- 4. downgrades


STRONG, WEAK = "X25519_AES256GCM_SHA384", "X25519_AES128GCM_SHA256"


@pytest.mark.parametrize(
    ("message", "index", "value"),
    [
        ("hello", 1, [1]),
        ("hello", 2, ["b"]),
        ("suites", 1, [WEAK]),
        ("suites", 2, ["ed25519"]),
        ("suites", 3, ["raw-public-key"]),
        ("hello-response", 2, "b"),
        ("suite", 1, WEAK),
        ("suite", 2, ["ed25519"]),
        ("suite", 3, ["raw-public-key"]),
    ],
)
def test_trap_4_stripping_the_negotiation_fails_on_both_sides(message: str, index: int, value: object) -> None:
    profiles = both(suites=(STRONG, WEAK), protocols=("a", "b"))
    pair = run(*profiles, tamper=altered(message, put(index, value)))
    for end in (pair.initiator, pair.responder):
        assert end.handshake.state is State.FAILED
        assert isinstance(end.error, HandshakeError)


def test_trap_4_nothing_ever_goes_out_in_plaintext_after_the_keys() -> None:
    pair = succeed(run(*both(protocols=("acme/private",))))
    sealed = b"".join(frames(pair.responder.flights[0])[3:] + frames(pair.initiator.flights[1]))
    for secret in (b"ed25519", b"raw-public-key", b"authentication", b"finished", ALICE.credential, BOB.credential):
        assert secret not in sealed


# ---------------------------------------------------------------- 5. unexpected messages


@both_roles
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("kind", ["injected", "duplicated", "dropped"])
def test_trap_5_a_message_too_many_or_too_few_aborts(role: Role, sealed: bool, kind: str) -> None:
    """Messages from `role`, before and behind the keys."""
    number = 1 if role is INITIATOR and sealed else 0

    def tamper(sender: Role, count: int, data: bytes) -> bytes:
        if (sender, count) != (role, number):
            return data
        all_frames = frames(data)
        place = 3 if sealed and role is RESPONDER else 0
        if kind == "injected":
            all_frames.insert(place, packed(["note", b"x"]))
        elif kind == "duplicated":
            all_frames.insert(place, all_frames[place])
        else:
            del all_frames[place]
        return b"".join(all_frames)

    pair = run(*both(), tamper=tamper)
    victim = end_of(pair, role.peer)
    assert isinstance(victim.error, InvalidMessage)
    assert not victim.completed
    expected = AlertCode.BAD_RECORD_MAC if sealed else AlertCode.UNEXPECTED_MESSAGE
    assert victim.error.alert == expected


def test_trap_5_nothing_from_before_authentication_survives_into_the_session() -> None:
    """A record that an attacker slips in before the end of the handshake is an error, not the session's first data."""

    def inject(sender: Role, count: int, data: bytes) -> bytes:
        return data + frame(b"evil", 0xE3) if (sender, count) == (INITIATOR, 0) else data

    pair = run(*both(), tamper=inject)
    assert isinstance(pair.responder.error, InvalidMessage)
    assert "a channel record in the middle of the handshake" in str(pair.responder.error)
    assert not pair.responder.completed


def test_trap_5_a_forged_record_behind_the_last_message_is_no_data() -> None:
    pair = run(*both(), tamper=lambda r, n, d: d + frame(bytes(20), 0xE3) if (r, n) == (INITIATOR, 1) else d)
    channel = pair.responder.session.channel()
    with pytest.raises(InvalidMessage, match="does not open"):
        channel.next_event()


# ---------------------------------------------------------------- 6. lengths


@both_roles
def test_trap_6_a_length_is_refused_before_anything_is_buffered_for_it(role: Role) -> None:
    handshake = begun(role)
    handshake.receive_data(b"\xe1\xff\xff\xff" + bytes(1000))
    with pytest.raises(InvalidMessage, match="announces 16777215") as caught:
        handshake.next_event()
    assert caught.value.alert == AlertCode.RECORD_OVERFLOW


@both_roles
def test_trap_6_empty_frames_are_no_way_to_keep_us_busy(role: Role) -> None:
    handshake = begun(role)
    handshake.receive_data(b"\xe1\0\0\0" * 10_000)
    with pytest.raises(InvalidMessage, match="malformed message"):
        handshake.next_event()


def test_trap_6_one_byte_reads_cost_linear_time() -> None:
    """Four times the bytes may cost four times the time, with some room; never sixteen times."""

    def seconds(length: int) -> float:
        handshake = begun(RESPONDER, limits=Limits(message=2**22, handshake=2**23))
        best = float("inf")
        for _ in range(3):
            handshake = begun(RESPONDER, limits=Limits(message=2**22, handshake=2**23))
            handshake.receive_data(b"\xe1" + length.to_bytes(3, "big"))
            start = time.thread_time()  # not the time of whoever else runs on this machine
            for _ in range(length - 1):
                handshake.receive_data(b"x")
                if handshake.next_event() is not Signal.NEED_DATA:
                    raise RuntimeError("the frame is not whole yet")
            best = min(best, time.thread_time() - start)
        return best

    small, large = seconds(10_000), seconds(40_000)
    assert large < small * 10


@both_roles
def test_trap_6_byte_by_byte_the_handshake_is_the_same(role: Role) -> None:
    pair = succeed(run(*both(), split=byte_by_byte))
    assert end_of(pair, role).session.steps == end_of(succeed(run(*both())), role).session.steps


# ---------------------------------------------------------------- 7. work before authentication


@pytest.mark.parametrize(
    ("message", "index", "length"),
    [
        ("hello", 3, 33),
        ("initiator-key-share", 2, 4097),
        ("responder-key-share", 2, 4097),
        ("hello-response", 3, 33),
    ],
)
def test_trap_7_sizes_are_bounded_by_the_types(message: str, index: int, length: int) -> None:
    pair = run(*both(), tamper=altered(message, put(index, bytes(length))))
    judge = pair.responder if message in ("hello", "initiator-key-share") else pair.initiator
    assert isinstance(judge.error, InvalidMessage)
    assert judge.error.alert == AlertCode.DECODE_ERROR


class CountingEntropy(Entropy):
    """Counts private-key operations."""

    __slots__ = ("drawn",)

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def ephemeral_key(self, algorithm: str) -> Any:
        self.drawn.append(algorithm)
        return super().ephemeral_key(algorithm)

    def sign(self, key: Any, message: bytes) -> bytes:
        self.drawn.append("sign")
        return super().sign(key, message)


def test_trap_7_a_stranger_makes_a_responder_compute_at_most_one_key_and_one_signature() -> None:
    entropy = CountingEntropy()
    responder = Handshake(RESPONDER, bob(), entropy=entropy)
    first = begun(INITIATOR).data_to_send()
    responder.receive_data(first + first * 3)
    with pytest.raises(HandshakeError):
        drain(responder)
    assert entropy.drawn == ["X25519", "sign"]


def test_trap_7_nothing_is_computed_for_whom_we_cannot_agree_with() -> None:
    entropy = CountingEntropy()
    pair = run(alice(suites=("P256_AES128GCM_SHA256",)), Handshake(RESPONDER, bob(), entropy=entropy))
    assert isinstance(pair.responder.error, NegotiationFailed)
    assert entropy.drawn == []


# ---------------------------------------------------------------- 8. low-order points

LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (2**255 - 19 - 1).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 19 + 1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


@both_roles
@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point[:4].hex())
@pytest.mark.parametrize("suite", ["X25519_AES128GCM_SHA256", "X25519MLKEM768_AES256GCM_SHA384"])
def test_trap_8_low_order_points_fail_at_every_key_agreement(role: Role, point: bytes, suite: str) -> None:
    name = f"{role.value}-key-share"

    def replace_point(fields: list[Any]) -> None:
        fields[2] = fields[2][:-32] + point

    pair = run(*both(suites=(suite,)), tamper=altered(name, replace_point))
    judge = end_of(pair, role.peer)
    assert isinstance(judge.error, KeyAgreementFailed)
    assert "all-zero secret" in str(judge.error)
    assert alert_of(end_of(pair, role)) == AlertCode.BAD_KEY_SHARE


@pytest.mark.parametrize("name", GROUPS)
def test_trap_8_shares_of_the_wrong_length_fail(name: str) -> None:
    group, entropy = GROUPS[name], Entropy()
    private_key, share = group.generate(entropy)
    _, response = group.encapsulate(entropy, share)
    for wrong in (b"", share[:-1], share + b"\0"):
        with pytest.raises(KeyAgreementFailed, match="wrong length"):
            group.encapsulate(entropy, wrong)
    for wrong in (b"", response[:-1], response + b"\0"):
        with pytest.raises(KeyAgreementFailed, match="wrong length"):
            group.decapsulate(private_key, wrong)


# ---------------------------------------------------------------- 9. what is signed


def test_trap_9_what_is_signed_begins_with_our_context_and_the_role() -> None:
    seen: list[bytes] = []

    def look(identity: Identity, content: bytes) -> bytes:
        seen.append(content)
        return identity.sign(content)

    initiator, responder = (
        Handshake(INITIATOR, alice(), entropy=Forging(look)),
        Handshake(RESPONDER, bob(), entropy=Forging(look)),
    )
    succeed(run(initiator, responder))
    assert [content[:64] for content in seen] == [b" " * 64] * 2
    assert seen[0][64:].startswith(b"nautilus/1 responder authentication\0")
    assert seen[1][64:].startswith(b"nautilus/1 initiator authentication\0")
    assert all(len(content) == 64 + 36 + 32 + 32 for content in seen)
    with pytest.raises(InvalidSignature):
        raise_unless(ALICE.public.verify(ALICE.sign(seen[1]), seen[1][64:]))


def raise_unless(valid: bool) -> None:
    if not valid:
        raise InvalidSignature


def test_trap_9_no_two_fields_of_what_is_signed_can_be_shifted_into_each_other() -> None:
    def content(kind: str, scheme: str, credential: bytes) -> bytes:
        return signed_content(INITIATOR, bytes(32), SHA256, kind, scheme, credential)

    contents = [
        content("a", "b", b"c"),
        content("ab", "", b"c"),
        content("", "ab", b"c"),
        content("a", "", b"bc"),
        content("", "", b"abc"),
    ]
    assert len(set(contents)) == len(contents)


# ---------------------------------------------------------------- 10. reflection


def test_trap_10_an_initiator_that_hears_itself_aborts() -> None:
    initiator = Handshake(INITIATOR, alice())
    drain(initiator)
    initiator.receive_data(initiator.data_to_send())
    with pytest.raises(InvalidMessage, match=r"unexpected message; .* got the message 'hello'"):
        initiator.next_event()


def test_trap_10_our_own_nonce_or_share_in_the_answer_aborts() -> None:
    sent: dict[str, Any] = {}

    def remember(name: str, index: int) -> Callable[[Role, int, bytes], bytes]:
        def change(fields: list[Any]) -> None:
            if fields[0] in ("hello", "initiator-key-share"):
                sent[fields[0]] = fields[index]
            else:
                fields[index] = sent["hello" if name == "hello-response" else "initiator-key-share"]

        def tamper(role: Role, number: int, data: bytes) -> bytes:
            source = "hello" if name == "hello-response" else "initiator-key-share"
            return altered(source if role is INITIATOR else name, change)(role, number, data)

        return tamper

    pair = run(*both(), tamper=remember("hello-response", 3))
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert "our own nonce came back" in str(pair.initiator.error)
    pair = run(*both(), tamper=remember("responder-key-share", 2))
    assert isinstance(pair.initiator.error, KeyAgreementFailed)
    assert "our own key share came back" in str(pair.initiator.error)
    assert alert_of(pair.responder) == AlertCode.BAD_KEY_SHARE


@both_roles
def test_trap_10_a_reflected_sealed_message_does_not_open(role: Role) -> None:
    """Each direction has its own key: what an end has sealed itself is nothing to it."""
    mine: dict[Role, bytes] = {}

    def reflect(sender: Role, number: int, data: bytes) -> bytes:
        if (sender, number) == (RESPONDER, 0):
            mine[RESPONDER] = frames(data)[3]
        if (sender, number) == (INITIATOR, 1) and role is RESPONDER:
            return mine[RESPONDER] + data
        return data

    if role is RESPONDER:
        pair = run(*both(), tamper=reflect)
        assert isinstance(pair.responder.error, InvalidMessage)
        assert pair.responder.error.alert == AlertCode.BAD_RECORD_MAC
        return
    pair = succeed(run(*both()))
    channel = pair.initiator.session.channel()
    channel.send_data(b"mine")
    channel.next_event()
    channel.receive_data(channel.data_to_send())
    with pytest.raises(InvalidMessage, match="does not open"):
        channel.next_event()


@both_roles
def test_trap_10_somebody_with_our_own_key_is_refused_unless_trusted(role: Role) -> None:
    """A reflection of the whole handshake by somebody who relays: our own identity is nobody we pinned."""
    mine = alice(identity=BOB) if role is INITIATOR else bob(identity=ALICE)
    pair = run_with(role, mine)
    assert isinstance(end_of(pair, role.peer).error, AuthenticationFailed)


# ---------------------------------------------------------------- 11. the end of the stream


@both_roles
def test_trap_11_an_end_of_the_stream_is_not_a_close(role: Role) -> None:
    channel, other = channels(succeed(run(*both())))
    if role is RESPONDER:
        channel, other = other, channel
    other.send_data(b"all there is")
    channel.receive_data(other.data_to_send())
    channel.receive_data(b"")
    if role is INITIATOR:
        assert isinstance(channel.next_event(), Accepted)
    assert isinstance(channel.next_event(), DataReceived)
    with pytest.raises(PeerAborted, match="the stream ended without a close"):
        channel.next_event()


@both_roles
def test_trap_11_a_close_is_authenticated(role: Role) -> None:
    channel, other = channels(succeed(run(*both())))
    if role is RESPONDER:
        channel, other = other, channel
    other.close()
    close = bytes(other.data_to_send())
    channel.receive_data(close)
    channel.receive_data(b"")
    if role is INITIATOR:
        assert isinstance(channel.next_event(), Accepted)
    for _ in range(3):
        assert isinstance(channel.next_event(), PeerClosed)
    first, second = channels(succeed(run(*both())))
    fresh = first if role is INITIATOR else second
    if role is INITIATOR:
        assert isinstance(fresh.next_event(), Accepted)
    fresh.receive_data(close)
    with pytest.raises(InvalidMessage, match="does not open"):
        fresh.next_event()


# ---------------------------------------------------------------- 12. identity


@both_roles
def test_trap_12_identity_comes_from_the_verified_key_alone(role: Role) -> None:
    """A claimed name (the target, an extension, another key in a payload) changes nothing."""
    pair = succeed(
        run(alice(target=MALLORY.peer_id, extensions={"name": b"mallory"}), bob(extensions={"name": b"mallory"}))
    )
    session = end_of(pair, role).session
    assert session.peer.peer_id == (BOB if role is INITIATOR else ALICE).peer_id


@both_roles
def test_trap_12_somebody_elses_credential_without_its_key_proves_nothing(role: Role) -> None:
    """Mallory presents the pinned credential and signs with a key of its own."""
    impostor = presenting((ALICE if role is INITIATOR else BOB).credential)
    pair = run_with(role, (alice if role is INITIATOR else bob)(identity=impostor))
    judge = end_of(pair, role.peer)
    assert isinstance(judge.error, AuthenticationFailed)
    assert "did not prove that it owns its key" in str(judge.error)


def presenting(credential: bytes) -> Identity:
    """Mallory's identity, with a credential that is not its own."""
    identity = Identity(MALLORY._private_key)  # type: ignore[arg-type]  # it has one
    identity.credential = credential
    return identity


@both_roles
@pytest.mark.parametrize("point", [(1).to_bytes(32, "little"), bytes(32)], ids=["neutral", "order 4"])
def test_trap_12_a_small_order_key_is_no_credential(role: Role, point: bytes) -> None:
    """Under these keys one constant signature verifies over anything."""
    forgery = (1).to_bytes(32, "little") + bytes(32)
    profile = (alice if role is INITIATOR else bob)(identity=presenting(point))
    mine = Handshake(role, profile, entropy=Forging(lambda identity, content: forgery))
    pair = run(mine, bob(trust=trust.anyone())) if role is INITIATOR else run(alice(trust=trust.anyone()), mine)
    judge = end_of(pair, role.peer)
    assert isinstance(judge.error, AuthenticationFailed)
    assert judge.error.alert == AlertCode.BAD_CERTIFICATE
