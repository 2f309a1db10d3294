"""What was recorded with version 1 comes out the same, byte for byte, from both views; and there is one of every kind."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from nautilus_anyio.pytest_plugin.stored import StoredTranscript, stored_in
from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    SUITES,
    AlertCode,
    HandshakeError,
    Identity,
    LocalProtocolError,
    PreSharedKey,
    Role,
    errors,
    profiles,
    trust,
)
from nautilus_core.crypto.signatures import SCHEMES
from nautilus_core.crypto.suites import DEFAULT_SUITES
from nautilus_core.errors import ALERTS
from nautilus_core.transcript import ReplayDiverged, Transcript, ladder_of, profile_of, redact, replay
from nautilus_core.transcript.lines import (
    Answered,
    Asked,
    Called,
    Completed,
    Failed,
    Frame,
    Happened,
    Received,
    Sent,
    Skipped,
)

from .case import FOLDER, path_of
from .cases import CASES
from .certificates import GATEWAY
from .credentials import by_root, certified
from .people import identity, private_bytes
from .sides import FAST

ALL = {one.name: one.transcript for one in stored_in(FOLDER.parent, FOLDER.name)}


def of(name: str, role: Role) -> Transcript:
    """The transcript of one end."""
    return ALL[f"{name}.{role.value}"]


def lines_of(kind: type) -> list[object]:
    """All lines of a kind, in the whole library."""
    return [line for transcript in ALL.values() for line in transcript.lines if isinstance(line, kind)]


@pytest.mark.transcripts("recorded")
def test_it_comes_out_the_same(transcript: StoredTranscript) -> None:
    name, _, role = transcript.name.rpartition(".")
    report = transcript.replay(CASES[name].profile(Role(role)))
    lines = transcript.transcript.lines
    assert report.full is CASES[name].secrets
    assert report.received + len(lines) > 0
    if report.full:
        assert report.sent == sum(len(line.data) for line in lines if isinstance(line, Sent))
        assert report.received == sum(len(line.data) for line in lines if isinstance(line, Received))
        assert not report.not_checked


def completed() -> Iterator[str]:
    for name, case in CASES.items():
        ends = [any(isinstance(line, Completed) for line in of(name, role).lines) for role in Role]
        if (
            case.secrets
            and all(ends)
            and not any(isinstance(line, Asked) for role in Role for line in of(name, role).lines)
        ):
            yield name


@pytest.mark.parametrize("name", list(completed()))
def test_it_comes_out_the_same_from_the_view_of_the_other_side(name: str) -> None:
    for role in Role:
        mine, theirs = of(name, role), of(name, role.peer)
        profile = CASES[name].profile(role.peer)
        assert replay(mine, profile, other_side=True, tape=theirs).full
        if mine.header.framing == "nautilus/1" and mine.header.steps == theirs.header.steps:
            assert replay(mine, profile, other_side=True).messages


def as_it_travelled(name: str, sender: Role) -> bool:
    """Whether what `sender` sent in the handshake came in at the other end as it was."""
    sent = b"".join(line.data for line in of(name, sender).lines if isinstance(line, Sent))
    received = [line for line in of(name, sender.peer).lines if isinstance(line, Received) and not line.channel]
    return sent.startswith(b"".join(line.data for line in received))


WHOLE = [
    name
    for name, case in CASES.items()
    if case.secrets and "split" not in case.options and all(as_it_travelled(name, role) for role in Role)
]


@pytest.mark.parametrize("name", WHOLE)
def test_the_tape_of_the_other_side_does_all_of_it_again_refusals_and_answers_too(name: str) -> None:
    for role in Role:
        mine, theirs = of(name, role), of(name, role.peer)
        report = replay(mine, CASES[name].profile(role.peer), other_side=True, tape=theirs)
        assert report.full
        assert report.role is role.peer


def test_what_was_altered_on_the_way_diverges_from_the_other_side() -> None:
    altered = [
        name for name, case in CASES.items() if case.secrets and not all(as_it_travelled(name, role) for role in Role)
    ]
    assert len(altered) >= 8
    for name in altered:
        diverged = 0
        for role in Role:
            try:
                replay(of(name, role), CASES[name].profile(role.peer), other_side=True, tape=of(name, role.peer))
            except ReplayDiverged:
                diverged += 1
        assert diverged, name


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("noise-")])
def test_each_can_be_looked_at_without_its_profile(name: str) -> None:
    for role in Role:
        transcript = redact(of(name, role))
        assert ladder_of(transcript).parties
        if any(isinstance(line, (Sent, Frame)) for line in transcript.lines):
            assert replay(transcript, profile_of(transcript.header)).messages >= 0


def test_the_table_and_the_files_are_the_same() -> None:
    assert sorted(ALL) == sorted(f"{name}.{role.value}" for name in CASES for role in Role)
    assert sorted(FOLDER.iterdir()) == sorted(path_of(name, role) for name in CASES for role in Role)
    assert all(case.what for case in CASES.values())
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2_500_000


def test_no_identitys_key_is_in_any() -> None:
    everything = [
        bytes(value)
        for transcript in ALL.values()
        for line in transcript.lines
        for value in (getattr(line, field) for field in line.__struct_fields__)
        if isinstance(value, bytes)
    ]
    assert len(everything) > 1000
    text = b"\n".join(everything)
    assert not [secret for secret in private_bytes() if secret in text]


def test_no_private_key_is_needed_to_replay() -> None:
    for scheme in SCHEMES:
        for role in Role:
            public = [Identity.public_only(identity(who.value, scheme).public) for who in (role, role.peer)]
            profile = profiles.nautilus(identity=public[0], trust=trust.pinned(public[1].public), suites=FAST)
            assert replay(of(f"scheme-{scheme}", role), profile).full


def test_nor_a_pre_shared_key() -> None:
    for role, name in ((INITIATOR, "node"), (INITIATOR.peer, "gateway")):
        psk = PreSharedKey.public_only("office", initiator="node", responder="gateway", hash="SHA256")
        side = profiles.nautilus(
            identity=ANONYMOUS, trust=trust.psk(), psks=[psk], psk_name=name, suites=FAST, protocols=()
        )
        assert replay(of("psk-alone", role), side).full


def test_nor_the_key_of_a_certificate_or_of_a_did() -> None:
    def public(one: Identity) -> Identity:
        return Identity.public_only(one.public, one.certificates)

    certified_node = public(certified("initiator", names=("node.example",)))
    side = profiles.nautilus(identity=certified_node, trust=by_root(GATEWAY), suites=FAST)
    assert replay(of("x509-ed25519", INITIATOR), side).full
    node, gateway = (Identity.public_only(identity(who).public).with_did() for who in ("initiator", "responder"))
    side = profiles.nautilus(identity=node, trust=trust.dids(str(gateway.did)), suites=FAST)
    assert replay(of("did-key-ed25519", INITIATOR), side).full


def test_what_a_session_says_of_its_peer_is_in_the_transcript() -> None:
    def completed(name: str, role: Role = INITIATOR) -> Completed:
        return next(line for line in of(name, role).lines if isinstance(line, Completed))

    assert completed("default").psk is None
    assert completed("default").identifier is None
    assert completed("default").names == ()
    assert completed("psk-alone").psk == completed("psk-alone", INITIATOR.peer).psk == "office"
    assert completed("psk-alone").peer == "anonymous"
    assert completed("did-web").identifier == "did:web:gateway.example"
    assert completed("x509-ed25519").names == (GATEWAY,)
    both = completed("mixed-x509-did"), completed("mixed-x509-did", INITIATOR.peer)
    assert [(one.psk, bool(one.identifier), one.names) for one in both] == [
        ("office", True, ()),
        ("office", False, (GATEWAY,)),
    ]


REFUSED = [name for name in CASES if name.startswith("refused-")]


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_clear_here_and_coarse_there(name: str) -> None:
    ends = {role: [line for line in of(name, role).lines if isinstance(line, Failed)] for role in Role}
    (refused,) = [line for role in Role for line in ends[role] if line.error != "PeerAborted"]
    (told,) = [line for role in Role for line in ends[role] if line.error == "PeerAborted"]
    assert refused.error in ("AuthenticationFailed", "NegotiationFailed", "HandshakeTimeout")
    assert refused.message is not None
    assert refused.expected or refused.received
    assert told.code == refused.alert
    assert told.message is not None
    assert told.expected is None
    assert told.received is None
    assert refused.received is None or refused.received not in told.message
    judge = next(role for role in Role if refused in ends[role])
    assert not [line for line in of(name, judge).lines if isinstance(line, Completed)]


def test_those_without_secrets_have_none() -> None:
    public = [name for name, case in CASES.items() if not case.secrets]
    assert len(public) >= 5
    for name in public:
        assert name.startswith("public-")
        for role in Role:
            data = path_of(name, role).read_bytes()
            assert b'"draw"' not in data
            assert b'"secrets"' not in data


ERRORS = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, Exception) and value.__module__ == errors.__name__
]


def test_the_classes_are_those_of_the_library() -> None:
    assert {HandshakeError, LocalProtocolError, *ALERTS} == set(ERRORS)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_there_is_a_failure_of_every_class_and_of_who_is_told(error: type[Exception]) -> None:
    codes = ALERTS[error] if issubclass(error, HandshakeError) else (AlertCode.INTERNAL_ERROR,)
    refused, told = [], []
    for name in CASES:
        ends = {role: [line for line in of(name, role).lines if isinstance(line, Failed)] for role in Role}
        for role in Role:
            if any(line.error == error.__name__ for line in ends[role]):
                refused.append(name)
                told += [name for line in ends[role.peer] if line.error == "PeerAborted" and line.code in codes]
    assert refused
    assert told


def test_there_is_an_alert_of_every_code_that_we_send() -> None:
    codes = {line.code for line in lines_of(Failed) if isinstance(line, Failed) and line.code is not None}
    missing = {code for row in ALERTS.values() for code in row} - codes
    assert missing <= {AlertCode.CERTIFICATE_UNKNOWN}, missing


def test_there_is_one_of_every_kind() -> None:
    suites = {line.suite for line in lines_of(Completed) if isinstance(line, Completed)}
    ours = [SUITES[name] for name in suites if name in SUITES]
    assert {suite.group for suite in ours} == {suite.group for suite in SUITES.values()}
    assert {suite.aead for suite in ours} == {suite.aead for suite in SUITES.values()}
    assert DEFAULT_SUITES[0] in suites
    assert {name for name in CASES if name.startswith("scheme-")} == {f"scheme-{scheme}" for scheme in SCHEMES}
    patterns = {name.split("_")[1] for name in suites if name.startswith("Noise_")}
    assert len(patterns) >= 15
    assert {"XXhfs", "XXfallback", "XXpsk3", "NNpsk0", "N", "K", "X"} <= patterns
    calls = {(line.what, line.ask_peer) for line in lines_of(Called) if isinstance(line, Called)}
    assert calls == {("send", False), ("update", False), ("update", True), ("close", False)}
    happened = {line.event for line in lines_of(Happened) if isinstance(line, Happened)}
    assert {"Accepted", "DataReceived", "KeyUpdated", "PeerClosed"} <= happened
    assert {line.verdict for line in lines_of(Answered) if isinstance(line, Answered)} >= {
        "value",
        "rejected",
        "withheld",
    }
    assert lines_of(Skipped)
    assert (
        "initiator-key-share-retry"
        in next(line for line in of("retry", INITIATOR).lines if isinstance(line, Completed)).steps
    )
