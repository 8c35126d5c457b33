"""Two samplers on the same examples: which is ahead, by how much, and whether chance would do as well."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from unmask.evaluate.metrics import Interval, mcnemar, wilson


class Paired(NamedTuple):
    """The first sampler against the second, on the same `n` examples.

    points: how far the first is ahead, in percentage points (negative: behind). low, high: 95 % interval of
    it, Newcombe's. only_first, only_second: examples that just one got right. p: McNemar's exact test, two-sided.
    """

    n: int
    points: float
    low: float
    high: float
    only_first: int
    only_second: int
    p: float


def paired(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Compare two samplers; the sequences run over the same examples and hold at least one."""
    test = mcnemar(first, second)
    both = sum(a and b for a, b in zip(first, second, strict=True))
    neither = len(first) - both - test.only_first - test.only_second
    low, high = newcombe(both, test.only_first, test.only_second, neither)
    points = 100 * (test.only_first - test.only_second) / len(first)
    return Paired(len(first), points, 100 * low, 100 * high, *test)


def newcombe(both: int, only_first: int, only_second: int, neither: int) -> Interval:
    """95 % interval for a difference p_1 - p_2 of proportions on the same examples (Newcombe 1998b, method 10).

    Wilson's limits l, u of both proportions, squared and added, less what they share:
        low  = d - sqrt((p_1 - l_1)^2 - 2 phi (p_1 - l_1)(u_2 - p_2) + (u_2 - p_2)^2),
        high = d + sqrt((u_1 - p_1)^2 - 2 phi (u_1 - p_1)(p_2 - l_2) + (p_2 - l_2)^2),
    phi the correlation of the fourfold table, drawn towards 0 by n/2 in its numerator where it is positive, and
    0 where a margin is empty. Inside [-1, 1], and of some width where the two never differ.
    """
    n = both + only_first + only_second + neither
    if n == 0:
        raise ValueError("there is no example to compare on")
    right_1, right_2 = both + only_first, both + only_second
    p_1, p_2 = right_1 / n, right_2 / n
    (l_1, u_1), (l_2, u_2) = wilson(right_1, n), wilson(right_2, n)
    shared = float(both * neither - only_first * only_second)
    if shared > 0:
        shared = max(shared - n / 2, 0.0)
    margins = right_1 * (n - right_1) * right_2 * (n - right_2)
    phi = shared / math.sqrt(margins) if margins else 0.0

    def reach(one: float, other: float) -> float:
        return math.sqrt(one**2 - 2 * phi * one * other + other**2)

    return Interval(p_1 - p_2 - reach(p_1 - l_1, u_2 - p_2), p_1 - p_2 + reach(u_1 - p_1, p_2 - l_2))


def holm(p_values: Sequence[float]) -> list[float]:
    """The same p-values, corrected for how many there are (Holm 1979), in the order they came.

    The i-th smallest of m becomes max over j <= i of min(1, (m - j + 1) p_j). Calling those under alpha
    differences is wrong about any of them with probability alpha at most, however the tests depend on each other.
    """
    m, running = len(p_values), 0.0
    corrected = [0.0] * m
    for place, index in enumerate(sorted(range(m), key=p_values.__getitem__)):
        running = max(running, min(1.0, (m - place) * p_values[index]))
        corrected[index] = running
    return corrected
