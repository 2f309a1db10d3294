"""Recorded handshakes with TLS inside replay byte for byte without OpenSSL; without secrets the public part is checked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from nautilus_core import AuthenticationFailed, LocalProtocolError, Profile, TlsSettings, profiles, trust
from nautilus_core.testing import byte_by_byte
from nautilus_core.tls import connection
from nautilus_core.tls.flight import decode_flight
from nautilus_core.transcript import (
    ReplayDiverged,
    TranscriptError,
    opened,
    pieces_of,
    profile_of,
    read,
    redact,
    replay,
    rerun,
)
from nautilus_core.transcript.guessing import guess
from nautilus_core.transcript.lines import Drawn, Failed, Received, Sent

from ..helpers import Talk, note
from ..tls_ends import CLIENT, NAME, NOW, ROOTS, SERVER, STRANGER, client, server, small, tls_context
from .recording import Recorded, rewritten, size, with_a_byte_changed

X509 = ["x509"]


def recorded(initiator: Profile | None = None, responder: Profile | None = None, **options: Any) -> Recorded:
    return Recorded(initiator or client(), responder or server(), wall_time=NOW, **options)


def without_openssl(policy: Any = None) -> tuple[Profile, Profile]:
    """The profiles of a replay: policies, and no context."""
    return (
        profiles.tls(None, trust=policy or trust.authorities(ROOTS, name=NAME)),
        profiles.tls(None, trust=policy or trust.authorities(ROOTS)),
    )


@pytest.fixture
def no_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may make a connection of TLS."""

    def refuse(*_: Any) -> Any:
        raise RuntimeError("a connection of TLS")

    monkeypatch.setattr(connection.Connection, "_begin", refuse)
    monkeypatch.setattr(SSL, "Connection", refuse)


KINDS: dict[str, Any] = {
    "both": recorded,
    "byte by byte": lambda: recorded(split=byte_by_byte),
    "anonymous": lambda: recorded(client(tls_context()), server(trust=trust.anyone(kinds=X509, anonymous=True))),
    "retry": lambda: recorded(None, server(small(SERVER))),
    "refused by the policy": lambda: recorded(client(trust=trust.authorities(ROOTS, name="other.example"))),
    "refused by OpenSSL": lambda: recorded(client(tls_context(CLIENT, verifies=STRANGER))),
    "no certificate": lambda: recorded(client(tls_context())),
    "no group": lambda: recorded(client(small(CLIENT)), server(tls_context(SERVER, curve=ec.SECP384R1()))),
}


@pytest.mark.parametrize("name", KINDS)
def test_it_replays_without_openssl(name: str, request: pytest.FixtureRequest) -> None:
    made: Recorded = KINDS[name]()
    request.getfixturevalue("no_openssl")
    policies = [profile.make_steps()[4]._settings.trust for profile in made.profiles]  # type: ignore[attr-defined]
    bare = [profiles.tls(None, trust=policy) for policy in policies]
    for file, profile, end in zip(made.files, bare, made.ends, strict=True):
        report = replay(file, profile)
        assert report.full
        assert report.sent == sum(map(len, end.flights))
        assert report.outcome == ("completed" if end.completed else "failed")
    if all(end.completed for end in made.ends):
        for file, tape, profile in zip(made.files, reversed(made.files), reversed(bare), strict=True):
            assert replay(file, profile, other_side=True, tape=tape).full


@pytest.mark.parametrize("name", KINDS)
def test_the_public_part_is_checked_without_secrets(name: str, request: pytest.FixtureRequest) -> None:
    made: Recorded = KINDS[name]()
    request.getfixturevalue("no_openssl")
    for file in made.files:
        transcript = redact(read(file), names=True)
        report = replay(transcript, profile_of(transcript.header))
        assert not report.full
        assert report.messages > 3


