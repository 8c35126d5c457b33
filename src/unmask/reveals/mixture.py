"""Several sets of coins and a draw of which to toss: orders that are each good, and bad if averaged."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF
from unmask.reveals.bernoulli import LOGIT_LIMIT, Bernoulli
from unmask.reveals.categorical import list_sets

LONGEST_ENTROPY = 12  # positions up to which the entropy is summed over all sets


@dataclass(frozen=True)
class BernoulliMixture:
    """Draw one of m components, then its coins given at least one reveal (equation 4).

    log p(S) = log sum_c shares_c p_c(S)

    One Bernoulli gives each position one chance; where "a and b" and "c and d" are good sets, it must draw "a and c"
    as often. A mixture need not. Any law of sets is one, with enough components.

    shares: [B, m], logits of the components (softmax gives their chances). logits: [B, m, L]. masked: bool [B, L].
    """

    shares: Tensor
    logits: Tensor
    masked: Tensor
    limit: float = LOGIT_LIMIT

    @property
    def may_be_empty(self) -> bool:
        return False

    @property
    def log_shares(self) -> Tensor:
        """[B, m]: log-chance of each component."""
        return self.shares.log_softmax(-1)

    @property
    def components(self) -> Bernoulli:
        """All components of all rows, [B * m, L]."""
        count = self.shares.shape[-1]
        return Bernoulli(self.logits.flatten(0, 1), self.masked.repeat_interleave(count, 0), limit=self.limit)

    def sharpen(self, factor: float) -> "BernoulliMixture":
        """The same mixture with the logits of all coins multiplied by `factor`; the shares stay."""
        return replace(self, logits=self.logits * factor)

    def tilt(self, log_factor: Tensor) -> "TiltedMixture":
        """The law proportional to p(S) prod_{i in S} c_i, and the log of its sum: component by component.

        log_factor: [B, L], log c_i. A component's share is multiplied by its own sum.
        """
        rows, count = self.shares.shape
        tilted = self.components.tilt(log_factor.repeat_interleave(count, 0))
        together = self.log_shares + tilted.log_mass.view(rows, count)
        logits = tilted.law.logits.view(self.logits.shape)
        law = BernoulliMixture(together, logits, self.masked, tilted.law.limit)
        finished = ~self.masked.any(-1)
        return TiltedMixture(law, torch.where(finished, 0.0, together.logsumexp(-1)))

    def sample(self, draws: StepDraws) -> Tensor:
        """bool [B, L]: an exact draw; one uniform for the component and one per position."""
        with torch.no_grad():
            bounds = self.log_shares.double().exp().cumsum(-1)  # [B, m]
            drawn = (bounds[:, :-1] <= draws.row_uniform("component")[:, None]).sum(-1)  # [B]
            logits = self.logits[torch.arange(len(drawn), device=drawn.device), drawn]
            return Bernoulli(logits, self.masked, limit=self.limit).sample(draws)

    def log_prob(self, positions: Tensor) -> Tensor:
        """[B]: log-probability of `positions` (bool [B, L]); 0 on finished rows, -inf if impossible."""
        rows, count = self.shares.shape
        possible = ~(positions & ~self.masked).any(-1) & positions.any(-1)  # -inf in every component has no gradient
        asked = torch.where(possible[:, None], positions, self.masked)
        each = self.components.log_prob(asked.repeat_interleave(count, 0)).view(rows, count)
        log_prob = torch.where(possible, (self.log_shares + each).logsumexp(-1), NEG_INF)
        return torch.where(self.masked.any(-1), log_prob, 0.0)

    def inclusion(self) -> Tensor:
        """[B, L]: the components' inclusion, averaged by their shares; 0 where not masked."""
        each = self.components.inclusion().view(self.logits.shape)
        return (self.log_shares.exp()[..., None] * each).sum(1)

    def entropy(self) -> Tensor:
        """[B]: summed over all sets, for at most `LONGEST_ENTROPY` positions; ValueError beyond: no closed form."""
        length = self.masked.shape[-1]
        if length > LONGEST_ENTROPY:
            raise ValueError(
                f"the entropy of a mixture is a sum over all sets: {length} positions, at most {LONGEST_ENTROPY}"
            )
        total = torch.zeros_like(self.shares[:, 0])
        for positions in list_sets(length):
            wanted = positions.to(self.masked.device).expand(self.masked.shape)
            possible = ~(wanted & ~self.masked).any(-1) & wanted.any(-1)
            log_prob = torch.where(possible, self.log_prob(torch.where(possible[:, None], wanted, self.masked)), 0.0)
            total = total - torch.where(possible, log_prob.exp() * log_prob, 0.0)
        return total


class TiltedMixture(NamedTuple):
    """law: the tilted law. log_mass: [B], log E[prod_{i in S} c_i] under the law it came from; 0 on finished rows."""

    law: BernoulliMixture
    log_mass: Tensor
