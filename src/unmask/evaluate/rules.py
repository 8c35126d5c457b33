"""Pick the decode rule of a learned order on validation, one for each budget."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from unmask.denoisers.folder import TextDenoiser
from unmask.evaluate.accuracy import Accuracy, deployed_accuracy
from unmask.orders.folder import LearnedOrder
from unmask.samplers.learned import DecodeRule
from unmask.tasks.base import Task

RULES: tuple[DecodeRule, ...] = (
    DecodeRule("sample"),
    *(DecodeRule("threshold", level) for level in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97)),
    *(DecodeRule("threshold", level, pace=True) for level in (0.9, 0.95, 0.97, 0.98, 0.99)),
)


class RuleTrial(NamedTuple):
    """One rule measured at one budget; `done` of `total` so far."""

    rule: DecodeRule
    budget: int
    accuracy: Accuracy
    done: int
    total: int


def choose_rules(
    order: LearnedOrder,
    denoiser: TextDenoiser,
    task: Task,
    budgets: Sequence[int],
    *,
    count: int = 200,
    rules: Sequence[DecodeRule] = RULES,
    progress: Callable[[RuleTrial], None] | None = None,
) -> tuple[dict[int, DecodeRule], dict[str, Any]]:
    """For each budget the rule most accurate on the first `count` validation problems, then the one with fewer steps.

    Returns the rules and what they reached, by budget. What they reached is optimistic: it is the best of several.
    """
    chosen: dict[int, DecodeRule] = {}
    report: dict[str, Any] = {}
    total = len(rules) * len(budgets)
    for budget in budgets:
        found: list[tuple[DecodeRule, Accuracy]] = []
        for rule in rules:
            trial = replace(order, rules={budget: rule})
            measured = deployed_accuracy(denoiser, task, "validation", count, trial, budget)
            found.append((rule, measured))
            if progress is not None:
                progress(RuleTrial(rule, budget, measured, len(chosen) * len(rules) + len(found), total))
        best, reached = max(found, key=lambda pair: (pair[1].accuracy, -pair[1].steps_mean))
        chosen[budget] = best
        report[str(budget)] = {"rule": best.to_dict(), **reached._asdict()}
    return chosen, report
