"""The order of reading."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State
from unmask.samplers.options import choice, number
from unmask.samplers.schedule import FixedQuota


@dataclass(frozen=True)
class LeftToRight(FixedQuota):
    """Reveal the n_t leftmost masked positions.

    n_t is what is masked split evenly over the steps left; with as many steps as positions this is
    autoregressive decoding. Does not look at drawn tokens, nor at the denoiser.
    """

    schedule: str = choice("even", ("even", "linear"))
    eps: float = number(0.001, 0, 1)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Score: minus the position."""
        index = torch.arange(canvas.masked.shape[-1], device=canvas.masked.device, dtype=torch.float64)
        return self.pick(canvas, (-index).expand(canvas.masked.shape)), state
