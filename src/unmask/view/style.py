"""How samplers are told apart: by colour, by mark and by line, the same on every page and in every figure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from unmask.evaluate.family import ONE_PER_STEP
from unmask.evaluate.table import TableRow

MARKS = ("circle", "square", "triangle", "diamond", "down", "plus")
# On white at least 4.5 to 1; the page has a lighter set of the same hues for dark screens (page.css).
COLOURS = ("#0b6fb8", "#b84a00", "#00745a", "#8a3d99", "#6f6100", "#00727f", "#a8325a", "#595959")
LEARNED = ("#111111", "#7a0019", "#003a70")
DASHES = ("5 3", "1.5 3", "7 3 1.5 3")


class Series(NamedTuple):
    """The rows of one line in a plot, by mean steps. number: among the learned ones, or among the others."""

    name: str
    learned: bool
    number: int
    rows: list[TableRow]

    @property
    def mark(self) -> str:
        """The shape of its points."""
        return MARKS[(self.number % len(COLOURS) + self.number // len(COLOURS)) % len(MARKS)]

    @property
    def colour(self) -> str:
        """For print, on white."""
        return (LEARNED if self.learned else COLOURS)[self.number % len(LEARNED if self.learned else COLOURS)]

    @property
    def hue(self) -> str:
        """The CSS class of its colour."""
        count = len(LEARNED if self.learned else COLOURS)
        return f"{'l' if self.learned else 's'}{self.number % count}"

    @property
    def dash(self) -> str | None:
        """Gaps in its line; a learned order's has none."""
        return None if self.learned else DASHES[self.number % len(DASHES)]


def series(rows: Iterable[TableRow]) -> list[Series]:
    """Lines for the rows of the first seed, learned orders first.

    One-per-step rows belong to their sampler. Settings of one sampler that never share a budget are one line,
    which is what tuning gives: a best setting for each number of steps. A family swept at one budget is one too.
    """
    rows = list(rows)
    rows = [row for row in rows if row.seed == rows[0].seed]
    names = {row.sampler: row.sampler.removesuffix(ONE_PER_STEP) for row in rows}
    pairs = {(name, row.budget) for row in rows for name in [names[row.sampler]]}
    crowd = Counter((_stem(name), budget) for name, budget in pairs)
    shared = {stem for (stem, _), count in crowd.items() if count > 1}
    swept = _swept(rows)
    found: dict[tuple[bool, str], list[TableRow]] = {}
    for row in rows:
        name = names[row.sampler]
        label = name if row.learned or _stem(name) in shared else _stem(name)
        label = row.family if not row.learned and row.family in swept else label
        found.setdefault((row.learned, label), []).append(row)
    made: list[Series] = []
    for learned in (True, False):
        groups = [(label, each) for (own, label), each in found.items() if own == learned]
        for number, (label, each) in enumerate(groups):
            specs = {names[row.sampler] for row in each}
            name = specs.pop() if len(specs) == 1 else label
            made.append(Series(name, learned, number, sorted(each, key=lambda row: row.steps_mean)))
    return made


def _swept(rows: Sequence[TableRow]) -> set[str]:
    """Families of several settings that were all run at one budget: their level is what sets the steps."""
    budgets: dict[str, set[int]] = {}
    settings: dict[str, set[str]] = {}
    for row in rows:
        budgets.setdefault(row.family, set()).add(row.budget)
        settings.setdefault(row.family, set()).add(row.sampler)
    return {name for name in budgets if name and len(budgets[name]) == 1 and len(settings[name]) > 1}


def _stem(name: str) -> str:
    return name.partition(":")[0]


def for_dark_pages(svg: str) -> str:
    """The figure with its lightness turned round where the reader's pages are dark; hues stay, and so does the file."""
    start = svg.index("<svg")
    end = svg.index(">", start) + 1
    rule = "@media (prefers-color-scheme: dark) { svg { filter: invert(0.91) hue-rotate(180deg) } }"
    return f"{svg[:end]}\n <style>{rule}</style>{svg[end:]}"


def nice_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5, 10, ... that cuts `span` into at most `most` parts."""
    size = 1.0
    while True:
        for factor in (1, 2, 5):
            if span / (size * factor) <= most:
                return size * factor
        size *= 10


def logarithmic(lines: Sequence[Series]) -> bool:
    """Whether the steps span so much that they are better seen on a logarithmic axis."""
    steps = [row.steps_mean for line in lines for row in line.rows]
    return max(steps) > 8 * max(min(steps), 0.5)
