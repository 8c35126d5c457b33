import json
import math

import pytest

from unmask.evaluate.bench import bench
from unmask.evaluate.metrics import mcnemar
from unmask.evaluate.paired import newcombe
from unmask.evaluate.pinned import Pinned
from unmask.evaluate.records import Record, read_records
from unmask.evaluate.table import matching, print_table, table, table_row, to_json


def records(name, budget, right, steps, order=None, seed=0):
    return [
        Record(name, budget, seed, f"e/{i}", "p", "t", "1", bool(r), s, s, 12, 6, 0.5, order)
        for i, (r, s) in enumerate(zip(right, steps, strict=True))
    ]


def test_a_row_by_hand():
    """Three of four right in 2, 3, 3, 4 steps: Wilson for 3/4 is 0.3006 to 0.9544."""
    row = table_row(records("margin", 4, [1, 1, 0, 1], [2, 3, 3, 4]))
    assert (row.steps_mean, row.steps_min, row.steps_max, row.nfe) == (3, 2, 4, 3)
    assert row.tpf == 24 / 12
    assert (row.accuracy, row.n, row.seconds, row.seed, row.learned) == (0.75, 4, 2.0, 0, False)
    assert (round(row.low, 4), round(row.high, 4)) == (0.3006, 0.9544)


def test_a_heuristic_is_compared_with_the_best_order_at_its_steps():
    """Seven problems only the order gets, one only margin: p = 2 (1 + 8) / 256, 6 points of 8 examples."""
    ours = records("ours", 8, [1] * 7 + [0], [3] * 7 + [4], "digest")
    worse = records("worse", 8, [0] * 8, [4] * 8, "digest")
    margin = records("margin", 4, [0] * 7 + [1], [4] * 8)
    far = records("margin", 9, [0] * 8, [9] * 8)
    rows = table([ours, worse, margin, far])
    versus = rows[2].versus
    assert versus[:4] == ("ours", 8, 75.0, 2 * 9 / 256)
    assert (versus.only_reference, versus.only_row, versus.holm) == (7, 1, versus.p)
    low, high = newcombe(0, 7, 1, 0)
    assert (versus.low, versus.high) == (100 * low, 100 * high)
    assert [row.versus for row in rows if row.sampler != "margin"] == [None, None]
    assert rows[3].versus is None


def test_any_sampler_can_be_what_the_others_are_tested_against():
    """Against margin at 4 steps: seven to none, p = 2/128, and one to none, p = 1; Holm doubles the first."""
    ours = records("ours", 8, [0] * 8, [4] * 8, "digest")
    margin = records("margin:block=8", 4, [1] * 7 + [0], [4] * 8)
    iid = records("iid", 4, [1] * 6 + [0] * 2, [4] * 8)
    slow = records("iid", 9, [1] * 8, [9] * 8)
    for name in ("margin", "margin:block=8"):
        rows = table([ours, margin, iid, slow], against=Pinned(name, None))
        assert [row.versus and row.versus.points for row in rows] == [87.5, None, 12.5, None]
        assert (rows[0].versus.p, rows[0].versus.holm) == (2 / 128, 4 / 128)
        assert (rows[2].versus.p, rows[2].versus.holm) == (1, 1)
    rows = table([ours, margin, iid, slow], against=Pinned("margin", 4))
    assert rows[3].versus.points == -12.5, "with a budget, whatever the steps"
    assert rows[0].versus.holm == 6 / 128
    assert all(row.versus is None for row in table([ours, margin], against=Pinned("margin", 5)))


def test_only_the_declared_seed_is_tested():
    cells = [
        cell
        for seed in (2, 0, 1)
        for cell in (
            records("ours", 4, [1] * 8, [4] * 8, "digest", seed),
            records("iid", 4, [0] * 8, [4] * 8, None, seed),
        )
    ]
    tested = [row.seed for row in table(cells) if row.versus]
    assert tested == [0]
    assert [row.seed for row in table(cells[:2] + cells[4:]) if row.versus] == [2], "the first where 0 was not run"
    assert [row.seed for row in table(cells, tested=1) if row.versus] == [1]


