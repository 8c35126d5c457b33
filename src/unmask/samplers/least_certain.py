"""The least probable argmax first: a control."""

from dataclasses import dataclass

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.numerics import NEG_INF
from unmask.denoisers.base import Denoised
from unmask.samplers.base import Selection, State, Stateless
from unmask.samplers.pick import pick_quota


@dataclass(frozen=True)
class LeastCertain(Stateless):
    """Reveal the n_t positions whose most probable token is the least probable: `top-prob` upside down.

    A control: the worst order at one position a step, yet sometimes the best one in parallel, because what
    is hard is then written first and alone. n_t is what is masked split evenly over the steps left. Does not
    look at drawn tokens.
    """

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Score: minus the largest token probability."""
        return pick_quota(canvas, denoised.to_rows(-denoised.top2[:, 0], NEG_INF)), state
