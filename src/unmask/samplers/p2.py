"""At every step the least sure of all positions are masked, written before or not."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import top_within_row
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Edit
from unmask.samplers.editors import confidence


@dataclass(frozen=True)
class P2:
    """Mask the floor((1 - i / T) N) least sure of all N positions after step i of T; the others are written.

    Steps count from 1; N is what was masked at the start (Path Planning, Peng et al. 2025, arXiv 2502.03540, planning
    by the denoiser itself, kappa linear). Sure is the probability of the most probable token where masked, and of the
    token that stands there, given the others, where written; needs a denoiser that rereads. The paper reads the latter
    off the network's output at the written position, token and all. Ties are masked from the left. A step may change
    nothing, where it is to leave as many masked as there are. With fewer positions than steps a row ends early. State:
    what was masked at the start. Does not look at drawn tokens.
    """

    reads_tokens: ClassVar[bool] = False
    may_be_empty: ClassVar[bool] = True
    rereads: ClassVar[bool] = True

    def init(self, canvas: Canvas) -> Tensor:
        """bool [B, L]: the positions that may be masked."""
        return canvas.masked

    def edit(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: Tensor, draws: StepDraws
    ) -> tuple[Edit, Tensor]:
        """Rank all N together."""
        after = (canvas.steps_left - 1).clamp(min=0)
        count = torch.div(state.sum(dim=-1) * after, canvas.budget, rounding_mode="floor")  # in whole numbers
        unsure = top_within_row(-confidence(canvas, denoised), state, count)
        return Edit(canvas.masked & ~unsure, state & ~canvas.masked & unsure), state

    def idle(self, canvas: Canvas, denoised: Denoised, state: Tensor, draws: StepDraws) -> Tensor:
        """As long as as many are to be left masked as there are: floor(N after / T) = m, while after >= m T / N."""
        whole = state.sum(dim=-1).clamp(min=1)
        last = -torch.div(-canvas.masked.sum(dim=-1) * canvas.budget, whole, rounding_mode="floor")
        return canvas.steps_left - last
