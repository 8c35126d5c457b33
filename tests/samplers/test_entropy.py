import math

import pytest
import torch

from unmask.core.errors import UserError
from unmask.samplers.entropy import Entropy

# H = ln 1, ln 3, ln 2 nats
ROW = [[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0]]


def test_the_smallest_entropy_goes_first(fixed):
    assert fixed(ROW).revealed_at(Entropy(), budget=3) == [1, 3, 2]


def test_with_a_temperature_the_first_pick_follows_the_softmax(fixed):
    """softmax(-H / 1) of H = 0, ln 3, ln 2 is (1, 1/3, 1/2) / (11/6) = 6/11, 2/11, 3/11."""
    rows = 6000
    first = fixed(ROW, rows=rows).first_choice(Entropy(alg_temp=1.0), budget=3).double().mean(0)
    expected = torch.tensor([6, 2, 3], dtype=torch.double) / 11
    assert ((first - expected).abs() < 4 * (expected * (1 - expected) / rows).sqrt()).all()


def test_draws_are_without_replacement(fixed):
    """P({0, 1}) by hand: 6/11 * (2/11)/(5/11) + 2/11 * (6/11)/(9/11) = 12/55 + 4/33."""
    rows = 6000
    pairs = fixed([*ROW[:2], ROW[2]], rows=rows).first_choice(Entropy(alg_temp=1.0), budget=2)  # n_1 = 2
    assert (pairs.sum(-1) == 2).all()
    expected = 12 / 55 + 4 / 33
    found = float((pairs[:, 0] & pairs[:, 1]).double().mean())
    assert abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / rows)


def test_a_negative_temperature_is_refused():
    with pytest.raises(UserError, match="alg_temp must be a number of at least 0, got -1"):
        Entropy(alg_temp=-1)
    for value in (float("inf"), 1e-320):
        with pytest.raises(UserError, match=r"alg_temp must be 0.* or a finite number of at least 1e-100"):
            Entropy(alg_temp=value)


def test_the_tail_of_the_noise_is_not_rounded_away(fixed):
    """Uniforms of 1 - 2^-30 and 1 - 2^-40 are both 1 in float32, where their noise would tie at infinity."""

    class Nearly:
        def uniform(self, purpose: str) -> torch.Tensor:
            return 1 - torch.tensor([[2.0**-30, 2.0**-40]], dtype=torch.float64)

    case = fixed([[0.5, 0.5], [0.5, 0.5]])
    canvas = case.canvas(2)
    chosen, _ = Entropy(alg_temp=1.0).select(canvas, case(canvas), None, None, Nearly())
    assert chosen.positions.tolist() == [[False, True]]
