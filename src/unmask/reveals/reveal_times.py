"""Each position draws the step it is revealed at, by itself: the posterior's family without a score function."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.reveals.coins import CoinLaw, Coins

# Coins stay this far from certain, so that no log-probability is infinite where the other outcome is drawn.
SMALLEST_CHANCE = 1e-6


@dataclass(frozen=True)
class RevealTimes(CoinLaw):
    """Position i is revealed at step t_i, drawn from a categorical of its own; this is step t of that plan.

    Given that it is still masked, it is revealed now with its hazard,

        h_i(t) = P(t_i = t) / P(t_i >= t),

    independently of the others: times drawn one by one, step after step, are times drawn at once. So a whole order
    costs one draw, and what is masked before step t can be had without walking there: P(masked) = P(t_i >= t).
    A step may reveal nothing, so it pairs with a policy that may, too (`Bernoulli(non_empty=False)`).

    logits: [B, L, T], of the steps 1..T (softmax). step: long [B], steps taken so far. masked: bool [B, L].
    """

    logits: Tensor
    step: Tensor
    masked: Tensor

    @property
    def may_be_empty(self) -> bool:
        return True

    @property
    def coins(self) -> Coins:
        """The hazards as coins on the log scale. At the last step every hazard is 1, less the smallest chance."""
        log_time = self.logits.log_softmax(-1)  # [B, L, T]
        now = self.step.clamp(0, log_time.shape[-1] - 1)[:, None, None].expand(*log_time.shape[:2], 1)
        steps = torch.arange(log_time.shape[-1], device=log_time.device)
        later = torch.where(steps >= now, log_time, -torch.inf).logsumexp(-1)  # [B, L], log P(t_i >= t)
        hazard = (log_time.gather(-1, now).squeeze(-1) - later).exp().clamp(SMALLEST_CHANCE, 1 - SMALLEST_CHANCE)
        log_reveal = torch.where(self.masked, hazard.log(), 0.0)
        log_keep = torch.where(self.masked, (-hazard).log1p(), 0.0)
        certain = torch.zeros_like(self.masked)
        return Coins(self.masked, certain, log_reveal, log_keep, torch.zeros_like(log_keep[:, 0]))

    @staticmethod
    def at_step(logits: Tensor, canvas: Canvas) -> "RevealTimes":
        """The law of the step a canvas stands at: a `ScoreLaw`, for the bound with this posterior."""
        return RevealTimes(logits, canvas.step, canvas.masked)
