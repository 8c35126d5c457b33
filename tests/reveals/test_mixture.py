"""Mixtures of coins: what one set of coins cannot say, and tilting by hand."""

import pytest
import torch

from unmask.exact.enumerate import all_sets, set_log_probs
from unmask.reveals import REVEALS, Bernoulli, BernoulliMixture

from .checks import values_and_masks


def test_two_good_pairs_without_their_mixed_ones() -> None:
    sure = torch.tensor([[[9.0, 9.0, -9.0, -9.0], [-9.0, -9.0, 9.0, 9.0]]]).double()
    masked = torch.ones(1, 4, dtype=torch.bool)
    law = BernoulliMixture(torch.zeros(1, 2).double(), sure, masked)
    good = torch.tensor([[True, True, False, False]])
    assert float(law.log_prob(good).exp()) == pytest.approx(0.5, abs=1e-3)
    assert float(law.log_prob(torch.tensor([[True, False, True, False]])).exp()) < 1e-6
    averaged = Bernoulli(torch.zeros(1, 4).double(), masked)
    assert float(averaged.log_prob(good).exp()) == pytest.approx(1 / 15)


@pytest.mark.parametrize("name", ["bernoulli", "mixture", "categorical"])
def test_tilting_is_what_enumeration_says(name: str) -> None:
    values, masked = values_and_masks()
    unfinished = masked.any(-1)
    values, masked = values[unfinished][:15].clamp(-3, 3), masked[unfinished][:15]
    factor = torch.randn(values.shape, generator=torch.Generator().manual_seed(3)).double()
    law = REVEALS[name](values, masked)
    tilted = law.tilt(factor)  # type: ignore[attr-defined]
    log_prob = set_log_probs(law, 4).double()
    weighed = log_prob + torch.where(masked, factor, 0.0) @ all_sets(4).double().T
    mass = weighed.logsumexp(-1)
    assert torch.allclose(tilted.log_mass, mass, atol=1e-10)
    found = set_log_probs(tilted.law, 4).double()
    assert torch.allclose(found.exp(), (weighed - mass[:, None]).exp(), atol=1e-10)


def test_the_entropy_of_a_long_mixture_is_refused() -> None:
    masked = torch.ones(1, 30, dtype=torch.bool)
    with pytest.raises(ValueError, match="30 positions, at most 12"):
        BernoulliMixture(torch.zeros(1, 2), torch.zeros(1, 2, 30), masked).entropy()
