"""What fuzzing and its preparation found, each as a test. Inputs are written out, so that they say what they are."""

from __future__ import annotations

import dataclasses
import json
import traceback
from base64 import b64decode
from typing import Any

import msgspec
import pytest
from cryptography.x509 import load_der_x509_certificate

from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    AuthenticationFailed,
    DataReceived,
    Handshake,
    HandshakeError,
    Identity,
    InvalidMessage,
    Role,
    StepCompleted,
    trust,
)
from nautilus_core.buffer import ReceiveBuffer
from nautilus_core.identity.did_document import DidUrl, keys_under_authentication, read_document
from nautilus_core.identity.x509 import certificates_in, encode_chain, names_in
from nautilus_core.transcript import Difference, ReplayDiverged, TranscriptError, profile_of, read, replay, rerun
from nautilus_core.transcript.lines import Drawn, Opened

from .certificates import authority
from .channels import ends, frames
from .decentralized import WEB, document, judged, method, refused
from .helpers import ALICE, BOB, alice, bob, run
from .transcript.recording import Recorded

# A piece of less than a header that came together with a whole frame was put behind the bytes that came after it.


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_piece_of_a_header_behind_a_frame_stays_in_front_of_what_follows(length: int) -> None:
    buffer = ReceiveBuffer()
    buffer.feed(b"frame")
    buffer.feed(b"next"[:length])
    buffer.position = 5
    assert buffer.lacks(4)
    buffer.feed(b"next"[length:])
    assert not buffer.lacks(4)
    assert buffer.data[buffer.position :] == b"next"


@pytest.mark.parametrize("length", [1, 2, 3])
def test_on_the_channel_two_pieces_before_a_look_at_them(length: int) -> None:
    initiator, responder = ends()
    initiator.send_data(b"first")
    initiator.send_data(b"second")
    first, second = frames(initiator.data_to_send())
    responder.receive_data(first)
    responder.receive_data(second[:length])
    assert responder.next_event() == DataReceived((b"first",))
    assert responder.next_event() is NEED_DATA
    responder.receive_data(second[length:])
    assert responder.next_event() == DataReceived((b"second",))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_in_the_handshake_two_pieces_before_a_look_at_them(length: int) -> None:
    flights = run(alice(), bob()).initiator.flights
    first, *rest = frames(flights[0])
    remaining = b"".join(rest)
    responder = Handshake(RESPONDER, bob())
    responder.receive_data(first)
    responder.receive_data(remaining[:length])
    while responder.next_event() is not NEED_DATA:
        pass
    responder.receive_data(remaining[length:])
    read = [event.step for event in iter(responder.next_event, NEED_DATA) if isinstance(event, StepCompleted)]
    assert read[:2] == ["suites", "initiator-key-share"]
    assert responder.data_to_send()


# What a peer, a DID document or a transcript says went into the text of errors as it was: it could command a terminal
# (clear it, hide what stands before), or begin a line of its own in a log.

COMMANDS = "\x1b[2J\u202e\r\nall is well"
ESCAPED = "\\x1b[2J\\u202e\\r\\nall is well"


def test_an_error_of_a_did_document_is_one_line_that_commands_no_terminal() -> None:
    key = method()
    served = json.dumps(document(key, authentication=[COMMANDS])).encode()
    with pytest.raises(AuthenticationFailed) as raised:
        keys_under_authentication(read_document(WEB, served), DidUrl(WEB), key["type"])
    assert ESCAPED in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("where", ["message", "expected", "received", "hint"])
def test_every_error_of_a_handshake_is_one_line_that_commands_no_terminal(where: str) -> None:
    words: dict[str, Any] = {"message": "wrong", where: COMMANDS}
    error = InvalidMessage(words.pop("message"), **words)
    assert str(error).isprintable()
    assert ESCAPED in str(error)
    assert str(HandshakeError("über 中文")) == "über 中文"


def test_the_errors_of_a_transcript_are_one_line_that_commands_no_terminal() -> None:
    for text in (
        str(TranscriptError(f"no line: {COMMANDS}", 3)),
        str(ReplayDiverged(COMMANDS, "nothing", line=3)),
        str(Difference(3, "another step", COMMANDS, "hello")),
    ):
        assert text.isprintable()
        assert ESCAPED in text


