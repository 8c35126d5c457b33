import json
import math
from dataclasses import replace

import pytest

from unmask.core.errors import UserError
from unmask.evaluate.bench import bench
from unmask.evaluate.metrics import Point, area_under_parallelism
from unmask.evaluate.pinned import parse_pinned
from unmask.evaluate.records import read_records

COUNT = 10


@pytest.fixture
def small(denoiser, task, tmp_path):
    """`small(samplers=[...], ...)`: a bench over ten problems in batches of four."""

    def run(**options):
        return bench(denoiser, task, "test", **{"count": COUNT, "out": tmp_path, "batch": 4, **options})

    return run


def without_the_clock(row):
    return row._replace(seconds=0, tokens_per_second=None, seconds_p50=None, seconds_p99=None)


def lines(path, without=("seconds",)):
    """The records as they stand in the file, but for the clock."""
    entries = [json.loads(line) for line in (path / "records.jsonl").read_text().splitlines()]
    return [{key: value for key, value in entry.items() if key not in without} for entry in entries]


@pytest.mark.slow
def test_without_orders_every_sampler_runs_at_the_budgets(small, tmp_path):
    rows = small(samplers=["top-prob", "iid"], budgets=[2, 3], seeds=[0, 1], one_per_step=["left-to-right"])
    cells = [(row.sampler, row.budget, row.seed) for row in rows]
    expected = [(name, budget, seed) for name in ("top-prob", "iid") for budget in (2, 3) for seed in (0, 1)]
    assert cells == [*expected, ("left-to-right", 12, 0), ("left-to-right", 12, 1)]
    assert all(row.n == COUNT and row.versus is None for row in rows)
    assert rows[-1].steps_min == rows[-1].steps_max == 12
    assert len(read_records(tmp_path / "records.jsonl").records) == len(rows) * COUNT


@pytest.mark.slow
def test_baselines_run_at_the_orders_mean_and_maximum_steps(small, thrifty):
    order = thrifty()
    samplers = ["margin", "threshold:level=0.5@7"]
    rows = small(samplers=samplers, orders={"ours": order}, budgets=[2, 12], count=9)
    ours = [row for row in rows if row.sampler == "ours"]
    assert [row.budget for row in ours] == [2, 12]
    assert all(row.learned for row in ours)
    expected = {steps for row in ours for steps in (math.ceil(row.steps_mean), row.steps_max)}
    assert len(expected) >= 3, "or the test shows nothing"
    assert any(row.steps_mean % 1 for row in ours), "or the ceiling shows nothing"
    assert [row.budget for row in rows if row.sampler == "margin"] == sorted(expected)
    assert [row.budget for row in rows if row.sampler.startswith("threshold")] == [7]
    for row in rows:
        if row.sampler == "margin":
            assert row.versus.sampler == "ours"


@pytest.mark.slow
def test_an_order_can_run_one_per_step_too(small, thrifty):
    rows = small(orders={"ours": thrifty()}, budgets=[4], one_per_step=["ours", "top-prob"])
    single = {row.sampler: row for row in rows if row.budget == 12}
    assert set(single) == {"ours:one-per-step", "top-prob"}
    assert all(row.steps_min == row.steps_max == 12 for row in single.values())


@pytest.mark.slow
def test_a_sweep_is_a_curve_with_one_area(small, tmp_path):
    rows = small(samplers=["margin"], budgets=[3], sweeps=["threshold.level=0.02,0.05", "margin.block=4,6"], count=6)
    found = {(row.sampler, row.budget): row.family for row in rows}
    assert found == {
        ("margin", 3): "margin",
        ("threshold:level=0.02", 12): "threshold",
        ("threshold:level=0.05", 12): "threshold",
        ("margin:block=4", 3): "margin",
        ("margin:block=6", 3): "margin",
    }
    assert {row.aup for row in rows} == {None}, "other budgets: 3 and 12"
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [(row["family"], row["points"]) for row in summary["families"]] == [("margin", 3), ("threshold", 2)]
    assert {row["aup"] for row in summary["families"]} == {None}
    rows = small(samplers=["margin"], budgets=[3], sweeps=["margin.block=4,6"], count=6)
    best = 100 * max(row.accuracy for row in rows)
    area = area_under_parallelism([Point(row.tpf, 100 * row.accuracy) for row in rows], best)
    assert {row.aup for row in rows} == {area}


@pytest.mark.slow
def test_the_slow_sampler_is_run_and_is_the_scale_of_retention(small, thrifty):
    rows = small(samplers=["margin"], budgets=[3], slow="iid")
    (full,) = (row for row in rows if (row.sampler, row.budget) == ("iid", 12))
    assert full.retention == 1
    assert all(row.retention == row.accuracy / full.accuracy for row in rows)
    rows = small(orders={"ours": thrifty()}, budgets=[3], slow="ours")
    assert [row.sampler for row in rows if row.retention == 1][-1] == "ours:one-per-step"
    assert all(row.retention is None for row in small(samplers=["margin"], budgets=[3]))


