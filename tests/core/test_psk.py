"""Pre-shared keys: what a session with one is, and everything that must not get through."""

from __future__ import annotations

import hashlib
import hmac
import struct
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Entropy,
    Handshake,
    HandshakeError,
    InvalidMessage,
    LocalProtocolError,
    NegotiationFailed,
    PeerAborted,
    PreSharedKey,
    Profile,
    Role,
    VerifiedPeer,
    profiles,
    trust,
)
from nautilus_core.crypto.hashing import HashFunction
from nautilus_core.testing import Pair, RecordingEntropy
from nautilus_core.transcript import ReplayDiverged, replay

from .helpers import (
    ALICE,
    BOB,
    BUILT_IN,
    HEADER,
    MALLORY,
    agreed,
    altered,
    both,
    channels,
    drain,
    frames,
    put,
    run,
    succeed,
)
from .transcript.recording import Recorded

SHA256 = "X25519_AES128GCM_SHA256"
SHA384 = "X25519_AES256GCM_SHA384"
KEY = bytes(range(32))
DECRYPT_ERROR = AlertCode.DECRYPT_ERROR


def key(identity: str = "office", secret: bytes = KEY, *, hash: str = "SHA256", **names: str) -> PreSharedKey:  # noqa: A002
    """A psk from Alice to Bob, unless `names` say otherwise."""
    return PreSharedKey(identity, secret, **{"initiator": "alice", "responder": "bob", **names}, hash=hash)


def side(name: str, *psks: PreSharedKey, **options: Any) -> Profile:
    """An end that says nothing of itself but by its psk, and wants no more."""
    defaults: dict[str, Any] = {"identity": ANONYMOUS, "trust": trust.psk(), "suites": (SHA256, SHA384)}
    return profiles.nautilus(**{**defaults, **options}, psks=psks or (key(),), psk_name=name)


def refused(pair: Pair, kind: type[HandshakeError] = AuthenticationFailed) -> HandshakeError:
    """What the responder says, having told the initiator `decrypt error` and no more, before anything is sealed."""
    error, told = pair.responder.error, pair.initiator.error
    assert isinstance(error, kind)
    assert isinstance(told, PeerAborted)
    assert told.code == DECRYPT_ERROR
    assert pair.responder.flights == [bytes.fromhex("e2000003") + bytes((0x92, DECRYPT_ERROR, 0xC0))]
    return error


# ------------------------------------------------------------------------------------------------- what a session is


def test_both_ends_may_be_anonymous_and_the_session_says_which_psk() -> None:
    pair = succeed(run(side("alice"), side("bob")))
    assert pair.initiator.session.psk == pair.responder.session.psk == "office"
    assert pair.initiator.session.peer is pair.responder.session.peer is ANONYMOUS
    assert pair.initiator.session.steps == (
        *BUILT_IN[:3], "psk-offer", "psk-binders", *BUILT_IN[3:5], "psk", *BUILT_IN[5:]
    )  # fmt: skip
    mine, theirs = channels(pair)
    mine.send_data(b"hello")
    theirs.receive_data(mine.data_to_send())
    assert theirs.next_event().data == b"hello"  # type: ignore[union-attr]  # a signal has no data


@pytest.mark.parametrize(
    ("first", "second"), [(ALICE, ANONYMOUS), (ANONYMOUS, BOB), (ALICE, BOB)], ids=["initiator", "responder", "both"]
)
def test_each_side_may_add_a_signature(first: Any, second: Any) -> None:
    pair = succeed(run(side("alice", identity=first), side("bob", identity=second)))
    for end, peer in ((pair.initiator, second), (pair.responder, first)):
        assert end.session.psk == "office"
        if peer is ANONYMOUS:
            assert end.session.peer is ANONYMOUS
        else:
            assert isinstance(end.session.peer, VerifiedPeer)
            assert end.session.peer.peer_id == peer.peer_id


def test_a_policy_may_want_a_signature_beside_the_psk() -> None:
    both_wanted = trust.all_of(trust.psk(), trust.pinned(ALICE.public))
    succeed(run(side("alice", identity=ALICE), side("bob", trust=both_wanted)))
    for stranger in (ANONYMOUS, MALLORY):
        pair = run(side("alice", identity=stranger), side("bob", trust=both_wanted))
        assert not agreed(pair)
        errors = pair.responder.error, pair.initiator.error
        assert any(isinstance(error, (AuthenticationFailed, NegotiationFailed)) for error in errors)