def test_the_area_is_that_of_the_family_under_the_best_of_all():
    """Six content tokens in 4, 2 steps: TPF 1.5, 3; accuracies 80, 78 of at most 90 %.

    1.5 x 80 + 1/2 (3 - 1.5) (78 w + 80 v), w = exp(-3 x 12/90), v = exp(-3 x 10/90).
    """
    quick = records("threshold:level=0.5", 12, right(39), [2] * 50)
    steady = records("threshold:level=0.9", 12, right(40), [4] * 50)
    others = [records(f"frontier:level={level}", 12, right(45), [6] * 50) for level in (0.5, 0.9)]
    elsewhere = records("threshold:level=0.9", 12, right(10), [1] * 50, seed=1)
    rows = table([quick, steady, *others, elsewhere])
    w, v = math.exp(-3 * 12 / 90), math.exp(-3 * 10 / 90)
    expected = 1.5 * 80 + (3 - 1.5) * (78 * w + 80 * v) / 2
    assert [row.family for row in rows] == ["threshold", "threshold", "frontier", "frontier", "threshold"]
    assert rows[0].aup == rows[1].aup == pytest.approx(expected)
    assert rows[2].aup == rows[3].aup == pytest.approx(1 * 90)
    assert rows[4].aup == pytest.approx(6 * 20), "another seed is another curve"


def areas(**budgets) -> dict[str, bool]:
    """Which samplers have an area when run at these budgets."""
    cells = [records(name, budget, right(40), [2] * 50) for name, each in budgets.items() for budget in each]
    return {row.sampler: row.aup is not None for row in table(cells)}


def test_an_area_is_shown_between_samplers_of_the_same_budgets_only():
    """`top-prob` also at 48 had an area of 50 beside the 502 of `margin`, for nothing but that row."""
    assert areas(margin=(2, 4), iid=(2, 4)) == {"margin": True, "iid": True}
    assert areas(margin=(4, 2), iid=(2, 4)) == {"margin": True, "iid": True}
    assert areas(margin=(2, 4), iid=(2, 4), entropy=(2, 4, 48)) == {"margin": True, "iid": True, "entropy": False}
    assert areas(margin=(2, 4), iid=(2, 4, 48)) == {"margin": False, "iid": False}
    assert areas(margin=(2, 4), iid=(4, 8)) == {"margin": False, "iid": False}
    assert areas(margin=(2, 4)) == {"margin": True}


def test_a_single_point_has_no_area_beside_a_curve_at_its_budget():
    levels = [records(f"threshold:level={level}", 48, right(40), [2] * 50) for level in (0.5, 0.7)]
    slow = records("left-to-right", 48, right(40), [48] * 50)
    assert {row.aup for row in table([*levels, slow])} == {None}


def right(count):
    return [1] * count + [0] * (50 - count)


def test_retention_is_accuracy_over_that_of_the_chosen_slow_sampler():
    quick = records("margin", 3, [1, 1, 1, 0], [3] * 4)
    slow, better = records("margin", 12, [1, 1, 1, 1], [12] * 4), records("iid", 12, [1, 1, 0, 0], [12] * 4)
    rows = table([quick, slow, better], slow=Pinned("margin", 12))
    assert [row.retention for row in rows] == [0.75, 1.0, 0.5]
    assert [row.retention for row in table([quick, slow, better], slow=Pinned("iid", 12))] == [1.5, 2.0, 1.0]
    assert [row.retention for row in table([quick, slow])] == [None, None]


def test_padding_after_the_end_token_makes_nothing_look_faster():
    """Six and four content tokens in two steps each: TPF 10 / 4, whatever is written after the end token."""
    first, second = records("margin", 2, [1, 1], [2, 2])
    short = table_row([first, second._replace(content=4)])
    padded = table_row([first._replace(written=48), second._replace(content=4, written=480)])
    assert short.tpf == padded.tpf == 10 / 4


