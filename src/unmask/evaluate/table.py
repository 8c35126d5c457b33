"""The table: one row per sampler, budget and seed, from records; shown, or written as JSON."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from unmask.core.files import write_json
from unmask.evaluate.family import family
from unmask.evaluate.fitted import Column, Sheet, show
from unmask.evaluate.meaning import meaning
from unmask.evaluate.metrics import Point, area_under_parallelism, percentile, retention, tokens_per_forward, wilson
from unmask.evaluate.paired import holm, paired
from unmask.evaluate.pinned import Pinned
from unmask.evaluate.records import Record
from unmask.evaluate.sweep import ADAPTIVE_OPTIONS, Swept
from unmask.evaluate.tally import Tally

NEAR = 0.5  # two samplers whose mean steps differ by at most this are compared
Cell = Sequence[Record] | Tally  # the records of one sampler, budget and seed, or what is left of them as numbers
TESTED_SEED = 0  # the one that is tested where several were run; the others are reported


class Versus(NamedTuple):
    """A row against the reference, a learned order unless another was chosen, on the same examples.

    sampler, budget: the reference's row. points: how far it is ahead, in percentage points (negative:
    behind). p: McNemar's exact test, two-sided. low, high: 95 % interval of the points, Newcombe's.
    only_reference, only_row: examples that just one of them got right. holm: p corrected for all the tests of
    the table.
    """

    sampler: str
    budget: int
    points: float
    p: float
    low: float
    high: float
    only_reference: int
    only_row: int
    holm: float


class TableRow(NamedTuple):
    """One sampler at one budget with one seed.

    accuracy, low, high: share of right answers and its Wilson 95 % interval, all in 0..1.
    tpf: content tokens per forward pass. seconds: wall time of all `n` examples.
    versus: the best reference at matching steps; None for references, for seeds that are not tested, and where
        there is none.
    family: the curve the row lies on. aup: area under this curve, with this seed; None where the others were run at
        other budgets (`with_areas`).
    retention: accuracy over that of the one-per-step sampler that is best on validation; None if none is known.
    tokens_per_second: content tokens of all answers over `seconds`. seconds_p50, seconds_p99: of an answer, its share
        of its batch's wall time, so at a batch of 1 its latency; the median, and what 99 of 100 do not exceed.
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
    family: str = ""
    aup: float | None = None
    retention: float | None = None
    tokens_per_second: float | None = None
    seconds_p50: float | None = None
    seconds_p99: float | None = None


def table_row(records: Cell) -> TableRow:
    """Sum up the records of one sampler, budget and seed."""
    cell = tally(records)
    n = len(cell)
    low, high = wilson(cell.right, n)
    return TableRow(
        sampler=cell.sampler,
        budget=cell.budget,
        steps_mean=sum(cell.steps) / n,
        steps_min=min(cell.steps),
        steps_max=max(cell.steps),
        nfe=sum(cell.nfe) / n,
        tpf=tokens_per_forward(cell.content, cell.nfe),
        accuracy=cell.right / n,
        low=low,
        high=high,
        n=n,
        seconds=cell.seconds,
        seed=cell.seed,
        learned=cell.learned,
        tokens_per_second=sum(cell.content) / cell.seconds if cell.seconds > 0 else None,
        seconds_p50=percentile(cell.each_seconds, 50) if cell.seconds > 0 else None,
        seconds_p99=percentile(cell.each_seconds, 99) if cell.seconds > 0 else None,
    )


def tally(records: Cell) -> Tally:
    """The records as numbers, if they are not yet."""
    return records if isinstance(records, Tally) else Tally.of(records)


def table(
    cells: Iterable[Cell],
    *,
    against: Pinned | None = None,
    tested: int | None = None,
    swept: Collection[Swept] = ADAPTIVE_OPTIONS,
    slow: Pinned | None = None,
    untested: Collection[str] = (),
) -> list[TableRow]:
    """Rows in the order of `cells`: the records of one sampler, budget and seed each.

    against: what the others are tested against, instead of the learned orders; a bare name stands for it with
        any options. With a budget, every row is tested against that one row, whatever its steps.
    tested:  the seed that is tested; `tested_seed` unless given.
    swept:   options whose values lie on one curve.
    slow:    the one-per-step sampler that is best on validation, with its budget: 1 on the scale of retention.
    untested: learned orders that are reported and that nothing is tested against (see `evaluate.learnings`).
    """
    tallies = [tally(cell) for cell in cells]
    rows = [table_row(each) for each in tallies]
    seed = tested_seed([row.seed for row in rows]) if tested is None else tested
    rows = [row._replace(family=family(row.sampler, row.learned, swept)) for row in rows]
    rows = [row._replace(retention=_retention(row, rows, slow)) for row in with_areas(rows)]
    return _tested(rows, tallies, against, seed, untested)


