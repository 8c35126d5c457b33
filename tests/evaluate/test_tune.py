import json
from dataclasses import dataclass
from itertools import pairwise

import pytest

from unmask.core.errors import UserError
from unmask.evaluate.accuracy import Accuracy
from unmask.evaluate.tune import (
    ADAPTIVE,
    Candidate,
    adaptive_lines,
    bench_samplers,
    block_options,
    fixed_candidates,
    half_way,
    in_blocks,
    tune,
    write_spec,
)
from unmask.samplers import make_sampler


@dataclass
class Imagined:
    """Answers for `deployed_accuracy` from a function of (spec, budget, problems) -> (accuracy, mean steps)."""

    function: object
    asked: list

    def __call__(self, denoiser, task, split, problems, spec, budget, seed=0, batch=64):
        self.asked.append((spec, budget, problems))
        accuracy, steps = self.function(spec, budget, problems)
        return Accuracy(accuracy, steps, 1, budget, steps, problems)


@pytest.fixture
def imagine(monkeypatch):
    def install(function):
        imagined = Imagined(function, [])
        monkeypatch.setattr("unmask.evaluate.tune.deployed_accuracy", imagined)
        return imagined

    return install


@pytest.fixture
def tuned(denoiser, task, tmp_path):
    """`tuned(names, ...)`: at a mean of 3.6 and at most 8 of 12 steps."""

    def run(names, **options):
        options = {"target_steps": 3.6, "max_steps": 8, "count": 50, "first": 10, "keep": 3, **options}
        return tune(denoiser, task, names, out=tmp_path, **options)

    return run


def level_of(spec):
    return make_sampler(spec, end_token=1) and float(spec.partition("=")[2].partition(",")[0])


@pytest.mark.slow
def test_a_fixed_quota_gets_its_best_block_and_end_rule_at_each_goal(tuned, imagine):
    imagined = imagine(
        lambda spec, budget, n: (
            0.9 if spec == {4: "margin:block=6", 8: "margin:block=8,eot=tail"}[budget] else 0.5,
            budget,
        )
    )
    found = tuned(["margin"])["margin"]
    assert found.mean == ("margin:block=6", 4, 0.9, 4, 50)
    assert found.most == ("margin:block=8,eot=tail", 8, 0.9, 8, 50)
    assert bench_samplers({"margin": found}) == ["margin:block=6", "margin:block=8,eot=tail"]
    firsts = [asked for asked in imagined.asked if asked[2] == 10]
    assert {asked[:2] for asked in firsts} == {*fixed_candidates("margin", 4, 12), *fixed_candidates("margin", 8, 12)}
    assert len(imagined.asked) - len(firsts) <= 2 * (3 + 1), "only the finalists go on to all problems"


@pytest.mark.slow
def test_an_adaptive_one_must_keep_to_the_mean_steps(tuned, imagine):
    """The slower the better, at 10 steps times the level: 0.3 and 0.4 are in the table, 0.35 to 0.365 is sought."""

    def results(spec, budget, n):
        steps = min(budget, 10 * level_of(spec))
        return steps / 12, steps

    imagine(results)
    found = tuned(["threshold"])["threshold"]
    assert level_of(found.mean.spec) == 0.35
    assert found.mean.steps_mean == 3.5
    assert found.mean.budget > 3
    assert found.most.steps_mean == 8
    (pinned, _) = bench_samplers({"threshold": found})
    assert pinned == f"{found.mean.spec}@{found.mean.budget}"


def test_one_that_only_kept_to_the_steps_on_the_few_problems_is_out(tuned, imagine):
    """Unlimited, it looks best and fast in the first round, and is slow on all problems."""

    def results(spec, budget, n):
        return (0.9, 3.0 if n == 10 else 6.0) if budget == 12 else (0.5, min(budget, 3))

    imagine(results)
    found = tuned(["threshold"])["threshold"]
    assert (found.mean.accuracy, found.mean.steps_mean) == (0.5, 3)
    assert (found.most.accuracy, found.most.steps_mean) == (0.9, 6.0)


@pytest.mark.slow
def test_something_always_stays_within_the_goal(tuned, imagine):
    imagine(lambda spec, budget, n: (0.1 * budget, budget))
    found = tuned(["entropy-bounded"])["entropy-bounded"]
    assert (found.mean.budget, found.most.budget) == (3, 8)


def test_a_sweep_ends_where_the_steps_pass_every_goal(tuned, imagine):
    imagined = imagine(lambda spec, budget, n: (0.5, min(budget, 10 * level_of(spec) ** 2)))
    tuned(["threshold"])
    levels = {level_of(spec) for spec, budget, n in imagined.asked if (budget, n) == (12, 10) and "block" not in spec}
    assert 0.95 in levels
    assert max(levels) < 0.98


