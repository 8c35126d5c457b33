"""The second stage: train the policy on its own paths (equation 6b). No posterior, no divergence.

A path drawn from p_psi that writes the true tokens has likelihood w = prod_t p_theta(x_{S_t} | what it saw),
and E[w] = p(x): the probability of the path is already in how often it is drawn, and must not weigh w again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.order import Order
from unmask.denoisers.base import Denoised, Denoiser
from unmask.objectives.rollout import paths_of
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


def path_log_likelihoods(
    clean: Canvas,
    policy: OrderPolicy,
    denoiser: Denoiser,
    *,
    draws: Draws,
    samples: int = 8,
    proposal: Proposal | None = None,
    order: Order | None = None,
) -> PathLikelihoods:
    """Draw K = `samples` paths from the policy for each row of `clean`, and score the true tokens along them.

    clean: whole texts in `tokens`, what may be masked in `masked`, the budget T in `budget`; step 0.
    proposal: what to draw from instead, given the policy's law, say
        `lambda law: Bernoulli(law.logits / 2, law.masked)`. Another distribution of paths: use
        `importance_bound`.
    order: walk these paths ([B * K] rows) instead of drawing.

    T sequential passes of the denoiser: B rows at step 1, which all paths of a row share, then the unfinished
    of B * K. The last step of the budget reveals all that is left: no choice, log-probability 0. The memory
    for gradients grows with T; if only the policy learns, wrap the denoiser in `torch.no_grad`.
    """
    chooser = _Chooser(draws, proposal)
    canvas = paths_of(clean, samples)
    walked = _first_step(clean, policy, denoiser, chooser, samples=samples, order=order)
    totals = list(walked[1:])  # each [B * K]
    steps = walked.positions.long()
    canvas = canvas.reveal(walked.positions, canvas.tokens)
    for step in range(2, int(clean.budget.max()) + 1):
        rows = canvas.unfinished.nonzero().squeeze(-1)
        if len(rows) == 0:
            break
        here = canvas.take(rows)
        denoised = denoiser(here)
        given = None if order is None else order.take(rows).revealed_at(step)
        walked = chooser.walk(here, policy(here, denoised), _true_tokens(here, denoised), given)
        totals = [total.index_add(0, rows, part) for total, part in zip(totals, walked[1:], strict=True)]
        positions = torch.zeros_like(canvas.masked).index_put((rows,), walked.positions)
        steps = steps + step * positions.long()
        canvas = canvas.reveal(positions, canvas.tokens)
    likelihood, chosen, proposed, entropy, misses = (total.view(-1, samples) for total in totals)
    return PathLikelihoods(likelihood, chosen, proposed, entropy, misses, Order(steps))


class _Walked(NamedTuple):
    """One step of N rows: positions bool [N, L]; the rest [N], as in `PathLikelihoods`."""

    positions: Tensor
    log_likelihood: Tensor
    log_policy: Tensor
    log_proposal: Tensor
    entropy: Tensor
    misses: Tensor


@dataclass(frozen=True)
class _Chooser:
    """How a path goes on."""

    draws: Draws
    proposal: Proposal | None

    def walk(self, canvas: Canvas, law: RevealLaw, truth: "_Truth", given: Tensor | None) -> _Walked:
        """Choose what to reveal (unless `given`) and score it."""
        drawn_from = law if self.proposal is None else self.proposal(law)
        last = canvas.last_step
        if given is None:
            given = torch.where(last[:, None], canvas.masked, drawn_from.sample(self.draws.at(canvas)))
        with torch.no_grad():
            log_proposal = torch.where(last, 0.0, drawn_from.log_prob(given))
        return _Walked(
            positions=given,
            log_likelihood=torch.where(given, truth.log_prob, 0.0).sum(-1),
            log_policy=torch.where(last, 0.0, law.log_prob(given)),
            log_proposal=log_proposal,
            entropy=torch.where(last, 0.0, law.entropy()),
            misses=torch.where(given, truth.missed, 0.0).sum(-1),
        )


def _first_step(
    clean: Canvas,
    policy: OrderPolicy,
    denoiser: Denoiser,
    chooser: _Chooser,
    *,
    samples: int,
    order: Order | None,
) -> _Walked:
    """Step 1 of all paths, [B * K] rows, in one pass of B; each path draws what it would have drawn alone."""
    denoised = denoiser(clean)
    law, truth = policy(clean, denoised), _true_tokens(clean, denoised)
    walks = []
    for sample in range(samples):
        path = replace(clean, row=clean.row * samples + sample)
        given = None if order is None else order.revealed_at(1)[sample::samples]
        walks.append(chooser.walk(path, law, truth, given))
    return _Walked(*(torch.stack(parts, dim=1).flatten(0, 1) for parts in zip(*walks, strict=True)))


class _Truth(NamedTuple):
    """How the denoiser sees the clean tokens, [N, L] each, 0 where not masked.

    log_prob: their log-probability. missed: 1 where the most probable token is another one.
    """

    log_prob: Tensor
    missed: Tensor


def _true_tokens(canvas: Canvas, denoised: Denoised) -> _Truth:
    tokens = denoised.from_rows(canvas.tokens)
    log_prob = denoised.log_prob(tokens)
    missed = (denoised.top2_tokens[:, 0] != tokens).to(log_prob.dtype)
    return _Truth(denoised.to_rows(log_prob, 0.0), denoised.to_rows(missed, 0.0))
