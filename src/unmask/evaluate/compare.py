"""Two records files side by side: what each sampler gained or lost between two runs, on the examples both have."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unmask.core.errors import UserError
from unmask.evaluate.fitted import Sheet
from unmask.evaluate.meaning import named
from unmask.evaluate.paired import holm, paired
from unmask.evaluate.records import Usable, find_records, usable
from unmask.evaluate.table import tested_seed
from unmask.evaluate.tally import Cell, Judged, Tallies, Tally

READ_ONLY = ("denoiser", "dtype", "device", "torch", "package", "commit")  # may differ; said where they do
SHOWN = 3  # of a longer list, how many are named


class Compared(NamedTuple):
    """A sampler at a budget with a seed, in both files.

    n: examples that both have. first, second: accuracies on these, in 0..1. points: how far the second file is
    ahead, in percentage points, with Newcombe's 95 % interval low, high. only_first, only_second: examples
    that one file alone has right. p: McNemar's exact test; holm: corrected for all cells. Both are None for
    seeds that are not tested.
    """

    sampler: str
    budget: int
    seed: int
    n: int
    first: float
    second: float
    points: float
    low: float
    high: float
    only_first: int
    only_second: int
    p: float | None
    holm: float | None


class Comparison(NamedTuple):
    """The rows, and a sentence on everything that was left out or is not the same in both."""

    rows: list[Compared]
    notes: list[str]


def compare(first: Path, second: Path) -> Comparison:
    """Compare two records files, or folders that hold one.

    Raises UserError if they are of different tasks or splits, or share no sampler or no example.
    """
    mine, theirs = Tallies(), Tallies()
    one, other = usable(first, mine.add), usable(second, theirs.add)
    names = str(find_records(first)), str(find_records(second))
    _check_same_question(one, other, names)
    notes = [*one.problems, *other.problems, *_differences(one.file.header, other.file.header)]
    cells, others = mine.cells, _as_spelled(theirs.cells, mine.cells)
    shared = [cell for cell in cells if cell in others]
    if not shared:
        raise UserError(
            f"no sampler, budget and seed is in both files: {names[0]} has {_listed(cells)}, "
            f"{names[1]} has {_listed(others)}"
        )
    for name, have, lack in ((names[0], cells, others), (names[1], others, cells)):
        if missing := [cell for cell in have if cell not in lack]:
            notes.append(f"only {name} has {_listed(missing)}")
    seed = tested_seed([cell[2] for cell in shared])
    rows = []
    for cell in shared:
        told = [*_other_order(cell, cells[cell], others[cell]), *_left_out(cells[cell], others[cell], names)]
        notes += [note for note in told if note not in notes]
        if common := _common(cells[cell], others[cell]):
            rows.append(_compared(cell, common, cell[2] == seed))
    if not rows:
        raise UserError(f"the files have no example in common: {'; '.join(notes)}")
    corrected = iter(holm([row.p for row in rows if row.p is not None]))
    return Comparison([row._replace(holm=None if row.p is None else next(corrected)) for row in rows], notes)


def _check_same_question(one: Usable, other: Usable, names: tuple[str, str]) -> None:
    for entry in ("task", "split"):
        there, here = (_config(each.file.header).get(entry) for each in (one, other))
        if there != here:
            raise UserError(
                f"{names[0]} is of {entry} {there!r} and {names[1]} of {entry} {here!r}: "
                f"only answers to the same examples can be compared"
            )


def _config(header: Mapping[str, Any]) -> Mapping[str, Any]:
    config = header.get("config")
    return config if isinstance(config, dict) else {}


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What is not the same in the two headers, a sentence each."""
    notes = []
    if one.get("data") != other.get("data"):
        notes.append(
            f"the data differ (checksum {one.get('data')!r} and {other.get('data')!r}): "
            "only examples with the same id and the same prompt are compared"
        )
    for name in READ_ONLY:
        if one.get(name) != other.get(name):
            notes.append(f"{name}: {_short(one.get(name))} and {_short(other.get(name))}")
    there, here = (_config(each).get("response_length") for each in (one, other))
    if there != here:
        notes.append(f"response_length: {there!r} and {here!r}")
    return notes


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}...{text[-6:]}" if text.endswith("-dirty") else f"{text[:12]}..."


