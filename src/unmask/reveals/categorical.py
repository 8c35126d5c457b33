"""A probability for every set, where there are few enough to list: the family that holds all the others."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF


def list_sets(length: int) -> Tensor:
    """bool [2^L, L]: every set of positions; set s has position i where bit L - 1 - i of s is 1."""
    return torch.cartesian_prod(*[torch.tensor([False, True])] * length).reshape(-1, length)


@dataclass(frozen=True)
class Categorical:
    """Softmax over all non-empty sets of masked positions. For enumerable lengths: 2^L numbers a row.

    logits: [B, 2^L], one per set as `list_sets` lists them; those of sets that are not all masked count for nothing.
    masked: bool [B, L].
    """

    logits: Tensor
    masked: Tensor

    @property
    def may_be_empty(self) -> bool:
        return False

    @cached_property
    def _sets(self) -> Tensor:
        return list_sets(self.masked.shape[-1]).to(self.masked.device)

    @cached_property
    def _possible(self) -> Tensor:
        """bool [B, 2^L]: non-empty sets of masked positions; on finished rows the empty one."""
        outside = (~self.masked).double() @ self._sets.double().T > 0
        empty = torch.arange(len(self._sets), device=self.masked.device) == 0
        return ~outside & (empty != self.masked.any(-1, keepdim=True))

    @property
    def log_probs(self) -> Tensor:
        """[B, 2^L]: log-probability of every set, -inf where impossible. Not cached: gradients may be wanted or not."""
        return torch.where(self._possible, self.logits, NEG_INF).log_softmax(-1)

    def sharpen(self, factor: float) -> "Categorical":
        """The same law with its logits multiplied by `factor`."""
        return replace(self, logits=self.logits * factor)

    def tilt(self, log_factor: Tensor) -> "TiltedCategorical":
        """The law proportional to p(S) prod_{i in S} c_i, and the log of its sum. log_factor: [B, L], log c_i."""
        factor = torch.where(self.masked, log_factor, 0.0) @ self._sets.to(log_factor.dtype).T  # [B, 2^L]
        log_probs = torch.where(self._possible, self.log_probs, 0.0) + factor
        law = Categorical(log_probs, self.masked)
        return TiltedCategorical(law, torch.where(self._possible, log_probs, NEG_INF).logsumexp(-1))

    def sample(self, draws: StepDraws) -> Tensor:
        """bool [B, L]: by inverse CDF, one uniform per row."""
        with torch.no_grad():
            bounds = self.log_probs.double().exp().cumsum(-1)
            target = draws.row_uniform("reveal")[:, None] * bounds[:, -1:]
            drawn = torch.searchsorted(bounds, target, right=True).squeeze(-1).clamp(max=len(self._sets) - 1)
            return self._sets[drawn]

    def log_prob(self, positions: Tensor) -> Tensor:
        """[B]: log-probability of `positions` (bool [B, L]); 0 on finished rows, -inf if impossible."""
        length = self.masked.shape[-1]
        number = (positions * 2 ** torch.arange(length - 1, -1, -1, device=positions.device)).sum(-1, keepdim=True)
        found = self.log_probs.gather(-1, number).squeeze(-1)
        return torch.where(self.masked.any(-1), found, 0.0)

    def inclusion(self) -> Tensor:
        """[B, L]: the chance of the sets that hold each position."""
        return self.log_probs.exp() @ self._sets.to(self.logits.dtype)

    def entropy(self) -> Tensor:
        """[B]: summed over all sets; 0 on finished rows."""
        log_probs = torch.where(self._possible, self.log_probs, 0.0)
        return -torch.where(self._possible, log_probs.exp() * log_probs, 0.0).sum(-1)


class TiltedCategorical(NamedTuple):
    """law: the tilted law. log_mass: [B], log E[prod_{i in S} c_i] under the law it came from; 0 on finished rows."""

    law: Categorical
    log_mass: Tensor
