"""How much of the gap between the best heuristic and the best possible order a learner closes (equation 9)."""

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from unmask.exact.choices import Choices
from unmask.exact.learn import learn
from unmask.exact.nll import sampler_law, sampler_policies
from unmask.exact.optimum import best_deterministic, best_randomised, static_optimum
from unmask.exact.recipe import RECIPE, Recipe
from unmask.exact.regret import deterministic_regret, near_best, near_deterministic
from unmask.exact.suite import entropy, instance
from unmask.samplers import make_sampler

SMALLEST_GAP = 0.01  # nats; a cell with less to gain passes by not losing, and is left out of medians
ALLOWED_LOSS = 0.001  # nats above the best heuristic

# The best level of an adaptive heuristic is chosen on each instance by its exact NLL: the strongest rival there is.
LEVELS = (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99)
BOUNDS = (0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 3.0)
HEURISTICS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("random", "top-prob", "margin", "entropy", "least-certain")},
    "threshold": tuple(f"threshold:level={level}" for level in LEVELS),
    "entropy-bounded": tuple(f"entropy-bounded:bound={bound}" for bound in BOUNDS),
}


@dataclass(frozen=True)
class Cell:
    """One instance at one number of steps; all NLLs exact, in nats.

    heuristics: the NLL of each heuristic at its best setting. best: the setting of the best of them.
    static, deterministic, randomised: the optima; `certificate` bounds how far the last one may be off.
    learned: what `exact.learn` reached in `updates` updates and `seconds` seconds on one core.
    near_best: the share of the states the learned order reaches, weighted by how often, from which on it costs at most
        0.01 nats more than the best randomised order (`regret.near_best`).
    near_deterministic: the share of its choices that cost at most 0.01 nats more than the best choice by equation 8,
        which is no yardstick where orders that draw beat every deterministic one, as at two steps.
    """

    family: str
    number: int
    steps: int
    seed: int
    entropy: float
    heuristics: dict[str, float]
    best: str
    static: float
    deterministic: float
    randomised: float
    certificate: float
    learned: float
    near_best: float
    near_deterministic: float
    updates: int
    seconds: float

    @property
    def best_nll(self) -> float:
        """Of the best heuristic."""
        return min(self.heuristics.values())

    @property
    def gap(self) -> float:
        """What there is to gain on the best heuristic."""
        return self.best_nll - self.randomised

    @property
    def closed(self) -> float | None:
        """Equation 9; None where there is less than 0.01 nats to gain."""
        return None if self.gap < SMALLEST_GAP else (self.best_nll - self.learned) / self.gap

    @property
    def closed_to_deterministic(self) -> float | None:
        """The same against the deterministic optimum; None where that gains less than 0.01 nats."""
        gap = self.best_nll - self.deterministic
        return None if gap < SMALLEST_GAP else (self.best_nll - self.learned) / gap

    @property
    def passes(self) -> bool:
        """Not worse than the best heuristic by more than 0.001 nats."""
        return self.learned <= self.best_nll + ALLOWED_LOSS

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with what follows from them."""
        return asdict(self) | {
            "closed": self.closed,
            "closed_to_deterministic": self.closed_to_deterministic,
            "passes": self.passes,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Cell":
        """The inverse of `to_dict`. KeyError on a missing value."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})


def measure(
    family: str,
    number: int,
    steps: int,
    *,
    seed: int = 0,
    seconds: float = 60,
    updates: int | None = None,
    recipe: Recipe = RECIPE,
) -> Cell:
    """Optima, heuristics and a learned order on one instance. Arguments as those of `exact.learn`."""
    joint = instance(family, number)
    choices = Choices.of(joint)
    settings = {
        name: {spec: choices.nll(sampler_law(choices, make_sampler(spec), steps)) for spec in specs}
        for name, specs in HEURISTICS.items()
    }
    flat = {spec: nll for found in settings.values() for spec, nll in found.items()}
    randomised = best_randomised(choices, steps)
    began = time.monotonic()
    learned = learn(joint, steps, seed=seed, seconds=seconds, updates=updates, recipe=recipe)
    policies = sampler_policies(choices, learned.unmasker, steps)
    return Cell(
        family=family,
        number=number,
        steps=steps,
        seed=seed,
        entropy=entropy(joint),
        heuristics={name: min(found.values()) for name, found in settings.items()},
        best=min(flat, key=lambda spec: flat[spec]),
        static=static_optimum(joint, steps),
        deterministic=best_deterministic(choices, steps).nll,
        randomised=randomised.nll,
        certificate=randomised.gap,
        learned=learned.nll,
        near_best=near_best(choices, policies),
        near_deterministic=near_deterministic(choices, policies, deterministic_regret(choices, steps)),
        updates=learned.updates,
        seconds=round(time.monotonic() - began, 2),
    )


class Summary(NamedTuple):
    """Some cells together. cells: how many; counted: those with at least 0.01 nats to gain, over which the median,
    the smallest and the median to the deterministic optimum are taken (None without any). lost: cells worse than the
    best heuristic by more than 0.001 nats. excess: median NLL of the learned order above the entropy, in nats.
    """

    name: str
    cells: int
    counted: int
    median: float | None
    smallest: float | None
    to_deterministic: float | None
    near_best: float
    excess: float
    lost: int


def summarise(name: str, cells: Sequence[Cell]) -> Summary:
    """One line about `cells`, of which there is at least one."""
    closed = [cell.closed for cell in cells if cell.closed is not None]
    further = [cell.closed_to_deterministic for cell in cells if cell.closed_to_deterministic is not None]
    return Summary(
        name=name,
        cells=len(cells),
        counted=len(closed),
        median=statistics.median(closed) if closed else None,
        smallest=min(closed) if closed else None,
        to_deterministic=statistics.median(further) if further else None,
        near_best=statistics.fmean(cell.near_best for cell in cells),
        excess=statistics.median(cell.learned - cell.entropy for cell in cells),
        lost=sum(not cell.passes for cell in cells),
    )


def summaries(cells: Iterable[Cell]) -> list[Summary]:
    """A line for each family in the order they come, and one for all."""
    every = list(cells)
    names = dict.fromkeys(cell.family for cell in every)
    found = [summarise(name, [cell for cell in every if cell.family == name]) for name in names]
    return [*found, summarise("all", every)] if every else []
