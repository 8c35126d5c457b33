import math
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.denoisers.base import Denoiser
from unmask.exact.enumerate import all_sets
from unmask.objectives.denoising import denoising_loss, mask_for_denoising, stratified_times

from ..exact.problems import Problem, exact_denoiser, random_joint


def one_at_a_time(clean: Canvas, denoiser: Denoiser) -> Tensor:
    """[B]: negative log-likelihood averaged over all orders of revealing one position per step."""
    total = torch.zeros(len(clean.row), dtype=torch.float64)
    orders = list(permutations(range(clean.tokens.shape[-1])))
    for order in orders:
        canvas = clean
        for position in order:
            denoised = denoiser(canvas)
            log_prob = denoised.to_rows(denoised.log_prob(denoised.from_rows(clean.tokens)), 0.0)
            total = total - log_prob[:, position]
            here = torch.zeros_like(clean.masked)
            here[:, position] = True
            canvas = canvas.reveal(here, clean.tokens)
    return total / len(orders)


def expected_loss(clean: Canvas, denoiser: Denoiser) -> Tensor:
    """[B]: exact expectation of the "elbo" loss over masks and rates (a polynomial in t: Gauss-Legendre)."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    rows, length = clean.tokens.shape
    total = torch.zeros(rows, dtype=torch.float64)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        times = torch.full((rows,), node, dtype=torch.float64)
        for chosen in all_sets(length):
            noisy = clean.restrict(chosen.expand(rows, length))
            count = int(chosen.sum())
            chance = node**count * (1 - node) ** (length - count)
            total = total + weight * chance * denoising_loss(denoiser(noisy), clean, times).per_row
    return total


def test_expected_loss_is_the_average_over_all_orders() -> None:
    problem = Problem.random(0, rows=4)
    expected = one_at_a_time(problem.clean, problem.denoiser) / 3
    assert torch.allclose(expected_loss(problem.clean, problem.denoiser), expected)


def test_with_true_conditionals_the_expected_loss_is_the_entropy_of_the_text() -> None:
    tokens = torch.cartesian_prod(*[torch.arange(3)] * 3)
    clean = Canvas.make(tokens, torch.ones_like(tokens, dtype=torch.bool), 1)
    expected = -random_joint(1, 3, 3).flatten().log() / 3
    assert torch.allclose(expected_loss(clean, exact_denoiser(1, 3, 3)), expected)


def test_weights_by_hand() -> None:
    # uniform over 2 tokens: every masked position costs log 2. Row 0: 1 of 3 masked at t = 0.5; row 1: none
    tokens = torch.zeros(2, 4, dtype=torch.long)
    maskable = torch.tensor([[False, True, True, True]] * 2)
    clean = Canvas.make(tokens, maskable, 1)
    noisy = clean.restrict(torch.tensor([[False, False, True, False], [False] * 4]))
    denoiser = Problem.random(0, length=4).denoiser
    denoiser.logits.data.zero_()
    times = torch.tensor([0.5, 0.5])
    elbo = denoising_loss(denoiser(noisy), clean, times, "elbo")
    assert elbo.per_row.tolist() == pytest.approx([math.log(2) / 0.5 / 3, 0])
    assert elbo.loss.item() == pytest.approx(math.log(2) / 3)
    assert elbo.masked.tolist() == [1, 0]
    mean = denoising_loss(denoiser(noisy), clean, times, "mean")
    assert mean.per_row.tolist() == pytest.approx([math.log(2), 0])


def test_an_unknown_weight_names_the_choices() -> None:
    problem = Problem.random(0)
    with pytest.raises(ValueError, match=r"unknown weight `max`\. Choices: elbo, mean"):
        denoising_loss(problem.denoiser(problem.clean), problem.clean, torch.ones(2), "max")  # type: ignore[arg-type]


def test_masks_only_what_may_be_masked_as_often_as_the_rate_says() -> None:
    count = 20_000
    tokens = torch.zeros(count, 3, dtype=torch.long)
    clean = Canvas.make(tokens, torch.tensor([True, False, True]).expand(count, 3), 1)
    times = torch.full((count,), 0.3)
    noisy = mask_for_denoising(clean, times, Draws(0).uniform(clean, "mask"))
    rate = noisy.masked.double().mean(0)
    error = math.sqrt(0.3 * 0.7 / count)
    assert float(rate[1]) == 0
    assert abs(float(rate[0]) - 0.3) < 5 * error
    assert abs(float(rate[2]) - 0.3) < 5 * error
    assert torch.equal(noisy.tokens, clean.tokens)


def test_stratified_times_are_evenly_spread_and_each_uniform() -> None:
    uniform = (torch.arange(400).double() + 0.5) / 400
    times = torch.stack([stratified_times(8, u, floor=0.0) for u in uniform])  # [400, 8]
    for column in times.T:
        assert torch.allclose(column.sort().values, uniform, atol=1e-12)
    for row in times[::37]:
        gaps = row.sort().values.diff()
        assert torch.allclose(gaps, torch.full((7,), 1 / 8, dtype=torch.float64))


def test_times_never_go_below_the_floor() -> None:
    assert float(stratified_times(4, torch.tensor(0.0), floor=0.01).min()) == pytest.approx(0.01)


def test_gradients_are_finite_when_nothing_is_masked() -> None:
    problem = Problem.random(3)
    noisy = problem.clean.restrict(torch.zeros(2, 3, dtype=torch.bool))
    loss = denoising_loss(problem.denoiser(noisy), problem.clean, torch.full((2,), 0.1)).loss
    assert loss.item() == 0
