"""Accuracy against steps as SVG for a page: colours come from its style sheet, so light and dark work alike."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from unmask.view.style import Series, logarithmic, nice_step

TOP, RIGHT, BOTTOM, LEFT = 14, 14, 46, 50  # margins around the axes, in pixels


class Frame(NamedTuple):
    """Where a number of steps and an accuracy in percent stand in the picture."""

    width: int
    height: int
    steps: tuple[float, float]
    percent: tuple[float, float]
    log: bool

    def x(self, steps: float) -> float:
        """From the left, in pixels."""
        low, high, at = (*self.steps, steps)
        if self.log:
            low, high, at = math.log2(low), math.log2(high), math.log2(steps)
        return LEFT + (self.width - LEFT - RIGHT) * (at - low) / (high - low)

    def y(self, percent: float) -> float:
        """From the top, in pixels."""
        low, high = self.percent
        return TOP + (self.height - TOP - BOTTOM) * (high - percent) / (high - low)


def frame(lines: Sequence[Series], width: int, height: int) -> Frame:
    """Axes that hold every interval, with a little room."""
    rows = [row for line in lines for row in line.rows]
    steps, log = [max(row.steps_mean, 0.5) for row in rows], logarithmic(lines)
    low, high = min(steps), max(steps)
    ends = (low / 1.12, high * 1.12) if log else (low - 0.06 * (high - low) - 0.3, high + 0.06 * (high - low) + 0.3)
    bottom, top = 100 * min(row.low for row in rows), 100 * max(row.high for row in rows)
    step = nice_step(max(top - bottom, 1), 6)
    percent = (max(0.0, step * math.floor(bottom / step)), min(100.0, step * math.ceil(top / step)))
    return Frame(width, height, ends, percent if percent[1] > percent[0] else (0.0, 100.0), log)


def ticks(axes: Frame) -> tuple[list[float], list[float]]:
    """Numbers to write at the steps, and at the percents."""
    low, high = axes.steps
    if axes.log:
        across = [2.0**power for power in range(12) if low <= 2.0**power <= high]
    else:
        step = nice_step(high - low, max(3, axes.width // 90))
        across = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    step = nice_step(axes.percent[1] - axes.percent[0], 6)
    return across, [step * k for k in range(round(axes.percent[0] / step), math.floor(axes.percent[1] / step) + 1)]


def draw(lines: Sequence[Series], width: int, height: int) -> str:
    """The picture. Every point has a title with its numbers; the table says the same to those who cannot see it."""
    axes = frame(lines, width, height)
    across, up = ticks(axes)
    right, bottom = width - RIGHT, height - BOTTOM
    parts = [f'<svg class="plot w{width}" viewBox="0 0 {width} {height}" role="img" aria-label="{_said(lines)}">']
    for y in up:
        at = f"{axes.y(y):.1f}"
        parts.append(f'<path class="grid" d="M{LEFT} {at}H{right}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at}" dy=".35em" text-anchor="end">{y:g}</text>')
    for x in across:
        parts.append(f'<path class="grid" d="M{axes.x(x):.1f} {bottom}v5"/>')
        parts.append(f'<text x="{axes.x(x):.1f}" y="{bottom + 19}" text-anchor="middle">{x:g}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>')
    name = "steps, mean" + (" (logarithmic)" if axes.log else "")
    parts.append(f'<text x="{(LEFT + right) / 2:.0f}" y="{height - 8}" text-anchor="middle">{name}</text>')
    middle = (TOP + bottom) / 2
    parts.append(f'<text transform="translate(13 {middle:.0f}) rotate(-90)" text-anchor="middle">accuracy, %</text>')
    for place, line in reversed(list(enumerate(lines))):  # learned orders come first, and are drawn last
        shift = min(2.5, 16 / len(lines)) * (place - (len(lines) - 1) / 2)
        parts.append(_line(axes, line, shift))
    return "".join([*parts, "</svg>"])


def _line(axes: Frame, line: Series, shift: float) -> str:
    """One sampler: its line, its intervals and its points."""
    at = [(axes.x(max(row.steps_mean, 0.5)) + shift, axes.y(100 * row.accuracy), row) for row in line.rows]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in at)
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    parts = [f'<g class="{line.hue}{" learned" if line.learned else ""}">', f'<path class="line" d="M{path}"{dash}/>']
    for x, y, row in at:
        low, high = axes.y(100 * row.low), axes.y(100 * row.high)
        told = (
            f"{row.sampler}, budget {row.budget}: {100 * row.accuracy:.1f} % [{100 * row.low:.1f}, "
            f"{100 * row.high:.1f}] at {row.steps_mean:.2f} steps, n = {row.n}"
        )
        parts.append(f'<g><title>{escape(told)}</title><path class="bar" d="M{x:.1f} {low:.1f}V{high:.1f}')
        parts.append(f'm-3 0h6M{x - 3:.1f} {low:.1f}h6"/>{mark(line.mark, x, y, 5.5 if line.learned else 4)}</g>')
    return "".join([*parts, "</g>"])


def _said(lines: Sequence[Series]) -> str:
    names = ", ".join(line.name for line in lines)
    return escape(f"Accuracy against mean steps of {names}. Numbers: see the table.")


def mark(kind: str, x: float, y: float, r: float) -> str:
    """A point's shape around (x, y), with about the area of a circle of radius r."""
    s = 0.9 * r
    shapes = {
        "circle": f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
        "square": f"M{x - s:.1f} {y - s:.1f}h{2 * s:.1f}v{2 * s:.1f}h{-2 * s:.1f}z",
        "triangle": f"M{x:.1f} {y - 1.2 * r:.1f}l{1.15 * r:.1f} {2 * r:.1f}h{-2.3 * r:.1f}z",
        "diamond": f"M{x:.1f} {y - 1.3 * r:.1f}l{1.2 * r:.1f} {1.3 * r:.1f}l{-1.2 * r:.1f} {1.3 * r:.1f}"
        f"l{-1.2 * r:.1f} {-1.3 * r:.1f}z",
        "down": f"M{x:.1f} {y + 1.2 * r:.1f}l{1.15 * r:.1f} {-2 * r:.1f}h{-2.3 * r:.1f}z",
        "plus": f"M{x - 1.2 * r:.1f} {y:.1f}h{2.4 * r:.1f}M{x:.1f} {y - 1.2 * r:.1f}v{2.4 * r:.1f}",
    }
    return f'<path class="mark" d="{shapes[kind]}"/>'


def legend(lines: Sequence[Series]) -> str:
    """Which line is which, as a list that wraps."""
    items = []
    for line in lines:
        dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
        kind = "learned" if line.learned else "other"
        name = escape(line.name) + (" (learned)" if line.learned and line.name != "learned" else "")
        items.append(
            f'<li class="{kind}"><svg class="plot" width="34" height="16" aria-hidden="true">'
            f'<g class="{line.hue} {kind}">'
            f'<path class="line" d="M1 8H33"{dash}/>{mark(line.mark, 17, 8, 5 if line.learned else 4)}</g></svg>'
            f"<span>{name}</span></li>"
        )
    return f'<ul class="legend">{"".join(items)}</ul>'
