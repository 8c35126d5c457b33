"""Every mistake we know of, made on purpose: the check that guards against it must fail."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from unmask.core.draws import StepDraws
from unmask.core.numerics import log1mexp
from unmask.core.order import Order
from unmask.exact.enumerate import log_marginal
from unmask.objectives import bound, rloo, vimco
from unmask.objectives.bound import Bound, StepValues, step_values
from unmask.objectives.elbo import StepTerm, step_term
from unmask.objectives.vimco import log_mean_exp
from unmask.reveals import Bernoulli, RevealLaw, ScoreRatio
from unmask.reveals.coins import Coins

from ..exact.problems import Problem
from ..reveals.checks import (
    check_finished_rows,
    check_frequencies,
    check_inclusion,
    check_sums_to_one,
)
from .checks import (
    all_paths,
    check_bound_estimate,
    check_bound_gradient,
    check_path_surrogate,
    check_step_term,
    estimate_bound,
)

PROBLEM = Problem.random(0, budget=3)


def mean_of_all(value: Tensor) -> Tensor:
    return value.mean(-1, keepdim=True).expand_as(value)


def test_a_baseline_that_knows_its_own_sample_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rloo, "leave_one_out_mean", mean_of_all)
    with pytest.raises(AssertionError, match="gradient in phi is off"):
        check_bound_gradient(estimate_bound, PROBLEM)
    with pytest.raises(AssertionError, match="gradient in psi is off"):
        check_path_surrogate(rloo.rloo_surrogate, lambda value: value.mean(-1), PROBLEM, 2)


def test_a_vimco_baseline_that_knows_its_own_sample_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vimco, "leave_one_out_mean", mean_of_all)
    with pytest.raises(AssertionError, match="gradient in psi is off"):
        check_path_surrogate(vimco.vimco_surrogate, log_mean_exp, PROBLEM, 2)


@dataclass(frozen=True)
class Unnormalised(Bernoulli):
    """Conditioned on revealing something, but the normaliser forgotten."""

    @property
    def coins(self) -> Coins:
        coins = super().coins
        return coins._replace(log_normaliser=torch.zeros_like(coins.log_normaliser))


def test_a_missing_non_empty_normaliser_is_caught() -> None:
    with pytest.raises(AssertionError):
        check_sums_to_one(Unnormalised)
    with pytest.raises(AssertionError):
        check_frequencies(Unnormalised)

    def unnormalised_term(q: RevealLaw, p: RevealLaw, *rest: Tensor) -> StepTerm:
        assert isinstance(p, Bernoulli)
        return step_term(q, replace(p, non_empty=False), *rest)

    with pytest.raises(AssertionError):
        check_step_term(unnormalised_term)


def without_log_q(q: RevealLaw, p: RevealLaw, log_prob: Tensor, masked: Tensor, last_step: Tensor) -> StepTerm:
    """Cross-entropy where the divergence should be: -E log p, the entropy of q left out."""
    term = step_term(q, p, log_prob, masked, last_step)
    return term._replace(kl=term.kl - torch.where(last_step, 0.0, -q.entropy()))


def test_a_forgotten_log_q_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        check_step_term(without_log_q)
    monkeypatch.setattr(bound, "step_term", without_log_q)
    with pytest.raises(AssertionError):
        check_bound_estimate(estimate_bound, PROBLEM)


@dataclass(frozen=True)
class Unguarded(ScoreRatio):
    """The max over an empty set left as it is: -inf."""

    @property
    def coins(self) -> Coins:
        scores = torch.where(self.masked, self.scores, -torch.inf)
        log_prob = (scores - scores.amax(-1, keepdim=True)) / self.tau
        certain = log_prob >= 0
        return Coins(self.masked, certain, log_prob, log1mexp(log_prob), torch.zeros_like(log_prob[:, 0]))


def test_nan_on_finished_rows_is_caught() -> None:
    with pytest.raises(AssertionError):
        check_finished_rows(Unguarded)


def dropped_when_finished(*arguments: object, **options: object) -> StepValues:
    """The score term of a row only where it had something to reveal."""
    values = step_values(*arguments, **options)  # type: ignore[arg-type]
    alive = values.term.tokens != 0
    return values._replace(log_prefix=torch.where(alive, values.log_prefix, values.log_prefix.detach()))


def test_a_dropped_score_term_of_finished_rows_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "step_values", dropped_when_finished)
    check_bound_estimate(estimate_bound, PROBLEM)  # the value does not show it
    with pytest.raises(AssertionError, match="gradient in phi is off"):
        check_bound_gradient(estimate_bound, PROBLEM)


def steps_the_path_took(problem: Problem, order: Order, uniform: Tensor) -> Bound:
    """Each path's step drawn among its own, and weighed by how many those are."""
    taken = order.num_steps.view(len(uniform), -1)  # [B, K]
    steps = (uniform[:, None] * taken).floor().long() + 1
    values = step_values(
        problem.clean,
        order,
        steps[..., None],
        problem.phi,
        problem.law,
        policy=problem.policy,
        denoiser=problem.denoiser,
    )
    value, prefix = taken * values.term.value().squeeze(-1), values.log_prefix.squeeze(-1)
    elbo = value.detach().mean(-1)
    nothing = torch.zeros_like(elbo)
    return Bound(rloo.rloo_surrogate(value, prefix), elbo, nothing, nothing, nothing, nothing, values.passes)


