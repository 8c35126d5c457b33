"""The score-function gradient with a leave-one-out baseline (equation 6)."""

import torch
from torch import Tensor


def leave_one_out_mean(value: Tensor) -> Tensor:
    """[B, K]: for each of the K samples the mean of the other K - 1. ValueError if there are no others."""
    samples = value.shape[-1]
    if samples < 2:
        raise ValueError(f"a leave-one-out baseline needs at least 2 samples per row, not {samples}")
    return (value.sum(-1, keepdim=True) - value) / (samples - 1)


def score_term(advantage: Tensor, log_prob: Tensor) -> Tensor:
    """0 in value; its gradient is advantage * grad log_prob. Nothing flows through the advantage."""
    return advantage.detach() * (log_prob - log_prob.detach())


def rloo_surrogate(value: Tensor, log_prob: Tensor) -> Tensor:
    """[B]: the mean of `value` over its K samples, with the gradient of its expectation (equation 6).

    grad = mean_k [ grad F_k + (F_k - mean of the other F's, detached) * grad log_prob_k ]

    value: [B, K], F_k, its own gradient included. log_prob: [B, K], log-probability of what F_k depends on.
    The gradient is unbiased because a baseline that does not know sample k has E[baseline * grad log_prob_k]
    = 0. The mean over all K samples does know it, and shrinks the gradient by (K - 1) / K. Samples that count
    as 0 (rows finished early) must be kept: their score term 0 - baseline is not 0.
    (Salimans & Knowles 2014; Kool et al. 2019.)
    """
    advantage = value - leave_one_out_mean(value)
    return (value + score_term(advantage, log_prob)).mean(-1)


def stratified_steps(budget: Tensor, draws_per_row: int, uniform: Tensor) -> Tensor:
    """long [B, D]: steps 1..T to evaluate in each row, spread evenly over the budget T.

    Each of the D is alone uniform over 1..T when `uniform` (float64 [B]) is, so T * f at any of them has the
    whole sum as its expectation; together they lie T / D apart. They must not depend on the path: steps drawn
    among those a path took weigh short paths wrongly.
    """
    spread = torch.arange(draws_per_row, dtype=torch.float64, device=uniform.device) / draws_per_row
    place = (uniform[:, None] + spread) % 1.0  # [B, D]
    steps = (place * budget[:, None]).floor().long() + 1
    return torch.minimum(steps, budget[:, None])
