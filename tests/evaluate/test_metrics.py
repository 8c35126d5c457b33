import math
from itertools import product

import pytest

from unmask.evaluate.metrics import (
    Point,
    area_under_parallelism,
    mcnemar,
    retention,
    tokens_per_forward,
    wilson,
)


def test_wilson_agrees_with_newcombes_worked_example():
    """81 of 263: 0.2553 to 0.3662 (Newcombe 1998, table I, method 3)."""
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_wilson_ends_are_where_the_score_test_just_rejects():
    """At both ends p0, |p - p0| = z sqrt(p0 (1 - p0) / n), which defines the interval."""
    for successes, n in ((1, 7), (30, 40), (499, 500)):
        for end in wilson(successes, n):
            deviation = abs(successes / n - end) / math.sqrt(end * (1 - end) / n)
            assert deviation == pytest.approx(1.959963984540054, rel=1e-9)


def test_wilson_at_the_edges():
    low, high = wilson(0, 10)
    assert low == 0
    assert high == pytest.approx(0.2775, abs=1e-4)
    assert wilson(10, 10).high == 1
    assert wilson(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="11 successes in 10 trials"):
        wilson(11, 10)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 1), (3, 3), (2, 9), (12, 0)])
def test_mcnemar_is_the_enumerated_binomial(b, c):
    """Every way the discordant examples may fall; those at least as lopsided count."""
    n = b + c
    lopsided = sum(abs(2 * sum(outcome) - n) >= abs(b - c) for outcome in product((0, 1), repeat=n))
    found = mcnemar([True] * b + [False] * c + [True, False], [False] * b + [True] * c + [True, False])
    assert found == (b, c, pytest.approx(lopsided / 2**n))


def test_mcnemar_of_one_against_five_by_hand():
    """(1 + 6) / 64, twice."""
    assert mcnemar([True] + [False] * 5, [False] + [True] * 5).p == 14 / 64


def test_mcnemar_survives_large_counts_and_refuses_unpaired_ones():
    first = [True] * 3000 + [False] * 2000
    assert 0 < mcnemar(first, [not right for right in first]).p < 1e-40
    with pytest.raises(ValueError, match="1 and on 2 examples"):
        mcnemar([True], [True, False])


def test_tokens_per_forward_is_a_ratio_of_sums():
    assert tokens_per_forward([10, 2], [2, 4]) == 2
    with pytest.raises(ValueError, match="no denoiser pass"):
        tokens_per_forward([3], [0])


def test_area_by_hand():
    """(1, 80), (2, 78), (4, 76) with 80 the best: 1 x 80 + 1/2 (80 + 78 w) + 2/2 (78 w + 76 v)."""
    w, v = math.exp(-3 * (1 - 78 / 80)), math.exp(-3 * (1 - 76 / 80))
    expected = 80 + (80 + 78 * w) / 2 + (78 * w + 76 * v)
    points = [Point(4, 76), Point(1, 80), Point(2, 78)]
    assert area_under_parallelism(points, best=80) == pytest.approx(expected)


def test_points_more_than_five_below_the_first_are_dropped():
    """74.9 is dropped and 75 is kept; with a point dropped between, the trapezoid spans the gap."""
    kept = [Point(1, 80), Point(4, 75)]
    expected = 80 + 3 * (80 + 75 * math.exp(-3 * 5 / 80)) / 2
    assert area_under_parallelism(kept, best=80) == pytest.approx(expected)
    assert area_under_parallelism([*kept, Point(3, 74.9), Point(9, 60)], best=80) == pytest.approx(expected)


def test_the_weight_is_one_from_the_best_up_and_the_first_rectangle_has_none():
    assert area_under_parallelism([Point(2, 40)], best=80) == 80
    assert area_under_parallelism([Point(1, 80), Point(2, 82)], best=80) == 80 + 81
    assert area_under_parallelism([Point(1, 0)], best=0) == 0
    with pytest.raises(ValueError, match="at least one point"):
        area_under_parallelism([], best=80)


def test_retention():
    assert retention(0.68, 0.8) == pytest.approx(0.85)
    assert retention(0.1, 0.0) is None
