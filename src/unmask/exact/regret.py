"""What an order costs above the best one, state by state: a context at a step is a state."""

import torch
from torch import Tensor

from unmask.denoisers.table import context_digits
from unmask.exact.choices import Choices
from unmask.exact.optimum import best_randomised

SMALL_REGRET = 0.01  # nats above the best that can be done in a state
FINE_ENOUGH = 1e-3  # nats by which the optimum of a state may be missed; the order is held to the lower end
SMALLEST_REACH = 1e-9


def deterministic_regret(choices: Choices, steps: int) -> list[Tensor]:
    """[A] for each step but the last: nats a choice costs above the best of its context, what follows being chosen best
    (equation 8)."""
    value = choices.cost[choices.all_that_is_left]
    regret: list[Tensor] = []
    for _ in range(steps - 1):
        offered = choices.cost + choices.expected(choices.true, value)
        value, _ = choices.best(offered, largest=False)
        regret.insert(0, offered - value[choices.context])
    return regret


def near_deterministic(
    choices: Choices, policies: list[Tensor], regret: list[Tensor], limit: float = SMALL_REGRET
) -> float:
    """The share of what a sampler does, state by state as often as it gets there, whose `regret` is at most `limit`
    nats; states with a single choice are not counted. 1 if no other is reached.

    policies: [A] for each step but the last, its chance of each choice in its context (`nll.sampler_policies`).
    """
    mass = torch.zeros(choices.contexts, dtype=torch.float64)
    mass[-1] = 1.0
    near = total = 0.0
    ways = torch.zeros_like(mass).index_add(0, choices.context, choices.allowed.double())  # 1: nothing to choose
    for policy, above in zip(policies, regret, strict=True):
        flow = mass[choices.context] * policy
        counted = torch.where(ways[choices.context] > 1, flow, 0.0)
        total += float(counted.sum())
        near += float(counted[above <= limit].sum())
        mass = torch.zeros_like(mass).index_add(0, choices.target, flow[choices.choice] * choices.written)
    return near / total if total > 0 else 1.0


def near_best(choices: Choices, policies: list[Tensor], limit: float = SMALL_REGRET) -> float:
    """The share of the states a sampler reaches, each as often as it gets there, from which on it costs at most `limit`
    nats more than the best randomised order of what is left (equation 8b), in as many steps.

    A state with visible x_R and n steps left is a problem of its own, with the joint p(. | x_R): the sampler's cost
    there is -E log of the chance that it completes x from x_R. So later choices count as well as the one that is due.
    States with a single choice are not counted; 1 if no other is reached. policies: as in `near_deterministic`.
    """
    left_over = context_digits(choices.length, choices.denoiser.vocabulary) == choices.denoiser.vocabulary  # [C, L]
    completing = completions(choices, policies)  # [T - 1, C, X]
    near = total = 0.0
    for number, reach in enumerate(reached(choices, policies)):
        steps = len(policies) + 1 - number
        for context in ((reach > SMALLEST_REACH) & (left_over.sum(-1) > 1)).nonzero().flatten().tolist():
            total += float(reach[context])
            if excess(choices, context, left_over[context], steps, completing[number, context], limit) <= limit:
                near += float(reach[context])
    return near / total if total > 0 else 1.0


def reached(choices: Choices, policies: list[Tensor]) -> list[Tensor]:
    """[C] for each step but the last: how often the sampler stands at each context before it."""
    mass = torch.zeros(choices.contexts, dtype=torch.float64)
    mass[-1] = 1.0
    found = []
    for policy in policies:
        found.append(mass)
        flow = mass[choices.context] * policy
        mass = torch.zeros_like(mass).index_add(0, choices.target, flow[choices.choice] * choices.written)
    return found


def completions(choices: Choices, policies: list[Tensor]) -> Tensor:
    """[T - 1, C, V^L]: the chance that the sampler completes each text from each context before each step but the
    last."""
    found = []
    for text in choices.complete.tolist():
        value = torch.zeros(choices.contexts, dtype=torch.float64)
        value[text] = 1.0
        value = choices.expected(choices.written, value)[choices.all_that_is_left]
        values: list[Tensor] = []
        for policy in reversed(policies):
            offered = policy * choices.expected(choices.written, value)
            value = torch.zeros_like(value).index_add(0, choices.context, offered)
            values.insert(0, value)
        found.append(torch.stack(values))
    return torch.stack(found, dim=-1)


def excess(choices: Choices, context: int, left_over: Tensor, steps: int, completing: Tensor, limit: float) -> float:
    """Nats by which a sampler that completes texts from `context` as often as `completing` ([X]) says is above the best
    randomised order in `steps` steps; above the entropy, which is no less, where that is within `limit` already.

    A context that no text of the joint shows has nothing to lose: 0.
    """
    length, vocabulary = choices.length, choices.denoiser.vocabulary
    shown = context_digits(length, vocabulary)[context]
    here = tuple(slice(None) if bool(left_over[axis]) else int(shown[axis]) for axis in range(length))
    joint = choices.denoiser.joint[here]
    if float(joint.sum()) <= 0:
        return 0.0
    joint = joint / joint.sum()
    chance = joint.flatten()
    possible = chance > 0
    cost = float(-(chance * completing.view(choices.denoiser.joint.shape)[here].flatten().log())[possible].sum())
    above_entropy = cost + float((chance * chance.log())[possible].sum())
    if above_entropy <= limit or steps >= joint.dim():  # one by one, an order reaches the entropy
        return above_entropy
    found = best_randomised(Choices.of(joint), steps, FINE_ENOUGH)
    return cost - (found.nll - found.gap)
