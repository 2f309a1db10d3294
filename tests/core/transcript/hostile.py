"""Transcripts that no recorder has written: every one reads, and nothing in it makes sense."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from nautilus_core import INITIATOR, RESPONDER
from nautilus_core.limits import Limits
from nautilus_core.step import StepDescription
from nautilus_core.transcript import FORMAT, VERSION, AnyLine, Transcript, read, to_bytes
from nautilus_core.transcript import lines as kinds

NASTY = "<script>alert(1)</script>\u202e\x1b[31m\x00\"'&;#end\n%%{init}%% -->"
TEXTS = st.one_of(st.just(NASTY), st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
NUMBERS = st.integers(-(2**63), 2**63 - 1)
TIMES = st.none() | NUMBERS
ROLES = st.sampled_from([INITIATOR, RESPONDER])
STEPS = st.sampled_from(["hello", "suite", "hello-response", "-> e", "-> e, s", "<- e, ee", NASTY]) | TEXTS
FRAMES = st.sampled_from(
    [
        bytes.fromhex("e100000692a568656c6c6f"),
        bytes.fromhex("e2000003920ac0"),
        bytes.fromhex("e2000003929000"),
        b"\xe3\0\0\0" * 3,
        b"\xe4\0\0\x01x",
        b"\xe5\xff\xff\xff",
        b"\xe1\0\0\x06" + b"\x92\xa1x" + b"\x91" * 3,
        b"\xe1\0\x04\0" + b"\x91" * 1024,
        b"\0\x01x",
    ]
)
BYTES = st.lists(FRAMES | st.binary(max_size=40), max_size=4).map(b"".join)
VALUES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["peer", "name", "records", "sender"]) | TEXTS,
    TEXTS | NUMBERS | st.none() | st.lists(st.fixed_dictionaries({"length": NUMBERS, "bytes": TEXTS}), max_size=2),
    max_size=3,
)
EVENTS = st.sampled_from(["PeerIdentified", "DataReceived", "Accepted"]) | TEXTS

LINES: st.SearchStrategy[AnyLine] = st.one_of(
    st.builds(kinds.Received, at=TIMES, flight=NUMBERS, data=BYTES, channel=st.booleans()),
    st.builds(kinds.Sent, at=TIMES, flight=st.integers(1, 4), data=BYTES, channel=st.booleans()),
    st.builds(kinds.Frame, at=TIMES, step=STEPS, sender=ROLES, size=NUMBERS, sealed=st.booleans()),
    st.builds(kinds.Frame, at=TIMES, step=STEPS, sender=ROLES, size=st.integers(0, 40), sealed=st.just(False)),
    st.builds(kinds.Skipped, at=TIMES, step=STEPS, reason=TEXTS),
    st.builds(kinds.Happened, at=TIMES, event=EVENTS, values=VALUES),
    st.builds(kinds.Asked, at=TIMES, question=EVENTS, values=VALUES),
    st.builds(kinds.Answered, at=TIMES, verdict=TEXTS, value=VALUES | NUMBERS, reason=st.none() | TEXTS),
    st.builds(
        kinds.Completed,
        suite=TEXTS,
        protocol=st.none() | TEXTS,
        peer=st.just("anonymous") | TEXTS,
        handshake_hash=st.binary(max_size=80),
        steps=st.just(()),
        psk=st.none() | TEXTS,
        identifier=st.none() | TEXTS,
        names=st.lists(TEXTS, max_size=5).map(tuple),
    ),
    st.builds(kinds.Aborted, reason=TEXTS, code=NUMBERS),
    st.builds(kinds.TimedOut, at=TIMES),
    st.builds(kinds.Failed, error=TEXTS, message=st.none() | TEXTS, hint=st.none() | TEXTS, code=st.none() | NUMBERS),
    st.builds(kinds.Drawn, what=TEXTS, data=st.binary(max_size=8)),
    st.builds(kinds.Opened),
    st.builds(kinds.Called, what=TEXTS, size=NUMBERS, data=st.none() | st.binary(max_size=8)),
)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Any transcript that reads."""
    header = kinds.Header(
        format=FORMAT,
        version=VERSION,
        library=draw(TEXTS),
        role=draw(ROLES),
        profile=draw(st.sampled_from(["nautilus/1", "Noise_XX_25519_ChaChaPoly_SHA256", NASTY]) | TEXTS),
        framing=draw(st.sampled_from(["nautilus/1", "length-prefixed", NASTY])),
        steps=(StepDescription("hello", INITIATOR, None, True), StepDescription(NASTY[:40], RESPONDER, "<b>", False)),
        limits=Limits(),
        secrets=draw(st.booleans()),
    )
    end = kinds.End(
        outcome=draw(TEXTS | st.just("failed")),
        received=draw(NUMBERS),
        sent=draw(NUMBERS),
        received_check=1,
        sent_check=2,
    )
    return read([to_bytes(Transcript(header, (*draw(st.lists(LINES, max_size=12)), end)))])
