import math

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.exact.enumerate import all_sets, set_log_probs
from unmask.reveals import Bernoulli

from .checks import values_and_masks

ALL = torch.ones(1, 2, dtype=torch.bool)
SUBSETS = [[a, b, False] for a in (False, True) for b in (False, True)]


def test_two_fair_coins_by_hand() -> None:
    # four outcomes of 1/4; without the empty one the other three have 1/3 each, and each position 2/3
    law = Bernoulli(torch.zeros(1, 2), ALL)
    for positions in ([True, False], [False, True], [True, True]):
        assert float(law.log_prob(torch.tensor([positions]))) == pytest.approx(math.log(1 / 3), abs=1e-6)
    assert float(law.log_prob(torch.tensor([[False, False]]))) == -math.inf
    assert law.inclusion().tolist()[0] == pytest.approx([2 / 3, 2 / 3])
    assert law.probabilities().tolist() == [[0.5, 0.5]]
    assert float(law.entropy()) == pytest.approx(math.log(3), abs=1e-6)


def test_without_the_condition_the_coins_are_as_they_are() -> None:
    law = Bernoulli(torch.zeros(1, 2), ALL, non_empty=False)
    assert law.may_be_empty
    assert float(law.log_prob(torch.tensor([[False, False]]))) == pytest.approx(math.log(1 / 4))
    assert law.inclusion().tolist() == [[0.5, 0.5]]


def test_sharpened_logits_are_multiplied_and_all_else_is_kept() -> None:
    # coins 2/3 and 1/2 have odds 2 and 1; twice the logits square them, half of them are their roots
    masked = torch.tensor([[True, True, False]])
    for non_empty in (True, False):
        law = Bernoulli(torch.tensor([[math.log(2), 0.0, 5.0]]), masked, non_empty)
        for factor, odds in ((2.0, 4.0), (0.5, math.sqrt(2))):
            sharp = law.sharpen(factor)
            assert sharp.probabilities().tolist()[0] == pytest.approx([odds / (1 + odds), 1 / 2, 0])
            assert sharp.masked is masked
            assert sharp.non_empty == non_empty
            total = sum(float(sharp.log_prob(torch.tensor([positions])).exp()) for positions in SUBSETS)
            assert total == pytest.approx(1, abs=1e-6)


def test_tilting_weighs_every_set_by_its_factors() -> None:
    """Every set of every mask, with and without the empty one: p(S) c(S) = Z r(S), and r sums to 1."""
    values, masked = values_and_masks()
    factors = -values_and_masks(1)[0].abs().clamp(max=10)
    for non_empty in (True, False):
        law = Bernoulli(values, masked, non_empty)
        tilted, log_mass = law.tilt(factors)
        own, other = set_log_probs(law, 4), set_log_probs(tilted, 4)  # [B, 2^L]
        inside = ~(all_sets(4)[None] & ~masked[:, None]).any(-1)  # finished rows say 0 to any set
        weighed = own + torch.where(masked, factors, 0.0) @ all_sets(4).double().T
        assert torch.allclose((other + log_mass[:, None])[inside], weighed[inside], atol=1e-9)
        assert torch.allclose(torch.where(inside, other, -math.inf).exp().sum(-1), torch.ones(len(masked)).double())
        assert (log_mass[~masked.any(-1)] == 0).all()


def test_a_tilt_by_hand() -> None:
    # fair coins, the second worth 1/2: the sets {1}, {2}, {1, 2} have 1/3 each and weigh 1, 1/2, 1/2; Z = 2/3
    tilted, log_mass = Bernoulli(torch.zeros(1, 2), ALL).tilt(torch.tensor([[0.0, math.log(0.5)]]))
    assert float(log_mass) == pytest.approx(math.log(2 / 3))
    for positions, chance in (([True, False], 1 / 2), ([False, True], 1 / 4), ([True, True], 1 / 4)):
        assert float(tilted.log_prob(torch.tensor([positions])).exp()) == pytest.approx(chance)


def test_a_hopeless_position_is_not_revealed_and_has_a_gradient() -> None:
    # in float32, at the extremes: the second is worth nothing, so its coin is pushed down and nothing is NaN
    logits = torch.tensor([[3.0, 15.0]], requires_grad=True)
    tilted, log_mass = Bernoulli(logits, ALL).tilt(torch.tensor([[0.0, -math.inf]]))
    log_mass.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 1].item() < -0.1
    assert tilted.inclusion()[0, 1].item() < 0.6


def test_something_is_revealed_even_when_every_coin_is_nearly_hopeless() -> None:
    masked = torch.ones(1000, 30, dtype=torch.bool)
    law = Bernoulli(torch.full((1000, 30), -50.0), masked)
    drawn = law.sample(Draws(0).at(Canvas.make(masked.long(), masked, 2)))
    assert (drawn.sum(-1) == 1).all()
    assert law.log_prob(drawn).exp().mean().item() == pytest.approx(1 / 30, rel=1e-3)
    # and all positions are as likely: 30 bins of about 33, chi-square within 5 standard deviations of its
    # mean
    counts = drawn.sum(0).double()
    chi_square = float(((counts - 1000 / 30) ** 2 / (1000 / 30)).sum())
    assert chi_square < 29 + 5 * math.sqrt(2 * 29)


def test_scaled_coins_are_multiplied_and_capped() -> None:
    masked = torch.ones(1, 3, dtype=torch.bool)
    law = Bernoulli(torch.logit(torch.tensor([[0.2, 0.5, 0.9]], dtype=torch.float64)), masked)
    assert torch.allclose(law.scale(1.5).probabilities(), torch.tensor([[0.3, 0.75, 1.0]]).double(), atol=1e-5)
    assert torch.allclose(law.scale(0.5).probabilities(), torch.tensor([[0.1, 0.25, 0.45]]).double())
