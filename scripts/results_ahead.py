"""How far a learned order is ahead, in two sentences, from the table of a bench."""

import json
import math
from pathlib import Path
from typing import Any

from unmask.evaluate.tune import TOLERANCE


def ahead_sentence(folder: Path) -> str:
    """The order against the best heuristic at its mean steps, and against the best at its maximum."""
    rows = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    order = next(row for row in rows if row["learned"] and "one-per-step" not in row["sampler"])
    others = [row for row in rows if not row["learned"] and row["budget"] <= order["steps_max"]]
    mean = [row for row in others if fits(row, order)]
    heuristics = {row["sampler"].partition(":")[0].partition("@")[0] for row in others}
    kept = f" It keeps {100 * order['retention']:.0f} % of the accuracy that one position per step reaches." if (
        order.get("retention")
    ) else ""  # fmt: skip
    return (
        f"In {order['steps_mean']:.2f} steps on average, at most {order['steps_max']}, it is right on "
        f"{percent(order)} of {order['n']} problems.\n"
        f"The best of {len(heuristics)} tuned heuristics at as many steps on average, {told(best(mean))};\n"
        f"the best that may take {order['steps_max']} steps, {told(best(others))}.{kept}\n"
    )


def fits(row: dict[str, Any], order: dict[str, Any]) -> bool:
    """Whether a row takes no more steps on average; of fixed quotas, no more than the order's mean rounded up."""
    fixed = row["steps_min"] == row["steps_max"] or row["budget"] == row["steps_mean"]
    most = math.ceil(order["steps_mean"]) if fixed else order["steps_mean"]
    return bool(row["steps_mean"] <= most + TOLERANCE)


def best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The most accurate."""
    return max(rows, key=lambda row: (row["accuracy"], -row["steps_mean"]))


def percent(row: dict[str, Any]) -> str:
    """`77.3 %`."""
    return f"{100 * row['accuracy']:.1f} %"


def told(row: dict[str, Any]) -> str:
    """A heuristic, and how far the order is ahead of it."""
    versus = row["versus"]
    return (
        f"`{row['sampler']}`, has {percent(row)}, which is {versus['points']:.1f} points less "
        f"[{versus['low']:.1f}, {versus['high']:.1f}] (p = {versus['p']:.2g}, Holm {versus['holm']:.2g})"
    )
