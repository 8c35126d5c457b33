"""Equation 9 by hand, and how summaries are counted."""

from dataclasses import replace

import pytest

from unmask.exact.gap import HEURISTICS, Cell, measure, summaries, summarise
from unmask.samplers import SAMPLERS

CELL = Cell(
    family="gate", number=0, steps=3, seed=0, entropy=2.0, heuristics={"random": 2.5, "top-prob": 2.6}, best="random",
    static=2.4, deterministic=2.3, randomised=2.1, certificate=0.0, learned=2.2, near_best=0.5,
    near_deterministic=0.25, updates=1, seconds=1.0,
)  # fmt: skip


def test_gap_closed_by_hand() -> None:
    assert CELL.closed == pytest.approx(0.75)
    assert CELL.closed_to_deterministic == pytest.approx(1.5)
    assert replace(CELL, learned=2.5).closed == pytest.approx(0)
    assert CELL.passes
    assert not replace(CELL, learned=2.502).passes


def test_a_small_gap_is_not_divided_by() -> None:
    small = replace(CELL, randomised=2.495, deterministic=2.498)
    assert small.closed is None
    assert small.closed_to_deterministic is None


def test_a_summary_by_hand() -> None:
    cells = [CELL, replace(CELL, learned=2.3), replace(CELL, randomised=2.499, learned=2.6)]
    found = summarise("gate", cells)
    assert (found.cells, found.counted, found.lost) == (3, 2, 1)
    assert found.median == pytest.approx(0.625)
    assert found.smallest == pytest.approx(0.5)
    assert [row.name for row in summaries([CELL, replace(CELL, family="hmm")])] == ["gate", "hmm", "all"]
    assert summaries([]) == []


def test_a_cell_survives_its_record() -> None:
    assert Cell.from_dict(CELL.to_dict()) == CELL


def test_the_heuristics_are_samplers_we_have() -> None:
    assert set(HEURISTICS) <= set(SAMPLERS)


@pytest.mark.slow
def test_a_measured_cell_is_in_order() -> None:
    cell = measure("pairs", 0, 2, updates=20)
    assert cell.entropy <= cell.randomised + cell.certificate
    assert cell.randomised <= cell.deterministic + 1e-4
    assert cell.deterministic <= cell.static + 1e-12
    assert cell.randomised - cell.certificate <= min(cell.learned, cell.best_nll)
    assert cell.updates == 20