@pytest.mark.slow
def test_several_seeds_are_summed_up_and_one_is_tested(small, tmp_path):
    rows = small(samplers=["iid", "top-prob"], budgets=[3], seeds=[2, 0, 2], against="top-prob")
    assert [(row.sampler, row.seed) for row in rows] == [("iid", 2), ("iid", 0), ("top-prob", 2), ("top-prob", 0)]
    assert [row.versus is not None for row in rows] == [False, True, False, False]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["tested_seed"] == 0
    iid = [row.accuracy for row in rows if row.sampler == "iid"]
    assert iid[0] != iid[1], "or the test shows nothing"
    first = summary["seeds"][0]
    assert (first["sampler"], first["budget"], first["seeds"]) == ("iid", 3, [2, 0])
    assert (first["accuracy_min"], first["accuracy_max"]) == (min(iid), max(iid))
    assert first["accuracy_mean"] == sum(iid) / 2


@pytest.mark.slow
def test_a_second_start_does_nothing(small, denoiser, thrifty, tmp_path):
    options = {"samplers": ["random", "iid"], "orders": {"ours": thrifty()}, "budgets": [2, 6]}
    rows = small(**options)
    assert denoiser.calls > 0
    before, calls = (tmp_path / "records.jsonl").read_bytes(), denoiser.calls
    assert small(**options) == rows
    assert denoiser.calls == calls
    assert (tmp_path / "records.jsonl").read_bytes() == before


def test_records_say_how_each_text_was_written_and_the_first_ones_all_of_it(small, tmp_path, monkeypatch):
    monkeypatch.setattr("unmask.evaluate.bench.SHOWN", 3)
    small(samplers=["random", "margin"], budgets=[3])
    records = read_records(tmp_path / "records.jsonl").records
    for record in records:
        assert len(record.steps_by_position) == 12
        assert {1, 3} <= set(record.steps_by_position) <= {1, 2, 3}
    shown = [record for record in records if record.shown]
    assert sorted(record.id for record in shown) == sorted(f"wordprob/test/{n}" for n in (0, 1, 2) for _ in range(2))
    assert all(len(record.shown["tokens"]) == len(record.shown["probability"]) == 12 for record in shown)


@pytest.mark.slow
def test_more_budgets_samplers_seeds_and_examples_only_add(small, denoiser, tmp_path):
    small(samplers=["random"], budgets=[2])
    before, calls = (tmp_path / "records.jsonl").read_text(), denoiser.calls
    rows = small(samplers=["random", "margin"], budgets=[2, 3], seeds=[0, 1], count=COUNT + 2)
    assert (tmp_path / "records.jsonl").read_text().startswith(before)
    assert denoiser.calls > calls
    assert len(rows) == 8
    assert all(row.n == COUNT + 2 for row in rows)
    smaller = small(samplers=["random"], budgets=[2])
    assert [row.n for row in smaller] == [COUNT]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.77, 0.999])
def test_a_run_killed_in_the_middle_of_a_line_ends_as_if_it_had_not_been(small, thrifty, tmp_path, share):
    options = {"samplers": ["random"], "orders": {"ours": thrifty()}, "budgets": [3], "seeds": [0, 1]}
    rows = small(**options)
    whole, path = lines(tmp_path), tmp_path / "records.jsonl"
    data = path.read_bytes()
    cut = int(share * len(data))
    path.write_bytes(data[: cut + (data[cut - 1 : cut] == b"\n")])  # never just behind a newline
    again = small(**options)
    assert lines(tmp_path) == whole
    assert list(map(without_the_clock, again)) == list(map(without_the_clock, rows))


@pytest.mark.slow
def test_the_answers_do_not_depend_on_the_batch(small, denoiser, task, tmp_path):
    def found(batch):
        small(samplers=["iid"], budgets=[3], batch=batch, overwrite=True)
        return sorted(lines(tmp_path)[1:], key=lambda line: line["id"])

    assert found(1) == found(4) == found(64)


@pytest.mark.slow
def test_an_order_under_the_same_label_must_be_the_same(small, thrifty):
    small(orders={"ours": thrifty()}, budgets=[3])
    with pytest.raises(UserError, match="holds `ours` at 3 steps of another learned order"):
        small(orders={"ours": thrifty(0.9)}, budgets=[3])
    (row,) = small(orders={"ours": thrifty(0.9)}, budgets=[3], overwrite=True)
    assert row.steps_mean == 3


@pytest.mark.slow
def test_records_of_another_split_are_refused(small, denoiser, task, tmp_path):
    small(samplers=["random"], budgets=[2])
    with pytest.raises(UserError, match="split 'test' there, 'validation' here"):
        bench(denoiser, task, "validation", samplers=["random"], budgets=[2], count=3, out=tmp_path)


