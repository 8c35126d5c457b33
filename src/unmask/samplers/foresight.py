"""How many steps to come are empty, for samplers that toss coins: the same coins, many steps at a time."""

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws

ELEMENTS = 1 << 16  # coins tossed at a time, so that they stay in the cache


def steps_at_a_time(canvas: Canvas, *where: Tensor) -> Tensor:
    """long [S, B]: the steps each row has left, in this step and those to come; so many that their coins are few.

    where: bool [B, L] each, the positions that coins are tossed for.
    """
    coins = sum(int(each.sum()) for each in where)
    left = int(canvas.steps_left.max()) if len(canvas.step) else 1
    steps = max(1, min(ELEMENTS // max(coins, 1), left))
    return canvas.steps_left - torch.arange(steps, device=canvas.step.device)[:, None]


def tossed(draws: StepDraws, purpose: str, where: Tensor, chance: Tensor) -> Tensor:
    """bool [S, B]: whether any coin of the row comes up, by `uniform(purpose) < chance` as in the step itself.

    where: bool [B, L], the positions that have a coin. chance: float64 [S, B, L], or [S, B, 1] for all of a row alike.
    """
    row = where.nonzero(as_tuple=True)[0]
    each = chance.expand(-1, -1, where.shape[-1])[:, where]  # [S, M]
    heads = draws.ahead(purpose, len(chance), where) < each
    return torch.zeros(len(chance), len(where), device=row.device).index_add(1, row, heads.float()) > 0


def before_first(some: Tensor) -> Tensor:
    """long [B]: how many steps come before the first of `some` (bool [S, B]); S where there is none."""
    return (~some).long().cumprod(dim=0).sum(dim=0)
