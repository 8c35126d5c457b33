"""The clearest decision first."""

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
class Margin(FixedQuota):
    """Reveal the n_t positions with the largest p1 - p2, the gap between the two most probable tokens.

    n_t is what is masked split evenly over the steps left (Kim et al. 2025, arXiv 2502.06768). With schedule=linear
    this is "topk_margin" of Dream, whose own schedule that is (see `FixedQuota`). Unlike `top-prob` it waits where two
    tokens compete, however probable both are. Does not look at drawn tokens.
    """

    schedule: str = choice("even", ("even", "linear"))
    eps: float = number(0.001, 0, 1)

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Score: p1 - p2."""
        top2 = denoised.top2  # [M, 2]
        return self.pick(canvas, denoised.to_rows(top2[:, 0] - top2[:, 1], NEG_INF)), state
