import math

import pytest
import torch

from unmask.core.draws import Draws
from unmask.core.order import Order, ordered_partitions
from unmask.exact.enumerate import log_marginal
from unmask.objectives.on_policy import path_log_likelihoods
from unmask.objectives.vimco import Baseline, importance_bound, log_mean_exp, vimco_surrogate
from unmask.reveals import Bernoulli, RevealLaw

from ..exact.problems import Problem
from .checks import all_paths, check_path_surrogate

baselines = pytest.mark.parametrize("baseline", ["geometric", "arithmetic"])


@baselines
@pytest.mark.parametrize("samples", [2, 3])
def test_vimco_gradient_matches_enumeration_in_theta_and_psi(samples: int, baseline: Baseline) -> None:
    check_path_surrogate(
        lambda value, log_policy: vimco_surrogate(value, log_policy, baseline),
        log_mean_exp,
        Problem.random(1),
        samples,
    )


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_more_samples_tighten_a_bound_that_stays_below_the_marginal(budget: int) -> None:
    problem = Problem.random(2, budget=budget)
    log_likelihood, log_policy = all_paths(problem)
    marginal = log_marginal(problem.clean, problem.policy, problem.denoiser)
    index = torch.arange(log_policy.shape[1])
    before = torch.full_like(marginal, -math.inf)
    for samples in (1, 2, 3):
        tuples = torch.cartesian_prod(*[index] * samples).view(-1, samples)
        weight = log_policy[:, tuples].sum(-1).exp()
        bound = (weight * log_mean_exp(log_likelihood[:, tuples])).sum(-1)
        assert (bound <= marginal + 1e-12).all()
        assert (bound >= before - 1e-12).all()
        before = bound
    if budget == 1:
        assert torch.allclose(before, marginal)


def test_signals_by_hand() -> None:
    # weights 1 and e^2: bound log((1 + e^2) / 2); without a sample both weights are the other's
    value = torch.tensor([[0.0, 2.0]])
    log_policy = torch.zeros(1, 2, requires_grad=True)
    surrogate = vimco_surrogate(value, log_policy)
    bound = math.log((1 + math.exp(2)) / 2)
    assert surrogate.item() == pytest.approx(bound)
    surrogate.sum().backward()
    assert log_policy.grad is not None
    assert log_policy.grad.tolist()[0] == pytest.approx([bound - 2, bound - 0])


def test_very_small_likelihoods_do_not_underflow() -> None:
    value = torch.tensor([[-900.0, -905.0, -1000.0]], requires_grad=True)
    log_policy = torch.zeros(1, 3, requires_grad=True)
    for baseline in ("geometric", "arithmetic"):
        surrogate = vimco_surrogate(value, log_policy, baseline)
        assert surrogate.item() == pytest.approx(-900 + math.log1p(math.exp(-5)) - math.log(3), rel=1e-6)
        surrogate.sum().backward()
    for gradient in (value.grad, log_policy.grad):
        assert gradient is not None
        assert gradient.isfinite().all()


def test_a_proposal_is_weighed_to_the_same_marginal_and_stays_a_bound() -> None:
    problem = Problem.random(3, rows=1)
    orders = ordered_partitions(3, 3)

    def hotter(law: RevealLaw) -> RevealLaw:
        assert isinstance(law, Bernoulli)
        return Bernoulli(law.logits / 2, law.masked)

    paths = path_log_likelihoods(
        problem.clean,
        problem.policy,
        problem.denoiser,
        draws=Draws(0),
        samples=13,
        order=Order(orders.steps),
        proposal=hotter,
    )
    assert not torch.allclose(paths.log_policy, paths.log_proposal)
    drawn = paths.log_proposal.exp()
    assert float(drawn.sum()) == pytest.approx(1)
    weight = (paths.log_likelihood + paths.log_policy - paths.log_proposal).exp()
    marginal = log_marginal(problem.clean, problem.policy, problem.denoiser).exp()
    assert torch.allclose((drawn * weight).sum(-1), marginal)
    tuples = torch.cartesian_prod(torch.arange(13), torch.arange(13))
    pairs = paths._replace(
        log_likelihood=paths.log_likelihood[0, tuples],
        log_policy=paths.log_policy[0, tuples],
        log_proposal=paths.log_proposal[0, tuples],
    )
    expected = (pairs.log_proposal.sum(-1).exp() * importance_bound(pairs)).sum()
    assert expected.item() <= marginal.log().item() + 1e-12
