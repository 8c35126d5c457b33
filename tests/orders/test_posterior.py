import math
from dataclasses import replace

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.exact.enumerate import all_sets, set_log_probs
from unmask.orders.posterior import PosteriorConfig, PosteriorNetwork, paced, standardise

from .conftest import VOCABULARY, some_canvas, widen


def scores_and_canvas(rows=40, length=7, budget=4, seed=0):
    """Every count from 1 to `length` masked positions, every step from the first to the last."""
    generator = torch.Generator().manual_seed(seed)
    count = torch.arange(rows) % length + 1
    order = torch.rand(rows, length, generator=generator).argsort(-1)
    masked = order < count[:, None]
    scores = 2 * torch.randn(rows, length, generator=generator, dtype=torch.float64)
    canvas = Canvas.make(torch.zeros(rows, length, dtype=torch.long), masked, budget)
    return scores, replace(canvas, step=torch.arange(rows) // length % budget)


# ---- scores


def test_standardised_scores_have_mean_0_and_deviation_1_where_masked_and_are_0_elsewhere():
    scores, canvas = scores_and_canvas()
    several = canvas.masked.sum(-1) > 1
    found = standardise(scores, canvas.masked)
    assert (found[~canvas.masked] == 0).all()
    assert (found[~several] == 0).all()
    count = canvas.masked.sum(-1)
    assert (found.sum(-1) / count).abs().max() < 1e-12
    deviation = (found.square().sum(-1) / count).sqrt()[several]
    # short of 1 by half the 1e-6 that keeps the division finite, over the variance
    variance = torch.stack([row[mask].var(correction=0) for row, mask in zip(scores, canvas.masked, strict=True)])
    assert torch.allclose(deviation, (1 + 1e-6 / variance[several]) ** -0.5, rtol=1e-9)


def test_standardising_forgets_shift_and_scale_and_padding():
    scores, canvas = scores_and_canvas()
    several = canvas.masked.sum(-1) > 1
    plain = standardise(scores, canvas.masked)
    moved = standardise(1000 * scores - 5, canvas.masked)
    assert torch.allclose(moved[several], plain[several], atol=1e-4)
    junk = torch.where(canvas.masked, scores, 1e9)
    assert torch.equal(standardise(junk, canvas.masked), plain)


def test_standardising_twice_changes_next_to_nothing():
    scores, canvas = scores_and_canvas()
    once = standardise(scores, canvas.masked)
    assert torch.allclose(standardise(once, canvas.masked), once, atol=2e-6)


# ---- the paced law


def test_the_expected_count_is_what_is_left_over_the_steps_left():
    scores, canvas = scores_and_canvas()
    expected = paced(scores, canvas).inclusion().sum(-1)
    count = canvas.masked.sum(-1)
    target = (count / canvas.steps_left).clamp(min=1.05)
    free = (count > 1) & ~canvas.last_step
    assert free.sum() > 15
    assert torch.allclose(expected[free], target[free].double(), rtol=1e-6)
    assert (expected[count == 1] == 1).all()


def test_at_the_last_step_nearly_everything_is_revealed():
    scores, canvas = scores_and_canvas()
    law = paced(scores, canvas)
    last = canvas.last_step & canvas.unfinished
    assert last.any()
    assert torch.allclose(law.inclusion().sum(-1)[last], canvas.masked.sum(-1)[last].double(), rtol=0.02)


def test_the_best_position_is_certain_and_the_order_of_the_scores_is_kept():
    scores, canvas = scores_and_canvas()
    inclusion = paced(scores, canvas).inclusion()
    best = torch.where(canvas.masked, scores, -math.inf).argmax(-1, keepdim=True)
    assert (inclusion.gather(-1, best) == 1).all()
    for row in range(len(scores)):
        here = canvas.masked[row]
        assert torch.equal(scores[row, here].argsort(), inclusion[row, here].argsort(stable=True)) or (
            inclusion[row, here].unique().numel() < here.sum()
        )


def test_probabilities_of_all_sets_sum_to_one():
    scores, canvas = scores_and_canvas(length=4, rows=16)
    total = set_log_probs(paced(scores, canvas), 4).exp().sum(-1)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-12, rtol=0)


