import math
from dataclasses import replace

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.exact import sampler_nll
from unmask.samplers import make_sampler
from unmask.samplers.early_exit import EarlyExit, enough
from unmask.samplers.left_to_right import LeftToRight


def with_gap(gap: float) -> float:
    """p of the first of two tokens whose log-probabilities lie `gap` apart."""
    return 1 / (1 + math.exp(-gap))


def test_the_limits_fall_with_the_share_of_the_budget_that_is_spent(confident):
    """Gaps of 6 at every position, 10 steps: shares 0, .1, .2, .3 ask for 7.5; .4 asks for 5. So all at step 5."""
    case = confident([with_gap(6)] * 10)
    assert case.revealed_at(EarlyExit(LeftToRight()), budget=10) == [1, 2, 3, 4] + [5] * 6


@pytest.mark.parametrize(("gap", "step"), [(8, 1), (7.4, 5), (4.9, 8), (2.6, 8), (2.4, 10)])
def test_each_limit_by_hand(confident, gap, step):
    """Of ten steps: 7.5 at first, 5 from the fifth (.4 spent), 2.5 from the eighth (.7 spent)."""
    assert max(confident([with_gap(gap)] * 10).revealed_at(EarlyExit(LeftToRight()), budget=10)) == step


def test_it_is_the_mean_over_what_is_masked(confident):
    """4 and 12: mean 8 is enough at once. 2 and 12: mean 7 is not; then 12 alone is, as it is at the last step."""
    assert confident([with_gap(4), with_gap(12)]).picks(EarlyExit(LeftToRight()), budget=9) == [0, 1]
    assert confident([with_gap(2), with_gap(12)]).picks(EarlyExit(LeftToRight()), budget=9) == [0]


def test_the_answer_may_be_the_last_positions_only(confident):
    """Of 1, 1, 9 the last alone is certain; of 9, 9, 1 it is not, nor the last two, whose mean is 5."""
    last = EarlyExit(LeftToRight(), answer=1)
    assert confident([with_gap(g) for g in (1, 1, 9)]).picks(last, budget=9) == [0, 1, 2]
    assert confident([with_gap(g) for g in (9, 9, 1)]).picks(last, budget=9) == [0]
    assert confident([with_gap(g) for g in (9, 9, 1)]).picks(EarlyExit(LeftToRight(), answer=2), budget=9) == [0]


def test_once_the_answer_is_written_the_rest_follows(confident):
    """top-prob writes the last position first; nothing of the answer is masked at the second step."""
    case = confident([0.6, 0.6, 0.6, 0.9])
    assert case.revealed_at(make_sampler("top-prob:exit=prophet,answer=1"), budget=4) == [2, 2, 2, 1]


def test_it_waits_for_no_block(confident):
    case = confident([with_gap(8)] * 6)
    assert case.revealed_at(make_sampler("top-prob:block=2,exit=prophet"), budget=6) == [1] * 6


def test_over_the_whole_response_it_is_a_function_of_the_canvas():
    joint = torch.full((2, 2), 0.25, dtype=torch.float64)
    assert sampler_nll(joint, "top-prob:exit=prophet", 2) == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("answer", [0, -1, 2.5, "last", True])
def test_an_answer_that_is_nowhere_is_refused(answer):
    with pytest.raises(UserError, match="answer must be all or a whole number of at least 1"):
        EarlyExit(LeftToRight(), answer=answer)


def test_an_answer_without_an_exit_is_refused():
    with pytest.raises(UserError, match="answer=4 says where an early exit looks, and there is none: add exit=prophet"):
        make_sampler("margin:answer=4")
    with pytest.raises(UserError, match="exit must be one of never, prophet, got early"):
        make_sampler("margin:exit=early")


def test_the_share_that_is_spent_is_of_the_rows_own_budget():
    """Three steps are a tenth of thirty, half of six and three quarters of four."""
    canvas = Canvas.make([[0, 0]] * 3, [[1, 1]] * 3, [30, 6, 4])
    later = replace(canvas, step=torch.tensor([3, 3, 3]))
    assert enough(later).tolist() == [7.5, 5.0, 2.5]