def test_a_policy_may_want_one_psk_of_several() -> None:
    psks = key(), key("lab")
    succeed(run(side("alice", *psks), side("bob", *psks, trust=trust.psk("office", "other"))))
    pair = run(side("alice", *psks), side("bob", *psks, trust=trust.psk("lab")))
    assert isinstance(pair.responder.error, AuthenticationFailed)
    assert "'lab'" in str(pair.responder.error)
    assert "'office'" in str(pair.responder.error)


def test_a_policy_may_want_a_psk_or_a_signature() -> None:
    either = trust.any_of(trust.psk("office"), trust.pinned(ALICE.public))
    psks = key("lab"), key("office")
    for identity, psk, welcome in (
        (ANONYMOUS, psks[1], True),
        (ALICE, psks[0], True),
        (MALLORY, psks[1], True),
        (ANONYMOUS, psks[0], False),
        (MALLORY, psks[0], False),
    ):
        pair = run(side("alice", psk, identity=identity), side("bob", *psks, trust=either))
        assert pair.responder.completed == welcome
        assert welcome or isinstance(pair.responder.error, AuthenticationFailed)


def test_without_a_psk_the_policy_is_not_satisfied() -> None:
    first, second = both(trust=trust.psk())
    pair = run(first, second)
    assert isinstance(pair.initiator.error, AuthenticationFailed)
    assert "no pre-shared key" in pair.initiator.error.message


def test_other_policies_do_not_take_the_psk_for_an_identity() -> None:
    pair = run(side("alice", trust=trust.pinned(BOB.public)), side("bob"))
    assert isinstance(pair.initiator.error, PeerAborted)
    assert isinstance(pair.responder.error, NegotiationFailed)


@pytest.mark.parametrize("suite", [SHA256, SHA384, "X25519MLKEM768_AES256GCM_SHA384", "Noise_NN_25519_AESGCM_SHA256"])
def test_every_kind_of_suite(suite: str) -> None:
    psks = key(), key(hash="SHA384")
    used = [psk for psk in psks if psk.hash == suite.rpartition("_")[2]]
    pair = succeed(
        run(side("alice", *used, suites=[suite]), side("bob", *psks, suites=dict.fromkeys([suite, SHA384, SHA256])))
    )
    assert (pair.initiator.session.suite, pair.initiator.session.psk) == (suite, "office")


def test_only_suites_with_the_hash_of_the_psk_are_offered_or_selected() -> None:
    pair = succeed(run(side("alice", key(hash="SHA384"), suites=[SHA256, SHA384]), side("bob", key(hash="SHA384"))))
    assert pair.initiator.session.suite == SHA384
    sent = frames(pair.initiator.flights[0])[1]
    assert SHA384.encode() in sent
    assert SHA256.encode() not in sent
    two = key("a"), key("b", hash="SHA384")
    pair = succeed(run(side("alice", *two), side("bob", two[1], key("other"), suites=[SHA256, SHA384])))
    assert (pair.initiator.session.suite, pair.initiator.session.psk) == (SHA384, "b")
    pair = succeed(run(side("alice", *two), side("bob", *two, suites=[SHA384, SHA256])))
    assert pair.initiator.session.psk == "b"  # the responder's order of suites, then the initiator's of psks


def test_a_retried_share() -> None:
    first = side("alice", suites=["P256_AES128GCM_SHA256", SHA256])
    pair = succeed(run(first, side("bob", suites=[SHA256])))
    steps = pair.initiator.session.steps
    assert steps.index("psk") + 1 == steps.index("initiator-key-share-retry")


def test_a_node_with_a_psk_for_each_direction_plays_both_roles() -> None:
    there, back = key(), key(initiator="bob", responder="alice")
    one, other = side("alice", there, back), side("bob", there, back)
    succeed(run(one, other))
    succeed(run(other, one))


def test_the_psk_goes_into_every_key_and_two_sessions_share_none() -> None:
    sessions = [succeed(run(side("alice"), side("bob"))).initiator.session for _ in range(2)]
    assert sessions[0].channel_binding != sessions[1].channel_binding