def test_a_step_drawn_among_those_a_path_took_is_caught() -> None:
    check_bound_estimate(steps_the_path_took, PROBLEM)  # the value does not show it
    with pytest.raises(AssertionError, match="gradient in phi is off"):
        check_bound_gradient(steps_the_path_took, PROBLEM)


@dataclass(frozen=True)
class ForcedArgmax(Bernoulli):
    """Independent coins, and the most likely position when all of them fail."""

    def sample(self, draws: StepDraws) -> Tensor:
        coin = self.masked & (draws.uniform("reveal") < self.probabilities())
        best = torch.where(self.masked, self.logits, -torch.inf).argmax(-1, keepdim=True)
        forced = torch.zeros_like(coin).scatter(1, best, True) & self.masked
        return torch.where(coin.any(-1, keepdim=True), coin, forced)


def test_forcing_the_argmax_when_all_coins_fail_is_caught() -> None:
    check_inclusion(ForcedArgmax)  # what it says of itself is right, but it draws another law
    with pytest.raises(AssertionError):
        check_frequencies(ForcedArgmax)


def kept_as_weights(log_likelihood: Tensor, log_policy: Tensor) -> Tensor:
    """Path probabilities in the bound, though the paths were drawn with them already."""
    return vimco.vimco_surrogate(log_likelihood + log_policy, log_policy)


def test_path_probabilities_kept_as_weights_are_caught() -> None:
    log_likelihood, log_policy = all_paths(PROBLEM)
    marginal = log_marginal(PROBLEM.clean, PROBLEM.policy, PROBLEM.denoiser)
    drawn = (log_policy.exp() * log_likelihood.exp()).sum(-1)
    assert torch.allclose(drawn, marginal.exp())
    with pytest.raises(AssertionError):
        check_path_surrogate(kept_as_weights, log_mean_exp, PROBLEM, 2)


def no_score_term(advantage: Tensor, log_prob: Tensor) -> Tensor:
    return torch.zeros_like(advantage)


def test_a_forgotten_score_term_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rloo, "score_term", no_score_term)
    with pytest.raises(AssertionError, match="gradient in phi is off"):
        check_bound_gradient(estimate_bound, PROBLEM)


def test_the_checks_pass_on_what_they_should_pass() -> None:
    check_step_term(step_term)
    check_bound_estimate(estimate_bound, PROBLEM)
    check_bound_gradient(estimate_bound, PROBLEM)
    check_path_surrogate(vimco.vimco_surrogate, log_mean_exp, PROBLEM, 2)
    for make in (Bernoulli, ScoreRatio):
        check_sums_to_one(make)
        check_finished_rows(make)
        check_frequencies(make)
