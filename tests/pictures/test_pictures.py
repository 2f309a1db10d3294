"""Pictures of handshakes: what they show, that any transcript has one, and that nothing in it gets out of its place."""

from __future__ import annotations

import re
import unicodedata
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings

from nautilus_anyio.cli.transcript.lines import shown, shown_as_json
from nautilus_anyio.pictures import as_html, as_mermaid, as_svg, as_text
from nautilus_anyio.pictures.words import party_text
from nautilus_core import ANONYMOUS, INITIATOR, RESPONDER, Profile, profiles, trust
from nautilus_core.transcript import (
    Arrow,
    FlightEnd,
    Ladder,
    Mark,
    Tone,
    Transcript,
    first_difference,
    ladder_of,
    ladder_of_profile,
    pieces_of,
    read,
    redact,
    to_bytes,
    unsealed,
)
from nautilus_core.transcript.lines import Drawn

from ..core.helpers import BOB, BUILT_IN, MALLORY, Talk, alice, asking, both, note
from ..core.transcript.hostile import transcripts
from ..core.transcript.recording import Recorded

RECORDED = Path(__file__).parents[1] / "transcripts" / "recorded"

ALLOWED_TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "h1",
    "h2",
    "p",
    "dl",
    "dt",
    "dd",
    "svg",
    "defs",
    "marker",
    "path",
    "text",
    "line",
    "rect",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "span",
    "pre",
}
ALLOWED_ATTRIBUTES = {
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "role",
    "aria-label",
    "width",
    "height",
    "viewbox",
    "xmlns",
    "id",
    "refx",
    "refy",
    "markerwidth",
    "markerheight",
    "orient",
    "d",
    "x",
    "y",
    "x1",
    "y1",
    "x2",
    "y2",
    "rx",
    "text-anchor",
    "marker-end",
    "overflow",
}
FORMS = [as_html, as_svg, as_text, as_mermaid]


class Checked(HTMLParser):
    """Collects what an HTML page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def harmless(text: str) -> bool:
    """No control, no bidi, no surrogate: nothing that does not print, but for new lines."""
    return all(letter == "\n" or unicodedata.category(letter)[0] != "C" for letter in text)


@settings(max_examples=150)
@given(transcripts())
def test_any_transcript_that_reads_can_be_drawn_and_shown(transcript: Transcript) -> None:
    ladder = ladder_of(transcript)
    assert ladder.parties[0].role is INITIATOR
    for form in FORMS:
        assert harmless(form(ladder))
    page = Checked(as_html(ladder))
    assert page.tags <= ALLOWED_TAGS
    assert page.attributes <= ALLOWED_ATTRIBUTES
    assert ET.fromstring(as_svg(ladder)).tag.endswith("svg")
    assert max(map(len, as_text(ladder, 60).split("\n"))) <= 60
    for width in (60, 130):
        assert len(list(shown(transcript, pieces_of(transcript), width, full=False))) > len(transcript.lines)
    assert len(list(shown_as_json(transcript, pieces_of(transcript)))) == len(transcript.lines) + 1


@settings(max_examples=60)
@given(transcripts())
def test_mermaid_has_one_statement_a_line(transcript: Transcript) -> None:
    first, *lines = as_mermaid(ladder_of(transcript)).split("\n")
    assert first == "sequenceDiagram"
    text = r"(?:[\w ,./:+-]|#\d+;)*"
    for line in lines:
        who = rf"participant [IR] as \w+(?:<br/>{text})?"
        statement = rf"    (?:{who}|Note over I,R: {text}(?:<br/>{text})*|[IR](?:->>|-x)[IR]: {text}(?: \({text}\))?)"
        assert re.fullmatch(statement, line), line


@settings(max_examples=60)
@given(transcripts(), transcripts())
def test_any_two_transcripts_can_be_compared_and_any_redacted(one: Transcript, other: Transcript) -> None:
    assert first_difference(one, one, times=True) is None
    assert (first_difference(one, other, times=True) is None) == (one == other)
    for names in (False, True):
        without = redact(one, names=names)
        assert not without.header.secrets
        assert read([to_bytes(without)]) == without
        assert redact(without, names=names) == without


# ------------------------------------------------------------------ what they show


def recorded(*profiles: Profile, **options: Any) -> Ladder:
    """The initiator's ladder."""
    return ladder_of(read(Recorded(*profiles, **options).files[0]))


def arrows(ladder: Ladder) -> list[str]:
    return [rung.label for rung in ladder.rungs if isinstance(rung, Arrow)]


def marks(ladder: Ladder, tone: Tone) -> list[str]:
    return [rung.text for rung in ladder.rungs if isinstance(rung, Mark) and rung.tone is tone]


def test_a_ladder_has_messages_flights_and_where_encryption_begins() -> None:
    ladder = recorded(*both(protocols=["acme/1"]))
    assert arrows(ladder) == [*BUILT_IN, "accept"]
    assert (ladder.outcome, ladder.protocol, ladder.flights) == ("completed", "acme/1", 4)
    assert [rung.messages for rung in ladder.rungs if isinstance(rung, FlightEnd)] == [3, 5, 2, 1]
    place = next(n for n, rung in enumerate(ladder.rungs) if isinstance(rung, Mark) and rung.tone is Tone.SEALED)
    after = ladder.rungs[place + 1]
    assert isinstance(after, Arrow)
    assert after.label == "responder-authentication"
    assert ladder.parties[1].proof == "verified"
    assert ladder.parties[1].peer == BOB.peer_id
    for form in (as_text, as_html, as_mermaid):
        assert BOB.peer_id in form(ladder)
        assert "encrypted from here on" in form(ladder)


