from unmask.samplers.margin import Margin
from unmask.samplers.top_prob import TopProb


def test_a_close_second_makes_a_position_wait(fixed):
    """p1 - p2 = .02, .25, .10, although p1 = .51, .45, .40: margin and top-prob disagree."""
    case = fixed([[0.51, 0.49, 0, 0], [0.45, 0.20, 0.20, 0.15], [0.40, 0.30, 0.30, 0]])
    assert case.revealed_at(Margin(), budget=3) == [3, 1, 2]
    assert case.revealed_at(TopProb(), budget=3) == [1, 2, 3]
