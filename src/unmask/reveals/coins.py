"""Independent coins, one per masked position: what the reveal laws here are made of.

A law is a set of coins p_i and the log-probability of the event it is conditioned on:

    log p(S) = sum_{i in S} log p_i + sum_{i in M, not in S} log(1 - p_i) - log_normaliser

Probability, inclusion, entropy and divergence all follow from that one line and are written once, here.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF, log1mexp


class Coins(NamedTuple):
    """masked: bool [B, L]; the other positions have no coin.

    certain: bool [B, L], coins with p = 1 exactly. They add 0 when revealed and -inf when kept.
    log_reveal: [B, L], log p_i; 0 where certain or not masked.
    log_keep: [B, L], log(1 - p_i), finite; 0 where certain or not masked.
    log_normaliser: [B], log-probability of what the law is conditioned on; 0 if on nothing or finished.

    Everything is finite, so that sums and their gradients are; `certain` says where -inf would have stood.
    """

    masked: Tensor
    certain: Tensor
    log_reveal: Tensor
    log_keep: Tensor
    log_normaliser: Tensor

    def log_prob(self, positions: Tensor, empty_allowed: bool) -> Tensor:
        """[B]: log-probability of the set `positions` (bool [B, L]); 0 if finished, -inf if impossible."""
        each = torch.where(positions, self.log_reveal, self.log_keep)  # 0 where not masked
        impossible = (positions & ~self.masked).any(-1) | (self.certain & ~positions).any(-1)
        if not empty_allowed:
            impossible = impossible | ~positions.any(-1)
        finished = ~self.masked.any(-1)
        return torch.where(impossible & ~finished, NEG_INF, each.sum(-1) - self.log_normaliser)

    def probabilities(self) -> Tensor:
        """[B, L]: p_i, before any conditioning; 0 where not masked."""
        return torch.where(self.masked, self.log_reveal.exp(), 0.0)

    def inclusion(self) -> Tensor:
        """[B, L]: P(i in S) = p_i / Z. Exact when the condition is "not empty", which i in S implies."""
        return torch.where(self.masked, (self.log_reveal - self.log_normaliser[:, None]).exp(), 0.0)

    def entropy(self) -> Tensor:
        """[B]: -E log p(S), exact since log p(S) is linear in the inclusion."""
        inclusion = self.inclusion()
        expected = (inclusion * self.log_reveal + (1 - inclusion) * self.log_keep).sum(-1)
        return self.log_normaliser - expected


class CoinLaw:
    """Base of the laws that are `coins`, with everything that follows from them; see `RevealLaw` for the shapes."""

    masked: Tensor

    @property
    def coins(self) -> Coins:
        """The coins on the log scale."""
        raise NotImplementedError

    @property
    def may_be_empty(self) -> bool:
        """True where all coins may fail."""
        raise NotImplementedError

    def probabilities(self) -> Tensor:
        """[B, L]: the chance of each coin, before any conditioning; 0 where not masked."""
        return self.coins.probabilities()

    def log_prob(self, positions: Tensor) -> Tensor:
        """[B]: log-probability of `positions` (bool [B, L]); 0 on finished rows, -inf if impossible.

        A certain coin adds 0 when revealed, with no gradient.
        """
        return self.coins.log_prob(positions, empty_allowed=self.may_be_empty)

    def inclusion(self) -> Tensor:
        """[B, L]: how probable it is that each position is revealed; 0 where not masked."""
        return self.coins.inclusion()

    def entropy(self) -> Tensor:
        """[B]: entropy of the set, given whatever the law is conditioned on; 0 on finished rows."""
        return self.coins.entropy()

    def sample(self, draws: StepDraws) -> Tensor:
        """bool [B, L]: every coin once, one uniform per position; for laws conditioned on nothing."""
        with torch.no_grad():
            return self.masked & (draws.uniform("reveal") < self.coins.log_reveal.double().exp())


def log_any(log_keep: Tensor, masked: Tensor) -> Tensor:
    """[B]: log(1 - prod_{i in M} (1 - p_i)), the normaliser of equation 4; 0 on finished rows."""
    unfinished = masked.any(-1)
    log_none = torch.where(masked, log_keep, 0.0).sum(-1)
    return torch.where(unfinished, log1mexp(torch.where(unfinished, log_none, -1.0)), 0.0)


def kl_coins(first: Coins, second: Coins) -> Tensor:
    """[B]: KL(first || second) in nats, closed form; 0 on finished rows.

    The log-ratio of the two laws is linear in the indicators of the positions, so its expectation needs only
    the inclusion under `first`. Both must have the same masked positions, and `second` no certain coin.
    """
    inclusion = first.inclusion()
    revealed = inclusion * (first.log_reveal - second.log_reveal)
    kept = (1 - inclusion) * (first.log_keep - second.log_keep)
    each = torch.where(first.masked, revealed + kept, 0.0)  # [B, L]
    return each.sum(-1) - first.log_normaliser + second.log_normaliser
