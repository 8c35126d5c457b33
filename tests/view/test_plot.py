"""Lines, heat maps: the numbers behind the pictures."""

import struct
import xml.etree.ElementTree as ET
import zlib

import pytest

from unmask.evaluate.table import TableRow
from unmask.view import plot
from unmask.view.heat import heat, png
from unmask.view.style import series


def row(sampler: str, budget: int, share: float = 0.5, steps: float | None = None, learned: bool = False) -> TableRow:
    steps = budget if steps is None else steps
    return TableRow(sampler, budget, steps, 1, budget, steps, 3.0, share, share - 0.1, share + 0.1, 50, 1, 0, learned)


def test_learned_orders_come_first_and_one_per_step_belongs_to_its_sampler() -> None:
    rows = [row("iid", 2), row("ours", 2, learned=True), row("ours:one-per-step", 48, learned=True), row("iid", 48)]
    assert [(line.name, len(line.rows)) for line in series(rows)] == [("ours", 2), ("iid", 2)]


def test_the_best_settings_of_each_budget_are_one_line_and_rivals_are_not() -> None:
    tuned = [row("margin:block=4", 2), row("margin:block=8", 4), row("threshold:level=0.5", 2)]
    assert [line.name for line in series(tuned)] == ["margin", "threshold:level=0.5"]
    rivals = [row("margin:block=4", 2), row("margin:block=8", 2)]
    assert [line.name for line in series(rivals)] == ["margin:block=4", "margin:block=8"]


def test_a_sweep_at_one_budget_is_one_curve_by_steps() -> None:
    """Three unconnected points, before."""
    swept = [
        row(f"threshold:level={level}", 48, steps=steps)._replace(family="threshold")
        for level, steps in ((0.9, 7.0), (0.5, 2.0), (0.7, 5.0))
    ]
    (line,) = series(swept)
    assert (line.name, [each.steps_mean for each in line.rows]) == ("threshold", [2.0, 5.0, 7.0])
    both = [*swept, *(each._replace(budget=4, steps_mean=3.0) for each in swept)]
    assert len(series(both)) == 3, "at two budgets each setting is a curve of its own"


def test_no_two_of_many_samplers_look_alike() -> None:
    lines = series([row(f"sampler{number}", 2) for number in range(24)])
    assert len({(line.mark, line.hue) for line in lines}) == 24


@pytest.mark.parametrize("width", [340, 760])
@pytest.mark.parametrize(
    "rows",
    [
        [row("iid", 4)],
        [row("iid", 2, 0.1), row("iid", 48, 0.9)],
        [row("a", 4, 0.1), row("b<", 4, 0.9, steps=3.2, learned=True)],
        [row("a", 1000, 0.5), row("a", 1001, 0.5)],
    ],
)
def test_everything_drawn_is_inside_the_picture(rows: list[TableRow], width: int) -> None:
    lines = series(rows)
    picture = ET.fromstring(plot.draw(lines, width, 300))
    axes = plot.frame(lines, width, 300)
    across, up = plot.ticks(axes)
    assert len(across) >= 1
    assert len(up) >= 3
    for each in rows:
        assert plot.LEFT <= axes.x(each.steps_mean) <= width - plot.RIGHT
        assert plot.TOP - 1e-9 <= axes.y(100 * each.high) < axes.y(100 * each.low) <= 300 - plot.BOTTOM + 1e-9
    assert len(list(picture.iter("title"))) == len(rows)


def test_a_heat_map_counts_by_hand() -> None:
    made = heat([[1, 2, 2], [1, 1, 2], [1, 2, 0]])
    assert made is not None
    assert (made.steps, made.positions) == (2, 3)
    assert made.share == [[1.0, 1 / 3, 0.0], [0.0, 2 / 3, 1.0]]
    assert made.thirds == pytest.approx((1.0, 5 / 3, 2.0))
    assert heat([[0, 0]]) is None
    assert heat([]) is None


def test_long_texts_and_many_steps_share_the_cells_of_a_heat_map() -> None:
    made = heat([list(range(1, 1001))] * 2)
    assert made is not None
    assert (len(made.share), len(made.share[0])) == (64, 128)
    assert all(sum(column) == pytest.approx(1) for column in zip(*made.share, strict=True))


def test_the_picture_is_a_png_of_a_pixel_a_cell() -> None:
    data = png([[0.0, 1.0], [0.25, 0.0]])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (2, 2)
    start = data.index(b"IDAT") + 4
    assert zlib.decompress(data[start : start + struct.unpack(">I", data[start - 8 : start - 4])[0]]) == bytes(
        [0, 0, 255, 0, 128, 0]
    )
