"""Turn a score per position into the positions to reveal: the two rules most samplers end in."""

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.numerics import even_quota, top_within_row
from unmask.samplers.base import Selection


def pick_quota(canvas: Canvas, score: Tensor, quota: Tensor | None = None) -> Selection:
    """The `n_t` masked positions with the largest `score` [B, L], ties to the left.

    n_t is `quota` (long [B]), or what is masked split evenly over the steps left, the remainder first (LLaDA, arXiv
    2502.09992). In a wrapper that restricts the canvas, n_t counts only the positions it leaves open.
    """
    quota = even_quota(canvas.masked, canvas.steps_left) if quota is None else quota
    return Selection(top_within_row(score, canvas.masked, quota), score)


def pick_from_level(canvas: Canvas, score: Tensor, level: float) -> Tensor:
    """bool [B, L]: masked positions with `score` [B, L] at or above `level`, and always the best one."""
    best = top_within_row(score, canvas.masked, torch.ones_like(canvas.step))
    return best | (canvas.masked & (score >= level))
