"""What one update of the suite's learner minimises: on a posterior's paths, or on the policy's own."""

from typing import NamedTuple

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.denoisers.table import TableDenoiser
from unmask.exact.choices import powers
from unmask.exact.families import POSTERIORS, TablePolicy
from unmask.exact.recipe import Recipe
from unmask.objectives import (
    Credit,
    bound_surrogate,
    draw_orders,
    log_prefix,
    path_log_likelihoods,
    rloo_surrogate,
    tilted_paths,
    vimco_surrogate,
)
from unmask.objectives.rollout import paths_of

LIKELIHOOD = Credit(likelihood=1.0, miss=0.0)  # tokens are drawn at temperature 1


class Learning(NamedTuple):
    """What is learned, from what, and how. scores: the posterior's numbers for every text, [V^L, *]."""

    policy: TablePolicy
    scores: Tensor
    denoiser: TableDenoiser
    recipe: Recipe
    draws: Draws


def loss_at(learning: Learning, clean: Canvas, progress: float) -> Tensor:
    """The loss of an update when `progress` of the learning, 0 to 1, is over."""
    recipe = learning.recipe
    if progress >= recipe.first_share:
        return path_loss(learning, clean, recipe.entropy * (1 - progress))
    if recipe.first == "bound":
        return bound_loss(learning, clean, progress / recipe.first_share)
    return importance_loss(learning, clean)


def scores_of(learning: Learning, clean: Canvas) -> Tensor:
    """[B, *]: the posterior's numbers of these texts."""
    number = (clean.tokens * powers(learning.denoiser.vocabulary, learning.denoiser.length)).sum(-1)
    return learning.scores[number]


def bound_loss(learning: Learning, clean: Canvas, progress: float) -> Tensor:
    """Minus the surrogate of the bound, per text (equations 2-6)."""
    recipe = learning.recipe
    found = bound_surrogate(
        clean,
        scores_of(learning, clean),
        POSTERIORS[recipe.posterior].law(recipe.tau),
        learning.policy,
        learning.denoiser,
        draws=learning.draws,
        samples=recipe.samples,
        beta=recipe.beta + (1 - recipe.beta) * progress,
    )
    return -found.surrogate.mean()


def importance_loss(learning: Learning, clean: Canvas) -> Tensor:
    """Minus the surrogate of log mean_k p(x, path_k) / q(path_k), per text, on the posterior's paths.

    Its gradient in the posterior has per-sample leave-one-out baselines, as in equation 6b (VIMCO).
    """
    samples = learning.recipe.samples
    law = POSTERIORS[learning.recipe.posterior].law(learning.recipe.tau)
    paths = paths_of(clean, samples)
    scores = scores_of(learning, clean).repeat_interleave(samples, dim=0)
    order = draw_orders(paths, scores, law, learning.draws)
    log_q = log_prefix(paths, order, scores, law)[:, -1].view(-1, samples)
    walked = path_log_likelihoods(
        clean, learning.policy, learning.denoiser, draws=learning.draws, samples=samples, order=order,
        with_entropy=False,
    )  # fmt: skip
    return -vimco_surrogate(walked.log_likelihood + walked.log_policy - log_q, log_q).mean()


def path_loss(learning: Learning, clean: Canvas, entropy: float) -> Tensor:
    """Minus the surrogate of the multi-sample bound, or of the mean log-likelihood of the paths, per text, and minus
    `entropy` times the policy's entropy along them."""
    recipe = learning.recipe
    paths = paths_of(clean, recipe.samples)  # one walk of B * K rows: a table costs nothing, a call of it does
    if recipe.tilt:
        tilted = tilted_paths(
            paths, learning.policy, learning.denoiser, draws=learning.draws, samples=1, credit=LIKELIHOOD,
            with_entropy=entropy > 0,
        )  # fmt: skip
        value, drawn, spread = tilted.log_weight, tilted.log_drawn, tilted.entropy
    else:
        walked = path_log_likelihoods(
            paths, learning.policy, learning.denoiser, draws=learning.draws, samples=1, with_entropy=entropy > 0
        )
        value, drawn, spread = walked.log_likelihood, walked.log_policy, walked.entropy
    value, drawn = value.view(-1, recipe.samples), drawn.view(-1, recipe.samples)
    surrogate = (vimco_surrogate if recipe.multi_sample else rloo_surrogate)(value, drawn)
    return -surrogate.mean() - entropy * spread.mean()
