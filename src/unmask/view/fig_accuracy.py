"""Claim: at a given number of steps, a learned order is right at least as often as the heuristics are.

    python -m unmask.view.fig_accuracy docs/records/demo docs/figures/accuracy-demo.svg docs/figures/accuracy-demo.pdf

Accuracy with Wilson's 95 % interval against mean steps, a line for each sampler, told apart by mark, line and colour.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unmask.core.errors import UserError
from unmask.core.files import replacing
from unmask.view.source import Bench, load
from unmask.view.style import Series, for_dark_pages, logarithmic, series

MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D", "down": "v", "plus": "P"}
KINDS = ("svg", "pdf", "png")


def draw(source: Path, *outs: Path) -> None:
    """Read a bench (its folder, records.jsonl or table.json) and write the figure, in the formats the names end in."""
    for out in outs:
        if out.suffix.lstrip(".") not in KINDS:
            raise UserError(f"cannot write a figure as `{out.name}`; let its name end in .{', .'.join(KINDS)}")
    found = load(source)
    if not isinstance(found, Bench):
        raise UserError(f"{source} is a trace, which has no accuracy; give the folder of a bench")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    settings = {"svg.hashsalt": "unmask", "svg.fonttype": "none", "pdf.fonttype": 42}  # same file, text stays text
    with mpl.rc_context(settings):
        figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
        plot(axes, series(found.rows))
        figure.legend(loc="outside right upper", frameon=False, fontsize=9)
        for out in outs:
            write(figure, out)
        plt.close(figure)


def plot(axes: Any, lines: Sequence[Series]) -> None:
    """The lines on a pair of axes of matplotlib, learned orders first in the legend and above the others."""
    for place, line in enumerate(lines):
        shift = 1 + 0.012 * (place - (len(lines) - 1) / 2)  # intervals at the same steps stand beside each other
        steps = [row.steps_mean * shift for row in line.rows]
        right = [100 * row.accuracy for row in line.rows]
        below = [100 * (row.accuracy - row.low) for row in line.rows]
        above = [100 * (row.high - row.accuracy) for row in line.rows]
        axes.errorbar(
            steps, right, yerr=[below, above], label=line.name, color=line.colour, zorder=3 if line.learned else 2,
            marker=MARKERS[line.mark], ms=6 if line.learned else 5, mfc=line.colour if line.learned else "white",
            lw=2.4 if line.learned else 1.1, elinewidth=1.6 if line.learned else 0.8, capsize=2,
            ls="-" if line.dash is None else (0, tuple(map(float, line.dash.split()))),
        )  # fmt: skip
    if logarithmic(lines):
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("steps, mean")
    axes.set_ylabel("accuracy, % [95 %]")
    axes.grid(axis="y", color="0.88", lw=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def write(figure: Any, out: Path) -> None:
    """Replace `out`, without the date, so that the same records give the same file."""
    kind = out.suffix.lstrip(".")
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with replacing(out) as path:
        figure.savefig(path, format=kind, metadata=undated.get(kind), dpi=200)
        if kind == "svg":
            path.write_text(for_dark_pages(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    draw(*(Path(word) for word in sys.argv[1:]))
