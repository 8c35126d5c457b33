"""The second stage: train the policy on its own paths (equation 6b). No posterior, no divergence.

A path drawn from p_psi that writes the true tokens has likelihood w = prod_t p_theta(x_{S_t} | what it saw),
and E[w] = p(x): the probability of the path is already in how often it is drawn, and must not weigh w again.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.order import Order
from unmask.denoisers.base import Denoiser
from unmask.objectives.paths import Truth, walk_paths
from unmask.reveals.base import OrderPolicy, RevealLaw

Proposal = Callable[[RevealLaw], RevealLaw]


class PathLikelihoods(NamedTuple):
    """K paths of each row.

    log_likelihood: [B, K], sum_t log p_theta(x_{S_t} | .); differentiable in theta.
    log_policy:     [B, K], sum_t log p_psi(S_t | .); differentiable in psi.
    log_proposal:   [B, K], the same under the law the path was drawn from, detached; equals log_policy in
                    value unless there was a proposal.
    entropy:        [B, K], summed entropy of the policy where it had a choice; differentiable in psi at the
                    canvases visited. A small multiple of its mean, annealed away, delays settling.
    misses:         [B, K], positions at which the most probable token was not the true one, no gradient.
                    Where it is 0, greedy decoding along this path would have written exactly this text.
    order:          the paths, [B * K] rows.
    """

    log_likelihood: Tensor
    log_policy: Tensor
    log_proposal: Tensor
    entropy: Tensor
    misses: Tensor
    order: Order


class _Walked(NamedTuple):
    """One step of N rows: positions bool [N, L]; the rest [N], as in `PathLikelihoods`."""

    positions: Tensor
    log_likelihood: Tensor
    log_policy: Tensor
    log_proposal: Tensor
    entropy: Tensor
    misses: Tensor


def path_log_likelihoods(
    clean: Canvas,
    policy: OrderPolicy,
    denoiser: Denoiser,
    *,
    draws: Draws,
    samples: int = 8,
    proposal: Proposal | None = None,
    order: Order | None = None,
    with_entropy: bool = True,
) -> PathLikelihoods:
    """Draw K = `samples` paths from the policy for each row of `clean`, and score the true tokens along them.

    proposal: what to draw from instead, given the policy's law, say
        `lambda law: Bernoulli(law.logits / 2, law.masked)`. Another distribution of paths: use
        `importance_bound`.
    with_entropy: False leaves the entropy at 0; some families have to sum over all sets for it.

    The last step of the budget reveals all that is left: no choice, log-probability 0. Shapes and costs as in
    `paths.walk_paths`.
    """

    def step(canvas: Canvas, law: RevealLaw, truth: Truth, given: Tensor | None) -> _Walked:
        drawn_from = law if proposal is None else proposal(law)
        last = canvas.last_step
        if given is None:
            given = torch.where(last[:, None], canvas.masked, drawn_from.sample(draws.at(canvas)))
        with torch.no_grad():
            log_proposal = torch.where(last, 0.0, drawn_from.log_prob(given))
        return _Walked(
            positions=given,
            log_likelihood=torch.where(given, truth.log_prob, 0.0).sum(-1),
            log_policy=torch.where(last, 0.0, law.log_prob(given)),
            log_proposal=log_proposal,
            entropy=torch.where(last, 0.0, law.entropy()) if with_entropy else torch.zeros_like(log_proposal),
            misses=torch.where(given, truth.missed, 0.0).sum(-1),
        )

    walked, totals = walk_paths(clean, policy, denoiser, step, samples=samples, order=order)
    likelihood, chosen, proposed, entropy, misses = totals
    return PathLikelihoods(likelihood, chosen, proposed, entropy, misses, walked)
