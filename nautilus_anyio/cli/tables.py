"""How the command shows tables and amounts. What it says is elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


def columns_table(*headings: str, numbers: Collection[str] = (), whole: Collection[str] = ()) -> Table:
    """A table with these headings; the columns of `numbers` stand to the right, those of `whole` are never narrowed.

    Text in it is markup: escape what is not.
    """
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for heading in headings:
        table.add_column(
            heading, justify="right" if heading in numbers else "left", no_wrap=heading in whole, overflow="fold"
        )
    return table


def facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Names and what there is to say, as plain text: a name that comes again in the next line is left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    before = ""
    for name, text in facts:
        table.add_row(Text("" if name == before else name, style="bold"), Text(text))
        before = name
    return table


def amount(count: int) -> str:
    """A number of bytes, for people: in powers of 1024, everywhere in the command."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} bytes"
