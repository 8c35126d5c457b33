"""Claim: on texts whose best order is known, a learner from samples closes nearly all of the gap, and why.

    python -m unmask.view.fig_exact docs/records/exact docs/records/exact-study docs/figures/exact.svg

Left: gap closed (equation 9) of every cell of `unmask exact`, by family. Right: the same for every recipe of
benchmarks/exact_study.py. 0 is the best heuristic at its best level, 100 the best randomised order there is.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from unmask.core.errors import UserError
from unmask.view.fig_accuracy import write

LOWEST = -10.0  # percent; what is below is drawn at the edge, as a triangle
COLOURS = {2: "#4477aa", 3: "#a07800", 4: "#ee6677"}


def read_cells(folder: Path) -> list[dict[str, Any]]:
    """The cells of `unmask exact --out FOLDER`, or of the study. Raises UserError if the folder has neither."""
    lines, study = folder / "exact.jsonl", folder / "record.json"
    if lines.is_file():
        return [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()[1:]]
    if study.is_file():
        return list(json.loads(study.read_text(encoding="utf-8"))["cells"])
    raise UserError(f"{folder} has neither exact.jsonl nor record.json; make one with `unmask exact --out {folder}`")


def grouped(cells: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[tuple[int, float]]]:
    """(steps, percent closed) of the cells that count, by `key`, in the order they come."""
    found: dict[str, list[tuple[int, float]]] = {}
    for cell in cells:
        if cell["closed"] is not None:
            found.setdefault(str(cell[key]), []).append((int(cell["steps"]), 100 * float(cell["closed"])))
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
    families, recipes = grouped(read_cells(suite), "family"), grouped(read_cells(study), "recipe")
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