def test_equal_accuracy_goes_to_fewer_steps(tuned, imagine):
    imagine(lambda spec, budget, n: (0.5, 3.0 if "eot=tail" in spec and "block=6" in spec else 3.5))
    assert tuned(["margin"])["margin"].mean.spec == "margin:block=6,eot=tail"


@pytest.mark.slow
def test_what_was_measured_is_not_measured_again(denoiser, tuned, tmp_path, monkeypatch):
    monkeypatch.setitem(ADAPTIVE, "threshold", ("level", (0.3, 0.9)))
    names = ["margin", "threshold"]
    options = {"count": 3, "first": 2, "keep": 2, "max_steps": 5}
    found = tuned(names, **options)
    calls = denoiser.calls
    assert calls > 0
    assert tuned(names, **options) == found
    assert denoiser.calls == calls
    record = json.loads((tmp_path / "tuning.json").read_text())
    (choice,) = record["choices"]
    assert choice["samplers"]["margin"]["mean"] == found["margin"].mean._asdict()
    record["candidates"].pop()
    (tmp_path / "tuning.json").write_text(json.dumps(record))
    assert tuned(names, **options) == found
    assert 0 < denoiser.calls - calls <= 12
    for entry in record["candidates"]:
        assert entry["steps_max"] <= entry["budget"]


@pytest.mark.slow
def test_what_was_measured_before_an_interruption_is_kept(tuned, imagine, tmp_path):
    def interrupted(spec, budget, n):
        if "block=8" in spec:
            raise KeyboardInterrupt
        return 0.5, budget

    first = imagine(interrupted)
    with pytest.raises(KeyboardInterrupt):
        tuned(["margin"])
    kept = first.asked[:-1]
    assert len(json.loads((tmp_path / "tuning.json").read_text())["candidates"]) == len(kept) > 0
    second = imagine(lambda spec, budget, n: (0.5, budget))
    tuned(["margin"])
    assert not set(kept) & set(second.asked)


@pytest.mark.slow
def test_the_tuning_of_another_run_is_refused(tuned, imagine, denoiser, tmp_path):
    imagine(lambda spec, budget, n: (0.5, min(budget, 3)))
    tuned(["margin"])
    with pytest.raises(UserError, match=r"is the tuning of another run .*split 'validation' there, 'test' here"):
        tuned(["margin"], split="test")
    tuned(["margin"], split="test", overwrite=True)
    (tmp_path / "tuning.json").write_text('{"format": "unmask-tuning", "version": 1}')
    with pytest.raises(UserError, match=r"a tuning record of version 1, this unmask goes on with version 2"):
        tuned(["margin"])
    (tmp_path / "tuning.json").write_text('{"mine": 1}')
    for overwrite in (False, True):
        with pytest.raises(UserError, match="no tuning record of unmask, so it is spared"):
            tuned(["margin"], overwrite=overwrite)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["margn"], {}, "Did you mean `margin`"),
        (["margin:block=8"], {}, "unknown sampler"),
        (["margin"], {"target_steps": 0.5}, "target steps must lie between 1 and max steps"),
        (["margin"], {"max_steps": 3}, "target steps must lie between"),
        (["margin"], {"keep": 0}, "must be at least 1"),
        (["margin"], {"split": "valid"}, "unknown split"),
    ],
)
def test_bad_input_is_refused(tuned, denoiser, names, options, message):
    with pytest.raises(UserError, match=message):
        tuned(names, **options)
    assert denoiser.calls == 0


@pytest.mark.parametrize("name", [*ADAPTIVE, "margin", "p2"])
def test_every_candidate_can_be_made(name):
    candidates = fixed_candidates(name, 4, 56)
    if name in ADAPTIVE:
        lines = adaptive_lines(name, 3.6, 8, 56)
        assert {line[0].budget for line in lines} == {3, 4, 8, 16, 56}
        candidates = [candidate for line in lines for candidate in line]
        candidates += [other for candidate in candidates for other in in_blocks(candidate, 56)]
        candidates += [half_way(*pair) for line in lines for pair in pairwise(line)]
    assert len({candidate.spec for candidate in candidates}) > (20 if name != "p2" else 3)
    for candidate in candidates:
        make_sampler(candidate.spec, end_token=1)


def test_levels_are_halved_and_blocks_added():
    candidate = Candidate("threshold:level=0.3,eot=tail", 4)
    middle = half_way(candidate, Candidate("threshold:level=0.35,eot=tail", 4))
    assert middle == ("threshold:level=0.325,eot=tail", 4)
    found = [f"threshold:level=0.3,eot=tail,block={size}" for size in (8, 12, 16)]
    assert in_blocks(candidate, 24) == [(spec, 4) for spec in found]


def test_specs_and_blocks_are_written_plainly():
    assert write_spec("margin", "", "") == "margin"
    assert write_spec("margin", "block=8", "") == "margin:block=8"
    assert block_options(12) == ["", "block=6", "block=8"]
    assert block_options(1) == [""]
