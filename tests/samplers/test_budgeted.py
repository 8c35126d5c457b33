from unmask.samplers.budgeted import Budgeted
from unmask.samplers.iid import IID
from unmask.samplers.threshold import Threshold

ROW = [0.6, 0.7, 0.65, 0.8, 0.75, 0.85]


def test_an_adaptive_sampler_that_is_behind_is_topped_up_by_priority(confident):
    """Nothing reaches .9. Alone, one a step and four at the last; topped up, two a step, the surest first."""
    case = confident(ROW)
    assert case.revealed_at(Threshold(0.9), budget=3) == [3, 3, 3, 2, 3, 1]
    assert case.revealed_at(Budgeted(Threshold(0.9)), budget=3) == [3, 2, 3, 1, 2, 1]


def test_one_that_is_ahead_is_left_alone_unless_exact(confident):
    """At .7 four go at once. With `exact` all four may go, since two remain for two steps."""
    case = confident(ROW)
    assert case.revealed_at(Budgeted(Threshold(0.7)), budget=3) == [3, 1, 2, 1, 1, 1]
    assert case.revealed_at(Budgeted(Threshold(0.0)), budget=3) == [1, 1, 1, 1, 1, 1]
    assert case.revealed_at(Budgeted(Threshold(0.0), exact=True), budget=3) == [3, 1, 2, 1, 1, 1]


def test_exact_uses_one_step_per_position_where_steps_are_many(confident):
    decoded = confident([0.6, 0.7]).decode(Budgeted(Threshold(0.0), exact=True), budget=5)
    assert decoded.steps.tolist() == [2]


def test_it_is_never_empty_even_where_the_inner_sampler_is(confident):
    paced = Budgeted(IID())
    assert IID().may_be_empty
    assert not paced.may_be_empty
    first = confident([0.5] * 4, rows=500).first_choice(paced, budget=4)
    assert first.any(-1).all()
    assert (first.sum(-1) > 1).any()
