from dataclasses import replace

import pytest
import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.order import Order
from unmask.denoisers.base import Denoised
from unmask.exact.enumerate import log_marginal
from unmask.objectives.on_policy import path_log_likelihoods
from unmask.objectives.rollout import before_step, paths_of

from ..exact.problems import Problem
from .checks import all_paths, assert_same_gradients, gradients


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_all_paths_sum_to_one_and_their_likelihoods_to_the_marginal(budget: int) -> None:
    problem = Problem.random(0, budget=budget)
    log_likelihood, log_policy = all_paths(problem)
    total = log_policy.exp().sum(-1)
    assert torch.allclose(total, torch.ones_like(total))
    marginal = (log_likelihood + log_policy).logsumexp(-1)
    exact = log_marginal(problem.clean, problem.policy, problem.denoiser)
    assert torch.allclose(marginal, exact)
    assert_same_gradients(gradients(problem, marginal.sum()), gradients(problem, exact.sum()))


def naive(problem: Problem, draws: Draws, samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every path by itself, every step in full: no sharing, no compaction."""
    canvas = paths_of(problem.clean, samples)
    likelihood, chosen = torch.zeros(2, len(canvas.row), dtype=torch.float64)
    steps = torch.zeros_like(canvas.tokens)
    for step in range(1, int(canvas.budget.max()) + 1):
        denoised = problem.denoiser(canvas)
        law = problem.policy(canvas, denoised)
        positions = torch.where(canvas.last_step[:, None], canvas.masked, law.sample(draws.at(canvas)))
        log_prob = denoised.to_rows(denoised.log_prob(denoised.from_rows(canvas.tokens)), 0.0)
        likelihood = likelihood + (log_prob * positions).sum(-1)
        chosen = chosen + torch.where(canvas.last_step, 0.0, law.log_prob(positions))
        steps = steps + step * positions.long()
        canvas = canvas.reveal(positions, canvas.tokens)
    return likelihood.view(-1, samples), chosen.view(-1, samples), steps


def test_sharing_the_first_step_and_dropping_finished_rows_changes_nothing() -> None:
    problem = Problem.random(1, length=5, budget=4, rows=7)
    problem = replace(problem, clean=replace(problem.clean, budget=torch.tensor([1, 2, 3, 4, 4, 4, 2])))
    paths = path_log_likelihoods(problem.clean, problem.policy, problem.denoiser, draws=Draws(5), samples=3)
    likelihood, chosen, steps = naive(problem, Draws(5), 3)
    assert torch.equal(paths.order.steps, steps)
    assert torch.allclose(paths.log_likelihood, likelihood)
    assert torch.allclose(paths.log_policy, chosen)
    assert torch.equal(paths.log_proposal, paths.log_policy.detach())


def test_the_denoiser_sees_each_row_once_at_first_and_then_only_unfinished_paths() -> None:
    problem = Problem.random(2, length=4, budget=4, rows=3)
    seen: list[Canvas] = []

    def watching(canvas: Canvas) -> Denoised:
        seen.append(canvas)
        return problem.denoiser(canvas)

    paths = path_log_likelihoods(problem.clean, problem.policy, watching, draws=Draws(0), samples=8)
    assert len(seen[0].row) == 3
    assert all(canvas.unfinished.all() for canvas in seen)
    assert [len(canvas.row) for canvas in seen[1:]] == [
        int((paths.order.num_steps >= step).sum()) for step in range(2, len(seen) + 1)
    ]


def test_drawn_paths_are_as_frequent_as_their_probability() -> None:
    rows, samples = 500, 20
    problem = Problem.random(3, rows=1, budget=2).with_clean(torch.zeros(rows, dtype=torch.long))
    with torch.no_grad():
        paths = path_log_likelihoods(problem.clean, problem.policy, problem.denoiser, draws=Draws(0), samples=samples)
    kinds, index, counts = torch.unique(paths.order.steps, dim=0, return_inverse=True, return_counts=True)
    expected = torch.zeros(len(kinds), dtype=torch.float64).index_put((index,), paths.log_policy.flatten().exp())
    assert float(expected.sum()) == pytest.approx(1)
    error = (expected * (1 - expected) / (rows * samples)).sqrt()
    assert ((counts / (rows * samples) - expected).abs() <= 5 * error).all()


def test_replaying_drawn_paths_gives_the_same_numbers() -> None:
    problem = Problem.random(4, length=4)
    drawn = path_log_likelihoods(problem.clean, problem.policy, problem.denoiser, draws=Draws(1), samples=4)
    again = path_log_likelihoods(
        problem.clean, problem.policy, problem.denoiser, draws=Draws(2), samples=4, order=drawn.order
    )
    for name in ("log_likelihood", "log_policy", "entropy"):
        assert torch.allclose(getattr(drawn, name), getattr(again, name))
    assert torch.equal(drawn.order.steps, again.order.steps)


def test_a_prompt_is_never_scored_and_a_finished_row_counts_nothing() -> None:
    problem = Problem.random(5, rows=3)
    masked = torch.tensor([[True, True, False], [False, False, False], [True, True, True]])
    clean = problem.clean.restrict(masked)
    paths = path_log_likelihoods(clean, problem.policy, problem.denoiser, draws=Draws(0), samples=2)
    steps = paths.order.steps.view(3, 2, 3)
    assert ((steps > 0) == masked[:, None]).all()
    for value in (paths.log_likelihood, paths.log_policy, paths.entropy):
        assert (value[1] == 0).all()
        assert value.isfinite().all()


def test_entropy_of_a_path_is_that_of_its_laws() -> None:
    problem = Problem.random(6, budget=2, rows=1)
    order = Order(torch.tensor([[1, 2, 2], [1, 1, 1]]))
    paths = path_log_likelihoods(
        problem.clean, problem.policy, problem.denoiser, draws=Draws(0), samples=2, order=order
    )
    first = problem.policy(problem.clean, problem.denoiser(problem.clean)).entropy()
    assert torch.allclose(paths.entropy[0], first.expand(2))  # step 2 is the last: no choice


def test_misses_count_where_greedy_decoding_would_have_written_something_else() -> None:
    problem = Problem.random(7, length=4, rows=5)
    paths = path_log_likelihoods(problem.clean, problem.policy, problem.denoiser, draws=Draws(0), samples=3)
    every = paths_of(problem.clean, 3)
    expected = torch.zeros(15, dtype=torch.float64)
    for step in range(1, 4):
        canvas = before_step(every, paths.order, step)
        denoised = problem.denoiser(canvas)
        best = denoised.to_rows(denoised.logits(slice(None)).argmax(-1), -1)
        expected += ((best != every.tokens) & paths.order.revealed_at(step)).sum(-1)
    assert torch.equal(paths.misses.flatten(), expected)
    assert not paths.misses.requires_grad
