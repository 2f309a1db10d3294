"""A key log opens what is sealed in a transcript: with every suite, of every kind of frame, from either side; and only then."""

from __future__ import annotations

from typing import Any

import pytest

from nautilus_core import INITIATOR, RESPONDER, SUITES, Handshake, PeerAborted, Role, profiles, trust
from nautilus_core.crypto.key_log import KeyLog, datagram_label, read_key_log
from nautilus_core.records import Accept, Close, KeyUpdate
from nautilus_core.steps.authentication import InitiatorProof, ResponderProof
from nautilus_core.steps.hello import Hello
from nautilus_core.testing import Pair
from nautilus_core.transcript import OpenedFrame, Recorder, TranscriptError, opened, read
from nautilus_core.transcript.lines import Frame

from ..helpers import ALICE, BOB, MALLORY, Talk, alice, both, frames, note
from ..noise.helpers import KEYS
from .recording import Recorded

HANDSHAKE = {"NAUTILUS_I_HANDSHAKE_TRAFFIC", "NAUTILUS_R_HANDSHAKE_TRAFFIC"}
SESSION = {"NAUTILUS_I_TRAFFIC_SECRET_0", "NAUTILUS_R_TRAFFIC_SECRET_0"}


def labels(log: list[bytes]) -> list[str]:
    return [line.split()[0].decode() for line in log]


def looked_at(recorded: Recorded, side: int = 0, log: int = 0) -> list[OpenedFrame]:
    return list(opened(read(recorded.files[side]), recorded.key_logs[log]))


def accepted(pair: Pair) -> None:
    channel = pair.initiator.session.channel()
    pair.responder.session.channel()
    channel.next_event()


@pytest.mark.parametrize("secrets", [True, False])
@pytest.mark.parametrize("suite", sorted(SUITES))
def test_every_suite_is_opened_from_either_side_with_either_log(suite: str, secrets: bool) -> None:
    recorded = Recorded(*both(suites=[suite]), use=accepted, secrets=secrets)
    mine, theirs = recorded.key_logs
    assert sorted(mine) == sorted(theirs)
    assert set(labels(mine)) == HANDSHAKE | SESSION
    seen = [looked_at(recorded, side, log) for side in (0, 1) for log in (0, 1)]
    for found in seen:
        assert all(frame.body is not None and frame.message is not None for frame in found)
        assert [frame.step for frame in found if frame.kind == "handshake"] == [
            line.step for line in read(recorded.files[0]).lines if isinstance(line, Frame)
        ]
        messages = [frame.message for frame in found]
        proofs = [one for one in messages if isinstance(one, (ResponderProof, InitiatorProof))]
        assert [proof.credential for proof in proofs] == [BOB.public.data, ALICE.public.data]
        assert [(frame.kind, frame.message) for frame in found[-1:]] == [("control", Accept())]
        assert found[-1].label == "NAUTILUS_R_TRAFFIC_SECRET_0"
    hello = seen[0][0].message
    assert isinstance(hello, Hello)
    assert {line.split()[1].decode() for line in mine} == {hello.nonce.hex()}


def test_a_noise_protocol_as_a_suite_is_opened() -> None:
    sides = [
        profiles.nautilus(
            identity=identity,
            trust=trust.anyone(),
            suites=["Noise_XX_25519_ChaChaPoly_SHA256"],
            noise_static=KEYS["25519"][role],
        )
        for role, identity in ((INITIATOR, ALICE), (RESPONDER, BOB))
    ]
    recorded = Recorded(sides[0], sides[1], use=accepted)
    found = looked_at(recorded)
    assert [frame.step for frame in found if frame.label in HANDSHAKE] == ["responder-finished", "initiator-finished"]
    assert all(frame.body is not None for frame in found)
    assert found[-1].message == Accept()


def test_messages_of_the_users_own_steps_are_opened() -> None:
    def edit(profile: Any) -> Any:
        step = note(text=b"for the peer alone")
        return profile.insert_before("initiator-finished", step).insert_before(
            "initiator-finished", lambda: Talk(length=2)
        )

    recorded = Recorded(*both(edit), secrets=False)
    found = {frame.step: frame for frame in looked_at(recorded)}
    assert found["note"].message == ["note", b"for the peer alone"]
    assert found["talk"].message == ["talk", True, b"line 1"]
    assert found["note"].label == "NAUTILUS_I_HANDSHAKE_TRAFFIC"


def talk_with_updates(pair: Pair) -> None:
    one, other = pair.initiator.session.channel(), pair.responder.session.channel()
    one.next_event()
    for number in range(3):
        one.send_data(b"question %d" % number)
        one.update_keys(ask_peer=number == 1)
        other.receive_data(bytes(one.data_to_send()))
        for _ in range(2):
            other.next_event()
        other.send_data(b"answer %d" % number)
        one.receive_data(bytes(other.data_to_send()))
        one.next_event()
        if number == 1:
            one.next_event()
    one.close()
    other.receive_data(bytes(one.data_to_send()))
    other.next_event()
    other.abort("enough")
    one.receive_data(bytes(other.data_to_send()))


