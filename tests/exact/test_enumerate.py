import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws, StepDraws
from unmask.core.order import Order, ordered_partitions
from unmask.denoisers.base import Denoised
from unmask.exact.enumerate import (
    Lattice,
    Transitions,
    _with_last_step,
    all_sets,
    decode_marginal,
    exact_elbo,
    log_marginal,
    set_log_probs,
    set_number,
)
from unmask.objectives.rollout import before_step
from unmask.reveals import Bernoulli, Certain, RevealLaw

from .problems import Problem, exact_denoiser, random_joint


def test_sets_are_numbered_as_they_are_listed() -> None:
    assert torch.equal(set_number(all_sets(4)), torch.arange(16))


@pytest.mark.parametrize(("length", "vocabulary"), [(1, 1), (3, 2), (2, 3)])
def test_transitions_are_complete_and_reveal_what_they_say(length: int, vocabulary: int) -> None:
    moves = Transitions.of(length, vocabulary)
    assert len(moves.source) == (2 * vocabulary + 1) ** length
    assert len({*zip(moves.source.tolist(), moves.target.tolist(), strict=True)}) == len(moves.source)
    assert torch.equal(moves.source == moves.target, ~moves.revealed.any(-1))


@pytest.mark.parametrize("budget", [1, 2, 3, 4])
def test_the_decoding_law_sums_to_one(budget: int) -> None:
    problem = Problem.random(0, budget=budget)
    marginal = decode_marginal(problem.denoiser, problem.policy, length=3, vocabulary=2, budget=budget)
    assert marginal.shape == (2, 2, 2)
    assert float(marginal.detach().sum()) == pytest.approx(1, abs=1e-12)


def test_one_step_writes_the_product_of_the_marginals() -> None:
    problem = Problem.random(1, budget=1)
    blank = problem.denoiser.logits[-1].softmax(-1)  # [L, V], the context where nothing is visible
    product = torch.einsum("a,b,c->abc", *blank)
    assert torch.allclose(decode_marginal(problem.denoiser, problem.policy, length=3, vocabulary=2, budget=1), product)


def test_one_position_per_step_of_the_true_conditionals_writes_the_joint_itself() -> None:
    def rightmost(canvas: Canvas, denoised: Denoised) -> Certain:
        place = torch.arange(canvas.masked.shape[-1])
        last = torch.where(canvas.masked, place, -1).amax(-1, keepdim=True)
        return Certain(place == last, canvas.masked)

    marginal = decode_marginal(exact_denoiser(0, 4, 3), rightmost, length=4, vocabulary=3, budget=4)
    assert torch.allclose(marginal, random_joint(0, 4, 3), atol=1e-12)


def test_a_prompt_is_kept_and_the_rest_sums_to_one() -> None:
    problem = Problem.random(2, budget=2)
    marginal = decode_marginal(
        problem.denoiser, problem.policy, length=3, vocabulary=2, budget=2, start=torch.tensor([2, 1, 2])
    )
    assert float(marginal[:, 1].detach().sum()) == pytest.approx(1, abs=1e-12)
    assert (marginal[:, 0] == 0).all()


