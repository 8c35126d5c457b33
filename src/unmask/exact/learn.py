"""Learn an order where the best one is known: from samples of the text and calls of the denoiser, and nothing exact.

The loop is `learn`; the exact NLL of what it has so far chooses which update is kept, and is never differentiated.
"""

import time
from typing import NamedTuple

import torch
from torch import nn

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.table import Joint
from unmask.exact.choices import Choices, check_steps, powers
from unmask.exact.families import FAMILIES, POSTERIORS, TablePolicy
from unmask.exact.losses import Learning, loss_at
from unmask.exact.nll import sampler_law
from unmask.exact.recipe import RECIPE, Recipe
from unmask.samplers.learned import DecodeRule, Learned

# Decode rules to choose from; those that a family cannot do are left out.
RULES: tuple[DecodeRule, ...] = (
    DecodeRule(),
    *(DecodeRule("sample", sharpness=factor) for factor in (0.7, 1.5, 2.0, 3.0)),
    *(DecodeRule("sample", scale=factor) for factor in (0.6, 0.8, 1.25, 1.6)),
    *(DecodeRule("threshold", level) for level in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
)


class LearnedExactly(NamedTuple):
    """nll: exact, of the update that is kept, in nats. unmasker: the order learned. updates: how many were made.

    rule: how the policy's law is drawn from, the best of `RULES` for its family by exact NLL.
    history: (update, exact NLL of drawing from the policy) at every look.
    """

    nll: float
    unmasker: Learned
    updates: int
    rule: DecodeRule
    history: list[tuple[int, float]]


def learn(
    joint: Joint,
    steps: int,
    seed: int = 0,
    seconds: float = 60,
    updates: int | None = None,
    recipe: Recipe = RECIPE,
    look_every: int = 100,
) -> LearnedExactly:
    """Learn an order for the true conditionals of `joint` that takes at most `steps` steps.

    What is optimised is the multi-sample bound on the policy's own paths (equations 6b and 6c), from texts drawn from
    `joint` and the denoiser's answers along the paths.

    joint: [V] * L that sums to 1, a tensor, a numpy array or nested lists.
    seconds: how long to learn. updates: how many updates instead, which is the form that can be repeated to the last
    bit on the same machine. UserError on a joint that is none or too large, steps outside 1..L, or a recipe whose
    parts do not go together.
    """
    choices = Choices.of(joint)
    check_steps(steps, choices.length)
    if updates is None and not seconds > 0:
        raise UserError(f"seconds must be above 0, got {seconds}")
    if updates is not None and updates < 1:
        raise UserError(f"updates must be at least 1, got {updates}")
    recipe.check()
    generator = torch.Generator().manual_seed(seed)
    length, vocabulary = choices.length, choices.denoiser.vocabulary
    family, start = FAMILIES[recipe.family], recipe.spread
    policy = TablePolicy(length, vocabulary, steps, family, recipe.components, start, generator)
    shape = (vocabulary**length, *POSTERIORS[recipe.posterior].shape(length, steps))
    scores = nn.Parameter(torch.randn(shape, generator=generator))
    learning = Learning(policy, scores, choices.denoiser, recipe, Draws(seed))
    optimizer = torch.optim.Adam([*policy.parameters(), scores], lr=recipe.rate, betas=(0.9, 0.99))
    best, kept = float("inf"), policy.numbers.detach().clone()
    history: list[tuple[int, float]] = []
    began, done, progress = time.monotonic(), 0, 0.0
    while True:
        if done % look_every == 0 or progress >= 1:
            nll = choices.nll(sampler_law(choices, Learned(policy), steps))
            history.append((done, nll))
            if nll < best:
                best, kept = nll, policy.numbers.detach().clone()
        if progress >= 1 or steps == 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * (recipe.last_rate + (1 - recipe.last_rate) * cosine(progress))
        clean = draw_texts(choices, recipe.rows, steps, done, generator)
        loss = loss_at(learning, clean, progress)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        done += 1
        progress = done / updates if updates is not None else (time.monotonic() - began) / seconds
    with torch.no_grad():
        policy.numbers.copy_(kept)
    policy.requires_grad_(False)
    rule, nll = best_rule(choices, policy, steps)
    return LearnedExactly(nll, Learned(policy, rule), done, rule, history)


def best_rule(choices: Choices, policy: TablePolicy, steps: int) -> tuple[DecodeRule, float]:
    """The decode rule of least exact NLL, and that NLL; drawing from the law itself where others are no better."""
    found: dict[DecodeRule, float] = {}
    for rule in RULES:
        if rule.scale == 1 or policy.family.scales:
            found[rule] = choices.nll(sampler_law(choices, Learned(policy, rule), steps))
    best = min(found, key=lambda rule: found[rule])
    return best, found[best]


def cosine(progress: float) -> float:
    """1 at 0, 0 at 1."""
    return 0.5 * (1 + float(torch.cos(torch.tensor(min(progress, 1.0) * torch.pi))))


def draw_texts(choices: Choices, rows: int, steps: int, update: int, generator: torch.Generator) -> Canvas:
    """`rows` texts of the joint, nothing visible yet, each with an identity of its own."""
    length, vocabulary = choices.length, choices.denoiser.vocabulary
    number = torch.multinomial(choices.text, rows, replacement=True, generator=generator)
    tokens = number[:, None] // powers(vocabulary, length) % vocabulary
    clean = Canvas.make(tokens, torch.ones_like(tokens, dtype=torch.bool), steps)
    return Canvas(*(clean.tokens, clean.masked, clean.valid, clean.step, clean.budget), update * rows + clean.row)
