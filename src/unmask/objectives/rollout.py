"""Whole orders from the posterior, without a single network call: its scores renormalise by themselves."""

from dataclasses import replace

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.order import Order
from unmask.reveals.score_ratio import ScoreLaw


def paths_of(canvas: Canvas, samples: int) -> Canvas:
    """`samples` copies of each row side by side, [B * K] rows, each with an identity of its own.

    Path k of row r is number r * K + k, so it draws the same numbers in every batch.
    """
    rows = torch.arange(len(canvas.row), device=canvas.row.device).repeat_interleave(samples)
    copies = torch.arange(len(rows), device=rows.device) % samples
    return replace(canvas.take(rows), row=canvas.row[rows] * samples + copies)


def draw_orders(paths: Canvas, scores: Tensor, law: ScoreLaw, draws: Draws) -> Order:
    """An order for every row of `paths` ([N] rows), drawn step by step from `law` with scores [N, L] (or [N, L, T]).

    `paths` starts with everything masked that may be. The last step of the budget reveals all that is left.
    Gradients do not flow through a draw; `log_prefix` has them.
    """
    steps = torch.zeros_like(paths.tokens)
    canvas = paths
    with torch.no_grad():
        for step in range(1, int(paths.budget.max()) + 1):
            drawn = law(scores, canvas).sample(draws.at(canvas))
            positions = torch.where(canvas.last_step[:, None], canvas.masked, drawn)
            steps = steps + step * positions.long()
            canvas = canvas.reveal(positions, canvas.tokens)
    return Order(steps)


def log_prefix(paths: Canvas, order: Order, scores: Tensor, law: ScoreLaw) -> Tensor:
    """[N, T]: log q(S_1..S_{t-1}) before each step t = 1..T, T the largest budget; with gradient.

    0 before step 1. Stays as it is once a row has finished, and over the last step of its budget, which is no
    choice. T evaluations of the law, none of the network.
    """
    before = [scores.new_zeros(len(scores))]
    for step in range(1, int(paths.budget.max())):
        canvas = before_step(paths, order, step)
        chosen = law(scores, canvas).log_prob(order.revealed_at(step))
        before.append(before[-1] + torch.where(canvas.last_step, 0.0, chosen))
    return torch.stack(before, dim=-1)


def before_step(paths: Canvas, order: Order, step: int | Tensor) -> Canvas:
    """The canvas each path stands at before `step` (long [N], or one for all)."""
    taken = torch.as_tensor(step, device=paths.step.device).expand_as(paths.step) - 1
    return replace(paths, masked=order.masked_before(step) & paths.masked, step=taken)