# ------------------------------------------------------------------------------------------------------ the value


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"key": bytes(15)}, "16 to 1024 bytes"),
        ({"key": bytes(1025)}, "16 to 1024 bytes"),
        ({"key": b""}, "16 to 1024 bytes"),
        ({"identity": ""}, "identity"),
        ({"identity": "\u00e9" * 128}, "identity"),
        ({"initiator": ""}, "initiator"),
        ({"responder": "alice"}, "two nodes"),
        ({"hash": "BLAKE2s"}, "use one of SHA256, SHA384"),
        ({"hash": "SHA512"}, "use one of SHA256, SHA384"),
    ],
)
def test_a_psk_that_is_none(change: dict[str, Any], word: str) -> None:
    fields: dict[str, Any] = {"identity": "x", "key": KEY, "initiator": "alice", "responder": "bob", **change}
    with pytest.raises(ValueError, match=word) as raised:
        PreSharedKey(**fields)
    assert KEY.hex() not in str(raised.value)


def test_nothing_shows_the_key() -> None:
    psk = key(secret=b"correct horse battery staple")
    assert "horse" not in repr(psk)
    assert repr(psk.imported) not in repr(psk)
    assert repr(psk) == "PreSharedKey(identity='office', initiator='alice', responder='bob', hash='SHA256')"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"psk_name": None}, "psk_name="),
        ({"psk_name": "carol"}, "not for psk_name='carol'"),
        ({"psks": ()}, "psk_name="),
        ({"psks": [key(), key()]}, "two pre-shared keys"),
        ({"psks": [key(hash="SHA384")], "suites": [SHA256]}, "no suite has the hash SHA384"),
        ({"psks": [key(str(number)) for number in range(33)]}, "at most 32"),
    ],
)
def test_a_profile_whose_psks_do_not_fit(options: dict[str, Any], word: str) -> None:
    defaults: dict[str, Any] = {"identity": ANONYMOUS, "trust": trust.psk(), "psks": [key()], "psk_name": "alice"}
    with pytest.raises(ValueError, match=word):
        profiles.nautilus(**{**defaults, **options})


def test_a_profile_is_refused_for_the_role_that_no_psk_is_for() -> None:
    with pytest.raises(ValueError, match="none of the pre-shared keys has 'alice' as responder"):
        Handshake(RESPONDER, side("alice"))
    with pytest.raises(ValueError, match="none of the pre-shared keys has 'bob' as initiator"):
        Handshake(INITIATOR, side("bob"))


def test_a_profile_without_a_suite_that_it_could_offer_is_refused_as_initiator() -> None:
    options = {"suites": ["Noise_NK_25519_AESGCM_SHA256"], "noise_static": bytes([1]) * 32}
    profile = side("alice", key(), key(initiator="bob", responder="alice"), **options)
    with pytest.raises(ValueError, match="as initiator"):
        Handshake(INITIATOR, profile)
    Handshake(RESPONDER, profile)


