"""What an inspection found out about a peer, and how that is shown. How it was found out is `inspect`'s business."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich.markup import escape

from nautilus_core import AlertCode, PeerAborted
from nautilus_core.errors import alert_meaning

from ..pictures.words import printable
from .tables import columns_table, facts_table

OURS: Final = "nautilus/1"
OTHER_VERSION: Final = "another version of nautilus"


@dataclass(slots=True)
class Alert:
    """How a peer refused us: the code, its name and meaning, seconds to wait, and whether it was sealed."""

    code: int
    name: str
    meaning: str
    retry_after: int | None
    authenticated: bool

    @classmethod
    def of(cls, error: PeerAborted | None) -> Alert | None:
        """The alert that came, if one did."""
        if error is None or error.code is None:
            return None
        code = error.code
        name = AlertCode(code).name if code in set(AlertCode) else "unknown"
        return cls(code, name, alert_meaning(code), error.retry_after, error.authenticated)

    def __str__(self) -> str:
        later = "" if self.retry_after is None else f", in {self.retry_after} s again"
        return f"alert {self.code} {self.name}: {self.meaning}{later}{'' if self.authenticated else ' (not authenticated)'}"


@dataclass(slots=True)
class Key:
    """The key that a peer showed; anybody who dials sees it. Its proof of possession was verified."""

    peer_id: str
    words: str
    scheme: str
    fingerprint: str


@dataclass(slots=True)
class Report:
    """What was found out; None, or empty, for what was not.

    Attributes:
        reachable: whether anybody accepts connections there; `reason` says why not.
        speaks: `nautilus/1`, `another version of nautilus`, the name of another protocol, or None.
        speaks_first: whether it greets before it is spoken to.
        version: of the wire.
        protocol: the application protocol that it selected of those offered.
        protocols: all that it takes of those offered, in its order of preference.
        wants_protocol: whether it insists on an application protocol, or on none.
        suites: those it takes, in its order of preference.
        credential_types, schemes: what it accepts from an initiator.
        key: its own; None where it is anonymous or did not come so far.
        anonymous: whether it is.
        refusal: how it refused the first offer of everything.
        to_anonymous: how it refused an initiator that does not say who it is.
        connect_ms, answer_ms: of the first handshake: until connected, and from the first byte to the answer's first.
        complete: whether all probes were made.
        seconds: that it took.
        connections: each probe and what came of it.
    """

    host: str
    port: int
    reachable: bool = True
    reason: str | None = None
    speaks: str | None = None
    speaks_first: bool = False
    version: int | None = None
    protocol: str | None = None
    protocols: list[str] = field(default_factory=list)
    wants_protocol: bool | None = None
    suites: list[str] = field(default_factory=list)
    credential_types: list[str] = field(default_factory=list)
    schemes: list[str] = field(default_factory=list)
    key: Key | None = None
    anonymous: bool = False
    refusal: Alert | None = None
    to_anonymous: Alert | None = None
    connect_ms: float | None = None
    answer_ms: float | None = None
    complete: bool = True
    seconds: float = 0.0
    connections: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def picture(report: Report) -> Iterator[Any]:
    """The report for people: facts, then each connection."""
    yield facts_table(_facts(report))
    if report.connections:
        yield ""
        table = columns_table("", "sent", "ms", "what came of it", numbers=("", "ms"), whole=("", "ms"))
        for number, made in enumerate(report.connections, 1):
            table.add_row(str(number), escape(made["sent"]), _number(made["answer_ms"]), escape(made["outcome"]))
        yield table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    yield "address", f"{report.host} port {report.port}"
    if not report.reachable:
        yield "reachable", f"no: {report.reason}"
        return
    when = "before it is spoken to" if report.speaks_first else "when spoken to"
    yield "speaks", f"{report.speaks}, {when}" if report.speaks else "nothing that is known here"
    if report.speaks in (OURS, OTHER_VERSION):
        yield from _our_facts(report)
    yield "probes", f"{len(report.connections)} connections in {report.seconds:.1f} s, all closed again"
    if not report.complete:
        yield "incomplete", "time or connections ran out, or it stopped answering: see below"


def _our_facts(report: Report) -> Iterator[tuple[str, str]]:
    if report.refusal is not None:
        yield "refuses", str(report.refusal)
    if report.wants_protocol:
        names = ", ".join(map(printable, report.protocols))
        yield "protocol", names or "it wants one, and does not say which: name some with --protocol"
    elif report.wants_protocol is not None:
        yield "protocol", "none: it takes no application protocol id"
    if report.version is not None:
        yield "wire version", str(report.version)
    for number, suite in enumerate(report.suites, 1):
        yield "suites", f"{number} {printable(suite, 200)}"
    if report.credential_types:
        yield "accepts", ", ".join(map(printable, report.credential_types))
        yield "schemes", ", ".join(map(printable, report.schemes)) or "none"
        welcome = "anonymous" in report.credential_types
        yield "to anonymous", "welcome, so it says (not tried)" if welcome else str(report.to_anonymous or "no alert")
    if report.key is not None:
        yield "its key", f"{report.key.peer_id}\n{report.key.words}"
        yield "", f"{report.key.scheme}, proved; anybody who dials sees it"
    elif report.anonymous:
        yield "its key", "none: it is anonymous"
    if report.answer_ms is not None:
        yield "time", f"connected in {_number(report.connect_ms)} ms, answered in {_number(report.answer_ms)} ms"
