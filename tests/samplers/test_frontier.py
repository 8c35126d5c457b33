import pytest

from unmask.core.errors import UserError
from unmask.samplers.frontier import Frontier


def test_the_leftmost_goes_with_everything_at_or_above_the_level(confident):
    """At .75: positions 1 and 4 are sure and 0 is the leftmost; then 2 and 3 from the left, one at a time."""
    case = confident([0.6, 0.9, 0.7, 0.55, 0.75])
    assert case.revealed_at(Frontier(level=0.75), budget=5) == [1, 1, 2, 3, 1]
    assert case.revealed_at(Frontier(level=0.75), budget=2) == [1, 1, 2, 2, 1]


def test_the_leftmost_goes_however_unsure_it_is(confident):
    assert confident([0.51, 0.9, 0.97]).picks(Frontier(), budget=3) == [0]


def test_level_one_is_the_order_of_reading_and_level_zero_is_one_step(confident):
    case = confident([0.6, 0.9, 0.7])
    assert case.revealed_at(Frontier(level=1), budget=3) == [1, 2, 3]
    assert case.revealed_at(Frontier(level=0), budget=3) == [1, 1, 1]


@pytest.mark.parametrize("level", [-0.1, 1.5, float("nan"), "high", True])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(UserError, match="level must be a number from 0 to 1"):
        Frontier(level=level)