def test_import_and_binder_computed_a_second_time() -> None:
    def expand(secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        info = struct.pack(">HB", length, 10 + len(label)) + b"nautilus1 " + label + bytes((len(context),)) + context
        first = hmac.digest(secret, info + b"\x01", "sha256")
        return (first + hmac.digest(secret, first + info + b"\x02", "sha256"))[:length]

    context = b"\0\x05alice" + b"\0\x03bob"
    named = b"\0\x06office" + struct.pack(">H", len(context)) + context + b"\0\x0anautilus/1" + b"\0\x01"
    imported = expand(hmac.digest(bytes(32), KEY, "sha256"), b"derived psk", hashlib.sha256(named).digest(), 32)
    assert key().imported == imported
    early = hmac.digest(bytes(32), imported, "sha256")
    binder_key = expand(early, b"imp binder", hashlib.sha256(b"").digest(), 32)
    *before, last = frames(succeed(run(side("alice"), side("bob"))).initiator.flights[0])
    covered = hashlib.sha256(b"".join(before)).digest()
    assert msgspec.msgpack.decode(last[HEADER:])[1][0] == hmac.digest(
        expand(binder_key, b"finished", b"", 32), covered, "sha256"
    )
    longer = key(hash="SHA384")
    named = named[:-1] + b"\x02"
    assert longer.imported == expand(
        hmac.digest(bytes(32), KEY, "sha256"), b"derived psk", hashlib.sha256(named).digest(), 48
    )


# ---------------------------------------------------------------------------------------------------- what is refused


def test_an_unknown_identity_and_a_wrong_key_are_clear_here_and_the_same_on_the_wire() -> None:
    unknown = refused(run(side("alice", key("nobody")), side("bob")))
    assert "no pre-shared key in common" in unknown.message
    assert "nobody" in str(unknown)
    wrong = refused(run(side("alice", key(secret=bytes(32))), side("bob")))
    assert "did not prove" in wrong.message
    assert "'office'" in str(wrong)
    assert wrong.hint is not None


def test_unknown_or_wrong_the_responder_does_the_same_work() -> None:
    tapes = []
    for psk in (key("nobody"), key(secret=bytes(32)), key(hash="SHA256")):
        engine, entropy = first_flight(psk)[1], RecordingEntropy()
        bob = Handshake(RESPONDER, side("bob"), entropy=entropy)
        bob.receive_data(engine)
        with suppress(AuthenticationFailed):
            drain(bob)
        tapes.append([kind for kind, _ in entropy.tape])
    unknown, wrong, right = tapes
    assert unknown == wrong == ["extraction"]
    assert right[0] == "extraction"
    assert "extraction" not in right[1:]


def test_a_known_identity_for_another_hash_looks_like_an_unknown_one() -> None:
    error = refused(run(side("alice", key(hash="SHA384")), side("bob", key())))
    assert "the hash differs" in str(error)


@pytest.mark.parametrize("psk", [key(initiator="alicia"), key(responder="bobby")])
def test_a_wrong_name(psk: PreSharedKey) -> None:
    error = refused(run(side(psk.initiator, psk), side("bob")))
    assert "one of the two names differs" in str(error)


def test_names_cannot_run_into_each_other() -> None:
    assert key(initiator="ab", responder="c").imported != key(initiator="a", responder="bc").imported
    refused(run(side("ab", key(initiator="ab", responder="c")), side("bc", key(initiator="a", responder="bc"))))


def test_a_reflected_psk() -> None:
    """Alice is also a listener. Who leads her own hello back to her does not make her talk to herself (RFC 9257, "Selfie")."""
    there, back = key(), key(initiator="bob", responder="alice")
    profile = side("alice", there, back)
    error = refused(run(profile, profile))
    assert "did not prove" in error.message


def first_flight(*psks: PreSharedKey) -> tuple[Handshake, bytes]:
    """Alice, and what she begins with."""
    engine = Handshake(INITIATOR, side("alice", *psks))
    drain(engine)
    return engine, engine.data_to_send()


def answer_to(flight: bytes, *psks: PreSharedKey) -> tuple[Handshake, HandshakeError | None]:
    """Bob, who was sent `flight`, and what he thinks of it."""
    engine = Handshake(RESPONDER, side("bob", *psks))
    engine.receive_data(flight)
    try:
        drain(engine)
    except HandshakeError as error:
        return engine, error
    return engine, None


def test_the_binder_of_another_session() -> None:
    (_, one), (_, other) = first_flight(), first_flight()
    mixed = b"".join([*frames(one)[:-1], frames(other)[-1]])
    assert isinstance(answer_to(mixed)[1], AuthenticationFailed)
    assert answer_to(one)[1] is None


@pytest.mark.parametrize("place", range(4))
def test_a_transplanted_binder(place: int) -> None:
    """Mallory puts Alice's offer and binders behind a message of her own: each message before them is covered."""
    (_, one), (_, other) = first_flight(), first_flight()
    mixed = frames(one)
    mixed[place] = frames(other)[place]
    error = answer_to(b"".join(mixed))[1]
    assert (error is None) == (mixed == frames(one))
    if error is not None:
        assert isinstance(error, AuthenticationFailed)


def test_a_binder_at_the_place_of_another_psk() -> None:
    tamper = altered("psk-binders", lambda fields: fields[1].reverse())
    refused(run(side("alice", key("a"), key("b")), side("bob", key("a"), key("b")), tamper=tamper))


def test_the_replay_of_a_first_flight_leads_nowhere() -> None:
    alice, flight = first_flight()
    bob, error = answer_to(flight)
    assert error is None
    alice.receive_data(bob.data_to_send())
    drain(alice)
    second = alice.data_to_send()
    again, error = answer_to(flight)
    assert error is None  # nothing was done with it yet: there is no early data
    again.receive_data(second)
    with pytest.raises(InvalidMessage):
        drain(again)
    assert again.session is None
    bob.receive_data(second)
    drain(bob)
    assert bob.session is not None


def test_a_man_in_the_middle_with_a_psk_of_his_own() -> None:
    """Mallory shares a psk with each of them: neither takes him for the other."""
    to_mallory, from_mallory = key("m1", bytes(32), responder="mallory"), key("m2", bytes(32), initiator="mallory")
    pair = run(side("alice"), side("mallory", to_mallory))
    assert isinstance(refused(pair), AuthenticationFailed)
    pair = run(side("mallory", from_mallory), side("bob", key(), from_mallory))
    assert succeed(pair).responder.session.psk == "m2"  # that he is who he is
    pair = run(side("mallory", from_mallory), side("bob", key(), from_mallory, trust=trust.psk("office")))
    assert isinstance(pair.responder.error, AuthenticationFailed)
    pair = run(side("alice", to_mallory, key()), side("mallory", to_mallory))
    assert succeed(pair).initiator.session.psk == "m1"
    pair = run(side("alice", to_mallory, key(), trust=trust.psk("office")), side("mallory", to_mallory))
    assert isinstance(pair.initiator.error, AuthenticationFailed)


def test_a_responder_that_selects_a_psk_that_it_does_not_have() -> None:
    """It passes the offer off as accepted by an index: its keys are others, and nothing of it opens."""
    pair = run(
        side("alice", key("mallory's"), key()),
        side("bob", key("mallory's")),
        tamper=altered("psk", put(1, 1)),
    )
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert pair.initiator.error.alert == AlertCode.BAD_RECORD_MAC


def test_a_suite_of_ones_own_that_was_not_offered_for_want_of_a_psk_is_refused() -> None:
    pair = run(side("alice"), side("bob"), tamper=altered("suite", put(1, SHA384)))
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert "a suite that was not offered" in pair.initiator.error.message


@pytest.mark.parametrize("index", [1, 2, 31])
def test_a_selection_that_was_not_offered(index: int) -> None:
    pair = run(side("alice"), side("bob"), tamper=altered("psk", put(1, index)))
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert pair.initiator.error.alert == AlertCode.ILLEGAL_PARAMETER


def test_a_selection_with_a_suite_of_another_hash() -> None:
    psks = key("a"), key("b", hash="SHA384")
    pair = run(side("alice", *psks), side("bob", *psks), tamper=altered("psk", put(1, 1)))
    assert isinstance(pair.initiator.error, InvalidMessage)
    assert "another hash" in pair.initiator.error.message


@pytest.mark.parametrize(
    ("message", "value", "alert"),
    [
        ("psk-offer", [], AlertCode.DECODE_ERROR),
        ("psk-offer", [["office"]], AlertCode.DECODE_ERROR),
        ("psk-offer", [["x" * 256, "SHA256"]], AlertCode.DECODE_ERROR),
        ("psk-offer", [["\u00e9" * 128, "SHA256"]], AlertCode.ILLEGAL_PARAMETER),
        ("psk-offer", [["office", "SHA256"], ["office", "SHA256"]], AlertCode.ILLEGAL_PARAMETER),
        ("psk-binders", [], AlertCode.DECODE_ERROR),
        ("psk-binders", [bytes(31)], AlertCode.DECODE_ERROR),
        ("psk-binders", [bytes(32)], AlertCode.ILLEGAL_PARAMETER),
        ("psk-binders", [bytes(32), bytes(32), bytes(32)], AlertCode.ILLEGAL_PARAMETER),
        ("psk-binders", [bytes(48), bytes(32)], DECRYPT_ERROR),
    ],
)
def test_a_malformed_offer(message: str, value: Any, alert: AlertCode) -> None:
    pair = run(side("alice"), side("bob"), tamper=altered(message, put(1, value)))
    assert isinstance(pair.responder.error, HandshakeError)
    assert pair.responder.error.alert == alert


def offer_of(*psks: PreSharedKey) -> tuple[list[list[str]], list[bytes]]:
    """What is offered with these keys, and the binders."""
    offer, binders = frames(run(side("alice", *psks), side("bob", *psks)).initiator.flights[0])[-2:]
    return msgspec.msgpack.decode(offer[HEADER:])[1], msgspec.msgpack.decode(binders[HEADER:])[1]


def test_one_psk_is_offered_that_nobody_knows() -> None:
    (first, unknown), binders = offer_of(key())
    assert first == ["office", "SHA256"]
    assert all(name.startswith("grease-") for name in unknown)
    assert [len(binder) for binder in binders] == [32, 32]
    assert offer_of(key())[0][1] != unknown


def test_it_gives_way_to_a_psk_that_somebody_knows() -> None:
    psks = [key(f"psk {number}") for number in range(32)]
    offered, binders = offer_of(*psks)
    assert len(offered) == len(binders) == 32
    assert not [name for psk in offered for name in psk if name.startswith("grease-")]


def test_it_cannot_be_selected_and_does_not_show_in_errors() -> None:
    selected = run(side("alice"), side("bob"), tamper=altered("psk", put(1, 1)))
    assert isinstance(selected.initiator.error, InvalidMessage)
    assert selected.initiator.error.alert == AlertCode.ILLEGAL_PARAMETER
    assert "grease" not in str(refused(run(side("alice", key("nobody")), side("bob"))))


def test_a_psk_that_is_offered_twice_is_refused_before_its_binders_are_read() -> None:
    twice = altered("psk-offer", put(1, [["office", "SHA256"], ["office", "SHA256"]]))
    pair = run(side("alice"), side("bob"), tamper=twice)
    assert isinstance(pair.responder.error, InvalidMessage)
    assert "offered twice" in str(pair.responder.error)
    assert pair.responder.error.step == "psk-offer"


@pytest.mark.parametrize("message", ["psk-offer", "psk-binders", "psk"])
def test_every_byte_counts(message: str) -> None:
    plain = succeed(run(side("alice"), side("bob")))
    sent = [one for flight in (*plain.initiator.flights, *plain.responder.flights) for one in frames(flight)]
    length = next(len(one) for one in sent if one[HEADER + 2 :].startswith(message.encode() + b"\x92") or (
        message == "psk" and one[HEADER:].startswith(b"\x92\xa3psk")
    ))  # fmt: skip
    for place in range(length):

        def tamper(_role: Any, _number: int, data: bytes, place: int = place) -> bytes:
            changed = []
            for one in frames(data):
                same = one[0] == 0xE1 and message.encode() in one[HEADER : HEADER + 14] and len(one) == length
                changed.append(one[:place] + bytes((one[place] ^ 1,)) + one[place + 1 :] if same else one)
            return b"".join(changed)

        assert not agreed(run(side("alice"), side("bob"), tamper=tamper)), place


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20) | st.binary(max_size=70),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150)
@given(offer=ANYTHING, binders=ANYTHING, index=ANYTHING)
def test_anything_in_the_messages_is_an_error_of_the_handshake(offer: Any, binders: Any, index: Any) -> None:
    for message, value in (("psk-offer", offer), ("psk-binders", binders), ("psk", index)):
        pair = run(side("alice"), side("bob"), tamper=altered(message, put(1, value)))
        if not agreed(pair):
            assert isinstance(pair.initiator.error, HandshakeError)
            assert pair.responder.error is None or isinstance(pair.responder.error, HandshakeError)