@pytest.mark.slow
def test_the_gradient_of_every_log_probability_is_that_of_finite_differences_through_the_temperature():
    """tau is solved for by bisection, without gradient; one Newton step must give it the whole of its own."""
    scores, canvas = scores_and_canvas(rows=8, length=4, budget=2, seed=3)
    canvas = replace(canvas, step=torch.zeros_like(canvas.step))
    sets = all_sets(4)
    compared = 0
    for row in range(8):
        here, size = canvas.take(torch.tensor([row])), 1e-5
        for positions in sets:
            if not bool((positions & ~here.masked[0]).any()) and bool(positions.any()):

                def log_prob(values, here=here, positions=positions):
                    return paced(values[None], here).log_prob(positions[None])[0]

                values = scores[row].clone().requires_grad_()
                value = log_prob(values)
                if not value.isfinite() or not value.requires_grad:
                    continue
                (gradient,) = torch.autograd.grad(value, values)
                for position in range(4):
                    shift = torch.zeros(4, dtype=torch.float64)
                    shift[position] = size
                    numeric = (log_prob(scores[row] + shift) - log_prob(scores[row] - shift)) / (2 * size)
                    assert float(gradient[position]) == pytest.approx(float(numeric), rel=1e-4, abs=1e-6)
                    compared += 1
    assert compared > 100


def test_scaling_all_scores_scales_the_temperature_and_changes_no_probability():
    scores, canvas = scores_and_canvas()
    free = ~canvas.last_step
    one, two = paced(scores, canvas).inclusion(), paced(3 * scores, canvas).inclusion()
    assert torch.allclose(one[free], two[free], rtol=1e-6)


def test_finished_rows_and_equal_scores_spoil_no_number_and_no_gradient():
    scores, canvas = scores_and_canvas()
    masked = canvas.masked.clone()
    masked[::3] = False
    scores[1] = 0.5  # all equal: everything at once, whatever the temperature
    canvas = replace(canvas, masked=masked)
    scores.requires_grad_()
    law = paced(scores, canvas)
    drawn = law.sample(Draws(0).at(canvas))
    log_prob = law.log_prob(drawn)
    assert (log_prob[::3] == 0).all()
    assert log_prob.isfinite().all()
    total = log_prob.sum() + law.entropy().sum() + law.inclusion().sum()
    total.backward()
    assert scores.grad.isfinite().all()
    assert (scores.grad[~masked] == 0).all()


def test_float32_scores_give_a_float32_law():
    scores, canvas = scores_and_canvas()
    law = paced(scores.float(), canvas)
    assert law.inclusion().dtype == torch.float32
    free = (canvas.masked.sum(-1) > 1) & ~canvas.last_step
    target = (canvas.masked.sum(-1) / canvas.steps_left).clamp(min=1.05)
    assert torch.allclose(law.inclusion().sum(-1)[free], target[free], rtol=1e-4)


# ---- the network


def some_posterior():
    config = PosteriorConfig(VOCABULARY, width=8, layers=2, heads=2, hidden=12)
    return PosteriorNetwork(config).initialise(torch.Generator().manual_seed(0)).double()


def test_scores_are_standardised_and_never_all_equal():
    canvas = some_canvas()
    scores = some_posterior()(canvas)
    assert scores.shape == canvas.masked.shape
    mean = scores.sum(-1) / canvas.masked.sum(-1).clamp(min=1)
    assert mean.abs().max() < 1e-9
    for row in canvas.unfinished.nonzero().flatten().tolist():
        assert scores[row, canvas.masked[row]].unique().numel() == canvas.masked[row].sum()


def test_a_text_of_equal_tokens_still_has_scores_that_differ():
    """By relative position alone it had none, and equal scores reveal everything at once."""
    tokens, masked = torch.zeros(1, 6, dtype=torch.long), torch.ones(1, 6, dtype=torch.bool)
    canvas = Canvas.make(tokens, masked, 3)
    scores = some_posterior()(canvas)
    assert scores[0].sort().values.diff().min() > 1e-3
    assert paced(scores, canvas).inclusion().sum().item() == pytest.approx(2, rel=1e-6)


def test_scores_do_not_depend_on_padding_or_neighbours():
    posterior, canvas = some_posterior(), some_canvas()
    plain = posterior(canvas)
    wide = posterior(widen(canvas, 3, 2))
    torch.testing.assert_close(wide[:, 3:-2], plain, rtol=1e-10, atol=1e-11)
    for row in range(6):
        alone = posterior(canvas.take(torch.tensor([row])))
        torch.testing.assert_close(alone[0], plain[row], rtol=1e-10, atol=1e-11)


def test_scores_see_the_clean_text_and_the_budget():
    posterior, canvas = some_posterior(), some_canvas()
    plain = posterior(canvas)
    written = torch.where(canvas.masked, (canvas.tokens + 1) % VOCABULARY, canvas.tokens)
    several = canvas.masked.sum(-1) > 1
    for other in (replace(canvas, tokens=written), replace(canvas, budget=canvas.budget * 2)):
        assert ((posterior(other) - plain).abs().amax(-1) > 1e-6)[several].all()