def tested_seed(seeds: Sequence[int]) -> int:
    """Which of several seeds is tested: the declared one, or the first given where that was not run."""
    return TESTED_SEED if TESTED_SEED in seeds or not seeds else seeds[0]


def with_areas(rows: Iterable[TableRow]) -> list[TableRow]:
    """The rows with the AUP of their family and seed, where it can be compared; None elsewhere.

    Areas are alike over like budgets only: the families of a seed that were run at the set of budgets that most of
    them share have one, the others have none, and nobody has where no set is shared by more than another. A
    single point is no curve, so it is never set beside one. y_max is the best accuracy of any row with the seed.
    """
    rows = list(rows)
    curves: dict[tuple[int, str], list[TableRow]] = {}
    for row in rows:
        curves.setdefault((row.seed, row.family), []).append(row)
    areas: dict[tuple[int, str], float] = {}
    for seed in {row.seed for row in rows}:
        own = {key: curve for key, curve in curves.items() if key[0] == seed}
        best = 100 * max(row.accuracy for curve in own.values() for row in curve)
        for key in _most_alike(own):
            areas[key] = area_under_parallelism([Point(row.tpf, 100 * row.accuracy) for row in own[key]], best)
    return [row._replace(aup=areas.get((row.seed, row.family))) for row in rows]


def _most_alike(curves: Mapping[tuple[int, str], Sequence[TableRow]]) -> list[tuple[int, str]]:
    """The curves over the budgets that most curves share; none where two sets of budgets are as common."""
    groups: dict[tuple[bool, frozenset[int]], list[tuple[int, str]]] = {}
    for key, curve in curves.items():
        groups.setdefault((len(curve) > 1, frozenset(row.budget for row in curve)), []).append(key)
    largest, *others = sorted(groups.values(), key=len, reverse=True)
    return [] if others and len(others[0]) == len(largest) else largest


def _retention(row: TableRow, rows: Iterable[TableRow], slow: Pinned | None) -> float | None:
    full = [other for other in rows if (other.sampler, other.budget, other.seed) == (*(slow or ()), row.seed)]
    return retention(row.accuracy, full[0].accuracy) if full else None


def _tested(
    rows: Sequence[TableRow],
    cells: Sequence[Tally],
    against: Pinned | None,
    seed: int,
    untested: Collection[str],
) -> list[TableRow]:
    """The rows with `versus` filled in, corrected for how many there are."""
    chosen = [place for place in references(rows, against) if against or rows[place].sampler not in untested]
    held = [(rows[place], cells[place]) for place in chosen]
    free = against is not None and against.budget is not None
    compared = [
        None if place in chosen or row.sampler in untested or row.seed != seed else _versus(row, records, held, free)
        for place, (row, records) in enumerate(zip(rows, cells, strict=True))
    ]
    corrected = iter(holm([versus.p for versus in compared if versus]))
    return [
        row._replace(versus=versus and versus._replace(holm=next(corrected)))
        for row, versus in zip(rows, compared, strict=True)
    ]


def references(rows: Sequence[TableRow], against: Pinned | None = None) -> list[int]:
    """Which rows the others are tested against: `against`, as it is spelled, or its bare name, or what it means."""
    if against is None:
        return [place for place, row in enumerate(rows) if row.learned]
    spelled = [place for place, row in enumerate(rows) if row.sampler == against.spec]
    bare = [place for place, row in enumerate(rows) if row.sampler.partition(":")[0] == against.spec]
    meant = [place for place, row in enumerate(rows) if meaning(row.sampler) == meaning(against.spec)]
    return [place for place in spelled or bare or meant if against.budget in (None, rows[place].budget)]


