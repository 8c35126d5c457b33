"""The best that any order can do: deterministic (equation 8), static, and randomised (equation 8b)."""

import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.denoisers.table import Joint
from unmask.exact.choices import Choices, check_steps, context_mass
from unmask.exact.enumerate import Transitions

TOLERANCE = 1e-4  # nats by which the randomised optimum may be missed; its certificate says so
SMALLEST_SHARE = 1e-7  # below it a policy is dropped from the mixture
SHARES_TOLERANCE = 1e-8
MOST_ROUNDS = 1_000
MIXING_ROUNDS = 100


class Optimum(NamedTuple):
    """nll: of the policies, in nats. gap: at most this much above the optimum.

    policies: [A] for each step but the last. law: float64 [V^L], what they write.
    """

    nll: float
    gap: float
    policies: list[Tensor]
    law: Tensor


def optimum(joint: Joint, steps: int, randomised: bool = False) -> float:
    """The smallest exact NLL any policy of the context reaches in at most `steps` steps, in nats.

    -E log p of what a sampler writes that draws tokens from the true conditionals at temperature 1, and chooses where
    to reveal by what is visible and by the step; equation 8, or equation 8b where it may draw its choices
    (`randomised`, to within 1e-4 nats, by its certificate).

    joint: [V] * L that sums to 1, a tensor, a numpy array or nested lists. steps: 1..L. UserError on anything else, and
    on a joint too large to enumerate.
    Time: steps * (2V+1)^L sums, once for equation 8 and some hundred times for 8b. Warns, with the bound that was
    reached, in the case that a thousand rounds are not enough for 1e-4.
    """
    choices = Choices.of(joint)
    found = best_randomised(choices, steps) if randomised else best_deterministic(choices, steps)
    if found.gap > TOLERANCE:
        warnings.warn(
            f"the randomised optimum is only known to within {found.gap:.1e} nats: between {found.nll - found.gap:.6f} "
            f"and {found.nll:.6f}",
            stacklevel=2,
        )
    return found.nll


def best_deterministic(choices: Choices, steps: int) -> Optimum:
    """Equation 8, by backward induction over contexts.

        V_t(x_R) = min_S sum_{i in S} H(x_i | x_R) + E_{x_S ~ p(. | x_R)} V_{t+1}(x_R u S)

    A policy that draws nothing reaches each text along one path only, so that path's nats are the text's.
    """
    check_steps(steps, choices.length)
    value = choices.cost[choices.all_that_is_left]  # the last step
    policies: list[Tensor] = []
    for _ in range(steps - 1):
        value, choice = choices.best(choices.cost + choices.expected(choices.true, value), largest=False)
        policies.insert(0, choices.certain(choice))
    law = choices.law(policies)
    return Optimum(choices.nll(law), 0.0, policies, law)


def static_optimum(joint: Joint, steps: int) -> float:
    """The smallest NLL of an order that is fixed in advance, whatever is written, in nats.

    V_t(R) = min_S sum_{i in S} E H(x_i | x_R) + V_{t+1}(R u S) over the 2^L sets R.
    """
    choices = Choices.of(joint)
    check_steps(steps, choices.length)
    length, vocabulary = choices.length, choices.denoiser.vocabulary
    log_conditionals = choices.denoiser.log_conditionals
    entropy = -(log_conditionals.exp() * log_conditionals.clamp(min=-1e300)).sum(-1)  # [C, L]
    averaged = context_mass(choices.denoiser.joint)[:, None] * entropy
    sets = Transitions.of(length, 1)  # digit 1: masked
    for axis in range(length):  # sum over what is visible; what is masked stays
        shape = (2**axis, vocabulary + 1, (vocabulary + 1) ** (length - axis - 1), length)
        grid = averaged.reshape(shape)
        averaged = torch.stack([grid[:, :vocabulary].sum(1), grid[:, vocabulary]], dim=1).reshape(-1, length)
    cost = torch.where(sets.revealed, averaged[sets.source], 0.0).sum(-1)
    some = sets.revealed.any(-1) | (sets.source == 0)
    everything = sets.target == 0
    value = torch.full((2**length,), float("inf"), dtype=torch.float64)
    value = value.scatter_reduce(0, sets.source[everything], cost[everything], "amin")
    for _ in range(steps - 1):
        offered = torch.where(some, cost + value[sets.target], float("inf"))
        value = torch.full_like(value, float("inf")).scatter_reduce(0, sets.source, offered, "amin")
    return float(value[-1])


@dataclass(frozen=True)
class Response:
    """The deterministic policy that writes the most weight, its law, and how much that is."""

    weight: float
    policies: list[Tensor]
    law: Tensor


def best_response(choices: Choices, steps: int, weight: Tensor) -> Response:
    """max over policies of sum_x weight(x) law(x), by backward induction; weight: [V^L], not negative."""
    value = torch.zeros(choices.contexts, dtype=torch.float64).index_copy(0, choices.complete, weight)
    value = choices.expected(choices.written, value)[choices.all_that_is_left]
    policies: list[Tensor] = []
    for _ in range(steps - 1):
        value, choice = choices.best(choices.expected(choices.written, value), largest=True)
        policies.insert(0, choices.certain(choice))
    return Response(float(value[-1]), policies, choices.law(policies))


