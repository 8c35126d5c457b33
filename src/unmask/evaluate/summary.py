"""What many rows come to: each family's curve as one number, and each sampler over its seeds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unmask.core.files import write_json
from unmask.evaluate.fitted import Sheet
from unmask.evaluate.table import TableRow, tested_seed


class FamilyRow(NamedTuple):
    """A family over its budgets and levels, with the tested seed.

    points: rows on the curve. tpf_min, tpf_max: where it begins and ends. best: its highest accuracy, in 0..1.
    aup: area under it; None where the other families were run at other budgets: see `table.with_areas`.
    """

    family: str
    points: int
    tpf_min: float
    tpf_max: float
    best: float
    aup: float | None
    learned: bool


class SeedsRow(NamedTuple):
    """A sampler at a budget over its seeds: accuracy, steps and TPF of the rows, averaged; accuracy in 0..1."""

    sampler: str
    budget: int
    seeds: tuple[int, ...]
    accuracy_mean: float
    accuracy_min: float
    accuracy_max: float
    steps_mean: float
    tpf: float
    learned: bool


def families(rows: Sequence[TableRow]) -> list[FamilyRow]:
    """One row for each family of the tested seed, in the order of the table."""
    seed = tested_seed([row.seed for row in rows])
    found = []
    for curve in _grouped((row for row in rows if row.seed == seed), "family"):
        tpf = [row.tpf for row in curve]
        first = curve[0]
        best = max(row.accuracy for row in curve)
        found.append(
            FamilyRow(first.family, len(curve), min(tpf), max(tpf), best, first.aup, first.learned)
        )
    return found


def over_seeds(rows: Iterable[TableRow]) -> list[SeedsRow]:
    """One row for each sampler and budget: mean, lowest and highest accuracy over its seeds."""
    found = []
    for same in _grouped(rows, "sampler", "budget"):
        accuracies, n = [row.accuracy for row in same], len(same)
        found.append(
            SeedsRow(
                sampler=same[0].sampler,
                budget=same[0].budget,
                seeds=tuple(row.seed for row in same),
                accuracy_mean=sum(accuracies) / n,
                accuracy_min=min(accuracies),
                accuracy_max=max(accuracies),
                steps_mean=sum(row.steps_mean for row in same) / n,
                tpf=sum(row.tpf for row in same) / n,
                learned=same[0].learned,
            )
        )
    return found


def _grouped(rows: Iterable[TableRow], *names: str) -> list[list[TableRow]]:
    """Rows that agree in these fields, together, in the order of the first of each."""
    groups: dict[tuple[Any, ...], list[TableRow]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in names), []).append(row)
    return list(groups.values())


def write_summary(path: Path, rows: Sequence[TableRow], more: Mapping[str, Any]) -> None:
    """Replace `path` by both summaries as JSON, with which seed is tested and what else is to be known."""
    write_json(
        path,
        {
            "tested_seed": tested_seed([row.seed for row in rows]),
            **more,
            "families": [row._asdict() for row in families(rows)],
            "seeds": [row._asdict() for row in over_seeds(rows)],
        },
    )


def render_families(rows: Sequence[TableRow]) -> Sheet | None:
    """The families as a table, the largest area first; None if none has two points."""
    found = sorted(families(rows), key=lambda row: math.inf if row.aup is None else -row.aup)
    if all(row.points < 2 for row in found):
        return None
    cells = [
        (
            row.family, str(row.points), f"{row.tpf_min:.2f} to {row.tpf_max:.2f}", f"{100 * row.best:.1f}",
            "" if row.aup is None else f"{row.aup:.0f}",
        )
        for row in found
    ]  # fmt: skip
    title = "area under accuracy against parallelism (AUP), of families run at the same budgets"
    heads = {"family": None, "points": 0, "TPF": 1, "best %": None, "AUP": None}
    return Sheet.of(heads, cells, title, [row.learned for row in found])


def render_seeds(rows: Sequence[TableRow]) -> Sheet | None:
    """Samplers over their seeds as a table; None if there is one seed only."""
    found = over_seeds(rows)
    if all(len(row.seeds) < 2 for row in found):
        return None
    cells = [
        (
            row.sampler, str(row.budget), " ".join(map(str, row.seeds)), f"{row.steps_mean:.2f}", f"{row.tpf:.2f}",
            f"{100 * row.accuracy_mean:.1f} ({100 * row.accuracy_min:.1f} to {100 * row.accuracy_max:.1f})",
        )
        for row in found
    ]  # fmt: skip
    title = f"over seeds; tests are of seed {tested_seed([row.seed for row in rows])}"
    heads = {"sampler": None, "budget": None, "seeds": 2, "steps": 1, "TPF": 0, "accuracy % mean (min to max)": None}
    return Sheet.of(heads, cells, title, [row.learned for row in found])
