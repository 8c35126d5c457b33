"""Walk K paths of each text from the first step to the last, and add up what each step says about them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.order import Order
from unmask.denoisers.base import Denoised, Denoiser
from unmask.objectives.rollout import paths_of
from unmask.reveals.base import OrderPolicy, RevealLaw


class Truth(NamedTuple):
    """How the denoiser sees the clean tokens, [N, L] each, 0 where not masked.

    log_prob: their log-probability. missed: 1 where the most probable token is another one.
    """

    log_prob: Tensor
    missed: Tensor


# One step of N rows: (canvas, the policy's law, how the true tokens are seen, the set to take or None to draw one)
# -> a NamedTuple whose first field is the set taken, bool [N, L], and whose others, [N] each, are summed over steps.
WalkStep = Callable[[Canvas, RevealLaw, Truth, Tensor | None], Any]


def walk_paths(
    clean: Canvas,
    policy: OrderPolicy,
    denoiser: Denoiser,
    step: WalkStep,
    *,
    samples: int,
    order: Order | None = None,
) -> tuple[Order, list[Tensor]]:
    """K = `samples` paths of each row of `clean`: the paths, [B * K] rows, and `step`'s numbers summed, [B, K] each.

    clean: whole texts in `tokens`, what may be masked in `masked`, the budget T in `budget`; step 0.
    order: walk these paths ([B * K] rows) instead of drawing.

    T sequential passes of the denoiser: B rows at step 1, which all paths of a row share, then the unfinished of
    B * K. The memory for gradients grows with T; if only the policy learns, wrap the denoiser in `torch.no_grad`.
    """
    canvas = paths_of(clean, samples)
    walked = _first_step(clean, policy, denoiser, step, samples=samples, order=order)
    totals = walked[1:]  # each [B * K]
    steps = walked[0].long()
    canvas = canvas.reveal(walked[0], canvas.tokens)
    for number in range(2, int(clean.budget.max()) + 1):
        rows = canvas.unfinished.nonzero().squeeze(-1)
        if len(rows) == 0:
            break
        here = canvas.take(rows)
        denoised = denoiser(here)
        given = None if order is None else order.take(rows).revealed_at(number)
        walked = list(step(here, policy(here, denoised), true_tokens(here, denoised), given))
        totals = [total.index_add(0, rows, part) for total, part in zip(totals, walked[1:], strict=True)]
        positions = torch.zeros_like(canvas.masked).index_put((rows,), walked[0])
        steps = steps + number * positions.long()
        canvas = canvas.reveal(positions, canvas.tokens)
    return Order(steps), [total.view(-1, samples) for total in totals]


def _first_step(
    clean: Canvas,
    policy: OrderPolicy,
    denoiser: Denoiser,
    step: WalkStep,
    *,
    samples: int,
    order: Order | None,
) -> list[Tensor]:
    """Step 1 of all paths, [B * K] rows, in one pass of B; each path draws what it would have drawn alone."""
    denoised = denoiser(clean)
    law, truth = policy(clean, denoised), true_tokens(clean, denoised)
    walks = []
    for sample in range(samples):
        path = replace(clean, row=clean.row * samples + sample)
        given = None if order is None else order.revealed_at(1)[sample::samples]
        walks.append(step(path, law, truth, given))
    return [torch.stack(parts, dim=1).flatten(0, 1) for parts in zip(*walks, strict=True)]


def true_tokens(canvas: Canvas, denoised: Denoised) -> Truth:
    """How `denoised` sees the tokens that stand under the mask of `canvas`."""
    tokens = denoised.from_rows(canvas.tokens)
    log_prob = denoised.log_prob(tokens)
    missed = (denoised.top2_tokens[:, 0] != tokens).to(log_prob.dtype)
    return Truth(denoised.to_rows(log_prob, 0.0), denoised.to_rows(missed, 0.0))
