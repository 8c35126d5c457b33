"""Independent coins on a linear grid: the ancestral sampler of masked diffusion."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State, Stateless
from unmask.samplers.foresight import before_first, steps_at_a_time, tossed
from unmask.samplers.options import check_options, number


@dataclass(frozen=True)
class IID(Stateless):
    """Reveal each masked position by a coin of its own, whatever the others do.

    From time t to s < t a masked position is revealed with probability 1 - s/t. On the linear grid t = n/T,
    s = (n-1)/T that is 1/n with n steps left (MDLM, Sahoo et al. 2024, arXiv 2406.07524; "origin" in SMDM and
    Dream). Published grids end at `eps` instead of 0 (0.001 in Dream, 0.00001 in MDLM and SMDM), and their last step
    reveals the rest. A step may reveal nothing, and then costs no denoiser call: calls are at most the budget, and on
    average fewer. Does not look at drawn tokens.
    """

    eps: float = number(0.0, 0, 1)
    may_be_empty: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_options(self)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Heads where the position's uniform is under 1 / steps left; small uniforms are the more urgent."""
        uniform = draws.uniform("reveal")  # [B, L]
        probability = self._chance(canvas.steps_left, canvas.budget)
        return Selection(canvas.masked & (uniform < probability[:, None]), -uniform), state

    def idle(self, canvas: Canvas, denoised: Denoised, state: State, draws: StepDraws) -> Tensor:
        """Until a coin comes up."""
        left = steps_at_a_time(canvas, canvas.masked)  # [S, B]
        probability = self._chance(left, canvas.budget)
        return before_first(tossed(draws, "reveal", canvas.masked, probability[..., None]))

    def _chance(self, left: Tensor, budget: Tensor) -> Tensor:
        """float64: 1 - s/t with so many steps left of a budget; t = eps + (1 - eps) left / T, t - s = (1 - eps) / T."""
        left = left.clamp(min=1).double()
        return (1 - self.eps) / (self.eps * budget + (1 - self.eps) * left) if self.eps else 1.0 / left