def test_progress_is_told_after_each_batch(small):
    told = []
    (row,) = small(samplers=["random"], budgets=[2], progress=told.append)
    assert [(step.done, step.total) for step in told] == [(4, 10), (8, 10), (10, 10)]
    assert told[-1].right == round(row.accuracy * COUNT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samplers": ["margn"], "budgets": [2]}, "Did you mean `margin`"),
        ({"samplers": ["margin@x"], "budgets": [2]}, "cannot read the budget of `margin@x`"),
        ({"samplers": ["margin@0"]}, "cannot read the budget"),
        ({"samplers": ["margin"], "budgets": [0]}, "budget must be a whole number"),
        ({"samplers": ["margin"], "budgets": []}, "there is no budget"),
        ({"samplers": []}, "there is nothing to measure"),
        ({"samplers": ["margin"], "budgets": [2], "seeds": []}, "there is no seed"),
        ({"samplers": ["margin"], "budgets": [2], "one_per_step": ["ours"]}, "unknown sampler `ours`"),
        ({"samplers": ["margin"], "budgets": [2], "count": 0}, "count must be at least 1"),
        ({"samplers": ["margin"], "budgets": [2], "batch": 0}, "batch must be a whole number"),
        ({"samplers": ["margin"], "budgets": [2], "against": "margn"}, "Did you mean `margin`"),
        ({"samplers": ["margin"], "budgets": [2], "against": "iid"}, "unknown sampler of this bench `iid`"),
        ({"samplers": ["margin"], "budgets": [2], "sweeps": ["threshold.levl=1"]}, "Did you mean `level`"),
        ({"samplers": ["margin"], "budgets": [2], "slow": "magin"}, "Did you mean `margin`"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(small, denoiser, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
    assert denoiser.calls == 0
    assert not (tmp_path / "records.jsonl").exists()


def test_a_label_may_not_be_a_samplers_name(small, thrifty):
    with pytest.raises(UserError, match="`margin` is a sampler"):
        small(samplers=["margin"], orders={"margin": thrifty()}, budgets=[2])


def test_a_budget_is_split_off():
    assert parse_pinned("threshold:level=0.7,eot=defer@56") == ("threshold:level=0.7,eot=defer", 56)
    assert parse_pinned(" margin ") == ("margin", None)


def test_records_made_with_a_cache_are_not_mixed_with_exact_ones(text_denoiser, task, tmp_path):
    options = {"samplers": ["top-prob"], "budgets": [3], "count": 4, "out": tmp_path}
    bench(text_denoiser, task, "test", cache="prefix-approximate", **options)
    assert read_records(tmp_path / "records.jsonl").header["config"]["cache"] == "prefix-approximate"
    with pytest.raises(UserError, match="cache 'prefix-approximate' there, None here"):
        bench(text_denoiser, task, "test", **options)


def test_exact_records_say_so_and_are_not_mixed_with_others(text_denoiser, task, tmp_path):
    options = {"samplers": ["top-prob"], "budgets": [2], "count": 4, "out": tmp_path}
    bench(text_denoiser, task, "test", exact=True, **options)
    assert read_records(tmp_path / "records.jsonl").header["config"]["exact"] is True
    with pytest.raises(UserError, match="exact True there, None here"):
        bench(text_denoiser, task, "test", **options)
    with pytest.raises(UserError, match="decode exactly without compiling"):
        bench(replace(text_denoiser, multiple=16), task, "test", exact=True, **options | {"out": tmp_path / "other"})
    assert not (tmp_path / "other").exists(), "refused before anything is made"


@pytest.mark.slow
def test_against_is_found_by_what_it_means(small):
    rows = small(samplers=["iid"], budgets=[3], sweeps=["threshold.level=0.80,0.90"], against="threshold:level=0.9@12")
    assert {row.versus.sampler for row in rows if row.versus} == {"threshold:level=0.90"}
    with pytest.raises(UserError, match=r"unknown sampler of this bench `threshold:level=0\.7`"):
        small(samplers=["iid"], budgets=[3], sweeps=["threshold.level=0.80,0.90"], against="threshold:level=0.7")


def test_special_tokens_in_a_problem_are_letters_as_they_were_in_training(text_denoiser, task, tmp_path):
    """Shown the end token itself, it would be shown what no training text had in its prompt."""
    seen = []

    class Watched(type(text_denoiser)):
        def __call__(self, canvas):
            seen.append(canvas.tokens[canvas.valid & ~canvas.masked].tolist())
            return super().__call__(canvas)

    class Special(type(task)):
        def examples(self, split):
            return [e._replace(prompt=f"{e.prompt} <|end|> <|mask|>") for e in super().examples(split)[:2]]

    watched = Watched(**vars(text_denoiser))
    bench(watched, Special(), "test", samplers=["iid"], budgets=[1], count=2, out=tmp_path)
    codec = text_denoiser.codec
    assert seen
    assert all({codec.end_token, codec.mask_token}.isdisjoint(tokens) for tokens in seen)


def test_records_say_which_template_was_used_where_it_is_not_our_own(text_denoiser, task, tmp_path):
    bare = replace(text_denoiser, codec=text_denoiser.codec.with_template("bare"))
    for name, denoiser in (("own", text_denoiser), ("bare", bare)):
        bench(denoiser, task, "test", samplers=["iid"], budgets=[1], count=2, out=tmp_path / name)
    own, changed = (read_records(tmp_path / name / "records.jsonl").header for name in ("own", "bare"))
    assert "template" not in own["config"]
    assert changed["config"]["template"] == "bare"
    assert own["denoiser"] != changed["denoiser"]
