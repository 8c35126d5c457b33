"""Small functions on log-scale numbers and on ranks within a row."""

import torch
from torch import Tensor

NEG_INF = float("-inf")


def log1mexp(value: Tensor) -> Tensor:
    """log(1 - exp(value)) for value <= 0, accurate at both ends (Maechler 2012)."""
    near = value > -0.6931471805599453
    small = torch.log(-torch.expm1(torch.where(near, value, -1.0)))
    large = torch.log1p(-torch.exp(torch.where(near, -1.0, value)))
    return torch.where(near, small, large)


def rank_within_row(score: Tensor, eligible: Tensor) -> Tensor:
    """long [B, L]: 0 for the largest eligible score of each row, then 1, ...; ineligible positions come last.

    Ties go to the leftmost position, so a rank never depends on the other rows or on how a sort breaks ties.
    NaN scores rank last among the eligible.
    """
    # eligible positions whose score is -inf must still come before the ineligible ones
    least = torch.finfo(score.dtype).min
    score = torch.where(eligible, score.nan_to_num(nan=least, posinf=torch.inf, neginf=least), NEG_INF)
    order = torch.argsort(score, dim=-1, descending=True, stable=True)
    place = torch.arange(order.shape[-1], device=order.device).expand(order.shape)
    return torch.empty_like(order).scatter_(-1, order, place)


def top_within_row(score: Tensor, eligible: Tensor, count: Tensor) -> Tensor:
    """bool [B, L]: the `count` (long [B]) eligible positions with the largest score of each row."""
    return eligible & (rank_within_row(score, eligible) < count[:, None])


def even_quota(canvas_masked: Tensor, steps_left: Tensor) -> Tensor:
    """long [B]: masked positions split evenly over the steps left, the remainder first (LLaDA's schedule).

    ceil(masked / steps_left) taken afresh at each step gives exactly that split.
    """
    left = canvas_masked.sum(dim=-1)
    return -torch.div(-left, steps_left.clamp(min=1), rounding_mode="floor")  # no sum that could pass 64 bits