def test_a_profile_that_was_not_run_has_the_same_arrows() -> None:
    run, plan = recorded(*both()), ladder_of_profile(both()[0])
    assert arrows(run) == arrows(plan)
    assert plan.flights == run.flights
    assert (plan.run, plan.outcome, plan.size) == (False, "not run", 0)
    assert "not run" in as_html(plan)


def test_a_failure_is_red_and_its_alert_comes_after_the_messages() -> None:
    ladder = recorded(alice(trust=trust.pinned(MALLORY.public)), both()[1])
    assert ladder.outcome == "failed"
    assert ladder.error is not None
    assert "AuthenticationFailed in responder-authentication" in ladder.error
    assert arrows(ladder)[-1] == "sealed alert"
    assert marks(ladder, Tone.ERROR) == [ladder.error]
    assert '<p class="error">AuthenticationFailed' in as_html(ladder)


def test_anonymous_is_no_proof() -> None:
    anonymous = profiles.nautilus(identity=ANONYMOUS, trust=trust.pinned(BOB.public))
    open_to_all = profiles.nautilus(identity=BOB, trust=trust.anyone(anonymous=True))
    files = Recorded(anonymous, open_to_all).files
    assert ladder_of(read(files[1])).parties[0].proof == "accepted"
    assert "accepted without proof: anonymous" in as_text(ladder_of(read(files[1])))


def test_questions_answers_and_steps_of_ones_own() -> None:
    def edit(profile: Profile) -> Profile:
        inner = profile.insert_before("initiator-finished", note("mine"))
        return inner.insert_before("initiator-finished", lambda: Talk(length=4)).insert_before(
            "initiator-finished", asking("who")
        )

    files = Recorded(*both(edit), answer=lambda question: question.answer(7_654_321)).files
    ladder = ladder_of(read(files[1]))
    assert arrows(ladder).count("talk") == 4
    assert marks(ladder, Tone.QUESTION) == ["Welcome?"]
    assert marks(ladder, Tone.ANSWER) == ["answered (recorded, secret)"]
    assert not any("7654321" in form(ladder) or "7,654,321" in form(ladder) for form in FORMS)


def test_noise_shows_the_key_in_the_clear() -> None:
    def node() -> Profile:
        return profiles.noise(
            "Noise_XX_25519_ChaChaPoly_BLAKE2s", static=X25519PrivateKey.generate(), trust=trust.anyone()
        )

    ladder = recorded(node(), node())
    assert arrows(ladder) == ["-> e", "<- e, ee, s, es", "-> s, se"]
    first = next(rung for rung in ladder.rungs if isinstance(rung, Arrow))
    assert first.piece is not None
    assert {name: len(value) for name, value in first.piece.fields.items()} == {"e": 32, "payload": 0}
    assert "-&gt; s, se" in as_html(ladder)


@pytest.mark.parametrize("width", [40, 60, 78, 200])
def test_the_text_fits_its_width(width: int) -> None:
    def edit(profile: Profile) -> Profile:
        return profile.insert_before("initiator-finished", note("n" * 64)).insert_after(
            "n" * 64, note("x" * 64, RESPONDER)
        )

    ladder = recorded(*both(edit))
    lines = [line for line in as_text(ladder, width).split("\n") if line.startswith("│")]
    assert {len(line) for line in lines} == {width}


def test_many_steps_are_drawn_and_more_are_counted() -> None:
    ladder = recorded(*both())
    long = Ladder("x", True, ladder.parties, ladder.rungs * 200, "open")
    assert len(as_html(long)) < 2_000_000
    assert "are not shown" in as_html(long)
    assert "more" in as_text(long)
    assert len(as_mermaid(long)) < 50_000


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("psk-alone", "proved to have the pre-shared key 'office'"),
        ("psk-beside-signatures", ", and to have the pre-shared key 'office'"),
        ("did-web", ", who is did:web:gateway.example"),
        ("x509-ed25519", ", who is gateway.example"),
    ],
)
def test_a_picture_says_who_proved_what(name: str, said: str) -> None:
    ladder = ladder_of(read([(RECORDED / f"{name}.initiator.jsonl").read_bytes()]))
    assert said in party_text(ladder.parties[1], ladder)
    assert party_text(ladder.parties[0], ladder) == "recorded here"
    for form in FORMS:
        if form is as_svg and name == "did-web":  # a long name is cut there
            continue
        assert re.sub(r"[^a-z]", "", said) in re.sub(r"<[^>]*>|&[^;]*;|#[0-9]*;|[^a-z]", "", form(ladder)), form


def test_secrets_are_on_no_picture() -> None:
    transcript = read(Recorded(*both()).files[0])
    drawn = [line.data for line in transcript.lines if isinstance(line, Drawn) and line.what == "X25519"]
    assert drawn
    opened = unsealed(transcript)
    words = [text for text, _ in shown(transcript, opened, 130, full=True)]
    everything = "".join(
        [*words, *(form(ladder_of(transcript)) for form in FORMS), str(list(shown_as_json(transcript, opened)))]
    )
    assert not any(secret.hex() in everything or secret.hex(" ") in everything for secret in drawn)