def best_randomised(choices: Choices, steps: int, tolerance: float = TOLERANCE) -> Optimum:
    """Equation 8b: the best mixture of deterministic policies, which policies that draw at each step can all be.

    What a policy writes is linear in how often it makes each choice, and -E log of it is convex, so the best response
    to the weights p(x) / law(x) bounds how far the law is from the optimum:

        NLL(law) - NLL* <= log max_pi sum_x p(x) / law(x) p_pi(x)

    Starting from the deterministic optimum and the policy that draws every set alike, the best response joins the
    mixture and the shares are fitted anew, until the bound is below `tolerance` (column generation, also
    known as the fully corrective Frank-Wolfe method). `gap` is the bound.
    """
    check_steps(steps, choices.length)
    first = best_deterministic(choices, steps)
    vertices = [_even(choices, steps), first.law]
    known = [[_even_policy(choices)] * (steps - 1), first.policies]
    text = choices.text
    here = text > 0
    for _ in range(MOST_ROUNDS):
        laws = torch.stack(vertices)[:, here]  # [N, texts]
        shares = fit_shares(laws, text[here])
        law = (shares[:, None] * torch.stack(vertices)).sum(0)
        weight = torch.where(here, text / law.clamp(min=1e-300), 0.0)
        response = best_response(choices, steps, weight)
        gap = max(0.0, math.log(response.weight))
        if gap < tolerance:
            break
        kept = [number for number, share in enumerate(shares.tolist()) if share > SMALLEST_SHARE]
        vertices = [*(vertices[number] for number in kept), response.law]
        known = [*(known[number] for number in kept), response.policies]
    return Optimum(choices.nll(law), gap, _mixed(choices, known, shares, steps), law)


def fit_shares(laws: Tensor, text: Tensor, rounds: int = MIXING_ROUNDS) -> Tensor:
    """float64 [N]: the shares w of a mixture of `laws` ([N, X]) that make `text` ([X]) most likely.

    Minimises -sum_x text_x log (w laws)_x + sum w over w >= 0, whose minimum has sum 1, by a primal-dual interior-point
    method: Newton steps on w_i z_i = mu for ever smaller mu, z being the slope of the objective.
    """
    count = laws.shape[0]
    shares = torch.full((count,), 1 / count, dtype=torch.float64)
    slack = torch.ones(count, dtype=torch.float64)
    for _ in range(rounds):
        ratio = text / (shares @ laws)
        slope = 1 - laws @ ratio
        complementarity = float(shares @ slack) / count
        if complementarity < SHARES_TOLERANCE / count and float((slope - slack).abs().max()) < 1e-6:
            break
        target = 0.1 * complementarity
        curved = laws * (ratio / text.sqrt())
        hessian = curved @ curved.T + (slack / shares).diag()
        step = torch.linalg.solve(hessian, target / shares - slope)
        slack_step = target / shares - slack - slack / shares * step
        shares = shares + step * _longest(shares, step)
        slack = slack + slack_step * _longest(slack, slack_step)
    return shares / shares.sum()


def _longest(value: Tensor, step: Tensor) -> float:
    """How far along `step` all of `value` stays positive, at most 1."""
    shrinking = step < 0
    ratio = torch.where(shrinking, -value / step.clamp(max=-1e-300), float("inf"))
    return min(1.0, 0.99 * float(ratio.min()))


def _even_policy(choices: Choices) -> Tensor:
    """[A]: every allowed set alike."""
    count = torch.zeros(choices.contexts, dtype=torch.float64).index_add(0, choices.context, choices.allowed.double())
    return torch.where(choices.allowed, 1 / count[choices.context], 0.0)


def _even(choices: Choices, steps: int) -> Tensor:
    return choices.law([_even_policy(choices)] * (steps - 1))


def _mixed(choices: Choices, known: list[list[Tensor]], shares: Tensor, steps: int) -> list[Tensor]:
    """One policy that draws at each step and writes what the mixture writes: choices as frequent as in it."""
    mixed = []
    masses = []
    for _ in known:
        mass = torch.zeros(choices.contexts, dtype=torch.float64)
        mass[-1] = 1.0
        masses.append(mass)
    for step in range(steps - 1):
        taken = torch.zeros(len(choices.context), dtype=torch.float64)
        for number, policies in enumerate(known):
            flow = masses[number][choices.context] * policies[step]
            taken = taken + shares[number] * flow
            arrived = flow[choices.choice] * choices.written
            masses[number] = torch.zeros_like(masses[number]).index_add(0, choices.target, arrived)
        there = torch.zeros(choices.contexts, dtype=torch.float64).index_add(0, choices.context, taken)
        reached = there[choices.context] > 0
        mixed.append(torch.where(reached, taken / there[choices.context].clamp(min=1e-300), _even_policy(choices)))
    return mixed
