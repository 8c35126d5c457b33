"""The numbers that are reported, as pure functions of counts."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from unmask.core.errors import UserError

Z_95 = 1.959963984540054  # the 97.5 % point of the standard normal
FALL = 5.0  # AUP: points of accuracy below the slowest sampler at which a point no longer counts
STEEPNESS = 3.0  # AUP: how hard a lower accuracy is punished


class Interval(NamedTuple):
    """A 95 % interval for a probability."""

    low: float
    high: float


def wilson(successes: int, n: int, z: float = Z_95) -> Interval:
    """The score interval of a binomial proportion p = successes / n (Wilson 1927).

    (p + z^2/2n  -+  z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n). Stays inside [0, 1] and has width at 0
    and n successes too. Examples must be independent. (0, 1) for n = 0.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials")
    if n == 0:
        return Interval(0.0, 1.0)
    p, shrink = successes / n, 1 + z * z / n
    centre = (p + z * z / (2 * n)) / shrink
    reach = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / shrink
    low = 0.0 if successes == 0 else centre - reach
    return Interval(low, 1.0 if successes == n else centre + reach)


class McNemar(NamedTuple):
    """Two samplers on the same examples.

    only_first, only_second: examples that just one of them got right. p: two-sided, exact.
    """

    only_first: int
    only_second: int
    p: float


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Exact two-sided test that two samplers are right equally often (McNemar 1947, with the binomial).

    Of b + c examples that exactly one got right, b ~ Binomial(b + c, 1/2) if they are equally good:
    p = min(1, 2 P(X <= min(b, c))). The sequences run over the same examples. p = 1 if they never differ.
    """
    if len(first) != len(second):
        raise ValueError(f"results on {len(first)} and on {len(second)} examples cannot be paired")
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    n = only_first + only_second
    tail = term = 1
    for k in range(min(only_first, only_second)):  # n over k + 1 from n over k: the whole sum in one pass
        term = term * (n - k) // (k + 1)
        tail += term
    return McNemar(only_first, only_second, min(1.0, 2 * tail / 2**n))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` percent of them do not exceed (the nearest rank, no interpolation)."""
    if not values:
        raise ValueError("there is no value")
    rank = math.ceil(share / 100 * len(values))
    return sorted(values)[max(rank, 1) - 1]


def tokens_per_forward(content: Iterable[int], nfe: Iterable[int]) -> float:
    """TPF: all content tokens over all denoiser passes, a pass being counted once for each row in it.

    Content tokens are those before the first end token: the end token and the padding after it are written
    too but not counted, or a longer canvas would look faster. A ratio of sums, so long answers weigh more.
    """
    passes = sum(nfe)
    if passes == 0:
        raise UserError("no denoiser pass was made, so there is nothing to divide by; measure it again")
    return sum(content) / passes


class Point(NamedTuple):
    """One sampler at one budget. tpf: tokens per forward pass. accuracy: in percent."""

    tpf: float
    accuracy: float


def area_under_parallelism(points: Iterable[Point], best: float) -> float:
    """AUP: area under accuracy (percent) against parallelism, with lower accuracies weighed down.

    Points (rho_i, y_i) sorted by rho; those with y_i < y_1 - 5 are dropped; then
    rho_1 y_1 + sum_{i>1} 1/2 (rho_i - rho_{i-1}) (y_i W(y_i) + y_{i-1} W(y_{i-1})),
    W(y) = min(exp(-3 (1 - y / best)), 1)
    (design section 5). best: the highest accuracy of any sampler that is compared, in percent; the same for
    all of them. The first rectangle carries no weight, so a sampler without slow points is flattered: only areas
    over the same budgets are comparable, and only those are shown (`table.with_areas`).
    """
    ordered = sorted(points)
    if not ordered:
        raise ValueError("AUP needs at least one point")
    if best <= 0:
        return 0.0
    first = ordered[0]
    kept = [point for point in ordered if point.accuracy >= first.accuracy - FALL]

    def weighted(accuracy: float) -> float:
        return accuracy * min(math.exp(-STEEPNESS * (1 - accuracy / best)), 1.0)

    area = first.tpf * first.accuracy
    for before, after in pairwise(kept):
        area += (after.tpf - before.tpf) * (weighted(after.accuracy) + weighted(before.accuracy)) / 2
    return area


def retention(accuracy: float, one_per_step: float) -> float | None:
    """What is left of the accuracy of the one-position-per-step sampler that is best on validation.

    accuracy / one_per_step, both on the same examples; above 1 where fewer steps do better. None if the
    one-per-step sampler got nothing right.
    """
    return accuracy / one_per_step if one_per_step > 0 else None
