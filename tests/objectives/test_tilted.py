"""Equation 6c against enumeration: every path, every budget, and the gradient that learning follows."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from unmask.core.draws import Draws
from unmask.core.order import ordered_partitions
from unmask.exact.enumerate import log_marginal
from unmask.objectives import path_log_likelihoods, vimco
from unmask.objectives.paths import Truth
from unmask.objectives.rollout import before_step, paths_of
from unmask.objectives.tilted import Credit, tilted_paths
from unmask.objectives.vimco import log_mean_exp, vimco_surrogate
from unmask.reveals import bernoulli

from ..exact.problems import Problem
from .checks import all_paths, all_tilted_paths, assert_same_gradients, check_path_surrogate, gradients


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_chance_times_weight_is_what_the_policy_gives_every_path(budget: int) -> None:
    """r(path) w(path) = p(path) p(x | path), path by path; so the weights average to the exact marginal."""
    problem = Problem.random(0, budget=budget)
    log_likelihood, log_policy = all_paths(problem)
    log_weight, log_drawn = all_tilted_paths(problem)
    assert torch.allclose(log_drawn + log_weight, log_policy + log_likelihood)
    total = log_drawn.exp().sum(-1)
    assert torch.allclose(total, torch.ones_like(total))
    marginal = (log_drawn + log_weight).logsumexp(-1)
    exact = log_marginal(problem.clean, problem.policy, problem.denoiser)
    assert torch.allclose(marginal, exact)
    assert_same_gradients(gradients(problem, marginal.sum()), gradients(problem, exact.sum()))


def misses_of_all_paths(problem: Problem) -> Tensor:
    """[B, number of orders]: positions whose most probable token, when revealed, is not the true one."""
    orders = ordered_partitions(problem.clean.tokens.shape[1], int(problem.clean.budget[0]))
    every = paths_of(problem.clean, len(orders.steps))
    repeated = type(orders)(orders.steps.repeat(len(problem.clean.row), 1))
    misses = torch.zeros(len(every.row), dtype=torch.long)
    for step in range(1, int(problem.clean.budget[0]) + 1):
        canvas = before_step(every, repeated, step)
        denoised = problem.denoiser(canvas)
        best = denoised.to_rows(denoised.logits(slice(None)).argmax(-1), -1)
        misses += ((best != every.tokens) & repeated.revealed_at(step)).sum(-1)
    return misses.view(len(problem.clean.row), -1)


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_weights_of_misses_average_to_their_cost(budget: int) -> None:
    """E_r[w] = E_p[exp(-2 misses)]; with a large cost it is the chance that greedy decoding writes the text."""
    problem = Problem.random(1, budget=budget, rows=6)
    _, log_policy = all_paths(problem)
    misses = misses_of_all_paths(problem)
    for cost, expected in ((2.0, (-2.0 * misses).exp()), (14.0, (misses == 0).double())):
        log_weight, log_drawn = all_tilted_paths(problem, Credit(likelihood=0, miss=cost))
        found = (log_drawn + log_weight).exp().sum(-1)
        assert torch.allclose(found, (log_policy.exp() * expected).sum(-1), atol=1e-5)
    assert 0 < misses.double().mean() < 3


@pytest.mark.parametrize("credit", [Credit(), Credit(0.5, 1.0)])
@pytest.mark.parametrize("samples", [2, 3])
def test_gradient_matches_enumeration_in_theta_and_psi(samples: int, credit: Credit) -> None:
    """Through the weight, through the law that drew the path, and through what both owe to the denoiser."""
    check_path_surrogate(
        vimco_surrogate,
        log_mean_exp,
        Problem.random(1),
        samples,
        lambda problem: all_tilted_paths(problem, credit),
    )


def test_a_score_term_left_out_is_caught() -> None:
    with pytest.raises(AssertionError, match=r"gradient in (theta|psi) is off"):
        check_path_surrogate(
            lambda weight, drawn: vimco_surrogate(weight, drawn.detach()),
            log_mean_exp,
            Problem.random(1),
            2,
            all_tilted_paths,
        )


def test_a_missing_empty_set_in_the_mass_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_normaliser(law: bernoulli.Bernoulli) -> Tensor:
        return -law.coins.log_keep.sum(-1)

    monkeypatch.setattr(bernoulli.Bernoulli, "_log_partition", without_normaliser)
    log_likelihood, log_policy = all_paths(Problem.random(0))
    log_weight, log_drawn = all_tilted_paths(Problem.random(0))
    assert not torch.allclose(log_drawn + log_weight, log_policy + log_likelihood, atol=1e-3)


@pytest.mark.slow
def test_the_gradient_mostly_varies_less_than_that_of_untilted_paths() -> None:
    """Exactly, over all pairs of paths of 20 problems: summed variance of the gradient in psi. Not on every problem."""

    def variance(problem: Problem, values: Tensor, chances: Tensor) -> float:
        pairs = torch.cartesian_prod(*[torch.arange(values.shape[1])] * 2)
        weight = chances[0, pairs].sum(-1).exp().detach()
        kept = weight > 1e-12
        surrogate = vimco.vimco_surrogate(values[0, pairs[kept]], chances[0, pairs[kept]])
        each = torch.stack([torch.autograd.grad(one, problem.psi, retain_graph=True)[0].flatten() for one in surrogate])
        mean = (weight[kept, None] * each).sum(0)
        return float((weight[kept, None] * (each - mean) ** 2).sum())

    ratios = []
    for seed in range(20):
        problem = Problem.random(seed, rows=1, budget=2)
        ratios.append(
            variance(problem, *all_tilted_paths(problem)) / variance(problem, *all_paths(problem))
        )
    assert sorted(ratios)[10] < 0.8, ratios  # the median
    assert math.exp(sum(map(math.log, ratios)) / len(ratios)) < 0.7


def test_a_prompt_weighs_nothing_and_neither_does_a_finished_row() -> None:
    problem = Problem.random(5, rows=3)
    masked = torch.tensor([[True, True, False], [False, False, False], [True, True, True]])
    clean = problem.clean.restrict(masked)
    paths = tilted_paths(clean, problem.policy, problem.denoiser, draws=Draws(0), samples=2)
    assert ((paths.order.steps.view(3, 2, 3) > 0) == masked[:, None]).all()
    for value in (paths.log_weight, paths.log_drawn, paths.entropy, paths.misses):
        assert (value[1] == 0).all()
        assert value.isfinite().all()


def test_drawn_paths_are_as_frequent_as_the_tilted_law_says() -> None:
    rows, samples = 500, 20
    problem = Problem.random(3, rows=1, budget=2).with_clean(torch.zeros(rows, dtype=torch.long))
    with torch.no_grad():
        paths = tilted_paths(
            problem.clean, problem.policy, problem.denoiser, draws=Draws(0), samples=samples, credit=Credit(1, 1)
        )
    kinds, index, counts = torch.unique(paths.order.steps, dim=0, return_inverse=True, return_counts=True)
    expected = torch.zeros(len(kinds), dtype=torch.float64).index_put((index,), paths.log_drawn.flatten().exp())
    assert float(expected.sum()) == pytest.approx(1)
    error = (expected * (1 - expected) / (rows * samples)).sqrt()
    assert ((counts / (rows * samples) - expected).abs() <= 5 * error).all()


def test_misses_are_counted_on_the_drawn_path() -> None:
    problem = Problem.random(7, length=4, rows=5)
    credit = Credit(0, 2)
    paths = tilted_paths(problem.clean, problem.policy, problem.denoiser, draws=Draws(0), samples=3, credit=credit)
    every = paths_of(problem.clean, 3)
    expected = torch.zeros(15, dtype=torch.float64)
    for step in range(1, 4):
        canvas = before_step(every, paths.order, step)
        denoised = problem.denoiser(canvas)
        best = denoised.to_rows(denoised.logits(slice(None)).argmax(-1), -1)
        expected += ((best != every.tokens) & paths.order.revealed_at(step)).sum(-1)
    assert torch.equal(paths.misses.flatten(), expected)


def test_the_likelihood_of_a_path_is_that_of_equation_6b_whatever_the_credit() -> None:
    problem = Problem.random(7, length=4, rows=5)
    settings = {"draws": Draws(0), "samples": 3}
    paths = tilted_paths(problem.clean, problem.policy, problem.denoiser, credit=Credit(0, 2), **settings)
    same = path_log_likelihoods(problem.clean, problem.policy, problem.denoiser, order=paths.order, **settings)
    assert torch.allclose(paths.log_likelihood, same.log_likelihood)
    assert_same_gradients(gradients(problem, paths.log_likelihood.sum()), gradients(problem, same.log_likelihood.sum()))
    assert float(gradients(problem, paths.log_likelihood.sum())["theta"].abs().sum()) > 0.1


def test_credit_by_hand() -> None:
    truth = Truth(torch.tensor([[-0.5, -2.0]]), torch.tensor([[0.0, 1.0]]))
    assert Credit(1, 0).log_factor(truth).tolist() == [[-0.5, -2.0]]
    assert Credit(0, 3).log_factor(truth).tolist() == [[0.0, -3.0]]
    assert replace(Credit(), likelihood=2.0, miss=1.0).log_factor(truth).tolist() == [[-1.0, -5.0]]
