"""The posterior's family: coins whose chance is the ratio to the best score still masked (equation 3)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.numerics import NEG_INF, log1mexp
from unmask.reveals.base import RevealLaw
from unmask.reveals.coins import CoinLaw, Coins

# A coin this close to certain counts as certain, which moves its probability by less than 1e-6. That it fails
# has probability 1 - q and score 1 / (1 - q), so the variance of the score term would have no limit.
CERTAIN_LOG_PROB = -1e-6


@dataclass(frozen=True)
class ScoreRatio(CoinLaw):
    """q_i = exp((s_i - max_{j in M} s_j) / tau), independent coins over the masked M (equation 3, ours).

    The best masked position has q = 1, so something is always revealed and no normaliser is needed. Only
    `masked` changes between steps: one set of scores gives a whole order without another network call.

    Small tau reveals one position at a time. Equal scores reveal everything at once, and there all coins are
    certain and nothing has a gradient: a head that starts at zero never leaves that point. The law is
    continuous but not smooth where the best position changes.

    scores: [B, L]. masked: bool [B, L]. tau: positive, a number or a tensor that broadcasts to [B, L].
    """

    scores: Tensor
    masked: Tensor
    tau: float | Tensor = 1.0

    @property
    def may_be_empty(self) -> bool:
        return False

    @property
    def coins(self) -> Coins:
        """The coins on the log scale. Not cached, as in `Bernoulli`."""
        best = torch.where(self.masked, self.scores, NEG_INF).amax(-1, keepdim=True)  # [B, 1]
        best = torch.where(self.masked.any(-1, keepdim=True), best, 0.0)  # the max over nothing is -inf
        below = torch.where(self.masked, self.scores, best) - best  # [B, L], 0 where not masked
        log_prob = below / self.tau
        certain = self.masked & (log_prob > CERTAIN_LOG_PROB)
        tossed = self.masked & ~certain
        log_reveal = torch.where(tossed, log_prob, 0.0)
        log_keep = torch.where(tossed, log1mexp(torch.where(tossed, log_prob, -1.0)), 0.0)
        return Coins(self.masked, certain, log_reveal, log_keep, torch.zeros_like(log_keep[:, 0]))


# How scores (N rows, of any shape the family needs) become the posterior's law on canvases of N rows.
ScoreLaw = Callable[[Tensor, Canvas], RevealLaw]


def at_temperature(tau: float | Tensor) -> ScoreLaw:
    """The law of equation 3 at one temperature for every row and step (a tensor tau may be learned)."""
    return lambda scores, canvas: ScoreRatio(scores, canvas.masked, tau)
