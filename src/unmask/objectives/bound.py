"""The first stage: an estimate of the bound (equation 2) and of its gradient in all parameters at once."""

from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.order import Order
from unmask.denoisers.base import Denoiser
from unmask.objectives.elbo import StepTerm, step_term
from unmask.objectives.rloo import rloo_surrogate, stratified_steps
from unmask.objectives.rollout import before_step, draw_orders, log_prefix, paths_of
from unmask.reveals.base import OrderPolicy, RevealLaw
from unmask.reveals.score_ratio import ScoreLaw


class Bound(NamedTuple):
    """surrogate: [B], to maximise; its gradient is that of equation 6, with beta on the KL.

    The rest is to report, detached, in nats per row:
    elbo:   [B], estimate of the bound on log p(x), unbiased whatever beta was.
    tokens: [B], its log-likelihood part. kl: [B], its divergence part.
    steps:  [B], mean steps of the row's drawn orders.
    reveal: scalar, mean fraction of what is masked that the posterior reveals in a step where it has a
            choice; at 1 the order has collapsed to everything at once.
    passes: rows given to the denoiser.
    """

    surrogate: Tensor
    elbo: Tensor
    tokens: Tensor
    kl: Tensor
    steps: Tensor
    reveal: Tensor
    passes: int


def bound_surrogate(
    clean: Canvas,
    scores: Tensor,
    law: ScoreLaw,
    policy: OrderPolicy,
    denoiser: Denoiser,
    *,
    draws: Draws,
    samples: int = 8,
    steps_per_row: int = 2,
    beta: float = 1.0,
) -> Bound:
    """Draw orders from the posterior, evaluate a few of their steps, and estimate the bound (equation 6).

    clean: whole texts in `tokens`, what may be masked in `masked`, the budget T in `budget`; step 0.
    scores: [B, L], the posterior's, from one pass over the clean text. law: how they become q (equation 3).
    draws: a fresh one (another seed) for every update.
    samples: K >= 2 orders per row.
    steps_per_row: D steps per row, the same for all its K orders, so that the baseline compares like with like.
        Two are worth their cost: at 2-6 steps, gradient variance times denoiser rows was 0.3-0.8 of that of one.

    No network runs for a simulated step: the denoiser and the policy see one batch of at most B * K * D canvases.
    """
    order = draw_orders(paths_of(clean, samples), scores.repeat_interleave(samples, dim=0), law, draws)
    steps = stratified_steps(clean.budget, steps_per_row, draws.row_uniform(clean, "bound steps"))  # [B, D]
    steps = steps[:, None].expand(-1, samples, -1)  # [B, K, D]
    return evaluate_bound(clean, order, steps, scores, law, policy=policy, denoiser=denoiser, beta=beta)


def evaluate_bound(
    clean: Canvas,
    order: Order,
    steps: Tensor,
    scores: Tensor,
    law: ScoreLaw,
    *,
    policy: OrderPolicy,
    denoiser: Denoiser,
    beta: float = 1.0,
) -> Bound:
    """`bound_surrogate` at given orders ([B * K] rows) and steps (long [B, K, D]): all that is left is exact.

    Unbiased if the orders are drawn from the posterior and the steps, not looking at them, uniformly.
    """
    values = step_values(clean, order, steps, scores, law, policy=policy, denoiser=denoiser)
    budget = clean.budget[:, None, None]
    value = budget * values.term.value(beta)  # [B, K, D], F = T f_t
    prefix = values.log_prefix  # [B, K, D]
    surrogate = rloo_surrogate(value.transpose(1, 2), prefix.transpose(1, 2)).mean(-1)  # over K, then over D
    tokens, divergence = ((budget * part.detach()).mean((1, 2)) for part in values.term)  # [B]
    return Bound(
        surrogate=surrogate,
        elbo=tokens - divergence,
        tokens=tokens,
        kl=divergence,
        steps=order.num_steps.view(steps.shape[:2]).double().mean(-1),
        reveal=values.reveal,
        passes=values.passes,
    )


class StepValues(NamedTuple):
    """term: the parts of f_t, each [B, K, D], 0 where an order had finished.

    log_prefix: [B, K, D], log q of what was revealed before that step. reveal, passes: as in `Bound`.
    """

    term: StepTerm
    log_prefix: Tensor
    reveal: Tensor
    passes: int


def step_values(
    clean: Canvas,
    order: Order,
    steps: Tensor,
    scores: Tensor,
    law: ScoreLaw,
    *,
    policy: OrderPolicy,
    denoiser: Denoiser,
) -> StepValues:
    """Equation 5 at the given steps (long [B, K, D]) of given orders ([B * K] rows); the rest has B rows.

    What has finished is not run: it is worth 0 and keeps its log_prefix. What would be run twice is run once:
    a step drawn twice, and step 1, where all orders of a row stand at the same canvas.
    """
    samples = steps.shape[1]
    paths = paths_of(clean, samples)
    scores = scores.repeat_interleave(samples, dim=0)  # [B * K, L]
    flat = steps.flatten(0, 1)  # [B * K, D]
    prefix = log_prefix(paths, order, scores, law).gather(1, flat - 1)
    alive = flat <= order.num_steps[:, None]

    path, step, item = distinct_items(flat, alive, samples)  # [I], [I], and which of them each live entry is
    if len(path) == 0:  # every drawn step came after its order had finished
        nothing = torch.zeros_like(prefix).view_as(steps)
        return StepValues(StepTerm(nothing, nothing), prefix.view_as(steps), prefix.new_ones(()), 0)
    canvas = before_step(paths.take(path), order.take(path), step)
    denoised = denoiser(canvas)
    log_prob = denoised.to_rows(denoised.log_prob(denoised.from_rows(canvas.tokens)), 0.0)  # [I, L]
    q, p = law(scores[path], canvas), policy(canvas, denoised)
    term = step_term(q, p, log_prob, canvas.masked, canvas.last_step)

    def spread(part: Tensor) -> Tensor:
        return part.new_zeros(flat.shape).masked_scatter(alive, part[item]).view_as(steps)

    return StepValues(
        term=StepTerm(spread(term.tokens), spread(term.kl)),
        log_prefix=prefix.view_as(steps),
        reveal=reveal_fraction(q, canvas),
        passes=len(path),
    )


def distinct_items(steps: Tensor, alive: Tensor, samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """The different (path, step) among the live entries of `steps` (long [N, D], K = `samples` paths a row).

    Returns path and step, each long [I], and for every live entry in row-major order which item it is.
    """
    path = torch.arange(len(steps), device=steps.device)[:, None].expand_as(steps)
    path = torch.where(steps == 1, path - path % samples, path)  # at step 1 any path of the row will do
    base = int(steps.max()) + 1
    items, item = torch.unique((path * base + steps)[alive], return_inverse=True)
    return torch.div(items, base, rounding_mode="floor"), items % base, item


def reveal_fraction(q: RevealLaw, canvas: Canvas) -> Tensor:
    """Scalar: mean fraction of what is masked that q reveals, where it has a choice; 1 if it never has."""
    with torch.no_grad():
        fraction = q.inclusion().sum(-1) / canvas.masked.sum(-1).clamp(min=1)
        chosen = fraction[~canvas.last_step]
        return chosen.mean() if len(chosen) else fraction.new_ones(())
