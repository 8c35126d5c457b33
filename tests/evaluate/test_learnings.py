import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from unmask.evaluate.bench import bench
from unmask.evaluate.learnings import (
    Learning,
    learning_of,
    learnings_of,
    over_learnings,
    render_learnings,
    reported_only,
)
from unmask.evaluate.table import TableRow
from unmask.evaluate.table import show as show_table
from unmask.samplers.threshold import Threshold


@dataclass
class Order:
    """Stands in for a learned order that says how it was learned."""

    level: float = 0.5
    card: dict[str, Any] = field(default_factory=dict)

    def unmasker(self, budget, one_per_step=False):
        return Threshold(self.level)


def learned(seed, level=0.5, **settings):
    return Order(level, {"learn": {"seed": seed, "device": "cpu", "rows": 32, **settings}})


def row(sampler, budget, accuracy, steps, seed=0):
    return TableRow(
        sampler=sampler, budget=budget, steps_mean=steps, steps_min=4, steps_max=4, nfe=4.0, tpf=1.0, accuracy=accuracy,
        low=0.0, high=1.0, n=10, seconds=1.0, seed=seed,
    )  # fmt: skip


def test_orders_of_one_recipe_are_those_that_differ_in_seed_and_machine_only():
    a, b, other = learning_of(learned(0)), learning_of(learned(1, device="cuda")), learning_of(learned(0, rows=16))
    assert a.recipe == b.recipe != other.recipe
    assert (a.seed, b.seed) == (0, 1)
    for nothing in (Order(), Order(card={"learn": {}}), Order(card={"learn": {"seed": "0"}}), object()):
        assert learning_of(nothing) is None


def test_orders_of_other_data_or_another_denoiser_are_of_another_recipe():
    def made(seed, examples="e1", denoiser="d1", **settings):
        order = learned(seed, **settings)
        return replace(order, card=order.card | {"made_with": {"denoiser": denoiser, "examples": {"train": examples}}})

    first = learning_of(made(0, data="a.jsonl")).recipe
    assert learning_of(made(1, data="copy/a.jsonl")).recipe == first
    assert learning_of(made(1, data="a.jsonl", examples="e2")).recipe != first
    assert learning_of(made(1, data="a.jsonl", denoiser="d2")).recipe != first


def test_the_declared_seed_is_tested_or_else_the_first():
    orders = {"c": learned(2), "a": learned(0), "again": learned(0), "b": learned(1), "alone": learned(7, rows=8)}
    assert reported_only(learnings_of(orders)) == {"b", "c", "again"}
    assert reported_only(learnings_of({"c": learned(2), "b": learned(1)})) == {"b"}
    assert reported_only(learnings_of({"plain": Order(), "other": Order()})) == set()


def test_three_learnings_by_hand(capsys):
    """.5, .25 and .75: mean .5, from .25 to .75; the seed of the draws that is not tested does not count."""
    learnings = {name: Learning("x", seed) for seed, name in enumerate("abc")} | {"d": Learning("y", 0)}
    rows = [row("a", 4, 0.5, 3.0), row("b", 4, 0.25, 4.0), row("c", 4, 0.75, 5.0), row("d", 4, 1.0, 9.0)]
    rows += [row("c", 4, 0.0, 9.0, seed=1), row("a", 8, 0.5, 3.0), row("iid", 4, 0.1, 4.0)]
    (found,) = over_learnings(rows, learnings)
    assert found == (("a", "b", "c"), (0, 1, 2), "a", 4, 0.5, 0.25, 0.75, 4.0)
    show_table(render_learnings([found]), "stdout")
    assert "50.0 (25.0 to 75.0)" in capsys.readouterr().out
    assert render_learnings([]) is None


@pytest.mark.slow
def test_a_bench_tests_one_of_them_and_takes_its_steps_for_the_baselines(denoiser, task, tmp_path):
    orders = {"first": learned(1, 0.01), "ours": learned(0, 0.03), "third": learned(2, 0.9)}
    rows = bench(denoiser, task, "test", samplers=["margin"], orders=orders, budgets=[8], count=10, out=tmp_path)
    by_name = {found.sampler: found for found in rows if found.learned}
    ours = by_name["ours"]
    assert {each.steps_max for each in by_name.values()} - {ours.steps_max}, "or the test shows nothing"
    margins = [found for found in rows if found.sampler == "margin"]
    assert {found.budget for found in margins} == {-int(-ours.steps_mean // 1), ours.steps_max}
    assert {found.versus.sampler for found in margins} == {"ours"}
    assert all(found.versus is None for found in by_name.values())
    summary = json.loads((tmp_path / "summary.json").read_text())
    (learnings,) = summary["learnings"]
    assert (learnings["labels"], learnings["seeds"]) == (["first", "ours", "third"], [1, 0, 2])
    assert learnings["tested"] == "ours"
    assert learnings["accuracy_max"] == max(found.accuracy for found in by_name.values())
