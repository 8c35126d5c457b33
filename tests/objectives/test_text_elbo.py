"""The Monte-Carlo bound of a text, held to the sum over all orders and to the exact log-probability."""

from itertools import permutations
from math import comb

import pytest
import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoiser
from unmask.exact.enumerate import all_sets
from unmask.objectives.text_elbo import text_elbo

from ..exact.problems import Problem, exact_denoiser, random_joint


def log_prob_by_order(clean: Canvas, denoiser: Denoiser) -> Tensor:
    """[L!, B]: log-probability of the text when it is written one position at a time, for every order."""
    found = []
    for order in permutations(range(clean.tokens.shape[-1])):
        canvas, total = clean, torch.zeros(len(clean.row), dtype=torch.float64)
        for position in order:
            denoised = denoiser(canvas)
            total = total + denoised.to_rows(denoised.log_prob(denoised.from_rows(clean.tokens)), 0.0)[:, position]
            here = torch.zeros_like(clean.masked)
            here[:, position] = True
            canvas = canvas.reveal(here, clean.tokens)
        found.append(total.detach())
    return torch.stack(found)


def expected(clean: Canvas, denoiser: Denoiser) -> Tensor:
    """[B]: LLaDA's Eq. 6 with the expectation over count and mask written out."""
    rows, length = clean.tokens.shape
    total = torch.zeros(rows, dtype=torch.float64)
    for chosen in all_sets(length):
        count = int(chosen.sum())
        if count == 0:
            continue
        denoised = denoiser(clean.restrict(chosen.expand(rows, length)))
        log_prob = denoised.to_rows(denoised.log_prob(denoised.from_rows(clean.tokens)), 0.0).sum(-1)
        total = total + (length / count) * log_prob.detach() / (length * comb(length, count))
    return total


def test_the_expectation_is_the_mean_over_all_orders_and_below_the_log_probability() -> None:
    problem = Problem.random(0, rows=4, length=4)
    by_order = log_prob_by_order(problem.clean, problem.denoiser)
    assert torch.allclose(expected(problem.clean, problem.denoiser), by_order.mean(0))
    exact = by_order.exp().mean(0).log()  # of the text as this denoiser writes it in a random order
    assert bool((by_order.mean(0) < exact - 1e-3).all())


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1, 3, 8])
def test_the_mean_over_seeds_is_the_enumerated_expectation(samples: int) -> None:
    problem = Problem.random(1, rows=3, length=4)
    wanted = expected(problem.clean, problem.denoiser)
    found = torch.stack(
        [text_elbo(problem.denoiser, problem.clean, samples, Draws(seed)).elbo for seed in range(1000)]
    )
    standard_error = found.std(0) / len(found) ** 0.5
    assert bool(((found.mean(0) - wanted).abs() < 4 * standard_error).all()), (found.mean(0), wanted, standard_error)


def test_with_true_conditionals_of_two_positions_every_stratified_pair_of_masks_is_near_the_log_probability() -> None:
    """Two samples of two positions: l = 1 once and l = 2 once, so only the choice of the one position is left."""
    joint, denoiser = random_joint(1, 2, 3), exact_denoiser(1, 2, 3)
    tokens = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    clean = Canvas.make(tokens, torch.ones_like(tokens, dtype=torch.bool), 1)
    log_joint = joint.log()
    first, second = joint.sum(1).log(), joint.sum(0).log()
    left, right = tokens.T
    both = first[left] + second[right]
    alone = torch.stack([log_joint[left, right] - second[right], log_joint[left, right] - first[left]])  # [2, 9]
    possible = (both + 2 * alone) / 2
    assert torch.allclose(possible.mean(0), log_joint[left, right])
    found = text_elbo(denoiser, clean, 2, Draws(0)).elbo
    assert bool(((found - possible).abs() < 1e-9).any(0).all())


@pytest.mark.slow
def test_with_true_conditionals_the_estimate_goes_to_the_log_probability_within_its_error() -> None:
    joint, denoiser = random_joint(3, 3, 3), exact_denoiser(3, 3, 3)
    tokens = torch.cartesian_prod(*[torch.arange(3)] * 3)
    clean = Canvas.make(tokens, torch.ones_like(tokens, dtype=torch.bool), 1)
    found = text_elbo(denoiser, clean, 4000, Draws(0), rows=512)
    assert bool(((found.elbo - joint.flatten().log()).abs() < 4 * found.standard_error).all())


def test_stratified_counts_have_less_spread_than_the_stated_error() -> None:
    problem = Problem.random(2, rows=2, length=4)
    found = [text_elbo(problem.denoiser, problem.clean, 8, Draws(seed)) for seed in range(200)]
    spread = torch.stack([each.elbo for each in found]).std(0)
    stated = torch.stack([each.standard_error for each in found]).square().mean(0).sqrt()
    assert bool((spread < stated).all())


def test_neither_rows_at_a_time_nor_neighbours_nor_padding_matter() -> None:
    problem = Problem.random(4, rows=5, length=3)
    clean, denoiser = problem.clean, problem.denoiser
    whole = text_elbo(denoiser, clean, 6, Draws(0)).elbo
    assert torch.equal(text_elbo(denoiser, clean, 6, Draws(0), rows=4).elbo, whole)
    alone = [text_elbo(denoiser, clean.take(torch.tensor([row])), 6, Draws(0)).elbo for row in range(5)]
    assert torch.equal(torch.cat(alone), whole)
    pad = torch.zeros(5, 2, dtype=torch.long)
    for sides in ((pad, clean.tokens), (clean.tokens, pad)):
        tokens = torch.cat(sides, dim=1)
        valid = torch.cat([torch.full_like(side, side is clean.tokens, dtype=torch.bool) for side in sides], dim=1)
        assert torch.equal(text_elbo(denoiser, Canvas.make(tokens, valid, 1, valid), 6, Draws(0)).elbo, whole)


def test_only_what_is_asked_about_is_scored_and_nothing_costs_nothing() -> None:
    problem = Problem.random(5, rows=2, length=3)
    asked = problem.clean.restrict(torch.tensor([[False, True, False], [False, False, False]]))
    denoised = problem.denoiser(asked)
    alone = denoised.log_prob(denoised.from_rows(asked.tokens))
    found = text_elbo(problem.denoiser, asked, 5, Draws(0))
    assert found.elbo.tolist() == pytest.approx([float(alone[0].detach()), 0.0])
    assert found.standard_error.tolist() == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize(("samples", "rows"), [(0, 1), (1, 0)])
def test_fewer_than_one_is_refused(samples: int, rows: int) -> None:
    problem = Problem.random(0)
    with pytest.raises(UserError, match="at least 1, got 0"):
        text_elbo(problem.denoiser, problem.clean, samples, Draws(0), rows)
