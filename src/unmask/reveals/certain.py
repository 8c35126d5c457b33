"""All the probability on one set: a deterministic heuristic, seen as a reveal law."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF


@dataclass(frozen=True)
class Certain:
    """Reveals exactly `positions` (bool [B, L]) of the masked ones. Has no gradient.

    If a row has none of them masked, the certain set is the empty one.
    """

    positions: Tensor
    masked: Tensor

    @property
    def may_be_empty(self) -> bool:
        chosen = self.positions & self.masked
        return bool((self.masked.any(-1) & ~chosen.any(-1)).any())

    def sample(self, draws: StepDraws) -> Tensor:
        """bool [B, L]: the set. Draws nothing."""
        return self.positions & self.masked

    def log_prob(self, positions: Tensor) -> Tensor:
        """[B]: 0 for the set, -inf for any other; 0 on finished rows."""
        same = (positions == (self.positions & self.masked)).all(-1) | ~self.masked.any(-1)
        return torch.where(same, 0.0, NEG_INF).to(torch.get_default_dtype())

    def inclusion(self) -> Tensor:
        """[B, L]: 1 on the set, 0 elsewhere."""
        return (self.positions & self.masked).to(torch.get_default_dtype())

    def entropy(self) -> Tensor:
        """[B]: 0."""
        return torch.zeros(self.masked.shape[0], device=self.masked.device)
