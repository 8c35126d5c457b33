"""Orders that differ only in the seed they were learned with: one of them is tested, the others are reported.

How lucky a learning was is a source of chance as well, and one that no test over examples sees.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from unmask.core.digest import digest
from unmask.evaluate.fitted import Sheet
from unmask.evaluate.table import TableRow, tested_seed

NOT_RECIPE = ("seed", "device", "accumulate", "workers")  # settings that change an order by chance or rounding only


class Learning(NamedTuple):
    """How an order was learned. recipe: digest of all settings but `NOT_RECIPE`, and of the denoiser and the data."""

    recipe: str
    seed: int


class LearningsRow(NamedTuple):
    """A recipe at a budget, over the seeds it was learned with; accuracies in 0..1, with the tested seed of the draws.

    labels, seeds: of the orders, in the order of the table. tested: the label of the one that is tested.
    """

    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    tested: str
    budget: int
    accuracy_mean: float
    accuracy_min: float
    accuracy_max: float
    steps_mean: float


def learning_of(order: object) -> Learning | None:
    """From the card of a learned order; None where it does not say."""
    card = getattr(order, "card", None)
    settings = card.get("learn") if isinstance(card, Mapping) else None
    if not isinstance(settings, Mapping) or type(settings.get("seed")) is not int:
        return None
    made_with = card.get("made_with") if isinstance(card, Mapping) else None
    known = isinstance(made_with, Mapping)  # then the path of the data does not matter
    chance = (*NOT_RECIPE, "data") if known else NOT_RECIPE
    same = {name: value for name, value in settings.items() if name not in chance}
    return Learning(digest([same, made_with] if known else same)[:16], settings["seed"])


def learnings_of(orders: Mapping[str, object]) -> dict[str, Learning]:
    """By label, those orders of which it is known."""
    found = {label: learning_of(order) for label, order in orders.items()}
    return {label: learning for label, learning in found.items() if learning is not None}


def reported_only(learnings: Mapping[str, Learning]) -> set[str]:
    """Labels of orders whose recipe was learned with a seed that comes first: the declared seed 0 if there is one."""
    left_out = set()
    for labels in _by_recipe(learnings).values():
        left_out |= {label for label in labels if label != _tested(labels, learnings)}
    return left_out


def over_learnings(rows: Iterable[TableRow], learnings: Mapping[str, Learning]) -> list[LearningsRow]:
    """A row for each recipe learned with two seeds or more, and each budget."""
    rows = [row for row in rows if row.sampler in learnings]
    draws = tested_seed([row.seed for row in rows])
    found = []
    for labels in _by_recipe(learnings).values():
        for budget in dict.fromkeys(row.budget for row in rows if row.sampler in labels):
            same = [row for row in rows if (row.sampler in labels, row.budget, row.seed) == (True, budget, draws)]
            if len(same) < 2:
                continue
            accuracies, n = [row.accuracy for row in same], len(same)
            found.append(
                LearningsRow(
                    labels=tuple(row.sampler for row in same),
                    seeds=tuple(learnings[row.sampler].seed for row in same),
                    tested=_tested(labels, learnings),
                    budget=budget,
                    accuracy_mean=sum(accuracies) / n,
                    accuracy_min=min(accuracies),
                    accuracy_max=max(accuracies),
                    steps_mean=sum(row.steps_mean for row in same) / n,
                )
            )
    return found


def _by_recipe(learnings: Mapping[str, Learning]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for label, learning in learnings.items():
        found.setdefault(learning.recipe, []).append(label)
    return found


def _tested(labels: Sequence[str], learnings: Mapping[str, Learning]) -> str:
    """The first label with the tested seed: an order given twice is tested once."""
    seed = tested_seed([learnings[label].seed for label in labels])
    return next(label for label in labels if learnings[label].seed == seed)


def render_learnings(rows: Sequence[LearningsRow]) -> Sheet | None:
    """As a table; None if no recipe was learned twice."""
    if not rows:
        return None
    cells = [
        (
            ", ".join(row.labels), str(row.budget), " ".join(map(str, row.seeds)), row.tested, f"{row.steps_mean:.2f}",
            f"{100 * row.accuracy_mean:.1f} ({100 * row.accuracy_min:.1f} to {100 * row.accuracy_max:.1f})",
        )
        for row in rows
    ]  # fmt: skip
    wide = "accuracy % mean (min to max)"
    heads = {"orders": None, "budget": None, "seeds": 0, "tested": 1, "steps": 2, wide: None}
    return Sheet.of(heads, cells, "the same order learned with other seeds")


def to_json(rows: Iterable[LearningsRow]) -> list[dict[str, Any]]:
    """Plain objects."""
    return [row._asdict() for row in rows]