def _as_spelled(cells: Mapping[Cell, Tally], like: Iterable[Cell]) -> dict[Cell, Tally]:
    """The cells under the names of `like` where they mean the same sampler."""
    names = list(dict.fromkeys(name for name, _, _ in like))
    return {(named(name, names) or name, budget, seed): found for (name, budget, seed), found in cells.items()}


def _listed(cells: Sequence[Cell] | Mapping[Cell, Any]) -> str:
    """`margin @4, iid @4 and 2 more`; the seed where it is not 0."""
    told = [f"{name} @{budget}{f' seed {seed}' if seed else ''}" for name, budget, seed in cells]
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return ", ".join(told[:SHOWN]) + more


def _other_order(cell: Cell, one: Tally, other: Tally) -> list[str]:
    """Whether a label stands for two learned orders, or for one in one file only."""
    if one.orders.keys() == other.orders.keys():
        return []
    return [f"`{cell[0]}` @{cell[1]} is not the same learned order in both files"]


def _left_out(one: Tally, other: Tally, names: tuple[str, str]) -> list[str]:
    """What of a cell cannot be paired."""
    notes = []
    for name, have, lack in ((names[0], one, other), (names[1], other, one)):
        if missing := sum(key not in lack for key in have):
            notes.append(f"examples only in {name}, left out: {missing}")
    both = [(one[key], other[key]) for key in one if key in other]
    if changed := sum(a.prompt != b.prompt for a, b in both):
        notes.append(f"examples with the same id but another prompt, left out: {changed}")
    if changed := sum(a.prompt == b.prompt and not _same_question(a, b) for a, b in both):
        notes.append(f"examples with the same id but another right answer, left out: {changed}")
    return notes


def _same_question(one: Judged, other: Judged) -> bool:
    """Whether two records are answers to the same; an old one does not say what the right answer is."""
    return one.prompt == other.prompt and (
        one.reference == other.reference or None in (one.reference, other.reference)
    )


def _common(one: Tally, other: Tally) -> list[tuple[bool, bool]]:
    """Whether both are right, on each of the same examples."""
    pairs = ((one[key], other[key]) for key in one if key in other)
    return [(a.correct, b.correct) for a, b in pairs if _same_question(a, b)]


def _compared(cell: Cell, common: Sequence[tuple[bool, bool]], tested: bool) -> Compared:
    first, second = [one for one, _ in common], [other for _, other in common]
    found = paired(second, first)
    return Compared(
        *cell,
        n=found.n,
        first=sum(first) / found.n,
        second=sum(second) / found.n,
        points=found.points,
        low=found.low,
        high=found.high,
        only_first=found.only_second,
        only_second=found.only_first,
        p=found.p if tested else None,
        holm=None,
    )


def render_compared(rows: Sequence[Compared]) -> Sheet:
    """The rows as a table: A is the first file, B the second."""
    seeds = {"seed": None} if len({row.seed for row in rows}) > 1 else {}
    heads = {
        "sampler": None, "budget": None, **seeds, "n": 1, "A %": 4, "B %": 5, "B ahead by": None, "only A": 2,
        "only B": 3, "p": 0, "Holm p": None,
    }  # fmt: skip
    cells = [
        (
            row.sampler,
            str(row.budget),
            *([str(row.seed)] if seeds else []),
            str(row.n),
            f"{100 * row.first:.1f}",
            f"{100 * row.second:.1f}",
            f"{row.points:+.1f} [{row.low:.1f}, {row.high:.1f}]",
            str(row.only_first),
            str(row.only_second),
            *("" if value is None else f"{value:.2g}" for value in (row.p, row.holm)),
        )
        for row in rows
    ]
    return Sheet.of(heads, cells)
