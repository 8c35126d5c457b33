"""The table: one row per sampler, budget and seed, from records; shown, or written as JSON."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.table import Table

from unmask.core.files import write_json
from unmask.evaluate.metrics import mcnemar, tokens_per_forward, wilson
from unmask.evaluate.records import Record

NEAR = 0.5  # two samplers whose mean steps differ by at most this are compared


class Versus(NamedTuple):
    """A row against a learned order on the same examples.

    sampler, budget: the learned order's row. points: how far it is ahead, in percentage points (negative:
    behind). p: McNemar's exact test, two-sided.
    """

    sampler: str
    budget: int
    points: float
    p: float


class TableRow(NamedTuple):
    """One sampler at one budget with one seed.

    accuracy, low, high: share of right answers and its Wilson 95 % interval, all in 0..1.
    tpf: content tokens per forward pass. seconds: wall time of all `n` examples.
    versus: the best learned order at matching steps; None for learned orders and where there is none.
    """

    sampler: str
    budget: int
    steps_mean: float
    steps_min: int
    steps_max: int
    nfe: float
    tpf: float
    accuracy: float
    low: float
    high: float
    n: int
    seconds: float
    seed: int
    learned: bool = False
    versus: Versus | None = None


def table_row(records: Sequence[Record]) -> TableRow:
    """Sum up the records of one sampler, budget and seed."""
    first, n = records[0], len(records)
    right = sum(record.correct for record in records)
    steps = [record.steps for record in records]
    low, high = wilson(right, n)
    return TableRow(
        sampler=first.sampler,
        budget=first.budget,
        steps_mean=sum(steps) / n,
        steps_min=min(steps),
        steps_max=max(steps),
        nfe=sum(record.nfe for record in records) / n,
        tpf=tokens_per_forward((record.content for record in records), (record.nfe for record in records)),
        accuracy=right / n,
        low=low,
        high=high,
        n=n,
        seconds=sum(record.seconds for record in records),
        seed=first.seed,
        learned=first.order is not None,
    )


def table(cells: Iterable[Sequence[Record]]) -> list[TableRow]:
    """Rows in the order of `cells`: the records of one sampler, budget and seed each."""
    cells = list(cells)
    rows = [table_row(records) for records in cells]
    orders = [(row, records) for row, records in zip(rows, cells, strict=True) if row.learned]
    return [
        row if row.learned else row._replace(versus=_versus(row, records, orders))
        for row, records in zip(rows, cells, strict=True)
    ]


def matching(row: TableRow, order: TableRow) -> bool:
    """Whether a heuristic's row and a learned order's are at the same number of steps, with the same seed.

    The heuristic's budget is the ceiling of the order's mean steps or its maximum steps, or their mean steps
    differ by at most `NEAR`.
    """
    return row.seed == order.seed and (
        row.budget in (-int(-order.steps_mean // 1), order.steps_max) or abs(row.steps_mean - order.steps_mean) <= NEAR
    )


def _versus(
    row: TableRow, records: Sequence[Record], orders: Iterable[tuple[TableRow, Sequence[Record]]]
) -> Versus | None:
    matches = [(order, theirs) for order, theirs in orders if matching(row, order)]
    if not matches:
        return None
    best, theirs = max(matches, key=lambda match: match[0].accuracy)
    right = {record.id: record.correct for record in theirs}
    mine = [record for record in records if record.id in right]
    test = mcnemar([right[record.id] for record in mine], [record.correct for record in mine])
    points = 100 * (test.only_first - test.only_second) / len(mine)
    return Versus(best.sampler, best.budget, points, test.p)


def to_json(rows: Iterable[TableRow]) -> list[dict[str, Any]]:
    """Plain objects, with `versus` as an object of its own or null."""
    return [row._asdict() | {"versus": row.versus._asdict() if row.versus else None} for row in rows]


def write_table(path: Path, rows: Iterable[TableRow]) -> None:
    """Replace `path` by the rows as a JSON list, in one go."""
    write_json(path, to_json(rows))


def render(rows: Sequence[TableRow], title: str | None = None) -> Table:
    """The rows as a rich table: accuracy in percent with its interval, steps as mean [min, max]."""
    seeds = len({row.seed for row in rows}) > 1
    compared = any(row.versus for row in rows)
    shown = Table(title=title, title_justify="left")
    shown.add_column("sampler", overflow="fold")
    names = ["budget", *(["seed"] if seeds else []), "steps", "NFE", "TPF", "accuracy %", "seconds"]
    for name in [*names, *(["order ahead by", "p"] if compared else [])]:
        shown.add_column(name, justify="right")
    for row in rows:
        cells = [
            row.sampler,
            str(row.budget),
            *([str(row.seed)] if seeds else []),
            f"{row.steps_mean:.2f} [{row.steps_min}, {row.steps_max}]",
            f"{row.nfe:.2f}",
            f"{row.tpf:.2f}",
            f"{100 * row.accuracy:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]",
            f"{row.seconds:.1f}",
        ]
        if compared:
            cells += [f"{row.versus.points:+.1f}", f"{row.versus.p:.2g}"] if row.versus else ["", ""]
        # square brackets are markup to rich
        shown.add_row(*(cell.replace("[", r"\[") for cell in cells), style="bold" if row.learned else None)
    return shown


def print_table(rows: Sequence[TableRow], title: str | None = None, to: Literal["stderr", "stdout"] = "stderr") -> None:
    """Show the rows; wide enough not to break numbers where the output is no terminal."""
    console = Console(file=sys.stdout if to == "stdout" else sys.stderr)
    console = console if console.is_terminal else Console(file=console.file, width=140)
    console.print(render(rows, title))
