"""Claim: on texts whose best order is known, a learner from samples closes nearly all of the gap, and why.

    python -m unmask.view.fig_exact docs/records/exact docs/records/exact-study docs/figures/exact.svg

Left: gap closed (equation 9) of every cell of `unmask exact`, by family. Right: the same for every recipe of
benchmarks/exact_study.py. 0 is the best heuristic at its best level, 100 the best randomised order there is.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from unmask.core.entries import lines_of, parse, reader
from unmask.core.errors import UserError
from unmask.core.files import read_json
from unmask.view.fig_accuracy import write

LOWEST = -10.0  # percent; what is below is drawn at the edge, as a triangle
COLOURS = {2: "#4477aa", 3: "#a07800", 4: "#ee6677"}


class Cell(NamedTuple):
    """What the figure shows of a cell. closed: 1 is the whole gap; None where there is none."""

    steps: int
    closed: float | None
    family: str = ""
    recipe: str = ""


_read_cell = reader(Cell, steps=lambda steps: steps in COLOURS)


def read_cells(folder: Path) -> list[Cell]:
    """The cells of `unmask exact --out FOLDER`, or of the study. Raises UserError where it has neither, or damaged."""
    lines, study = folder / "exact.jsonl", folder / "record.json"
    if lines.is_file():
        entries = [_parsed(lines, number, line) for number, line in enumerate(_lines(lines), start=1)][1:]
        return [_cell(lines, f"line {number}", entry) for number, entry in enumerate(entries, start=2)]
    if study.is_file():
        found = read_json(study).get("cells")
        if not isinstance(found, list):
            raise UserError(f"{study} has no list of cells; is it that of benchmarks/exact_study.py?")
        return [_cell(study, f"cell {number}", entry) for number, entry in enumerate(found, start=1)]
    raise UserError(f"{folder} has neither exact.jsonl nor record.json; make one with `unmask exact --out {folder}`")


def _lines(path: Path) -> list[bytes]:
    try:
        return list(lines_of(path.read_bytes()))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _parsed(path: Path, number: int, line: bytes) -> Any:
    try:
        return parse(line)
    except ValueError as error:
        raise UserError(f"line {number} of {path} is damaged ({error}); start `unmask exact` again there") from error


def _cell(path: Path, where: str, entry: Any) -> Cell:
    known = {name: entry[name] for name in Cell._fields if name in entry} if isinstance(entry, dict) else entry
    try:
        return _read_cell(known)
    except ValueError as error:
        raise UserError(f"{where} of {path} is no cell ({error}); is it of `unmask exact`?") from error


def grouped(cells: Sequence[Cell], key: Callable[[Cell], str]) -> dict[str, list[tuple[int, float]]]:
    """(steps, percent closed) of the cells that count, by `key`, in the order they come."""
    found: dict[str, list[tuple[int, float]]] = {}
    for cell in cells:
        if cell.closed is not None:
            found.setdefault(key(cell), []).append((cell.steps, 100 * cell.closed))
    return found


def strip(axes: Any, groups: Mapping[str, Sequence[tuple[int, float]]], title: str) -> None:
    """A row of dots for each group, coloured by steps, with a bar at the median."""
    for row, points in enumerate(groups.values()):
        for place, (steps, closed) in enumerate(points):
            shift = 0.5 * (place / max(len(points) - 1, 1) - 0.5)
            low = closed < LOWEST
            axes.plot(
                max(closed, LOWEST), row + shift, marker="<" if low else "o", ms=4, color=COLOURS[steps], alpha=0.8,
                clip_on=False, lw=0,
            )  # fmt: skip
        middle = max(median(closed for _, closed in points), LOWEST)
        axes.plot([middle, middle], [row - 0.36, row + 0.36], color="black", lw=1.8)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.invert_yaxis()
    axes.set_xlim(LOWEST, 102)
    axes.axvline(100, color="0.6", lw=0.8, zorder=0)
    axes.axvline(0, color="0.6", lw=0.8, zorder=0)
    axes.set_xlabel("gap closed, %")
    axes.set_title(title, loc="left", fontsize=10)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def draw(suite: Path, study: Path, out: Path) -> None:
    """Read both records and write the figure, in the format its name ends in."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "unmask"  # the same file from the same records
    families = grouped(read_cells(suite), lambda cell: cell.family)
    recipes = grouped(read_cells(study), lambda cell: cell.recipe)
    rows = max(len(families), len(recipes))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 0.34 * rows + 1.2), layout="constrained")
    strip(left, families, "the suite, by family")
    strip(right, recipes, "other instances, by recipe")
    told = {f"a cell at {steps} steps": {"marker": "o", "lw": 0, "color": colour} for steps, colour in COLOURS.items()}
    told["median of the row"] = {"marker": "|", "lw": 0, "ms": 13, "mew": 1.8, "color": "black"}
    told[f"below {LOWEST:.0f} %, off the scale"] = {"marker": "<", "lw": 0, "color": "0.4"}
    handles = [plt.Line2D([], [], **look) for look in told.values()]
    figure.legend(handles, list(told), loc="outside lower center", ncols=len(told), frameon=False, fontsize=9)
    write(figure, out)
    plt.close(figure)


if __name__ == "__main__":
    draw(*(Path(word) for word in sys.argv[1:4]))
