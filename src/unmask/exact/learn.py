"""Learn an order where the best one is known: from samples of the text and calls of the denoiser, and nothing exact.

The loop is `learn`; the exact NLL of what it has so far chooses which update is kept, and is never differentiated.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.core.registry import check_name
from unmask.denoisers.base import Denoised
from unmask.denoisers.table import context_index
from unmask.exact.choices import Choices, check_steps
from unmask.exact.nll import sampler_law
from unmask.objectives import Credit, bound_surrogate, path_log_likelihoods, tilted_paths, vimco_surrogate
from unmask.objectives.rloo import rloo_surrogate
from unmask.objectives.rollout import paths_of
from unmask.reveals import Bernoulli, BernoulliMixture, Categorical, RevealLaw, at_temperature
from unmask.samplers.learned import DecodeRule, Learned

LIKELIHOOD = Credit(likelihood=1.0, miss=0.0)  # tokens are drawn at temperature 1


@dataclass(frozen=True)
class Recipe:
    """How an order is learned on an enumerable text.

    family: of the policy: `bernoulli`, `mixture` (of `components` Bernoullis) or `categorical` (a chance per set).
    bound_share: share of the updates spent on the bound first (equations 2-6), with a posterior of a score for every
        position of every text at temperature `tau`, and the weight of the divergence rising from `beta` to 1; the
        family must be `bernoulli`, whose divergence has a closed form.
    multi_sample: after that, the bound by all samples of a text together (equations 6b and 6c); False: their mean
        log-likelihood, which is the bound with q := p and no divergence.
    tilt: draw paths with each step's credit summed out (equation 6c) instead of as they come (6b).
    rows, samples: texts per update, and paths drawn for each.
    rate: of Adam, falling to `last_rate` times that along a cosine.
    spread: deviation of the logits at the start; components that start alike stay alike.
    """

    family: str = "categorical"
    components: int = 8
    bound_share: float = 0.0
    tau: float = 0.3
    beta: float = 0.1
    multi_sample: bool = True
    tilt: bool = False
    rows: int = 64
    samples: int = 8
    rate: float = 0.2
    last_rate: float = 0.02
    spread: float = 0.0


# Decode rules to choose from; those that a family cannot do are left out.
RULES: tuple[DecodeRule, ...] = (
    DecodeRule(),
    *(DecodeRule("sample", sharpness=factor) for factor in (0.7, 1.5, 2.0, 3.0)),
    *(DecodeRule("sample", scale=factor) for factor in (0.6, 0.8, 1.25, 1.6)),
    *(DecodeRule("threshold", level) for level in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
)
RECIPE = Recipe()  # what did best in docs/guides/exact.md


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


class TablePolicy(nn.Module):
    """A policy with numbers of its own for every context and step: what is visible is all it can know.

    numbers: [T - 1, C, *], as many as its family needs. The last step of a budget is no choice.
    """

    def __init__(self, length: int, vocabulary: int, steps: int, recipe: Recipe, generator: torch.Generator) -> None:
        super().__init__()
        self.length, self.vocabulary, self.recipe = length, vocabulary, recipe
        self.family = FAMILIES[check_name(recipe.family, FAMILIES, "policy family")]
        contexts = (vocabulary + 1) ** length
        width = self.family.width(length, recipe.components)
        start = recipe.spread * torch.randn(max(steps - 1, 1), contexts, width, generator=generator)
        self.numbers = nn.Parameter(start)

    def forward(self, canvas: Canvas, denoised: Denoised) -> RevealLaw:
        step = canvas.step.clamp(max=self.numbers.shape[0] - 1)
        numbers = self.numbers[step, context_index(canvas, self.length, self.vocabulary)]
        left = canvas.steps_left.clamp(min=2).to(numbers.dtype)
        return self.family.law(numbers, -(left - 1).log()[:, None], canvas.masked, self.recipe.components)


class PolicyFamily(NamedTuple):
    """width: how many numbers a context has, from (length, components). law: from them, [B, width], and the log-odds
    of revealing a position at an even pace, [B, 1]."""

    width: Callable[[int, int], int]
    law: Callable[[Tensor, Tensor, Tensor, int], RevealLaw]


def _mixture(numbers: Tensor, pace: Tensor, masked: Tensor, components: int) -> BernoulliMixture:
    coins = numbers[:, components:].view(len(numbers), components, -1) + pace[..., None]
    return BernoulliMixture(numbers[:, :components], coins, masked)


FAMILIES: dict[str, PolicyFamily] = {
    "bernoulli": PolicyFamily(
        lambda length, components: length,
        lambda numbers, pace, masked, components: Bernoulli(numbers + pace, masked),
    ),
    "mixture": PolicyFamily(lambda length, components: components * (length + 1), _mixture),
    "categorical": PolicyFamily(
        lambda length, components: 2**length,
        lambda numbers, pace, masked, components: Categorical(numbers, masked),
    ),
}


def learn(
    joint: Tensor,
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

    seconds: how long to learn. updates: how many updates instead, which is the form that can be repeated to the last
    bit on the same machine. UserError on a joint that is none or too large, or steps outside 1..L.
    """
    choices = Choices.of(joint)
    check_steps(steps, choices.length)
    if updates is None and not seconds > 0:
        raise UserError(f"seconds must be above 0, got {seconds}")
    if updates is not None and updates < 1:
        raise UserError(f"updates must be at least 1, got {updates}")
    generator = torch.Generator().manual_seed(seed)
    policy = TablePolicy(choices.length, choices.denoiser.vocabulary, steps, recipe, generator)
    if recipe.bound_share > 0 and recipe.family != "bernoulli":
        raise UserError(f"bound_share must be 0 for the family `{recipe.family}`: its divergence has no closed form")
    texts = choices.denoiser.vocabulary**choices.length
    scores = nn.Parameter(torch.randn(texts, choices.length, generator=generator))
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
        if progress < recipe.bound_share:
            loss = bound_loss(clean, scores, policy, choices, recipe, Draws(seed), progress / recipe.bound_share)
        else:
            loss = path_loss(clean, policy, choices, recipe, Draws(seed))
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
        if rule.scale == 1 or policy.recipe.family == "bernoulli":
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
    powers = vocabulary ** torch.arange(length - 1, -1, -1)
    tokens = number[:, None] // powers % vocabulary
    clean = Canvas.make(tokens, torch.ones_like(tokens, dtype=torch.bool), steps)
    return Canvas(*(clean.tokens, clean.masked, clean.valid, clean.step, clean.budget), update * rows + clean.row)


