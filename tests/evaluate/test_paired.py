import math
from itertools import product

import pytest

from unmask.evaluate.metrics import wilson
from unmask.evaluate.paired import holm, newcombe, paired


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998b, table II; an empty cell, phi negative
        ((1, 1, 7, 12), -0.507, -0.026),  # Fagerland, Lydersen, Laake 2014; phi drawn to 0 by the correction
    ],
)
def test_newcombes_interval_agrees_with_published_examples(table, low, high):
    found = newcombe(*table)
    assert found.low == pytest.approx(low, abs=5e-4)
    assert found.high == pytest.approx(high, abs=5e-4)


def test_newcombes_interval_by_hand():
    """10 both, 6 first only, 2 second only, 22 neither: phi = (220 - 12 - 20) / sqrt(16 x 24 x 12 x 28)."""
    (l1, u1), (l2, u2) = wilson(16, 40), wilson(12, 40)
    phi = 188 / math.sqrt(16 * 24 * 12 * 28)
    below, above = 0.4 - l1, u2 - 0.3
    low = 0.1 - math.sqrt(below**2 - 2 * phi * below * above + above**2)
    below, above = 0.3 - l2, u1 - 0.4
    high = 0.1 + math.sqrt(below**2 - 2 * phi * below * above + above**2)
    assert newcombe(10, 6, 2, 22) == (pytest.approx(low), pytest.approx(high))


def test_the_interval_mirrors_stays_within_bounds_and_has_width():
    for table in product((0, 1, 5), repeat=4):
        if sum(table) == 0:
            continue
        both, first, second, neither = table
        low, high = newcombe(*table)
        assert -1 <= low <= (first - second) / sum(table) <= high <= 1
        assert low < high
        mirrored = newcombe(both, second, first, neither)
        assert (mirrored.low, mirrored.high) == (pytest.approx(-high), pytest.approx(-low))
    with pytest.raises(ValueError, match="no example"):
        newcombe(0, 0, 0, 0)


def test_a_pair_by_hand():
    """Of eight, the first alone gets five and the second alone one: 50 points, p = 2 (1 + 6) / 64."""
    first = [True] * 5 + [False, True, False]
    second = [False] * 5 + [True, True, False]
    found = paired(first, second)
    assert (found.n, found.points, found.only_first, found.only_second, found.p) == (8, 50.0, 5, 1, 14 / 64)
    low, high = newcombe(1, 5, 1, 1)
    assert (found.low, found.high) == (100 * low, 100 * high)
    assert paired(second, first).points == -50


def test_holm_by_hand():
    """Sorted .005, .011, .02, .04: times 4, 3, 2, 1 gives .02, .033, .04, .04."""
    assert holm([0.04, 0.005, 0.02, 0.011]) == pytest.approx([0.04, 0.02, 0.04, 0.033])


def test_holm_never_falls_below_an_earlier_one_nor_passes_one():
    """.01 x 3 = .03, .02 x 2 = .04, .03 x 1 = .03, which is raised to .04."""
    assert holm([0.01, 0.02, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