def test_one_end_without_psks_finds_out_at_once() -> None:
    plain = profiles.nautilus(identity=ALICE, trust=trust.psk(), suites=[SHA256])
    for first, second in ((plain, side("bob")), (side("alice"), plain)):
        pair = run(first, second)
        assert isinstance(pair.responder.error, NegotiationFailed)
        assert isinstance(pair.initiator.error, PeerAborted)
        assert "'psk'" in str(pair.responder.error)
        assert pair.initiator.error.code == AlertCode.STEP_LIST_MISMATCH


def test_no_suite_in_common_says_so_whether_the_psk_is_known_or_not() -> None:
    for psk in (key(), key("nobody")):
        pair = run(side("alice", psk, suites=[SHA256]), side("bob", suites=["P256_AES128GCM_SHA256"]))
        assert isinstance(pair.responder.error, NegotiationFailed)


def test_after_a_failure_nothing_extracted_is_left() -> None:
    engine, _ = first_flight()
    agreement = engine.steps["psk-binders"]._agreement  # type: ignore[attr-defined]
    assert agreement.early_secrets
    engine.abort("changed my mind")
    assert not agreement.early_secrets
    pair = succeed(run(side("alice", key(), key("lab")), side("bob")))
    for end in (pair.initiator, pair.responder):
        assert not end.handshake.steps["psk"]._agreement.early_secrets  # type: ignore[attr-defined]
        assert end.handshake._context._early_secret == b""