def matching(row: TableRow, order: TableRow) -> bool:
    """Whether a row and a reference's are at the same number of steps, with the same seed.

    The row's budget is the ceiling of the reference's mean steps or its maximum steps, or their mean steps
    differ by at most `NEAR`.
    """
    return row.seed == order.seed and (
        row.budget in (-int(-order.steps_mean // 1), order.steps_max) or abs(row.steps_mean - order.steps_mean) <= NEAR
    )


def _versus(
    row: TableRow, records: Tally, held: Iterable[tuple[TableRow, Tally]], free: bool
) -> Versus | None:
    """Against the best of the references at matching steps; at any steps if `free`. Not yet corrected."""
    matches = [pair for pair in held if (row.seed == pair[0].seed if free else matching(row, pair[0]))]
    if not matches:
        return None
    best, theirs = max(matches, key=lambda match: match[0].accuracy)
    common = [name for name in records if name in theirs]
    if not common:
        return None
    found = paired([theirs[name].correct for name in common], [records[name].correct for name in common])
    return Versus(
        sampler=best.sampler,
        budget=best.budget,
        points=found.points,
        p=found.p,
        low=found.low,
        high=found.high,
        only_reference=found.only_first,
        only_row=found.only_second,
        holm=found.p,
    )


def to_json(rows: Iterable[TableRow]) -> list[dict[str, Any]]:
    """Plain objects, with `versus` as an object of its own or null."""
    return [row._asdict() | {"versus": row.versus._asdict() if row.versus else None} for row in rows]


def write_table(path: Path, rows: Iterable[TableRow]) -> None:
    """Replace `path` by the rows as a JSON list, in one go."""
    write_json(path, to_json(rows))


def render(rows: Sequence[TableRow], title: str | None = None) -> Sheet:
    """The rows as a table: accuracy in percent with its interval, steps as mean [min, max]."""
    compared = any(row.versus for row in rows)

    def column(name: str, told: Callable[[TableRow], str], needed: int | None = None) -> Column:
        return Column(name, [told(row) for row in rows], needed)

    def optional(name: str, values: str, form: str, needed: int, scale: float = 1.0) -> list[Column]:
        """A column of what not every row has; none where no row has it."""
        found = [getattr(row, values) for row in rows]
        cells = ["" if value is None else format(scale * value, form) for value in found]
        return [Column(name, cells, needed)] if any(cells) else []

    columns = [
        column("sampler", lambda row: row.sampler),
        column("budget", lambda row: str(row.budget)),
        *([column("seed", lambda row: str(row.seed))] if len({row.seed for row in rows}) > 1 else []),
        column("steps", lambda row: f"{row.steps_mean:.2f} [{row.steps_min}, {row.steps_max}]"),
        column("NFE", lambda row: f"{row.nfe:.2f}", needed=5 if differs(rows) else 1),
        column("TPF", lambda row: f"{row.tpf:.2f}", needed=4),
        column("accuracy %", lambda row: f"{100 * row.accuracy:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"),
        *optional("kept %", "retention", ".1f", 6, 100),
        *optional("AUP", "aup", ".0f", 2),
        *optional("tok/s", "tokens_per_second", ".0f", 3),
        *optional("ms p50", "seconds_p50", ".1f", 1, 1000),
        *optional("ms p99", "seconds_p99", ".1f", 1, 1000),
        column("seconds", lambda row: f"{row.seconds:.1f}", needed=0),
    ]
    if compared:
        told = [_against(row.versus) if row.versus else ("", "", "") for row in rows]
        needed = (None, 0, 7)
        heads = (f"{reference(rows)} ahead by", "p", "Holm p")
        columns += [Column(head, [cells[at] for cells in told], needed[at]) for at, head in enumerate(heads)]
    return Sheet(columns, title, [row.learned for row in rows])


def differs(rows: Iterable[TableRow]) -> bool:
    """Whether a denoiser call was no step somewhere, so that NFE says something of its own."""
    return any(abs(row.nfe - row.steps_mean) > 0.005 for row in rows)


def reference(rows: Sequence[TableRow]) -> str:
    """What the rows are tested against: an order, a sampler by its name where it is one, or references."""
    learned = {row.sampler for row in rows if row.learned}
    held = {row.versus.sampler for row in rows if row.versus}
    return "order" if held <= learned else held.pop() if len(held) == 1 else "reference"


def _against(versus: Versus) -> tuple[str, str, str]:
    return f"{versus.points:+.1f} [{versus.low:.1f}, {versus.high:.1f}]", f"{versus.p:.2g}", f"{versus.holm:.2g}"


def print_table(rows: Sequence[TableRow], title: str | None = None, to: Literal["stderr", "stdout"] = "stderr") -> None:
    """Show the rows."""
    show(render(rows, title), to)
