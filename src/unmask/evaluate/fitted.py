"""Tables that fit the width of a terminal: columns are left out, the least needed first; a number is never cut."""

import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unmask.core.texts import one_line

FRAME = 3  # characters a column takes besides its cells
WIDE = 80  # room for names where nobody's screen sets a bound
NARROWEST = 16  # of the first column, whose names may run over several lines


class Column(NamedTuple):
    """name: above it. cells: as they are shown. needed: the lower, the sooner it is left out; None never."""

    name: str
    cells: Sequence[str]
    needed: int | None = None

    @property
    def width(self) -> int:
        """Of the widest cell; a heading breaks between its words."""
        return max(map(len, map(one_line, [*self.cells, *self.name.split()])), default=0)


class Sheet(NamedTuple):
    """A table before it is known how wide it may be. bold: rows to stress."""

    columns: Sequence[Column]
    title: str | None = None
    bold: Sequence[bool] = ()

    @classmethod
    def of(
        cls, heads: Mapping[str, int | None], rows: Sequence[Sequence[str]], title: str | None = None,
        bold: Sequence[bool] = (),
    ) -> "Sheet":  # fmt: skip
        """From rows of cells; `heads` says of each column how much it is needed."""
        return cls([Column(name, [row[at] for row in rows], heads[name]) for at, name in enumerate(heads)], title, bold)


def show(sheet: Sheet, to: Literal["stderr", "stdout"] = "stderr") -> None:
    """Print a table, all of it where the output is no terminal."""
    console = Console(file=sys.stdout if to == "stdout" else sys.stderr)
    width = console.width if console.is_terminal else needed_width(sheet.columns) + WIDE
    table = fitted(sheet, width)
    Console(file=console.file, width=max(width, console.measure(table).minimum)).print(table)


def fitted(sheet: Sheet, width: int) -> Table:
    """A table of the columns that fit `width`; the first holds names, which break where options begin.

    Wider than `width` only where the columns that are never left out need it.
    """
    (first, *others), title, bold = sheet
    kept = [first, *others]
    while needed_width(kept) > width and (spare := [each for each in kept[1:] if each.needed is not None]):
        kept.remove(min(spare, key=lambda column: column.needed or 0))
    room = width - (needed_width(kept) - name_width(first))
    names = [broken(cell, max(room, NARROWEST)) for cell in map(one_line, first.cells)]
    left_out = [column.name for column in others if column not in kept]
    told = f"left out, to fit the screen: {', '.join(left_out)} (--json has all)" if left_out else None
    shown = Table(title=title, title_justify="left", caption=told, caption_justify="left")
    shown.add_column(Text(first.name), no_wrap=True)
    for column in kept[1:]:
        shown.add_column(Text(textwrap.fill(one_line(column.name), column.width)), justify="right", no_wrap=True)
    rows = zip(names, *(column.cells for column in kept[1:]), strict=True)
    for number, cells in enumerate(rows):
        style = "bold" if number < len(bold) and bold[number] else None
        shown.add_row(*(Text(cell) for cell in cells), style=style)  # no bracket in them is markup
    return shown


def needed_width(columns: Sequence[Column]) -> int:
    """Of a table of these, its names as short as they go."""
    first, *others = columns
    return 1 + FRAME + name_width(first) + sum(column.width + FRAME for column in others)


def name_width(column: Column) -> int:
    """The least that names need: whole where they are short, else that of their longest part."""
    parts = [part for cell in map(one_line, column.cells) for part in pieces(cell)]
    return max(min(column.width, NARROWEST), max(map(len, parts), default=0))


def broken(name: str, width: int) -> str:
    """`threshold:level=0.9,eot=defer` over several lines, broken after `:` and `,` where it is too wide."""
    lines = [""]
    for piece in pieces(name):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def pieces(name: str) -> Iterator[str]:
    """A name in parts that are not broken."""
    start = 0
    for place, sign in enumerate(name):
        if sign in ":,":
            yield name[start : place + 1]
            start = place + 1
    if name[start:] or not start:
        yield name[start:]