def test_the_error_of_a_replay_is_short_however_long_a_line_is() -> None:
    error = ReplayDiverged("x" * 100_000, "y" * 100_000, line=3)
    assert len(str(error)) < 3000
    assert len(error.expected) == 100_000


# A certificate with an extension twice: the library raises errors of its own, which are no ValueErrors.


def test_the_names_in_a_certificate_that_cannot_be_read_are_a_value_error() -> None:
    leaf = b64decode(
        "MIIBfzCCASWgAwIBAgIBBzAKBggqhkjOPQQDAjARMQ8wDQYDVQQDDAZNaWRkbGUwHhcNMjUwMTAxMDAwMDAwWhcNNDUwMTAxMDAwMDAwWjAUMRIwEAYD"
        "VQQDDAlpbml0aWF0b3IwKjAFBgMrZXADIQCs3MhJTUWPRKeqrB1qhOxiTa7ohDbbKuJuZ7pkWhBiKKOBmTCBljAMBgNVHRMBAf8EAjAAMB0GA1UdEQQW"
        "BBSO12Jq66/GDnhs7bYNW0PCOoVayzAfBgNVHSMEGDAWgBTE/RLHlB6FHum8eX2O/KPqF2uPUzAOBgNVHQ8BAf8EBAMCB4AwHQYDVR0lBBYwFAYIKwYB"
        "BQUHAwEGCCsGAQUFBwMCMBcGA1UdEQQQMA6CDGZ1enouZXhhbXBsZTAKBggqhkjOPQQDAgNIADBFAiEA6PCMp5RhGeC2cNuK3UUrpo6Z2R4nbqpptOke"
        "EKN0dSMCIGZdskA8vWJUdgkdxbiZJ1ZjZ56KUer3zrc8GuI4a8Q+"
    )
    certificate = load_der_x509_certificate(leaf)
    with pytest.raises(ValueError, match="Duplicate 2.5.29.17"):
        names_in(certificate)


# A transcript whose secrets are of another length than is drawn: another run of it raised the tape's own ValueError.


def test_another_run_with_secrets_that_do_not_fit_is_an_error_of_the_transcript() -> None:
    transcript = read(Recorded(alice(), bob()).files[1])
    lines = [
        msgspec.structs.replace(line, data=line.data[:5]) if isinstance(line, Drawn) and line.what == "random" else line
        for line in transcript.lines
    ]
    with pytest.raises(
        TranscriptError, match="its secrets are not those of this handshake: the tape has 5 random bytes"
    ):
        rerun(dataclasses.replace(transcript, lines=tuple(lines)), bob())


# A certificate whose subject has an attribute of a wrong type: the library raises a TypeError, which came out of the engine.

BROKEN_SUBJECT = (
    "MIIBfzCCASWgAwIBAgIBBzAKBggqhkjOPQQDAjARMQ8wDQYDVQQDDAZNaWRkbGUwHhcNMjUwMTAxMDAwMDAwWhcNNDUwMTAxMDAwMDAwWjAUMRIwEAYDVQQD"
    "Awlpbml0aWF0b3IwKjAFBgMrZXADIQCs3MhJTUWPRKeqrB1qhOxiTa7ohDbbKuJuZ7pkWhBiKKOBmTCBljAMBgNVHRMBAf8EAjAAMB0GA1UdDgQWBBSO12Jq"
    "66/GDnhs7bYNW0PCOoVayzAfBgNVHSMEGDAWgBTE/RLHlB6FHum8eX2O/KPqF2uPUzAOBgNVHQ8BAf8EBAMCB4AwHQYDVR0lBBYwFAYIKwYBBQUHAwEGCCsG"
    "AQUFBwMCMBcGA1UdEQQQMA6CDGZ1enouZXhhbXBsZTAKBggqhkjOPQQDAgNIADBFAiEA6PCMp5RhGeC2cNuK3UUrpo6Z2R4nbqpptOkeEKN0dSMCIGZdskA8"
    "vWJUdgkdxbiZJ1ZjZ56KUer3zrc8GuI4a8Q+"
)