def test_after_a_failure_between_the_psk_and_the_key_agreement_nothing_extracted_is_left() -> None:
    pair = run(side("alice", key()), side("bob"), tamper=altered("responder-key-share", put(1, "none")))
    context = pair.initiator.handshake._context
    assert context.psk == "office"
    assert pair.initiator.error is not None
    assert context._early_secret == b""


@pytest.mark.parametrize("length", [0, 31, 33])
@pytest.mark.parametrize("role", Role)
def test_an_extraction_that_is_none_does_not_stand_for_a_psk(role: Role, length: int) -> None:
    class Broken(Entropy):
        """Of a store of keys that does not answer."""

        def extract(self, function: HashFunction, salt: bytes, psk: bytes) -> bytes:
            """Nothing, or something else."""
            return bytes(length)

    sides = {INITIATOR: side("alice", key()), RESPONDER: side("bob", key())}
    engines = {one: Handshake(one, sides[one], entropy=Broken() if one is role else Entropy()) for one in Role}
    pair = run(engines[INITIATOR], engines[RESPONDER])
    end = pair.initiator if role is INITIATOR else pair.responder
    assert isinstance(end.error, LocalProtocolError)
    assert f"gives 32 bytes of SHA256, not {length}" in str(end.error)


def test_a_psk_is_for_the_commit_of_one_step() -> None:
    engine, _ = first_flight()
    with pytest.raises(LocalProtocolError, match="commit"):
        engine._context.use_psk("office", bytes(32))


