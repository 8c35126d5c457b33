"""Sets of a given size, all equally likely: the law of a random order with a quota."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF, top_within_row


@dataclass(frozen=True)
class FixedSize:
    """Exactly `size` of the masked positions, every such set alike; all of them where fewer are masked.

    masked: bool [B, L]. size: long [B], at least 1 where something is masked. Has no gradient; numbers are float64.
    """

    masked: Tensor
    size: Tensor

    @property
    def may_be_empty(self) -> bool:
        return False

    @property
    def _taken(self) -> Tensor:
        """long [B]: how many are revealed."""
        return torch.minimum(self.size, self.masked.sum(-1))

    def sample(self, draws: StepDraws) -> Tensor:
        """bool [B, L]: the positions with the largest of independent uniforms."""
        return top_within_row(draws.uniform("reveal"), self.masked, self._taken)

    def log_prob(self, positions: Tensor) -> Tensor:
        """[B]: minus the log of the number of sets of that size, -inf for any other; 0 on finished rows."""
        fits = ~(positions & ~self.masked).any(-1) & (positions.sum(-1) == self._taken)
        return torch.where(fits | ~self.masked.any(-1), -self.entropy(), NEG_INF)

    def inclusion(self) -> Tensor:
        """[B, L]: size / number masked."""
        share = self._taken.double() / self.masked.sum(-1).clamp(min=1)
        return torch.where(self.masked, share[:, None].double(), 0.0)

    def entropy(self) -> Tensor:
        """[B]: the log of the number of such sets; 0 on finished rows."""
        count, taken = self.masked.sum(-1).double(), self._taken.double()
        chosen = torch.lgamma(count + 1) - torch.lgamma(taken + 1) - torch.lgamma(count - taken + 1)
        return chosen
