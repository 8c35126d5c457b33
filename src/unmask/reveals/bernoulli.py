"""The policy's family: an independent coin per position, conditioned on revealing something (equation 4)."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from unmask.core.draws import StepDraws
from unmask.core.numerics import log1mexp
from unmask.reveals.coins import CoinLaw, Coins, log_any

# Coins stay between sigmoid(-15) = 3e-7 and 1 - 3e-7: no log-probability leaves float32, and no divergence
# explodes. The gradient is zero beyond.
LOGIT_LIMIT = 15.0
LARGEST_LOG_COIN = -1e-6  # of a coin that was scaled up


@dataclass(frozen=True)
class Bernoulli(CoinLaw):
    """p_i = sigmoid(logits_i) at every masked position, given that at least one is revealed (equation 4).

    log p(S) = sum_i log Bern(S_i; p_i) - log(1 - prod_i(1 - p_i))

    Forcing the best position when all coins fail is another law, and so is drawing again a few times.
    With `non_empty=False` there is no condition and no normaliser, and a step may reveal nothing.

    logits: [B, L], clamped to +-`limit`. masked: bool [B, L].
    """

    logits: Tensor
    masked: Tensor
    non_empty: bool = True
    limit: float = LOGIT_LIMIT

    @property
    def may_be_empty(self) -> bool:
        return not self.non_empty

    def sharpen(self, factor: float) -> "Bernoulli":
        """The same law with its logits multiplied by `factor`: above 1 surer, below 1 closer to even coins."""
        return replace(self, logits=self.logits * factor)

    def scale(self, factor: float) -> "Bernoulli":
        """The same law with its coins multiplied by `factor`, at most 1: more or fewer at once, those between most.

        The knob min(1, beta p) of Jazbec et al. (arXiv 2512.09106).
        """
        log_coin = (logsigmoid(self.logits) + math.log(factor)).clamp(max=LARGEST_LOG_COIN)
        return replace(self, logits=log_coin - log1mexp(log_coin))

    def tilt(self, log_factor: Tensor) -> "TiltedBernoulli":
        """The law proportional to p(S) prod_{i in S} c_i, and the log of its sum over all sets S.

        log_factor: [B, L], log c_i; read at masked positions only, and as -limit where it is less. Coins stay coins:
        c_i multiplies the odds of position i. With A(g) = log(prod_i (1 + exp g_i) - 1), the log-normaliser of a law
        whose sets weigh exp(sum_{i in S} g_i), the sum is exp(A(g + log c) - A(g)).
        """
        logits = self.logits.clamp(-self.limit, self.limit) + log_factor.clamp(min=-self.limit)
        law = replace(self, logits=logits, limit=2 * self.limit)
        return TiltedBernoulli(law, law._log_partition() - self._log_partition())

    def _log_partition(self) -> Tensor:
        """[B]: A(logits); 0 on finished rows."""
        coins = self.coins
        return coins.log_normaliser - coins.log_keep.sum(-1)

    @property
    def coins(self) -> Coins:
        """The coins and their normaliser, on the log scale.

        Not cached: `sample` asks for them without gradients, and `log_prob` after it needs them with.
        """
        logits = torch.where(self.masked, self.logits, 0.0).clamp(-self.limit, self.limit)
        log_reveal = torch.where(self.masked, logsigmoid(logits), 0.0)
        log_keep = torch.where(self.masked, logsigmoid(-logits), 0.0)
        nothing = torch.zeros_like(log_keep[:, 0])
        normaliser = log_any(log_keep, self.masked) if self.non_empty else nothing
        return Coins(self.masked, torch.zeros_like(self.masked), log_reveal, log_keep, normaliser)

    def sample(self, draws: StepDraws) -> Tensor:
        """bool [B, L]: an exact draw from one uniform per position, without rejection.

        Walking left to right, the chance that position i is the first success, given none before it, is
        h_i = p_i / (1 - prod_{j >= i}(1 - p_j)); after the first success the coins are independent again.
        """
        uniform = draws.uniform("reveal")
        with torch.no_grad():
            coins = self.coins
            chance, log_keep = coins.log_reveal.double().exp(), coins.log_keep.double()
            coin = self.masked & (uniform < chance)
            if not self.non_empty:
                return coin
            log_none_from = log_keep.flip(-1).cumsum(-1).flip(-1)  # [B, L], log prod_{j >= i}(1 - p_j)
            hazard = chance / -torch.expm1(log_none_from.clamp(max=-1e-300))
            last = self.masked & (self.masked.flip(-1).cumsum(-1).flip(-1) == 1)
            success = self.masked & ((uniform < hazard) | last)  # the last masked position has hazard 1
            first = success & (success.cumsum(-1) == 1)
            after = (first.cumsum(-1) == 1) & ~first
            return first | (coin & after)


class TiltedBernoulli(NamedTuple):
    """law: the tilted law. log_mass: [B], log E[prod_{i in S} c_i] under the law it came from; 0 on finished rows."""

    law: Bernoulli
    log_mass: Tensor
