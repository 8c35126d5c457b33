"""A distribution over which positions to reveal in one step. Policy and posterior both give one."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.denoisers.base import Denoised


class RevealLaw(Protocol):
    """Shared by p and q, so that both speak of the same sets by construction.

    Knows nothing of budgets: that the last step reveals all that is left is the business of whoever steps.
    """

    @property
    def may_be_empty(self) -> bool:
        """True for families that can reveal nothing in a step; an empty step costs no denoiser call."""
        ...

    def sample(self, draws: StepDraws) -> Tensor:
        """bool [B, L]: one set per row; empty on finished rows."""
        ...

    def log_prob(self, positions: Tensor) -> Tensor:
        """[B]: log-probability of the set `positions` (bool [B, L]) in nats; 0 on finished rows."""
        ...

    def inclusion(self) -> Tensor:
        """[B, L]: marginal probability that each position is revealed; 0 where not masked."""
        ...

    def entropy(self) -> Tensor:
        """[B]: entropy of the set in nats; 0 on finished rows."""
        ...


OrderPolicy = Callable[[Canvas, Denoised], RevealLaw]  # p: sees what the sampler sees
OrderPosterior = Callable[[Canvas, Tensor], RevealLaw]  # q: sees the clean tokens (long [B, L]) as well
