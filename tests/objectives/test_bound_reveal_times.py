"""The bound with independent reveal times as its posterior: steps may be empty, and everything still agrees."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.order import Order
from unmask.denoisers.base import Denoised
from unmask.reveals import Bernoulli, RevealTimes

from ..exact.problems import Problem
from .checks import check_bound_estimate, check_bound_gradient, estimate_bound


class TimesProblem(Problem):
    """phi: [B, L, T], logits of the step each position is revealed at. The policy may reveal nothing, too."""

    def policy(self, canvas: Canvas, denoised: Denoised) -> Bernoulli:
        return replace(super().policy(canvas, denoised), non_empty=False)

    def law(self, scores: Tensor, canvas: Canvas) -> RevealTimes:
        return RevealTimes.at_step(scores, canvas)


def times_problem(budget: int) -> TimesProblem:
    plain = Problem.random(4, length=2, budget=budget, rows=2)
    generator = torch.Generator().manual_seed(5)
    phi = torch.randn(2, 2, budget, generator=generator, dtype=torch.float64).requires_grad_()
    return TimesProblem(plain.clean, plain.denoiser, plain.psi, phi, plain.tau)


def every_time(budget: int) -> Order:
    return Order(torch.tensor(list(product(range(1, budget + 1), repeat=2))))


@pytest.mark.parametrize("budget", [2, 3])
def test_value_and_gradients_match_enumeration(budget: int) -> None:
    problem = times_problem(budget)
    check_bound_estimate(estimate_bound, problem, every_time(budget))
    check_bound_gradient(estimate_bound, problem, every_time(budget))
