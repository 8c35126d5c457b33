"""As many positions as stay certain together."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import top_within_row
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State, Stateless
from unmask.samplers.options import check_options, number


@dataclass(frozen=True)
class EntropyBounded(Stateless):
    """Reveal the most certain positions while their joint uncertainty stays small.

    Sort masked positions by entropy H, ascending; reveal the longest prefix with
    cumsum(H) - cummax(H) <= bound, that is, whose summed entropy without its last is at most `bound`
    (EB-Sampler, Ben-Hamu et al. 2025, arXiv 2505.24857; their gamma). The left side bounds what revealing the
    prefix at once, instead of one by one, can cost in nats under a perfect denoiser. Always reveals at least
    one position per unfinished row, even at bound 0. Does not look at drawn tokens.
    """

    bound: float = number(0.1, 0)
    reads_entropy: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_options(self)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """The prefix, counted on sorted entropies and taken by rank."""
        entropy = denoised.to_rows(denoised.entropy.double(), torch.inf)
        entropy = entropy.where(canvas.masked, torch.inf)  # [B, L]
        ascending = entropy.sort(dim=-1).values
        joint = ascending.cumsum(dim=-1) - ascending.cummax(dim=-1).values  # NaN past the last masked
        count = (joint <= self.bound).long().cumprod(dim=-1).sum(dim=-1).clamp(min=1)  # NaN <= bound is False
        return Selection(top_within_row(-entropy, canvas.masked, count), -entropy), state