@pytest.mark.parametrize("judging", [INITIATOR, RESPONDER], ids=lambda role: role.value)
def test_a_certificate_with_a_broken_subject_is_refused(judging: Role) -> None:
    presents = BOB.presenting("x509", msgspec.msgpack.encode([b64decode(BROKEN_SUBJECT)]))
    error = refused(judged(presents, trust.anyone(kinds=["x509"]), judging), judging)
    assert "the peer's certificates are not usable" in str(error)


# A transcript in which the session's channel is taken twice: its replay raised what a caller's mistake does.


def test_a_replay_in_which_the_channel_is_taken_twice_diverges() -> None:
    transcript = read(Recorded(alice(), bob(), use=lambda pair: pair.initiator.session.channel()).files[0])
    place = next(place for place, line in enumerate(transcript.lines) if isinstance(line, Opened))
    lines = (*transcript.lines[: place + 1], *transcript.lines[place:])
    with pytest.raises(ReplayDiverged, match="keys were taken already"):
        replay(dataclasses.replace(transcript, lines=lines), alice())


# A damaged file of PEM: the library's error quotes what stands between the dashes, which may be a part of the private key.


def test_a_damaged_pem_file_is_not_quoted() -> None:
    pem = ALICE.to_pem()
    body = pem.splitlines()[1]
    damaged = (
        pem.replace(b"PRIVATE KEY-----\n", b"PRIVATE KEY--", 1)
        + b"-----BEGIN CERTIFICATE--"
        + body
        + b"-----END X-----\n"
    )
    for read_pem in (Identity.from_pem, certificates_in):
        with pytest.raises(ValueError, match="private key|certificates") as raised:
            read_pem(damaged)
        shown = "".join(traceback.format_exception(raised.value))
        assert body.decode()[24:] not in shown


# The names of a transcript's steps went into the error of a profile that cannot be made from its header as they were.


def test_the_error_of_a_profile_from_a_header_is_one_line_that_commands_no_terminal() -> None:
    header = read(Recorded(alice(), bob()).files[0]).header
    last = msgspec.structs.replace(header.steps[-1], name=f"last{COMMANDS}")
    with pytest.raises(ValueError, match="cannot be made from the header") as raised:
        profile_of(msgspec.structs.replace(header, steps=(*header.steps[:-1], last)))
    assert str(raised.value).isprintable()


# A private key of a wrong length: the library raises an error of its own, which is no ValueError.


@pytest.mark.parametrize(
    "key", ["MC4CAQAwBQYDK2VvBCIEIMHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHB", "MA8CAQAwBQYDK2VwBAMEAcE="]
)
def test_a_private_key_of_a_wrong_length_is_a_value_error(key: str) -> None:
    for data in (b64decode(key), f"-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n".encode()):
        with pytest.raises(ValueError, match="this is no PKCS#8 private key"):
            Identity.from_pem(data)


# The subject of a certificate in a file went into the error of a chain that is out of order as it was.


def test_a_certificates_subject_commands_no_terminal() -> None:
    leaf, other = authority(subject="Leaf"), authority(subject="Root\x1b[2J")
    with pytest.raises(ValueError, match="out of order") as raised:
        encode_chain([leaf.certificate, other.certificate])
    assert str(raised.value).isprintable()
    assert "CN=Root\\x1b[2J" in str(raised.value)


# The error of a key file whose line with a DID is none quoted the line, in which a part of the key stood.


def test_a_key_in_the_place_of_a_did_is_not_shown() -> None:
    pem = ALICE.to_pem()
    key = pem.splitlines()[1]
    for line in (
        b"DID: " + key,
        b"DID: did:key:z" + key,
        b"DID: " + str(BOB.with_did().did).encode(),
    ):
        with pytest.raises(ValueError, match="the line before the private key") as raised:
            Identity.from_pem(line + b"\n" + pem)
        assert key.decode() not in "".join(traceback.format_exception(raised.value))
