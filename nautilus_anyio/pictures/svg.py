"""A ladder as SVG: for a page, where it is as wide as its place, or as a file of its own. Everything is escaped.

What is across is given in per cent, so that letters keep their size on a narrow screen. There are no scripts and no links.
"""

from __future__ import annotations

import textwrap
from html import escape
from typing import Final

from nautilus_core.role import INITIATOR
from nautilus_core.transcript import Arrow, FlightEnd, Ladder, Mark, Tone

from .words import MOST, arrow_detail, flight_text, mark_text, party_text, printable, summary

WIDTH: Final = 720
_LEFT, _MIDDLE, _RIGHT = 10, 50, 90
"""Per cent, of the lifelines and between them."""
_COLUMNS: Final = 44
"""Letters of one line of a mark: what fits a telephone."""
_NAME: Final = 38
_HALF: Final = 22
_BOX: Final = {
    Tone.ERROR: "bad",
    Tone.DONE: "good",
    Tone.QUESTION: "ask",
    Tone.ANSWER: "ask",
    Tone.SKIPPED: "skip",
    Tone.EVENT: "soft",
    Tone.NOTE: "soft",
}

STYLE: Final = """\
.ladder{--ink:#1c2733;--dim:#5d6b7a;--line:#b9c4d0;--band:#f3f6f9;--open:#0b62c4;--sealed:#12754a;--bad:#c0202b;
--badbg:#fdecec;--good:#12754a;--goodbg:#e6f5ed;--ask:#8a5300;--askbg:#fff3dc;--page:#fff;
font:13px/1.3 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
@media (prefers-color-scheme:dark){.ladder{--ink:#e4eaf1;--dim:#98a6b5;--line:#465361;--band:#1a222b;--open:#6cb2ff;
--sealed:#4fd394;--bad:#ff7b80;--badbg:#3a1b1f;--good:#4fd394;--goodbg:#12301f;--ask:#f2c15f;--askbg:#33280f;--page:#12181f}}
.ladder text{fill:var(--ink)}.ladder .dim{fill:var(--dim);font-size:11px}.ladder .role{font-weight:600;font-size:14px}
.ladder .band{fill:var(--band)}.ladder .life{stroke:var(--line);stroke-width:1.5}
.ladder .life.sealed{stroke:var(--sealed);stroke-width:3}
.ladder .arrow{stroke:var(--open);stroke-width:1.6}.ladder .arrow.sealed{stroke:var(--sealed)}
.ladder .arrow.bad{stroke:var(--bad);stroke-dasharray:5 3}.ladder .plan{stroke-dasharray:6 3}
.ladder .h-open{fill:var(--open)}.ladder .h-sealed{fill:var(--sealed)}.ladder .h-bad{fill:var(--bad)}
.ladder .name{font-weight:500;paint-order:stroke;stroke:var(--band);stroke-width:3px}
.ladder .name.sealed{fill:var(--sealed)}.ladder .name.open{fill:var(--open)}.ladder .name.bad{fill:var(--bad)}
.ladder .wall{stroke:var(--sealed);stroke-width:1.5;stroke-dasharray:2 4}.ladder .pill{fill:var(--page);stroke:var(--sealed)}
.ladder text.wall-text{fill:var(--sealed);font-weight:600;font-size:12px}
.ladder .box-bad{fill:var(--badbg);stroke:var(--bad)}.ladder .box-good{fill:var(--goodbg);stroke:var(--good)}
.ladder .box-ask{fill:var(--askbg);stroke:var(--ask)}.ladder .box-skip{fill:var(--page);stroke:var(--line);stroke-dasharray:4 3}
.ladder .box-soft{fill:var(--page);stroke:var(--line)}
.ladder text.bad{fill:var(--bad);font-weight:600}.ladder text.good{fill:var(--good);font-weight:600}
.ladder text.ask{fill:var(--ask)}.ladder text.skip,.ladder text.soft{fill:var(--dim)}.ladder .paper{fill:var(--page)}
"""