def test_a_policy_that_may_reveal_nothing_still_finishes_within_its_budget() -> None:
    problem = Problem.random(2, budget=3)

    def timid(canvas: Canvas, denoised: Denoised) -> Bernoulli:
        return replace(problem.policy(canvas, denoised), non_empty=False)

    marginal = decode_marginal(problem.denoiser, timid, length=3, vocabulary=2, budget=3)
    assert float(marginal.detach().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("budget", [1, 2, 3, 5])
def test_the_marginal_of_each_text_is_its_entry_in_the_decoding_law(budget: int) -> None:
    problem = Problem.random(3, budget=budget, rows=5)
    marginal = decode_marginal(problem.denoiser, problem.policy, length=3, vocabulary=2, budget=budget)
    entries = marginal[tuple(problem.clean.tokens.T)]
    assert torch.allclose(log_marginal(problem.clean, problem.policy, problem.denoiser).exp(), entries)


def walk(problem: Problem, order: Order) -> tuple[Tensor, Tensor, Tensor]:
    """Summed log p_theta, log p_psi and log q along given orders of every row, step by step from the definition."""
    clean = problem.clean
    tokens, policy, posterior = (torch.zeros(len(clean.row), dtype=torch.float64) for _ in range(3))
    for step in range(1, int(clean.budget.max()) + 1):
        canvas, chosen = before_step(clean, order, step), order.revealed_at(step)
        denoised = problem.denoiser(canvas)
        log_prob = denoised.to_rows(denoised.log_prob(denoised.from_rows(clean.tokens)), 0.0)
        tokens = tokens + (log_prob * chosen).sum(-1)
        if step < int(clean.budget.max()):
            policy = policy + problem.policy(canvas, denoised).log_prob(chosen)
            posterior = posterior + problem.posterior(canvas, clean.tokens).log_prob(chosen)
    return tokens, policy, posterior


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_bound_and_marginal_match_the_sum_over_all_orders(budget: int) -> None:
    problem = Problem.random(4, budget=budget, rows=3)
    orders = ordered_partitions(3, budget)
    marginal = torch.zeros(3, dtype=torch.float64)
    bound = torch.zeros(3, dtype=torch.float64)
    for steps in orders.steps:
        tokens, policy, posterior = walk(problem, Order(steps.expand(3, 3)))
        marginal = marginal + (tokens + policy).exp()
        drawn = posterior > -math.inf  # orders that leave out the certain position have probability 0
        bound = bound + torch.where(drawn, posterior.exp() * (tokens + policy - posterior), 0.0)
    assert torch.allclose(log_marginal(problem.clean, problem.policy, problem.denoiser), marginal.log())
    exact = exact_elbo(problem.clean, problem.posterior, problem.policy, problem.denoiser)
    assert torch.allclose(exact, bound)


@pytest.mark.parametrize("budget", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_bound_is_never_above_the_marginal(seed: int, budget: int) -> None:
    problem = Problem.random(seed, budget=budget, rows=4)
    bound = exact_elbo(problem.clean, problem.posterior, problem.policy, problem.denoiser)
    marginal = log_marginal(problem.clean, problem.policy, problem.denoiser)
    assert (bound <= marginal + 1e-12).all()
    if budget == 1:
        assert torch.allclose(bound, marginal)
    else:
        assert (bound < marginal - 1e-3).all()


@dataclass(frozen=True)
class Tabulated:
    """Any law at all: a log-probability for every set, [B, 2^L]."""

    table: Tensor
    masked: Tensor
    may_be_empty: bool = False

    def log_prob(self, positions: Tensor) -> Tensor:
        return self.table.gather(1, set_number(positions)[:, None]).squeeze(1)

    def inclusion(self) -> Tensor:
        return self.table.exp() @ all_sets(self.masked.shape[-1]).to(self.table.dtype)

    def sample(self, draws: StepDraws) -> Tensor:
        raise NotImplementedError

    def entropy(self) -> Tensor:
        raise NotImplementedError


@pytest.mark.parametrize("budget", [2, 3])
def test_the_bound_is_tight_when_q_is_the_true_posterior_over_orders(budget: int) -> None:
    problem = Problem.random(5, budget=budget, rows=3)
    lattice = Lattice.of(problem.clean)
    onward = torch.zeros(3, 8, dtype=torch.float64)
    onward[:, 0] = 1.0  # probability of finishing the true text from each set, after the last step
    tables = []
    for step in reversed(range(budget)):
        canvas = lattice.canvas(step)
        denoised = problem.denoiser(canvas)
        chance = lattice.gather(_with_last_step(problem.policy(canvas, denoised), canvas))
        chance = (chance + lattice.log_tokens(canvas, denoised)).exp() * onward[:, lattice.moves.target]
        onward = torch.zeros_like(onward).index_add(1, lattice.moves.source, chance)
        share = torch.zeros(3, 8, 8, dtype=torch.float64)
        share[:, lattice.moves.source, set_number(lattice.moves.revealed)] = chance / onward[:, lattice.moves.source]
        tables.insert(0, share.flatten(0, 1).log())

    def posterior(canvas: Canvas, clean_tokens: Tensor) -> RevealLaw:
        return Tabulated(tables[int(canvas.step[0])], canvas.masked)

    bound = exact_elbo(problem.clean, posterior, problem.policy, problem.denoiser)
    assert torch.allclose(bound, log_marginal(problem.clean, problem.policy, problem.denoiser), atol=1e-12)


def test_decoding_frequencies_match_the_decoding_law() -> None:
    count, budget = 40_000, 2
    problem = Problem.random(6, budget=budget)
    blank = torch.zeros(count, 3, dtype=torch.long)
    canvas, draws = Canvas.make(blank, blank == 0, budget), Draws(0)
    with torch.no_grad():
        for _ in range(budget):
            denoised = problem.denoiser(canvas)
            chosen = problem.policy(canvas, denoised).sample(draws.at(canvas))
            chosen = torch.where(canvas.last_step[:, None], canvas.masked, chosen)
            tokens = denoised.draw(denoised.from_rows(draws.uniform(canvas, "token")), temperature=1.0)
            canvas = canvas.reveal(chosen, denoised.to_rows(tokens, 0))
        expected = decode_marginal(problem.denoiser, problem.policy, length=3, vocabulary=2, budget=budget).flatten()
    observed = torch.bincount(canvas.tokens @ torch.tensor([4, 2, 1]), minlength=8).double() / count
    for frequency, chance in zip(observed.tolist(), expected.tolist(), strict=True):
        assert abs(frequency - chance) < 5 * math.sqrt(chance * (1 - chance) / count)


def test_every_set_of_a_law_is_listed() -> None:
    law = Bernoulli(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))
    third = math.log(1 / 3)
    assert set_log_probs(law, 2).tolist()[0] == pytest.approx([-math.inf, third, third, third], abs=1e-6)
