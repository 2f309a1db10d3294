"""The fuzz harnesses: their seeds reach the good paths, and every seed, and a few mutants, come through."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fuzz import credentials, messages, run, transcripts
from fuzz.checks import Finding, check_text, timed
from fuzz.insecure import insecure_provider
from fuzz.people import PROFILES
from fuzz.victim import play, provider, recorded
from nautilus_core import INITIATOR, RESPONDER, HandshakeError, PublicKey, Role
from nautilus_core.crypto.suites import AES_128_GCM
from nautilus_core.transcript import read

from .reliability import fuzzing

HARNESSES = pytest.mark.parametrize("harness", run.HARNESSES)


@HARNESSES
def test_seeds_and_a_few_mutants_come_through(harness: str) -> None:
    """Whatever is a finding would come out of `one_input`."""
    module, one_input = run.load(harness), run.load_input(harness)
    seeds = list(module.seeds().values())
    source = random.Random(1)
    change = getattr(module, "mutate", None)
    inputs = [*seeds, *(run.mutate(source, seeds, change) for _ in range(200))]
    assert [one_input(data) for data in inputs] == [None] * len(inputs)


@HARNESSES
def test_the_seeds_in_the_repository_are_those_that_are_made(harness: str) -> None:
    made = run.load(harness).seeds()
    stored = {path.name: path.read_bytes() for path in (run.SEEDS / harness).iterdir()}
    if harness == "tls":  # what OpenSSL draws is another each time
        assert stored.keys() == made.keys()
    else:
        assert stored == made


def test_there_is_a_module_for_every_harness_and_a_harness_for_every_folder_of_seeds() -> None:
    assert {path.name for path in run.SEEDS.iterdir()} == set(run.HARNESSES)


@pytest.mark.parametrize("role", [INITIATOR, RESPONDER])
@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("asks", [True, False])
def test_the_recorded_peer_takes_its_victim_through_handshake_and_channel(
    role: Role, name: str, secure: bool, asks: bool
) -> None:
    """Without edits the whole recording is understood, up to the close; so an edit can reach all of it."""
    with provider(secure=secure):
        victim = play(role, name, b"".join(recorded(role, name, secure=secure)), asks=asks)
    assert victim.closed
    assert victim.error is None


def test_every_message_of_the_library_has_a_place_where_it_is_fuzzed() -> None:
    steps = {place.step for place in messages.places()}
    assert {"hello", "hello-response", "suites", "suite", "psk-offer", "psk-binders", "psk"} <= steps
    assert {"initiator-key-share", "initiator-key-share-retry", "responder-key-share"} <= steps
    assert {f"{role.value}-{what}" for role in Role for what in ("authentication", "finished")} <= steps
    assert {"hello-bound", "hello-response-bound"} <= {place.label for place in messages.places()}
    assert {"talk", "asking", "note", "noise-0", "noise-1", "noise-2"} <= steps


def test_the_good_credentials_among_the_seeds_are_judged_good() -> None:
    """So that the fuzzer begins behind the checks."""
    good = ("raw-ed25519", "x509-chain-0", "x509-chain-70", "x509-chain-195", "x509-other")
    for name in (*good, "did-key", "did-web", "did-web-fragment", "did-peer-0", "did-peer-2"):
        data = credentials.seeds()[name]
        credentials.KINDS[data[0]](data[2:], data[1])


def test_the_transcripts_among_the_seeds_are_whole() -> None:
    seeds = transcripts.seeds()
    assert all(read([transcripts.with_checks(seeds[name][1:])]).whole for name in seeds if name.count("-") == 2)


def test_a_text_that_shows_a_secret_or_commands_a_terminal_is_a_finding() -> None:
    secret = bytes(range(40, 60))
    for text in (f"the key {secret.hex()} is wrong", f"got {secret!r}", "got \x1b[2J", "x" * 5000):
        with pytest.raises(Finding):
            check_text(ValueError(text), [secret])
    check_text(HandshakeError("the key is wrong"), [secret])


def test_an_input_that_takes_long_is_a_finding() -> None:
    with pytest.raises(Finding, match="1 bytes"):
        timed(lambda _: None, most=-1.0)(b"x")


def test_a_finding_is_kept_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(data: bytes) -> None:
        if b"b" in data:
            raise Finding("this one")

    assert run.hunt("some", fails, [b"a", b"b", b"c"], None, 1.0, tmp_path / "findings") == 1
    assert "this one" in capsys.readouterr().out
    (kept,) = (tmp_path / "findings").iterdir()
    assert kept.read_bytes() == b"b"
    assert run.hunt("some", fails, [b"a"], lambda data, choose: b"a", 0.0, tmp_path) == 0


def test_the_command_runs_without_atheris_and_reports_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    results = run.run(["names", "documents"], 0.2, 2, None, guided=False)
    assert [(one.harness, one.findings) for one in results] == [("names", 0), ("documents", 0)]
    assert all(one.executions >= len(run.load_seeds(one.harness)) for one in results)
    table = run.report(results).splitlines()
    assert table[0].startswith("| harness | executions |")
    assert [line.split("|")[1].strip() for line in table[2:5]] == ["names", "documents", "all"]


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: it has no wheels for every Python")
def test_with_atheris_the_core_is_instrumented(tmp_path: Path) -> None:
    """Else the fuzzer would be blind, and not say so."""
    (result,) = run.run(["documents"], 1, 1, tmp_path, guided=True)
    assert result.findings == 0
    assert result.coverage > 100
    assert result.features > result.coverage
    assert result.executions > len(run.load_seeds("documents"))


def test_the_insecure_provider_is_gone_afterwards() -> None:
    before = PublicKey.verify
    with insecure_provider():
        assert AES_128_GCM.new is not AESGCM
        assert PublicKey.verify is not before
    assert AES_128_GCM.new is AESGCM
    assert PublicKey.verify is before


def test_the_section_of_the_reliability_report_has_the_table_and_what_is_open() -> None:
    results = [run.Result("engine", 1000, 2.0, 30, 40, 5), run.Result("names", 10, 1.0, 3, 4, 5, 1)]
    section = fuzzing.section(results, 10, 1, guided=False)
    assert section.startswith("## Fuzzing\n")
    assert "Open findings: 1." in section
    assert "| engine | 1,000 | 500 | 30 | 40 | 5 | 0 |" in section