# ------------------------------------------------------------------------------------------------------------ replay


def test_a_recorded_handshake_replays_without_the_key() -> None:
    recorded = Recorded(side("alice", key(), key("lab")), side("bob"))
    public = PreSharedKey.public_only("office", initiator="alice", responder="bob", hash="SHA256")
    lab = PreSharedKey.public_only("lab", initiator="alice", responder="bob", hash="SHA256")
    keyless = side("alice", public, lab), side("bob", public)
    for file, profile in zip(recorded.files, keyless, strict=True):
        assert replay(file, profile).full
        assert KEY.hex().encode() not in b"".join(file)
    assert replay(Recorded(side("alice"), side("bob"), secrets=False).files[1], keyless[1]).messages == 13
    with pytest.raises(ReplayDiverged):
        replay(recorded.files[1], side("bob", replace(key("other"))))


def test_a_refused_psk_replays_too() -> None:
    recorded = Recorded(side("alice", key("nobody")), side("bob"))
    public = PreSharedKey.public_only("office", initiator="alice", responder="bob", hash="SHA256")
    assert replay(recorded.files[1], side("bob", public)).outcome == "failed"


def test_a_value_without_its_key_makes_no_handshake() -> None:
    public = PreSharedKey.public_only("office", initiator="alice", responder="bob", hash="SHA256")
    for pair in (
        run(side("alice", public), side("bob")),
        run(side("alice"), side("bob", public)),
        run(side("alice", public), side("bob", public)),  # who knows the identity alone must not know what is extracted
    ):
        assert pair.initiator.handshake.session is None
        assert pair.responder.handshake.session is None
        error = next(end.error for end in (pair.initiator, pair.responder) if not isinstance(end.error, PeerAborted))
        assert isinstance(error, LocalProtocolError)
        assert "public_only" in str(error)
