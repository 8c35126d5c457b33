"""Equation 6d against enumeration: the divergence of the posterior that knows the text, and what minimises it."""

import itertools
import math

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.denoisers.table import TableDenoiser
from unmask.objectives import imitation_loss
from unmask.reveals.bernoulli import Bernoulli


def coins(*chances: float) -> Bernoulli:
    logits = torch.tensor([chances], dtype=torch.float64).logit().requires_grad_()
    return Bernoulli(logits, torch.ones_like(logits, dtype=torch.bool))


def test_by_hand_of_two_coins() -> None:
    loss = imitation_loss(coins(0.5, 0.9), torch.tensor([[False, True]]))
    assert loss.item() == pytest.approx(-math.log(0.5 * 0.9))
    nothing = imitation_loss(coins(0.5, 0.9), torch.tensor([[False, False]]))
    assert nothing.item() == pytest.approx(-math.log(0.5 * 0.1)), "without the condition that one comes up"


def test_it_is_the_divergence_of_all_weight_on_one_set_from_how_the_coins_fall() -> None:
    """KL(q || p) over all eight sets, q being one of them for certain; and the eight chances sum to 1."""
    law, total = coins(0.2, 0.7, 0.4), 0.0
    chance = [0.2, 0.7, 0.4]
    for right in itertools.product([False, True], repeat=3):
        p = math.prod(c if there else 1 - c for c, there in zip(chance, right, strict=True))
        assert imitation_loss(law, torch.tensor([right])).item() == pytest.approx(-math.log(p))
        total += p
    assert total == pytest.approx(1.0)


def test_the_best_coins_are_the_chances_of_being_right() -> None:
    """All eight texts with their probabilities: at coins of max_v p(x_i = v) the expected loss is flat, and least."""
    joint = torch.rand(2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    joint = joint / joint.sum()
    texts = torch.cartesian_prod(*[torch.arange(2)] * 3)
    said = TableDenoiser.of(joint)(Canvas.make(texts, torch.ones_like(texts, dtype=torch.bool), 2))
    right = said.to_rows(said.top2_tokens[:, 0], 0) == texts
    chance = said.to_rows(said.top2[:, 0], 0.0)[0].double()

    def expected(logits: torch.Tensor) -> torch.Tensor:
        law = Bernoulli(logits.expand(8, 3), torch.ones(8, 3, dtype=torch.bool))
        return (joint.flatten() * imitation_loss(law, right)).sum()

    best = chance.logit().requires_grad_()
    least = expected(best)
    (slope,) = torch.autograd.grad(least, best)
    assert slope.abs().max() < 1e-7
    for step in torch.eye(3, dtype=torch.float64) * 0.3:
        assert expected(best.detach() + step) > least
        assert expected(best.detach() - step) > least


def test_what_is_not_masked_has_no_say_and_a_finished_row_costs_nothing() -> None:
    logits = torch.tensor([[0.3, -2.0], [0.3, -2.0]], dtype=torch.float64, requires_grad=True)
    law = Bernoulli(logits, torch.tensor([[True, False], [False, False]]))
    loss = imitation_loss(law, torch.tensor([[True, True], [True, False]]))
    assert loss.tolist() == pytest.approx([-math.log(torch.tensor(0.3).sigmoid()), 0.0])
    loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] < 0
    assert logits.grad.flatten()[1:].tolist() == [0.0, 0.0, 0.0]
