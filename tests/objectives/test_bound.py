from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.order import Order
from unmask.denoisers.base import Denoised
from unmask.exact.enumerate import exact_elbo
from unmask.objectives.bound import bound_surrogate, evaluate_bound
from unmask.objectives.rollout import draw_orders, log_prefix, paths_of

from ..exact.problems import Problem
from .checks import check_bound_estimate, check_bound_gradient, estimate_bound, gradients


@pytest.mark.parametrize("budget", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_expected_elbo_is_the_exact_bound(seed: int, budget: int) -> None:
    check_bound_estimate(estimate_bound, Problem.random(seed, budget=budget))


@pytest.mark.parametrize("budget", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_expected_gradient_is_the_exact_one_for_theta_psi_and_phi(seed: int, budget: int) -> None:
    check_bound_gradient(estimate_bound, Problem.random(seed, budget=budget))


@pytest.mark.parametrize("steps_per_row", [2, 3])
def test_several_stratified_steps_leave_value_and_gradient_unbiased(steps_per_row: int) -> None:
    estimate = partial(estimate_bound, steps_per_row=steps_per_row)
    problem = Problem.random(2, budget=3 if steps_per_row == 2 else 2)
    check_bound_estimate(estimate, problem)
    check_bound_gradient(estimate, problem)


@pytest.mark.slow
def test_drawn_estimates_average_to_the_exact_bound_and_gradient() -> None:
    # 60 groups of 50 copies of each of two texts; 5 standard errors of the mean over the groups
    problem = Problem.random(3, budget=3)
    exact = exact_elbo(problem.clean, problem.posterior, problem.policy, problem.denoiser)
    expected = {"elbo": exact.detach().mean(), **gradients(problem, exact.mean())}
    found: dict[str, list[Tensor]] = {name: [] for name in expected}
    copies = problem.with_clean(torch.arange(2).repeat(50))
    for seed in range(60):
        bound = bound_surrogate(
            copies.clean, copies.phi, copies.law, copies.policy, copies.denoiser, draws=Draws(seed), samples=2
        )
        found["elbo"].append(bound.elbo.mean())
        for name, gradient in gradients(problem, bound.surrogate.mean()).items():
            found[name].append(gradient)
    for name, values in found.items():
        samples = torch.stack(values)
        error = samples.std(0) / len(values) ** 0.5
        assert ((samples.mean(0) - expected[name]).abs() <= 5 * error + 1e-12).all(), name


def test_beta_leaves_the_reported_elbo_alone() -> None:
    problem = Problem.random(4)
    plain, weighed = (
        bound_surrogate(
            problem.clean,
            problem.phi,
            problem.law,
            problem.policy,
            problem.denoiser,
            draws=Draws(0),
            beta=beta,
        )
        for beta in (1.0, 0.0)
    )
    assert torch.equal(plain.elbo, weighed.elbo)
    assert torch.allclose(plain.surrogate, plain.tokens - plain.kl)
    assert torch.allclose(weighed.surrogate, weighed.tokens)


def test_the_denoiser_sees_each_unfinished_path_and_step_once_and_step_one_once_per_row() -> None:
    problem = Problem.random(5, rows=3, budget=4)
    seen: list[Canvas] = []

    def watching(canvas: Canvas) -> Denoised:
        seen.append(canvas)
        return problem.denoiser(canvas)

    order = Order(torch.tensor([[1, 1, 1], [1, 2, 3]] * 3))
    steps = torch.tensor([1, 1, 2, 4]).expand(3, 2, 4)  # path 0 has finished after step 1, path 1 after step 3
    scores = torch.zeros(3, 3, dtype=torch.float64)
    bound = evaluate_bound(problem.clean, order, steps, scores, problem.law, policy=problem.policy, denoiser=watching)
    assert len(seen) == 1
    assert seen[0].unfinished.all()
    assert sorted(seen[0].step.tolist()) == [0, 0, 0, 1, 1, 1]
    assert bound.passes == 6


def test_when_every_drawn_step_is_past_the_end_nothing_runs_and_gradients_are_finite() -> None:
    problem = Problem.random(6, rows=1, budget=4)
    problem = replace(problem, phi=torch.zeros(1, 3, dtype=torch.float64, requires_grad=True))
    bound = evaluate_bound(
        problem.clean,
        Order(torch.ones(2, 3, dtype=torch.long)),
        torch.full((1, 2, 1), 3),
        problem.phi,
        problem.law,
        policy=problem.policy,
        denoiser=problem.denoiser,
    )
    assert bound.passes == 0
    assert bound.elbo.tolist() == [0.0]
    (gradient,) = torch.autograd.grad(bound.surrogate.sum(), problem.phi)
    assert (gradient == 0).all()


def test_a_row_estimates_the_same_alone_and_in_a_batch() -> None:
    problem = Problem.random(7, rows=6, budget=3)
    here = torch.tensor([4])
    together, alone = (
        bound_surrogate(clean, phi, problem.law, problem.policy, problem.denoiser, draws=Draws(1))
        for clean, phi in ((problem.clean, problem.phi), (problem.clean.take(here), problem.phi[here]))
    )
    assert torch.allclose(alone.elbo[0], together.elbo[4])


def test_one_sample_is_refused() -> None:
    problem = Problem.random(8)
    networks = (problem.law, problem.policy, problem.denoiser)
    with pytest.raises(ValueError, match="at least 2 samples per row, not 1"):
        bound_surrogate(problem.clean, problem.phi, *networks, draws=Draws(0), samples=1)


def test_drawn_orders_are_as_frequent_as_their_probability() -> None:
    count = 20_000
    problem = Problem.random(9, rows=1, budget=2)
    paths = paths_of(problem.clean, count)
    scores = problem.phi.detach().expand(count, -1)
    order = draw_orders(paths, scores, problem.law, Draws(0))
    assert (order.num_steps <= 2).all()
    chance = log_prefix(paths, order, scores, problem.law)[:, -1].exp()
    kinds, index, counts = torch.unique(order.steps, dim=0, return_inverse=True, return_counts=True)
    expected = torch.zeros(len(kinds), dtype=torch.float64).index_put((index,), chance)
    assert float(expected.sum()) == pytest.approx(1)
    error = (expected * (1 - expected) / count).sqrt()
    assert ((counts / count - expected).abs() <= 5 * error).all()


def test_rows_with_different_budgets_keep_within_them() -> None:
    clean = Problem.random(10, rows=3).clean
    clean = replace(clean, budget=torch.tensor([1, 2, 3]))
    scores = torch.tensor([[9.0, 4.0, 0.0]] * 3)
    problem = Problem.random(10, rows=3, tau=0.1)
    order = draw_orders(clean, scores, problem.law, Draws(0))
    assert order.steps.tolist() == [[1, 1, 1], [1, 2, 2], [1, 2, 3]]
    prefix = log_prefix(clean, order, scores, problem.law)
    assert prefix[0].tolist() == [0.0, 0.0, 0.0]
