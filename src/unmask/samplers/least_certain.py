"""The least probable argmax first: a control."""

from dataclasses import dataclass

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State
from unmask.samplers.options import choice, number
from unmask.samplers.schedule import FixedQuota


@dataclass(frozen=True)
class LeastCertain(FixedQuota):
    """Reveal the n_t positions whose most probable token is the least probable: `top-prob` upside down.

    A control: the worst order at one position a step, yet sometimes the best one in parallel, because what
    is hard is then written first and alone. n_t is what is masked split evenly over the steps left. Does not
    look at drawn tokens.
    """

    schedule: str = choice("even", ("even", "linear"))
    eps: float = number(0.001, 0, 1)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Score: minus the largest token probability."""
        return self.pick(canvas, denoised.to_rows(-denoised.top2[:, 0], NEG_INF)), state
