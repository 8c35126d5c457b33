import pytest

from unmask.core.errors import UserError
from unmask.samplers.entropy_bounded import EntropyBounded

# H = ln 3, 0, ln 2, ln 2 nats; ascending 0, .693, .693, 1.099; each prefix without its last 0, 0, .693, 1.386
ROW = [[1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]


@pytest.mark.parametrize(
    ("bound", "picks"),
    [(0, [1, 2]), (0.1, [1, 2]), (0.7, [1, 2, 3]), (1.38, [1, 2, 3]), (1.39, [0, 1, 2, 3])],
)
def test_the_longest_prefix_within_the_bound_by_hand(fixed, bound, picks):
    assert fixed(ROW).picks(EntropyBounded(bound=bound), budget=4) == picks


def test_at_bound_zero_one_uncertain_position_still_goes(fixed):
    """H = ln 2, ln 3: the first costs nothing by itself, the second would cost ln 2."""
    assert fixed([[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]).picks(EntropyBounded(bound=0), budget=2) == [0]


def test_a_negative_bound_is_refused():
    with pytest.raises(UserError, match="bound must be a number of at least 0"):
        EntropyBounded(bound=-0.1)
