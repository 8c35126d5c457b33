import pytest

from unmask.core.errors import UserError
from unmask.samplers.threshold import Threshold


def test_everything_at_or_above_the_level_goes_at_once_then_one_by_one(confident):
    """At .75: positions 1 and 4; then the best each time, .7, .6; the last step takes what is left."""
    case = confident([0.6, 0.9, 0.7, 0.55, 0.75])
    assert case.revealed_at(Threshold(level=0.75), budget=5) == [3, 1, 2, 4, 1]
    assert case.revealed_at(Threshold(level=0.75), budget=3) == [3, 1, 2, 3, 1]


def test_the_default_level_is_nine_tenths(confident):
    assert confident([0.89, 0.91, 0.99]).picks(Threshold(), budget=3) == [1, 2]


def test_level_zero_is_one_step(confident):
    assert confident([0.6, 0.9, 0.7]).revealed_at(Threshold(level=0), budget=3) == [1, 1, 1]


@pytest.mark.parametrize("level", [-0.1, 1.5, float("nan"), "high", True])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(UserError, match="level must be a number from 0 to 1"):
        Threshold(level=level)
