"""A sampler at a budget of its own: `threshold:level=0.7@56`."""

from typing import NamedTuple

from unmask.core.errors import UserError


class Pinned(NamedTuple):
    """A sampler given as `NAME:key=value@BUDGET`. budget None: it is run wherever the others are."""

    spec: str
    budget: int | None

    def __str__(self) -> str:
        return self.spec if self.budget is None else f"{self.spec}@{self.budget}"


def parse_pinned(text: str) -> Pinned:
    """Split off the budget of `threshold:level=0.7@56`. Raises UserError if it is no whole number from 1."""
    spec, at, budget = text.partition("@")
    if not at:
        return Pinned(spec.strip(), None)
    if not budget.strip().isdigit() or int(budget) < 1:
        raise UserError(f"cannot read the budget of `{text}`: write NAME@STEPS, e.g. `{spec or 'margin'}@8`")
    return Pinned(spec.strip(), int(budget))
