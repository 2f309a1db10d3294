"""A ladder as one HTML page that needs nothing else: the drawing, what is known, each message with its fields and bytes.

A transcript is input from anywhere, so everything is escaped, and the page forbids itself scripts and all that is not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from nautilus_core.transcript import Arrow, Ladder, Piece

from .svg import STYLE, inline_svg
from .words import MOST, field_text, party_text, printable, shown_time, summary

_MOST_BYTES: Final = 2_048
"""Of one message, shown on demand."""
_MOST_LETTERS: Final = 1_000
"""Of one field."""
_ROW: Final = 16

_STYLE: Final = """\
:root{color-scheme:light dark;--ink:#1c2733;--dim:#5d6b7a;--rule:#dde4eb;--paper:#fff;--card:#f3f6f9;--bad:#c0202b;
--badbg:#fdecec;--sealed:#12754a;--open:#0b62c4}
@media (prefers-color-scheme:dark){:root{--ink:#e4eaf1;--dim:#98a6b5;--rule:#2d3844;--paper:#12181f;--card:#1a222b;--bad:#ff7b80;
--badbg:#3a1b1f;--sealed:#4fd394;--open:#6cb2ff}}
*{box-sizing:border-box}
body{margin:0 auto;padding:20px 16px 48px;max-width:820px;color:var(--ink);background:var(--paper);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
h1{font-size:22px;line-height:1.25;margin:0}h2{font-size:16px;margin:32px 0 8px}
.sum{color:var(--dim);margin:2px 0 16px}.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.error{color:var(--bad);background:var(--badbg);border:1px solid var(--bad);border-radius:8px;padding:10px 14px;margin:0 0 16px}
.warn{color:var(--dim);border-left:3px solid var(--bad);padding-left:10px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 16px;margin:0 0 20px}dt{color:var(--dim)}dd{margin:0;min-width:0}
table{border-collapse:collapse;width:100%;font-size:14px}th{font-weight:500;color:var(--dim);font-size:12px}
th,td{text-align:left;padding:6px 10px 6px 0;border-bottom:1px solid var(--rule);vertical-align:top}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.sealed{color:var(--sealed)}.open{color:var(--open)}
.bad{color:var(--bad)}summary{cursor:pointer}details dl{margin:8px 0;font-size:13px;gap:2px 12px}
pre{background:var(--card);border-radius:6px;padding:10px;margin:8px 0;overflow-x:auto;font-size:12px;line-height:1.45;
font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;overflow-wrap:normal}
details{min-width:0}td:nth-child(3){width:99%;max-width:0}
@media (max-width:520px){th:nth-child(5),td:nth-child(5){display:none}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:6px}}
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def as_html(ladder: Ladder) -> str:
    """The page. It opens in any browser, from a file, in light and dark."""
    title = _safe(ladder.profile, 100)
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">',
        f"<title>{title}: {_safe(ladder.outcome, 40)}</title>",
        f"<style>{_STYLE}{STYLE}</style></head><body>",
        f'<h1>{title}</h1><p class="sum">{_safe(summary(ladder), 200)}</p>',
        *_warnings(ladder),
        "<dl>",
        *(f"<dt>{_safe(name)}</dt><dd>{_safe(text, 400)}</dd>" for name, text in _facts(ladder)),
        "</dl>",
        inline_svg(ladder),
        *_table(ladder),
        "</body></html>\n",
    ]
    return "".join(parts)


def _warnings(ladder: Ladder) -> Iterator[str]:
    if ladder.error is not None:
        yield f'<p class="error">{_safe(ladder.error, 1_000)}</p>'
    if not ladder.run:
        yield '<p class="sum">Not run: what happens where every step runs and none is added.</p>'
    if not ladder.whole:
        yield '<p class="warn">The transcript is cut off: it has no last line.</p>'
    if ladder.secrets:
        yield '<p class="warn">The transcript holds secrets. They are not on this page.</p>'


def _facts(ladder: Ladder) -> Iterator[tuple[str, str]]:
    for party in ladder.parties:
        if said := party_text(party, ladder):
            yield party.role.value, said
    if ladder.suite is not None:
        yield "suite", ladder.suite
    if ladder.protocol is not None:
        yield "protocol", ladder.protocol
    if ladder.handshake_hash is not None:
        yield "handshake hash", ladder.handshake_hash[:64].hex()


def _table(ladder: Ladder) -> Iterator[str]:
    arrows = [rung for rung in ladder.rungs if isinstance(rung, Arrow)]
    timed = any(arrow.at is not None for arrow in arrows)
    heading = "Messages" if ladder.run else "Steps"
    yield f'<h2>{heading}</h2><table><thead><tr><th class="n">#</th><th></th><th>message</th><th class="n">bytes</th>'
    yield f'<th class="n">{"time" if timed else ""}</th></tr></thead><tbody>'
    for number, arrow in enumerate(arrows[:MOST], 1):
        way = "→" if arrow.sender.value == "initiator" else "←"
        kind = "bad" if arrow.bad else "sealed" if arrow.sealed else "open"
        size = "" if arrow.size is None else f"{arrow.size:,}"
        time = "" if arrow.at is None else shown_time(arrow.at)
        yield f'<tr><td class="n">{number}</td><td class="{kind}">{way}</td><td>{_message(arrow, kind)}</td>'
        yield f'<td class="n">{size}</td><td class="n">{time}</td></tr>'
    yield "</tbody></table>"
    if len(arrows) > MOST:
        yield f'<p class="warn">{len(arrows) - MOST:,} more are not shown.</p>'


def _message(arrow: Arrow, kind: str) -> str:
    note = f" ({_safe(arrow.note, 200)})" if arrow.note else ""
    sealed = ' <span class="sum">sealed</span>' if arrow.sealed else ""
    name = f'<span class="{kind}">{_safe(arrow.label, 100)}</span>{note}{sealed}'
    piece = arrow.piece
    if piece is None or not piece.data:
        return name
    return f"<details><summary>{name}</summary>{_fields(piece)}{_bytes(piece.data)}</details>"


def _fields(piece: Piece) -> str:
    rows = "".join(
        f'<dt>{_safe(name, 100)}</dt><dd class="mono">{_safe(field_text(value), _MOST_LETTERS)}</dd>'
        for name, value in piece.fields.items()
    )
    return f"<dl>{rows}</dl>" if rows else ""


def _bytes(data: bytes) -> str:
    rows = [
        f"{start:06x}  {data[start : start + _ROW].hex(' ')}" for start in range(0, min(len(data), _MOST_BYTES), _ROW)
    ]
    more = f"\n{len(data) - _MOST_BYTES:,} bytes more" if len(data) > _MOST_BYTES else ""
    return f"<pre>{chr(10).join(rows)}{more}</pre>"


def _safe(text: str, most: int | None = None) -> str:
    return escape(printable(text, most), quote=True)
