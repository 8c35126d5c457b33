import json

import pytest

from unmask.evaluate.summary import families, over_seeds, render_families, render_seeds, write_summary
from unmask.evaluate.table import TableRow
from unmask.evaluate.table import show as show_table


def row(sampler, budget, accuracy, tpf=2.0, seed=0, family=None, aup=None):
    return TableRow(
        sampler=sampler, budget=budget, steps_mean=4.0, steps_min=4, steps_max=4, nfe=4.0, tpf=tpf, accuracy=accuracy,
        low=0.0, high=1.0, n=10, seconds=1.0, seed=seed, family=family or sampler, aup=aup,
    )  # fmt: skip


def test_a_sampler_over_three_seeds_by_hand(capsys):
    """.5, .25 and .75: mean .5, from .25 to .75."""
    rows = [row("iid", 4, accuracy, seed=seed) for seed, accuracy in ((0, 0.5), (1, 0.25), (2, 0.75))]
    (found,) = over_seeds(rows)
    assert found == ("iid", 4, (0, 1, 2), 0.5, 0.25, 0.75, 4.0, 2.0, False)
    show_table(render_seeds(rows), "stdout")
    assert "50.0 (25.0 to 75.0)" in capsys.readouterr().out
    assert render_seeds(rows[:1]) is None


def test_a_family_is_the_tested_seeds_curve(capsys, tmp_path):
    rows = [
        row("threshold:level=0.5", 12, 0.5, 3.0, 0, "threshold", 150.0),
        row("threshold:level=0.9", 12, 0.75, 1.5, 0, "threshold", 150.0),
        row("threshold:level=0.9", 12, 1.0, 9.0, 1, "threshold", 900.0),
        row("margin", 4, 0.25, 2.0, 0, None, 50.0),
    ]
    assert families(rows) == [
        ("threshold", 2, 1.5, 3.0, 0.75, 150.0, False),
        ("margin", 1, 2.0, 2.0, 0.25, 50.0, False),
    ]
    show_table(render_families(rows), "stdout")
    shown = capsys.readouterr().out
    assert shown.index("threshold") < shown.index("margin")
    assert "1.50 to 3.00" in shown
    assert render_families(rows[3:]) is None, "one point is no curve"
    write_summary(tmp_path / "summary.json", rows, {"retention_of": "iid"})
    written = json.loads((tmp_path / "summary.json").read_text())
    assert (written["tested_seed"], written["retention_of"]) == (0, "iid")
    assert [each["aup"] for each in written["families"]] == [150.0, 50.0]
    assert written["seeds"][1]["accuracy_mean"] == pytest.approx(0.875)