def test_a_changed_byte_is_found() -> None:
    made = recorded()
    profile = without_openssl()[0]
    for kind in (Received, Sent):
        for place in range(0, size(made.files[0], kind), 97):
            with pytest.raises(ReplayDiverged):
                replay(with_a_byte_changed(made.files[0], place, of=kind), profile)


def test_a_damaged_tape_is_no_tape() -> None:
    made = recorded()
    transcript = read(made.files[0])
    for data in (b"", b"\xc1", msgspec.msgpack.encode(["data", 7, None]), msgspec.msgpack.encode([b"", None, None])):
        lines = [
            msgspec.structs.replace(line, data=data) if isinstance(line, Drawn) and line.what == "tls" else line
            for line in transcript.lines
        ]
        with pytest.raises((TranscriptError, ReplayDiverged)):
            replay(rewritten(transcript, lines), without_openssl()[0])
    problem = msgspec.msgpack.encode([b"", None, ["NoSuchError", "text", None, None, None, None]])
    lines = [
        msgspec.structs.replace(line, data=problem) if isinstance(line, Drawn) and line.what == "tls" else line
        for line in transcript.lines
    ]
    with pytest.raises((TranscriptError, ReplayDiverged)):
        replay(rewritten(transcript, lines), without_openssl()[0])


def test_the_tape_has_the_exporters_output_and_redaction_takes_it_out() -> None:
    transcript = read(recorded().files[0])
    flights = [decode_flight(line.data) for line in transcript.lines if isinstance(line, Drawn) and line.what == "tls"]
    assert len(flights) == 2
    assert flights[-1].result is not None
    assert len(flights[-1].result.secret) == 48
    assert not [line for line in redact(transcript).lines if isinstance(line, Drawn)]


def test_custom_steps_and_pieces() -> None:
    def edit(profile: Profile) -> Profile:
        return profile.insert_after("tls", note("late")).insert_before("initiator-finished", lambda: Talk(length=4))

    made = recorded(edit(client()), edit(server()))
    assert all(replay(file, edit(profile)).full for file, profile in zip(made.files, without_openssl(), strict=True))
    transcript = read(made.files[0])
    assert [piece.step for piece in pieces_of(transcript)][4:8] == ["tls", "tls", "tls", "late"]
    assert profile_of(transcript.header).outline.names[4:6] == ("tls", "late")
    assert guess(transcript) is None


def test_a_key_log_opens_what_follows_tls() -> None:
    made = recorded()
    found = list(opened(read(made.files[0]), made.key_logs[1]))
    assert all(frame.message is not None for frame in found if frame.kind == "handshake")
    assert {frame.label for frame in found} >= {None, "NAUTILUS_R_HANDSHAKE_TRAFFIC", "NAUTILUS_I_HANDSHAKE_TRAFFIC"}


def test_a_refusal_that_is_fixed_runs_again() -> None:
    made = recorded(client(trust=trust.authorities(ROOTS, name="other.example")))
    with pytest.raises(AuthenticationFailed, match="another name"):
        rerun(made.files[0], without_openssl(trust.authorities(ROOTS, name="other.example"))[0])
    with pytest.raises(TranscriptError, match="not in the transcript"):  # it is welcome now, and would have gone on
        rerun(made.files[0], without_openssl()[0])


def test_what_the_error_was_is_on_the_record() -> None:
    made = recorded(client(tls_context(CLIENT, verifies=STRANGER)))
    ours, theirs = [next(line for line in read(file).lines if isinstance(line, Failed)) for file in made.files]
    assert (ours.error, ours.alert, ours.step) == ("AuthenticationFailed", 48, "tls")
    assert (theirs.error, theirs.code, theirs.step) == ("PeerAborted", 48, "tls")


def test_settings_without_a_context_make_no_connection() -> None:
    settings = TlsSettings(None, trust.anyone(kinds=X509))
    suite = next(iter(settings.suites.values()))
    for role in ("initiator", "responder"):
        with pytest.raises(LocalProtocolError, match="no TLS context"):
            settings.end(role, suite, bytes(48)).advance(b"")  # type: ignore[arg-type]