def bound_loss(
    clean: Canvas, scores: Tensor, policy: TablePolicy, choices: Choices, recipe: Recipe, draws: Draws, progress: float
) -> Tensor:
    """Minus the surrogate of the bound, per text."""
    powers = choices.denoiser.vocabulary ** torch.arange(choices.length - 1, -1, -1)
    found = bound_surrogate(
        clean,
        scores[(clean.tokens * powers).sum(-1)],
        at_temperature(recipe.tau),
        policy,
        choices.denoiser,
        draws=draws,
        samples=recipe.samples,
        beta=recipe.beta + (1 - recipe.beta) * progress,
    )
    return -found.surrogate.mean()


def path_loss(clean: Canvas, policy: TablePolicy, choices: Choices, recipe: Recipe, draws: Draws) -> Tensor:
    """Minus the surrogate of the multi-sample bound, or of the mean log-likelihood of the paths, per text."""
    paths = paths_of(clean, recipe.samples)  # one walk of B * K rows: a table costs nothing, a call of it does
    if recipe.tilt:
        tilted = tilted_paths(
            paths, policy, choices.denoiser, draws=draws, samples=1, credit=LIKELIHOOD, with_entropy=False
        )
        value, drawn = tilted.log_weight, tilted.log_drawn
    else:
        walked = path_log_likelihoods(paths, policy, choices.denoiser, draws=draws, samples=1)
        value, drawn = walked.log_likelihood, walked.log_policy
    value, drawn = value.view(-1, recipe.samples), drawn.view(-1, recipe.samples)
    return -(vimco_surrogate if recipe.multi_sample else rloo_surrogate)(value, drawn).mean()