def test_the_channel_is_opened_through_its_key_updates() -> None:
    recorded = Recorded(*both(), use=talk_with_updates, whole_channel=True)
    assert sorted(recorded.key_logs[0]) == sorted(recorded.key_logs[1])
    assert set(labels(recorded.key_logs[0])) == HANDSHAKE | SESSION | {
        "NAUTILUS_R_TRAFFIC_SECRET_1",
        *(f"NAUTILUS_I_TRAFFIC_SECRET_{number}" for number in (1, 2, 3)),
    }
    for side in (0, 1):
        found = [frame for frame in looked_at(recorded, side) if frame.kind != "handshake"]
        data = [(frame.sender, frame.body, frame.label[-1]) for frame in found if frame.kind == "data" and frame.label]
        assert data == [
            (INITIATOR, b"question 0", "0"),
            (RESPONDER, b"answer 0", "0"),
            (INITIATOR, b"question 1", "1"),
            (RESPONDER, b"answer 1", "1"),
            (INITIATOR, b"question 2", "2"),
            (RESPONDER, b"answer 2", "1"),
        ]
        kinds = [type(frame.message) for frame in found if frame.kind == "control"]
        assert kinds == [Accept, KeyUpdate, KeyUpdate, KeyUpdate, KeyUpdate, Close]
        alert = found[-1]
        assert (alert.kind, alert.label) == ("sealed alert", "NAUTILUS_R_TRAFFIC_SECRET_1")
        assert isinstance(alert.message, PeerAborted)
        assert alert.message.code == 90


def test_a_sealed_rejection_is_opened_and_a_plaintext_one_shown() -> None:
    def reject(pair: Pair) -> None:
        with pytest.raises(PeerAborted):
            pair.initiator.session.channel().next_event()

    recorded = Recorded(alice(), both(trust=trust.pinned(MALLORY.public))[1], use=reject, close=False)
    alert = looked_at(recorded)[-1]
    assert (alert.kind, alert.label) == ("sealed alert", "NAUTILUS_R_HANDSHAKE_TRAFFIC")
    assert isinstance(alert.message, PeerAborted)
    recorded = Recorded(alice(), both(suites=["P256_AES128GCM_SHA256"])[1])
    assert recorded.key_logs == ([], [])
    found = looked_at(recorded)
    assert [frame.label for frame in found] == [None] * len(found)
    assert (found[-1].kind, found[-1].sender) == ("alert", RESPONDER)
    assert isinstance(found[-1].message, PeerAborted)


def test_a_message_that_was_altered_does_not_open_and_the_next_ones_do() -> None:
    def tamper(sender: Role, number: int, data: bytes) -> bytes:
        if sender is INITIATOR and number == 1:
            first, *rest = frames(data)
            return b"".join([first[:-1] + bytes([first[-1] ^ 1]), *rest])
        return data

    recorded = Recorded(*both(), tamper=tamper, close=False)
    found = [frame for frame in looked_at(recorded, 1) if frame.sender is INITIATOR]
    assert [frame.body is None for frame in found] == [False] * 3 + [True] * 2
    assert [frame.step for frame in found[3:]] == [None, None]
    sent = [frame for frame in looked_at(recorded, 0) if frame.sender is INITIATOR]
    assert all(frame.body is not None for frame in sent)


def test_with_the_log_of_another_session_nothing_is_opened() -> None:
    one, other = Recorded(*both()), Recorded(*both())
    with pytest.raises(TranscriptError, match=r"the key log has no secret of this session: hello random [0-9a-f]{64}"):
        list(opened(read(one.files[0]), other.key_logs[0]))
    both_logs = [*other.key_logs[0], b"# a comment\n", b"\n", b"CLIENT_RANDOM 00 11\n", *one.key_logs[1]]
    assert all(frame.body is not None for frame in opened(read(one.files[0]), both_logs))


@pytest.mark.parametrize("line", [b"NAUTILUS_X", b"NAUTILUS_X 00 zz", b"NAUTILUS_X 00 11 22", b"NAUTILUS_\xff 0 0"])
def test_a_damaged_log_is_refused_and_not_shown(line: bytes) -> None:
    with pytest.raises(ValueError, match="line 2 of the key log is damaged") as raised:
        read_key_log([b"# fine\n", line])
    assert raised.value.__cause__ is None
    with pytest.raises(ValueError, match="line 1 of"):
        read_key_log([b"NAUTILUS_" + b" " * 2000])


def test_plain_noise_has_no_key_log() -> None:
    name = "Noise_NN_25519_ChaChaPoly_BLAKE2s"
    recorded = Recorded(profiles.noise(name), profiles.noise(name))
    assert recorded.key_logs == ([], [])
    with pytest.raises(TranscriptError, match="only nautilus/1 has a key log, and this is length-prefixed"):
        looked_at(recorded)


def test_datagram_secrets_are_logged() -> None:
    log: list[bytes] = []
    initiator, responder = both(datagrams=True)
    pair = Pair(Handshake(INITIATOR, initiator, key_log=log.append), responder).run()
    pair.initiator.session.datagrams()
    assert {datagram_label(INITIATOR), datagram_label(RESPONDER)} <= set(labels(log))


def test_a_log_that_fails_breaks_nothing_and_is_not_called_again() -> None:
    calls: list[bytes] = []

    def full(line: bytes) -> None:
        calls.append(line)
        raise OSError("no space left")

    initiator, responder = both()
    pair = Pair(Handshake(INITIATOR, initiator, key_log=full), responder).run()
    assert pair.initiator.completed
    assert len(calls) == 1
    assert "write" not in repr(KeyLog(full))


def test_a_transcript_that_was_cut_off_is_opened_as_far_as_it_goes() -> None:
    lines: list[bytes] = []
    log: list[bytes] = []
    initiator, responder = both()
    recorder = Recorder(lines.append)
    accepted(Pair(Handshake(INITIATOR, initiator, recorder=recorder, key_log=log.append), responder).run())
    transcript = read(lines, cut_off=True)
    assert not transcript.whole
    found = list(opened(transcript, log))
    assert len(found) >= 11
    assert all(frame.body is not None for frame in found)