@pytest.mark.parametrize(
    ("budget", "steps", "seed", "expected"),
    [(4, 4, 0, True), (8, 8, 0, True), (56, 3.9, 0, True), (56, 3.0, 0, False), (5, 5, 0, False), (4, 4, 1, False)],
)
def test_steps_match_at_the_ceiling_the_maximum_or_a_close_mean(budget, steps, seed, expected):
    row = table_row(records("margin", budget, [1], [1], seed=seed))._replace(steps_mean=steps)
    order = table_row(records("ours", 8, [1], [1], "digest"))._replace(steps_mean=3.6, steps_max=8)
    assert matching(row, order) is expected


@pytest.mark.slow
def test_the_table_of_a_bench_is_what_its_records_say(denoiser, task, thrifty, tmp_path):
    rows = bench(
        denoiser, task, "test", samplers=["iid", "margin"], orders={"ours": thrifty()}, budgets=[5],
        seeds=[0, 3], count=12, out=tmp_path,
    )  # fmt: skip
    entries = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()[1:]]
    written = json.loads((tmp_path / "table.json").read_text())
    assert written == json.loads(json.dumps(to_json(rows)))
    right = {}
    for row in written:
        cell = [e for e in entries if all(e[key] == row[key] for key in ("sampler", "budget", "seed"))]
        steps, nfe = [e["steps"] for e in cell], [e["nfe"] for e in cell]
        assert row["n"] == len(cell) == 12
        assert row["accuracy"] == sum(e["correct"] for e in cell) / 12
        assert row["low"] < row["accuracy"] < row["high"]
        assert (row["steps_mean"], row["steps_min"], row["steps_max"]) == (sum(steps) / 12, min(steps), max(steps))
        assert row["nfe"] == sum(nfe) / 12
        assert row["tpf"] == sum(e["content"] for e in cell) / sum(nfe)
        assert math.isclose(row["seconds"], sum(e["seconds"] for e in cell))
        right[row["sampler"], row["budget"], row["seed"]] = {e["id"]: e["correct"] for e in cell}
    compared = [row for row in written if row["versus"]]
    assert {row["seed"] for row in compared} == {0}
    for row in compared:
        mine = right[row["sampler"], row["budget"], row["seed"]]
        theirs = right[row["versus"]["sampler"], row["versus"]["budget"], row["seed"]]
        expected = mcnemar([theirs[i] for i in mine], list(mine.values()))
        assert row["versus"]["p"] == expected.p
        gain = 100 * (sum(theirs.values()) - sum(mine.values())) / 12
        assert row["versus"]["points"] == pytest.approx(gain)
    for entry in entries:
        example = next(e for e in task.examples("test")[:12] if e.id == entry["id"])
        assert entry["correct"] == task.correct(entry["text"], example)
        assert entry["answer"] == task.extract(entry["text"])
        assert entry["nfe"] <= entry["steps"] <= entry["budget"]
        assert entry["content"] <= entry["written"] == 12


def test_the_table_is_shown_where_it_is_asked_for(capsys):
    rows = table([records("ours", 8, [1] * 8, [4] * 8, "d"), records("margin:block=8", 4, [0] * 8, [4] * 8)])
    print_table(rows, "ten problems")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "4.00 [4, 4]" in shown.err
    assert "100.0 [67.6, 100.0]" in shown.err
    assert "margin:block=8" in shown.err
    assert "+100.0" in shown.err
    print_table(rows, to="stdout")
    assert "ours" in capsys.readouterr().out


def test_records_can_be_tabled_from_the_file_alone(denoiser, task, tmp_path):
    rows = bench(denoiser, task, "test", samplers=["margin"], budgets=[3], count=6, out=tmp_path)
    assert table([read_records(tmp_path / "records.jsonl").records]) == rows
