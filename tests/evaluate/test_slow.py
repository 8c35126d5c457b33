import json

import pytest

from unmask.core.errors import UserError
from unmask.evaluate.accuracy import deployed_accuracy
from unmask.evaluate.bench import bench
from unmask.evaluate.records import Record
from unmask.evaluate.slow import Slow, best, measure_slow, read_slow, slow_samplers


def record(sampler, budget, correct, order=None):
    return Record(sampler, budget, 0, f"e/{correct}", "p", "t", "1", correct, 3, 3, 12, 6, 0.5, order)


def test_only_what_ran_one_position_per_step_counts():
    """Margin one of two at 12 steps; not margin at 3, the threshold, nor the order as it is."""
    found = slow_samplers(
        [
            record("margin", 12, True),
            record("margin", 12, False),
            record("margin", 3, True),
            record("threshold:level=0.9", 12, True),
            record("ours", 12, True, "digest"),
            record("ours:one-per-step", 12, True, "digest"),
        ],
        response_length=12,
    )
    assert found == [Slow("margin", 0.5, 2), Slow("ours", 1.0, 1)]
    assert best(found) == ("ours", 1.0, 1)
    assert best([Slow("a", 0.5, 2), Slow("b", 0.5, 2)]).sampler == "a"


@pytest.mark.slow
def test_the_best_is_measured_on_validation_and_read_back(denoiser, task, thrifty, tmp_path):
    found = measure_slow(denoiser, task, ["iid", "top-prob", "ours"], {"ours": thrifty()}, count=8, out=tmp_path)
    reached = {name: deployed_accuracy(denoiser, task, "validation", 8, name, 12) for name in ("iid", "top-prob")}
    measured = {
        each["sampler"]: each["accuracy"]
        for each in json.loads((tmp_path / "one-per-step.json").read_text())["measured"]
    }
    assert measured["iid"] == reached["iid"].accuracy
    assert measured["top-prob"] == reached["top-prob"].accuracy
    assert found.accuracy == max(measured.values()) == measured[found.sampler]
    calls = denoiser.calls
    assert read_slow(tmp_path, denoiser, task) == read_slow(tmp_path / "one-per-step.json", denoiser, task) == found
    assert measure_slow(denoiser, task, ["top-prob", "iid"], {}, count=8, out=tmp_path).accuracy == max(
        reached[name].accuracy for name in reached
    )
    assert denoiser.calls == calls, "a second start measured something again"
    measure_slow(denoiser, task, ["iid"], {}, count=7, out=tmp_path)
    assert denoiser.calls > calls


@pytest.mark.slow
def test_the_records_of_a_bench_on_validation_say_it_too_but_never_those_on_test(denoiser, task, tmp_path):
    options = {"samplers": ["margin"], "budgets": [3], "one_per_step": ["iid", "top-prob"], "count": 6}
    rows = bench(denoiser, task, "validation", **options, out=tmp_path / "validation")
    found = read_slow(tmp_path / "validation", denoiser, task)
    assert found.accuracy == max(row.accuracy for row in rows if row.budget == 12)
    bench(denoiser, task, "test", **options, out=tmp_path / "test")
    with pytest.raises(UserError, match="its split is 'test', not 'validation'"):
        read_slow(tmp_path / "test", denoiser, task)


@pytest.mark.slow
def test_what_cannot_say_it_is_refused(denoiser, task, tmp_path):
    bench(denoiser, task, "validation", samplers=["margin"], budgets=[3], count=4, out=tmp_path)
    with pytest.raises(UserError, match="holds no sampler at one position per step"):
        read_slow(tmp_path, denoiser, task)
    with pytest.raises(UserError, match=r"there is no .*records.jsonl; give the folder"):
        read_slow(tmp_path / "nothing" / "records.jsonl", denoiser, task)
    path = tmp_path / "table.json"
    path.write_text("{}")
    with pytest.raises(UserError, match="does not say what was measured one position per step"):
        read_slow(path, denoiser, task)