def as_svg(ladder: Ladder) -> str:
    """A file of its own, which a browser and a document show."""
    drawing = Drawing(ladder)
    size = f'width="{WIDTH}" height="{drawing.height}" viewBox="0 0 {WIDTH} {drawing.height}"'
    paper = '<rect class="paper" width="100%" height="100%"/>'
    return f"{drawing.opening(size)}<style>{STYLE}</style>{paper}{drawing.body}</svg>\n"


def inline_svg(ladder: Ladder) -> str:
    """The drawing for a page that has `STYLE`: as wide as its place."""
    drawing = Drawing(ladder)
    return f'{drawing.opening(f"""width="100%" height="{drawing.height}" """.strip())}{drawing.body}</svg>'


class Drawing:
    """Draws from top to bottom.

    Attributes:
        body: what stands in the SVG.
        height: in pixels.
    """

    def __init__(self, ladder: Ladder) -> None:
        self._ladder = ladder
        self._parts: list[str] = []
        self._y = 22
        self._flight_begin = 0
        self._in_flight = 0  # where in the parts the open flight begins
        self._sealed_at: int | None = None
        self._heads()
        top = self._y
        self._open_flight()
        for rung in ladder.rungs[:MOST]:
            if isinstance(rung, Arrow):
                self._arrow(rung)
            elif isinstance(rung, FlightEnd):
                self._flight(rung)
            elif rung.tone is Tone.SEALED:
                self._wall(rung)
            else:
                self._mark(rung)
        if len(ladder.rungs) > MOST:
            self._box(f"{len(ladder.rungs) - MOST:,} more, which are not drawn", "soft")
        bottom = self._y + 6
        self._y = bottom + 20
        self._text(_MIDDLE, self._y, summary(ladder), "dim", "middle")
        self.height = self._y + 14
        self.body = "".join([*self._lifelines(top, bottom), *self._parts])

    def opening(self, size: str) -> str:
        """The tag that opens it, with arrow heads."""
        label = escape(f"{printable(self._ladder.profile, 100)}: {summary(self._ladder)}", quote=True)
        heads = "".join(
            f'<marker id="head-{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path class="h-{kind}" d="M0 0L10 5L0 10z"/></marker>'
            for kind in ("open", "sealed", "bad")
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="ladder" role="img" aria-label="{label}" {size}>'
            f"<defs>{heads}</defs>"
        )

    def _heads(self) -> None:
        sides = ((0.5, "start"), (99.5, "end"))
        ends = []
        for (x, anchor), party in zip(sides, self._ladder.parties, strict=True):
            self._text(x, self._y, party.role.value, "role", anchor)
            y = self._y
            for line in _halves(party_text(party, self._ladder)):
                y += 15
                self._text(x, y, line, "dim", anchor)
            ends.append(y)
        self._y = max(ends) + 12

    def _lifelines(self, top: int, bottom: int) -> list[str]:
        turn = bottom if self._sealed_at is None else self._sealed_at
        lines = []
        for x in (_LEFT, _RIGHT):
            lines.append(_line(x, top, x, turn, "life"))
            lines.append(_line(x, turn, x, bottom, "life sealed"))
        return lines

    def _open_flight(self) -> None:
        self._flight_begin = self._y
        self._in_flight = len(self._parts)

    def _arrow(self, arrow: Arrow) -> None:
        kind = "bad" if arrow.bad else "sealed" if arrow.sealed else "open"
        label = printable(arrow.label, 100)
        short = label if len(label) <= _NAME else label[: _NAME - 1] + "…"
        self._y += 24
        self._text(_MIDDLE, self._y, short, f"name {kind}", "middle", title=label if short != label else "")
        self._y += 7
        ends = (_LEFT + 0.6, _RIGHT - 0.6) if arrow.sender is INITIATOR else (_RIGHT - 0.6, _LEFT + 0.6)
        plan = "" if self._ladder.run else " plan"
        style = f"arrow {'' if kind == 'open' else kind}{plan}".strip()
        self._parts.append(_line(ends[0], self._y, ends[1], self._y, style, f' marker-end="url(#head-{kind})"'))
        for detail in filter(None, (arrow_detail(arrow), printable(arrow.note, 200))):
            for line in _lines(detail):
                self._y += 14
                self._text(_MIDDLE, self._y, line, "dim", "middle")

    def _flight(self, end: FlightEnd) -> None:
        self._y += 22
        x, anchor = (_LEFT + 2, "start") if end.sender is INITIATOR else (_RIGHT - 2, "end")
        self._text(x, self._y, flight_text(end), "dim", anchor)
        self._y += 10
        band = (
            f'<rect class="band" x="0" y="{self._flight_begin}" width="100%" '
            f'height="{self._y - self._flight_begin}" rx="8"/>'
        )
        life = self._lifelines_over(self._flight_begin, self._y)
        self._parts[self._in_flight : self._in_flight] = [band, *life]
        self._y += 8
        self._open_flight()

    def _lifelines_over(self, top: int, bottom: int) -> list[str]:
        """The lifelines, above a band that covers them."""
        sealed = self._sealed_at
        turn = bottom if sealed is None else min(max(sealed, top), bottom)
        lines = []
        for x in (_LEFT, _RIGHT):
            lines += [_line(x, top, x, turn, "life")] if turn > top else []
            lines += [_line(x, turn, x, bottom, "life sealed")] if bottom > turn else []
        return lines

    def _wall(self, mark: Mark) -> None:
        self._y += 22
        self._sealed_at = self._y
        self._parts.append(_line(0, self._y, 100, self._y, "wall"))
        self._parts.append(
            f'<svg x="50%" y="{self._y - 11}" overflow="visible"><rect class="pill" x="-88" width="176" height="22" rx="11"/>'
            f'<text class="wall-text" x="0" y="15" text-anchor="middle">{_safe(mark.text)}</text></svg>'
        )
        self._y += 12

    def _mark(self, mark: Mark) -> None:
        self._box(mark_text(mark), _BOX[mark.tone])

    def _box(self, text: str, kind: str) -> None:
        lines = _lines(text)
        height = 15 * len(lines) + 10
        self._y += 11
        self._parts.append(f'<rect class="box-{kind}" x="4%" y="{self._y}" width="92%" height="{height}" rx="6"/>')
        for number, line in enumerate(lines):
            self._text(_MIDDLE, self._y + 17 + 15 * number, line, kind, "middle")
        self._y += height + 6
        if self._in_flight == len(self._parts) - 1 - len(lines):
            self._open_flight()  # a mark between two flights belongs to neither

    def _text(self, x: float, y: int, text: str, style: str, anchor: str, *, title: str = "") -> None:
        full = f"<title>{_safe(title)}</title>" if title else ""
        self._parts.append(
            f'<text class="{style}" x="{x:g}%" y="{y}" text-anchor="{anchor}">{_safe(text)}{full}</text>'
        )


def _line(x1: float, y1: int, x2: float, y2: int, style: str, more: str = "") -> str:
    return f'<line class="{style}" x1="{x1:g}%" y1="{y1}" x2="{x2:g}%" y2="{y2}"{more}/>'


def _lines(text: str) -> list[str]:
    return textwrap.wrap(text, _COLUMNS) or [""]


def _halves(text: str) -> list[str]:
    """In lines that leave room for the other end; a peer id is cut, as the whole of it would be no help in a drawing."""
    lines = textwrap.wrap(text, _HALF, break_long_words=False)
    return [line if len(line) <= _HALF else line[: _HALF - 1] + "…" for line in lines]


def _safe(text: str) -> str:
    return escape(printable(text), quote=True)
