"""The multi-sample bound on a policy's own paths, and its low-variance gradient (equation 6b).

log (1/K) sum_k w_k, with w_k the likelihood of the text along path k drawn from the policy, is a lower bound
on log p(x) for every K, tighter with more (Burda et al. 2016). It rewards a policy whose paths are good
between them, so randomness in the order can pay; with K = 1 it cannot.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from unmask.objectives.on_policy import PathLikelihoods
from unmask.objectives.rloo import leave_one_out_mean, score_term

Baseline = Literal["geometric", "arithmetic"]


def log_mean_exp(value: Tensor) -> Tensor:
    """[B]: log of the mean of exp over the last axis."""
    return value.logsumexp(-1) - math.log(value.shape[-1])


def vimco_surrogate(log_likelihood: Tensor, log_policy: Tensor, baseline: Baseline = "geometric") -> Tensor:
    """[B]: the multi-sample bound, with the gradient of its expectation in theta and psi; maximise its mean.

    grad = grad Lhat + sum_k (Lhat - Lhat_{-k}, detached) * grad log_policy_k,    Lhat = log mean_k exp(L_k),

    where Lhat_{-k} is Lhat with L_k replaced by what the other K - 1 say: the mean of theirs ("geometric", of
    the weights) or the log of their mean weight ("arithmetic") (VIMCO, Mnih & Rezende 2016).
    Unbiased with either, as Lhat_{-k} does not know sample k. `log_policy` enters the score term and nothing
    else: kept as a weight it would count every path's probability twice.

    log_likelihood: [B, K], L_k. log_policy: [B, K]. K >= 2. Needs paths drawn from the policy itself.
    """
    likelihood = log_likelihood.detach()
    if baseline == "geometric":
        replacement = leave_one_out_mean(likelihood)  # [B, K]
    elif baseline == "arithmetic":
        replacement = _leave_one_out_log_mean_exp(likelihood)
    else:
        raise ValueError(f"unknown baseline `{baseline}`. Choices: geometric, arithmetic")
    without = log_mean_exp(_with_diagonal(likelihood, replacement))  # [B, K], Lhat_{-k}
    bound = log_mean_exp(log_likelihood)
    return bound + score_term(bound[:, None] - without, log_policy).sum(-1)


def importance_bound(paths: PathLikelihoods) -> Tensor:
    """[B]: the multi-sample bound for paths drawn from a proposal r.

    log mean_k exp(L_k) p(path_k) / r(path_k)

    Differentiable as it stands in theta and psi, the proposal counting as fixed. A bound for any r that can
    draw every path p can; with few samples its maximum over psi is pulled towards r.
    """
    return log_mean_exp(paths.log_likelihood + paths.log_policy - paths.log_proposal)


def _with_diagonal(value: Tensor, diagonal: Tensor) -> Tensor:
    """[B, K, K]: row k is `value` ([B, K]) with entry k replaced by that of `diagonal` ([B, K])."""
    own = torch.eye(value.shape[-1], dtype=torch.bool, device=value.device)
    return torch.where(own, diagonal[:, :, None], value[:, None, :])


def _leave_one_out_log_mean_exp(value: Tensor) -> Tensor:
    """[B, K]: log of the mean of exp over the other samples."""
    samples = value.shape[-1]
    if samples < 2:
        raise ValueError(f"a leave-one-out baseline needs at least 2 samples per row, not {samples}")
    others = _with_diagonal(value, torch.full_like(value, -math.inf))
    return others.logsumexp(-1) - math.log(samples - 1)
