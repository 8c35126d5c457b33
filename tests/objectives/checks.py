"""Estimators against enumeration, as functions of the estimator. Planted bugs are held to the same checks.

Where an estimator is random, its randomness is enumerated too, so the comparisons are exact.
"""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from unmask.core.draws import Draws
from unmask.core.order import Order, ordered_partitions
from unmask.exact.enumerate import all_sets, exact_elbo, log_marginal, set_log_probs
from unmask.objectives.bound import Bound, evaluate_bound
from unmask.objectives.elbo import StepTerm
from unmask.objectives.on_policy import path_log_likelihoods
from unmask.objectives.rloo import stratified_steps
from unmask.objectives.rollout import log_prefix
from unmask.objectives.tilted import Credit, tilted_paths
from unmask.reveals import Bernoulli, RevealLaw, ScoreRatio

from ..exact.problems import Problem
from ..reveals.checks import values_and_masks

StepTermOf = Callable[[RevealLaw, RevealLaw, Tensor, Tensor, Tensor], StepTerm]
EstimateBound = Callable[[Problem, Order, Tensor], Bound]  # at given orders ([B * K] rows) and uniforms [B]
PathSurrogate = Callable[[Tensor, Tensor], Tensor]  # value and log_policy of K paths, each [B, K], to [B]


def gradients(problem: Problem, objective: Tensor) -> dict[str, Tensor]:
    """Of `objective` in theta, psi and phi; 0 where it does not depend on one of them."""
    wanted = problem.parameters
    found = torch.autograd.grad(objective, list(wanted.values()), allow_unused=True, retain_graph=True)
    return {
        name: torch.zeros_like(value) if gradient is None else gradient
        for (name, value), gradient in zip(wanted.items(), found, strict=True)
    }


def assert_same_gradients(estimated: dict[str, Tensor], exact: dict[str, Tensor]) -> None:
    for name, gradient in exact.items():
        assert estimated[name].isfinite().all(), f"gradient in {name} is not finite"
        worst = float((estimated[name] - gradient).abs().max())
        assert worst < 1e-10, f"gradient in {name} is off by {worst}"


def check_step_term(step_term: StepTermOf) -> None:
    """Equation 5 against the sum over all sets of equation 2's step, and against "everything" at the last step."""
    values, masked = values_and_masks(0)
    logits = values_and_masks(1)[0].flip(0)
    log_prob = -values_and_masks(2)[0].abs()
    q, p = ScoreRatio(values, masked, 0.7), Bernoulli(logits, masked)
    log_q, log_p = set_log_probs(q, 4), set_log_probs(p, 4)  # [B, 2^L]
    written = torch.where(masked, log_prob, 0.0) @ all_sets(4).double().T  # [B, 2^L]
    possible = log_q > -torch.inf
    gain = torch.where(possible, log_q.exp() * (written + torch.where(possible, log_p - log_q, 0.0)), 0.0)
    expected = torch.where(masked.any(-1), gain.sum(-1), 0.0)
    never, always = torch.zeros(len(values), dtype=torch.bool), torch.ones(len(values), dtype=torch.bool)
    assert torch.allclose(step_term(q, p, log_prob, masked, never).value(), expected, atol=1e-9)
    everything = torch.where(masked, log_prob, 0.0).sum(-1)
    assert torch.allclose(step_term(q, p, log_prob, masked, always).value(), everything, atol=1e-12)


def expected_bound(
    estimate: EstimateBound, problem: Problem, samples: int = 2, cells: int = 6, orders: Order | None = None
) -> tuple[Tensor, Tensor]:
    """Exact expectation over K-tuples of orders and over steps: of the elbo, and of the surrogate's gradient.

    `orders`: every one the posterior can draw; those that skip no step unless given.
    `cells`: the uniform is constant on that many equal parts of (0, 1); a multiple of T times steps per row.
    Returns elbo [B], and a scalar whose gradient is the expected gradient of the surrogates' sum.
    """
    rows, length = problem.clean.tokens.shape
    budget = int(problem.clean.budget[0])
    orders = ordered_partitions(length, budget) if orders is None else orders
    many = len(orders.steps)
    each = problem.with_clean(torch.arange(rows).repeat_interleave(many))
    repeated = Order(orders.steps.repeat(rows, 1))
    log_q = log_prefix(each.clean, repeated, each.phi, each.law)[:, -1].view(rows, many).detach()  # [B, many]
    assert torch.allclose(log_q.exp().sum(-1), torch.ones(rows, dtype=torch.float64))

    tuples = torch.tensor(list(product(range(many), repeat=samples)))  # [N, K]
    row = torch.arange(rows).repeat_interleave(len(tuples) * cells)
    chosen = tuples.repeat(rows, 1).repeat_interleave(cells, dim=0)  # [B * N * cells, K]
    uniform = ((torch.arange(cells) + 0.5).double() / cells).repeat(rows * len(tuples))
    weight = log_q[row[:, None], chosen].sum(-1).exp() / cells
    possible = weight > 0
    row, chosen, uniform, weight = row[possible], chosen[possible], uniform[possible], weight[possible]
    bound = estimate(problem.with_clean(row), Order(orders.steps[chosen.flatten()]), uniform)
    elbo = torch.zeros(rows, dtype=torch.float64).index_add(0, row, weight * bound.elbo)
    return elbo, (weight * bound.surrogate).sum()


