import math

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.reveals import ScoreRatio, at_temperature

T = torch.tensor


def test_three_scores_by_hand() -> None:
    # best score 2 is certain; the others have exp(-1/1) and exp(-2/1)
    law = ScoreRatio(T([[2.0, 1.0, 0.0, 9.0]]), T([[True, True, True, False]]), tau=1.0)
    assert law.probabilities().tolist()[0] == pytest.approx([1, math.exp(-1), math.exp(-2), 0])
    both = math.log(math.exp(-1) * (1 - math.exp(-2)))
    assert float(law.log_prob(T([[True, True, False, False]]))) == pytest.approx(both, abs=1e-6)
    assert float(law.log_prob(T([[False, True, False, False]]))) == -math.inf  # the certain one left out
    assert float(law.log_prob(T([[True, True, False, True]]))) == -math.inf  # one that is not masked


def test_scores_renormalise_over_what_is_left() -> None:
    scores = T([[5.0, 1.0, 0.5]])
    law = ScoreRatio(scores, T([[False, True, True]]), tau=0.5)
    assert law.probabilities().tolist()[0] == pytest.approx([0, 1, math.exp(-1)])


def test_tied_best_positions_are_all_certain() -> None:
    scores = T([[1.0, 1.0, 0.0]]).requires_grad_()
    law = ScoreRatio(scores, torch.ones(1, 3, dtype=torch.bool), tau=1.0)
    log_prob = law.log_prob(T([[True, True, False]]))
    assert log_prob.item() == pytest.approx(math.log(1 - math.exp(-1)), abs=1e-6)
    assert law.log_prob(T([[True, False, False]])).item() == -math.inf
    log_prob.sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_a_certain_coin_adds_no_gradient_of_its_own() -> None:
    scores = T([[3.0, 1.0]], dtype=torch.float64).requires_grad_()
    masked = T([[True, False]])
    ScoreRatio(scores, masked, 1.0).log_prob(masked).sum().backward()
    assert scores.grad is not None
    assert (scores.grad == 0).all()


def test_shifting_all_scores_changes_nothing_and_scaling_is_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    masked = torch.rand(5, 6, generator=generator) < 0.7
    law = ScoreRatio(scores, masked, 0.5)
    assert torch.allclose(ScoreRatio(scores + 3, masked, 0.5).probabilities(), law.probabilities())
    assert torch.allclose(ScoreRatio(scores * 2, masked, 1.0).probabilities(), law.probabilities())
    per_row = ScoreRatio(scores, masked, torch.full((5, 1), 0.5, dtype=torch.float64))
    assert torch.equal(per_row.probabilities(), law.probabilities())


def test_at_temperature_looks_at_the_canvas_of_the_step() -> None:
    masked = T([[True, False, True]])
    canvas = Canvas.make(masked.long(), masked, 3)
    scores = T([[0.0, 5.0, -1.0]])
    law = at_temperature(0.5)(scores, canvas)
    assert torch.equal(law.probabilities(), ScoreRatio(scores, masked, 0.5).probabilities())
