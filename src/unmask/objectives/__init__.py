"""Layer 1: what is optimised. Pure functions; a `surrogate` or `loss` has gradients, an `elbo` is to report."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from unmask.objectives.bound import Bound, bound_surrogate
from unmask.objectives.denoising import DenoisingLoss, denoising_loss, mask_for_denoising, stratified_times
from unmask.objectives.elbo import StepTerm, step_term
from unmask.objectives.imitation import imitation_loss
from unmask.objectives.on_policy import PathLikelihoods, path_log_likelihoods
from unmask.objectives.reward import reward_surrogate
from unmask.objectives.rloo import rloo_surrogate, stratified_steps
from unmask.objectives.rollout import draw_orders, log_prefix
from unmask.objectives.text_elbo import TextElbo, text_elbo
from unmask.objectives.tilted import Credit, TiltedPaths, tilted_paths
from unmask.objectives.vimco import importance_bound, log_mean_exp, vimco_surrogate

# name -> surrogate [B] to maximise, from the value of each of K paths [B, K] (a log-likelihood or a reward)
# and the policy's log-probability of the path [B, K]. The contract tests walk this.
OBJECTIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "one_sample": rloo_surrogate,
    "vimco": vimco_surrogate,
    "vimco_arithmetic": partial(vimco_surrogate, baseline="arithmetic"),
    "reward": reward_surrogate,
    "reward_normalised": partial(reward_surrogate, normalise=True),
}

__all__ = [
    "OBJECTIVES",
    "Bound",
    "Credit",
    "DenoisingLoss",
    "PathLikelihoods",
    "StepTerm",
    "TextElbo",
    "TiltedPaths",
    "bound_surrogate",
    "denoising_loss",
    "draw_orders",
    "imitation_loss",
    "importance_bound",
    "log_mean_exp",
    "log_prefix",
    "mask_for_denoising",
    "path_log_likelihoods",
    "reward_surrogate",
    "rloo_surrogate",
    "step_term",
    "stratified_steps",
    "stratified_times",
    "text_elbo",
    "tilted_paths",
    "vimco_surrogate",
]