def estimate_bound(problem: Problem, order: Order, uniform: Tensor, steps_per_row: int = 1) -> Bound:
    """The estimator of the library, its randomness given."""
    samples = len(order.steps) // len(uniform)
    steps = stratified_steps(problem.clean.budget, steps_per_row, uniform)[:, None].expand(-1, samples, -1)
    return evaluate_bound(
        problem.clean,
        order,
        steps,
        problem.phi,
        problem.law,
        policy=problem.policy,
        denoiser=problem.denoiser,
    )


def check_bound_estimate(estimate: EstimateBound, problem: Problem, orders: Order | None = None) -> None:
    """The expected elbo is the bound of equation 2, and not above log p(x)."""
    elbo, _ = expected_bound(estimate, problem, orders=orders)
    exact = exact_elbo(problem.clean, problem.posterior, problem.policy, problem.denoiser)
    assert (elbo <= log_marginal(problem.clean, problem.policy, problem.denoiser) + 1e-10).all()
    assert torch.allclose(elbo, exact, atol=1e-10), (elbo, exact)


def check_bound_gradient(estimate: EstimateBound, problem: Problem, orders: Order | None = None) -> None:
    """The expected gradient of the surrogate is that of equation 2, for theta, psi and phi each."""
    _, surrogate = expected_bound(estimate, problem, orders=orders)
    exact = exact_elbo(problem.clean, problem.posterior, problem.policy, problem.denoiser).sum()
    expected = gradients(problem, exact)
    if int(problem.clean.budget.max()) > 1:
        assert all(float(gradient.abs().max()) > 1e-3 for gradient in expected.values())
    assert_same_gradients(gradients(problem, surrogate), expected)


def all_paths(problem: Problem) -> tuple[Tensor, Tensor]:
    """log_likelihood and log_policy of every order within the budget, each [B, number of orders]."""
    rows, length = problem.clean.tokens.shape
    orders = ordered_partitions(length, int(problem.clean.budget[0]))
    paths = path_log_likelihoods(
        problem.clean,
        problem.policy,
        problem.denoiser,
        draws=Draws(0),
        samples=len(orders.steps),
        order=Order(orders.steps.repeat(rows, 1)),
    )
    return paths.log_likelihood, paths.log_policy


LIKELIHOOD = Credit()


def all_tilted_paths(problem: Problem, credit: Credit = LIKELIHOOD) -> tuple[Tensor, Tensor]:
    """log_weight and log_drawn of every order within the budget, each [B, number of orders]."""
    rows, length = problem.clean.tokens.shape
    orders = ordered_partitions(length, int(problem.clean.budget[0]))
    paths = tilted_paths(
        problem.clean,
        problem.policy,
        problem.denoiser,
        draws=Draws(0),
        samples=len(orders.steps),
        credit=credit,
        order=Order(orders.steps.repeat(rows, 1)),
    )
    return paths.log_weight, paths.log_drawn


def check_path_surrogate(
    surrogate: PathSurrogate,
    objective: Callable[[Tensor], Tensor],
    problem: Problem,
    samples: int,
    paths: Callable[[Problem], tuple[Tensor, Tensor]] = all_paths,
) -> None:
    """Value and gradients in theta and psi, expected over all K-tuples of the drawn paths, match `objective`.

    objective: [B, N, K] values of paths to [B, N], of which the surrogate should give the expected gradient.
    paths: value and log-probability of every path, [B, P] each.
    """
    log_likelihood, log_policy = paths(problem)  # [B, P]
    tuples = torch.tensor(list(product(range(log_policy.shape[1]), repeat=samples)))  # [N, K]
    values, chances = log_likelihood[:, tuples], log_policy[:, tuples]  # [B, N, K]
    weight = chances.sum(-1).exp()  # [B, N]
    exact = (weight * objective(values)).sum()
    given = surrogate(values.flatten(0, 1), chances.flatten(0, 1)).view_as(weight)
    estimated = (weight.detach() * given).sum()
    assert torch.allclose(estimated, exact, atol=1e-10), (estimated, exact)
    expected = gradients(problem, exact)
    assert float(expected["theta"].abs().max()) > 1e-3
    assert float(expected["psi"].abs().max()) > 1e-3  # no budget of 1, or the comparison says nothing
    assert_same_gradients(gradients(problem, estimated), expected)
