"""A fixed number of positions a step, drawn uniformly."""

from dataclasses import dataclass

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State
from unmask.samplers.options import choice, number
from unmask.samplers.schedule import FixedQuota


@dataclass(frozen=True)
class Random(FixedQuota):
    """Reveal exactly n_t uniformly chosen positions.

    n_t is what is masked split evenly over the steps left. Every order of the positions is equally likely;
    against `iid` the number revealed is fixed and no step is empty. Does not look at drawn tokens.
    """

    schedule: str = choice("even", ("even", "linear"))
    eps: float = number(0.001, 0, 1)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """The positions with the largest of independent uniforms."""
        return self.pick(canvas, draws.uniform("reveal")), state
